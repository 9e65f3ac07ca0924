"""What of the checkout nix/package.nix builds from, and what the unit tests may lean on, are the same files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_unit_tests_may_open_what_the_nix_package_has():
    listed = re.findall(r"^ +\.\./([\w.]+)$", (ROOT / "nix" / "package.nix").read_text(encoding="utf-8"), re.MULTILINE)
    conftest = ast.parse((ROOT / "tests" / "unit" / "conftest.py").read_text(encoding="utf-8"))
    (allowed,) = [
        ast.literal_eval(node.value)
        for node in conftest.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LISTED"
    ]
    assert set(listed) == allowed and "fileintel" in allowed

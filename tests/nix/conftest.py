"""What the Nix tests lean on: evaluation with builtins alone, by Debian's nix-bin as well as by any newer Nix."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Nothing is built: with no store, Nix needs neither root nor a daemon.
os.environ.setdefault("NIX_REMOTE", "dummy://")

MISSING = "Nix is not installed: apt-get install nix-bin"
# All of their tests evaluate, by themselves.
EVALUATING = ("test_modules.py", "test_machines.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("nix-instantiate") is None:
        for item in items:
            if item.path.parent == Path(__file__).parent and item.path.name in EVALUATING:
                item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="session")
def evaluate() -> Callable[[str], Any]:
    """Evaluates an expression, in which `import nix/…` means our folder; raises ValueError with Nix's message."""
    if shutil.which("nix-instantiate") is None:
        pytest.skip(MISSING)

    def run(expression: str) -> Any:
        command = [
            "nix-instantiate",
            "--eval",
            "--strict",
            "--json",
            "-E",
            expression.replace("import nix/", f"import {ROOT}/nix/"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(done.stderr)
        return json.loads(done.stdout)

    return run

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fileintel


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert fileintel.__version__ == project["version"]
    with pytest.raises(AttributeError):
        _ = fileintel.nonsense  # type: ignore[attr-defined]


def test_importing_the_package_looks_nothing_up() -> None:
    # -S: an editable install's own hooks may import it before us.
    command = "import sys, fileintel; sys.exit('importlib.metadata' in sys.modules)"
    root = Path(fileintel.__file__).parents[1]
    assert subprocess.run([sys.executable, "-S", "-c", command], cwd=root).returncode == 0

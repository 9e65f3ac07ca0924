"""nix/wheels.json, requirements.lock and pyproject.toml agree: what Nix runs is what pip would install."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("nix/wheels.json", "requirements.lock", "requirements-dev.lock", "pyproject.toml")
PACKAGES = json.loads((ROOT / "nix" / "wheels.json").read_text(encoding="utf-8"))["packages"]
SOME = PACKAGES["numpy"]["wheels"]["x86_64-linux"]


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "wheels.py"), "--check", "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_files_agree():
    done = check(ROOT)
    assert (done.returncode, done.stderr) == (0, ""), "python tools/wheels.py"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("nix/wheels.json", SOME["sha256"], "0" * 64, f"{SOME['file']}: its hash is not in the lock file"),
        ("nix/wheels.json", SOME["file"], SOME["file"].replace("x86_64", "s390x"), "does not run on x86_64-linux"),
        ("nix/wheels.json", f'"size": {SOME["size"]}', '"size": 0', f"{SOME['file']}: its size is missing"),
        ("nix/wheels.json", '"celery"', '"celary"', "celary is in nix/wheels.json, but not locked"),
        ("requirements.lock", "\ncelery==", "\ncelery==1", "is locked, but not in nix/wheels.json"),
        ("pyproject.toml", '"celery>=5.6,<6"', '"celery>=99"', "pyproject.toml asks for celery>=99"),
        ("pyproject.toml", '"celery>=5.6,<6"', '"new-thing>=1"', "pyproject.toml asks for new-thing>=1, which is not"),
    ],
)
def test_a_disagreement_is_found(tmp_path: Path, file: str, old: str, new: str, said: str):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    done = check(tmp_path)
    assert done.returncode == 1 and said in done.stderr


def test_every_package_has_a_wheel_for_both_architectures():
    # Of the index nothing is named but folders.
    assert "://" not in (ROOT / "nix" / "wheels.json").read_text(encoding="utf-8")
    for name, entry in PACKAGES.items():
        assert set(entry["wheels"]) in ({"any"}, {"x86_64-linux", "aarch64-linux"}), name
        for wheel in entry["wheels"].values():
            assert re.fullmatch(r"[^-]+(-[^-]+){4}\.whl", wheel["file"])
            assert re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}", wheel["folder"])

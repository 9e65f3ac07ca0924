"""tools/images.py: which wheels go into the images, and what a Dockerfile says of a config."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def images() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fileintel_images", ROOT / "tools" / "images.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_package_is_locked_once_for_the_python_of_the_images(images: ModuleType) -> None:
    lines = list(images.locked((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    found = [Requirement(line.split(" --hash=")[0]) for line in lines]
    names = [requirement.name for requirement in found]
    assert len(names) == len(set(names)) > 100
    assert all(requirement.marker is None for requirement in found)
    assert all(line.count("--hash=sha256:") >= 1 for line in lines)


def test_markers_are_those_of_that_python_and_not_of_the_running_one(images: ModuleType) -> None:
    text = (
        "a==1 ; python_full_version < '3.12' \\\n    --hash=sha256:aa\n    # via x\n"
        "a==2 ; python_full_version >= '3.12' \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "b==3 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
        "c==4 \\\n    --hash=sha256:ee\n"
    )
    assert [line.split() for line in images.locked(text)] == [
        ["a==2", "--hash=sha256:bb", "--hash=sha256:cc"],
        ["c==4", "--hash=sha256:ee"],
    ]


def test_a_dockerfile_says_what_the_config_says(images: ModuleType) -> None:
    described = json.loads((ROOT / "nix" / "debian-images.json").read_text(encoding="utf-8"))["images"]
    assert set(images.BASES) == set(described)
    for config in described.values():
        lines = images.dockerfile(config)
        assert f"USER {config['User']}" == lines[-1]
        for instruction, key in (("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")):
            (line,) = [line for line in lines if line.startswith(f"{instruction} ")]
            assert json.loads(line.partition(" ")[2]) == config[key]
        (environment,) = [line for line in lines if line.startswith("ENV ")]
        assert all(f'{name}="{value}"' in environment for name, value in images.pairs(config["Env"]))
        assert f"STOPSIGNAL {config['StopSignal']}" in lines

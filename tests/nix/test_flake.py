"""The flake: its lock is complete, and every output evaluates where nixpkgs, or its lib, is at hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NIXPKGS = os.environ.get("FILEINTEL_NIXPKGS", "")
WHOLE = bool(NIXPKGS) and (Path(NIXPKGS) / "pkgs" / "top-level").is_dir()
IMAGES = {"image-app", "image-postgres", "image-redis-broker", "image-redis-cache"}
SYSTEMS = {"x86_64-linux", "aarch64-linux"}
# As a checkout: what is not tracked, environments among it, is not copied.
OURS = f"git+file://{ROOT}"


def test_the_lock_is_complete(evaluate: Callable[[str], Any]):
    lock = json.loads((ROOT / "flake.lock").read_text(encoding="utf-8"))
    assert (lock["version"], lock["root"]) == (7, "root") and set(lock["nodes"]) == {"root", "nixpkgs"}
    inputs = evaluate(f"builtins.mapAttrs (_: i: i.url) (import {ROOT}/flake.nix).inputs")
    assert lock["nodes"]["root"]["inputs"] == {name: name for name in inputs}
    node = lock["nodes"]["nixpkgs"]
    wanted = node["original"]
    assert inputs == {"nixpkgs": f"github:{wanted['owner']}/{wanted['repo']}/{wanted['ref']}"}
    assert (node["locked"]["owner"], node["locked"]["repo"]) == (wanted["owner"], wanted["repo"])
    assert re.fullmatch(r"[0-9a-f]{40}", node["locked"]["rev"]) and node["locked"]["lastModified"] > 0
    assert re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", node["locked"]["narHash"])


def test_the_vm_tests_server_has_all_its_modules():
    taken = re.findall(r"\.\./tests/(\w+)\.py", (ROOT / "nix" / "vm-test.nix").read_text(encoding="utf-8"))
    there = {path.stem for path in (ROOT / "tests").glob("*.py")}
    needed, queue = set(), ["llm_server"]
    while queue:
        name = queue.pop()
        needed.add(name)
        text = (ROOT / "tests" / f"{name}.py").read_text(encoding="utf-8")
        imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
        queue += (imported & there) - needed
    assert set(taken) == needed


@pytest.mark.skipif(shutil.which("nixfmt") is None, reason="nixfmt is not installed, and Debian has none")
def test_every_file_is_formatted_as_nixfmt_does():
    done = subprocess.run(["nixfmt", "--check", *map(str, ROOT.glob("**/*.nix"))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_flake_only_imports():
    assert len((ROOT / "flake.nix").read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.skipif(not NIXPKGS, reason="FILEINTEL_NIXPKGS names no nixpkgs")
def test_every_output_evaluates(evaluate: Callable[[str], Any]):
    found = evaluate(f"import {ROOT}/tests/nix/stand-in.nix {{ lib = import {NIXPKGS}/lib; root = {ROOT}; }}")
    packages = {"default", "images", "compose", "load-images", *IMAGES}
    assert {system: set(names) for system, names in found["packages"].items()} == dict.fromkeys(SYSTEMS, packages)
    for kind, names in (
        ("devShells", {"default"}),
        ("apps", {"default", "demo", "load-images"}),
        ("checks", {"package", "configuration", "compose", "wheels", "vm"}),
    ):
        assert {system: set(entry) for system, entry in found[kind].items()} == dict.fromkeys(SYSTEMS, names)
    assert set(found["formatter"]) == SYSTEMS
    assert set(found["nixosModules"]) == {"default", "postgres", "redis", "prefork-worker", "gevent-worker", "api"}
    assert found["template"]["path"].endswith("-template") and (ROOT / "nix" / "template" / "flake.nix").is_file()
    # The code has a layer that no wheel is in.
    wheels = found["image"]["layeringPipeline"][0]
    assert wheels[0] == "split_paths" and len(wheels[1]) > 150
    assert not any("fileintel" in path for path in wheels[1])
    assert any("celery-" in path for path in wheels[1]) and not any("pytest-" in path for path in wheels[1])


def nix(*arguments: str) -> str:
    """What such a command says, with WHOLE as nixpkgs; raises ValueError with its message."""
    command = ["nix", "--extra-experimental-features", "nix-command flakes", *arguments, "--no-write-lock-file"]
    # With a store: flakes are copied there.
    environment = {name: value for name, value in os.environ.items() if name != "NIX_REMOTE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return done.stdout


@pytest.mark.skipif(not WHOLE, reason="FILEINTEL_NIXPKGS names no whole nixpkgs")
def test_nix_itself_checks_the_flake():
    nix("flake", "check", "--no-build", "--all-systems", OURS, "--override-input", "nixpkgs", f"path:{NIXPKGS}")


@pytest.mark.skipif(not WHOLE, reason="FILEINTEL_NIXPKGS names no whole nixpkgs")
def test_the_templates_flake_makes_a_system():
    system = f"path:{ROOT}/nix/template#nixosConfigurations.documents.config.system.build.toplevel.drvPath"
    inputs = ["--override-input", "fileintel", OURS, "--override-input", "fileintel/nixpkgs", f"path:{NIXPKGS}"]
    assert re.search(r"-nixos-system-documents-.*\.drv$", nix("eval", "--raw", system, *inputs))

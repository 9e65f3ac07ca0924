from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from fileintel.configuration import generated, sizing
from fileintel.settings import FIELD_OF, GROUPS, Bytes, Settings, read

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", generated.FILES)
def test_generated_files_are_current(name: str):
    assert (ROOT / name).read_text(encoding="utf-8") == generated.FILES[name](), "run `make generate`"


def test_a_stale_file_fails_the_check_and_is_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert generated.main(["--root", str(tmp_path)]) == 0
    assert generated.main(["--root", str(tmp_path), "--check"]) == 0
    (tmp_path / ".env.example").write_text("old")
    capsys.readouterr()
    assert generated.main(["--root", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == ".env.example is stale: run `make generate`\n"
    assert (tmp_path / ".env.example").read_text() == "old"


def test_the_example_names_every_variable_and_group_and_reads_back_as_the_defaults():
    text = generated.env_example()
    values = dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))
    assert set(values) == set(FIELD_OF)
    assert read(values) == Settings()
    assert all(title in text for title in GROUPS.values())


def test_the_example_holds_the_formulas_and_the_profiles():
    text = generated.env_example()
    assert "gevent concurrency + prefork workers × 25 + API 50 + buffer 50" in text
    assert "500 MB + greenlets × 1.5 MB + active requests × 75 MB" in text
    for name in ("Conservative", "Balanced", "Aggressive"):
        assert f"# {name}, " in text
    for profile in sizing.PROFILES:
        assert set(profile.values) <= set(FIELD_OF)


def test_nix_gets_every_setting_typed():
    data = json.loads(generated.settings_json())
    assert set(data["settings"]) == set(FIELD_OF) and data["groups"] == GROUPS
    for entry in data["settings"].values():
        assert entry["type"] in {"string", "secret", "path", "size", "integer", "number", "choice"}
        assert entry["group"] in GROUPS and entry["doc"]
        if entry["type"] == "choice":
            assert entry["default"] in entry["choices"]
        if entry["type"] == "size":
            assert entry["bytes"] == Bytes(entry["default"]).bytes
        if entry["default"] is None:
            assert entry["defaultText"]
    assert data["settings"]["CELERY_GRAPHRAG_CONCURRENCY"]["default"] == 200
    assert data["settings"]["OPENAI_API_KEY"]["secret"] and data["settings"]["DATABASE_URL"]["secret"]


def pins(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def requirement(text: str) -> str:
    match = re.match(r"[A-Za-z0-9_.-]+", text)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_the_locks_pin_what_pyproject_asks_for_with_hashes_and_name_no_host():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {requirement(text) for text in project["project"]["dependencies"]} <= set(pins("requirements.lock"))
    assert {requirement(text) for text in project["dependency-groups"]["dev"]} <= set(pins("requirements-dev.lock"))
    assert pins("requirements.lock")["graphrag"] == {"3.3.0"}
    for name in ("requirements.lock", "requirements-dev.lock", "benchmarks/requirements.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text and "/opt/" not in text and "index-url" not in text
        pinned = [block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE) if "==" in block]
        assert all("--hash=sha256:" in block for block in pinned)
        assert not re.search(r"\s-[cr] /", text), f"{name} names a folder of the machine it was made on"


def test_the_two_locks_agree():
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev[name] for name in dev.keys() & runtime.keys() if dev[name] - runtime[name]} == {}


def test_every_library_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = {requirement(text) for text in project["project"]["dependencies"]}
    # Their owners declare them: kombu is Celery's, pydantic_core pydantic's, graphrag's parts are pinned by graphrag.
    declared |= {"kombu", "pydantic-core", "graphrag-common", "graphrag-llm", "graphrag-storage", "graphrag-vectors"}
    providers = packages_distributions()
    undeclared = {}
    for path in (ROOT / "fileintel").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"fileintel"}:
                if not {requirement(provider) for provider in providers.get(name, [name])} & declared:
                    undeclared[name] = str(path.relative_to(ROOT))
    assert undeclared == {}

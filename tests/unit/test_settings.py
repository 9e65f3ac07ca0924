from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from deployment_defaults import DESIGN, GEVENT
from pydantic import ValidationError

from fileintel import settings as declared
from fileintel.errors import ConfigurationError
from fileintel.settings import FIELD_OF, Bytes, Settings, load, read

DEPLOYMENT_DEFAULTS = {**DESIGN, **GEVENT}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No setting of the developer's machine, and a state folder of our own."""
    for variable in list(os.environ):
        if variable in FIELD_OF or variable.startswith("FILEINTEL_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("FILEINTEL_STATE_DIR", str(tmp_path))
    load.cache_clear()
    yield
    load.cache_clear()


def write_run_file(state_dir: Path, text: str) -> Path:
    path = state_dir / "run" / "environment"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("variable", DEPLOYMENT_DEFAULTS)
def test_the_replaced_deployments_names_keep_their_defaults(variable: str):
    assert str(getattr(Settings(), FIELD_OF[variable])) == DEPLOYMENT_DEFAULTS[variable]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_on_one_line_and_grouped(name: str):
    field = Settings.model_fields[name]
    assert field.description and "\n" not in field.description and len(field.description) < 100
    assert field.json_schema_extra["group"] in declared.GROUPS
    assert declared.type_of(name)
    assert declared.expected_form(name)


@pytest.mark.parametrize(
    ("spelling", "count"),
    [
        ("20G", 20 * 1024**3),
        ("2gb", 2 * 1024**3),
        ("32MB", 32 * 1024**2),
        ("512 MiB", 512 * 1024**2),
        ("16kB", 16 * 1024),
        ("1T", 1024**4),
        ("4096", 4096),
        ("7b", 7),
        ("0", 0),
    ],
)
def test_sizes_keep_their_spelling_and_know_their_bytes(spelling: str, count: int):
    size = Bytes(spelling)
    assert size == spelling and size.bytes == count


@pytest.mark.parametrize("spelling", ["", "G", "2x", "-1G", "1.5G", "2 G B", "1e3", "\uff12G"])
def test_what_is_no_size_is_refused(spelling: str):
    with pytest.raises(ValueError):
        Bytes(spelling)


def test_sizes_are_spelt_for_postgres_in_its_own_units():
    assert Bytes("2G").for_postgres == "2097152kB"


def test_the_environment_wins_over_the_run_file_and_that_over_the_default(monkeypatch, tmp_path):
    write_run_file(tmp_path, "# by fileintel up\nREDIS_URL=redis://file:1/0\nDATABASE_URL=postgresql://file/x\n\n")
    monkeypatch.setenv("REDIS_URL", "redis://process:1/0")
    settings = load()
    assert settings.redis_url == "redis://process:1/0"
    assert settings.database_url == "postgresql://file/x"
    assert settings.openai_base_url == ""


def test_a_variable_set_to_nothing_counts_as_not_set(monkeypatch, tmp_path):
    write_run_file(tmp_path, "DATABASE_URL=postgresql://file/x\n")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("CELERY_GRAPHRAG_CONCURRENCY", " ")
    assert load().database_url == "postgresql://file/x"
    assert load().celery_graphrag_concurrency == 200


def test_values_may_hold_equals_signs(tmp_path):
    write_run_file(tmp_path, "DATABASE_URL=postgresql://u:p@h/x?sslmode=require\n")
    assert load().database_url == "postgresql://u:p@h/x?sslmode=require"


def test_a_run_file_that_is_no_such_file_is_named(tmp_path):
    path = write_run_file(tmp_path, "DATABASE_URL\n")
    with pytest.raises(ConfigurationError, match="line 1: expected NAME=VALUE") as caught:
        load()
    assert str(path) in str(caught.value)


def test_load_is_cached_until_told_otherwise(monkeypatch):
    first = load()
    monkeypatch.setenv("FILEINTEL_LOG_LEVEL", "DEBUG")
    assert load() is first
    load.cache_clear()
    assert load().log_level == "DEBUG"


def test_settings_are_frozen_and_never_read_the_environment_by_themselves(monkeypatch):
    monkeypatch.setenv("CELERY_GRAPHRAG_CONCURRENCY", "7")
    settings = Settings()
    assert settings.celery_graphrag_concurrency == 200
    with pytest.raises(ValidationError):
        settings.log_level = "DEBUG"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("FILEINTEL_CHAT_MODLE", "FILEINTEL_CHAT_MODEL"), ("FILEINTEL_STATEDIR", "FILEINTEL_STATE_DIR")],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(monkeypatch, name: str, hint: str):
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationError, match=f"^{name} in the environment is no setting.*did you mean {hint}"):
        load()


def test_an_unknown_name_in_the_run_file_names_the_file(tmp_path):
    write_run_file(tmp_path, "FILEINTEL_ZZZZ=1\n")
    with pytest.raises(ConfigurationError, match=r"FILEINTEL_ZZZZ in .*/run/environment"):
        load()


@pytest.mark.parametrize(
    ("variable", "value", "form"),
    [
        ("CELERY_GRAPHRAG_CONCURRENCY", "many", "a whole number from 1"),
        ("CELERY_GRAPHRAG_CONCURRENCY", "0", "a whole number from 1"),
        ("CELERY_WORKER_MEMORY_LIMIT", "lots", "a size such as"),
        ("CELERY_WORKER_POOL", "eventlet", "one of prefork, gevent"),
        ("FILEINTEL_API_PORT", "70000", "up to 65535"),
        ("FILEINTEL_PARSER_SECONDS", "0", "a number over 0"),
        ("POSTGRES_CHECKPOINT_COMPLETION_TARGET", "1.1", "up to 1"),
        ("FILEINTEL_LOG_LEVEL", "loud", "one of DEBUG"),
    ],
)
def test_a_malformed_value_is_one_line_with_name_and_form(variable: str, value: str, form: str):
    with pytest.raises(ConfigurationError) as caught:
        read({variable: value})
    text = str(caught.value)
    assert text.startswith(f"{variable}: expected ") and form in text and value in text and "\n" not in text
    assert caught.value.exit_code == 2


def test_secrets_show_in_no_representation():
    settings = read(
        {
            "OPENAI_API_KEY": "hunter2-a",
            "FILEINTEL_API_KEY": "hunter2-b",
            "DATABASE_URL": "postgresql://u:hunter2-c@h/x",
            "REDIS_URL": "redis://:hunter2-d@h/0",
        }
    )
    assert "hunter2" not in f"{settings} {settings!r}"
    assert settings.openai_api_key.get_secret_value() == "hunter2-a"


def test_folders_are_absolute_and_hang_together(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = read({"FILEINTEL_STATE_DIR": "~/files"})
    assert settings.state_dir == tmp_path / "files"
    assert settings.blob_dir == tmp_path / "files" / "blobs"
    assert settings.environment_file == tmp_path / "files" / "run" / "environment"
    assert read({"FILEINTEL_BLOB_DIR": "/srv/blobs"}).blob_dir == Path("/srv/blobs")


@pytest.mark.parametrize(
    ("uid", "xdg", "expected"),
    [
        (0, "/xdg", "/var/lib/fileintel"),
        (1000, "/xdg", "/xdg/fileintel"),
        (1000, "relative", "/home/a/.local/state/fileintel"),
        (1000, "", "/home/a/.local/state/fileintel"),
    ],
)
def test_the_state_folder_follows_the_user(monkeypatch, uid: int, xdg: str, expected: str):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.setenv("XDG_STATE_HOME", xdg)
    assert declared.default_state_dir() == Path(expected)


def test_importing_settings_brings_in_no_heavy_library():
    script = "import sys, fileintel.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic_settings", "celery", "graphrag", "sqlalchemy", "typer", "httpx"} & set(loaded)

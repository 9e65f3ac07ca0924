"""What the demonstration says to type next can be typed where it was run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fileintel.cli.demo import _program


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / ".venv" / "bin" / "fileintel"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [".venv/bin/fileintel", "demo"])
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    return program


def test_off_the_path_it_is_named_as_it_was_called(called: Path, monkeypatch: pytest.MonkeyPatch):
    assert _program() == ".venv/bin/fileintel"
    monkeypatch.setattr(sys, "argv", [str(called)])
    assert _program() == str(called)


def test_on_the_path_its_name_is_enough(called: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(called.parent))
    assert _program() == "fileintel"


def test_of_a_program_in_a_wrapper_the_one_that_has_its_libraries_is_named(
    called: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wrapped = tmp_path / "code" / "fileintel"
    wrapped.parent.mkdir()
    wrapped.write_text("#!/bin/sh\n")
    monkeypatch.setattr(sys, "argv", [str(wrapped)])
    assert _program() == str(called)
    monkeypatch.setenv("PATH", str(called.parent))
    assert _program() == "fileintel"

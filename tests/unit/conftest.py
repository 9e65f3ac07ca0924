"""Unit tests run in the Nix package's build too, where of the checkout there is only what nix/package.nix lists: here
what else they open is refused, so that no build is the first to find out."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LISTED = {"fileintel", "tests", "pyproject.toml", "README.md", "LICENSE"}
# What setuptools leaves beside them.
MADE = {"build", "dist", "fileintel.egg-info"}
ELSEWHERE = tuple(
    f"{path}{os.sep}" if path.is_dir() else str(path)
    for path in ROOT.iterdir()
    if path.name not in LISTED | MADE
    and (path.name == ".env.example" or not path.name.startswith("."))
    and not (path / "pyvenv.cfg").exists()
)
_ours = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _ours and event == "open" and str(arguments[0]).startswith(ELSEWHERE):
        raise AssertionError(f"{arguments[0]} is not there in every build: such a test belongs to tests/checkout")


sys.addaudithook(_refuse)


def _refusing(path: Path) -> Generator[None, Any, Any]:
    global _ours
    # pytest asks this file of tests in other folders too.
    _ours = path.is_relative_to(HERE)
    try:
        return (yield)
    finally:
        _ours = False


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    return (yield from _refusing(collector.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _refusing(item.path))

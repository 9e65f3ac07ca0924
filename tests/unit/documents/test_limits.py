from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from processes import gone, wait_until
from unit.documents.conftest import MakePdf, wrapped

from fileintel.documents import limits, parse, parse_in_limits
from fileintel.errors import CorruptDocumentError, EmptyDocumentError, ParserLimitError

GIB = 1 << 30


def test_gives_what_parse_gives(make_pdf: MakePdf) -> None:
    path = make_pdf([wrapped("First page."), wrapped("Zweite Größe.")], title="T")

    assert parse_in_limits(path, "a.pdf", seconds=60, memory_bytes=GIB) == parse(path, "a.pdf")


def test_raises_what_parse_raises(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()

    with pytest.raises(EmptyDocumentError, match='^"a b.pdf" is empty'):
        parse_in_limits(path, "x/a\nb.pdf", seconds=60, memory_bytes=GIB)


def test_too_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"word " * (30 << 20))

    with pytest.raises(ParserLimitError, match="more than 256 MiB of memory"):
        parse_in_limits(path, "big.txt", seconds=60, memory_bytes=256 << 20)


def test_too_much_time(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)  # opening it waits for a writer that never comes

    with pytest.raises(ParserLimitError, match=r"not read within 0\.5 s"):
        parse_in_limits(path, "slow.txt", seconds=0.5, memory_bytes=GIB)


def test_too_much_processor_time_and_crashes_are_told_apart() -> None:
    assert isinstance(limits._failed(-signal.SIGXCPU, b"", '"a"', 5, GIB), ParserLimitError)
    assert isinstance(limits._failed(1, b"...\nMemoryError\n", '"a"', 5, GIB), ParserLimitError)
    assert isinstance(limits._failed(-signal.SIGSEGV, b"", '"a"', 5, GIB), CorruptDocumentError)
    assert "SIGSEGV" in str(limits._failed(-signal.SIGSEGV, b"", '"a"', 5, GIB))


def test_a_crash_of_the_parser_is_a_corrupt_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A parser library that dies of a segmentation fault, found before the real one.
    (tmp_path / "bs4.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    page = tmp_path / "page"
    page.write_text("<html><p>x</p></html>")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(CorruptDocumentError, match=r"made its parser crash \(SIGSEGV\)"):
        parse_in_limits(page, "page.html", seconds=60, memory_bytes=GIB)


def test_the_child_is_given_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bs4.py").write_text(
        "import json, os\n"
        # Once: the parsing process imports it too, after the child that this test waits for.
        f"open({str(tmp_path / 'seen')!r}, 'x').write(json.dumps(sorted(os.environ)))\n"
        "raise RuntimeError\n"
    )
    page = tmp_path / "page"
    page.write_text("<html><p>x</p></html>")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("DATABASE_URL", "secret")

    with pytest.raises(CorruptDocumentError):
        parse_in_limits(page, "page.html", seconds=60, memory_bytes=GIB)

    seen = json.loads((tmp_path / "seen").read_text())
    assert "PYTHONPATH" in seen
    assert not {"OPENAI_API_KEY", "DATABASE_URL"} & set(seen)


def _parsing_process() -> psutil.Process:
    (found,) = [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and child.cmdline()[-2:] == ["-m", "fileintel.documents.child"]
    ]
    return found


def test_one_process_reads_file_after_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Some words.")
    parse_in_limits(path, "a.txt", seconds=60, memory_bytes=GIB)
    first = _parsing_process()
    parse_in_limits(path, "a.txt", seconds=60, memory_bytes=GIB)

    assert _parsing_process().pid == first.pid

    first.kill()
    first.wait()
    assert parse_in_limits(path, "a.txt", seconds=60, memory_bytes=GIB).sections[0].text == "Some words."
    assert _parsing_process().pid != first.pid


def test_ends_with_whoever_started_it(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)  # reading it never ends by itself
    code = (
        "from pathlib import Path; from fileintel.documents import parse_in_limits; "
        f"parse_in_limits(Path({str(path)!r}), 'a.txt', seconds=60, memory_bytes={GIB})"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as worker:
        started = psutil.Process(worker.pid)
        wait_until(lambda: len(started.children(recursive=True)) == 2, 120)
        processes = started.children(recursive=True)
        worker.kill()

    wait_until(lambda: all(gone(process.pid) for process in processes))


def _parse_and_tell(path: str, results: multiprocessing.SimpleQueue[str]) -> None:
    results.put(parse_in_limits(Path(path), "a.txt", seconds=60, memory_bytes=GIB).sections[0].text)


def test_works_from_a_daemonic_process(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Some words.")
    context = multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    process = context.Process(target=_parse_and_tell, args=(str(path), results), daemon=True)
    process.start()

    assert results.get() == "Some words."
    process.join()

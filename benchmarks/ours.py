"""FileIntel as the benchmarks run it: real Postgres and broker, workers by the product's own command, one LLM server.

A part of the benchmarks runs in a process of its own with one `installation()`; each measurement in it starts fresh
workers, so that no limiter has learned from the one before, and uses a collection of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llm_server
import psutil
from deployment import Deployment, environment, wait_for
from llm_server import ScriptedServer

from benchmarks import VENV_PYTHON, BenchmarkError
from benchmarks.corpora import Corpus
from fileintel.model import Collection, IndexRun
from fileintel.store import collections, runs
from fileintel.store.engine import rows
from fileintel.tasks import bells

# A build that does not end within this time will not end.
PATIENCE_SECONDS = 900.0
# Finding a worker's processes costs milliseconds, and a high-water mark does not go away.
_SAMPLE_SECONDS = 1.0


@contextlib.contextmanager
def scripted(**options: Any) -> Iterator[ScriptedServer]:
    """Run the LLM server on uvloop, by the Python that has it."""
    with llm_server.running(python=str(VENV_PYTHON), uvloop=True, **options) as server:
        yield server


@dataclass
class Sampler:
    """Watches worker processes: the highest resident memory each has had, and the CPU each has used.

    Memory is the kernel's own high-water mark (VmHWM), read while the process lives.
    """

    roots: dict[str, int]
    peaks: dict[str, dict[int, float]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Sampler:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        self._sample()

    def peak_mb(self, name: str) -> float:
        """The highest peak among a worker's processes, in MB (10^6 bytes)."""
        return max(self.peaks.get(name, {0: 0.0}).values())

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        for name, pid in self.roots.items():
            for process in _tree(pid):
                peak = _high_water_mb(process)
                if peak is not None:
                    mine = self.peaks.setdefault(name, {})
                    mine[process] = max(peak, mine.get(process, 0.0))


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _high_water_mb(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 / 1e6 if found else None


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass
class Build:
    """One build as it was measured; times in seconds."""

    run: IndexRun
    seconds: float
    steps: dict[str, dict[str, Any]]
    calls: dict[str, Any]
    cpu: dict[str, float]
    peaks: dict[str, float]

    @property
    def chat_calls(self) -> int:
        """Chat calls that the server counted."""
        return sum(tally["count"] for kind, tally in self.calls["kinds"].items() if kind != "embedding")

    def described(self) -> dict[str, Any]:
        """The measurement as it is kept in the results."""
        kinds = self.calls["kinds"]
        return {
            "seconds": self.seconds,
            "steps": self.steps,
            "calls": {kind: tally["count"] for kind, tally in kinds.items()},
            "peak_in_flight": {kind: tally["peak"] for kind, tally in kinds.items()},
            "mean_in_flight": {kind: tally["mean_in_flight"] for kind, tally in kinds.items()},
            "repeated_calls": sum(tally["repeated"] for tally in kinds.values()),
            "chat_calls": self.chat_calls,
            "server_cpu_seconds": self.calls["cpu_seconds"],
            "worker_cpu_seconds": self.cpu,
            "peak_rss_mb": self.peaks,
        }


class Installation(Deployment):
    """A deployment whose workers come and go, with what the benchmarks measure on it."""

    @contextlib.contextmanager
    def workers_running(self, graphrag: int = 1) -> Iterator[None]:
        """Run the main worker and so many graphrag workers, each as on a host of its own, by the product's command."""
        names = ["main", *(f"graphrag-{number}" for number in range(1, graphrag + 1))]
        logs = {}
        for name in names:
            logs[name] = self.folder / f"{name}-{time.monotonic_ns()}.log"
            command = [sys.executable, "-m", "fileintel", "worker", name.partition("-")[0]]
            with logs[name].open("wb") as output:
                self.processes[name] = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            for name in names:
                wait_for(lambda name=name: self._is_ready(name, logs[name]), 180, f"worker {name} ready")
            yield
        finally:
            self.stop()
            self.processes.clear()

    def _is_ready(self, name: str, log: Path) -> bool:
        text = log.read_bytes()
        if self.processes[name].poll() is not None:
            raise BenchmarkError(f"worker {name} ended: {text[-2000:].decode(errors='replace')}")
        return b" ready." in text

    def read(self, name: str, corpus: Corpus) -> tuple[Collection, float]:
        """Upload a corpus and have it read; returns the collection and the time from upload to the last document read.

        Raises BenchmarkError if a document is not read or the text units are not the corpus's.
        """
        made = collections.create(name)
        start = time.monotonic()
        for number, text in enumerate(corpus.texts):
            self.upload(made, f"{name}-{number:05}.txt", text.encode())
        read = self.settle(made, PATIENCE_SECONDS)
        seconds = time.monotonic() - start
        failed = [document for document in read if document.state != "ready"]
        if failed:
            raise BenchmarkError(f"{len(failed)} documents were not read, the first: {failed[0].error}")
        units = sum(document.text_units for document in read)
        if units != len(corpus.units):
            raise BenchmarkError(f"the documents were read into {units} text units, not {len(corpus.units)}")
        return made, seconds

    def ended(self, run: IndexRun) -> IndexRun:
        """Wait until a run has ended, by asking for no more than its state: its counts would cost Postgres dear."""
        end = time.monotonic() + PATIENCE_SECONDS
        while rows("SELECT state FROM index_runs WHERE id = :id", id=run.id)[0]["state"] == "running":
            if time.monotonic() > end:
                raise BenchmarkError(f"index run {run.id} was not done within {PATIENCE_SECONDS:.0f} s")
            time.sleep(0.05)
        return runs.get(run.id)

    def measure(self, collection: Collection) -> Build:
        """Build a collection's index, from the request to the published version, counting from nought."""
        self.llm.reset()
        server_cpu = self.llm.stats()["cpu_seconds"]
        pids = {name: process.pid for name, process in self.processes.items()}
        cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
        with Sampler(pids) as sampler:
            start = time.monotonic()
            run = self.ended(bells.start_index(collection.id))
            seconds = time.monotonic() - start
        if run.state != "complete":
            raise BenchmarkError(f"index run {run.id} is {run.state}: {run.error}")
        if run.finished_at is not None:
            # The run's own times: asking for its state every 50 ms is not part of it.
            seconds = (run.finished_at - run.created_at).total_seconds()
        calls = self.llm.stats()
        calls["cpu_seconds"] -= server_cpu
        return Build(
            run=run,
            seconds=seconds,
            steps=step_times(run),
            calls=calls,
            cpu={name: cpu_seconds(pid) - cpu[name] for name, pid in pids.items()},
            peaks={name: sampler.peak_mb(name) for name in pids},
        )


def step_times(run: IndexRun) -> dict[str, dict[str, Any]]:
    """Each step's number of items, and when its first was begun and its last finished, in seconds from the start."""
    found = rows(
        """SELECT step, count(*) AS items, min(started_at) AS started, max(finished_at) AS finished
           FROM work_items WHERE run_id = :id GROUP BY step ORDER BY max(finished_at)""",
        id=run.id,
    )
    return {
        row["step"]: {
            "items": row["items"],
            "started": (row["started"] - run.created_at).total_seconds(),
            "finished": (row["finished"] - run.created_at).total_seconds(),
        }
        for row in found
        if row["started"] is not None and row["finished"] is not None
    }


@contextlib.contextmanager
def installation(llm: ScriptedServer, **variables: str) -> Iterator[Installation]:
    """Run Postgres and the broker in a temporary folder, migrated, and yield the installation; all goes at the end."""
    from fileintel.embedded.services import services
    from fileintel.store import engine, migrations

    with tempfile.TemporaryDirectory(prefix="fileintel-bench-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        with services(Path(folder), keep=False) as urls:
            values = {
                **urls,
                "OPENAI_BASE_URL": llm.base_url,
                "FILEINTEL_CHAT_MODEL": "scripted",
                "FILEINTEL_EMBEDDING_MODEL": "scripted-embedding",
                "FILEINTEL_STATE_DIR": folder,
                # Text units without overlap, as every contestant has them: see corpora.py.
                "FILEINTEL_TEXT_UNIT_OVERLAP": "0",
                # A build begins when it is asked for, not by itself after a change.
                "FILEINTEL_AUTO_BUILD_SECONDS": "0",
                **variables,
            }
            with environment(values):
                migrations.migrate()
                running = Installation(llm, Path(folder))
                try:
                    yield running
                finally:
                    running.stop()
                    engine.dispose()


def cancelled(run: IndexRun) -> None:
    """Stop a run whose rest is not measured."""
    runs.cancel(run.id)

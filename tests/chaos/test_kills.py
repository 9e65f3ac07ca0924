"""Each process of a running FileIntel is killed in the middle of a build, and the build completes all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import llm_server
import psutil
import pytest
from deployment import wait_for

# The first test waits for everything to start as well.
pytestmark = pytest.mark.timeout(600)

COMMUNITIES = 120


@dataclass
class Up:
    """A `fileintel up` with the scripted LLM server behind it."""

    launcher: subprocess.Popen[bytes]
    api: httpx.Client
    llm: llm_server.ScriptedServer
    folder: Path

    def process(self, *words: str) -> psutil.Process:
        """The oldest process below the launcher whose command line has all these words."""
        found: list[tuple[float, psutil.Process]] = []
        for child in psutil.Process(self.launcher.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # Postgres's own come and go
                if all(word in " ".join(child.cmdline()) for word in words):
                    found.append((child.create_time(), child))
        return min(found, key=lambda pair: pair[0])[1]

    def get(self, path: str) -> dict[str, Any]:
        """What the API says, once it says something: what it needs may just be restarting."""

        def ask() -> dict[str, Any] | None:
            try:
                answer = self.api.get(path)
            except httpx.TransportError:
                return None
            return answer.json() if answer.status_code == 200 else None

        return wait_for(ask, 120, f"an answer to GET {path}")

    def build(self, name: str, padding: int) -> dict[str, Any]:
        """Begin a build over a new collection and return its run, extracting."""
        texts = llm_server.corpus(COMMUNITIES, 6, padding).texts
        self.api.post("/collections", json={"name": name}).raise_for_status()
        sent = self.api.post(
            f"/collections/{name}/documents", params={"name": f"{name}.txt"}, content="\n\n".join(texts).encode()
        )
        sent.raise_for_status()
        self.llm.reset()
        started = self.api.post(f"/collections/{name}/index-runs")
        started.raise_for_status()
        return started.json()

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run once it has ended."""
        path = f"/index-runs/{run['id']}"
        wait_for(lambda: self.get(path)["run"]["state"] != "running", 240, "the end of the build")
        return self.get(path)["run"]


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    # Not pytest's own folder: root's Postgres, which runs under another uid, cannot reach below it.
    with tempfile.TemporaryDirectory(prefix="fileintel-chaos-") as name, llm_server.running() as llm:
        folder = Path(name)
        folder.chmod(0o755)
        environment = {
            **os.environ,
            "FILEINTEL_STATE_DIR": name,
            "OPENAI_BASE_URL": llm.base_url,
            "FILEINTEL_CHAT_MODEL": "scripted",
            "FILEINTEL_EMBEDDING_MODEL": "scripted-embedding",
            "FILEINTEL_MAX_GLEANINGS": "0",
            "CELERY_WORKER_CONCURRENCY": "2",
        }
        for variable in ("DATABASE_URL", "REDIS_URL"):
            environment.pop(variable, None)
        with (folder / "up.log").open("wb") as log:
            launcher = subprocess.Popen(
                [sys.executable, "-m", "fileintel", "up"], env=environment, stdout=log, stderr=log
            )
        try:
            values = wait_for(lambda: _environment(folder, launcher), 120, "fileintel up")
            key = (folder / "admin.key").read_text().strip()
            with httpx.Client(
                base_url=values["FILEINTEL_API_URL"] + "/api/v2",
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
                trust_env=False,
            ) as api:
                yield Up(launcher, api, llm, folder)
        finally:
            launcher.terminate()
            launcher.wait(120)


def _environment(folder: Path, launcher: subprocess.Popen[bytes]) -> dict[str, str] | None:
    if launcher.poll() is not None:
        raise AssertionError((folder / "up.log").read_text()[-3000:])
    try:
        lines = (folder / "run" / "environment").read_text().splitlines()
    except FileNotFoundError:
        return None
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values if "FILEINTEL_API_URL" in values else None


VICTIMS = {
    "gevent worker": ("--pool=gevent",),
    "main worker": ("--pool=prefork",),
    "broker": ("valkey",),
    "postgres": ("postgres", "-D"),
    "api": ("fileintel", " api"),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_build_survives_the_death_of(up: Up, victim: str) -> None:
    # One after the other, so that there is a middle.
    up.llm.configure(latency=1.0, slots=20)
    name = victim.replace(" ", "-")
    run = up.build(name, padding=1 + list(VICTIMS).index(victim))
    wait_for(lambda: up.llm.kind("extract")["answered"] >= 10, 120, "some extractions")
    up.process(*VICTIMS[victim]).send_signal(signal.SIGKILL)
    time.sleep(1)
    up.llm.configure(latency=0.0, slots=0)
    ended = up.finish(run)
    assert ended["state"] == "complete", ended
    counts = up.get(f"/collections/{name}/graph")["counts"]
    assert counts["reports"] == counts["communities"] > 0
    extract = up.llm.stats()["kinds"]["extract"]
    assert extract["repeated"] <= 200

"""docs/compose.yaml brought up by `docker compose` itself, step by step as docs/deployment.md says."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from compose_file import FILE, compose
from deployment import V2, ask, settled, wait_for
from stack import free_port

COMPOSE = ["docker", "compose"]


def missing() -> bool:
    return shutil.which("docker") is None or subprocess.run([*COMPOSE, "version"], capture_output=True).returncode != 0


pytestmark = pytest.mark.skipif(missing(), reason="docker compose is not installed")


@dataclass
class Project:
    """A folder with compose.yaml and .env, and the project that runs from it."""

    folder: Path
    name: str
    port: int

    def run(self, *arguments: str, **environment: str) -> str:
        """Run docker compose; returns what it wrote to stdout, or fails the test."""
        command = [*COMPOSE, "--project-name", self.name, "--ansi=never", "--progress=plain", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    found = Project(tmp_path_factory.mktemp("compose"), f"fileintel-{uuid.uuid4().hex[:8]}", free_port())
    shutil.copy(FILE, found.folder / "compose.yaml")
    lines = {
        "POSTGRES_PASSWORD": uuid.uuid4().hex,
        "REDIS_PASSWORD": uuid.uuid4().hex,
        "FILEINTEL_API_PORT": str(found.port),
        "CELERY_WORKER_CONCURRENCY": "2",
    }
    (found.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    try:
        found.run("up", "--detach", "--wait")
        yield found
    finally:
        found.run("down", "--volumes", "--timeout", "10")


def test_everything_comes_up_healthy_and_answers_from_a_document(project: Project) -> None:
    states = project.run("ps", "--format", "{{.Service}} {{.Health}}").split("\n")
    healthy = {line.split()[0] for line in states if line.endswith(" healthy")}
    assert healthy == set(compose()["services"]) - {"migrate"}
    said = project.run("run", "--rm", "migrate", "migrate", "--first-key").splitlines()
    (secret,) = [line for line in said if line.startswith("fi_")]
    health = project.run(
        "exec", "-T", "--env", "FILEINTEL_API_KEY", "api", "fileintel", "health", FILEINTEL_API_KEY=secret
    )
    assert "database" in health and "broker" in health
    headers = {"Authorization": f"Bearer {secret}"}
    url = f"http://127.0.0.1:{project.port}"
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        assert client.post(f"{V2}/collections", json={"name": "test"}).status_code == 201
        for name, text in (
            ("a.txt", b"Alice Moreau signed the contract with Harbour Bank on 3 March 2021."),
            ("b.txt", b"Harbour Bank is led by Bruno Keller, who met Alice Moreau at Pier Four."),
        ):
            client.post(f"{V2}/collections/test/documents", params={"name": name}, content=text).raise_for_status()
        assert {document["state"] for document in settled(client, "test").values()} == {"ready"}
        run = client.post(f"{V2}/collections/test/index-runs").json()

        def ended() -> str:
            state = client.get(f"{V2}/index-runs/{run['id']}").json()["run"]["state"]
            return "" if state == "running" else state

        assert wait_for(ended, 120, "the end of the build") == "complete"
        kind, answer = ask(client, "test", "Who signed the contract with Harbour Bank?", "basic")[-1]
    assert kind == "answer" and "Alice Moreau" in answer["text"]
    assert answer["citations"][0]["document_name"] == "a.txt"

"""Real servers and workers, started once for all integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import llm_server
import pytest
from deployment import Api, Deployment, environment
from external import EXTERNAL
from llm_batching import Options


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """The Postgres and the broker that the tests are given, or embedded ones."""
    from fileintel.embedded.services import services

    given = EXTERNAL.environment()
    if {"DATABASE_URL", "REDIS_URL"} <= given.keys():
        yield given
        return
    with services(folder, keep=False) as urls:
        yield {**urls, **given}


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Postgres, broker, scripted LLM server and both workers, in that order."""
    folder: Path = tmp_path_factory.mktemp("deployment")
    with servers(folder) as urls, llm_server.running() as llm:
        values = {
            **urls,
            "OPENAI_BASE_URL": llm.base_url,
            "FILEINTEL_CHAT_MODEL": "scripted",
            "FILEINTEL_EMBEDDING_MODEL": "scripted-embedding",
            "FILEINTEL_STATE_DIR": str(folder),
            "FILEINTEL_MAX_GLEANINGS": "0",
            # Tests say themselves when something is built.
            "FILEINTEL_AUTO_BUILD_SECONDS": "0",
            "CELERY_WORKER_CONCURRENCY": "2",
        }
        with environment(values):
            from fileintel.store import engine, migrations

            migrations.migrate()
            running = Deployment(llm, folder)
            try:
                for name in ("main", "graphrag"):
                    running.start(name)
                yield running
            finally:
                running.stop()
                engine.dispose()


@pytest.fixture(scope="session")
def api(deployment: Deployment) -> Api:
    """The API before the same database and broker, with an admin key."""
    return deployment.serve()


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test begins with a server that answers at once and has counted nothing."""
    if "deployment" in request.fixturenames:
        running: Deployment = request.getfixturevalue("deployment")
        running.llm.configure(**asdict(Options()))
        running.llm.reset()
    yield

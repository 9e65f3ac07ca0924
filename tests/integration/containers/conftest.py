"""FileIntel in real containers, started once for all tests here; skipped where no engine answers."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
# Read when testcontainers is imported. The reaper is ours, for nothing is pulled; and a test that runs in a container
# itself still reaches published ports on loopback.
os.environ.setdefault("RYUK_CONTAINER_IMAGE", f"fileintel-reaper:{VERSION}")
os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")

sys.path.insert(0, str(Path(__file__).parent))
# The journey is the one of the processes' tests, on containers.
pytest.register_assert_rewrite("test_api_journey")

import docker  # noqa: E402
from deployment import Api  # noqa: E402
from docker.errors import DockerException, ImageNotFound  # noqa: E402
from external import EXTERNAL  # noqa: E402
from stack import Stack  # noqa: E402

IMAGES = ("fileintel", "fileintel-postgres", "fileintel-redis-broker", "fileintel-redis-cache", "fileintel-reaper")


def missing() -> str:
    """Why containers cannot be tested here, or ""."""
    try:
        engine = docker.from_env()
        engine.ping()
    except DockerException as error:
        return f"no container engine answers: {str(error).splitlines()[0]}"
    try:
        for image in IMAGES:
            engine.images.get(f"{image}:{VERSION}")
    except ImageNotFound:
        return f"no image {image}:{VERSION}: make images"
    finally:
        engine.close()
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    reason = missing() if ours else ""
    for item in ours:
        item.add_marker(pytest.mark.containers)
        if not item.get_closest_marker("timeout"):
            # The first test waits for every container as well.
            item.add_marker(pytest.mark.timeout(600))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service in a container of its own, as docs/compose.yaml describes it."""
    given = {
        "POSTGRES_PASSWORD": "postgres-of-the-tests",
        "REDIS_PASSWORD": "redis-of-the-tests",
        "OPENAI_BASE_URL": "http://llm:8000/v1",
        "FILEINTEL_CHAT_MODEL": "scripted",
        "FILEINTEL_EMBEDDING_MODEL": "scripted-embedding",
        "FILEINTEL_MAX_GLEANINGS": "0",
        "CELERY_WORKER_CONCURRENCY": "2",
    }
    stack = Stack(given, EXTERNAL)
    try:
        stack.start(tmp_path_factory.mktemp("containers"))
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def api(deployment: Stack) -> Api:
    """The API's container, and the two ways to it."""
    assert deployment.api is not None
    return deployment.api

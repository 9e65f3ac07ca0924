"""A test run that is killed leaves no container, network or volume behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import docker
import pytest
from deployment import wait_for

STARTS = """
import sys, time
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.labels import SESSION_ID, create_labels
from testcontainers.core.network import Network
from stack import watched
watched()
network = Network().create()
DockerClient().client.volumes.create(labels=create_labels("", None))
container = DockerContainer(sys.argv[1]).with_network(network).with_kwargs(entrypoint=["sleep", "600"])
container.with_command([]).start()
print(SESSION_ID, flush=True)
time.sleep(600)
"""


@pytest.mark.timeout(240)
def test_what_a_killed_run_started_is_removed() -> None:
    engine = docker.from_env()
    image = os.environ["RYUK_CONTAINER_IMAGE"]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "RYUK_RECONNECTION_TIMEOUT": "2s", "PYTHONPATH": path}
    command = [sys.executable, "-c", STARTS, image.replace("-reaper", "-redis-cache")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        session = run.stdout.readline().strip()
        label = {"label": f"org.testcontainers.session-id={session}"}

        def left() -> list[object]:
            containers = engine.containers.list(all=True, filters=label, ignore_removed=True)
            return [*containers, *engine.networks.list(filters=label), *engine.volumes.list(filters=label)]

        assert session and len(left()) == 3
        run.send_signal(signal.SIGKILL)
    wait_for(lambda: not left(), 120, "removal of what the killed run started")
    wait_for(
        lambda: not engine.containers.list(all=True, filters={"name": f"ryuk-{session}"}, ignore_removed=True),
        90,
        "the end of the reaper itself",
    )
    engine.close()

"""The units of docs/systemd, set up as docs/deployment.md says, under a real systemd: process 1 of a container."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import systemd_container
from deployment import V2, settled, wait_for
from docker.errors import ImageNotFound
from external import EXTERNAL
from llm_server import corpus
from stack import Stack, free_port
from testcontainers.core.container import DockerContainer

pytestmark = pytest.mark.skipif(
    bool(EXTERNAL.services()), reason="its servers are the containers', which are not there"
)

NAME = "systemd"
WORKER = "fileintel-worker-graphrag"
UNITS = ("fileintel-migrate", "fileintel-api", "fileintel-worker-main", WORKER)


@dataclass
class Host:
    """A host with systemd, and its API."""

    deployment: Stack
    client: httpx.Client

    def run(self, *command: str) -> str:
        """Run a command as its root."""
        return self.deployment.execute(NAME, list(command), user="0:0")

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def active(self, unit: str) -> None:
        """Wait until a unit is active."""
        wait_for(lambda: self.shown(unit, "ActiveState") == "active", 120, f"{unit} active")

    def index(self, name: str, padding: int) -> str:
        """Begin a build of a new collection; returns the path of its run."""
        text = "\n\n".join(corpus(20, 6, padding).texts)
        assert self.client.post(f"{V2}/collections", json={"name": name}).status_code == 201
        self.client.post(f"{V2}/collections/{name}/documents", params={"name": "a.txt"}, content=text.encode())
        settled(self.client, name)
        self.deployment.llm.reset()
        started = self.client.post(f"{V2}/collections/{name}/index-runs")
        assert started.status_code == 202, started.text
        return f"{V2}/index-runs/{started.json()['id']}"

    def complete(self, path: str) -> None:
        """The build ends well."""
        wait_for(lambda: self.client.get(path).json()["run"]["state"] != "running", 180, "the end of the build")
        run = self.client.get(path).json()["run"]
        assert run["state"] == "complete", run


@pytest.fixture(scope="module")
def host(deployment: Stack) -> Iterator[Host]:
    image = deployment.described("api")["image"].replace("fileintel:", "fileintel-systemd:")
    try:
        deployment.inner("api").client.images.get(image)
    except ImageNotFound:
        pytest.skip(f"no image {image}: make images makes it, Nix does not")
    passwords = deployment.given
    port = free_port()
    container = DockerContainer(image).with_network(deployment.networks["default"]).with_network_aliases(NAME)
    container.with_kwargs(
        entrypoint=["sh", "-c", systemd_container.BOOT],
        hostname=NAME,
        **systemd_container.PRIVILEGES,
    )
    container.tmpfs = systemd_container.TMPFS
    container.ports["8700/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
    deployment.containers[NAME] = container.start()
    deployment.networks["data"].connect(deployment.inner(NAME).id, [NAME])
    found = Host(deployment, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False))
    try:
        boot(found)
        deployment.execute(
            "postgres",
            ["createdb", "--host=127.0.0.1", "--username=fileintel", NAME],
            environment={"PGPASSWORD": passwords["POSTGRES_PASSWORD"]},
        )
        redis = f"redis://:{passwords['REDIS_PASSWORD']}@redis"
        lines = {
            "DATABASE_URL": f"postgresql://fileintel:{passwords['POSTGRES_PASSWORD']}@postgres/{NAME}",
            "REDIS_URL": f"{redis}-broker:6379/1",
            "FILEINTEL_CACHE_URL": f"{redis}-cache:6379/1",
            "FILEINTEL_API_HOST": "0.0.0.0",
            **{name: value for name, value in passwords.items() if "PASSWORD" not in name},
        }
        environment = "\n".join(f"{name}={value}" for name, value in lines.items())
        write = 'install -d -m 700 /etc/fileintel && printf "%s\n" "$1" > /etc/fileintel/environment'
        found.run("sh", "-c", write, "sh", environment)
        relax = 'mkdir -p "$1" && printf "%s" "$2" > "$1/container.conf" && systemctl daemon-reload'
        found.run("sh", "-c", relax, "sh", "/etc/systemd/system/fileintel-.service.d", systemd_container.RELAXED)
        found.run("systemctl", "enable", "--now", *UNITS)
        try:
            wait_for(lambda: answers(found.client), 120, "the API ready")
        except AssertionError as error:
            raise AssertionError(f"{error}: {found.run('journalctl', '--lines=60', '--no-pager')}") from None
        first_key = [
            *("systemd-run", "--pipe", "--wait", "--quiet", "--property=User=fileintel"),
            *(
                "--property=EnvironmentFile=/etc/fileintel/environment",
                "--setenv=FILEINTEL_STATE_DIR=/var/lib/fileintel",
            ),
            *("/opt/fileintel/bin/fileintel", "migrate", "--first-key"),
        ]
        secret = next(line for line in found.run(*first_key).splitlines() if line.startswith("fi_"))
        found.client.headers["Authorization"] = f"Bearer {secret}"
        yield found
    finally:
        found.client.close()
        deployment.containers.pop(NAME).stop(force=True, delete_volume=True)


def boot(host: Host) -> None:
    """Wait until systemd has started what it starts by itself."""

    def started() -> bool:
        state = host.deployment.inner(NAME).exec_run(["systemctl", "is-system-running"], user="0:0").output
        return state.strip() in (b"running", b"degraded")

    try:
        wait_for(started, 120, "systemd running")
    except AssertionError as error:
        raise AssertionError(f"{error}: {host.deployment.logs(NAME)}") from None


def answers(client: httpx.Client) -> bool:
    """Whether the API is ready."""
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_units_start_in_order(host: Host) -> None:
    for unit in UNITS:
        host.active(unit)
    migrated = int(host.shown("fileintel-migrate", "ExecMainExitTimestampMonotonic"))
    assert host.shown("fileintel-migrate", "ExecMainStatus") == "0" and migrated > 0
    for unit in UNITS[1:]:
        assert int(host.shown(unit, "ExecMainStartTimestampMonotonic")) >= migrated
        assert host.shown(unit, "NRestarts") == "0"
        user = host.run("stat", "--format=%U", f"/proc/{host.shown(unit, 'MainPID')}").strip()
        assert user == "fileintel"


def test_the_kernel_holds_units_to_memory_max(host: Host) -> None:
    assert host.shown("fileintel-worker-main", "MemoryMax") == str(16 * 1024**3)
    assert host.shown(WORKER, "MemoryMax") == str(20 * 1024**3)
    # As `systemctl edit` would write it.
    drop_in = f"/etc/systemd/system/{WORKER}.service.d"
    text = "[Service]\\nMemoryMax=1G\\nMemoryHigh=infinity\\n"
    host.run("sh", "-c", f"mkdir -p {drop_in} && printf '{text}' > {drop_in}/override.conf")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", WORKER)
    host.active(WORKER)
    host.deployment.llm.configure(latency=1.0, slots=2)
    path = host.index("limit", 2)
    host.deployment.extracted(3)
    # A file in memory that a process of the unit writes is the unit's; the kernel then kills what is largest in it.
    fill = (
        f"echo $$ > /sys/fs/cgroup/memory$(systemctl show --value --property=ControlGroup {WORKER})/cgroup.procs; "
        "exec head -c 2G /dev/zero > /run/fill"
    )
    before = host.shown(WORKER, "NRestarts")
    host.deployment.inner(NAME).exec_run(["sh", "-c", fill], user="0:0")
    wait_for(lambda: host.shown(WORKER, "NRestarts") != before, 120, "a restart by systemd")
    host.run("rm", "-f", "/run/fill")
    host.deployment.llm.configure(latency=0.0, slots=0)
    host.active(WORKER)
    host.complete(path)


def test_a_killed_worker_restarts_and_the_build_completes(host: Host) -> None:
    host.deployment.llm.configure(latency=1.0, slots=2)
    path = host.index("killed", 3)
    host.deployment.extracted(3)
    before = {unit: int(host.shown(unit, "NRestarts")) for unit in (WORKER, "fileintel-worker-main")}
    for unit in before:
        host.run("systemctl", "kill", "--signal=KILL", unit)
    time.sleep(1)
    host.deployment.llm.configure(latency=0.0, slots=0)
    for unit, restarts in before.items():
        wait_for(
            lambda unit=unit, restarts=restarts: int(host.shown(unit, "NRestarts")) > restarts, 120, f"{unit} again"
        )
    host.complete(path)

"""FileIntel in containers, by testcontainers: every service as docs/compose.yaml describes it, on own networks."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from compose_file import compose
from deployment import V2, Api, settled, wait_for
from docker.models.containers import Container
from docker.types import Healthcheck
from external import External
from llm_server import ScriptedServer
from testcontainers.core.container import DockerContainer, Reaper
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID, create_labels
from testcontainers.core.network import Network

from fileintel.settings import Bytes

TESTS = Path(__file__).parents[2]
LLM_PORT = 8000
SECOND = 10**9
SERVERS = ("postgres", "redis-broker", "redis-cache")
WORKERS = ("worker-main", "worker-graphrag")


def free_port() -> int:
    """A port of this machine that nobody listens on; kept by a container through its restarts, unlike Docker's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def size(text: str) -> int:
    """A size as compose.yaml spells it, in bytes."""
    return int(Bytes(text).bytes)


def watched() -> None:
    """Have the reaper watch over this run; fails if it does not answer.

    testcontainers connects as soon as the port is published. Docker's proxy takes that call before the reaper listens,
    and drops it: the reaper would never hear of the run.
    """
    Reaper.get_instance()
    container = Reaper._container
    assert container is not None
    address = (container.get_container_host_ip(), int(container.get_exposed_port(8080)))

    def acknowledged() -> socket.socket | None:
        line = socket.create_connection(address, timeout=5)
        try:
            line.sendall(f"label={LABEL_SESSION_ID}={SESSION_ID}\n".encode())
            if line.recv(3) == b"ACK":
                return line
        except OSError:
            pass
        line.close()
        return None

    kept = wait_for(acknowledged, 50, "an answer of the reaper")
    if Reaper._socket is not None:
        Reaper._socket.close()
    Reaper._socket = kept


@dataclass
class Stack:
    """The containers by name, and the shortest way to use them from a test."""

    given: dict[str, str]
    external: External = External()
    containers: dict[str, DockerContainer] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=dict)
    llm: ScriptedServer = field(default_factory=lambda: ScriptedServer(""))
    api_port: int = field(default_factory=free_port)
    api: Api | None = None

    def described(self, service: str, **other: str) -> dict[str, Any]:
        """A service of compose.yaml under the stack's .env, and `other` lines of it."""
        given = {**self.given, "FILEINTEL_API_PORT": str(self.api_port), **other}
        found: dict[str, Any] = compose(**given)["services"][service]
        return found

    # --- starting and stopping

    def start(self, folder: Path) -> None:
        """Start everything in the order in which compose.yaml lets it start, and wait until it is ready."""
        watched()
        for name, options in compose()["networks"].items():
            # Servers outside of Docker are beyond an internal network.
            internal = bool(options.get("internal")) and not self.external.services()
            self.networks[name] = Network(docker_network_kw={"internal": internal}).create()
        engine = DockerClient().client
        for name in compose()["volumes"]:
            # With the labels by which the reaper finds it.
            self.volumes[name] = engine.volumes.create(labels=create_labels("", None))
        self.start_llm()
        for name in SERVERS:
            if name not in self.external.services():
                self.run(name)
        for name in SERVERS:
            if name in self.containers:
                self.ready(name)
        self.migrate()
        for name in (*WORKERS, "api"):
            self.run(name)
        for name in WORKERS:
            self.works(name)
        url = f"http://127.0.0.1:{self.api_port}"
        wait_for(lambda: _ok(f"{url}/health/ready"), 120, "API ready")
        self.api = Api(url, self.key(), folder)

    def start_llm(self) -> None:
        """The scripted LLM server, of the application's image, with tests/ in place of an application."""
        port = free_port()
        container = DockerContainer(self.described("api")["image"]).with_network(self.networks["default"])
        container.with_network_aliases("llm").with_volume_mapping(str(TESTS), "/tests", "ro")
        # The folder may belong to somebody whom the image does not know, and be closed to others.
        container.with_kwargs(
            entrypoint=["python", "/tests/llm_server.py"], user="0:0", init=True, healthcheck={"test": ["NONE"]}
        )
        container.with_command(["--host=0.0.0.0", f"--port={LLM_PORT}", "--stay"])
        container.ports[f"{LLM_PORT}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
        self.containers["llm"] = container.start()
        self.llm = ScriptedServer(f"http://127.0.0.1:{port}/v1")
        wait_for(lambda: _ok(f"{self.llm.base_url}/models"), 120, "the LLM server")

    def run(self, service: str, name: str = "", command: list[str] | None = None, **other: str) -> DockerContainer:
        """Start a container of a service, under another name, command or with other lines of .env if told so."""
        spec, name = self.described(service, **other), name or service
        environment = {**spec["environment"], **(self.external.environment() if service not in SERVERS else {})}
        environment = {key: value for key, value in environment.items() if value or key in ("OPENAI_API_KEY",)}
        first, *more = spec["networks"]
        container = DockerContainer(spec["image"], env=environment).with_command(command or spec["command"])
        container.with_network(self.networks[first]).with_network_aliases(service, name)
        container.with_kwargs(**self.limits(spec), hostname=name)
        for published in spec.get("ports", []):
            address, host, inner = published.split(":")
            container.ports[f"{inner}/tcp"] = (address, int(host))  # type: ignore[assignment]
        for mount in spec.get("volumes", []):
            volume, path = mount.split(":")
            container.with_volume_mapping(self.volumes[volume].name, path, "rw")
        container.tmpfs = dict.fromkeys(spec["tmpfs"], "")
        self.containers[name] = container.start()
        for network in more:
            self.networks[network].connect(self.inner(name).id, [service, name])
        return container

    @staticmethod
    def limits(spec: dict[str, Any]) -> dict[str, Any]:
        """What docker is told to hold a service to, as `docker compose` would tell it."""
        resources = spec.get("deploy", {}).get("resources", {})
        options: dict[str, Any] = {
            "init": spec["init"],
            "read_only": spec["read_only"],
            "cap_drop": spec["cap_drop"],
            "security_opt": spec["security_opt"],
            "restart_policy": {"Name": spec["restart"]},
        }
        if "limits" in resources:
            # Without swap, as where there is none: over the limit is over the limit.
            options["mem_limit"] = options["memswap_limit"] = size(resources["limits"]["memory"])
        if "reservations" in resources:
            options["mem_reservation"] = size(resources["reservations"]["memory"])
        if "shm_size" in spec:
            options["shm_size"] = size(spec["shm_size"])
        if "healthcheck" in spec:
            check = spec["healthcheck"]
            times = {key: int(check[key].removesuffix("s")) * SECOND for key in ("interval", "timeout", "start_period")}
            options["healthcheck"] = Healthcheck(test=check["test"], retries=check["retries"], **times)
        return options

    def migrate(self) -> None:
        """Run the migrations to their end."""
        self.run("migrate")
        ended = self.inner("migrate").wait(timeout=120)
        assert ended["StatusCode"] == 0, self.logs("migrate")

    def key(self) -> str:
        """An admin key, made by the program where the services' settings are."""
        code = "from fileintel.store import keys; print(keys.create('container tests', ['admin'])[1])"
        return self.execute("api", ["python", "-c", code]).strip()

    def stop(self) -> None:
        """Remove everything; what a killed run leaves is the reaper's."""
        for container in self.containers.values():
            container.stop(force=True, delete_volume=True)
        for volume in self.volumes.values():
            volume.remove(force=True)
        for network in self.networks.values():
            network.remove()

    def remove(self, name: str) -> None:
        """Stop a container as an operator would, and remove it."""
        self.inner(name).stop(timeout=60)
        self.containers.pop(name).stop(force=True, delete_volume=True)

    # --- looking into containers

    def inner(self, name: str) -> Container:
        """The Docker SDK's view of a container."""
        return self.containers[name].get_wrapped_container()

    def inspect(self, name: str) -> dict[str, Any]:
        """What `docker inspect` says of it now."""
        container = self.inner(name)
        container.reload()
        found: dict[str, Any] = container.attrs
        return found

    def logs(self, name: str) -> str:
        """The end of what it has written."""
        return str(self.inner(name).logs(tail=60).decode(errors="replace"))

    def execute(self, name: str, command: list[str], **options: Any) -> str:
        """Run a command in a container; returns what it wrote, or fails the test if it failed."""
        code, out = self.inner(name).exec_run(command, demux=True, **options)
        said = [(part or b"").decode(errors="replace") for part in out]
        assert code == 0, f"{name}: {command} ended with {code}: {' '.join(said)[-2000:]}"
        return said[0]

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The rows a SQL statement gives, asked from within the API's container."""
        code = (
            "import json, sys; from fileintel.store.engine import rows;"
            "print(json.dumps([dict(row) for row in rows(sys.argv[1])], default=str))"
        )
        found: list[dict[str, Any]] = json.loads(self.execute("api", ["python", "-c", code, statement]))
        return found

    def kernel_limit(self, name: str) -> int:
        """The limit in bytes that the kernel holds a container to, read in it: by cgroup v2 or v1."""
        read_it = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
        return int(self.execute(name, ["sh", "-c", read_it]))

    def killed_for_memory(self, name: str, since: float) -> bool:
        """Whether the kernel has killed something in a container for its limit since then."""
        wanted = {"container": self.inner(name).id, "event": "oom"}
        now = int(time.time()) + 1
        return bool(list(self.inner(name).client.api.events(since=int(since), until=now, filters=wanted, decode=True)))

    def ready(self, name: str, seconds: float = 120) -> None:
        """Wait until the health check of compose.yaml passes."""
        test = self.described(name)["healthcheck"]["test"][1:]
        wait_for(lambda: self.inner(name).exec_run(test).exit_code == 0, seconds, f"{name} ready")

    def works(self, name: str, since: float = 0.0, seconds: float = 120) -> None:
        """Wait until a worker says that it takes tasks."""

        def ready() -> bool:
            return b" ready." in self.inner(name).logs(since=since or None)

        try:
            wait_for(ready, seconds, f"{name} ready")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.logs(name)}") from None

    # --- what operators do

    def kill(self, name: str) -> None:
        """`docker kill -s KILL`, after which Docker restarts nothing by itself."""
        self.inner(name).kill("SIGKILL")
        wait_for(lambda: not self.inspect(name)["State"]["Running"], 120, f"end of {name}")

    def again(self, name: str) -> None:
        """`docker start`."""
        self.inner(name).start()

    # --- what users do

    def client(self) -> httpx.Client:
        """An HTTP client with the admin key."""
        assert self.api is not None
        return self.api.client()

    def get(self, path: str) -> dict[str, Any]:
        """What the API says, once it says something: what it needs may just be restarting."""

        def ask() -> dict[str, Any] | None:
            try:
                answer = self.client().get(V2 + path)
            except httpx.TransportError:
                return None
            return answer.json() if answer.status_code == 200 else None

        found: dict[str, Any] = wait_for(ask, 120, f"an answer to GET {path}")
        return found

    def collection(self, name: str, texts: Iterable[str]) -> Any:
        """A collection of these texts, all read: its row as the API gives it, with `id` as an attribute."""
        from fileintel.model import Collection

        client = self.client()
        made = client.post(f"{V2}/collections", json={"name": name})
        assert made.status_code == 201, made.text
        for number, text in enumerate(texts):
            parameters = {"name": f"{name}-{number:03}.txt"}
            sent = client.post(f"{V2}/collections/{name}/documents", params=parameters, content=text.encode())
            assert sent.status_code == 201, sent.text
        settled(client, name)
        fields = {key: value for key, value in made.json().items() if key in Collection.__dataclass_fields__}
        return Collection(**fields)

    def index(self, name: str, text: str) -> dict[str, Any]:
        """Begin a build of a new collection of one text; returns the run."""
        self.collection(name, [text])
        return self.begin(name)

    def begin(self, name: str) -> dict[str, Any]:
        """Begin a build of a collection; returns the run."""
        self.llm.reset()
        started = self.client().post(f"{V2}/collections/{name}/index-runs")
        assert started.status_code == 202, started.text
        run: dict[str, Any] = started.json()
        return run

    def finish(self, run: dict[str, Any], seconds: float = 240) -> dict[str, Any]:
        """The run once it has ended, however."""
        path = f"/index-runs/{run['id']}"
        wait_for(lambda: self.get(path)["run"]["state"] != "running", seconds, "the end of the build")
        found: dict[str, Any] = self.get(path)["run"]
        return found

    def extracted(self, calls: int) -> None:
        """Wait until the LLM server has answered so many extractions."""
        wait_for(lambda: self.llm.kind("extract")["answered"] >= calls, 120, "extractions")


def _ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False

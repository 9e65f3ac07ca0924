"""`fileintel up`: every process of FileIntel on one machine, under one supervisor."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from fileintel import topology
from fileintel.embedded import postgres
from fileintel.embedded.broker import Broker
from fileintel.embedded.model_servers import announced, failing
from fileintel.embedded.postgres import Postgres
from fileintel.embedded.process import Command
from fileintel.embedded.services import broker_service, postgres_service
from fileintel.embedded.state import StateDir, write_private
from fileintel.embedded.supervisor import Interrupted, Service, StopRequests, Supervisor
from fileintel.errors import ConfigurationError
from fileintel.settings import Settings, variable_of

MIGRATE, MODEL_SERVER, API = "migrate", "model-server", "api"
# Celery says so when it has connected to the broker and takes tasks.
_WORKER_READY = re.compile(r"\S+@\S+ ready\.")
_API_STARTED = "Application startup complete."
_INTERRUPTED = 130

# By module: it works without PATH, and in the environment that runs now.
PROGRAM = (sys.executable, "-m", "fileintel")

CreateKey = Callable[[Mapping[str, str]], str]
Environment = dict[str, str]


def run_up(
    settings: Settings,
    port: int | None = None,
    ready_hook: Callable[[Mapping[str, str]], None] | None = None,
    *,
    create_key: CreateKey | None = None,
    say: Callable[[str], None] = print,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Run everything until Ctrl-C or SIGTERM, call `ready_hook` once all is ready, and return the exit code.

    `settings` are those of the process environment alone, without the environment file of an earlier `up`. `create_key`
    is handed the environment of FileIntel's processes and returns the secret of a new admin key; `program` is what the
    names of the subcommands are put behind. Raises ConflictError if another `up` has the state folder, ServiceError if
    something does not start or cannot be kept running.
    """
    requests = StopRequests()
    with requests.caught():
        try:
            with running(settings, port, create_key=create_key, say=say, requests=requests, program=program) as (
                values,
                supervisor,
            ):
                say(f"FileIntel is ready: {values['FILEINTEL_API_URL']}  (stop with Ctrl-C)")
                if ready_hook is not None:
                    requests.interrupts = True
                    try:
                        ready_hook(values)
                    finally:
                        requests.interrupts = False
                with announced(lambda: _failing_model_servers(values), say):
                    supervisor.watch()
                say("stopping; once more to stop at once")
        except (Interrupted, KeyboardInterrupt):
            say("stopped before it was done")
            return _INTERRUPTED
    say("stopped")
    return 0


@contextlib.contextmanager
def running(
    settings: Settings,
    port: int | None = None,
    *,
    create_key: CreateKey | None = None,
    say: Callable[[str], None] = print,
    requests: StopRequests | None = None,
    program: Sequence[str] = PROGRAM,
) -> Iterator[tuple[Environment, Supervisor]]:
    """Start everything, yield the environment file's values and the supervisor, and stop everything at the end.

    Raises as `run_up` does, and Interrupted if `requests` counts one meanwhile.
    """
    state = StateDir(settings.state_dir)
    with state.lock() as lock:
        listening = _listen(state, settings, port)
        api_port = listening.getsockname()[1]
        # The address to listen on may mean "all of them", which is none to connect to.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{api_port}"
        lock.note(url)
        services, values = _services(state, settings, host, listening, program)
        values["FILEINTEL_API_URL"] = url
        supervisor = Supervisor(state, services, say=say, stop_requests=requests)
        try:
            supervisor.start()
            key = _admin_key(state, host, api_port, {**_inherited(settings), **values}, create_key, say)
            if key:
                values["FILEINTEL_API_KEY"] = key
            state.write_environment(values)
            yield values, supervisor
        finally:
            state.remove_environment()
            supervisor.stop()
            listening.close()


def _failing_model_servers(values: Mapping[str, str]) -> list[str] | None:
    address = urlsplit(values["FILEINTEL_API_URL"])
    if address.hostname is None or address.port is None:
        return None
    return failing(address.hostname, address.port, values.get("FILEINTEL_API_KEY", ""))


def _services(
    state: StateDir, settings: Settings, host: str, listening: socket.socket, program: Sequence[str]
) -> tuple[list[Service], Environment]:
    """The services to run, in the order of the house, and the variables that lead to the embedded ones."""
    services: list[Service] = []
    values: Environment = {}
    api_port = listening.getsockname()[1]
    if not settings.database_url:
        database = Postgres(state, postgres.tuning(settings))
        services.append(postgres_service(database))
        values["DATABASE_URL"] = database.url
    if not settings.redis_url:
        queue = Broker(state)
        services.append(broker_service(queue))
        values["REDIS_URL"] = queue.url
    servers = tuple(service.name for service in services)
    model_port = None
    if not settings.openai_base_url:
        model_port = state.port(MODEL_SERVER)
        values["OPENAI_BASE_URL"] = f"http://127.0.0.1:{model_port}/v1"
    # PYTHONUNBUFFERED: what a process says last, before it dies, is what its log is read for.
    environment = {**_inherited(settings), **values, "FILEINTEL_API_PORT": str(api_port), "PYTHONUNBUFFERED": "1"}

    def own(
        name: str, *words: str, more: Mapping[str, str] | None = None, descriptors: tuple[int, ...] = ()
    ) -> Callable[[], Command]:
        argv = (*program, *(words or (name,)))
        return lambda: Command(argv=argv, environment={**environment, **(more or {})}, descriptors=descriptors)

    databases = tuple(s for s in servers if s == postgres.NAME)
    # A database of ours alone follows its settings; one that others may share refuses another length of vectors.
    migrate = own(MIGRATE, MIGRATE, *(["--change-dimensions"] if databases else []))
    services.append(Service(MIGRATE, migrate, after=databases, once=True))
    if model_port is not None:
        # It needs no database, and its imports are slow: it starts first of all.
        services.append(
            Service(
                MODEL_SERVER,
                own(MODEL_SERVER, MODEL_SERVER, "--port", str(model_port)),
                is_ready=lambda child: answers("127.0.0.1", model_port, "/health") == 200,
                detail=lambda: f"port {model_port}",
                stage=1,
            )
        )
    # That API and workers are ready is read in their logs, where uvicorn and Celery say so at the level INFO.
    level = {"FILEINTEL_LOG_LEVEL": settings.log_level if settings.log_level in ("DEBUG", "INFO") else "INFO"}
    services.append(
        Service(
            API,
            # It is handed the listening socket: a port that was free a moment ago may be another program's by now, and
            # who asks while it restarts waits instead of being refused.
            own(API, API, "--fd", str(listening.fileno()), more=level, descriptors=(listening.fileno(),)),
            is_ready=lambda child: _API_STARTED in child.output() and answers(host, api_port, "/health/ready") == 200,
            detail=lambda: f"port {api_port}",
            after=(MIGRATE, *servers),
            stage=1,
        )
    )
    for worker in topology.load().workers:
        services.append(
            Service(
                f"worker-{worker}",
                own(worker, "worker", worker, more=level),
                is_ready=lambda child: _WORKER_READY.search(child.output()) is not None,
                # Not after migrate: their imports take longer than it, and they wait for the schema themselves.
                after=servers,
                stage=2,
                # A warm shutdown: what it has begun it ends. What it can't end in time another worker takes up.
                grace_seconds=20.0,
            )
        )
    return services, values


def _inherited(settings: Settings) -> Environment:
    """The process environment, and over it the settings that were given."""
    given: Environment = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        given[variable_of(name)] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return {**os.environ, **given, variable_of("state_dir"): str(settings.state_dir.absolute())}


def _listen(state: StateDir, settings: Settings, port: int | None) -> socket.socket:
    """Listen on the port that was asked for or raise ConflictError; when nobody asked, on the default or a free one."""
    asked = port is not None or "api_port" in settings.model_fields_set
    while True:
        number = state.port(API, port or settings.api_port, host=settings.api_host, exactly=asked)
        try:
            return socket.create_server(
                (settings.api_host, number),
                family=socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET,
                backlog=2048,
            )
        except OSError as error:
            # Somebody was faster; `state.port` sees that now, and refuses or finds another one.
            if error.errno != errno.EADDRINUSE:
                raise ConfigurationError(f"FILEINTEL_API_HOST {settings.api_host}: {error.strerror}") from error


def _admin_key(
    state: StateDir,
    host: str,
    port: int,
    environment: Mapping[str, str],
    create_key: CreateKey | None,
    say: Callable[[str], None],
) -> str | None:
    """The first admin key, made if there is none or if the database (a new one, perhaps) does not know it."""
    path = admin_key_file(state.path)
    if path.exists():
        key = path.read_text(encoding="utf-8").strip()
        if create_key is None or answers(host, port, "/api/v2/collections", key=key) != 401:
            say(f"the first admin key is in {path}")
            return key
    if create_key is None:
        return None
    key = create_key(environment)
    write_private(path, key + "\n")
    say(f"admin key made, kept in {path}")
    return key


def admin_key_file(state_dir: Path) -> Path:
    """Where `fileintel up` keeps the first admin key, so that the local command line just works."""
    return state_dir / "admin.key"


def answers(host: str, port: int, path: str, *, key: str = "") -> int | None:
    """The HTTP status that a GET of `path` is answered with, None if nobody answers within 2 s."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None

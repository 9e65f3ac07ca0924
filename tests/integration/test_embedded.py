"""The embedded Postgres and broker for real, and `fileintel up` around stand-ins for FileIntel's processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis
from processes import wait_until

from fileintel.embedded import postgres, unprivileged
from fileintel.embedded.postgres import Postgres
from fileintel.embedded.process import running_in
from fileintel.embedded.services import services
from fileintel.embedded.state import StateDir
from fileintel.errors import ConfigurationError, ConflictError, ServiceError
from fileintel.settings import Settings, read, read_environment_file

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="asks what happens under root")

KILLED = """
import os, signal, sys
from pathlib import Path
import psycopg2, redis
from fileintel.embedded.services import services
with services(Path(sys.argv[1])) as env:
    connection = psycopg2.connect(env["DATABASE_URL"])
    connection.cursor().execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    connection.commit()
    open_transaction = connection.cursor().execute("INSERT INTO kept VALUES (0)")
    broker = redis.Redis.from_url(env["REDIS_URL"])
    broker.lpush("queue", *range(1000))
    # The append-only file is written through every second.
    broker.execute_command("WAITAOF", 1, 0, 5000)
    os.kill(os.getpid(), signal.SIGKILL)
"""

# What stands in for `python -m fileintel`: it answers 200 to everything, as a worker says it is ready, and notes its
# environment in the state folder.
STAND_IN = """
import http.server, json, os, socket, sys, time
from pathlib import Path
name = "-".join(word for word in sys.argv[1:] if word.isalpha() or "-" in word and not word.startswith("--"))
state = Path(os.environ["FILEINTEL_STATE_DIR"])
(state / f"seen-{name}").write_text(json.dumps(dict(os.environ)))
if name == "migrate":
    import psycopg2
    psycopg2.connect(os.environ["DATABASE_URL"]).close()
elif "--port" in sys.argv or "--fd" in sys.argv:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            key = self.headers.get("Authorization", "")
            self.send_response(401 if "/api/" in self.path and key != "Bearer good" else 200)
            self.end_headers()
    number = int(sys.argv[-1])
    if "--fd" in sys.argv:
        server = http.server.HTTPServer(("", 0), Handler, bind_and_activate=False)
        server.socket = socket.socket(fileno=number)
        print("Application startup complete.", flush=True)
    else:
        server = http.server.HTTPServer(("127.0.0.1", number), Handler)
    server.serve_forever()
else:
    print("[INFO/MainProcess] main_prefork@here ready.", flush=True)
    time.sleep(300)
"""

UP = """
import sys
from pathlib import Path
from fileintel.embedded.up import run_up
from fileintel.settings import Settings
sys.exit(run_up(Settings(state_dir=Path(sys.argv[1])), create_key=lambda environment: "good",
    say=lambda line: print(line, flush=True), program=(sys.executable, sys.argv[2])))
"""


def left_running(state_dir: Path) -> list[int]:
    """The embedded servers that run on this state folder."""
    data = (state_dir / "postgres").resolve()
    return [*running_in(data, "postgres"), *running_in(state_dir / "broker", "valkey-server")]


def numbers(url: str, query: str) -> list[int]:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor.fetchall()]


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state folder that Postgres's user can reach, as pytest's own temporary folders are not."""
    path = Path(tempfile.mkdtemp(prefix="fileintel-test-"))
    yield path
    assert left_running(path) == []
    shutil.rmtree(path)


def test_data_survive_a_stop_and_settings_are_safe(state_dir: Path) -> None:
    with services(state_dir) as env:
        with contextlib.closing(psycopg2.connect(env["DATABASE_URL"])) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE EXTENSION vector")
            cursor.execute("CREATE TABLE kept AS SELECT '[1,2,3]'::vector AS v")
            connection.commit()
            cursor.execute("SHOW password_encryption")
            assert cursor.fetchone() == ("scram-sha-256",)
        broker = redis.Redis.from_url(env["REDIS_URL"], decode_responses=True)
        assert broker.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert broker.config_get("appendonly") == {"appendonly": "yes"}
        assert broker.config_get("bind") == {"bind": "127.0.0.1"}
        broker.set("kept", "yes")
        broker.close()
        with pytest.raises(ConflictError), services(state_dir):
            pass
    assert left_running(state_dir) == []
    with services(state_dir) as again:
        assert again == env
        assert numbers(again["DATABASE_URL"], "SELECT count(*) FROM kept WHERE v <-> '[1,2,3]' = 0") == [1]
        broker = redis.Redis.from_url(again["REDIS_URL"], decode_responses=True)
        assert broker.get("kept") == "yes"
        broker.close()


def test_no_entry_without_the_password_and_none_on_a_command_line(state_dir: Path) -> None:
    with services(state_dir) as env:
        for user in ("fileintel", "postgres"):
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(env["DATABASE_URL"], user=user, password="wrong")
        port = int(env["REDIS_URL"].rpartition(":")[2].partition("/")[0])
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        secrets = [(state_dir / "secrets" / name).read_text().strip() for name in ("postgres", "broker")]
        pids = left_running(state_dir)
        assert len(pids) >= 2
        for pid in pids:
            with contextlib.suppress(FileNotFoundError):
                line = Path(f"/proc/{pid}/cmdline").read_text()
                assert not any(secret in line for secret in secrets)


def test_killed_launcher_leaves_nothing_running_and_all_data(state_dir: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(state_dir)], timeout=120)
    assert done.returncode == -signal.SIGKILL
    # At once, without waiting for what is still stopping: that is the next start's business.
    with services(state_dir) as env:
        assert numbers(env["DATABASE_URL"], "SELECT count(*) FROM kept") == [1000]
        broker = redis.Redis.from_url(env["REDIS_URL"])
        assert broker.llen("queue") == 1000
        broker.close()


def test_killed_launcher_leaves_nothing_running_even_without_a_next_start(state_dir: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(state_dir)], timeout=120)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: left_running(state_dir) == [], 120)


def test_earlier_postmaster_and_reused_process_id_are_no_obstacle(state_dir: Path) -> None:
    with services(state_dir):
        pass
    state = StateDir(state_dir)
    data = state_dir / "postgres"
    # A pid file that names a living stranger, as after a restart of the machine.
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n0\n1\n\n127.0.0.1\n")
    with services(state_dir) as env:
        assert numbers(env["DATABASE_URL"], "SELECT 1") == [1]
    # A postmaster that runs on without its launcher.
    server = Postgres(state, {"shared_buffers": "16MB"})
    command = server.command()
    user, group = command.user or (None, None)
    orphan = subprocess.Popen(
        command.argv, cwd=data, user=user, group=group, extra_groups=[] if user else None, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(server.is_ready, 120)
        import threading

        reaper = threading.Thread(target=orphan.wait)
        reaper.start()
        with services(state_dir) as env:
            assert numbers(env["DATABASE_URL"], "SELECT 1") == [1]
        reaper.join(60)
        assert orphan.returncode == 0
    finally:
        orphan.kill()


def test_lost_password_is_named_with_the_cure(state_dir: Path) -> None:
    with services(state_dir):
        pass
    kept = (state_dir / "secrets" / "postgres").read_text()
    (state_dir / "secrets" / "postgres").unlink()
    with pytest.raises(ConfigurationError, match=r"secrets/postgres, is gone"), services(state_dir):
        pass
    (state_dir / "secrets" / "postgres").write_text("another\n")
    with pytest.raises(ServiceError, match=r"does not take the password"), services(state_dir):
        pass
    (state_dir / "secrets" / "postgres").write_text(kept)
    with services(state_dir):
        pass


def test_interrupted_initdb_is_made_again(state_dir: Path) -> None:
    (state_dir / "postgres.new").mkdir()
    (state_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
    (state_dir / "postgres").mkdir()
    with services(state_dir, keep=False) as env:
        assert numbers(env["DATABASE_URL"], "SELECT 1") == [1]
    assert not (state_dir / "postgres").exists()


def test_folder_that_holds_something_else_is_left_alone(state_dir: Path) -> None:
    (state_dir / "postgres").mkdir()
    (state_dir / "postgres" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigurationError, match="holds no Postgres"), services(state_dir):
        pass
    assert (state_dir / "postgres" / "letter.txt").read_text() == "dear"


@as_root
def test_root_gets_an_unprivileged_postgres_in_a_closed_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    elsewhere = Path(tempfile.mkdtemp(prefix="fileintel-test-"))
    monkeypatch.setattr(unprivileged, "OPEN_FOLDER", elsewhere / "open")
    elsewhere.chmod(0o755)
    try:
        for _ in range(2):
            said: list[str] = []
            with services(closed / "state", say=said.append) as env:
                assert numbers(env["DATABASE_URL"], "SELECT 1") == [1]
                data = (closed / "state" / "postgres").resolve()
                assert data.parent == elsewhere / "open"
                pid = running_in(data, "postgres")[0]
                assert Path(f"/proc/{pid}").stat().st_uid not in (0, 65534)
                assert data.stat().st_mode & 0o777 == 0o700
                assert any(f"data in {data}" in line for line in said)
        with services(closed / "state", keep=False):
            pass
        assert list((elsewhere / "open").iterdir()) == []
    finally:
        shutil.rmtree(elsewhere)


@as_root
def test_program_that_root_alone_reaches_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Path(tempfile.mkdtemp(prefix="fileintel-test-"))
    monkeypatch.setattr(unprivileged, "OPEN_FOLDER", elsewhere / "open")
    elsewhere.chmod(0o755)
    package = tmp_path / "package" / "bin"
    package.mkdir(parents=True)
    (tmp_path / "package").chmod(0o700)
    (package / "tool").write_text("#!/bin/sh\necho hello\n")
    (package / "tool").chmod(0o700)
    try:
        user = unprivileged.user_for(tmp_path / "nothing")
        assert user is not None
        tool = unprivileged.reachable_copy(package / "tool", (Path("bin"),), tmp_path / "package", user, "tools-1")
        assert tool == elsewhere / "open" / "tools-1" / "bin" / "tool"
        said = subprocess.run([tool], user=user[0], group=user[1], extra_groups=[], capture_output=True, text=True)
        assert said.stdout == "hello\n"
    finally:
        shutil.rmtree(elsewhere)


def test_parameters_are_small_unless_set() -> None:
    assert postgres.tuning(Settings())["shared_buffers"] == "256MB"
    assert postgres.tuning(Settings())["max_connections"] == "500"
    assert postgres.tuning(read({"POSTGRES_SHARED_BUFFERS": "2GB"}))["shared_buffers"] == "2097152kB"


@contextlib.contextmanager
def running_up(state_dir: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`run_up` in a process of its own, until it says it is ready; the lines it said."""
    program = state_dir / "stand_in.py"
    program.write_text(STAND_IN)
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(state_dir), str(program)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("FileIntel is ready"):
                break
        yield process, lines
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def rest(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [line.rstrip() for line in process.stdout]


def alive(state_dir: Path) -> list[str]:
    """Every process that has this state folder on its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_text().replace("\0", " ")
                if str(state_dir) in line:
                    found.append(line)
    return found


def test_up_starts_everything_and_one_signal_stops_it(state_dir: Path) -> None:
    with running_up(state_dir) as (process, lines):
        names = [line.split()[0] for line in lines]
        assert names[-1] == "FileIntel"
        parts = ["postgres", "broker", "migrate", "model-server", "api", "worker-main", "worker-graphrag"]
        assert sorted(names[:-2]) == sorted(parts)
        assert names.index("postgres") < names.index("migrate") < names.index("api")
        assert (state_dir / "admin.key").read_text() == "good\n"
        assert (state_dir / "admin.key").stat().st_mode & 0o777 == 0o600
        written = read_environment_file(state_dir / "run" / "environment")
        assert set(written) == {
            *("DATABASE_URL", "REDIS_URL", "OPENAI_BASE_URL", "FILEINTEL_API_URL", "FILEINTEL_API_KEY"),
        }
        for name in ("migrate", "model-server", "api", "worker-main", "worker-graphrag"):
            assert f'"{written["DATABASE_URL"]}"' in (state_dir / f"seen-{name}").read_text()
        with pytest.raises(ConflictError, match=written["FILEINTEL_API_URL"]), services(state_dir):
            pass
        process.send_signal(signal.SIGINT)
        assert rest(process)[-1] == "stopped"
        assert process.wait(60) == 0
    assert not (state_dir / "run" / "environment").exists()
    assert alive(state_dir) == []


def test_killed_up_leaves_nothing_running_and_the_next_one_starts(state_dir: Path) -> None:
    with running_up(state_dir) as (process, _):
        process.kill()
        process.wait()
    wait_until(lambda: alive(state_dir) == [], 120)
    assert (state_dir / "run" / "environment").exists()
    with running_up(state_dir) as (process, lines):
        assert not any(line.startswith("admin key") for line in lines)
        process.send_signal(signal.SIGTERM)
        rest(process)
        assert process.wait(60) == 0


def test_up_restarts_postgres_and_makes_a_new_key_for_a_new_database(state_dir: Path) -> None:
    (state_dir / "admin.key").write_text("of another database\n")
    with running_up(state_dir) as (process, lines):
        assert any(line.startswith("admin key made") for line in lines)
        url = read_environment_file(state_dir / "run" / "environment")["DATABASE_URL"]
        postmaster = int((state_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgres was ended by SIGKILL, starting it again in 1 s")

        def answers() -> bool:
            try:
                return numbers(url, "SELECT 1") == [1]
            except psycopg2.OperationalError:
                return False

        wait_until(answers, 120)
        process.send_signal(signal.SIGINT)
        rest(process)
        assert process.wait(60) == 0


def test_external_servers_are_used_instead(state_dir: Path) -> None:
    from fileintel.embedded.up import running

    with services(state_dir) as env:
        program = state_dir / "stand_in.py"
        program.write_text(STAND_IN)
        given = read({**env, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "FILEINTEL_STATE_DIR": str(state_dir / "own")})
        said: list[str] = []
        with running(given, say=said.append, program=(sys.executable, str(program))) as (values, _):
            assert set(values) == {"FILEINTEL_API_URL"}
            assert {line.split()[0] for line in said} == {"migrate", "api", "worker-main", "worker-graphrag"}
        assert not (state_dir / "own" / "postgres").exists()

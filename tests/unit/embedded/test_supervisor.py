from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import gone, wait_until

from fileintel.embedded import process
from fileintel.embedded.process import Child, Command
from fileintel.embedded.state import StateDir
from fileintel.embedded.supervisor import Interrupted, Service, StopRequests, Supervisor
from fileintel.errors import ServiceError

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(60)
"""
WITH_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print(child.pid, flush=True)
time.sleep(60)
"""


def python(code: str, **more: object) -> Callable[[], Command]:
    return lambda: Command(argv=(sys.executable, "-I", "-S", "-c", code), **more)  # type: ignore[arg-type]


def says_up(child: Child) -> bool:
    return "up" in child.output()


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path)


def test_starts_in_order_and_stops_in_reverse(state: StateDir, tmp_path: Path) -> None:
    book = tmp_path / "book"
    code = f"""
import signal, sys, time
def note(word):
    with open({str(book)!r}, 'a') as file: file.write(word + ' ' + sys.argv[1] + chr(10))
def stop(*_):
    note('stop'); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note('start'); print('up', flush=True)
time.sleep(60)
"""

    def noting(name: str) -> Callable[[], Command]:
        return lambda: Command(argv=(sys.executable, "-I", "-S", "-c", code, name))

    once = python(f"open({str(book)!r}, 'a').write('once\\n')")
    said: list[str] = []
    supervisor = Supervisor(
        state,
        [
            Service("worker", noting("worker"), says_up, after=("once",), stage=2),
            Service("server", noting("server"), says_up, detail=lambda: "port 1"),
            Service("once", once, after=("server",), once=True),
        ],
        say=said.append,
    )
    supervisor.start()
    supervisor.stop()
    assert book.read_text().splitlines() == ["start server", "once", "start worker", "stop worker", "stop server"]
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in said] == [
        "server ready (port 1)",
        "once done",
        "worker ready",
    ]


def test_failure_at_start_quotes_the_log(state: StateDir) -> None:
    supervisor = Supervisor(
        state,
        [
            Service("good", python(SLEEPER), says_up),
            Service("bad", python("raise SystemExit('no such table')"), says_up, after=("good",)),
        ],
        say=lambda line: None,
    )
    with pytest.raises(ServiceError, match=r"bad ended with exit code 1 at start: no such table .*bad\.log"):
        supervisor.start()
    supervisor.stop()
    assert supervisor.child("good").exit_code() == -signal.SIGTERM


def test_not_ready_in_time_is_an_error(state: StateDir) -> None:
    service = Service("slow", python(SLEEPER), lambda child: False, ready_seconds=0.2)
    supervisor = Supervisor(state, [service], say=lambda line: None)
    with pytest.raises(ServiceError, match="slow was not ready in 0.2 s"):
        supervisor.start()
    supervisor.stop()


def test_missing_program_is_an_error(state: StateDir) -> None:
    service = Service("absent", lambda: Command(argv=("/nonexistent/program",)), lambda child: False)
    supervisor = Supervisor(state, [service], say=lambda line: None)
    with pytest.raises(ServiceError, match="cannot start /nonexistent/program"):
        supervisor.start()


def test_stop_request_while_starting(state: StateDir) -> None:
    requests = StopRequests()
    supervisor = Supervisor(
        state,
        [Service("slow", python(SLEEPER), lambda child: requests.__setattr__("count", 1) is not None)],
        say=lambda line: None,
        stop_requests=requests,
    )
    with pytest.raises(Interrupted):
        supervisor.start()
    supervisor.stop()
    assert supervisor.child("slow").exit_code() is not None


def test_restarts_what_dies(state: StateDir) -> None:
    said: list[str] = []
    supervisor = Supervisor(state, [Service("worker", python(SLEEPER), says_up)], say=said.append)
    supervisor.start()
    first = supervisor.child("worker").pid
    os.kill(first, signal.SIGKILL)

    def again() -> bool:
        supervisor.check()
        return supervisor.child("worker").pid != first

    wait_until(again)
    assert "worker was ended by SIGKILL, starting it again in 1 s" in said[-1]
    wait_until(lambda: says_up(supervisor.child("worker")))
    supervisor.stop()


def test_gives_up_on_what_keeps_dying(state: StateDir, tmp_path: Path) -> None:
    full = tmp_path / "full"
    code = f"""
import os, time
print('up', flush=True)
while not os.path.exists({str(full)!r}): time.sleep(0.01)
raise SystemExit('disk full')
"""
    supervisor = Supervisor(state, [Service("db", python(code), says_up, restarts=1)], say=lambda line: None)
    supervisor.start()
    full.touch()

    def checked() -> bool:
        supervisor.check()
        return False

    with pytest.raises(ServiceError, match="db ended with exit code 1 2 times in a row: up / disk full"):
        wait_until(checked)


def test_stubborn_child_is_killed_after_its_grace(state: StateDir) -> None:
    said: list[str] = []
    service = Service("mule", python(STUBBORN), says_up, grace_seconds=0.2)
    supervisor = Supervisor(state, [service], say=said.append)
    supervisor.start()
    supervisor.stop()
    assert supervisor.child("mule").exit_code() == -signal.SIGKILL
    assert said[-1].startswith("mule did not stop")


def test_second_stop_request_does_not_wait_for_the_grace(state: StateDir) -> None:
    requests = StopRequests()
    # The second request comes when the first has reached the child.
    code = f"""
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.kill({os.getpid()}, signal.SIGINT))
print('up', flush=True)
time.sleep(60)
"""
    service = Service("mule", python(code), says_up, grace_seconds=1000)
    supervisor = Supervisor(state, [service], say=lambda line: None, stop_requests=requests)
    with requests.caught():
        supervisor.start()
        supervisor.stop()
    assert requests.count == 1
    assert supervisor.child("mule").exit_code() == -signal.SIGKILL


def test_what_a_child_started_ends_with_it(state: StateDir) -> None:
    child = Child(python(WITH_CHILD)(), state.log_of("parent"))
    wait_until(lambda: child.output().strip() != "")
    grandchild = int(child.output())
    assert os.getpgid(grandchild) == child.pid != os.getpgid(0)
    child.send(signal.SIGTERM)
    assert child.wait(60)
    wait_until(lambda: gone(grandchild))


def test_children_of_a_killed_launcher_die(tmp_path: Path) -> None:
    launcher = f"""
import sys, time
from pathlib import Path
from fileintel.embedded.process import Child, Command
child = Child(Command(argv=(sys.executable, '-c', {SLEEPER!r})), Path({str(tmp_path / "log")!r}))
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_until(lambda: "up" in (tmp_path / "log").read_text())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(pid))


def test_left_over_process_is_found_by_its_folder_and_ended(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    program = Path(sys.executable).resolve().name
    code = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = subprocess.Popen(code, cwd=here)
    stranger = subprocess.Popen(code, cwd=there)
    try:
        wait_until(lambda: process.running_in(here, program) == [ours.pid])
        assert process.running_in(here, "postgres") == []
        assert process.end_left_over(here, "postgres", (signal.SIGTERM,)) == []
        # Reaped by a thread of its own, as the parent of a real one (init) would.
        import threading

        threading.Thread(target=ours.wait).start()
        assert process.end_left_over(here, program, (signal.SIGTERM,)) == [ours.pid]
        assert ours.wait() == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        for popen in (ours, stranger):
            popen.kill()
            popen.wait()


def test_logs_are_private_rotated_at_start_and_cut_while_written(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    child = Child(python("print('one')")(), log)
    assert child.wait(60)
    assert child.exit_code() == 0
    assert log.read_text() == "one\n"
    assert log.stat().st_mode & 0o777 == 0o600
    again = Child(python("print('two')")(), log)
    assert again.wait(60)
    assert (again.output(), again.last_lines()) == ("two\n", ["two"])
    process.rotate(log, limit=4)
    assert not log.exists()
    assert log.with_name("a.log.1").read_text() == "one\ntwo\n"
    log.write_text("0123456789")
    process.cut(log, limit=20)
    assert log.read_text() == "0123456789"
    process.cut(log, limit=8)
    assert log.read_text() == ""
    assert log.with_name("a.log.1").read_text() == "6789"

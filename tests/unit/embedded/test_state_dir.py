from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fileintel.embedded.state import StateDir, port_is_free, write_private
from fileintel.errors import ConfigurationError, ConflictError
from fileintel.settings import read_environment_file

HOLDER = """
import sys, time
from pathlib import Path
from fileintel.embedded.state import StateDir
with StateDir(Path(sys.argv[1])).lock() as lock:
    lock.note("http://127.0.0.1:8700")
    print("held", flush=True)
    time.sleep(60)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_second_lock_names_the_first_and_a_killed_holder_is_no_obstacle(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(state.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConflictError) as conflict, state.lock():
            pass
        assert f"process {holder.pid}" in str(conflict.value)
        assert "http://127.0.0.1:8700" in str(conflict.value)
        state.write_environment({"DATABASE_URL": "postgresql://gone"})
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
    with state.lock():
        # The file of the killed one must not lead anybody to servers that are gone.
        assert not state.environment.exists()
    with state.lock():
        pass


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with pytest.raises(ValueError), state.lock():
        raise ValueError
    with state.lock():
        pass


def test_environment_file_is_private_and_read_back(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    values = {"DATABASE_URL": "postgresql://a:b=c@127.0.0.1:1/x", "FILEINTEL_API_URL": "http://127.0.0.1:8700"}
    state.write_environment(values)
    assert mode(state.environment) == 0o600
    assert read_environment_file(state.environment) == values
    with pytest.raises(ConfigurationError):
        state.write_environment({"DATABASE_URL": "a\nFILEINTEL_API_KEY=b"})
    assert read_environment_file(state.environment) == values
    state.remove_environment()
    state.remove_environment()
    assert not state.environment.exists()


def test_secret_is_random_private_and_kept(tmp_path: Path) -> None:
    first = StateDir(tmp_path / "a")
    assert not first.has_secret("postgres")
    secret = first.secret("postgres")
    assert len(secret) > 40
    assert first.has_secret("postgres")
    assert StateDir(tmp_path / "a").secret("postgres") == secret
    assert StateDir(tmp_path / "b").secret("postgres") != secret
    assert mode(first.secrets / "postgres") == 0o600
    assert mode(first.path) == 0o700


def test_port_is_remembered_while_free(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    port = state.port("postgres")
    assert StateDir(tmp_path).port("postgres") == port
    assert state.port("broker") != port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free(port)
        other = state.port("postgres")
        assert other != port
    assert state.port("postgres") == other


def test_wanted_port_gives_way_unless_asked_for(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        assert state.port("api", wanted) != wanted
        with pytest.raises(ConflictError, match="--port"):
            state.port("api", wanted, exactly=True)
    assert state.port("api", wanted) == wanted


def test_damaged_port_file_is_named(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    (tmp_path / "ports.json").write_text("[1")
    with pytest.raises(ConfigurationError, match=r"ports\.json"):
        state.port("postgres")


def test_state_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="FILEINTEL_STATE_DIR"):
        StateDir(tmp_path / "file" / "state")


def test_private_file_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_two_that_start_at_once_listen_on_different_ports(tmp_path):
    from fileintel.embedded.up import _listen
    from fileintel.settings import Settings

    first = _listen(StateDir(tmp_path / "a"), Settings(state_dir=tmp_path / "a"), None)
    with first, _listen(StateDir(tmp_path / "b"), Settings(state_dir=tmp_path / "b"), None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
        with pytest.raises(ConflictError, match="--port"):
            _listen(StateDir(tmp_path / "c"), Settings(state_dir=tmp_path / "c"), second.getsockname()[1])

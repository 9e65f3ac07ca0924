"""Runs a command with a container engine: `python tools/with_engine.py [--optional] COMMAND ...`.

An engine that answers is used as it is. Otherwise, as root on a Debian, Docker is installed if it is missing and a
daemon started on a socket of its own for as long as the command runs; images and layers stay in DATA for the next time.
With --optional the command is run without an engine where none can be had, after one line that says why. Only the
standard library is used: it runs before anything else is installed.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

DATA = Path("/var/lib/fileintel-engine")
PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "mmdebstrap": "mmdebstrap"}
DEFAULT = "unix:///var/run/docker.sock"
OWN = f"unix://{DATA}/docker.sock"


class NoEngine(Exception):
    """Why there is no engine, in one line."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def answers(host: str) -> bool:
    """Whether a Docker API answers at `host`, as DOCKER_HOST names it; one reached by SSH or TLS is believed."""
    url = urlsplit(host)
    if url.scheme not in ("unix", "tcp") or os.environ.get("DOCKER_TLS_VERIFY"):
        return True
    connection = UnixConnection(url.path) if url.scheme == "unix" else http.client.HTTPConnection(url.netloc, timeout=5)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def install() -> None:
    """Install what is missing of Docker from Debian, without starting it; raises NoEngine if that cannot be done."""
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise NoEngine(f"{', '.join(missing)} not installed, and there is no apt-get to install it")
    print(f"installing {' '.join(missing)}", file=sys.stderr)
    # RUNLEVEL keeps the packages from starting a daemon of the machine's own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise NoEngine(f"apt-get {arguments[0]} failed")


def start() -> subprocess.Popen[bytes]:
    """Start a daemon that answers at OWN and publishes on loopback alone; raises NoEngine."""
    if os.geteuid() != 0:
        raise NoEngine("no Docker daemon answers, and only root can start one")
    install()
    DATA.mkdir(mode=0o711, exist_ok=True)
    log = DATA / "log"
    command = ["dockerd", "--host", OWN, "--data-root", f"{DATA}/data", "--exec-root", f"{DATA}/exec"]
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [*command, "--pidfile", f"{DATA}/pid", "--ip=127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl+C is the command's; the daemon is stopped after it.
            start_new_session=True,
        )
    end = time.monotonic() + 60
    while not answers(OWN):
        if daemon.poll() is not None or time.monotonic() > end:
            stop(daemon)
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise NoEngine(f"dockerd does not run here: {said[-1] if said else 'it says nothing'}")
        time.sleep(0.2)
    return daemon


def clear(host: str) -> None:
    """Remove the containers of tests that died with the daemon before: it has restarted them, and nobody reaps them."""

    def ask(method: str, path: str) -> bytes:
        connection = UnixConnection(urlsplit(host).path)
        connection.timeout = 60
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        finally:
            connection.close()

    query = urlencode({"all": "1", "filters": json.dumps({"label": ["org.testcontainers=true"]})})
    for container in json.loads(ask("GET", f"/containers/json?{query}")):
        ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")


def stop(daemon: subprocess.Popen[bytes]) -> None:
    """End the daemon, and its containers with it."""
    daemon.terminate()
    try:
        daemon.wait(60)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code, or 69 if there is no engine and it needs one."""
    optional = arguments[:1] == ["--optional"]
    command = arguments[optional:]
    if not command:
        print("usage: with_engine.py [--optional] COMMAND ...", file=sys.stderr)
        return 2
    daemon = None
    environment = dict(os.environ)
    if answers(OWN) and not answers(environment.get("DOCKER_HOST", DEFAULT)):
        environment["DOCKER_HOST"] = OWN  # another run's
    if not answers(environment.get("DOCKER_HOST", DEFAULT)):
        try:
            daemon = start()
            environment["DOCKER_HOST"] = OWN
            clear(OWN)
        except NoEngine as error:
            print(f"no container engine: {error}", file=sys.stderr)
            if not optional:
                return 69
    # The command hears a Ctrl+C by itself; a SIGTERM is passed on.
    running = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: running.terminate())
    try:
        code = running.wait()
    finally:
        if daemon is not None:
            stop(daemon)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

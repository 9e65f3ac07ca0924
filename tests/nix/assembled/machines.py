"""Runs the script of nix/vm-test.nix with containers in place of its virtual machines.

`python tools/with_engine.py python tests/nix/assembled/machines.py MACHINES [STORE]`: MACHINES is what machines.nix
builds, STORE the folder with its store, /nix unless Nix runs in a chroot. A Debian 13 with systemd is made by
mmdebstrap the first time. What a container does not let systemd do is switched off: namespaces of users and networks.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker import DockerClient
from docker.errors import ImageNotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

sys.path.insert(0, str(Path(__file__).parents[2]))
import systemd_container

IMAGE = "fileintel-debian-machine:13"
PACKAGES = "ca-certificates curl dbus jq postgresql-17-pgvector systemd systemd-sysv valkey-server valkey-tools"
# Those of NixOS's virtual test machines.
SUBNETS = ("192.168.1.0/24", "2001:db8:1::/64")
# Debian's own servers do not start.
MADE = """
set -e
if [ ! -e /etc/machine-made ]; then
  rm -rf /var/lib/postgresql/* /etc/postgresql
  rm -f /etc/systemd/system/*.wants/postgresql* /etc/systemd/system/*.wants/valkey*
  mkdir -p /etc/systemd/system/service.d /etc/sysusers.d /etc/tmpfiles.d
  printf '[Service]\nPrivateUsers=no\n' > /etc/systemd/system/service.d/container.conf
  cp -r --no-preserve=ownership MACHINE/system/. /etc/systemd/system/
  cp -r --no-preserve=ownership MACHINE/etc/. /etc/
  cp MACHINE/sysusers.d/* /etc/sysusers.d/
  cp MACHINE/tmpfiles.d/* /etc/tmpfiles.d/
  if [ -n "$(ls MACHINE/bin)" ]; then cp -P MACHINE/bin/* /usr/local/bin/; fi
  systemd-sysusers
  touch /etc/machine-made
fi
"""


class Machine:
    """A container, with as much of the interface of NixOS's test machines as the script uses; times in seconds."""

    def __init__(self, engine: DockerClient, network: Network, name: str, files: str, store: Path) -> None:
        self.name = name
        made = MADE.replace("MACHINE", files).replace("RELAXED", systemd_container.RELAXED)
        self.container: Container = engine.containers.create(
            IMAGE,
            name=f"fileintel-{name}",
            hostname=name,
            entrypoint=["sh", "-c", made + systemd_container.BOOT],
            volumes={str(store): {"bind": "/nix", "mode": "ro"}},
            tmpfs=systemd_container.TMPFS,
            **systemd_container.PRIVILEGES,
        )
        network.connect(self.container, aliases=[name])

    def execute(self, command: str) -> tuple[int, str]:
        """Run a command; returns its exit code and what it wrote to stdout, or else to stderr."""
        code, (out, err) = self.container.exec_run(["bash", "-c", command], demux=True)
        return code, (out or (err if code else b"") or b"").decode(errors="replace")

    def start(self) -> None:
        """Start it."""
        print(f"{self.name}: starts", flush=True)
        self.container.start()
        self.wait_until_succeeds("systemctl is-system-running | grep -E 'starting|running|degraded'", 60)

    def shutdown(self) -> None:
        """Stop it as an operator would."""
        self.container.stop(timeout=120)

    def succeed(self, command: str, timeout: int = 900) -> str:
        """Run a command that must not fail; returns its output."""
        return self._expect(command, f"timeout {timeout} bash -c {shlex.quote(command)}", True)

    def fail(self, command: str) -> str:
        """Run a command that must fail; returns its output."""
        return self._expect(command, command, False)

    def _expect(self, shown: str, command: str, success: bool) -> str:
        print(f"{self.name}: {shown}", flush=True)
        code, said = self.execute(command)
        assert (code == 0) == success, f"{self.name}: {shown}: {code}: {said[-3000:]}"
        return said

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        """Repeat a command until it does not fail; returns its output."""
        print(f"{self.name}: until {command}", flush=True)
        end = time.monotonic() + timeout
        while True:
            code, said = self.execute(command)
            if code == 0:
                return said
            assert time.monotonic() < end, f"{self.name}: {command}: {said[-3000:]}"
            time.sleep(1)

    def wait_for_unit(self, unit: str, timeout: int = 300) -> None:
        """Wait until a unit is active; one that has failed for good is an error."""
        state = f"systemctl show --property=ActiveState --value {unit} | grep -E '^(active|failed)$'"
        assert self.wait_until_succeeds(state, timeout).strip() == "active", f"{self.name}: {unit} failed"

    def wait_for_file(self, path: str, timeout: int = 300) -> None:
        """Wait until a file is there."""
        self.wait_until_succeeds(f"test -e {path}", timeout)


@contextmanager
def subtest(name: str) -> Iterator[None]:
    """Say which part of the script runs, and how long it took."""
    print(f"\n# {name}", flush=True)
    began = time.monotonic()
    yield
    print(f"# passed in {time.monotonic() - began:.0f} s", flush=True)


def debian(engine: DockerClient) -> None:
    """Make the containers' Debian, unless it is there."""
    try:
        engine.images.get(IMAGE)
    except ImageNotFound:
        with tempfile.TemporaryDirectory() as folder:
            tree = f"{folder}/tree.tar"
            packages = ",".join(PACKAGES.split())
            command = ["mmdebstrap", "--variant=minbase", f"--include={packages}", "trixie", tree]
            subprocess.run(command, check=True)
            repository, _, tag = IMAGE.partition(":")
            engine.api.import_image_from_file(tree, repository=repository, tag=tag)


def main(machines: Path, store: Path) -> None:
    """Make the machines, run the script, and remove them."""
    engine = docker.from_env()
    debian(engine)
    pools = [IPAMPool(subnet=subnet) for subnet in SUBNETS]
    network = engine.networks.create("fileintel-machines", enable_ipv6=True, ipam=IPAMConfig(pool_configs=pools))
    made: dict[str, Machine] = {}
    try:
        for link in sorted(machines.iterdir()):
            if link.is_symlink():
                made[link.name] = Machine(engine, network, link.name, str(link.readlink()), store)
        script = (machines / "script.py").read_text(encoding="utf-8")
        try:
            exec(compile(script, "vm-test.nix", "exec"), {**made, "subtest": subtest})
        except AssertionError:
            for name, machine in made.items():
                machine.container.reload()
                if machine.container.status != "running":
                    continue
                print(f"\n# the journal of {name}\n{machine.execute('journalctl --no-pager --lines=100')[1]}")
            raise
        print("\n# all passed")
    finally:
        for machine in made.values():
            machine.container.remove(force=True, v=True)
        network.remove()
        engine.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "/nix"))

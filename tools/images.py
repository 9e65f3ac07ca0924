"""Makes FileIntel's container images where Nix can't: of Debian's packages and the locked wheels.

`python tools/images.py` needs a Docker engine, mmdebstrap and the package registries; nothing is pulled. What the
images run, and as whom, is nix/debian-images.json, made from the same process list as the images that Nix builds.
What is costly is made once and kept by the hash of what it is made of: a Debian per list of packages, the installed
wheels per requirements.lock. The code comes on top each time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.errors import BuildError, DockerException, ImageNotFound
from packaging.markers import Marker, default_environment

ROOT = Path(__file__).parents[1]
SUITE = "trixie"
# Of that Debian; the locked wheels are those of this version.
PYTHON = "3.13"
ENVIRONMENT = "/opt/fileintel"
PACKAGES = {
    "app": ("python3", "python3-venv", "ca-certificates", "tzdata"),
    "postgres": ("postgresql-17", "postgresql-17-pgvector"),
    "redis": ("valkey-server", "valkey-tools"),
}
# For the image in which the units of docs/systemd are run: kept as archives in the app's Debian, installed there alone.
SYSTEMD = ("systemd", "systemd-sysv", "dbus")
ARCHIVES = "/var/lib/fileintel-systemd"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
BASES = {
    "fileintel": "app",
    "fileintel-postgres": "postgres",
    "fileintel-redis-broker": "redis",
    "fileintel-redis-cache": "redis",
}
# The server's own image holds no user of FileIntel's; initdb asks for the name of the one that it runs as.
USER = "fileintel"


class Failed(Exception):
    """What could not be made and why, in one line."""


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def digest(*parts: object) -> str:
    """A short name of what something is made of."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def run(command: list[str], **options: Any) -> None:
    """Run a command quietly; raises Failed with the end of what it said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        raise Failed(f"{' '.join(command[:3])} failed: {done.stdout.strip()[-2000:]}")


def locked(text: str) -> Iterator[str]:
    """The lines of a lock file that hold for the images' Python, without their markers: pip takes them as its own's."""
    environment = {**default_environment(), "python_version": PYTHON, "python_full_version": f"{PYTHON}.5"}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        requirement, _, hashes = line.partition("--hash=")
        if not hashes or line.startswith("#"):
            continue
        name, _, marker = requirement.partition(";")
        if not marker or Marker(marker.strip()).evaluate({**environment, "extra": ""}):
            yield f"{name.strip()} --hash={hashes.split(' #')[0]}".replace("--hash=", " --hash=")


class Images:
    """The engine and what is made in it."""

    def __init__(self) -> None:
        try:
            self.engine = docker.from_env(timeout=600)
            self.engine.ping()
        except DockerException as error:
            raise Failed(f"no container engine answers: {error}") from None
        self.described: dict[str, Any] = json.loads((ROOT / "nix" / "debian-images.json").read_text(encoding="utf-8"))
        self.version: str = self.described["version"]

    def has(self, tag: str) -> bool:
        """Whether there is an image of this name."""
        try:
            self.engine.images.get(tag)
        except ImageNotFound:
            return False
        return True

    def debian_tag(self, name: str) -> str:
        """The name of the Debian with what `name` needs."""
        return f"fileintel-debian-{name}:{digest(SUITE, PACKAGES[name], self.hooks(name))}"

    def hooks(self, name: str) -> list[str]:
        """What mmdebstrap is told beside the packages."""
        hooks = [f'--dpkgopt=path-exclude="{path}"' for path in LEFT_OUT]
        hooks.append('--dpkgopt=path-include="/usr/share/doc/*/copyright"')
        if name == "app":
            hooks += [
                '--customize-hook=chroot "$1" apt-get clean',
                f'--customize-hook=chroot "$1" apt-get install --yes --download-only {" ".join(SYSTEMD)}',
                f'--customize-hook=mkdir -p "$1{ARCHIVES}" && mv "$1"/var/cache/apt/archives/*.deb "$1{ARCHIVES}"',
            ]
        if name == "postgres":
            # Debian makes a cluster when the package is installed; ours is made at the first start.
            hooks.append('--customize-hook=rm -rf "$1"/var/lib/postgresql/* "$1"/etc/postgresql/*')
        if name == "redis":
            hooks += [
                f'--customize-hook=ln -s /usr/bin/valkey-{part} "$1"/usr/local/bin/redis-{part}'
                for part in ("server", "cli")
            ]
        return hooks

    def debian(self, name: str) -> str:
        """Make a Debian with what `name` needs; returns its tag."""
        tag, packages = self.debian_tag(name), PACKAGES[name]
        if self.has(tag):
            return tag
        if not shutil.which("mmdebstrap"):
            raise Failed("mmdebstrap is not installed: apt-get install mmdebstrap")
        say(f"{SUITE} with {' '.join(packages)}")
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree.tar"
            run(
                [
                    *("mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}"),
                    *("--aptopt=APT::Install-Recommends false", *self.hooks(name), SUITE, str(tree)),
                ]
            )
            repository, _, version = tag.partition(":")
            self.engine.api.import_image_from_file(str(tree), repository=repository, tag=version)
        return tag

    def wheels(self, folder: Path) -> None:
        """Download the locked wheels of the images' Python."""
        say("the locked wheels")
        requirements = folder / "requirements.txt"
        lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
        requirements.write_text("\n".join(locked(lock)) + "\n", encoding="utf-8")
        run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:", "--python-version", PYTHON),
                *("--requirement", str(requirements), "--dest", str(folder)),
            ]
        )

    def environment(self, base: str, folder: Path) -> None:
        """Install the wheels into the app's Debian, without a network."""
        say("installing the wheels")
        install = (
            f"set -e; python{PYTHON} -m venv {ENVIRONMENT}; {ENVIRONMENT}/bin/python -m pip install --quiet --no-index "
            f"--no-deps --require-hashes --find-links /wheels --requirement /wheels/requirements.txt; "
            f"{ENVIRONMENT}/bin/python -m pip check"
        )
        container = self.engine.containers.create(
            base,
            ["sh", "-c", install],
            network_mode="none",
            volumes={str(folder): {"bind": "/wheels", "mode": "ro"}},
        )
        try:
            container.start()
            if container.wait()["StatusCode"]:
                raise Failed(f"installing the wheels failed: {container.logs().decode()[-2000:]}")
            repository, _, tag = self.locked_tag(base).partition(":")
            container.commit(repository, tag)
        finally:
            container.remove(force=True)

    def locked_tag(self, base: str) -> str:
        """The name of the app's Debian with the locked wheels in it."""
        return f"fileintel-locked:{digest((ROOT / 'requirements.lock').read_text(encoding='utf-8'), base)}"

    def build(self, tag: str, lines: list[str], files: dict[str, Path], version: str | None = None) -> None:
        """Build an image from the lines of a Dockerfile and the files it copies."""
        say(tag)
        with tempfile.TemporaryDirectory() as folder:
            for name, source in files.items():
                shutil.copy2(source, Path(folder) / name)
            (Path(folder) / "Dockerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
            try:
                self.engine.images.build(path=folder, tag=f"{tag}:{version or self.version}", rm=True, forcerm=True)
            except BuildError as error:
                said = "".join(line.get("stream", "") for line in error.build_log)
                raise Failed(f"{tag}: {error.msg}\n{said[-2000:]}") from None

    def make(self) -> None:
        """Make everything that is not there yet."""
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(4) as pool:
            folder = Path(name)
            os.chmod(folder, 0o755)
            bases = {part: pool.submit(self.debian, part) for part in PACKAGES}
            code = pool.submit(self.code, folder)
            wheels = folder / "wheels"
            wheels.mkdir()
            if not self.has(self.locked_tag(self.debian_tag("app"))):
                self.wheels(wheels)
                self.environment(bases["app"].result(), wheels)
            tags = {part: future.result() for part, future in bases.items()}
            for image, part in BASES.items():
                config = self.described["images"][image]
                if part == "app":
                    wheel = code.result()
                    lines, files = self.app(wheel), {wheel.name: wheel}
                    lines = [f"FROM {self.locked_tag(tags[part])}", *lines]
                else:
                    entry = ROOT / "nix" / "images" / f"{part}.sh"
                    lines = [f"FROM {tags[part]}", f"COPY {part}.sh {config['Entrypoint'][0]}"]
                    lines.append(f"RUN chmod 755 {config['Entrypoint'][0]}")
                    files = {entry.name: entry}
                self.build(image, [*lines, *dockerfile(config)], files)
            reaper = [f"FROM {tags['app']}", "COPY reaper.py /reaper.py", 'ENTRYPOINT ["python3", "/reaper.py"]']
            self.build("fileintel-reaper", reaper, {"reaper.py": ROOT / "tools" / "reaper.py"})
            units = {unit.name: unit for unit in (ROOT / "docs" / "systemd").iterdir()}
            self.build("fileintel-systemd", self.systemd(sorted(units)), units)
        # What the last version's code lay in.
        self.engine.images.prune(filters={"dangling": True})

    def code(self, folder: Path) -> Path:
        """FileIntel itself as a wheel, the same bytes each time."""
        source = folder / "source"
        source.mkdir()
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / part, source)
        shutil.copytree(ROOT / "fileintel", source / "fileintel", ignore=shutil.ignore_patterns("__pycache__"))
        run(
            [
                *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index"),
                *("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder / "code"), str(source)),
            ],
            env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
        )
        return next((folder / "code").glob("*.whl"))

    def app(self, wheel: Path) -> list[str]:
        """FileIntel on top of its locked wheels."""
        install = f"{ENVIRONMENT}/bin/python -m pip install --quiet --no-index --no-deps /{wheel.name}"
        return [f"COPY {wheel.name} /{wheel.name}", f"RUN {install} && rm /{wheel.name}"]

    def systemd(self, units: list[str]) -> list[str]:
        """The app with systemd as its first process and the units of docs/systemd, as deployment.md sets them up."""
        return [
            f"FROM fileintel:{self.version}",
            "USER 0:0",
            "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            f"RUN DEBIAN_FRONTEND=noninteractive apt-get install --yes {ARCHIVES}/*.deb >/dev/null 2>&1"
            " && systemctl mask systemd-logind.service",
            f"COPY {' '.join(units)} /etc/systemd/system/",
            'ENTRYPOINT ["/usr/sbin/init"]',
            "CMD []",
            "HEALTHCHECK NONE",
            "STOPSIGNAL SIGRTMIN+3",
        ]


def dockerfile(config: dict[str, Any]) -> list[str]:
    """The Dockerfile lines that say what an image's config says, for a user who has the folder it works in."""
    user, folder = config["User"].split(":")[0], config["WorkingDir"]
    probe = config["Healthcheck"]
    times = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    flags = " ".join(f"--{flag}={probe[key] // 10**9}s" for flag, key in times.items())
    assert probe["Test"][0] == "CMD"
    return [
        f"RUN echo '{USER}:x:{user}:{user}:FileIntel:{folder}:/bin/false' >>/etc/passwd"
        f" && echo '{USER}:x:{user}:' >>/etc/group && mkdir -p {folder} && chown {user}:{user} {folder}",
        "ENV " + " ".join(f"{name}={json.dumps(value)}" for name, value in pairs(config["Env"])),
        "LABEL " + " ".join(f"{name}={json.dumps(value)}" for name, value in config["Labels"].items()),
        *(f"EXPOSE {port}" for port in config["ExposedPorts"]),
        f"WORKDIR {folder}",
        f"VOLUME {json.dumps(list(config['Volumes']))}",
        f"HEALTHCHECK {flags} --retries={probe['Retries']} CMD {json.dumps(probe['Test'][1:])}",
        f"STOPSIGNAL {config['StopSignal']}",
        f"ENTRYPOINT {json.dumps(config['Entrypoint'])}",
        f"CMD {json.dumps(config['Cmd'])}",
        f"USER {config['User']}",
    ]


def pairs(environment: list[str]) -> Iterator[tuple[str, str]]:
    """The names and values of an image's environment."""
    for entry in environment:
        name, _, value = entry.partition("=")
        yield name, value


def main() -> int:
    """Make the images; 1 if that cannot be done."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        Images().make()
    except Failed as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

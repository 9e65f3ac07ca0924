"""What lets systemd be process 1 of a Docker container, all restrictions of its units but those of namespaces held."""

from __future__ import annotations

from typing import Any

# Shell commands, as root. The control groups are there, but closed to a container; credentials reach a unit by shared
# mounts; and systemd gives up control groups of version 1 but when forced.
BOOT = """
for group in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$group"; done
mount --make-rshared /
exec /usr/sbin/init systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
"""
# A drop-in of systemd's: Docker's /proc does not let it map a user namespace.
RELAXED = "[Service]\nPrivateUsers=no\n"
# For docker-py's `containers.create`.
PRIVILEGES: dict[str, Any] = {
    "cap_add": ["SYS_ADMIN"],
    "security_opt": ["seccomp=unconfined"],
    "cgroupns": "private",
    "stop_signal": "SIGRTMIN+3",
}
TMPFS = {"/run": "exec,size=3g", "/run/lock": ""}

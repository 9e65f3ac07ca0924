"""Postgres refuses to run as root: the user id it gets instead, and a place that this id can reach."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from fileintel.errors import ConfigurationError

# No distribution and no systemd gives out these ids, so no other process has one by chance; "nobody" may have many.
_IDS = range(60_578, 61_184)
# Where root keeps what must not lie in a closed folder such as /root.
OPEN_FOLDER = Path("/var/lib/fileintel")


def user_for(data: Path) -> tuple[int, int] | None:
    """The (uid, gid) Postgres runs under: the owner of `data`, else a free id; None if the caller is not root."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        owner = data.stat()
        return owner.st_uid, owner.st_gid
    for number in _IDS:
        try:
            pwd.getpwuid(number)
        except KeyError:
            try:
                grp.getgrgid(number)
            except KeyError:
                return number, number
    raise ConfigurationError(f"no free user id between {_IDS.start} and {_IDS.stop} for Postgres: set DATABASE_URL")


def named_user() -> int:
    """A user id that has a name and is not root's: initdb, unlike Postgres itself, refuses one without a name."""
    if os.geteuid() != 0:
        try:
            return pwd.getpwuid(os.geteuid()).pw_uid
        except KeyError:
            raise ConfigurationError(
                f"the user id {os.geteuid()} has no name on this machine, which Postgres's initdb asks for: give it "
                "an entry in /etc/passwd, or set DATABASE_URL to a Postgres of yours"
            ) from None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        others = [entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0]
        if others:
            return others[0]
    raise ConfigurationError(
        "this machine has no user but root, and Postgres's initdb refuses to run as root: add one to /etc/passwd "
        "(for instance nobody), or set DATABASE_URL to a Postgres of yours"
    )


def can_pass(path: Path, user: tuple[int, int]) -> bool:
    """Whether `user` (uid, gid) may pass through every folder above `path`, symbolic links followed."""
    uid, gid = user
    for folder in path.resolve().parents:
        place = folder.stat()
        if place.st_uid == uid:
            passable = place.st_mode & stat.S_IXUSR
        elif place.st_gid == gid:
            passable = place.st_mode & stat.S_IXGRP
        else:
            passable = place.st_mode & stat.S_IXOTH
        if not passable:
            return False
    return True


def open_to(folder: Path, user: tuple[int, int]) -> None:
    """Let `user` pass through `folder` by its group, and nobody else; only where the group was root's, so nobody's."""
    place = folder.stat()
    if place.st_uid == 0 and place.st_gid == 0 and not place.st_mode & stat.S_IXOTH:
        os.chown(folder, -1, user[1])
        folder.chmod(stat.S_IMODE(place.st_mode) & ~stat.S_IRWXG | stat.S_IXGRP)


def place_for(wanted: Path, user: tuple[int, int] | None) -> Path:
    """Where data that is to lie at `wanted` really lies: there, or behind a symbolic link there to the open folder.

    The link is made if `user` could not get at `wanted`, as when the state folder is below /root. Raises
    ConfigurationError if there is no such place.
    """
    if user is None:
        return wanted.resolve()
    open_to(wanted.parent, user)
    if can_pass(wanted, user):
        return wanted.resolve()
    elsewhere = open_folder(user, f"the embedded Postgres cannot reach {wanted}") / f"postgres-{secrets.token_hex(6)}"
    wanted.symlink_to(elsewhere)
    return elsewhere


def open_folder(user: tuple[int, int], why: str) -> Path:
    """/var/lib/fileintel, passable for `user`; raises ConfigurationError, which starts with `why`."""
    try:
        if not OPEN_FOLDER.exists():
            OPEN_FOLDER.mkdir(parents=True, mode=0o711)
            OPEN_FOLDER.chmod(0o711)
        open_to(OPEN_FOLDER, user)
    except OSError as error:
        raise ConfigurationError(
            f"{why} under an unprivileged user id, and {OPEN_FOLDER} cannot be used instead ({error.strerror}): set "
            "FILEINTEL_STATE_DIR to a folder all of whose parents are open (mode 755), or run as a normal user"
        ) from error
    if not can_pass(OPEN_FOLDER / "anything", user):
        raise ConfigurationError(f"{why}, nor {OPEN_FOLDER}: open the folders above it (chmod o+x)")
    return OPEN_FOLDER


def reachable_copy(program: Path, parts: tuple[Path, ...], root: Path, user: tuple[int, int] | None, name: str) -> Path:
    """`program`, or where `user` cannot reach it, its copy: `parts` of `root`, copied once to the open folder."""
    if user is None or can_pass(program, user):
        return program
    copy = open_folder(user, f"the embedded Postgres cannot run {program}") / name
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=copy.parent))
        for part in parts:
            shutil.copytree(root / part, draft / part, symlinks=True)
        # Readable for all and writable for root alone, whatever the umask was at installation.
        for folder, _, files in os.walk(draft):
            Path(folder).chmod(0o755)
            for file in files:
                path = Path(folder) / file
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            draft.rename(copy)
        except OSError:
            # Another launcher was faster.
            shutil.rmtree(draft)
            if not copy.exists():
                raise
    return copy / program.relative_to(root)

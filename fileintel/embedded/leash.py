"""A script, run as `python -I -S leash.py LAUNCHER SIGNAL UID GID PROGRAM ARG…`: becomes PROGRAM, tied to its launcher.

The kernel sends PROGRAM the signal SIGNAL when the process LAUNCHER dies, however it dies, and PROGRAM runs as UID and
GID (-1: unchanged). A script of its own rather than code between fork and exec: the latter may deadlock in a launcher
that has threads. It imports nothing of FileIntel, so it costs some ten milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Drop privileges, tie this process to its launcher and exec the program; exits 126 with one line if it can't."""
    launcher, death_signal, uid, gid = (int(word) for word in argv[1:5])
    program = argv[5:]
    if uid != -1:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    # After the change of user: that clears the setting.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The launcher may have died before the kernel was told.
    if os.getppid() != launcher:
        sys.exit(128 + death_signal)
    # Python ignores SIGPIPE, and an ignored signal stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(program[0], program)


if __name__ == "__main__":
    try:
        main(sys.argv)
    except OSError as error:
        print(f"cannot start {' '.join(sys.argv[5:6])}: {error}", file=sys.stderr)
        sys.exit(126)

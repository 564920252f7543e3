"""Gives up what a script has no use for, then becomes the program that it is told.

`python -PsS sandbox_launcher.py PATH… -- PROGRAM ARGUMENT…`: from then on the process and all that
it starts can write below these paths alone, and can signal nobody else. Landlock does this for any
user, without a namespace and for good. Where the kernel lacks it, that part is left out. Of the
standard library alone, as it starts with every script.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import struct
import sys
from collections.abc import Sequence

# The same on every architecture that Linux added system calls to since 2019.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, BENEATH_PATH = 1, 1
DROP_CAPABILITY, NO_NEW_PRIVILEGES = 24, 38  # of prctl
CAPABILITIES = 64  # more than there are

# Landlock's rights. Reading and executing (0, 2, 3) are not restricted.
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
TREE = sum(1 << right for right in range(4, 14))  # remove, make, rename what is in a folder
ABSTRACT_SOCKETS, SIGNALS = 1, 2
DEVICES = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")]

# Its versions: before 2 (Linux 5.19) nothing can be moved between folders, so it is not used.
USABLE, TRUNCATES, SCOPES = 2, 3, 6  # from Linux 5.19, 6.2, 6.12

PYTHON_ONLY = "PYTHONCOERCECLOCALE"  # set to 0, so that Python leaves the program's locale alone

REFUSED = 190  # as the runner where it has no place to run in

_libc = ctypes.CDLL(None, use_errno=True)


def landlock() -> int:
    """Return the version of Landlock that this kernel has, 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG)))


def confine(writable: Sequence[str]) -> None:
    """Keep this process from writing elsewhere; raises OSError. Nothing undoes it."""
    version = landlock()
    if version < USABLE:
        return
    rights = WRITE_FILE | TREE | (TRUNCATE if version >= TRUNCATES else 0)
    scope = ABSTRACT_SOCKETS | SIGNALS if version >= SCOPES else 0
    handled = struct.pack("=QQQ", rights, 0, scope)
    rules = _checked(_libc.syscall(CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0))
    for path in (*writable, *filter(os.path.exists, DEVICES)):
        there = os.open(path, os.O_PATH | os.O_CLOEXEC)
        folder = stat.S_ISDIR(os.fstat(there).st_mode)
        allowed = rights if folder else rights & (WRITE_FILE | TRUNCATE)
        rule = struct.pack("=Qi", allowed, there)
        _checked(_libc.syscall(ADD_RULE, rules, BENEATH_PATH, rule, 0))
        os.close(there)
    _checked(_libc.syscall(RESTRICT_SELF, rules, 0))
    os.close(rules)


def give_up_privileges() -> None:
    """See that no program can gain privileges, and that root has none of its own, as in a Pod."""
    if not sys.platform.startswith("linux"):
        return
    if os.geteuid() == 0:
        for number in range(CAPABILITIES):
            _libc.prctl(DROP_CAPABILITY, number, 0, 0, 0)
    _checked(_libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def hear_all_signals() -> None:
    """Ignore and block none: a shell cannot trap what it was started to ignore, as by `nohup`."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _checked(returned: int) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned


def main(arguments: list[str]) -> None:
    """Become the program."""
    at = arguments.index("--")
    os.environ.pop(PYTHON_ONLY, None)
    try:
        give_up_privileges()
        confine(arguments[:at])
    except OSError as error:
        print(f"dtp: this script cannot be confined: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(REFUSED)
    hear_all_signals()
    os.execv(arguments[at + 1], arguments[at + 1 :])  # noqa: S606 what we are told to become


if __name__ == "__main__":
    main(sys.argv[1:])

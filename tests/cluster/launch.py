"""Becomes another program that dies with its starter: `launch.py STARTER_PID|detached PROGRAM ARGUMENT...`.

Run by processes.py with `python -I -S`, as a program of its own: a `preexec_fn` would run Python between fork and
exec of a process that may have threads. The process id stays the same, because exec replaces this program.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    starter, program = sys.argv[1], sys.argv[2]
    os.setsid()  # Ctrl-C in the terminal is for the tests, which then end their cluster in order
    if starter != "detached":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != int(starter):  # it died before prctl: no signal would ever come
            sys.exit("the starter is gone")
    os.execv(program, sys.argv[2:])


if __name__ == "__main__":
    main()

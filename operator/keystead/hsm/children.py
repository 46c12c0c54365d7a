"""Child processes that hold a login: slow lanes (lanes.py), workers (app/workers.py). They end when, and only when, their parent has it so.

Ctrl-C in a terminal, `timeout`, the end of a systemd unit: they signal the parent and its children alike, and the parent needs them still,
for the end of an audit trail is signed in a lane. A child that merely ignored signals would be open to them while its interpreter starts.
So it is started with them blocked, which outlives exec(2), and says itself what they are to it. What may never enter: what such a process
works on.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def shielded() -> Iterator[None]:
    """Processes that this thread starts meanwhile have SIGINT and SIGTERM blocked, until they call `heed`."""
    resource_tracker.ensure_running()  # where it is started later, it unblocks them for this thread
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed(*heeded: signal.Signals) -> None:
    """First of all in such a process: these signals have their effect; the others have none, not even those that came already."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL if number in heeded else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def end_with_parent() -> None:
    """What holds a login must not outlive who started it, were that killed: a lane, a worker of a Pod. Linux: prctl(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():
        os._exit(1)  # it died before the kernel was told

"""A module that shares our process' OpenSSL leaves its errors in our thread's queue, and TLS then fails: clear it.

Measured: SoftHSM's C_Initialize leaves four errors (it asks for an engine that is not there); the next TLS read of this thread that would
only have had to wait ends as `SSLError: NO_SUCH_ENGINE` (SSL_get_error wants an empty queue, SSL_get_error(3)). Hot calls leave nothing.
Called after every C_Initialize and after every failed call.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path


@cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    """Every shared libcrypto of this process. None where Python and module brought their own statically: nothing to clear then."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return ()
    paths = {line.split()[-1] for line in maps.splitlines() if "libcrypto.so" in line}
    return tuple(ctypes.CDLL(path) for path in sorted(paths))


def clear_errors() -> None:
    """Empty the error queue of this thread."""
    for library in _libraries():
        library.ERR_clear_error()

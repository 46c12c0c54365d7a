"""`keystead server` whose PKCS#11 module ends its sessions at SIGUSR1, as the restart of a network HSM does it.

SoftHSM alone cannot show that: what it has read from its folder it keeps, also when the folder is gone. Used by test_outages.py.
"""

from __future__ import annotations

import os
import signal
import sys

import pkcs11

from keystead.__main__ import main
from keystead.settings import from_environment


def _end_sessions(*_: object) -> None:
    """C_Finalize."""
    pkcs11.lib(str(from_environment(os.environ).hsm.module)).finalize()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _end_sessions)
    sys.exit(main())

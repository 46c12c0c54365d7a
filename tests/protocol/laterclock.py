"""`keystead` on a machine whose clock is ahead: `python laterclock.py SECONDS ARGUMENT...`. Called by test_restart.py.

Temporary credentials live 15 minutes at least, grant tokens 5. The product has no knob for it.
"""

from __future__ import annotations

import sys
import time

AHEAD = float(sys.argv.pop(1))
_true = time.time
time.time = lambda: _true() + AHEAD

from keystead.__main__ import main  # noqa: E402 - all that asks for the time is imported after the clock was set

if __name__ == "__main__":
    sys.exit(main())

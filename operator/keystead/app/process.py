"""What a serving process asks of the machine it runs in. Called by app/server/worker.py and app/dev/main.py, once each."""

from __future__ import annotations

import gc
import logging
import resource

log = logging.getLogger(__name__)


def raise_file_limit() -> int:
    """Open files up to the hard limit, which is told: the HTTP layer lets 8,192 connections in, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems say "unlimited" and mean less
        log.info("the limit of open files stays at %s", soft)
        return soft
    return hard


def freeze_memory() -> None:
    """What is there now stays: the collector need not look at it again. With 10,000 records a whole look takes 60 to 90 ms, in which no
    call is answered."""
    gc.collect()
    gc.freeze()

"""What the worst policies and requests that anybody can send cost a worker: the processor's time of one decision. Called by measure.py.

The documents and contexts are those of tests/policy/test_attacks.py, which bounds their steps; here is what the steps cost, with the work
of `str.find` and of long integers that no step counts. `python -m tests.bench.server.hostile` prints the table alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial

from tests.bench.rows import Row, render
from tests.policy.documents import ask
from tests.policy.test_attacks import PATTERNS, WITHOUT, hostile

ROUNDS = 5
MOST = 80
"""Times 1,000 SHA-256 of 600 bytes, which take some 0.7 ms."""


def _cost(run: Callable[[], object]) -> float:
    """Milliseconds of this thread's processor time; the quietest round."""
    least = float("inf")
    for _ in range(ROUNDS):
        start = time.thread_time()
        run()
        least = min(least, (time.thread_time() - start) * 1000)
    return least


def hostile_rows() -> list[Row]:
    """One a kind of document, with the context that costs most."""
    yardstick = _cost(lambda: [hashlib.sha256(b"x" * 600).digest() for _ in range(1000)])
    rows = []
    for kind in (*PATTERNS, *WITHOUT):
        document, contexts = hostile(kind)
        worst = max(_cost(partial(ask, document, context=context, source_ip="192.0.2.1")) for context in contexts)
        ratio = worst / yardstick
        figure = f"{worst:.1f} ms, {ratio:.1f} times 1,000 SHA-256"
        rows.append(Row(f"decision of a hostile policy: {kind}", figure, f"<= {MOST}", ratio <= MOST))
    return rows


if __name__ == "__main__":
    print(render(hostile_rows()))

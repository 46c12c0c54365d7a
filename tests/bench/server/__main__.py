"""`make bench-server` and `make bench-server-long`. Prints a table, and fails where a bound is missed. Never called by .ci/run."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.page import publish
from tests.bench.rows import render
from tests.bench.server.load import Sizes
from tests.bench.server.long import LongSizes, measure_long
from tests.bench.server.measure import measure_quota_alone, measure_rights_alone, measure_server
from tests.bench.server.quota import QuotaSizes

RIGHTS = "bench-server, policy and audit"
"""Its marker on the page."""


def main() -> int:
    """Run, print, and optionally publish."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put tables and plots into this page, under its marker"
    )
    parser.add_argument("--long", action="store_true", help="many keys and many calls instead (make bench-server-long)")
    parser.add_argument("--quota", action="store_true", help="two tenants and their quotas, nothing else")
    parser.add_argument("--rights", action="store_true", help="policy, grants and audit, nothing else")
    parser.add_argument("--rounds", type=int, default=Sizes.rounds)
    parser.add_argument("--seconds", type=float, default=Sizes.seconds)
    parser.add_argument("--peer-rounds", type=int, default=Sizes.peer_rounds)
    parser.add_argument("--keys", type=int, default=LongSizes.keys)
    parser.add_argument("--minutes", type=float, default=LongSizes.minutes)
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    sizes = Sizes(options.rounds, options.seconds, peer_rounds=options.peer_rounds)
    if options.long:
        parts = {"bench-server-long": measure_long(LongSizes(options.keys, options.minutes), say)}
    elif options.quota:
        parts = {"bench-server": measure_quota_alone(QuotaSizes(), say)}
    else:
        parts = {} if options.rights else {"bench-server": measure_server(sizes, say)}
        parts[RIGHTS] = measure_rights_alone(sizes, say)
    for target, part in parts.items():
        print(render(part.rows))
        print(part.notes)
        if options.write:
            load = os.getloadavg()[1]
            machine = f"{os.cpu_count()} cores, load {load:.1f}, {datetime.now(UTC):%Y-%m-%d}"
            publish(options.write, target, part, machine)
    missed = [row.name for part in parts.values() for row in part.rows if row.ok is False]
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: speed as ratios in one run. Prints a table, and fails where a bound of the issue is missed.

These machines are shared: an absolute time moves by 2 or 3 from day to day, so each figure stands beside a yardstick of the same run.
`--write docs/performance.md` puts the table into the page. Never called by .ci/run.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.cluster import measure_cluster
from tests.bench.engine import measure_engine
from tests.bench.rows import Row, render

ROOT = Path(__file__).resolve().parents[2]
MARK = "<!-- measured by make bench -->"


def main() -> int:
    """Run, print, and optionally publish."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page, after its marker")
    parser.add_argument("--only", choices=("engine", "cluster"), help="one half")
    arguments = parser.parse_args()
    rows: list[Row] = []
    if arguments.only != "cluster":
        rows += measure_engine()
    if arguments.only != "engine":
        rows += measure_cluster()
    table = render(rows)
    print(table)
    if arguments.write:
        head = arguments.write.read_text().split(MARK)[0]
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
        arguments.write.write_text(f"{head}{MARK}\n\nMeasured on {machine}.\n\n{table}\n")
    missed = [row.name for row in rows if row.ok is False]
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

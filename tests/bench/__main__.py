"""`make bench` and `make bench-scale`: speed as ratios in one run. Prints a table, and fails where a bound of the issue is missed.

These machines are shared: an absolute time moves by 2 or 3 from day to day, so each figure stands beside a yardstick of the same run.
`--write docs/performance.md` puts tables and plots into the page. Never called by .ci/run. The numbers are options, so that somebody who
works on the benchmark need not wait: `--burst 100 --only burst`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import burst, scale
from tests.bench.burst import measure_burst
from tests.bench.cluster import measure_cluster
from tests.bench.engine import measure_engine
from tests.bench.page import publish
from tests.bench.rows import Part, render
from tests.bench.scale import measure_scale

PARTS = ("engine", "cluster", "burst")


def main() -> int:
    """Run, print, and optionally publish."""
    arguments = _arguments()
    target = "bench-scale" if arguments.scale else "bench"
    part = measure_scale(_sizes(scale.Sizes, arguments)) if arguments.scale else _bench(arguments)
    print(render(part.rows))
    print(part.notes)
    if arguments.write:
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
        publish(arguments.write, target, part, machine)
    missed = [row.name for row in part.rows if row.ok is False]
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put tables and plots into this page, under its marker"
    )
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--scale", action="store_true", help="very many objects instead (make bench-scale)")
    options = {each.name: each.default for kind in (burst.Sizes, scale.Sizes) for each in fields(kind)}
    for name, default in options.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, metavar="N", help=f"default {default}"
        )
    return parser.parse_args()


def _sizes(kind: Any, arguments: argparse.Namespace) -> Any:
    return kind(**{each.name: getattr(arguments, each.name) for each in fields(kind)})


def _bench(arguments: argparse.Namespace) -> Part:
    """The parts that were asked for, as one."""
    part = Part([])
    if arguments.only in (None, "engine"):
        part.rows.extend(measure_engine())
    if arguments.only in (None, "cluster"):
        part.rows.extend(measure_cluster())
    if arguments.only in (None, "burst"):
        found = measure_burst(_sizes(burst.Sizes, arguments))
        part.rows.extend(found.rows)
        part.plots.extend(found.plots)
    return part


if __name__ == "__main__":
    sys.exit(main())

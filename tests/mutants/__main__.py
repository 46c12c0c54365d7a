"""Proof that the tests bite: each seeded fault must turn the tests named beside it red. `python -m tests.mutants [NAME...]`.

Works on a copy of the tree, one fault at a time; the source of this checkout is never touched. Without a fault the same tests
must be green, and a fault whose text is no longer in the source is an error: the table then wants care. The tables stand beside
this file, one for each part of the product. A test named there must fail by the fault and not by chance: where it draws its cases
at random or hangs on an order, one case that shows the fault stands in it as it is.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.mutants import audit, engine, hsm, operations, plan, policy, reconciler, server, store, tools
from tests.mutants.mutant import Mutant

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
TREES = 2
PARTS = ("operator", "tests", "crds", "charts", "examples", "docs", "requirements", "pyproject.toml", "README.md", "Makefile", "Dockerfile")
TABLES = (engine, hsm, plan, reconciler, store, policy, operations, server, audit, tools)
MUTANTS: tuple[Mutant, ...] = tuple(mutant for table in TABLES for mutant in table.MUTANTS)


def run_tests(tree: Path, arguments: tuple[str, ...]) -> str:
    """The first of these tests that is red in the tree; empty: they are green."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not cluster and not helm", *arguments]
    environment = dict(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-500:]}")
    red = re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return "" if done.returncode == 0 else (red or ["a test"])[0]


def try_mutant(tree: Path, mutant: Mutant) -> tuple[str, str]:
    """What became of it (`caught`, or what is wrong), and the test that caught it."""
    file = tree / mutant.file
    source = file.read_text()
    if source.count(mutant.old) != 1:
        return f"the text to change stands {source.count(mutant.old)} times in {mutant.file}", ""
    file.write_text(source.replace(mutant.old, mutant.new))
    try:
        red = run_tests(tree, mutant.tests)
        return ("caught", red) if red else ("SURVIVED", " ".join(mutant.tests))
    finally:
        file.write_text(source)


def copy_of(folder: Path) -> Path:
    """A tree of its own."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            # Other suites run in this checkout: a file that Python compiles now may be gone before it is copied.
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy(source, folder / part)
    return folder


def main(names: list[str]) -> int:
    """Try the mutants whose name contains one of the words, or all: two at a time, each in a tree of its own."""
    chosen = [m for m in MUTANTS if not names or any(word in m.name for word in names)]
    with ExitStack() as stack, ThreadPoolExecutor(TREES) as pool:
        trees: queue.Queue[Path] = queue.Queue()
        for _ in range(TREES):
            trees.put(copy_of(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-mutants-")))))

        def within(work: Callable[[Path], T]) -> tuple[T, float]:
            tree, start = trees.get(), time.monotonic()
            try:
                return work(tree), time.monotonic() - start
            finally:
                trees.put(tree)

        alive = 0
        for mutant, ((found, red), seconds) in zip(chosen, pool.map(lambda m: within(partial(try_mutant, mutant=m)), chosen), strict=True):
            alive += found != "caught"
            print(f"{found:<10} {seconds:5.1f} s  {mutant.name}  ({red})", flush=True)
        green = sorted({mutant.tests for mutant in chosen})
        checked = pool.map(lambda tests: within(lambda tree: run_tests(tree, tests)), green)
        for arguments, (red, _) in zip(green, checked, strict=True):
            if red:
                print(f"RED without a mutant: {red}  ({' '.join(arguments)})", flush=True)
                alive += 1
    print(f"{len(chosen) - alive} passed, {alive} failed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

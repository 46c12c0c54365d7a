"""Runs the suites, with times and counts, and fails where a suite that must run ran nothing.

`python -m tests.suites [NAME...]`; what each is for: docs/testing.md. A skip counts as a failure unless tests/skips.toml names it with
its reason. Each suite is one pytest process with a JUnit file, which is where the counts come from. Two lanes run side by side: what
needs a cluster, and what needs none; each line of their output says which suite it is of.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Suite:
    """`marks`: pytest -m. `parts`: what must have run in it, by a pattern on the test's name. `budget`: seconds when warm, in its lane.

    `asked`: runs only when it is named (`make test-long`), not with the others. `lane`: those of one lane run one after another.
    """

    name: str
    marks: str
    budget: int
    parts: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    asked: bool = False
    lane: str = "no cluster"


CLUSTER = "cluster"
SUITES = (
    Suite("unit", "not token and not cluster and not helm and not bench and not clients", 300, {"unit": ""}),
    Suite("token", "token and not cluster and not helm and not bench", 660, {"softhsm": r"softhsm", "kryoptic": r"kryoptic"}),
    Suite("clients", "clients and not cluster and not bench", 240, {"http": r"http", "tls": r"tls"}),
    Suite("cluster", "cluster and not helm and not bench and not long", 1920, {"cluster": ""}, lane=CLUSTER),
    Suite("helm", "helm and not bench", 420, {"helm": ""}, lane=CLUSTER),
    Suite("mutants", "", 780, command=("-m", "tests.mutants")),
    Suite("long", "long and not bench", 600, {"cluster": ""}, asked=True, lane=CLUSTER),
)
OTHER_PYTHONS = ("3.12", "3.13")


@dataclass
class Result:
    """What a suite did."""

    name: str
    seconds: float
    ran: int = 0
    failed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def allowed_skips() -> list[tuple[str, str]]:
    """(pattern of the test's id, reason) from tests/skips.toml."""
    table = tomllib.loads((ROOT / "tests/skips.toml").read_text())
    return [(row["test"], row["reason"]) for row in table.get("skip", [])]


def run(suite: Suite, python: str = sys.executable) -> Result:
    """Run one suite to its end."""
    print(f"\n==> suite {suite.name} (usually under {suite.budget} s)", flush=True)
    start = time.monotonic()
    if suite.command:
        code = follow(suite.name, [python, *suite.command])
        return Result(suite.name, time.monotonic() - start, problems=[f"exit code {code}"] if code else [])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        code = follow(suite.name, [python, "-m", "pytest", "-q", "-m", suite.marks, f"--junitxml={report}", "tests"])
        result = Result(suite.name, time.monotonic() - start)
        names = read_report(report, result)
    if code not in (0, 5):
        result.problems.append(f"pytest exit code {code}")
    for part, pattern in suite.parts.items():
        if not any(re.search(pattern, name) for name in names):
            result.problems.append(f"{part}: no test ran")
    for test, reason in result.skipped:
        if not any(re.search(pattern, test) for pattern, _ in allowed_skips()):
            result.problems.append(f"skipped without being on tests/skips.toml: {test} ({reason})")
    return result


def follow(name: str, command: list[str]) -> int:
    """Run it to its end, each line with its suite's name before it, as soon as it stands. Answers the exit code."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(f"{name:<8}| {line}", end="", flush=True)
    return child.returncode


def read_report(report: Path, result: Result) -> list[str]:
    """Fill in the counts; answers the names of the tests that ran."""
    if not report.exists():
        result.problems.append("pytest wrote no report")
        return []
    names = []
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name', '')}"
        skipped = case.find("skipped")
        if skipped is not None:
            result.skipped.append((name, skipped.get("message") or ""))
            continue
        names.append(name)
        result.ran += 1
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed += 1
    return names


def other_pythons() -> list[Result]:
    """The unit suite on the other Pythons that this machine has; said aloud where it has none."""
    results = []
    for version in OTHER_PYTHONS:
        if sys.version.startswith(version):
            continue
        python = f"python{version}"
        try:
            probe = subprocess.run([python, "-c", "import venv"], capture_output=True, check=False)
        except FileNotFoundError:
            probe = None
        if probe is None or probe.returncode:
            print(f"Python {version} is not on this machine: not tested on it here", flush=True)
            continue
        results.append(run_on(version, python))
    return results


def run_on(version: str, python: str) -> Result:
    """The unit suite in an environment of its own."""
    folder = ROOT / f".venv-{version}"
    stamp = folder / "lock.done"
    lock = ROOT / "requirements/dev.txt"
    if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
        print(f"==> environment for Python {version} (usually 60 s)", flush=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(lock)], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
        stamp.touch()
    unit = SUITES[0]
    suite = Suite(f"unit on {version}", unit.marks, unit.budget, {"unit": ""})
    return run(suite, str(folder / "bin/python"))


def run_lanes(suites: Iterable[Suite]) -> list[Result]:
    """The lanes side by side; in the order of the table."""
    lanes: dict[str, list[Suite]] = {}
    for suite in suites:
        lanes.setdefault(suite.lane, []).append(suite)
    with ThreadPoolExecutor(len(lanes)) as pool:
        return [result for lane in pool.map(lambda lane: [run(suite) for suite in lane], lanes.values()) for result in lane]


def show(results: list[Result]) -> int:
    """The table at the end, and the exit code."""
    print(f"\n{'suite':<16}{'tests':>7}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for result in results:
        print(f"{result.name:<16}{result.ran:>7}{result.failed:>8}{len(result.skipped):>9}{result.seconds:>9.0f}")
    reasons: dict[str, int] = {}
    for pattern, reason in allowed_skips():
        count = sum(bool(re.search(pattern, test)) for result in results for test, _ in result.skipped)
        if count:
            reasons[reason] = reasons.get(reason, 0) + count
    for reason, count in reasons.items():
        print(f"skipped {count}: {reason}")
    problems = [f"{result.name}: {problem}" for result in results for problem in result.problems]
    for problem in problems:
        print(f"FAILED {problem}")
    ran, failed = sum(r.ran for r in results), sum(r.failed for r in results)
    print(f"{ran - failed} passed, {failed + len(problems)} failed, {sum(len(r.skipped) for r in results)} skipped")
    return 1 if problems or failed else 0


def main(names: list[str]) -> int:
    """Run the suites named, or all of them."""
    known = {suite.name: suite for suite in SUITES}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"error: no suite {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    results = run_lanes([known[name] for name in names or [suite.name for suite in SUITES if not suite.asked]])
    if not names or "unit" in names:
        results += other_pythons()
    return show(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

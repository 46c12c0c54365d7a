"""The README's table of laptop endpoints, measured: moto's server beside Keystead, and the start of both.

`python -m tests.protocol.peers`: a measurement, never part of `make test`. It fails where the README says otherwise. moto comes out of
requirements/peers.txt into an environment of its own in the tool cache; MOTO_SERVER names another one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from tests.clients.build import digest, made, run
from tests.clients.webidentity import Issuer
from tests.docs.pages import ROOT
from tests.operator.harness import wait_for
from tests.protocol.harness import House, account, open_house
from tests.protocol.table import KILLED, PROBES, cells, kept, says_yes, survives

PEERS = ROOT / "requirements/peers.txt"
MOTO_ACCOUNT = "123456789012"  # moto's own, whatever the access key
ROUNDS = 5


class Moto:
    """moto_server as a process of its own, in the shape of `Endpoint` that `House` uses."""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "moto.log"
        with self._log.open("wb") as out:
            command = [str(program), "-H", "127.0.0.1", "-p", "0"]
            self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.url = wait_for("moto's address", self._address)

    def _address(self) -> str | None:
        found = re.search(r"http://127\.0\.0\.1:\d+", self._log.read_text(errors="replace"))
        return found[0] if found else None

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    stop = kill


def moto_program() -> Path:
    """In an environment of its own out of requirements/peers.txt, in the tool cache."""

    def install(folder: Path) -> None:
        run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--no-deps", "--require-hashes", "-r", str(PEERS)], folder)

    if given := os.environ.get("MOTO_SERVER"):
        return Path(given)
    return made("peers", digest(PEERS.read_bytes(), sys.version), 40, install) / "venv/bin/moto_server"


def moto_house(program: Path, folder: Path) -> House:
    """moto, with two access keys."""
    first, second = account(MOTO_ACCOUNT), account("444455556666")
    endpoint: Any = Moto(program, folder)
    return House(endpoint, Issuer(), first, second)


def first_answer(open_one: Callable[[], House]) -> float:
    """Seconds from the start of the process to its first answer to ListKeys."""
    begun = time.monotonic()
    house = open_one()
    try:
        while True:
            with suppress(EndpointConnectionError, ConnectionClosedError):
                house.client().list_keys()
                return time.monotonic() - begun
    finally:
        house.endpoint.stop()


def ask(house: House) -> dict[str, bool]:
    """All probes."""
    return {name: probe(house) for name, probe in PROBES.items()}


def start_times(ways: Sequence[Callable[[], House]]) -> list[float]:
    """Medians, the rounds interleaved; the first, which fills caches, is not counted."""
    rounds = [[first_answer(way) for way in ways] for _ in range(ROUNDS + 1)][1:]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def main() -> int:
    """Measure, show, compare with the README."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol.peers")
    parser.add_argument("--no-compare", action="store_true", help="show only")
    compare = not parser.parse_args().no_compare
    folder = Path(tempfile.mkdtemp(prefix="keystead-table-"))
    program = moto_program()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        houses = [open_house(folder / "ours"), moto_house(program, folder / "moto")]
        for house in houses:
            stack.callback(house.endpoint.stop)
        ours, moto = (ask(house) for house in houses)
        ours[KILLED] = survives(kept(folder / "kept"))
        moto[KILLED] = survives(lambda: moto_house(program, folder / "moto-again"))
        for name in ours:
            print(f"{name:50} keystead {'yes' if ours[name] else 'no':4} moto {'yes' if moto[name] else 'no'}")
        ours_start, moto_start = start_times(
            [lambda: open_house(folder / "a"), lambda: moto_house(program, folder / "b")]
        )
    print(f"start to first answer, median of {ROUNDS}: keystead {ours_start:.2f} s, moto {moto_start:.2f} s")
    if not compare:
        return 0
    wrong = [
        f"{column}: {name}"
        for column, found in (("Keystead", ours), ("moto", moto))
        for name, cell in cells(column).items()
        if name in found and says_yes(cell) != found[name]
    ]
    print("\n".join(["the README says otherwise:", *wrong]) if wrong else "as the README says")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

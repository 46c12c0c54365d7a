"""What one tenant at ten times its limit does to another one that keeps to its own. Called by measure.py, or alone by `--quota`.

Both have the same limit on one worker of `keystead dev`. In each round the second tenant calls alone, beside the first that keeps to its
limit, too, and beside it at ten times that. The ratio is the last p99's to the smaller of the two others, medians of the rounds: an idle
machine answers later than a busy one, and a round's own p99 moves with whatever else it does.
"""

from __future__ import annotations

import json
import pickle
import secrets
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from tests.bench.rows import Row, percentile
from tests.bench.server.pythons import environment
from tests.bench.server.servers import Server, encrypt_bodies, start
from tests.bench.server.signed import REGION, Signer
from tests.clients.build import ROOT

GATE = 1.2


@dataclass
class QuotaSizes:
    """limits: calls a second that each tenant may make, the gate's first; pace: the part of it that the second one uses."""

    rounds: int = 6
    seconds: float = 4.0
    limits: tuple[int, ...] = (100, 250)
    pace: float = 0.9
    times: int = 10


@dataclass
class Found:
    """p99 of the second tenant, a number a round: nobody else calls, the first one keeps to its limit, it goes ten times beyond it."""

    alone: list[float] = field(default_factory=list)
    within: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)
    let: int = 0
    refused: int = 0

    def middles(self) -> tuple[float, float, float]:
        """The medians."""
        return statistics.median(self.alone), statistics.median(self.within), statistics.median(self.beyond)


class Tenant:
    """An account with a key."""

    def __init__(self, account: str, folder: Path) -> None:
        self.account = account
        self.access_key, self.secret = "AKIA" + secrets.token_hex(8).upper(), secrets.token_hex(20)
        self._requests = folder / f"requests-{account}"

    def prepare(self, server: Server) -> None:
        """Its key, and requests signed now."""
        host = f"127.0.0.1:{server.port}"
        kms = boto3.client(
            "kms", region_name=REGION, endpoint_url=f"http://{host}",
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret,
        )  # fmt: skip
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        signer = Signer(self.access_key, self.secret, None, host)
        self._requests.write_bytes(pickle.dumps(signer.batch("Encrypt", encrypt_bodies(key))))

    def load(self, server: Server, rate: float, seconds: float) -> subprocess.Popen[str]:
        """The client, started."""
        command = [sys.executable, "-m", "tests.bench.server.paced", f"127.0.0.1:{server.port}", "--requests", str(self._requests)]
        command += ["--rate", str(rate), "--seconds", str(seconds)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the client found."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("a client failed")
    found: dict[str, Any] = json.loads(said)
    return found


def measure_quota(python: Path, folder: Path, sizes: QuotaSizes, say: Callable[[str], None]) -> list[Row]:
    """The rows: with quotas at each limit, and once the same calls without any, which shows what they are good for."""
    first, second = Tenant("111122223333", folder), Tenant("444455556666", folder)
    rows = []
    for limit, limited in (*((limit, True) for limit in sizes.limits), (sizes.limits[-1], False)):
        with ExitStack() as stack:
            server = _start(stack, python, folder, (first, second), limit if limited else None)
            for tenant in (first, second):
                tenant.prepare(server)
            found = Found()
            for number in range(sizes.rounds):
                say(f"quota {limit}/s{'' if limited else ', not set'}, round {number + 1} of {sizes.rounds}")
                _round(found, server, first, second, limit, sizes)
            rows.append(_row(found, limit, limited, gate=limit == sizes.limits[0], sizes=sizes))
            if limited:
                rows.append(_gets(found, limit, sizes))
    return rows


def _round(found: Found, server: Server, first: Tenant, second: Tenant, limit: int, sizes: QuotaSizes) -> None:
    def p99() -> float:
        return _p99(second.load(server, limit * sizes.pace, sizes.seconds))

    found.alone.append(p99())
    neighbour = first.load(server, limit * sizes.pace, sizes.seconds)
    found.within.append(p99())
    result(neighbour)
    flood = first.load(server, limit * sizes.times, sizes.seconds)
    found.beyond.append(p99())
    statuses = result(flood)["statuses"]
    found.let += statuses.get("200", 0)
    found.refused += statuses.get("400", 0)


def _row(found: Found, limit: int, limited: bool, *, gate: bool, sizes: QuotaSizes) -> Row:
    alone, within, beyond = found.middles()
    ratio = beyond / min(alone, within)
    calls = f"p99 at {limit * sizes.pace:.0f}/s beside {limit * sizes.times:,}/s of another tenant"
    figure = f"{beyond:.2f} ms, {ratio:.2f} (alone {alone:.2f}, beside {limit * sizes.pace:.0f}/s {within:.2f})"
    bound = f"< {GATE:.2f}" if gate else ""
    return Row(f"{calls}, {f'limit {limit}/s' if limited else 'no limit'}", figure, bound, ratio < GATE if gate else None)


def _gets(found: Found, limit: int, sizes: QuotaSizes) -> Row:
    rate = found.let / (sizes.rounds * sizes.seconds)
    # What a full bucket gives comes on top, once a round.
    most = limit * (1 + 1 / sizes.seconds) * 1.02
    share = found.refused / (found.let + found.refused)
    return Row(f"what that other one gets, limit {limit}/s", f"{rate:.0f}/s, {share:.0%} refused", f"<= {most:.0f}/s", rate <= most)


def _p99(process: subprocess.Popen[str]) -> float:
    found = result(process)
    if set(found["statuses"]) != {"200"}:
        raise RuntimeError(f"the tenant within its limit was refused: {found['statuses']}")
    return percentile(found["times"], 0.99)


def _start(stack: ExitStack, python: Path, folder: Path, tenants: tuple[Tenant, ...], limit: int | None) -> Server:
    file = folder / "quota.json"
    file.write_text(json.dumps({"limits": {"Cryptographic/symmetric": limit}}))
    keys = " ".join(f"{each.access_key}:{each.secret}:{each.account}" for each in tenants)
    command = [str(python), "-m", "keystead", "dev", "--listen", "127.0.0.1:0", "--memory", "--quota", str(file)]

    def port(line: str) -> int | None:
        return int(line.rstrip("\n'\"").rpartition(":")[2]) if "AWS_ENDPOINT_URL_KMS" in line else None

    return start(stack, "keystead quota", command, folder, environment() | {"KEYSTEAD_DEV_ACCESS_KEYS": keys}, port)

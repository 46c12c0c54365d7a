"""The endpoint, measured: gates as ratios of processor time in one run, and everybody side by side. Called by __main__.py.

Servers run all at the same time, each in a process of its own; rounds are interleaved, because these machines are shared. What a request
costs is the server's own processor time from /proc, its lanes and workers included, median of the rounds.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.plot import Bars
from tests.bench.rows import Part, Row
from tests.bench.server.grants import grant_rows
from tests.bench.server.hostile import hostile_rows
from tests.bench.server.load import Sizes, Table, take
from tests.bench.server.peers import start_peers
from tests.bench.server.pythons import environment, image_python
from tests.bench.server.quota import QuotaSizes, measure_quota
from tests.bench.server.rights import measure_rights
from tests.bench.server.servers import (
    ACCESS_KEY,
    ACCOUNT,
    GRANTS,
    OPERATIONS,
    SECRET,
    context,
    start_app,
    start_keystead,
    text,
)
from tests.bench.server.signed import Signer
from tests.clients.endpoint import certificates

from keystead.server.message import Asked

COMMAND = "make bench-server"
CROWDED = f"Encrypt, {GRANTS} grants"
# us at a SHA-256 of 600 bytes in 0.7 us (AWS.md, Throughput), as ratios to it.
IN_PROCESS = {"Encrypt": 45 / 0.7, "GenerateDataKey": 65 / 0.7}
WORKERS_GATE, CORES_FOR_IT = 0.7, 4


def measure_server(sizes: Sizes, say: Callable[[str], None]) -> Part:
    """Everything, in one run."""
    python, word = image_python()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_memory())))
        say("in-process")
        inside = measure_inside(python, folder)
        say("starting servers")
        table: Table = {}
        tls = certificates(folder / "tls")
        empty = start_app(stack, python, "empty", folder)
        reference = start_app(stack, python, "reference", folder)
        keystead = start_keystead(stack, python, folder, "keystead")
        secure = start_keystead(stack, python, folder, "keystead TLS", tls=(tls.certificate, tls.key, tls.authority))
        pair = start_keystead(stack, python, folder, "keystead, 2 workers", workers=2)
        peers, lost = start_peers(stack, folder)
        for number in range(sizes.rounds):
            say(f"round {number + 1} of {sizes.rounds}")
            for server, operation in (
                (empty, "any"), (reference, "any"), *((keystead, each) for each in keystead.load), (secure, "Encrypt"), (pair, "Encrypt")
            ):  # fmt: skip
                take(table, server, operation, sizes, folder)
        for number in range(sizes.peer_rounds):
            say(f"others, round {number + 1} of {sizes.peer_rounds}")
            for server in peers:
                for operation in OPERATIONS:
                    take(table, server, operation, sizes, folder)
        quota = measure_quota(python, folder, QuotaSizes(), say)
    names = [server.name for server in peers]
    rows = [*gates(table), *inside_rows(inside), *grant_rows(), *hostile_rows(), *rates(table), *quota]
    return Part(rows, plots(table, inside, names), notes(table, inside, names, lost, word))


def measure_quota_alone(sizes: QuotaSizes, say: Callable[[str], None]) -> Part:
    """Two tenants, and nothing else."""
    python, word = image_python()
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        return Part(measure_quota(python, Path(folder), sizes, say), notes=f"servers on {word}")


def measure_rights_alone(sizes: Sizes, say: Callable[[str], None]) -> Part:
    """Policy, grants and audit, and nothing else."""
    python, word = image_python()
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        return Part(measure_rights(python, Path(folder), sizes, say), notes=f"servers on {word}")


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def gates(table: Table) -> list[Row]:
    """The ratios of AWS.md, Throughput."""

    def cpu(server: str, operation: str) -> float:
        return table[server, operation].middle("cpu")

    empty, least, encrypt = cpu("empty", "any"), cpu("reference", "any"), cpu("keystead", "Encrypt")
    rows = [
        Row("CPU of an empty 200 (E)", f"{empty:.1f} us"),
        Row("CPU of the reference: SigV4, JSON, one HMAC (R)", f"{least:.1f} us, {least / empty:.2f} E"),
    ]
    for operation in ("Encrypt", CROWDED, "Decrypt"):
        cost = cpu("keystead", operation)
        rows.append(Row(f"CPU of {operation}", f"{cost:.1f} us, {cost / empty:.2f} E", "<= 9 E", cost <= 9 * empty))
        rows.append(Row(f"{operation} beside the reference", f"{cost / least:.2f} R", "<= 1.3 R", cost <= 1.3 * least))
    for operation, most in (("GenerateDataKey", 1.6), ("DescribeKey", 0.65)):
        ratio = cpu("keystead", operation) / encrypt
        rows.append(
            Row(
                f"CPU of {operation}",
                f"{ratio * encrypt:.1f} us, {ratio:.2f} Encrypt",
                f"<= {most} Encrypt",
                ratio <= most,
            )
        )
    added = cpu("keystead TLS", "Encrypt") / encrypt - 1
    rows.append(Row("what TLS adds to Encrypt", f"{added:.0%}", "<= 30%", added <= 0.3))
    gain = table["keystead, 2 workers", "Encrypt"].middle("rate") / table["keystead", "Encrypt"].middle("rate") - 1
    cores = os.cpu_count() or 1
    bound = (
        f">= {WORKERS_GATE:.0%}" if cores >= CORES_FOR_IT else f"none below {CORES_FOR_IT} cores (the client needs one)"
    )
    rows.append(
        Row(
            "what a second worker adds to Encrypt",
            f"{gain:.0%}",
            bound,
            gain >= WORKERS_GATE if cores >= CORES_FOR_IT else None,
        )
    )
    return rows


def inside_rows(inside: dict[str, Any]) -> list[Row]:
    """handle() without HTTP."""
    sha = inside["calls"]["sha"]["least"]
    rows = [Row("SHA-256 of 600 bytes, in process (yardstick)", f"{sha:.2f} us")]
    rows.append(Row("the bare token loop, in process", f"{1e6 / inside['calls']['token']['least']:,.0f}/s"))
    for name in ("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey"):
        found = inside["calls"][name]
        bound, most = "", IN_PROCESS.get(name)
        if most is not None:
            bound = f"<= {most:.0f} SHA-256 ({most * 0.7:.0f} us at 0.7 us)"
        ok = None if most is None else found["ratio"] <= most
        rows.append(
            Row(f"handle() of {name}, in process", f"{found['least']:.1f} us, {found['ratio']:.0f} SHA-256", bound, ok)
        )
    return rows


def rates(table: Table) -> list[Row]:
    """The goal, which is none of these machines'."""
    found = table["keystead", "Encrypt"]
    return [
        Row(
            "Encrypt, 32 connections, one worker",
            f"{found.middle('rate'):,.0f}/s, p99 {found.middle('p99'):.1f} ms",
            "goal on a quiet core: 15,000/s, p99 < 5 ms",
        )
    ]


def plots(table: Table, inside: dict[str, Any], peers: list[str]) -> list[Any]:
    """Rates, costs and stages."""
    everybody = ["keystead", "keystead TLS", "keystead, 2 workers", *peers]
    rates = [(name, table[name, "Encrypt"].middle("rate")) for name in everybody]
    costs = [(name, table[name, "any"].middle("cpu")) for name in ("empty", "reference")]
    costs += [
        (f"keystead {operation}", table["keystead", operation].middle("cpu")) for operation in (*OPERATIONS, CROWDED)
    ]
    costs += [(f"{name} Encrypt", table[name, "Encrypt"].middle("cpu")) for name in peers]
    shown = [(name, cost) for name, cost in costs if cost < 1000]
    stages = inside["stages"]
    return [
        Bars(
            "server-rates",
            "Encrypt a second, 32 connections",
            "requests a second; longer is better",
            [("empty 200", table["empty", "any"].middle("rate")), *rates],
        ),
        Bars(
            "server-cpu",
            "Processor time of one request",
            "microseconds of the server's processes; shorter is better (what took 1 ms or more is left out)",
            shown,
        ),
        Bars(
            "server-stages",
            "An Encrypt by stage, in process",
            "microseconds; dark: alone in a loop, pale: what the whole request is shorter without it",
            [(name, each["alone"]) for name, each in stages.items()],
            [(name, max(each["within"], 0.0)) for name, each in stages.items()],
        ),
    ]


def notes(table: Table, inside: dict[str, Any], peers: list[str], lost: list[str], word: str) -> str:
    """The raw tables."""
    lines = [
        f"`{COMMAND}`; servers on {word}; client and servers share the cores. Absolute figures move by 2 or 3 from day to day.",
        "",
    ]
    lines += ["| server | operation | requests/s | p50 ms | p99 ms | server CPU us |", "|---|---|---|---|---|---|"]
    for (server, operation), found in table.items():
        figures = " | ".join(
            f"{found.middle(name):,.{digits}f}" for name, digits in (("rate", 0), ("p50", 2), ("p99", 2), ("cpu", 1))
        )
        lines.append(f"| {server} | {operation} | {figures} |")
    lines += ["", "| stage of an Encrypt, in process | alone us | within us |", "|---|---|---|"]
    lines += [f"| {name} | {each['alone']:.1f} | {each['within']:.1f} |" for name, each in inside["stages"].items()]
    lines += ["", *(f"* {each}" for each in lost)]
    return "\n".join(lines).rstrip()


def measure_inside(python: Path, folder: Path) -> dict[str, Any]:
    """inprocess.py, whose requests are signed here."""
    own = folder / "inside"
    own.mkdir()
    signer = Signer(ACCESS_KEY, SECRET, None, "127.0.0.1:1")

    def asked(operation: str, body: dict[str, Any]) -> str:
        data = json.dumps(body).encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in signer.headers(operation, data)]
        return base64.b64encode(pickle.dumps(Asked(b"POST", b"/", headers, data))).decode()

    command = [str(python), "-m", "tests.bench.server.inprocess", str(own)]
    with subprocess.Popen(
        command, cwd=own, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def say(line: str) -> dict[str, Any]:
            process.stdin.write(line + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            told: dict[str, Any] = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            return told

        create = asked("CreateKey", {})
        key = say(json.dumps({"account": ACCOUNT, "access_key": ACCESS_KEY, "secret": SECRET, "create": create}))["key"]
        encrypt = asked("Encrypt", {"KeyId": key, "Plaintext": text(bytes(32)), **context(1)})
        found = say(encrypt)["blob"]
        calls = {
            "Encrypt": encrypt,
            "Decrypt": asked("Decrypt", {"CiphertextBlob": found, **context(1)}),
            "GenerateDataKey": asked("GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256", **context(1)}),
            "DescribeKey": asked("DescribeKey", {"KeyId": key}),
        }
        return say(json.dumps(calls))

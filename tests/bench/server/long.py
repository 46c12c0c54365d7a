"""Many keys and many calls: memory of a worker, and how soon it is ready. `make bench-server-long`, on request. Called by __main__.py.

`keystead dev` on a folder is given so many keys, is started anew with all of them there, and is then called for so long, with two workers:
Encrypt on keys all over the table, so that the vault's bound is met, and DescribeKey. Memory: proportional set size of a worker and lane.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.plot import Line, Plot
from tests.bench.process import MemorySampler, children
from tests.bench.process import memory as memory_of
from tests.bench.rows import Part, Row
from tests.bench.server.load import Sizes, one_load
from tests.bench.server.pythons import environment, image_python
from tests.bench.server.servers import ACCESS_KEY, SECRET, Server, client, context, start, text
from tests.bench.server.signed import Signer

MOST_MB, READY_SECONDS = 200, 20
WORKERS = 2
FLAT = 1.1
"""How much larger memory may be at the end than half of the way: by then the vault is full."""


@dataclass
class LongSizes:
    """The whole of the issue: 10,000 keys and 60 minutes."""

    keys: int = 10_000
    minutes: float = 5.0


def measure_long(sizes: LongSizes, say: Callable[[str], None]) -> Part:
    """Make, start anew, call."""
    python, _ = image_python()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with ExitStack() as first:
            server = _start(first, python, folder, workers=1)
            keys = _make(server, sizes.keys, say)
        ready = {}
        for workers in (1, WORKERS):
            say(f"starting anew, workers: {workers}")
            place = stack.enter_context(ExitStack())
            began = time.monotonic()
            server = _start(place, python, folder, workers)
            client(server, "kms").describe_key(KeyId=keys[-1])
            ready[workers] = time.monotonic() - began
            if workers == 1:
                place.close()
        say(f"{sizes.minutes:g} minutes of calls")
        with MemorySampler(_worker(server)) as memory:
            count = _call(server, keys, sizes.minutes * 60, folder)
    return _part(sizes, ready, count, memory)


def _part(sizes: LongSizes, ready: dict[int, float], count: int, memory: MemorySampler) -> Part:
    half = memory.points[len(memory.points) // 2][1]
    end = memory.points[-1][1]
    rows = [
        *(
            Row(f"ready with {sizes.keys:,} keys, workers: {n}", f"{took:.1f} s", f"< {READY_SECONDS} s", took < READY_SECONDS)
            for n, took in ready.items()
        ),
        Row(
            f"memory of a worker in {sizes.minutes:g} minutes, {count:,} calls",
            f"{memory.peak:.0f} MB at most",
            f"< {MOST_MB} MB",
            memory.peak < MOST_MB,
        ),
        Row("memory at the end beside half of the way", f"{end / half:.2f}", f"<= {FLAT}", end <= FLAT * half),
    ]
    lines = (
        Line("worker and lane", memory.points),
        Line("bound", ((0.0, float(MOST_MB)), (memory.points[-1][0], float(MOST_MB))), dashed=True),
    )
    plot = Plot("server-memory", f"Memory of a worker with {sizes.keys:,} keys", "seconds", "MB", lines)
    return Part(
        rows,
        [plot],
        f"`make bench-server-long`, {sizes.keys:,} keys, {sizes.minutes:g} minutes (the whole: 10,000 keys, 60 minutes).",
    )


def _worker(server: Server) -> int:
    """The heaviest child: a worker with its lane. The others are the first process's own lane and helpers."""
    return max(children(server.pid), key=memory_of)


def _start(stack: ExitStack, python: Path, folder: Path, workers: int) -> Server:
    env = environment() | {"KEYSTEAD_DEV_ACCESS_KEYS": f"{ACCESS_KEY}:{SECRET}"}
    command = [str(python), "-m", "keystead", "dev", "--listen", "127.0.0.1:0", "--state", str(folder / "state")]
    command += ["--workers", str(workers)]

    def port(line: str) -> int | None:
        return int(line.rstrip("\n'\"").rpartition(":")[2]) if "AWS_ENDPOINT_URL_KMS" in line else None

    return start(stack, "keystead", command, folder, env, port)


def _make(server: Server, count: int, say: Callable[[str], None]) -> list[str]:
    kms = client(server, "kms")
    made: list[str] = []

    def one(number: int) -> str:
        key: str = kms.create_key(Description=f"bench {number}")["KeyMetadata"]["KeyId"]
        return key

    with ThreadPoolExecutor(8) as pool:
        for key in pool.map(one, range(count)):
            made.append(key)
            if len(made) % 1000 == 0:
                say(f"{len(made)} keys")
    return made


def _call(server: Server, keys: list[str], seconds: float, folder: Path) -> int:
    """In pieces, since signatures are good for 5 minutes."""
    signer, end, count = Signer(ACCESS_KEY, SECRET, None, f"127.0.0.1:{server.port}"), time.monotonic() + seconds, 0

    def requests() -> list[bytes]:
        some = random.choices(keys, k=512)
        made = signer.batch(
            "Encrypt", ({"KeyId": key, "Plaintext": text(bytes(32)), **context(n)} for n, key in enumerate(some))
        )
        return made + signer.batch("DescribeKey", ({"KeyId": key} for key in random.choices(keys, k=256)))

    server.load["mixed"] = requests
    while time.monotonic() < end:
        try:
            count += one_load(server, "mixed", Sizes(seconds=min(20.0, seconds / 30, max(1.0, end - time.monotonic()))), folder)[
                "count"
            ]
        except subprocess.CalledProcessError as error:
            raise RuntimeError("the client failed") from error
    return count

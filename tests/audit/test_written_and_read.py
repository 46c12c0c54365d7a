"""What the journal writes, by what `keystead audit verify` reads: two implementations of one format, with a real signing key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from tests.audit.events import NOW, a_call, a_service_event
from tests.audit.sinks import RULES
from tests.audit.test_sinks import all_of

from keystead.audit.folder import FolderKeeper, files_in, previous_chains
from keystead.audit.journal import Journal
from keystead.audit.lines import Chain, chain_id
from keystead.audit.reading.files import find_chains
from keystead.audit.reading.report import Verdict
from keystead.audit.reading.verify import verify
from keystead.audit.sinks import FileSink

SIGNING = ec.generate_private_key(ec.SECP256R1())
KEYS = (SIGNING.public_key(),)


@dataclass(frozen=True)
class Signed:
    signature: bytes
    key_arn: str = "arn:aws:kms:cluster-1:111122223333:key/audit"
    material_id: str = "ab" * 32


class RealSigner:
    """`ports.Signer`."""

    async def sign(self, digest: bytes) -> Signed:
        return Signed(SIGNING.sign(digest, ec.ECDSA(Prehashed(SHA256()))))


def size_of(folder: Path) -> int:
    return sum(file.size for file in files_in(folder))


async def life(folder: Path, number: int, calls: int = 30, *, killed: bool = False, retain: int = 10**9) -> None:
    """A process: so many calls, each its own write, in files of 8 KiB."""
    chain = Chain(chain_id("replica", NOW, bytes([0, 0, 0, number])))
    start = {"version": "0", "replica": "replica", "previous": previous_chains(folder)}
    sink, keeper = FileSink(folder, chain.id, 8192), FolderKeeper(folder, chain.id, retain)
    journal = Journal(chain, [sink], start, lambda: NOW, rules=RULES, signer=RealSigner(), keepers=[keeper])
    running = asyncio.create_task(journal.run())
    await journal.started()
    for _ in range(calls):
        taken = journal.call(a_call("Decrypt")) if _ % 3 else journal.service(a_service_event())
        assert taken is not None
        await taken
    async with asyncio.timeout(60):  # what retention leaves: the newest file of each chain, and what it may keep
        while size_of(folder) > retain + 8192:
            await asyncio.sleep(0.01)
    if killed:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        sink.close()
    else:
        await journal.close(running)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystead.audit.keeping._EVERY", 0.01)


async def test_lives_that_ended_well_are_whole(tmp_path: Path) -> None:
    for number in range(3):
        await life(tmp_path, number)
    report = verify([tmp_path], KEYS)
    assert report.verdict is Verdict.WHOLE, report
    assert len(report.chains) == 3


async def test_a_life_that_was_killed_is_a_gap(tmp_path: Path) -> None:
    await life(tmp_path, 0, killed=True)
    await life(tmp_path, 1)
    assert verify([tmp_path], KEYS).verdict is Verdict.GAPS


async def test_what_retention_took_is_explained(tmp_path: Path) -> None:
    await life(tmp_path, 0)
    await life(tmp_path, 1, calls=60, retain=12_000)
    assert size_of(tmp_path) <= 12_000 + 8192 + 8192
    assert b'"keysteadType":"removed"' in all_of(tmp_path, find_chains([tmp_path])[-1].id)
    report = verify([tmp_path], KEYS)
    assert report.verdict is Verdict.WHOLE, report


@pytest.mark.parametrize("deed", ["change", "drop", "swap", "cut", "remove"])
async def test_a_deed_is_found(tmp_path: Path, deed: str) -> None:
    await life(tmp_path, 0, calls=3)
    await life(tmp_path, 1, calls=3)
    path = min(tmp_path.glob("audit-*"))
    lines = path.read_bytes().splitlines(keepends=True)
    match deed:
        case "change":
            lines[2] = lines[2].replace(b"Encrypt", b"Decrypt", 1).replace(b"team-a", b"team-b", 1)
        case "drop":
            del lines[2]
        case "swap":
            lines[1], lines[2] = lines[2], lines[1]
        case "cut":
            del lines[-1]
    path.write_bytes(b"".join(lines))
    if deed == "remove":
        path.unlink()
    assert verify([tmp_path], KEYS).verdict is Verdict.TAMPERED

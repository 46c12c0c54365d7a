"""What the real journal writes, the reading side takes for whole: rotation, compression, retention, a crash; and finds what is touched."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.audit.events import KEY as RECORD
from tests.audit.events import a_call, a_service_event, judged
from tests.audit_reading.chains import KEY, PUBLIC
from tests.builders import ACCOUNT, REGION, another_tenants_key
from tests.hsm.fake import FakeHsm

from keystead.app.auditkey import Signed
from keystead.audit.folder import FolderKeeper, previous_chains
from keystead.audit.journal import Journal
from keystead.audit.lines import Chain, chain_id
from keystead.audit.reading.records import Query, records_in
from keystead.audit.reading.report import Report, Verdict, What
from keystead.audit.reading.summary import callers, callers_told, summarise
from keystead.audit.reading.tenant import TenantRecords
from keystead.audit.reading.verify import verify
from keystead.audit.rules import Rules
from keystead.audit.sinks import FileSink
from keystead.engine.identifiers import KeyArn, key_arn

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
ARN = key_arn(REGION, ACCOUNT, RECORD.key_id)


class Signer:
    """`audit.ports.Signer` with a key of the tests."""

    async def sign(self, digest: bytes) -> Signed | None:
        made = KEY.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
        return Signed(made, KeyArn("arn:aws:kms:cluster-1:111122223333:key/signing"), "ab" * 32, b"")


@asynccontextmanager
async def journal(
    folder: Path, name: str = "pod-a", file_bytes: int = 20_000, retain: int = 0, crash: bool = False
) -> AsyncIterator[Journal]:
    """A process: from its start to its end, or without one."""
    clock = iter(range(10**9))
    chain = Chain(chain_id(name, NOW, name.encode()[:4].ljust(4)))
    keepers = [FolderKeeper(folder, chain.id, retain)] if retain else []
    start = {"version": "0", "replica": name.partition("/")[0], "previous": previous_chains(folder)}
    made = Journal(
        Chain(chain.id),
        [FileSink(folder, chain.id, file_bytes)],
        start,
        lambda: NOW + timedelta(seconds=next(clock)),
        rules=Rules(checkpoint_seconds=0.01, sign_seconds=5),
        signer=Signer(),
        keepers=keepers,
    )
    task = asyncio.create_task(made.run())
    await asyncio.wait_for(made.started(), 60)
    try:
        yield made
    finally:
        if crash:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            await made.close(task)


async def calls(made: Journal, count: int, **changes: object) -> None:
    for number in range(count):
        taken = made.call(a_call("Decrypt", event_id=f"event-{number}", **changes))
        assert taken is not None
        await asyncio.wait_for(taken, 60)


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def look(folder: Path) -> Report:
    return verify([folder], [PUBLIC])


async def test_the_life_of_a_process_is_whole_and_signed_to_its_end(tmp_path: Path) -> None:
    async with journal(tmp_path) as made:
        await calls(made, 60)
        taken = made.service(a_service_event())
        assert taken is not None
        await taken
    report = look(tmp_path)
    (chain,) = report.chains
    assert report.verdict is Verdict.WHOLE, report.as_json()
    assert chain.ended and chain.signed_to == chain.last_seq - 1
    assert len(list(tmp_path.iterdir())) > 3
    assert len(list(records_in([tmp_path], Query(keys=(RECORD.key_id,))))) == 61


async def test_a_crash_and_what_came_after_it_are_told_apart_from_tampering(tmp_path: Path) -> None:
    async with journal(tmp_path, "pod-a", crash=True) as made:
        await calls(made, 5)
    newest = max(tmp_path.iterdir())
    with newest.open("ab") as file:
        file.write(b'{"keysteadType":"call","eventVer')
    async with journal(tmp_path, "pod-a/2") as made:
        await calls(made, 5)
    report = look(tmp_path)
    assert report.verdict is Verdict.GAPS, report.as_json()
    crashed = next(chain for chain in report.chains if chain.gaps)
    assert crashed.signed_to == crashed.last_seq
    assert {text.split(":")[0] for text in crashed.gaps} >= {"it has no end"}


async def test_compression_and_retention_are_explained_by_the_trail_itself(tmp_path: Path) -> None:
    async with journal(tmp_path, "pod-0") as made:
        await calls(made, 30)
    async with journal(tmp_path, "pod-1", file_bytes=60_000, retain=20_000) as made:
        await calls(made, 15)  # more than is retained, in one file that is open: all others must go
        await until(lambda: not list(tmp_path.glob("audit-pod-0-*")))
        await calls(made, 1)
        await until(lambda: look(tmp_path).verdict is Verdict.WHOLE)
        assert [chain.id[:5] for chain in look(tmp_path).chains if chain.taken and not chain.records] == ["pod-0"]
    async with journal(tmp_path, "pod-2", retain=10**9) as made:
        await calls(made, 30)
        await until(lambda: list(tmp_path.glob("*.gz")))
    report = look(tmp_path)
    assert report.verdict is Verdict.WHOLE, report.as_json()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")

    async def write() -> None:
        async with journal(folder, "pod-a", file_bytes=15_000) as made:
            await calls(made, 12)
        async with journal(folder, "pod-b") as made:
            await calls(made, 1)

    asyncio.run(write())
    return folder


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_line_that_is_touched_is_found(written: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    lines = {path.name: path.read_bytes().splitlines() for path in sorted(written.glob("audit-pod-a-*"))}
    places = [(name, number) for name, held in lines.items() for number in range(len(held))]
    name, number = data.draw(st.sampled_from(places))
    how = data.draw(st.sampled_from(["remove", "change", "double", "swap"]))
    held = lines[name]
    if how == "remove":
        del held[number]
    elif how == "change":
        line = bytearray(held[number])
        line[data.draw(st.integers(0, len(line) - 1))] ^= 0x01
        held[number] = bytes(line)
    elif how == "double":
        held.insert(number, held[number])
    else:
        other_name, other = data.draw(st.sampled_from([place for place in places if place != (name, number)]))
        held[number], lines[other_name][other] = lines[other_name][other], held[number]
    folder = tmp_path_factory.mktemp("touched")
    for path in written.glob("audit-pod-b-*"):
        (folder / path.name).write_bytes(path.read_bytes())
    for file, content in lines.items():
        (folder / file).write_bytes(b"".join(line + b"\n" for line in content))
    assert look(folder).verdict is Verdict.TAMPERED


def test_a_chain_that_is_taken_away_is_found(written: Path, tmp_path: Path) -> None:
    for path in written.glob("audit-pod-b-*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert {finding.what for chain in look(tmp_path).chains for finding in chain.findings} == {What.REMOVED}


async def test_summary_callers_and_a_tenants_page_agree(tmp_path: Path) -> None:
    foreign = another_tenants_key(FakeHsm(b"audit"))
    async with journal(tmp_path) as made:
        await calls(made, 7)
        await calls(made, 2, code="AccessDeniedException", trail=(judged(allowed=False),))
        await calls(made, 3, trail=(judged(foreign),))
        await calls(made, 1, code="AccessDeniedException", trail=(judged(foreign, allowed=False, reason="their secret policy"),))
    told = summarise([tmp_path], Query(), None).as_json()
    counts = {(use["key"], use["count"]) for use in told["uses"]}
    assert counts == {(RECORD.key_id, 7), (foreign.key_id, 3)}
    assert {(denied["key"], denied["count"]) for denied in told["denied"]} == {(RECORD.key_id, 2), (foreign.key_id, 1)}
    (row,) = callers([tmp_path], ARN, None).rows
    assert (row.count, row.denied, row.namespace) == (7, 2, "team-a")
    mine = TenantRecords(tmp_path).page(ARN, ACCOUNT, None, 1000, None).records
    assert len(mine) == 9
    (told_row,) = callers_told(map(json.loads, mine))
    assert (told_row, told_row.actions.total()) == (row, 7)
    theirs = TenantRecords(tmp_path).page(
        key_arn(foreign.region, foreign.account, foreign.key_id), foreign.account, None, 1000, None
    ).records
    assert len(theirs) == 3
    assert {json.loads(record)["userIdentity"]["type"] for record in theirs} == {"AWSAccount"}
    assert not any(b"their secret policy" in record for record in (*mine, *theirs))


async def test_sizes_are_those_that_the_page_states(tmp_path: Path) -> None:
    """docs/audit.md, Sizes: one record of a call, as written and as compressed."""
    async with journal(tmp_path, file_bytes=10**9) as made:
        await calls(made, 300)
    (path,) = tmp_path.iterdir()
    lines = [line for line in path.read_bytes().splitlines() if b'"keysteadType":"call"' in line]
    size = sum(map(len, lines)) / len(lines)
    packed = len(gzip.compress(path.read_bytes(), 1)) / len(lines)
    assert 1_200 < size < 2_400
    assert packed < size / 4

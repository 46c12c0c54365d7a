"""The journal: what waits, what does not, what stops it, and that the chain has no hole whatever happened."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from tests.audit.events import a_call, a_service_event
from tests.audit.sinks import CHAIN, RULES, MemorySink, a_journal, kinds, read_chain

from keystead.audit.journal import Journal
from keystead.audit.lines import chain_id, checkpoint_digest
from keystead.audit.ports import Removed
from keystead.audit.rules import Rules
from keystead.errors import AuditUnavailableError

FULL = OSError(errno.ENOSPC, "No space left on device")


@asynccontextmanager
async def running(journal: Journal) -> AsyncIterator[Journal]:
    """From the first line to the last."""
    task = asyncio.create_task(journal.run())
    await asyncio.wait_for(journal.started(), 60)
    try:
        yield journal
    finally:
        await journal.close(task)


class Clock:
    """The loop's clock, with hours that a test skips: what it waits for is due by the order of the times, however slow the machine is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._skipped, true = 0.0, loop.time
        monkeypatch.setattr(loop, "time", lambda: true() + self._skipped)

    async def skip(self, seconds: float) -> None:
        """And what was due before is done."""
        self._skipped += seconds
        for _ in range(5):
            await asyncio.sleep(0)


async def until(condition: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def recorded(taken: Awaitable[None] | None) -> None:
    assert taken is not None
    await asyncio.wait_for(taken, 60)


def stall(**changes: Any) -> Any:
    return {"rules": type(RULES)(**{name: getattr(RULES, name) for name in RULES.__slots__} | changes)}


async def test_a_chain_begins_with_start_and_ends_with_end():
    sink = MemorySink()
    async with running(a_journal(sink)) as journal:
        await recorded(journal.call(a_call("Decrypt")))
        assert journal.call(a_call("Encrypt")) is None
    assert kinds(sink.lines) == ["start", "call", "call", "end"]
    assert sink.lines[0]["replica"] == "tests"
    assert sink.closed


async def test_a_durable_record_is_waited_for_until_every_sink_has_it():
    first, second = MemorySink(), MemorySink()
    async with running(a_journal(first, second)) as journal:
        second.open.clear()
        waiting = asyncio.ensure_future(journal.call(a_call("Decrypt")))
        await until(lambda: b"Decrypt" in first.data)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        second.open.set()
        await waiting
        assert b"Decrypt" in second.data


async def test_what_comes_while_a_write_is_under_way_is_one_write():
    sink = MemorySink()
    async with running(a_journal(sink)) as journal:
        sink.open.clear()
        first = journal.call(a_call("Decrypt"))
        before = sink.writes
        await until(lambda: sink.writes == before + 1)
        more = [journal.call(a_call("Sign")) for _ in range(200)]
        sink.open.set()
        for taken in (first, *more):
            await recorded(taken)
        assert sink.writes == before + 2


async def test_in_mode_buffered_nothing_is_waited_for():
    sink = MemorySink()
    async with running(a_journal(sink, **stall(sync=False))) as journal:
        assert journal.call(a_call("Decrypt")) is None
        assert journal.service(a_service_event()) is None
        await until(lambda: b"RotateKey" in sink.data)


async def test_a_buffered_record_is_written_when_its_time_is_over_or_enough_wait():
    sink = MemorySink()
    async with running(a_journal(sink, **stall(buffer_seconds=30.0, buffer_bytes=15_000))) as journal:
        for _ in range(5):
            journal.call(a_call("Encrypt"))
        await asyncio.sleep(0.05)
        assert kinds(sink.lines) == ["start"]
        for _ in range(5):
            journal.call(a_call("Encrypt"))
        await until(lambda: len(sink.lines) == 11)


@pytest.mark.parametrize("sync", [True, False])
async def test_a_sink_that_fails_stops_everything_at_once_and_heals(sync):
    sink = MemorySink()
    async with running(a_journal(sink, **stall(sync=sync))) as journal:
        sink.error = FULL
        taken = journal.call(a_call("Decrypt"))
        if taken is not None:
            with pytest.raises(AuditUnavailableError):
                await taken
        await until(lambda: journal.stopped)
        assert journal.reason == "memory: No space left on device"
        with pytest.raises(AuditUnavailableError):
            journal.call(a_call("Encrypt"))
        sink.error = None
        await until(lambda: not journal.stopped)
        taken = journal.call(a_call("Sign"))
        if taken is not None:
            await taken
    found = sink.lines
    assert sorted(record["eventName"] for record in found if record["keysteadType"] == "call") == ["Decrypt", "Encrypt", "Sign"]
    (gap,) = [record for record in found if record["keysteadType"] == "gap"]
    assert (gap["reason"], gap["lost"]) == ("memory: No space left on device", 0)


async def test_a_sink_that_does_not_answer_refuses_who_waits_within_a_second(monkeypatch):
    """Of the journal's clock, counted from the first who waits: the one who came last does not begin a second of its own."""
    assert Rules().stall_seconds < 1
    sink, clock = MemorySink(), Clock(monkeypatch)
    async with running(a_journal(sink, **stall(stall_seconds=10_000))) as journal:
        sink.open.clear()
        before = sink.writes
        waiting = [asyncio.ensure_future(journal.call(a_call("Decrypt"))) for _ in range(3)]
        await until(lambda: sink.writes == before + 1)
        await clock.skip(9_000)
        waiting.append(asyncio.ensure_future(journal.call(a_call("Sign"))))
        await clock.skip(0)
        assert not any(one.done() for one in waiting)
        await clock.skip(1_000)
        assert all(one.done() for one in waiting)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [AuditUnavailableError] * 4
        assert journal.stopped
        sink.open.set()
        await until(lambda: not journal.stopped)
    assert kinds(sink.lines).count("call") == 4


async def test_a_buffered_record_stops_it_too_when_it_is_not_acknowledged(monkeypatch):
    sink, clock = MemorySink(), Clock(monkeypatch)
    async with running(a_journal(sink, **stall(stall_seconds=10_000))) as journal:
        sink.open.clear()
        before = sink.writes
        assert journal.call(a_call("Encrypt")) is None
        await until(lambda: sink.writes == before + 1)
        await clock.skip(9_000)
        assert not journal.stopped
        await clock.skip(1_000)
        assert journal.stopped
        sink.open.set()
        await until(lambda: not journal.stopped)


async def test_records_that_wait_are_bounded_and_what_is_lost_is_counted():
    sink = MemorySink()
    async with running(a_journal(sink, **stall(most_waiting=50_000))) as journal:
        sink.open.clear()
        refused = 0
        for _ in range(500):
            try:
                journal.call(a_call("Encrypt"))
            except AuditUnavailableError:
                refused += 1
            if _ == 3:
                await until(lambda: sink.writes == 2)
        assert journal.waiting < 120_000
        assert refused > 400
        sink.open.set()
        await until(lambda: not journal.stopped)
        await recorded(journal.call(a_call("Sign")))
    found = sink.lines
    gap = next(record for record in found if record["keysteadType"] == "gap")
    assert gap["lost"] > 0
    assert gap["lost"] + kinds(found).count("call") == 501


async def test_a_caller_that_goes_away_takes_nobody_with_it():
    sink = MemorySink()
    async with running(a_journal(sink)) as journal:
        sink.open.clear()
        gone = asyncio.ensure_future(journal.call(a_call("Decrypt")))
        stays = asyncio.ensure_future(journal.call(a_call("Decrypt")))
        gone.cancel()
        sink.open.set()
        await asyncio.wait_for(stays, 60)


async def test_nothing_is_taken_before_the_first_line_is_kept():
    sink = MemorySink()
    sink.open.clear()
    journal = a_journal(sink)
    task = asyncio.create_task(journal.run())
    assert journal.stopped
    with pytest.raises(AuditUnavailableError):
        journal.call(a_call("Decrypt"))
    sink.open.set()
    await asyncio.wait_for(journal.started(), 60)
    await journal.close(task)
    assert "gap" not in kinds(sink.lines)


async def test_what_cannot_be_written_down_is_refused_and_says_nothing_of_it(caplog):
    sink = MemorySink()
    async with running(a_journal(sink)) as journal:
        with pytest.raises(AuditUnavailableError):
            journal.call(a_call("Decrypt", request="no request, a secret"))
        assert "secret" not in caplog.text
        assert "Decrypt cannot be written down" in caplog.text


async def test_of_what_nobody_waited_for_and_cannot_be_written_down_a_gap_tells(caplog):
    sink = MemorySink()
    async with running(a_journal(sink)) as journal:
        assert journal.call(a_call("Encrypt")) is None
        assert journal.call(a_call("Encrypt", request="no request, a secret")) is None
        await recorded(journal.call(a_call("Decrypt")))
        assert not journal.stopped
    assert kinds(sink.lines) == ["start", "call", "gap", "call", "end"]
    assert sink.lines[2]["lost"] == 1
    assert "secret" not in caplog.text + sink.data.decode()
    assert "Encrypt cannot be written down" in caplog.text


async def test_calls_that_are_written_down_together_stay_in_order():
    sink = MemorySink()
    async with running(a_journal(sink)) as journal:
        names = ["Encrypt"] * 70 + ["Decrypt"] + ["Encrypt"] * 5 + ["Decrypt", "Encrypt"]
        for number, name in enumerate(names):
            taken = journal.call(a_call(name, event_id=f"event-{number}"))
            assert (taken is None) is (name == "Encrypt")
    assert [line["eventID"] for line in sink.lines[1:-1]] == [f"event-{number}" for number in range(len(names))]


async def test_a_sink_that_never_answers_does_not_keep_the_process_from_ending():
    sink = MemorySink()
    journal = a_journal(sink, **stall(close_seconds=0.1))
    task = asyncio.create_task(journal.run())
    await asyncio.wait_for(journal.started(), 60)
    sink.open.clear()
    journal.call(a_call("Encrypt"))
    await asyncio.wait_for(journal.close(task), 30)  # the sink holds its write for longer
    assert kinds(sink.lines) == ["start"]
    sink.open.set()


@dataclass(frozen=True)
class Signed:
    """`ports.Signature`."""

    signature: bytes
    key_arn: str = "arn:aws:kms:::key/audit"
    material_id: str = "ab" * 32


class Hand:
    """`ports.Signer`: what it was given, signed with a mark. `error`, `key`: what becomes of it."""

    def __init__(self) -> None:
        self.signed: list[bytes] = []
        self.error: Exception | None = None
        self.wait = 0.0
        self.key = True
        self.asked = 0

    async def sign(self, digest: bytes) -> Signed | None:
        self.asked += 1
        await asyncio.sleep(self.wait)
        if self.error is not None:
            raise self.error
        self.signed.append(digest)
        return Signed(b"signed " + digest) if self.key else None


def signed_places(data: bytes) -> list[tuple[int, bytes]]:
    """(seq, digest) of every line that is signed, by the format's own words."""
    found = []
    for record in read_chain(data):
        if "signature" in record:
            place = record["chain"]
            text = b"keystead/v1/audit-checkpoint\0" + place["id"].encode() + b"\0"
            found.append((place["seq"], sha256(text + place["seq"].to_bytes(8, "big") + bytes.fromhex(place["prev"])).digest()))
    return found


async def test_checkpoints_are_signed_in_their_place_and_so_is_the_end(monkeypatch):
    sink, hand, clock = MemorySink(), Hand(), Clock(monkeypatch)
    async with running(a_journal(sink, signer=hand, **stall(stall_seconds=1e6, sign_seconds=60.0, end_seconds=60.0))) as journal:
        for count in (1, 2):
            await recorded(journal.call(a_call("Decrypt")))
            await clock.skip(RULES.checkpoint_seconds)
            await until(lambda count=count: kinds(sink.lines).count("checkpoint") == count)
        await clock.skip(2 * RULES.checkpoint_seconds)
        await asyncio.sleep(0.1)  # nothing new: no checkpoint
    assert kinds(sink.lines) == ["start", "call", "checkpoint", "call", "checkpoint", "end"]
    places = signed_places(sink.data)
    assert [seq for seq, _ in places] == [2, 4, 5]
    assert [digest for _, digest in places] == hand.signed
    assert sink.lines[2]["algorithm"] == "ECDSA_SHA_256"
    assert sink.lines[2]["keyArn"] == "arn:aws:kms:::key/audit"


@pytest.mark.parametrize("when", ["before it is signed", "while it is signed"])
async def test_the_ends_signature_fits_its_place_whenever_a_checkpoint_is_due(monkeypatch, when):
    """Else a trail that nobody touched is taken for one that was."""
    sink, hand, clock = MemorySink(), Hand(), Clock(monkeypatch)
    sign = hand.sign

    async def slowly(digest):
        await clock.skip(2 * RULES.checkpoint_seconds)
        return await sign(digest)

    journal = a_journal(sink, signer=hand, **stall(stall_seconds=1e6, sign_seconds=1e6, end_seconds=1e6, close_seconds=1e6))
    task = asyncio.create_task(journal.run())
    await asyncio.wait_for(journal.started(), 60)
    await recorded(journal.call(a_call("Decrypt")))
    if when == "while it is signed":
        hand.sign = slowly
        await journal.close(task)
    else:
        sink.open.clear()
        journal.call(a_call("Decrypt"))
        await until(lambda: sink.writes == 3)
        closing = asyncio.create_task(journal.close(task))
        await clock.skip(2 * RULES.checkpoint_seconds)
        sink.open.set()
        await closing
    assert kinds(sink.lines)[-1] == "end"
    places = signed_places(sink.data)
    assert places[-1][0] == len(sink.lines) - 1
    assert [digest for _, digest in places] == hand.signed


@pytest.mark.parametrize("fault", ["raises", "has no key", "is slow"])
async def test_a_signer_that_cannot_sign_never_stops_the_records(fault):
    sink, hand = MemorySink(), Hand()
    hand.error = ValueError("token away") if fault == "raises" else None
    hand.key = fault != "has no key"
    hand.wait = 1000.0 if fault == "is slow" else 0.0
    rules = stall(checkpoint_seconds=0.02, sign_seconds=0.05, again_seconds=0.02, end_seconds=0.05)
    async with running(a_journal(sink, signer=hand, **rules)) as journal:
        for _ in range(4):
            before = hand.asked
            await recorded(journal.call(a_call("Decrypt")))
            await until(lambda before=before: hand.asked > before)
        assert not journal.stopped
    assert kinds(sink.lines) == ["start", *["call"] * 4, "end"]


async def test_a_checkpoint_that_could_not_be_signed_is_signed_later_without_a_new_record():
    sink, hand = MemorySink(), Hand()
    hand.wait = 1000.0
    rules = stall(checkpoint_seconds=0.02, sign_seconds=0.2, again_seconds=0.05)
    async with running(a_journal(sink, signer=hand, **rules)) as journal:
        await recorded(journal.call(a_call("Decrypt")))
        await until(lambda: hand.asked > 1)
        assert "checkpoint" not in kinds(sink.lines)
        hand.wait = 0.0
        await until(lambda: "checkpoint" in kinds(sink.lines))


async def test_a_chain_of_nothing_but_its_start_is_signed_and_then_there_is_peace():
    sink = MemorySink()
    async with running(a_journal(sink, signer=Hand(), **stall(checkpoint_seconds=0.02))):
        await until(lambda: len(sink.lines) == 2)
        await asyncio.sleep(0.1)
        assert kinds(sink.lines) == ["start", "checkpoint"]


async def test_a_line_that_no_call_made_is_signed_too(monkeypatch):
    """Of a removal, say: until it is signed, somebody without the key could have written it."""
    monkeypatch.setattr("keystead.audit.keeping._EVERY", 0.1)
    sink = MemorySink()
    keeper = Keeper(sink)
    async with running(a_journal(sink, signer=Hand(), keepers=[keeper], **stall(checkpoint_seconds=0.02))):
        await until(lambda: keeper.on_record)
        await until(lambda: kinds(sink.lines)[-2:] == ["removed", "checkpoint"])


class Keeper:
    """`ports.Keeper` that wants one file gone, once."""

    def __init__(self, sink: MemorySink) -> None:
        self.sink = sink
        self.doomed = [Removed("audit-old-20261126T070000Z-00000000-000000.jsonl", 0, 41, "ab" * 32)]
        self.on_record: list[bool] = []
        self.room = True

    def tidy(self) -> list[Removed]:
        return [self.doomed.pop()] if self.doomed else []

    def remove(self, removed: Removed) -> None:
        self.on_record.append(removed.name.encode() in self.sink.data)

    def give_room(self) -> None:
        self.sink.error = None

    def hold_room(self) -> bool:
        return self.room


async def test_a_file_goes_only_when_it_is_on_record(monkeypatch):
    monkeypatch.setattr("keystead.audit.keeping._EVERY", 0.01)
    sink = MemorySink()
    keeper = Keeper(sink)
    async with running(a_journal(sink, keepers=[keeper])):
        await until(lambda: keeper.on_record)
    assert keeper.on_record == [True]
    removed = next(record for record in sink.lines if record["keysteadType"] == "removed")
    assert (removed["firstSeq"], removed["lastSeq"], removed["lastHash"]) == (0, 41, "ab" * 32)


@pytest.mark.parametrize("begun", [False, True])
async def test_on_a_full_disk_a_removal_is_recorded_with_the_room_that_is_held_back(monkeypatch, begun):
    """Before its first line, and later. Nothing is taken until room is held back again: calls do not live on it."""
    monkeypatch.setattr("keystead.audit.keeping._EVERY", 0.01)
    monkeypatch.setattr("keystead.audit.keeping._PATIENCE", 0.2)
    sink = MemorySink()
    keeper = Keeper(sink)
    journal = a_journal(sink, keepers=[keeper])
    doomed, keeper.doomed = keeper.doomed, []
    sink.error = None if begun else FULL
    task = asyncio.create_task(journal.run())
    if begun:
        await asyncio.wait_for(journal.started(), 60)
        sink.error = FULL
        taken = journal.call(a_call("Decrypt"))
        with pytest.raises(AuditUnavailableError):
            await taken
    await until(lambda: journal.reason == "memory: No space left on device")
    keeper.room, keeper.doomed = False, doomed
    await until(lambda: keeper.on_record)
    assert keeper.on_record == [True]
    await asyncio.sleep(0.1)
    with pytest.raises(AuditUnavailableError):
        journal.call(a_call("Encrypt"))
    keeper.room = True
    await until(lambda: not journal.stopped)
    await recorded(journal.call(a_call("Sign")))
    await journal.close(task)
    assert kinds(sink.lines).count("removed") == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_calls_do_not_live_on_the_room_that_another_process_of_the_folder_gave_for_its_removal(monkeypatch, begun):
    monkeypatch.setattr("keystead.audit.keeping._EVERY", 0.01)
    sink = MemorySink()
    keeper = Keeper(sink)
    keeper.doomed.clear()
    journal = a_journal(sink, keepers=[keeper])
    sink.error = None if begun else FULL
    task = asyncio.create_task(journal.run())
    if begun:
        await asyncio.wait_for(journal.started(), 60)
        sink.error = FULL
        with pytest.raises(AuditUnavailableError):
            await journal.call(a_call("Decrypt"))
    await until(lambda: journal.reason == "memory: No space left on device")
    await asyncio.sleep(0.05)  # it is still held, and that alone is not enough
    keeper.room, sink.error = False, None
    await until(lambda: not journal.waiting)  # what was taken before is kept
    await asyncio.sleep(0.05)
    with pytest.raises(AuditUnavailableError):
        journal.call(a_call("Encrypt"))
    keeper.room = True
    await until(lambda: not journal.stopped)
    await recorded(journal.call(a_call("Sign")))
    await journal.close(task)


async def test_the_room_is_not_given_away_where_nothing_is_to_go(monkeypatch):
    monkeypatch.setattr("keystead.audit.keeping._EVERY", 0.01)
    monkeypatch.setattr("keystead.audit.keeping._PATIENCE", 0.01)
    sink = MemorySink()
    keeper = Keeper(sink)
    keeper.doomed.clear()
    async with running(a_journal(sink, keepers=[keeper], **stall(close_seconds=0.1))) as journal:
        sink.error = FULL
        with pytest.raises(AuditUnavailableError):
            await journal.call(a_call("Decrypt"))
        await asyncio.sleep(0.2)
        assert journal.stopped and sink.error is FULL


def test_a_chain_is_named_by_replica_start_and_chance():
    when = a_call().time
    assert chain_id("keystead-server-0", when, b"\1\2\3\4") == "keystead-server-0-20261126T080000Z-01020304"
    assert chain_id("../a b/\n", when, b"\1\2\3\4") == "a-b-20261126T080000Z-01020304"
    assert chain_id("", when, b"\1\2\3\4") == "keystead-20261126T080000Z-01020304"


def test_a_signature_fits_one_place_only():
    places = [(CHAIN, 7, "ab" * 32), (CHAIN, 8, "ab" * 32), (CHAIN, 7, "ac" * 32), ("x", 7, "ab" * 32)]
    assert len({checkpoint_digest(*place) for place in places}) == 4


def test_a_line_ends_with_its_place():
    journal = a_journal()
    line = journal.chain.link(b'{"keysteadType":"start"}')
    assert json.loads(line) == {"keysteadType": "start", "chain": {"id": CHAIN, "seq": 0, "prev": "0" * 64}}

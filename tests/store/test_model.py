"""The server's read model: what requests find in it, what is left out, and what wakes those who wait."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import (
    ACCOUNT,
    APP,
    NAMESPACE,
    NOW,
    OTHER_UID,
    REGION,
    UID,
    a_grant,
    a_key,
    a_key_id,
    an_alias,
    an_app,
)
from tests.engine.records import KINDS, NAMES, a_record
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import RecordKind, key_id_bytes, orphan_name, record_name
from keystead.engine.plan.key_life import tombstone
from keystead.engine.record import AccountRecord, GrantRecord, KeyRecord, SealedRecord, seal_record
from keystead.engine.record.common import RecordBase
from keystead.errors import HsmUnavailableError, RecordFormatError, RecordIntegrityError
from keystead.operations.world import Catalogue, LastUse
from keystead.policy import Action
from keystead.reconciler.ports import StoredRecord
from keystead.resources.vocabulary import GrantOperation, KeyState
from keystead.store.model import RecordModel
from keystead.store.view import View

LATER = {"seq": 2, "prev": "ab" * 32}


@pytest.fixture(scope="module")
def hsm() -> FakeHsm:
    return FakeHsm()


def name_of(record: RecordBase) -> str:
    match record:
        case KeyRecord():
            return record_name(RecordKind.KEY, record.namespace, record.name)
        case GrantRecord():
            return record_name(RecordKind.GRANT, record.namespace, record.name)
        case AccountRecord():
            return record_name(RecordKind.ACCOUNT, record.account_id)
    return record_name(RecordKind.ALIAS, record.account, record.region, record.alias_name)  # type: ignore[attr-defined]


class Feed:
    """A model, and what a stream tells it."""

    def __init__(self, hsm: FakeHsm) -> None:
        self.hsm = hsm
        self.model = RecordModel()
        self.told: list[tuple[str, int | None]] = []
        self.model.listeners.append(lambda name, seq: self.told.append((name, seq)))

    def take(self, record: RecordBase, name: str = "") -> str:
        name = name or name_of(record)
        self.model.take(self.hsm, StoredRecord(seal_record(self.hsm, name, record), "1"))
        return name

    def spoil(self, name: str, record: RecordBase) -> None:
        sealed = seal_record(self.hsm, name, record)
        self.model.take(self.hsm, StoredRecord(SealedRecord(name, sealed.record + b" ", sealed.seal), "1"))


@pytest.fixture
def feed(hsm: FakeHsm) -> Feed:
    return Feed(hsm)


def raw(key: KeyRecord) -> bytes:
    return key_id_bytes(key.key_id)


def an_account(hsm: FakeHsm, **changes: Any) -> AccountRecord:
    made = a_record(hsm, RecordKind.ACCOUNT)
    assert isinstance(made, AccountRecord)
    return replace(made, **changes)


def test_a_view_is_the_catalogue_that_operations_ask(feed: Feed) -> None:
    key = a_key(feed.hsm)
    feed.take(key)
    use = LastUse("Encrypt", NOW, "e", "r")
    catalogue: Catalogue = View(feed.model, {NAMESPACE: UID}, {key.key_id: use}.get)
    assert (catalogue.namespace_uid(NAMESPACE), catalogue.namespace_uid("other")) == (UID, None)
    assert (catalogue.last_use(key.key_id), catalogue.last_use("other")) == (use, None)
    assert catalogue.by_id(raw(key)) == key


def test_every_question_of_a_view_is_answered_by_the_model(feed: Feed) -> None:
    key = a_key(feed.hsm)
    alias, grant = an_alias(key), a_grant(key, GrantOperation.DECRYPT, retiring_principal=APP)
    for record in (key, alias, grant):
        feed.take(record)
    view = View(feed.model, {})
    assert view.alias(key.account, key.region, "alias/app") == alias
    assert (list(view.grants_of(raw(key))), view.grant(grant.grant_id)) == ([grant], grant)
    assert list(view.grants_held(key, APP)) == [grant]
    assert view.grants_held(key, "arn:aws:iam::111122223333:role/reader") == ()
    assert view.grants_to(key, an_app(), Action.DECRYPT, {}) == (grant,)
    assert (view.key_named(key.namespace, key.name), view.grant_named(key.namespace, grant.name)) == (key, grant)
    assert (view.keys_of(ACCOUNT, REGION), view.aliases_of(ACCOUNT, REGION)) == ((key,), (alias,))
    assert list(view.grants_retirable_by(APP)) == [grant]
    assert view.last_use(key.key_id) is None


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1])))
def test_of_two_records_of_one_key_id_the_higher_seq_counts(feed: Feed, order: tuple[int, ...]) -> None:
    """A move that was cut short leaves both; it is aside from then on, whichever was read first."""
    key = a_key(feed.hsm)
    moved = replace(key, bound=False, **LATER)
    both = [(key, name_of(key)), (moved, orphan_name(key.key_id))]
    for index in order:
        feed.take(*both[index])
    assert feed.model.by_id(raw(key)) == moved
    assert feed.model.keys_of(ACCOUNT, REGION) == (moved,)
    assert feed.model.key_named(key.namespace, key.name) is None
    feed.model.gone(orphan_name(key.key_id))
    assert feed.model.by_id(raw(key)) == feed.model.key_named(key.namespace, key.name) == key


def test_a_record_set_aside_is_found_by_its_id_and_under_no_name(feed: Feed) -> None:
    old, new = a_key(feed.hsm), a_key(feed.hsm, n=2, name="key-1")
    feed.take(old, orphan_name(old.key_id))
    assert feed.model.by_id(raw(old)) == old
    assert feed.model.key_named(NAMESPACE, "key-1") is None
    feed.take(new)
    assert feed.model.key_named(NAMESPACE, "key-1") == new
    assert {key.key_id for key in feed.model.keys_of(ACCOUNT, REGION)} == {old.key_id, new.key_id}


def test_a_tombstone_is_found_by_its_id_and_is_in_no_list(feed: Feed) -> None:
    key = a_key(feed.hsm)
    feed.take(key)
    gone = replace(tombstone(key, NOW), **LATER)
    feed.take(gone)
    found = feed.model.by_id(raw(key))
    assert found is not None
    assert found.state is KeyState.DESTROYED
    assert feed.model.keys_of(ACCOUNT, REGION) == ()


def test_lists_are_in_order_and_the_same_until_something_changes(feed: Feed) -> None:
    keys = [a_key(feed.hsm, n=n) for n in range(1, 8)]
    for key in keys:
        feed.take(key)
        feed.take(an_alias(key, f"alias/{key.name}"))
        feed.take(a_grant(keys[0], GrantOperation.DECRYPT, name=key.name, grant_id=f"{99 - len(key.name) - keys.index(key):064x}"))
    listed = feed.model.keys_of(ACCOUNT, REGION)
    assert [key.key_id for key in listed] == sorted(key.key_id for key in keys)
    assert feed.model.keys_of(ACCOUNT, REGION) is listed
    assert [alias.alias_name for alias in feed.model.aliases_of(ACCOUNT, REGION)] == sorted(f"alias/{key.name}" for key in keys)
    grants = feed.model.grants_of(raw(keys[0]))
    assert [grant.grant_id for grant in grants] == sorted(grant.grant_id for grant in grants)
    feed.take(replace(keys[3], description="new", **LATER))
    assert [key.description for key in feed.model.keys_of(ACCOUNT, REGION)].count("new") == 1
    assert (feed.model.keys_of(ACCOUNT, "other-region"), feed.model.keys_of("000000000001", REGION)) == ((), ())


def test_an_alias_that_moves_and_a_grant_that_goes_leave_nothing_behind(feed: Feed) -> None:
    old, new = a_key(feed.hsm), a_key(feed.hsm, n=2)
    alias, grant = an_alias(old), a_grant(old, GrantOperation.DECRYPT, retiring_principal=APP)
    for record in (old, new, alias, grant):
        feed.take(record)
    feed.take(replace(alias, key_id=new.key_id, **LATER))
    found = feed.model.alias(ACCOUNT, REGION, "alias/app")
    assert found is not None
    assert found.key_id == new.key_id
    assert len(feed.model.aliases_of(ACCOUNT, REGION)) == 1
    for name in (name_of(alias), name_of(grant)):
        feed.model.gone(name)
    assert feed.model.alias(ACCOUNT, REGION, "alias/app") is feed.model.grant(grant.grant_id) is None
    assert feed.model.grants_of(raw(old)) == feed.model.grants_retirable_by(APP) == feed.model.aliases_of(ACCOUNT, REGION) == ()


def test_a_grant_made_again_under_its_name_is_another_grant(feed: Feed) -> None:
    """Its record begins with seq 1 again, whether the end of the first one was seen or not."""
    key = a_key(feed.hsm)
    first = a_grant(key, GrantOperation.DECRYPT, **LATER)
    second = a_grant(key, GrantOperation.DECRYPT, grant_id="cd" * 32)
    feed.take(first)
    feed.take(second)
    assert list(feed.model.grants_of(raw(key))) == [second]
    assert feed.model.grant(first.grant_id) is None


def test_the_account_of_a_namespace_is_that_of_its_uid(feed: Feed) -> None:
    hsm = feed.hsm
    feed.take(an_account(hsm))
    feed.take(an_account(hsm, account_id="222233334444", n=1, namespace_uid=OTHER_UID))
    assert feed.model.account_of(NAMESPACE, UID) == ACCOUNT
    assert feed.model.account_of(NAMESPACE, OTHER_UID) == "222233334444"
    assert feed.model.account_of(NAMESPACE, "made-again") == feed.model.account_of("other", UID) == ""
    feed.take(an_account(hsm, namespace_uid="adopted", **LATER))
    assert feed.model.account_of(NAMESPACE, UID) == ""
    assert feed.model.account_of(NAMESPACE, "adopted") == ACCOUNT
    account = feed.model.account(ACCOUNT)
    assert account is not None
    assert account.namespace_uid == "adopted"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not RecordKind.DATAKEY])
def test_every_kind_comes_changes_and_goes(feed: Feed, kind: RecordKind) -> None:
    name, record = NAMES[kind], a_record(feed.hsm, kind)
    feed.take(record, name)
    feed.take(record, name)  # an echo is no change
    feed.take(replace(record, seq=9, prev="ab" * 32), name)
    assert len(feed.model) == 1
    feed.model.keep(set())
    assert feed.told == [(name, record.seq), (name, 9), (name, None)]
    assert (len(feed.model), feed.model.install()) == (0, None)


def test_a_record_that_does_not_verify_is_left_out_also_what_it_was_before(feed: Feed) -> None:
    key = a_key(feed.hsm)
    name = feed.take(key)
    with pytest.raises(RecordIntegrityError, match="seal does not verify"):
        feed.spoil(name, replace(key, **LATER))
    assert feed.model.by_id(raw(key)) is None
    assert list(feed.model.refused) == [name]
    assert feed.told[-1] == (name, None)
    feed.take(replace(key, **LATER))
    assert feed.model.by_id(raw(key)) is not None
    assert not feed.model.refused


@pytest.mark.parametrize("name", ["key-" + "0" * 40, "alias-" + "0" * 40, "heartbeat", "datakey-" + "0" * 40])
def test_a_record_under_another_name_is_not_believed(feed: Feed, name: str) -> None:
    key = a_key(feed.hsm)
    sealed = seal_record(feed.hsm, name_of(key), key)
    with pytest.raises(RecordIntegrityError):
        feed.model.take(feed.hsm, StoredRecord(SealedRecord(name, sealed.record, sealed.seal), "1"))
    assert (len(feed.model), list(feed.model.refused)) == (0, [name])
    feed.model.keep(set())
    assert not feed.model.refused


def test_what_is_not_even_a_record_leaves_nothing(feed: Feed) -> None:
    name = feed.take(a_key(feed.hsm))
    feed.model.refuse(name, RecordFormatError("no record and seal"))
    assert (len(feed.model), dict(feed.model.refused)) == (0, {name: "no record and seal"})


def test_an_older_record_put_back_is_refused_and_the_newer_one_stays(feed: Feed) -> None:
    """A Disabled key does not open again because somebody restored its Secret; nor when it was deleted in between."""
    key = a_key(feed.hsm)
    closed = replace(key, enabled=False, state=KeyState.DISABLED, **LATER)
    name = feed.take(closed)
    with pytest.raises(RecordIntegrityError, match="older"):
        feed.take(key)
    assert feed.model.by_id(raw(key)) == closed
    assert list(feed.model.refused) == [name]
    feed.model.gone(name)
    with pytest.raises(RecordIntegrityError, match="older"):
        feed.take(key)
    assert feed.model.by_id(raw(key)) is None


def test_another_record_under_the_same_seq_is_refused(feed: Feed) -> None:
    key = a_key(feed.hsm)
    feed.take(key)
    with pytest.raises(RecordIntegrityError, match="differs"):
        feed.take(replace(key, description="forked"))
    assert feed.model.by_id(raw(key)) is None


def test_a_token_that_is_away_says_nothing_about_a_record(feed: Feed) -> None:
    key = a_key(feed.hsm)
    name = feed.take(key)

    class Away(FakeHsm):
        def mac(self, message: bytes) -> bytes:
            raise HsmUnavailableError("away")

    sealed = seal_record(feed.hsm, name, replace(key, **LATER))
    with pytest.raises(HsmUnavailableError):
        feed.model.take(Away(), StoredRecord(sealed, "1"))
    assert feed.model.by_id(raw(key)) == key
    assert not feed.model.refused


def test_what_is_held_of_a_key_is_small(hsm: FakeHsm) -> None:
    """Ten thousand keys in 200 MB a worker, with all else: 4 kB of each is more than enough."""
    key, model, count = a_key(hsm), RecordModel(), 300
    stored = []
    for n in range(count):
        record = replace(key, key_id=a_key_id(n), name=f"key-{n}")
        stored.append(StoredRecord(seal_record(hsm, name_of(record), record), "1"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for item in stored:
            model.take(hsm, item)
        assert len(model.keys_of(ACCOUNT, REGION)) == count
        assert (tracemalloc.get_traced_memory()[0] - before) / count < 4000
    finally:
        tracemalloc.stop()


async def test_who_waits_is_woken_by_the_change(feed: Feed) -> None:
    key = a_key(feed.hsm)
    waiting = asyncio.create_task(feed.model.until(lambda: feed.model.by_id(raw(key)), 30))
    await asyncio.sleep(0)
    feed.take(a_key(feed.hsm, n=2))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.take(key)
    assert await asyncio.wait_for(waiting, 1) == key


async def test_who_waits_for_nothing_is_told_in_time(feed: Feed) -> None:
    assert await feed.model.until(lambda: None, 0.01) is None
    assert await feed.model.until(lambda: None, 0) is None
    assert await feed.model.until(lambda: 1, 0) == 1


async def test_a_hundred_changes_at_once_are_one_look_of_each_waiter(feed: Feed) -> None:
    looks = 0

    def look() -> bool | None:
        nonlocal looks
        looks += 1
        return True if feed.model.by_id(raw(last)) else None

    last = a_key(feed.hsm, n=100)
    waiting = [asyncio.create_task(feed.model.until(look, 30)) for _ in range(50)]
    await asyncio.sleep(0)
    for n in range(1, 101):
        feed.take(a_key(feed.hsm, n=n))
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [True] * 50
    assert looks == 100  # once before, once after

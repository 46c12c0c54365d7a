"""The controller's wiring: whom a record that is new, different or gone wakes. Queue, feed and index are the real ones."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import a_key, an_alias
from tests.hsm.fake import FakeHsm
from tests.reconciler.learning import learn

from keystead.app.controller import Controller
from keystead.engine.record import KeyRecord
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class

LOOKS = b'{"Condition":{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/app"}}}'
LOOKS_NOT = b'{"Condition":{"StringEquals":{"kms:RequestAlias":"alias/app"}}}'
DATA_KEY, GRANT = ObjectRef(Kind.DATA_KEY, "team-a", "waiting"), ObjectRef(Kind.GRANT, "team-a", "waiting")
ABROAD = ObjectRef(Kind.DATA_KEY, "team-b", "abroad")


@pytest.fixture
def controller() -> Controller:
    return Controller(4, (), lambda _ref: None)


@pytest.fixture
def keys() -> tuple[KeyRecord, KeyRecord]:
    hsm = FakeHsm()
    return a_key(hsm, policy=LOOKS), a_key(hsm, n=2, policy=LOOKS)


def known(controller: Controller, *keys: KeyRecord) -> None:
    for number, key in enumerate(keys):
        learn(controller.index, f"key-{number}", key)


async def waits(controller: Controller, ref: ObjectRef, key: KeyRecord) -> None:
    """An object that named the key, was looked at, and has no record."""
    where = {} if ref.namespace == key.namespace else {"namespace": key.namespace}
    metadata = {"namespace": ref.namespace, "name": ref.name, "uid": "u", "generation": 1}
    spec = {"keyRef": {"name": key.name, **where}}
    controller.feed.seen(ref.kind, None, {"metadata": metadata, "spec": spec, "status": {"observedGeneration": 1}})
    await woken(controller)


async def woken(controller: Controller) -> set[tuple[ObjectRef, Class]]:
    found = set()
    for kind in Class:
        while controller.queue.depth(kind):
            ref = await controller.queue.get()
            controller.queue.done(ref)
            found.add((ref, kind))
    return found


async def test_an_alias_wakes_who_waits_for_a_key_whose_policy_looks_at_aliases(
    controller: Controller, keys: tuple[KeyRecord, KeyRecord]
) -> None:
    known(controller, keys[0])
    refs = {DATA_KEY, GRANT, ABROAD}
    for ref in refs:
        await waits(controller, ref, keys[0])
    learn(controller.index, "alias-1", an_alias(keys[0]))
    assert {(ref, Class.NEW) for ref in refs} <= await woken(controller)
    controller.index.gone("alias-1")
    assert {(ref, Class.NEW) for ref in refs} <= await woken(controller)


async def test_an_alias_that_moves_wakes_who_waits_for_either_key(controller: Controller, keys: tuple[KeyRecord, KeyRecord]) -> None:
    known(controller, *keys)
    await waits(controller, DATA_KEY, keys[0])
    await waits(controller, GRANT, keys[1])
    learn(controller.index, "alias-1", an_alias(keys[0]))
    assert (GRANT, Class.NEW) not in await woken(controller)
    learn(controller.index, "alias-1", replace(an_alias(keys[0]), key_id=keys[1].key_id, seq=2, prev="ab" * 32))
    assert {(DATA_KEY, Class.NEW), (GRANT, Class.NEW)} <= await woken(controller)


@pytest.mark.parametrize("policy", [UNSET, LOOKS_NOT])
async def test_an_alias_of_a_key_whose_policy_does_not_look_at_it_wakes_nobody_else(controller: Controller, policy: Any) -> None:
    """A key may have 50 aliases and 50,000 grants."""
    key = a_key(FakeHsm(), policy=policy)
    known(controller, key)
    await waits(controller, DATA_KEY, key)
    learn(controller.index, "alias-1", an_alias(key))
    assert {ref.kind for ref, _ in await woken(controller)} <= {Kind.ALIAS}


async def test_a_policy_wakes_the_alias_that_it_keeps_though_that_names_another_key_now(
    controller: Controller, keys: tuple[KeyRecord, KeyRecord]
) -> None:
    old, new = keys
    known(controller, *keys)
    alias = an_alias(old)
    learn(controller.index, "alias-1", alias)
    ref = ObjectRef(Kind.ALIAS, alias.namespace, alias.name)
    await waits(controller, ref, new)
    for number, key in enumerate(keys):
        learn(controller.index, f"key-{number}", replace(key, policy=b"{}", seq=2, prev="ab" * 32))
        assert ref in {found for found, _ in await woken(controller)}


async def test_an_alias_wakes_the_alias_that_its_keys_policy_keeps(controller: Controller, keys: tuple[KeyRecord, KeyRecord]) -> None:
    old, new = keys
    known(controller, *keys)
    kept = an_alias(old)
    learn(controller.index, "alias-1", kept)
    ref = ObjectRef(Kind.ALIAS, kept.namespace, kept.name)
    await waits(controller, ref, new)
    learn(controller.index, "alias-2", an_alias(old, "alias/second", name="second"))
    assert ref in {found for found, _ in await woken(controller)}


async def test_an_alias_wakes_the_data_keys_that_name_it(controller: Controller) -> None:
    key = a_key(FakeHsm())
    alias = an_alias(key)
    known(controller, key)
    body = {"metadata": {"namespace": "team-a", "name": "d", "uid": "u", "generation": 1}, "status": {"observedGeneration": 1}}
    controller.feed.seen(Kind.DATA_KEY, None, {**body, "spec": {"aliasRef": {"name": alias.name}}})
    await woken(controller)
    learn(controller.index, "alias-1", alias)
    assert (ObjectRef(Kind.DATA_KEY, "team-a", "d"), Class.NEW) in await woken(controller)

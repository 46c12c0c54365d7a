"""When a start has its seeds: each Ready for what it says now, or the start ends by name. On the store of dev, without workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from keystead.app.dev.seeds import plant
from keystead.dev.seeds import Seeds, read_seeds
from keystead.errors import InvalidSpecError, KeysteadError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.store.model import RecordModel
from keystead.store.sqlite.changes import Changes, ObjectChange
from keystead.store.sqlite.store import SqliteStore

REF = ObjectRef(Kind.KEY, "team-a", "k")
KEY = b"""
apiVersion: kms.keystead.io/v1alpha1
kind: KmsKey
metadata: {name: k, namespace: team-a}
spec: {description: %b}
"""
SOON = 0.05


def seeds(description: bytes = b"a") -> Seeds:
    return read_seeds([("seed.yaml", KEY % description)])


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(None)
    yield made
    made.close()


def status(ready: str, stalled: str, generation: int = 1) -> dict[str, Any]:
    """As a reconcile writes it."""
    told = {"reason": "Because", "message": "of this", "observedGeneration": generation, "lastTransitionTime": "2031-05-06T07:08:09Z"}
    conditions = [{"type": "Ready", "status": ready, **told}, {"type": "Stalled", "status": stalled, **told}]
    return {"observedGeneration": generation, "conditions": conditions}


def answer(store: SqliteStore, written: dict[str, Any]) -> None:
    """A worker that gives each object this status once."""
    tasks = set()

    def told(changes: Changes) -> None:
        for change in changes.changes:
            if isinstance(change, ObjectChange) and change.body and change.body["status"] != written:
                tasks.add(asyncio.ensure_future(store.objects.apply_status(change.ref, change.uid, written)))

    store.changes.subscribe(told)


@pytest.mark.parametrize("ready", ["True", "Unknown"], ids=["ready", "suspended"])
async def test_a_start_has_its_seeds_when_each_is_carried_out(store, ready):
    answer(store, status(ready, "False"))
    await plant(seeds(), store, RecordModel(), 10)
    assert (await store.objects.get(REF))["spec"]["description"] == "a"
    assert "team-a" in store.objects.namespaces()


async def test_a_stalled_seed_ends_the_start_at_once_by_name_reason_and_message(store):
    answer(store, status("False", "True"))
    with pytest.raises(InvalidSpecError, match=r"^seed.yaml, document 1: KmsKey team-a/k cannot .*: Because: of this"):
        await plant(seeds(), store, RecordModel(), 10)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, "no status yet"),
        (status("False", "False"), "Because: of this"),
        (status("True", "False", generation=0), "Because: of this"),
    ],
    ids=["nothing", "waiting", "of another generation"],
)
async def test_a_seed_that_is_not_ready_in_time_ends_the_start(store, written, words):
    if written:
        answer(store, written)
    with pytest.raises(KeysteadError, match=rf"^seed.yaml, document 1: KmsKey team-a/k was not ready in time .*{words}"):
        await plant(seeds(), store, RecordModel(), SOON)


async def test_a_seed_that_is_there_as_it_says_is_not_waited_for(store):
    answer(store, status("True", "False"))
    await plant(seeds(), store, RecordModel(), 10)
    before = await store.objects.get(REF)
    await plant(seeds(), store, RecordModel(), 0)
    assert await store.objects.get(REF) == before


async def test_a_seed_that_says_something_else_now_is_waited_for(store):
    answer(store, status("True", "False"))
    await plant(seeds(), store, RecordModel(), 10)
    with pytest.raises(KeysteadError, match="was not ready in time"):
        await plant(seeds(b"b"), store, RecordModel(), SOON)


async def test_nobody_listens_any_more_after_a_start(store):
    with pytest.raises(KeysteadError):
        await plant(seeds(), store, RecordModel(), SOON)
    assert store.changes._subscribers == []

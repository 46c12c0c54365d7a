"""What control-plane operations and seeds write, on SQLite: once, on the object that was authorised, and never half."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from keystead.errors import ConflictError, NotFoundError, RefusedError
from keystead.operations.writes import Annotate, CreateObject, DeleteObject, SetFields, SetTags, Target
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.names import API_VERSION, CREATED_BY, IN_USE
from keystead.store.sqlite.store import SqliteStore

REF = ObjectRef(Kind.KEY, "default", "key-1")
HMAC = {"keySpec": "HMAC_256", "keyUsage": "GENERATE_VERIFY_MAC"}


@pytest.fixture
async def store() -> Iterator[SqliteStore]:
    made = SqliteStore(None)
    await made.objects.ensure_namespace("default")
    yield made
    made.close()


def creating(**spec: Any) -> CreateObject:
    return CreateObject(REF.kind, REF.namespace, REF.name, spec)


async def live(store: SqliteStore) -> dict[str, Any]:
    found = await store.objects.get(REF)
    assert found is not None
    return found


async def made(store: SqliteStore, **spec: Any) -> Target:
    await store.writer.write(creating(**spec))
    return Target(REF.kind, REF.namespace, REF.name, (await live(store))["metadata"]["uid"])


def seed(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": REF.namespace, "name": REF.name, **({"labels": labels} if labels else {})}
    return {"apiVersion": API_VERSION, "kind": "KmsKey", "metadata": metadata, "spec": spec}


NOBODY = Target(REF.kind, REF.namespace, REF.name, "")
OTHER = Target(REF.kind, REF.namespace, REF.name, "another-uid")


# Creating


async def test_what_the_api_creates_says_so(store: SqliteStore) -> None:
    await made(store, **HMAC, description="d")
    body = await live(store)
    assert body["metadata"]["labels"] == {CREATED_BY: "api"}
    assert body["spec"]["description"] == "d"
    assert body["spec"]["pendingWindowInDays"] == 30


async def test_a_create_that_is_tried_again_finds_its_object(store: SqliteStore) -> None:
    await made(store, **HMAC)
    before = await live(store)
    await store.writer.write(creating(**HMAC))
    assert await live(store) == before


@pytest.mark.parametrize("spec", [{}, HMAC | {"description": "d"}], ids=["other", "more"])
async def test_a_create_with_another_spec_is_a_conflict(store: SqliteStore, spec: dict[str, Any]) -> None:
    await made(store, **HMAC)
    with pytest.raises(ConflictError):
        await store.writer.write(creating(**spec))


async def test_a_create_under_a_name_that_somebody_else_took_is_a_conflict(store: SqliteStore) -> None:
    await store.writer.apply(seed(**HMAC))
    with pytest.raises(ConflictError):
        await store.writer.write(creating(**HMAC))


async def test_a_create_finds_no_object_that_is_being_deleted(store: SqliteStore) -> None:
    target = await made(store, **HMAC)
    await store.objects.set_finalizers(REF, target.uid, (await live(store))["metadata"]["resourceVersion"], (IN_USE,))
    await store.objects.delete(REF, target.uid)
    with pytest.raises(ConflictError):
        await store.writer.write(creating(**HMAC))


async def test_a_create_in_a_namespace_that_is_not_there_is_refused(store: SqliteStore) -> None:
    with pytest.raises(NotFoundError, match="elsewhere"):
        await store.writer.write(CreateObject(Kind.KEY, "elsewhere", "k", {}))


async def test_a_create_that_admission_refuses_leaves_nothing(store: SqliteStore) -> None:
    with pytest.raises(RefusedError, match=r"spec\.keyUsage: keyUsage ENCRYPT_DECRYPT does not fit"):
        await store.writer.write(creating(keySpec="HMAC_256"))
    assert await store.objects.get(REF) is None


async def test_of_two_creates_at_once_both_find_one_object(store: SqliteStore) -> None:
    await asyncio.gather(store.writer.write(creating(**HMAC)), store.writer.write(creating(**HMAC)))
    assert (await live(store))["metadata"]["generation"] == 1


# Fields


async def test_only_the_named_fields_change_and_none_takes_one_away(store: SqliteStore) -> None:
    target = await made(store, description="d", rotation={"enabled": True, "periodInDays": 90})
    await store.writer.write(SetFields(target, {"rotation": {"enabled": False}, "description": None, "enabled": False}))
    body = await live(store)
    assert body["spec"]["rotation"] == {"enabled": False}
    assert body["spec"]["enabled"] is False
    assert "description" not in body["spec"]
    assert body["metadata"]["generation"] == 2


async def test_an_immutable_field_is_refused_and_nothing_else_of_the_write_happens(store: SqliteStore) -> None:
    target = await made(store, region="here")
    before = await live(store)
    with pytest.raises(RefusedError, match=r"spec\.region: region is immutable"):
        await store.writer.write(SetFields(target, {"region": "there", "enabled": False}))
    assert await live(store) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda target: SetFields(target, {"enabled": False}),
        lambda target: SetTags(target, {"a": "b"}),
        lambda target: Annotate(target, {"example.com/a": "b"}),
    ],
    ids=["fields", "tags", "annotations"],
)
async def test_a_write_is_for_the_object_that_was_authorised(store: SqliteStore, write: Any) -> None:
    with pytest.raises(NotFoundError):
        await store.writer.write(write(OTHER))
    await made(store)
    before = await live(store)
    for target in (OTHER, NOBODY):
        with pytest.raises(ConflictError):
            await store.writer.write(write(target))
    assert await live(store) == before


async def test_an_orphan_gets_an_object_with_the_fields_in_it(store: SqliteStore) -> None:
    write = SetFields(NOBODY, {"enabled": False}, seed(description="d"))
    await store.writer.write(write)
    body = await live(store)
    assert (body["spec"]["description"], body["spec"]["enabled"]) == ("d", False)
    assert "labels" not in body["metadata"]
    await store.writer.write(write)
    assert await live(store) == body
    with pytest.raises(ConflictError):
        await store.writer.write(SetFields(NOBODY, {"enabled": True}, seed(description="d")))


# Tags and annotations


async def test_tags_are_set_and_dropped_each_by_itself(store: SqliteStore) -> None:
    target = await made(store, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    await asyncio.gather(
        store.writer.write(SetTags(target, {"c": "3"}, frozenset({"a"}))), store.writer.write(SetTags(target, {"b": "4", "d": ""}))
    )
    assert {tag["key"]: tag["value"] for tag in (await live(store))["spec"]["tags"]} == {"b": "4", "c": "3", "d": ""}


async def test_the_last_tag_leaves_an_empty_list(store: SqliteStore) -> None:
    """Absent would mean that the record's tags stay."""
    target = await made(store, tags=[{"key": "a", "value": "1"}])
    await store.writer.write(SetTags(target, {}, frozenset({"a"})))
    assert (await live(store))["spec"]["tags"] == []


async def test_a_tag_too_many_is_refused(store: SqliteStore) -> None:
    target = await made(store, tags=[{"key": str(number)} for number in range(50)])
    with pytest.raises(RefusedError, match=r"spec\.tags"):
        await store.writer.write(SetTags(target, {"more": ""}))


async def test_annotations_are_added_and_move_no_generation(store: SqliteStore) -> None:
    target = await made(store)
    await store.writer.write(Annotate(target, {"example.com/a": "1"}))
    await store.writer.write(Annotate(target, {"example.com/b": "2"}))
    metadata = (await live(store))["metadata"]
    assert metadata["annotations"] == {"example.com/a": "1", "example.com/b": "2"}
    assert metadata["generation"] == 1


# Deleting


async def test_a_delete_is_of_this_object_only(store: SqliteStore) -> None:
    target = await made(store)
    await store.writer.write(DeleteObject(OTHER))
    await live(store)
    await store.writer.write(DeleteObject(target))
    await store.writer.write(DeleteObject(target))
    assert await store.objects.get(REF) is None


# Seeds


async def test_a_seed_that_is_applied_again_takes_nothing_back_that_the_api_wrote(store: SqliteStore) -> None:
    manifest = seed({"team": "a"}, description="seed", enabled=True, tags=[{"key": "a", "value": "1"}])
    await store.writer.apply(manifest)
    target = Target(REF.kind, REF.namespace, REF.name, (await live(store))["metadata"]["uid"])
    await store.writer.write(SetFields(target, {"enabled": False, "description": None}))
    await store.writer.apply(seed({"team": "b"}, description="again", enabled=True, tags=[{"key": "a", "value": "2"}]))
    body = await live(store)
    assert body["metadata"]["labels"] == {"team": "b"}
    assert body["spec"]["enabled"] is False
    assert "description" not in body["spec"]
    assert body["spec"]["tags"] == [{"key": "a", "value": "2"}]


async def test_what_a_seed_no_longer_says_goes(store: SqliteStore) -> None:
    await store.writer.apply(seed(description="seed", enabled=False))
    await store.writer.apply(seed(enabled=False))
    assert "description" not in (await live(store))["spec"]


async def test_a_seed_writes_no_status(store: SqliteStore) -> None:
    await store.writer.apply(seed() | {"status": {"keyId": "forged"}})
    assert (await live(store))["status"] == {"observedGeneration": -1}


# Stalled


def condition(kind: str, status: str, generation: int) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "Why", "message": "what to do", "observedGeneration": generation}


@pytest.mark.parametrize(
    ("conditions", "answer"),
    [
        ([condition("Ready", "False", 1), condition("Stalled", "True", 1)], ("Why", "what to do")),
        ([condition("Stalled", "True", 0)], None),
        ([condition("Stalled", "False", 1)], None),
        ([], None),
    ],
    ids=["stalled", "of-an-older-spec", "no-more", "nothing-yet"],
)
async def test_stalled_speaks_of_the_spec_as_it_is(store: SqliteStore, conditions: Any, answer: Any) -> None:
    target = await made(store)
    await store.objects.apply_status(REF, target.uid, {"observedGeneration": 1, "conditions": conditions})
    assert await store.writer.stalled(REF.kind, REF.namespace, REF.name) == answer
    assert await store.writer.stalled(REF.kind, REF.namespace, "other") is None

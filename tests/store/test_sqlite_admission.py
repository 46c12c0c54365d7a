"""The suite of manifests on the store of `keystead dev`: the verdicts that test_crds_on_api_server.py asks of an API server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from tests.resources.manifests import ROWS, SPECS, STRICT_ROWS, Row, manifest
from tests.resources.test_rules import plain

from keystead.errors import RefusedError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.crd import KINDS
from keystead.resources.rules import RULES
from keystead.store.sqlite.store import SqliteStore

_numbers = count()


@pytest.fixture
async def store() -> Iterator[SqliteStore]:
    made = SqliteStore(None)
    await made.objects.ensure_namespace("default")
    yield made
    made.close()


async def send(store: SqliteStore, kind: str, name: str, spec: Any) -> dict[str, Any]:
    """Made, or changed, as somebody's manifest."""
    body = manifest(kind, name or f"m{next(_numbers)}", spec)
    body["metadata"]["namespace"] = "default"
    await store.writer.apply(body)
    found = await store.objects.get(ObjectRef(Kind(kind), "default", body["metadata"]["name"]))
    assert found is not None
    return found


async def attempt(store: SqliteStore, row: Row, name: str, spec: Any) -> dict[str, Any]:
    name = name or f"m{next(_numbers)}"
    if row.old is not None:
        await send(store, row.kind, name, row.old)
    return await send(store, row.kind, name, spec)


@pytest.mark.parametrize("row", (*ROWS, *STRICT_ROWS), ids=str)
async def test_good_manifest_is_accepted(store: SqliteStore, row: Row) -> None:
    assert (await attempt(store, row, row.good_name, row.good))["metadata"]["generation"] in (1, 2)


@pytest.mark.parametrize("row", (*ROWS, *STRICT_ROWS), ids=str)
async def test_bad_manifest_is_refused_and_the_field_named(store: SqliteStore, row: Row) -> None:
    with pytest.raises(RefusedError) as error:
        await attempt(store, row, row.bad_name, row.bad)
    said = str(error.value)
    assert re.search(rf"(^|\s){re.escape(row.field)}: ", plain(said)) or f'"{row.field}"' in said, said
    messages = [rule.message for rule in RULES if (rule.kind, rule.name) == (row.kind, row.rule)]
    assert all(message in said or message == "keyUsage does not fit keySpec" for message in messages), said


async def test_object_without_spec_is_refused(store: SqliteStore) -> None:
    for kind in KINDS:
        body = {name: value for name, value in manifest(kind.kind, "empty", {}).items() if name != "spec"}
        body["metadata"]["namespace"] = "default"
        with pytest.raises(RefusedError, match="spec: is required"):
            await store.writer.apply(body)


async def test_new_key_has_the_defaults_and_no_other(store: SqliteStore) -> None:
    body = await send(store, "KmsKey", "defaults", {})
    assert body["status"] == {"observedGeneration": -1}
    assert body["spec"] == {
        "keySpec": "SYMMETRIC_DEFAULT",
        "keyUsage": "ENCRYPT_DECRYPT",
        "origin": "AWS_KMS",
        "deletionPolicy": "Retain",
        "pendingWindowInDays": 30,
    }


async def test_a_window_of_a_rotation_has_its_default(store: SqliteStore) -> None:
    window = {"cron": "0 3 * * 6", "duration": "4h"}
    body = await send(store, "KmsKey", "window", {"rotation": {"windows": [window]}})
    assert body["spec"]["rotation"]["windows"] == [window | {"timezone": "UTC"}]


async def test_policy_keeps_what_no_schema_knows(store: SqliteStore) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "x", "Condition": {"Bool": {"a:b": True}}}]}
    assert (await send(store, "KmsKey", "policy", {"policy": policy}))["spec"]["policy"] == policy


async def test_a_null_is_as_if_the_field_were_not_there(store: SqliteStore) -> None:
    body = await send(store, "KmsKey", "null", {"description": None, "keySpec": None, "rotation": {"enabled": None}})
    assert body["spec"]["keySpec"] == "SYMMETRIC_DEFAULT"
    assert body["spec"]["rotation"] == {}
    assert "description" not in body["spec"]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": "Upper"}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"),
        ({"name": "a..b"}, "metadata.name"),
        ({"name": "x\n"}, "metadata.name"),
        ({}, "metadata.name"),
        ({"name": "x", "namespace": "a.b"}, "metadata.namespace"),
        ({"name": "x", "labels": {"a": 1}}, "metadata.labels"),
        ({"name": "x", "labels": {"a": "v" * 64}}, "metadata.labels"),
        ({"name": "x", "annotations": {"a b": "c"}}, "metadata.annotations"),
        ({"name": "x", "annotations": {"a": "v" * 262_144}}, "metadata.annotations"),
        ({"name": "x", "lables": {}}, "metadata.lables"),
    ],
    ids=str,
)
async def test_metadata_that_the_api_server_refuses_is_refused(store: SqliteStore, metadata: dict[str, Any], field: str) -> None:
    body = manifest("KmsAlias", "x", SPECS["KmsAlias"]) | {"metadata": {"namespace": "default"} | metadata}
    with pytest.raises(RefusedError, match=re.escape(field)):
        await store.writer.apply(body)
    assert store.objects.list_all(Kind.ALIAS) == []


@pytest.mark.parametrize("head", [{"kind": "Secret"}, {"kind": ["KmsKey"]}, {"apiVersion": "v1"}, {"apiVersion": None}], ids=str)
async def test_a_kind_that_is_not_ours_is_refused(store: SqliteStore, head: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="no kind"):
        await store.writer.apply(manifest("KmsKey", "x", {}) | head)


async def test_a_manifest_that_is_too_large_or_too_deep_is_refused(store: SqliteStore) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(RefusedError, match="deep"):
        await send(store, "KmsKey", "deep", {"policy": deep})
    while deep:  # taken apart by hand: the interpreter would do it recursively
        deep = deep.get("a")
    with pytest.raises(RefusedError, match="larger than"):
        await send(store, "KmsKey", "large", {"policy": {"Statement": "x" * 1_500_000}})

"""Bad input on a real API server (the table in docs/testing.md): a clear condition, nothing lost, and the next object is served."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from tests.operator.chaos import answer, drop_request
from tests.operator.desk import DATA_KEY, KEY, SECRET, CallError, Desk, desk
from tests.operator.direct import decoded, path_of
from tests.operator.harness import RECORDS, ROOT, Installation, condition
from tests.operator.harness import data_key as data_key_of
from tests.operator.harness import key as key_of

from keystead.engine.clock import format_time, parse_time
from keystead.engine.identifiers import RecordKind
from keystead.resources import names

pytestmark = pytest.mark.cluster
_number = itertools.count(1)
# Levels of JSON that the API server takes are 10,000, and its own metadata needs some.
DEEPEST = 9_900


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for all tests of this module, namespace `bad-input`, and the key `main`."""
    with desk(installation, "bad-input") as made:
        made.key("main")
        made.ready(KEY, "main")
        yield made


@pytest.fixture(autouse=True)
def the_next_is_served(at: Desk) -> Iterator[None]:
    """After each test a new key and a new data key become Ready, by the same operator process."""
    yield
    at.proxy.clear()
    at.proxy.shift_date(0)
    name = f"next-{next(_number)}"
    at.key(name)
    at.data_key(name, name)
    at.ready(DATA_KEY, name)


# Fields that are huge, deep, unknown, or look alike


def reason_of(at: Desk, name: str) -> str:
    """The reason of a key that no JSON parser of this process could read: by kubectl."""
    path = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}'
    return at.installation.cluster.kubectl("get", "kmskey", name, "-n", at.namespace, "-o", path)


def test_an_object_nested_as_deep_as_the_api_server_allows_stops_nobody(at: Desk) -> None:
    """Whoever may create one KmsKey must not end the operator, nor keep the next one from starting."""
    policy = '{"a":' * DEEPEST + "{}" + "}" * DEEPEST
    body = json.dumps(key_of(at.namespace, "deep", policy="POLICY")).replace('"POLICY"', policy)
    cluster = at.installation.cluster
    cluster.kubectl("create", "--validate=false", "--raw", path_of(KEY, at.namespace), "-f", "-", stdin=body)
    at.until("it is refused", lambda: reason_of(at, "deep") == "InvalidSpec")
    with at.installation.operator("reads-deep", at.proxy.url) as second:  # a first list has it too
        second.wait_ready()
    at.key("beside-deep")
    at.ready(KEY, "beside-deep")
    assert at.operator.child.poll() is None
    assert at.key_record("deep") is None
    cluster.kubectl("delete", "kmskey", "deep", "-n", at.namespace)


def test_a_policy_that_is_too_large_is_told_and_the_field_named(at: Desk) -> None:
    at.key("large", policy={"Version": "2012-10-17", "Statement": [{"Sid": "x" * 900_000}]})
    at.reason(KEY, "large", "InvalidSpec")
    assert "spec.policy: 900" in at.message(KEY, "large")
    assert at.key_record("large") is None
    at.merge(KEY, "large", spec={"policy": None})  # what it says to do helps
    at.ready(KEY, "large")


def test_an_object_with_every_field_at_its_bound_is_served(at: Desk) -> None:
    tags = [{"key": f"{n:03}" + "é" * 125, "value": "ü" * 256} for n in range(50)]
    at.key("bounds", description="鍵" * 8192, tags=tags)
    at.merge(KEY, "bounds", metadata={"annotations": {"example.com/huge": "x" * 250_000}})
    at.ready(KEY, "bounds")
    record = at.key_record("bounds")
    assert record is not None
    assert (len(record.tags), len(record.description)) == (50, 8192)
    context = {f"{n}" + "é" * 191: "ü" * 192 for n in range(8)}
    at.direct.create(data_key_of(at.namespace, "bounds", "bounds", "bounds", encryptionContext=context))
    at.ready(DATA_KEY, "bounds")
    assert json.loads(at.data("bounds")["meta.json"])["encryptionContext"] == context
    assert "bounds" in at.plaintexts()


def test_an_unknown_field_is_named_or_left_out(at: Desk) -> None:
    """Strict, as kubectl asks for it: refused. Else the API server leaves it out, and the key is served without it."""
    body = key_of(at.namespace, "unknown", colour="red", keySpce="RSA_2048")
    path = path_of(KEY, at.namespace)
    with pytest.raises(CallError, match=r'unknown field \\"spec.colour'):
        at.direct.call("POST", f"{path}?fieldValidation=Strict", body)
    at.direct.call("POST", f"{path}?fieldValidation=Ignore", body)
    at.ready(KEY, "unknown")
    assert not {"colour", "keySpce"} & set(at.get(KEY, "unknown")["spec"])


def test_context_keys_that_only_look_alike_are_two(at: Desk) -> None:
    """NFC and NFD of one letter: other bytes, other context. An empty key is refused, an empty value is not."""
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    contexts = {"twins": {nfc: "a", nfd: "b"}, "nfc": {nfc: "a"}, "nfd": {nfd: "a"}, "empty-value": {"k": ""}}
    for name, context in contexts.items():
        at.data_key(name, "main", encryptionContext=context)
    for name, context in contexts.items():
        at.ready(DATA_KEY, name)
        assert json.loads(at.data(name)["meta.json"])["encryptionContext"] == context
    assert set(contexts) <= set(at.plaintexts())  # each opens with its own context and none was normalised
    with pytest.raises(CallError, match=r"spec.encryptionContext"):
        at.data_key("empty-key", "main", encryptionContext={"": "v"})


# Status edited by somebody with `patch status`

# What names the record: forged, it is an integrity fault of that object alone, until somebody takes the forged value away.
IDENTITY = {KEY: {"keyId", "recordSeq", "recordDigest"}, DATA_KEY: {"recordSeq", "recordDigest"}}
MOVES = {"lastHandledReconcileAt"}  # answers whoever asked last: changes with every look
# The operator carries it along and does not know it: written by whoever answers calls, read by nobody of ours.
CARRIED = {KEY: {"lastUsedTime"}, DATA_KEY: set()}
FORGED: dict[str, Any] = {"string": "forged", "integer": 999, "array": [], "object": {}, "date-time": "2020-01-01T00:00:00Z"}


def forgeries(kind: str) -> dict[str, Any]:
    """Status field -> a value that its schema allows, for every field that the CRD has."""
    crd = yaml.safe_load((ROOT / f"crds/kms.keystead.io_{kind.lower()}s.yaml").read_text())
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    made = {name: FORGED[field.get("format", field["type"]).replace("int64", "integer")] for name, field in fields.items()}
    made |= {name: field["enum"][-1] for name, field in fields.items() if "enum" in field}
    return made | {"recordDigest": "0" * 64} | {name: {"done": 9, "total": 9} for name in made if name == "rewrap"}


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """A status without what every look changes."""
    status = {name: value for name, value in body["status"].items() if name not in MOVES}
    kept = ("type", "status", "reason", "message", "observedGeneration")
    return status | {"conditions": [{name: each.get(name) for name in kept} for each in status["conditions"]]}


@pytest.mark.parametrize("kind", [KEY, DATA_KEY])
def test_no_edited_status_field_changes_record_or_secret(at: Desk, kind: str) -> None:
    name = f"edited-{kind.lower()}"
    at.key(name)
    at.data_key(name, name)
    at.ready(DATA_KEY, name)
    before = shown(at.look(kind, name))
    facts = (at.key_record(name), at.data_key_record(name), at.data(name))
    path, told = f"{path_of(kind, at.namespace, name)}/status", {}
    for field, value in forgeries(kind).items():
        at.direct.merge(path, {"status": {field: value}})
        after = shown(at.look(kind, name))
        assert (at.key_record(name), at.data_key_record(name), at.data(name)) == facts, field
        found = condition(at.get(kind, name))
        told[field] = found["reason"]
        if field in IDENTITY[kind] | CARRIED[kind]:
            at.direct.merge(path, {"status": {field: None}})
            after = shown(at.look(kind, name))
        assert after == before, field
    assert {field for field, reason in told.items() if reason != "Available"} == IDENTITY[kind]
    assert {told[field] for field in IDENTITY[kind]} == {"RecordIntegrity"}


# Records


def test_junk_among_the_records_hides_none(at: Desk) -> None:
    """Secrets that somebody with rights in keystead-records made: bare, huge, misnamed, of no kind."""
    key = at.direct.record(RecordKind.KEY, at.namespace, "main")
    junk = {
        "key-" + "0" * 40: {},
        "key-" + "1" * 40: {"record": base64.b64encode(b"[" * 700_000).decode(), "seal": ""},
        "key-" + "2" * 40: key["data"],  # a good record under another name
        "datakey-" + "3" * 40: key["data"],
        "orphan-junk": {"record": "e30=", "seal": "e30="},
        "anything": {"record": "", "seal": ""},
    }
    for name, data in junk.items():
        labels = {names.RECORD: "datakey" if name.startswith("datakey") else "key"}
        metadata = {"namespace": RECORDS, "name": name, "labels": labels, "annotations": {names.ALLOW_DELETION: "true"}}
        at.direct.create({"apiVersion": "v1", "kind": SECRET, "metadata": metadata, "type": key["type"], "data": data})
    try:
        at.look(KEY, "main")
        assert condition(at.get(KEY, "main"))["reason"] == "Available"
        with at.installation.operator("reads-junk", at.proxy.url) as second:  # a first list has them too
            second.wait_ready()
        listed = at.installation.keystead("records", "list", "-o", "json", check=False)
        assert listed.returncode == 4
        assert "main" in listed.stdout
        assert all(name in listed.stderr for name in junk if name.startswith(("key-", "orphan-")))
    finally:
        for name in junk:
            at.direct.call("DELETE", path_of(SECRET, RECORDS, name))


# The watches


def test_watches_that_are_too_old_are_begun_again(at: Desk) -> None:
    """410 in the stream, twice in a row for every watch: objects and records are seen all the same."""
    at.key("before-410")
    at.data_key("before-410", "before-410")
    at.ready(DATA_KEY, "before-410")
    streams = at.proxy.streams
    cut = at.proxy.rule(lambda r: r.watch, drop_request(), times=streams)
    gone = at.proxy.rule(lambda r: r.watch, answer(410), times=2 * streams)
    at.key("first-410")  # events, at which the open watches are cut
    at.ready(KEY, "first-410")
    at.rotate(KEY, "before-410")
    material = at.get(KEY, "before-410")["status"]["currentKeyMaterialId"]
    at.until("the re-wrap", lambda: at.get(DATA_KEY, "before-410")["status"]["keyMaterialId"] == material)
    assert cut.hits > 0
    assert gone.hits > 0


# Clocks


def shift_to(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("year", [1969, 9999])
def test_an_api_server_without_a_clock_dates_nothing(at: Desk, year: int) -> None:
    """A Date that cannot be is not believed: time goes on as it went."""
    at.key(f"kept-{year}", rotation={"enabled": True})
    at.ready(KEY, f"kept-{year}")
    at.proxy.shift_date(shift_to(datetime(year, 12, 30, tzinfo=UTC)))
    at.look(KEY, f"kept-{year}")
    at.key(f"born-{year}", rotation={"enabled": True})
    at.ready(KEY, f"born-{year}")
    kept, born = at.key_record(f"kept-{year}"), at.key_record(f"born-{year}")
    assert kept is not None
    assert born is not None
    assert kept.n_versions == 1
    assert abs(parse_time(born.created) - datetime.now(UTC)) < timedelta(hours=1)


def test_a_clock_that_runs_to_2038_and_back_rotates_once(at: Desk) -> None:
    """And a step back by two hours, in the middle of it, rotates nothing again; both versions open."""
    at.key("steps", rotation={"enabled": True, "periodInDays": 90})
    at.data_key("steps", "steps")
    at.ready(DATA_KEY, "steps")
    there = shift_to(datetime(2038, 1, 19, 4, tzinfo=UTC))
    for shift in (there, there - 7200, there, 0):
        at.proxy.shift_date(shift)
        for kind in (KEY, DATA_KEY, KEY):
            at.look(kind, "steps")
        record = at.key_record("steps")
        assert record is not None
        assert record.n_versions == 2
    assert "2038-01-19" < record.current_version.created < format_time(datetime(2038, 1, 21, tzinfo=UTC))
    assert "steps" in at.plaintexts()


def test_nothing_of_all_this_cost_a_record(at: Desk) -> None:
    """Last of this module: each record that was made opens, and each data key's plaintext is another."""
    secrets = at.direct.records()
    ours = [record for secret in secrets if (record := decoded(secret)) and getattr(record, "namespace", "") == at.namespace]
    assert len(ours) > 20
    found = [digest for digests in at.plaintexts().values() for digest in digests]
    assert len(found) == len(set(found)) > 8

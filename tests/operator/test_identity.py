"""One key id for a name, for ever: objects that come and go within milliseconds, restores without a status, records that nobody lists."""

from __future__ import annotations

import http.client
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

import pytest
from tests.operator.chaos import Gate, Request, hold
from tests.operator.desk import KEY, Desk, desk
from tests.operator.direct import bytes_of, path_of
from tests.operator.harness import DEADLINE, Installation, key

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import KeyRecord, decode

pytestmark = pytest.mark.cluster
ROUNDS = 200
NAMES = tuple(f"round-{n}" for n in range(8))


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    with desk(installation, "identity") as made:
        yield made


def key_ids(at: Desk) -> dict[str, set[str]]:
    """Name -> the ids of every key record that was stored for it since the proxy's log began."""
    found = defaultdict(set)
    for write in at.proxy.writes(lambda write: write.committed and "/secrets" in write.path and write.method in ("POST", "PUT")):
        if write.body["metadata"]["name"].startswith("key-"):
            record = decode(bytes_of(write.body), KeyRecord)
            if record.namespace == at.namespace:
                found[record.name].add(record.key_id)
    return found


def listed(at: Desk) -> dict[str, str]:
    """Name -> column `object` of this namespace's rows."""
    rows = json.loads(at.installation.keystead("records", "list", "-o", "json").stdout)
    return {row["name"]: row["object"] for row in rows if row["namespace"] == at.namespace}


def create_and_delete(at: Desk, connection: http.client.HTTPSConnection, name: str) -> float:
    """Seconds from the answer of the create to that of the delete, on a connection that stays open."""
    at.direct.send(connection, "POST", path_of(KEY, at.namespace), key(at.namespace, name))
    begun = time.monotonic()
    at.direct.send(connection, "DELETE", path_of(KEY, at.namespace, name))
    return time.monotonic() - begun


def test_two_hundred_quick_rounds_give_one_key_a_name_and_every_record_is_listed(at: Desk) -> None:
    at.proxy.clear()
    connection = at.direct.connect()
    try:
        lived = [create_and_delete(at, connection, NAMES[n % len(NAMES)]) for n in range(ROUNDS)]
    finally:
        connection.close()
    assert median(lived) < 0.05  # 3 ms where nothing else runs
    at.direct.create(key(at.namespace, "after"))  # the queue has come to the end of the rounds
    at.ready(KEY, "after")
    at.until("no record is bound to an object that is gone", lambda: all(not record.bound for record in records(at).values()))
    orphans = records(at)
    ids = key_ids(at)
    assert all(len(found) == 1 for found in ids.values())
    assert {name: {record.key_id} for name, record in orphans.items()} == {name: found for name, found in ids.items() if name != "after"}
    assert {name: held for name, held in listed(at).items() if name in NAMES} == dict.fromkeys(orphans, "none")
    for name in NAMES:
        at.key(name)
    for name in NAMES:
        key_id = at.ready(KEY, name)["status"]["keyId"]
        assert {key_id} == key_ids(at)[name]
        assert name not in orphans or key_id == orphans[name].key_id


def records(at: Desk) -> dict[str, KeyRecord]:
    """The rounds' records."""
    found = {name: at.key_record(name) for name in NAMES}
    return {name: record for name, record in found.items() if record is not None}


def test_an_object_deleted_while_its_key_is_made_leaves_one_orphan(at: Desk) -> None:
    """The record's create is on its way when the object goes."""
    at.proxy.clear()
    gate = Gate()
    at.proxy.rule(is_create_of_key, hold(gate))
    at.key("raced")
    assert gate.reached.wait(DEADLINE)
    at.delete(KEY, "raced")
    gate.go.set()
    orphan = at.until("an orphan", lambda: (record := at.key_record("raced")) and not record.bound and record)
    assert listed(at)["raced"] == "none"
    at.key("raced")
    assert at.ready(KEY, "raced")["status"]["keyId"] == orphan.key_id
    assert key_ids(at)["raced"] == {orphan.key_id}


def is_create_of_key(request: Request) -> bool:
    return request.method == "POST" and request.is_record and request.body["metadata"]["name"].startswith("key-")


def test_a_restore_without_status_is_the_same_key(at: Desk) -> None:
    """What a backup tool does: the object as it was, with another uid and no status, beside a record that went on."""
    at.key("restored", description="d")
    key_id = at.ready(KEY, "restored")["status"]["keyId"]
    backup = at.get(KEY, "restored")
    at.rotate(KEY, "restored")
    at.delete(KEY, "restored")
    backup["metadata"] = {"namespace": at.namespace, "name": "restored", "annotations": backup["metadata"].get("annotations", {})}
    del backup["status"]
    at.direct.create(backup)
    status = at.ready(KEY, "restored")["status"]
    assert (status["keyId"], len(status["keyMaterials"])) == (key_id, 2)


def test_a_restore_with_an_older_status_is_the_same_key(at: Desk) -> None:
    """A status is a view: an older one is brought up to date by the record, which is never the older one here."""
    at.key("older")
    old = at.ready(KEY, "older")["status"]
    at.rotate(KEY, "older")
    at.direct.merge(f"{path_of(KEY, at.namespace, 'older')}/status", {"status": old})
    at.look(KEY, "older")
    status = at.ready(KEY, "older")["status"]
    assert (status["keyId"], status["recordSeq"], len(status["keyMaterials"])) == (old["keyId"], old["recordSeq"] + 1, 2)


def test_a_record_is_never_made_twice_for_two_objects_of_one_name(at: Desk) -> None:
    """The first object's create of the record is held; the object is deleted and made again; then it arrives."""
    at.proxy.clear()
    gate = Gate()
    at.proxy.rule(is_create_of_key, hold(gate))
    at.key("twice")
    assert gate.reached.wait(DEADLINE)
    at.delete(KEY, "twice")
    at.key("twice")
    gate.go.set()
    key_id = at.ready(KEY, "twice")["status"]["keyId"]
    assert key_ids(at)["twice"] == {key_id}
    assert at.direct.record(RecordKind.KEY, at.namespace, "twice") is not None

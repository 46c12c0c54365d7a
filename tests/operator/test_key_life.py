"""The life of a key on a real API server: deletion with dependants, windows, holds, and destruction end to end.

Many keys at once, namespaces and CRDs that go: test_mass_deletion.py. The operator's windows have a fast clock (fastclock.py).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import UNSET
from tests.operator import fastclock
from tests.operator.caller import Caller, RefusedError, caller
from tests.operator.desk import ALIAS, DATA_KEY, DAY, GRANT, HOLD, KEY, Desk, desk
from tests.operator.harness import Installation, condition

from keystead.engine.identifiers import orphan_name, root_arn
from keystead.engine.record import KeyRecord
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

pytestmark = pytest.mark.cluster
WEEK = {"pendingWindowInDays": 7}
SCHEDULED: dict[str, Any] = {"deletionPolicy": "ScheduleDeletion", **WEEK}
USERS = (ALIAS, GRANT, DATA_KEY)


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for all tests of this module, and namespace `key-life`. It looks at everything each second."""
    with desk(installation, "key-life", fastclock.PROGRAM, refresh_period="1") as made:
        yield made


@pytest.fixture(scope="module")
def kms(installation: Installation) -> Iterator[Caller]:
    with caller(installation) as made:
        yield made


def born(at: Desk, name: str, **spec: Any) -> str:
    at.key(name, **spec)
    return str(at.ready(KEY, name)["status"]["keyId"])


def record(at: Desk, name: str) -> KeyRecord:
    found = at.key_record(name)
    assert found is not None
    return found


def root(at: Desk, name: str) -> str:
    """The principal of the key's namespace."""
    return root_arn(record(at, name).account)


def state(at: Desk, name: str, wanted: KeyState) -> KeyRecord:
    return at.until(f"{name} is {wanted}", lambda: (found := record(at, name)).state is wanted and found)


def finalizers(at: Desk, name: str) -> list[str]:
    return list(at.get(KEY, name)["metadata"].get("finalizers") or [])


def used(at: Desk, name: str) -> None:
    """An alias, a grant and a data key of the key's name, Ready; and the finalizer that they bring."""
    at.named(ALIAS, name, aliasName=f"alias/{name}", keyRef={"name": name})
    at.named(GRANT, name, keyRef={"name": name}, serviceAccountRef={"name": "app"}, operations=["Decrypt"])
    at.data_key(name, name)
    for kind in USERS:
        at.ready(kind, name)
    at.until("the finalizer", lambda: names.IN_USE in finalizers(at, name))


def deletes(at: Desk, name: str) -> subprocess.Popen[str]:
    """kubectl delete, which waits for the object's end."""
    cluster = at.installation.cluster
    return subprocess.Popen(
        [str(cluster.binaries["kubectl"]), "delete", "kmskey", name, "-n", at.namespace, "--timeout=60s"],
        env=cluster.environment,
        stdout=subprocess.PIPE,
        text=True,
    )


# Deletion with dependants


def test_a_key_in_use_works_on_until_its_last_dependant_goes(at: Desk, kms: Caller) -> None:
    key_id = born(at, "in-use", **SCHEDULED)
    used(at, "in-use")
    blob = kms.encrypt(root(at, "in-use"), key_id, b"plain")
    with deletes(at, "in-use") as kubectl:
        body = at.reason(KEY, "in-use", "InUse")
        assert all(f"{kind} in-use" in at.message(KEY, "in-use") for kind in USERS)
        assert body["status"]["dependents"] == {"aliases": 1, "grants": 1, "dataKeys": 1}
        assert kms.decrypt(root(at, "in-use"), kms.encrypt(root(at, "in-use"), "alias/in-use", b"new")) == b"new"
        assert record(at, "in-use").state is KeyState.ENABLED
        for kind in USERS:
            assert kubectl.poll() is None
            at.delete(kind, "in-use")
        assert kubectl.wait(60) == 0
    pending = state(at, "in-use", KeyState.PENDING_DELETION)
    assert (pending.key_id, pending.bound) == (key_id, False)
    with pytest.raises(RefusedError, match="pending deletion"):
        kms.decrypt(root(at, "in-use"), blob)
    at.key("in-use", **SCHEDULED)
    assert at.reason(KEY, "in-use", "Disabled")["status"]["keyId"] == key_id
    at.merge(KEY, "in-use", spec={"enabled": True})
    at.ready(KEY, "in-use")
    assert kms.decrypt(root(at, "in-use"), blob) == b"plain"


def test_a_finalizer_taken_by_hand_leaves_a_key_that_decrypts_until_the_last_dependant_goes(at: Desk, kms: Caller) -> None:
    key_id = born(at, "by-hand", **SCHEDULED)
    used(at, "by-hand")
    blob = kms.encrypt(root(at, "by-hand"), key_id, b"plain")
    at.delete(KEY, "by-hand")
    at.reason(KEY, "by-hand", "InUse")
    at.merge(KEY, "by-hand", metadata={"finalizers": None})
    orphan = at.until("an orphan", lambda: not (found := record(at, "by-hand")).bound and found)
    assert orphan.state is KeyState.ENABLED
    assert kms.decrypt(root(at, "by-hand"), blob) == b"plain"
    with pytest.raises(RefusedError, match="has no KmsKey object"):
        kms.encrypt(root(at, "by-hand"), key_id, b"new")
    at.delete(ALIAS, "by-hand")
    at.delete(GRANT, "by-hand")
    at.until("the grant's record goes", lambda: at.grant_record("by-hand") is None)
    assert record(at, "by-hand").state is KeyState.ENABLED
    at.delete(DATA_KEY, "by-hand")
    state(at, "by-hand", KeyState.PENDING_DELETION)


# Scheduled, cancelled, held


def test_a_scheduled_deletion_stops_use_at_once_and_can_be_cancelled_in_two_ways(at: Desk, kms: Caller) -> None:
    key_id = born(at, "scheduled")
    used_by = root(at, "scheduled")
    blob = kms.encrypt(used_by, key_id, b"plain")
    at.merge(KEY, "scheduled", spec={"scheduledDeletion": WEEK})
    body = at.reason(KEY, "scheduled", "PendingDeletion")
    assert (condition(body, "DeletionScheduled") or {})["status"] == "True"
    assert body["status"]["deletionTime"] == record(at, "scheduled").deletion_date
    with pytest.raises(RefusedError, match="pending deletion"):
        kms.decrypt(used_by, blob)
    at.annotate(KEY, "scheduled", names.CANCEL_DELETION, "true")
    at.reason(KEY, "scheduled", "Disabled")
    longer = {"scheduledDeletion": {"pendingWindowInDays": 8}}
    at.merge(KEY, "scheduled", metadata={"annotations": {names.CANCEL_DELETION: None}}, spec=longer)
    at.reason(KEY, "scheduled", "PendingDeletion")
    at.merge(KEY, "scheduled", spec={"scheduledDeletion": None, "enabled": True})
    at.ready(KEY, "scheduled")
    assert kms.decrypt(used_by, blob) == b"plain"
    told = at.direct.events(at.namespace, body["metadata"]["uid"])
    assert (told.count("DeletionScheduled"), told.count("DeletionCancelled")) == (2, 2)


def test_a_hold_stands_beside_a_window(at: Desk) -> None:
    born(at, "held-and-pending", **SCHEDULED)
    at.annotate(KEY, "held-and-pending", HOLD, "incident-9")
    at.reason(KEY, "held-and-pending", "Held")
    at.delete(KEY, "held-and-pending")
    assert state(at, "held-and-pending", KeyState.PENDING_DELETION).hold is not UNSET
    at.key("held-and-pending", enabled=True, **SCHEDULED)
    body = at.reason(KEY, "held-and-pending", "Held")
    assert body["status"]["keyState"] == "Disabled"
    at.annotate(KEY, "held-and-pending", HOLD, "released")
    at.ready(KEY, "held-and-pending")


# Destruction


def test_a_key_is_destroyed_when_its_end_was_seen_twice_and_a_new_one_takes_its_name(at: Desk, kms: Caller) -> None:
    """End to end: eight days pass, then ten minutes; what the API made goes with its key; the tombstone moves out of the way."""
    key_id = born(at, "ends")
    made = born(at, "made-by-the-api")
    at.merge(KEY, "made-by-the-api", metadata={"labels": {names.CREATED_BY: names.CREATED_BY_API}})
    orphaned = born(at, "ends-without-object", **SCHEDULED)
    caller_arn = root(at, "ends")
    blob = kms.encrypt(caller_arn, key_id, b"plain")
    used(at, "ends-without-object")
    for kind in USERS:
        at.delete(kind, "ends-without-object")
    at.delete(KEY, "ends-without-object")
    for name in ("ends", "made-by-the-api"):
        at.merge(KEY, name, spec={"scheduledDeletion": WEEK})
    uid = at.reason(KEY, "ends", "PendingDeletion")["metadata"]["uid"]
    state(at, "made-by-the-api", KeyState.PENDING_DELETION)
    state(at, "ends-without-object", KeyState.PENDING_DELETION)
    try:
        _pass_the_end(at, "ends", "made-by-the-api", "ends-without-object")
        dead = record(at, "ends")
        body = at.reason(KEY, "ends", "KeyDestroyed")
        at.until("the API's object is gone", lambda: at.get(KEY, "made-by-the-api") is None)
    finally:
        at.proxy.shift_date(0)
    assert {dead.key_id, made, orphaned} == {key_id, made, orphaned}
    assert [(version.wrapped, version.plain_len) for version in dead.versions] == [(UNSET, UNSET)]
    assert (body["status"]["keyState"], (condition(body, "Stalled") or {})["status"]) == ("Destroyed", "True")
    told = at.direct.events(at.namespace, uid)
    assert (told.count("DeletionScheduled"), told.count("Destroyed")) == (1, 1)
    assert _ends_on_record(at, key_id) == ["begins", "done"]
    for call in (lambda: kms.decrypt(caller_arn, blob), lambda: kms.encrypt(caller_arn, key_id, b"new")):
        with pytest.raises(RefusedError):
            call()
    _new_key_under_the_name(at, kms, key_id, blob)


def _ends_on_record(at: Desk, key_id: str) -> list[str]:
    """The phases of DeleteKey that the operator's audit trail has of a key, in its order."""
    lines = [line for line in at.operator.text.splitlines() if '"DeleteKey"' in line and key_id in line]
    return [json.loads(line)["serviceEventDetails"]["phase"] for line in lines if line.startswith('{"keysteadType"')]


def _pass_the_end(at: Desk, *keys: str) -> None:
    """Eight days in one step: the end is seen, and nothing happens. Then both clocks run, 600 times as fast."""
    at.proxy.shift_date(8 * DAY)
    for _ in range(2):
        at.look(KEY, keys[0])
    assert record(at, keys[0]).state is KeyState.PENDING_DELETION
    began = time.monotonic()

    def ended() -> bool:
        at.proxy.shift_date(8 * DAY + fastclock.FASTER * (time.monotonic() - began))
        return all(record(at, key).state is KeyState.DESTROYED for key in keys)

    at.until("all are destroyed", ended)


def _new_key_under_the_name(at: Desk, kms: Caller, old: str, blob: bytes) -> None:
    at.merge(KEY, "ends", spec={"scheduledDeletion": None})
    at.look(KEY, "ends")
    assert record(at, "ends").key_id == old  # not unasked
    at.annotate(KEY, "ends", names.NEW_KEY_AFTER_DESTRUCTION, old)
    new = str(at.ready(KEY, "ends")["status"]["keyId"])
    assert new != old
    tombstone = at.direct.object("Secret", "keystead-records", orphan_name(old))
    assert tombstone is not None
    assert kms.decrypt(root(at, "ends"), kms.encrypt(root(at, "ends"), new, b"x")) == b"x"
    with pytest.raises(RefusedError):
        kms.decrypt(root(at, "ends"), blob)


def test_a_clock_that_jumps_a_month_and_back_ends_nothing(at: Desk) -> None:
    born(at, "jumped")
    at.merge(KEY, "jumped", spec={"scheduledDeletion": WEEK})
    at.reason(KEY, "jumped", "PendingDeletion")
    for _ in range(2):
        at.proxy.shift_date(30 * DAY)
        at.look(KEY, "jumped")
        at.proxy.shift_date(0)
        at.look(KEY, "jumped")
    assert record(at, "jumped").state is KeyState.PENDING_DELETION

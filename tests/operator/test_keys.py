"""KmsKey on a real API server: birth, changes in place, rotation, deletion and return, tenants, holds, a lost CRD."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from tests.operator.desk import DAY, HOLD, KEY, Desk, desk
from tests.operator.direct import CallError, path_of
from tests.operator.harness import ROOT, Installation, condition, key

from keystead.resources.vocabulary import USAGES, KeySpec, KeyState

pytestmark = pytest.mark.cluster
UNSUPPORTED = KeySpec.ECC_NIST_EDWARDS25519  # on SoftHSM (HSM.md A5), where software protection is not allowed
SUPPORTED = tuple(spec for spec in KeySpec if spec is not UNSUPPORTED)
# Everybody in the account may replace it, as RBAC says, and nobody may do anything else.
_REPLACED = {"Effect": "Allow", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*"}
CLOSED_POLICY = {"Version": "2012-10-17", "Id": "mine", "Statement": [_REPLACED]}


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for all tests of this module, and namespace `keys`."""
    with desk(installation, "keys") as made:
        yield made


def born(at: Desk, name: str, **spec: Any) -> str:
    """A key that is Ready; its id."""
    at.key(name, **spec)
    return str(at.ready(KEY, name)["status"]["keyId"])


def kstatus(body: dict[str, Any]) -> list[str]:
    """Status of Ready, Reconciling, Stalled."""
    return [(condition(body, kind) or {})["status"] for kind in ("Ready", "Reconciling", "Stalled")]


# Birth


def test_every_key_spec_of_the_token_becomes_ready(at: Desk) -> None:
    names = {spec: f"spec-{spec.value.lower().replace('_', '-')}" for spec in SUPPORTED}
    for spec, name in names.items():
        at.key(name, keySpec=spec.value, keyUsage=USAGES[spec][-1].value)
    for spec, name in names.items():
        status = at.ready(KEY, name)["status"]
        assert status["protectionLevel"] == "TOKEN"
        assert ("publicKey" in status) is spec.value.startswith(("RSA", "ECC"))
    assert len({at.get(KEY, name)["status"]["keyId"] for name in names.values()}) == len(names)


def test_an_unsupported_spec_is_told_and_makes_no_record(at: Desk) -> None:
    at.key("unsupported", keySpec=UNSUPPORTED.value, keyUsage="SIGN_VERIFY")
    body = at.reason(KEY, "unsupported", "KeySpecUnsupported")
    assert kstatus(body) == ["False", "False", "True"]
    assert "keyId" not in body["status"]
    assert at.key_record("unsupported") is None


def test_kubectl_wait_sees_a_key_ready(at: Desk) -> None:
    at.key("waited-for")
    at.installation.cluster.kubectl("wait", "--for=condition=Ready", "kmskey/waited-for", "-n", at.namespace, "--timeout=60s")
    row = at.installation.cluster.kubectl("get", "kms", "-n", at.namespace, "--no-headers")
    assert "waited-for" in row


# Changes in place


def test_changes_are_carried_out_and_absent_fields_stay(at: Desk) -> None:
    key_id = born(at, "changes", description="first", tags=[{"key": "team", "value": "a"}])
    at.merge(KEY, "changes", spec={"description": "second", "enabled": False, "tags": [{"key": "team", "value": "b"}, {"key": "x"}]})
    body = at.reason(KEY, "changes", "Disabled")
    assert kstatus(body) == ["True", "False", "False"]  # its spec is carried out, as with a Deployment of 0 replicas
    assert body["status"]["keyState"] == "Disabled"
    record = at.key_record("changes")
    assert record is not None
    assert (record.description, record.tags, record.state) == ("second", {"team": "b", "x": ""}, KeyState.DISABLED)
    at.merge(KEY, "changes", spec={"description": None, "tags": None, "enabled": None})
    at.look(KEY, "changes")
    assert at.key_record("changes") == record
    at.merge(KEY, "changes", spec={"enabled": True})
    assert at.ready(KEY, "changes")["status"]["keyId"] == key_id


def test_immutable_fields_are_refused_by_the_api_server(at: Desk) -> None:
    born(at, "immutable")
    for field, value in {"keySpec": "HMAC_256", "keyUsage": "SIGN_VERIFY", "region": "elsewhere"}.items():
        with pytest.raises(CallError, match=field):
            at.merge(KEY, "immutable", spec={field: value})


def test_a_policy_other_than_the_default_is_in_the_record_as_it_was_given(at: Desk) -> None:
    at.key("policy", policy=CLOSED_POLICY)
    assert "policy" not in at.ready(KEY, "policy")["status"]
    record = at.key_record("policy")
    assert record is not None
    assert isinstance(record.policy, bytes)
    assert json.loads(record.policy) == CLOSED_POLICY


# Rotation


def test_a_request_rotates_once_and_the_old_material_stays(at: Desk) -> None:
    born(at, "on-demand")
    before = at.key_record("on-demand")
    status = at.rotate(KEY, "on-demand")["status"]
    record = at.key_record("on-demand")
    assert before is not None
    assert record is not None
    assert (record.n_versions, record.versions[0], record.on_demand_rotations) == (2, before.versions[0], 1)
    assert status["currentKeyMaterialId"] == record.versions[1].material_id
    assert [m["keyMaterialId"] for m in status["keyMaterials"]] == [v.material_id for v in reversed(record.versions)]
    at.look(KEY, "on-demand")
    assert at.key_record("on-demand") == record


def test_a_key_rotates_on_schedule_and_once(at: Desk) -> None:
    windows = [{"cron": "0 3 * * *", "timezone": "Europe/Berlin", "duration": "2h"}]
    names = ("scheduled", "in-a-window", "stopped", "switched-off")
    for name in names:
        at.key(name, rotation={"enabled": True, "periodInDays": 90, **({"windows": windows} if name == "in-a-window" else {})})
    due = {name: at.ready(KEY, name)["status"]["nextRotationTime"] for name in names}
    assert datetime.fromisoformat(due["in-a-window"]).astimezone(ZoneInfo("Europe/Berlin")).hour in (3, 4)  # 3:00 to 5:00
    at.merge(KEY, "stopped", spec={"enabled": False})
    at.reason(KEY, "stopped", "Disabled")
    at.proxy.shift_date(89 * DAY)
    assert "lastRotationTime" not in at.look(KEY, "scheduled")["status"]
    opened = datetime.fromisoformat(due["in-a-window"]) - datetime.now(UTC)
    at.proxy.shift_date(opened.total_seconds() + 60.0)
    at.look(KEY, "in-a-window")
    at.proxy.shift_date(92 * DAY)
    at.merge(KEY, "switched-off", spec={"rotation": {"enabled": False}})  # in the very pass that would rotate it
    for name in names * 2:
        at.look(KEY, name)
    rotations = {name: record.n_versions - 1 for name in names if (record := at.key_record(name)) is not None}
    assert rotations == {"scheduled": 1, "in-a-window": 1, "stopped": 0, "switched-off": 0}
    rotated = at.get(KEY, "scheduled")["status"]
    assert due["scheduled"] <= rotated["lastRotationTime"]
    at.proxy.shift_date(0)  # the clock steps back by three months
    at.look(KEY, "scheduled")
    record = at.key_record("scheduled")
    assert record is not None
    assert record.n_versions == 2


# Deletion and return


def orphaned(at: Desk, name: str) -> Any:
    """Delete a key; its record once it is an orphan's."""
    at.delete(KEY, name)
    return at.until(f"{name} is an orphan", lambda: (record := at.key_record(name)) and not record.bound and record)


def test_delete_and_apply_again_gives_the_same_key(at: Desk) -> None:
    key_id = born(at, "again", description="kept", tags=[{"key": "kept"}])
    record = orphaned(at, "again")
    assert (record.key_id, record.state, record.description) == (key_id, KeyState.ENABLED, "kept")
    assert born(at, "again") == key_id
    assert at.key_record("again").description == "kept"


def test_a_closed_key_does_not_come_back_open(at: Desk) -> None:
    at.key("closed", enabled=False, policy=CLOSED_POLICY)
    key_id = at.reason(KEY, "closed", "Disabled")["status"]["keyId"]
    orphaned(at, "closed")
    at.key("closed")
    status = at.reason(KEY, "closed", "Disabled")["status"]
    assert (status["keyId"], status["keyState"], status["policy"]) == (key_id, "Disabled", CLOSED_POLICY)


def test_another_spec_under_an_old_name_is_refused(at: Desk) -> None:
    born(at, "other-spec")
    orphaned(at, "other-spec")
    at.key("other-spec", keySpec="HMAC_256", keyUsage="GENERATE_VERIFY_MAC")
    at.reason(KEY, "other-spec", "InvalidSpec")
    assert "spec.keySpec" in at.message(KEY, "other-spec")


def test_a_lost_status_gives_the_same_key(at: Desk) -> None:
    key_id = born(at, "lost-status")
    cluster = at.installation.cluster
    body = at.get(KEY, "lost-status")
    body["status"] = {}
    cluster.kubectl("replace", "--subresource=status", "-f", "-", stdin=yaml.safe_dump(body))
    at.look(KEY, "lost-status")
    assert at.ready(KEY, "lost-status")["status"]["keyId"] == key_id
    record = at.key_record("lost-status")
    assert record is not None
    assert (record.seq, record.n_versions) == (1, 1)


def test_a_forged_status_changes_nothing_that_matters(at: Desk) -> None:
    at.key("forged", enabled=False)
    before = at.reason(KEY, "forged", "Disabled")["status"]
    record = at.key_record("forged")
    forged = {"keyState": "Enabled", "protectionLevel": "HSM", "keyArn": "arn:aws:kms:x", "nextRotationTime": "2020-01-01T00:00:00Z"}
    path = path_of(KEY, at.namespace, "forged")
    at.direct.merge(f"{path}/status", {"status": forged})
    at.until("the status is put right", lambda: at.get(KEY, "forged")["status"] == before)
    assert at.key_record("forged") == record


def test_a_status_that_names_another_key_hurts_only_its_own_object(at: Desk) -> None:
    other = born(at, "victim")
    born(at, "forger")
    record = at.key_record("forger")
    at.direct.merge(f"{path_of(KEY, at.namespace, 'forger')}/status", {"status": {"keyId": other}})
    at.reason(KEY, "forger", "RecordIntegrity")
    assert at.key_record("forger") == record
    at.look(KEY, "victim")
    assert condition(at.get(KEY, "victim"))["reason"] == "Available"


def test_an_object_made_again_within_a_moment_has_one_key(at: Desk) -> None:
    ids = set()
    for _ in range(5):
        at.key("quick")
        at.delete(KEY, "quick")
        at.key("quick")
        ids.add(at.ready(KEY, "quick")["status"]["keyId"])
        at.delete(KEY, "quick")
    assert len(ids) == 1


# Hold


def test_a_hold_latches_and_outlives_annotation_and_object(at: Desk) -> None:
    key_id = born(at, "held")
    at.annotate(KEY, "held", HOLD, "incident-7")
    body = at.reason(KEY, "held", "Held")
    assert (kstatus(body), body["status"]["keyState"]) == (["False", "False", "True"], "Disabled")
    at.annotate(KEY, "held", HOLD, None)
    at.merge(KEY, "held", spec={"enabled": True})
    at.look(KEY, "held")
    assert condition(at.get(KEY, "held"))["reason"] == "Held"
    orphan = orphaned(at, "held")
    assert orphan.hold.by == "incident-7"
    at.key("held", enabled=True)
    assert at.reason(KEY, "held", "Held")["status"]["keyId"] == key_id
    at.annotate(KEY, "held", HOLD, "released")
    at.ready(KEY, "held")


def test_a_suspended_key_can_be_held(at: Desk) -> None:
    born(at, "suspended")
    at.merge(KEY, "suspended", spec={"suspend": True, "description": "not carried out"})
    at.reason(KEY, "suspended", "Suspended")
    at.annotate(KEY, "suspended", HOLD, "incident-8")
    at.until("the hold is latched", lambda: getattr(at.key_record("suspended").hold, "by", None) == "incident-8")
    assert at.key_record("suspended").description == ""


# Tenants


def test_a_namespace_made_again_inherits_nothing(at: Desk) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}}
    tenant = Desk(at.installation, at.direct, at.proxy, at.operator, "tenant")
    at.direct.create(namespace)
    key_id = born(tenant, "theirs", description="secret plans")
    record = tenant.key_record("theirs")
    at.installation.cluster.kubectl("delete", "namespace", "tenant", "--timeout=60s")
    at.direct.create(namespace)
    tenant.key("theirs")
    body = tenant.reason(KEY, "theirs", "AdoptionRequired")
    told = json.dumps([body["status"], at.direct.get("/api/v1/namespaces/tenant/events")["items"]])
    assert record is not None
    assert all(word not in told for word in (key_id, record.account, "secret plans", record.created))
    tenant.merge(KEY, "theirs", spec={"suspend": True})
    assert "keyId" not in tenant.look(KEY, "theirs")["status"]
    assert tenant.key_record("theirs") == record
    assert born(tenant, "ours")
    ours = tenant.key_record("ours")
    assert ours is not None
    assert ours.account != record.account  # the next derivation: nothing of the old account is inherited
    tenant.clean()


# The CRD


@pytest.mark.powers("disposable")
def test_a_deleted_crd_loses_no_record_and_no_id(at: Desk) -> None:
    at.clean()
    key_id = born(at, "outlives")
    record = at.key_record("outlives")
    cluster = at.installation.cluster
    cluster.kubectl("delete", "crd", "kmskeys.kms.keystead.io", "--timeout=60s")
    cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds/kms.keystead.io_kmskeys.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/kmskeys.kms.keystead.io", "--timeout=60s")
    assert at.key_record("outlives") == record
    at.until("the API serves the kind", lambda: at.direct.get(path_of(KEY, at.namespace)) is not None)
    at.apply(key(at.namespace, "outlives"))
    assert at.ready(KEY, "outlives")["status"]["keyId"] == key_id
    after = at.key_record("outlives")
    assert after is not None
    assert record is not None
    assert after.crd_uid != record.crd_uid

"""Keystead's own keys on a real API server: alias/aws/keystead is made once, on first use, and is nobody's to change; audit-signing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tests.operator.caller import Caller, RefusedError, caller
from tests.operator.desk import DATA_KEY, DAY, HOLD, KEY, ROTATE, CallError, Desk, desk
from tests.operator.direct import path_of
from tests.operator.harness import RECORDS, Installation, key

from keystead.engine.identifiers import root_arn
from keystead.engine.managed import AUDIT_KEY, MANAGED_ALIAS, managed_policy
from keystead.resources import names

pytestmark = pytest.mark.cluster
MANAGED = "aws-keystead"


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for this module. Namespace `managed` keeps its key at the end: nobody may delete that."""
    with desk(installation, "managed-desk") as made:
        yield replace(made, namespace="managed")


@pytest.fixture(scope="module")
def kms(installation: Installation) -> Iterator[Caller]:
    with caller(installation) as made:
        yield made


@pytest.fixture(scope="module")
def managed(at: Desk) -> Any:
    """Two data keys that name no key, applied one after the other at once."""
    for name in ("first", "second"):
        at.named(DATA_KEY, name, target={"secretName": name})
    for name in ("first", "second"):
        at.ready(DATA_KEY, name)
    return at.ready(KEY, MANAGED)


def refusal(at: Desk, **patch: Any) -> str:
    with pytest.raises(CallError) as caught:
        at.merge(KEY, MANAGED, **patch)
    assert "403" in str(caught.value)
    return str(caught.value)


def test_two_data_keys_at_once_make_one_key(at: Desk, managed: Any) -> None:
    keys = at.direct.call("GET", path_of(KEY, at.namespace))["items"]
    assert [each["metadata"]["name"] for each in keys] == [MANAGED]
    arn = managed["status"]["keyArn"]
    assert {at.get(DATA_KEY, name)["status"]["keyArn"] for name in ("first", "second")} == {arn}
    assert managed["spec"]["policy"] == managed_policy(arn.split(":")[4])
    assert managed["spec"]["rotation"] == {"enabled": True, "periodInDays": 365}
    assert set(at.plaintexts()) == {"first", "second"}


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"enabled": False}},
        {"spec": {"policy": {"Version": "2012-10-17", "Statement": []}}},
        {"spec": {"policy": None}},
        {"spec": {"rotation": {"periodInDays": 90}}},
        {"spec": {"scheduledDeletion": {}}},
        {"spec": {"deletionPolicy": "ScheduleDeletion"}},
        {"metadata": {"annotations": {ROTATE: "now"}}},
        {"metadata": {"annotations": {names.BYPASS_LOCKOUT_CHECK: "true"}}},
        {"metadata": {"labels": {names.CREATED_BY: names.CREATED_BY_API}}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]}},
    ],
    ids=str,
)
def test_nobody_edits_it(at: Desk, managed: Any, patch: Any) -> None:
    assert "are not edited" in refusal(at, **patch)


def test_nobody_deletes_it_or_makes_one_of_such_a_name(at: Desk, managed: Any) -> None:
    for path in (path_of(KEY, at.namespace, MANAGED), path_of(KEY, at.namespace)):
        with pytest.raises(CallError, match="are not deleted"):
            at.direct.call("DELETE", path)
    with pytest.raises(CallError, match="names beginning aws- are Keystead's own"):
        at.direct.create(key("team-a", MANAGED))
    assert at.get(KEY, MANAGED)["metadata"]["uid"] == managed["metadata"]["uid"]


def test_a_responder_may_stop_it(at: Desk, managed: Any) -> None:
    at.annotate(KEY, MANAGED, HOLD, "true")
    at.reason(KEY, MANAGED, "Held")
    at.annotate(KEY, MANAGED, HOLD, "released")
    at.ready(KEY, MANAGED)


def test_no_application_of_the_account_uses_it_and_its_root_reads_it(at: Desk, managed: Any, kms: Caller) -> None:
    arn = managed["status"]["keyArn"]
    root = root_arn(arn.split(":")[4])
    record = at.data_key_record("first")
    assert record is not None
    with pytest.raises(RefusedError, match="AccessDeniedException"):
        kms.decrypt(root, record.versions[0].blob)
    with pytest.raises(RefusedError, match=r"AccessDeniedException.*kms:Encrypt"):
        kms.encrypt(root, MANAGED_ALIAS, b"x")
    shown = kms.call("DescribeKey", root, key_id=MANAGED_ALIAS)
    assert (shown["Arn"], shown["KeyManager"]) == (arn, "AWS")


def test_it_rotates_after_a_year_and_its_data_keys_follow(at: Desk, managed: Any) -> None:
    before, plaintexts = at.get(KEY, MANAGED)["status"]["currentKeyMaterialId"], at.plaintexts()
    try:
        at.proxy.shift_date(366 * DAY)
        at.annotate(KEY, MANAGED, "kms.keystead.io/reconcile-requested-at", "a-year-later")
        at.until("the rotation", lambda: at.get(KEY, MANAGED)["status"]["currentKeyMaterialId"] != before)
        material = at.get(KEY, MANAGED)["status"]["currentKeyMaterialId"]
        for name in ("first", "second"):
            at.until("the re-wrap", lambda name=name: at.get(DATA_KEY, name)["status"].get("keyMaterialId") == material)
    finally:
        at.proxy.shift_date(0)
    assert at.plaintexts() == plaintexts


# The key that signs the audit trail


@pytest.fixture(scope="module")
def signing(at: Desk) -> Any:
    own = replace(at, namespace=RECORDS)
    return own.ready(KEY, AUDIT_KEY)


def test_the_leader_makes_the_audit_key_whose_public_key_everybody_with_a_right_reads(signing: Any) -> None:
    assert load_pem_public_key(signing["status"]["publicKey"].encode())
    assert signing["spec"]["deletionPolicy"] == "Retain"
    assert signing["spec"]["keySpec"] == "ECC_NIST_P256"


def test_nobody_edits_or_deletes_it_and_nobody_makes_another_beside_it(at: Desk, signing: Any) -> None:
    own = replace(at, namespace=RECORDS)
    for patch in ({"spec": {"enabled": False}}, {"metadata": {"annotations": {HOLD: "true"}}}):
        with pytest.raises(CallError, match="are not edited"):
            own.merge(KEY, AUDIT_KEY, **patch)
    with pytest.raises(CallError, match="are not deleted"):
        own.delete(KEY, AUDIT_KEY)
    with pytest.raises(CallError, match="is for Keystead's own keys"):
        own.direct.create(key(RECORDS, "mine"))


def test_not_even_the_installs_own_root_finds_it(signing: Any, kms: Caller) -> None:
    arn = signing["status"]["keyArn"]
    root = root_arn(arn.split(":")[4])
    for operation in ("DescribeKey", "GetPublicKey"):
        with pytest.raises(RefusedError, match="NotFoundException"):
            kms.call(operation, root, key_id=arn)

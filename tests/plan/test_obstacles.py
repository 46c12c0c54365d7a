"""What stands against any work: every obstacle alone, and which one of two is told."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import NOW, OTHER_UID, UID
from tests.hsm.fake import FakeHsm
from tests.plan.facts import (
    DIGEST,
    a_data_key,
    a_data_key_version,
    a_kms_data_key,
    a_kms_key,
    a_secret,
    a_settled_key,
    data_key_facts,
    key_facts,
    the_secret,
)

from keystead.engine.plan.common import NamespaceFacts, Opened
from keystead.engine.plan.data_key import plan_data_key
from keystead.engine.plan.key import plan_key
from keystead.engine.plan.key_life import tombstone
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState

Changes = dict[str, Any]
NEWER_STATUS = {"recordSeq": 2, "recordDigest": DIGEST}
OTHER_STATUS = {"recordSeq": 1, "recordDigest": "00" * 32}
OTHER_SPACE = {"namespace": NamespaceFacts(OTHER_UID)}
LEAVING = {"namespace": NamespaceFacts(UID, terminating=True)}
BAD_WINDOW = {"windows": [{"cron": "0 3 30 2 *", "duration": "2h"}]}


def key_obstacle(hsm: FakeHsm, key: Changes, facts: Changes) -> tuple[Reason, str]:
    plan = plan_key(key_facts(hsm, key=a_kms_key(**key), **facts))
    assert plan.step is None
    assert plan.obstacle is not None
    return plan.obstacle.reason, plan.obstacle.message


def destroyed(hsm: FakeHsm) -> Changes:
    return {"record": a_settled_key(hsm, state=KeyState.DESTROYED)}


@pytest.mark.parametrize(
    ("key", "facts", "reason", "words"),
    [
        ({"status": {"keyId": "some"}}, {"record": None}, Reason.RECORD_INTEGRITY, "nothing was generated"),
        ({"status": NEWER_STATUS}, {"record": None}, Reason.RECORD_INTEGRITY, "does not exist"),
        ({"status": NEWER_STATUS}, {}, Reason.RECORD_INTEGRITY, "older record"),
        ({"status": OTHER_STATUS}, {}, Reason.RECORD_INTEGRITY, "differs"),
        ({"status": {"keyId": "forged"}}, {}, Reason.RECORD_INTEGRITY, "names another key"),
        ({}, OTHER_SPACE, Reason.ADOPTION_REQUIRED, "the name is taken"),
        ({"suspend": True}, {}, Reason.SUSPENDED, "suspend"),
        ({"suspend": True}, {"record": None}, Reason.SUSPENDED, "suspend"),
        ({}, {"record": None, **LEAVING}, Reason.CREATING, "being deleted"),
        ({}, {"record": None, "namespace": None}, Reason.CREATING, "being deleted"),
        ({"keySpec": "HMAC_256"}, {}, Reason.INVALID_SPEC, "spec.keySpec"),
        ({"keyUsage": "SIGN_VERIFY"}, {}, Reason.INVALID_SPEC, "spec.keyUsage"),
        ({"origin": "EXTERNAL"}, {}, Reason.INVALID_SPEC, "spec.origin"),
        ({"region": "elsewhere"}, {}, Reason.INVALID_SPEC, "spec.region"),
        ({}, {"record": None, "protection": None}, Reason.KEY_SPEC_UNSUPPORTED, "SYMMETRIC_DEFAULT"),
        ({"rotation": BAD_WINDOW}, {}, Reason.INVALID_SPEC, "spec.rotation.windows"),
        ({"rotation": BAD_WINDOW}, {"record": None}, Reason.INVALID_SPEC, "spec.rotation.windows"),
        ({"policy": {"Statement": "x" * 33_000}}, {}, Reason.INVALID_SPEC, "spec.policy"),
        ({}, {"record": None, "policy_fault": "spec.policy.Statement: x"}, Reason.INVALID_SPEC, "spec.policy.Statement"),
    ],
)
def test_an_obstacle_of_a_key_stops_all_work(
    hsm: FakeHsm, key: Changes, facts: Changes, reason: Reason, words: str
) -> None:
    told, message = key_obstacle(hsm, key, facts)
    assert told is reason
    assert words in message


def test_a_destroyed_key_gets_no_successor(hsm: FakeHsm) -> None:
    assert key_obstacle(hsm, {}, destroyed(hsm))[0] is Reason.KEY_DESTROYED


@pytest.mark.parametrize(
    ("key", "facts", "reason"),
    [
        ({"status": NEWER_STATUS, "suspend": True}, OTHER_SPACE, Reason.RECORD_INTEGRITY),
        ({"suspend": True, "keySpec": "HMAC_256"}, OTHER_SPACE, Reason.ADOPTION_REQUIRED),
        ({"suspend": True, "status": {"keyId": "forged"}}, {}, Reason.SUSPENDED),
        ({"status": {"keyId": "forged"}, "keySpec": "HMAC_256"}, {}, Reason.RECORD_INTEGRITY),
        ({"keySpec": "HMAC_256", "rotation": BAD_WINDOW}, {}, Reason.INVALID_SPEC),
    ],
)
def test_the_first_of_two_obstacles_of_a_key_is_told(hsm: FakeHsm, key: Changes, facts: Changes, reason: Reason) -> None:
    assert key_obstacle(hsm, key, facts)[0] is reason


def test_another_tenant_learns_only_that_the_name_is_taken(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm, description="secret plans", tags={"who": "team-a"})
    _, message = key_obstacle(hsm, {}, {"record": record, **OTHER_SPACE})
    assert all(word not in message for word in (record.key_id, record.account, "secret plans", "2026"))


def test_a_terminating_namespace_keeps_its_keys(hsm: FakeHsm) -> None:
    assert plan_key(key_facts(hsm, **LEAVING)).obstacle is None


# Data keys


def data_key_obstacle(hsm: FakeHsm, data_key: Changes, facts: Changes) -> tuple[Reason, str]:
    plan = plan_data_key(data_key_facts(hsm, data_key=a_kms_data_key(**data_key), **facts))
    assert plan.step is None
    assert plan.obstacle is not None
    return plan.obstacle.reason, plan.obstacle.message


@pytest.mark.parametrize(
    ("data_key", "facts", "reason", "words"),
    [
        ({"status": {"version": 1}}, {"record": None}, Reason.RECORD_INTEGRITY, "nothing was generated"),
        ({"status": NEWER_STATUS}, {}, Reason.RECORD_INTEGRITY, "older record"),
        ({}, OTHER_SPACE, Reason.ADOPTION_REQUIRED, "the name is taken"),
        ({"suspend": True}, {}, Reason.SUSPENDED, "suspend"),
        ({"keyRef": {"name": "k", "namespace": "team-b"}}, {}, Reason.REFERENCE_NOT_GRANTED, "does not let"),
        ({}, {"record": None, **LEAVING}, Reason.CREATING, "being deleted"),
        ({}, {"key": None}, Reason.RECORD_INTEGRITY, "the record of the key"),
        ({"dataKeySpec": "AES_128"}, {}, Reason.INVALID_SPEC, "spec.dataKeySpec"),
        ({"numberOfBytes": 32}, {}, Reason.INVALID_SPEC, "spec.dataKeySpec"),
        ({"target": {"secretName": "other"}}, {}, Reason.INVALID_SPEC, "spec.target.secretName"),
        ({"encryptionContext": {"a": "b"}}, {}, Reason.INVALID_SPEC, "spec.encryptionContext"),
        ({}, {"record": None, "key": None}, Reason.DEPENDENCY_NOT_FOUND, "spec.keyRef: KmsKey team-a/key-1 does not exist"),
    ],
)
def test_an_obstacle_of_a_data_key_stops_all_work(
    hsm: FakeHsm, data_key: Changes, facts: Changes, reason: Reason, words: str
) -> None:
    told, message = data_key_obstacle(hsm, data_key, facts)
    assert told is reason
    assert words in message


def without_key_ref(**spec: Any) -> Any:
    from keystead.resources.kms_data_key import parse_data_key

    metadata = {"name": "data-1", "namespace": "team-a", "uid": "object-1", "generation": 1}
    return parse_data_key({"metadata": metadata, "spec": {"target": {"secretName": "s"}, **spec}})


def test_a_data_key_by_an_alias_that_is_not_there_says_what_to_name(hsm: FakeHsm) -> None:
    plan = plan_data_key(data_key_facts(hsm, data_key=without_key_ref(aliasRef={"name": "a"}), record=None, key=None))
    assert plan.step is None
    assert plan.obstacle is not None
    assert plan.obstacle.reason is Reason.DEPENDENCY_NOT_FOUND
    assert plan.obstacle.message == "spec.aliasRef: KmsAlias team-a/a does not exist, or names no key yet"


def test_a_key_abroad_is_refused_in_the_same_words_whether_or_not_it_exists(hsm: FakeHsm) -> None:
    abroad = {"keyRef": {"name": "k", "namespace": "team-b"}}
    facts: list[Changes] = [{}, {"key": None}, {"record": None, "key": None}]
    assert len({data_key_obstacle(hsm, abroad, each) for each in facts}) == 1


@pytest.mark.parametrize("prefix", ["kms.keystead.io.data-1.ciphertext", "own"])
def test_a_secret_that_carries_a_data_key_without_a_record_is_an_integrity_fault(hsm: FakeHsm, prefix: str) -> None:
    data_key = a_kms_data_key()
    own = the_secret(data_key, a_data_key(a_settled_key(hsm)))
    secret = own if prefix == "own" else a_secret(data={prefix: b"blob"})
    told, message = data_key_obstacle(hsm, {}, {"record": None, "secret": secret})
    assert told is Reason.RECORD_INTEGRITY
    assert "nothing was generated" in message


def test_a_data_key_of_a_destroyed_key_says_so(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm)
    gone = tombstone(key, NOW)
    told, message = data_key_obstacle(hsm, {}, {"key": gone, "target": gone, "record": a_data_key(key)})
    assert told is Reason.KEY_DESTROYED
    assert key.key_id in message


def test_another_key_under_the_old_name_does_not_take_over(hsm: FakeHsm) -> None:
    told, message = data_key_obstacle(hsm, {}, {"key": a_settled_key(hsm, n=2), "record": a_data_key(a_settled_key(hsm))})
    assert told is Reason.INVALID_SPEC
    assert "another key" in message


UNUSABLE: list[tuple[Changes, Reason]] = [
    ({"namespace_uid": OTHER_UID, "bound": False}, Reason.DEPENDENCY_NOT_READY),
    ({"bound": False}, Reason.DEPENDENCY_NOT_FOUND),
    ({"held": True}, Reason.DEPENDENCY_NOT_READY),
    ({"state": KeyState.DISABLED}, Reason.DEPENDENCY_NOT_READY),
    ({"state": KeyState.PENDING_DELETION}, Reason.DEPENDENCY_NOT_READY),
]


@pytest.mark.parametrize(("change", "reason"), UNUSABLE)
def test_a_key_that_cannot_be_used_generates_nothing(hsm: FakeHsm, change: Changes, reason: Reason) -> None:
    assert data_key_obstacle(hsm, {}, {"record": None, "key": a_settled_key(hsm, **change)})[0] is reason


@pytest.mark.parametrize(("change", "reason"), UNUSABLE)
def test_a_key_that_cannot_be_used_leaves_the_secret_as_it_is(hsm: FakeHsm, change: Changes, reason: Reason) -> None:
    key = a_settled_key(hsm, **change)
    record = a_data_key(key, versions=[a_data_key_version()])  # under older material: a re-wrap is due
    assert data_key_obstacle(hsm, {}, {"key": key, "record": record})[0] is reason


def test_an_earlier_tenants_key_tells_nothing_of_its_state(hsm: FakeHsm) -> None:
    """The KmsKey of that name says AdoptionRequired; a data key under it says no more."""
    keys = [a_settled_key(hsm, namespace_uid=OTHER_UID, **change) for change in ({}, {"held": True}, {"bound": False})]
    keys.append(replace(keys[0], state=KeyState.DISABLED, enabled=False))
    said = {data_key_obstacle(hsm, {}, {"record": None, "key": key}) for key in keys}
    assert len(said) == 1


def test_a_key_of_another_spec_cannot_make_data_keys(hsm: FakeHsm) -> None:
    from keystead.resources.vocabulary import KeySpec

    told, message = data_key_obstacle(hsm, {}, {"record": None, "key": a_settled_key(hsm, spec=KeySpec.HMAC_256)})
    assert told is Reason.INVALID_SPEC
    assert "HMAC_256" in message


@pytest.mark.parametrize(
    ("data_key", "facts", "reason"),
    [
        ({"status": NEWER_STATUS, "suspend": True}, OTHER_SPACE, Reason.RECORD_INTEGRITY),
        ({"suspend": True, "keyRef": {"name": "k", "namespace": "team-b"}}, OTHER_SPACE, Reason.ADOPTION_REQUIRED),
        ({"suspend": True, "keyRef": {"name": "k", "namespace": "team-b"}}, {}, Reason.SUSPENDED),
        ({"keyRef": {"name": "k", "namespace": "team-b"}}, {"record": None, **LEAVING}, Reason.REFERENCE_NOT_GRANTED),
        ({"dataKeySpec": "AES_128"}, LEAVING, Reason.CREATING),
        ({"dataKeySpec": "AES_128"}, {"key": None}, Reason.RECORD_INTEGRITY),
    ],
)
def test_the_first_of_two_obstacles_of_a_data_key_is_told(
    hsm: FakeHsm, data_key: Changes, facts: Changes, reason: Reason
) -> None:
    assert data_key_obstacle(hsm, data_key, facts)[0] is reason


def test_a_status_of_the_same_record_is_no_obstacle(hsm: FakeHsm) -> None:
    key = a_kms_key(status={"recordSeq": 1, "recordDigest": DIGEST, "keyId": a_settled_key(hsm).key_id})
    facts = key_facts(hsm, key=key, opened=Opened("key-x", 1, DIGEST))
    assert plan_key(facts).obstacle is None

"""Births: what a write adds to what a plan decided, and the chain of records."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import ACCOUNT, NOW, REGION, UID, a_key_id
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_data_key, a_kms_key, a_settled_key, key_facts

from keystead.engine.births import (
    Birth,
    IssuedDataKey,
    data_key_version,
    issued_again,
    new_data_key_record,
    new_key_record,
    on_demand_versions,
    rewrapped,
    rotated,
    successor,
)
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.plan.key import CreateKey, plan_key
from keystead.engine.plan.key_settings import default_policy
from keystead.engine.ports import Generate, GeneratedMaterial
from keystead.engine.record import KeyRecord, decode, digest, encode
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage, Protection


def birth(hsm: FakeHsm) -> Birth:
    return Birth(domain=hsm, namespace_uid=UID, crd_uid="crd-1", account=ACCOUNT, region=REGION, transition=5, now=NOW)


def generated(hsm: FakeHsm, spec: KeySpec = KeySpec.SYMMETRIC_DEFAULT, usage: KeyUsage = KeyUsage.ENCRYPT_DECRYPT) -> GeneratedMaterial:
    made = hsm.slow(Generate(key_id_bytes(a_key_id()), spec, Protection.TOKEN, usage))
    assert isinstance(made, GeneratedMaterial)
    return made


def born(hsm: FakeHsm, **spec: Any) -> KeyRecord:
    key = a_kms_key(**spec)
    step = plan_key(key_facts(hsm, record=None, key=key)).step
    assert isinstance(step, CreateKey)
    return new_key_record(birth(hsm), key, a_key_id(), step.draft, step.protection, generated(hsm, key.spec.key_spec, key.spec.key_usage))


def test_a_born_key_is_what_its_plan_wants(hsm: FakeHsm) -> None:
    """A second pass over a new key has nothing to write: one record write makes a key."""
    for spec in ({}, {"description": "d", "tags": [{"key": "a"}], "enabled": False, "rotation": {"enabled": True}}):
        record = born(hsm, **spec)
        assert plan_key(key_facts(hsm, record=record, key=a_kms_key(**spec))).step is None


def test_a_born_key_is_whole(hsm: FakeHsm) -> None:
    record = born(hsm, enabled=False, policy=default_policy(ACCOUNT))
    assert (record.seq, record.prev, record.transition, record.namespace_uid) == (1, UNSET, 5, UID)
    assert (record.state, record.bound, record.policy, record.n_versions) == (KeyState.DISABLED, True, UNSET, 1)
    assert decode(encode(record), KeyRecord) == record


def test_a_rotation_adds_one_version_and_answers_its_request(hsm: FakeHsm) -> None:
    before = a_settled_key(hsm)
    scheduled, asked = rotated(before, generated(hsm), NOW, None), rotated(before, generated(hsm), NOW, "now")
    assert scheduled.versions[0] == before.versions[0]
    assert (scheduled.current, scheduled.n_versions, scheduled.on_demand_rotations) == (2, 2, 0)
    assert scheduled.last_rotate_request is UNSET
    assert (asked.on_demand_rotations, asked.last_rotate_request) == (1, "now")


def test_the_chain_of_records_is_unbroken(hsm: FakeHsm) -> None:
    record = born(hsm)
    for transition in (5, 5, 9):
        before = record
        record = successor(rotated(before, generated(hsm), NOW, None), before, digest(encode(before)), transition)
        assert (record.seq, record.prev, record.transition) == (before.seq + 1, digest(encode(before)), transition)
        assert decode(encode(record), KeyRecord) == record
    assert record.n_versions == 4


def test_versions_that_were_made_on_demand_are_noted(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm)
    for request in ("one", None, "two"):
        record = rotated(record, generated(hsm), NOW, request)
    assert on_demand_versions(record) == {2, 4}
    assert decode(encode(record), KeyRecord) == record


@pytest.mark.parametrize(("on_demand", "told"), [(0, frozenset()), (2, {2, 3}), (1, frozenset())])
def test_a_record_from_before_the_note_tells_only_where_all_were(hsm: FakeHsm, on_demand: int, told: set[int]) -> None:
    record = replace(a_settled_key(hsm, n_versions=3), on_demand_rotations=on_demand)
    assert on_demand_versions(record) == told


ISSUED = IssuedDataKey(b"blob", "arn:aws:kms:x", "11" * 32, None)


def test_a_data_keys_first_record_holds_its_version(hsm: FakeHsm) -> None:
    version = data_key_version(1, ISSUED, {"a": "b"}, NOW)
    record = new_data_key_record(birth(hsm), a_key_id(), ("team-a", "d", "uid"), ("AES_256", UNSET), "s", version)
    assert (record.versions, record.current, record.bound) == ([version], 1, True)
    assert (record.target.secret_name, record.target.injected, record.target.secret_uid) == ("s", False, UNSET)
    assert version.encryption_context == {"a": "b"}


def test_a_new_version_leaves_the_old_ones(hsm: FakeHsm) -> None:
    before = a_data_key(a_settled_key(hsm))
    record = issued_again(before, data_key_version(2, ISSUED, {}, NOW), a_settled_key(hsm), "now")
    assert record.versions[0] == before.versions[0]
    assert (record.current, record.n_versions, record.last_rotate_request) == (2, 2, "now")
    assert issued_again(before, data_key_version(2, ISSUED, {}, NOW), a_settled_key(hsm), None).last_rotate_request is UNSET


def test_a_rewrap_replaces_the_blob_of_one_version_and_nothing_else(hsm: FakeHsm) -> None:
    before = issued_again(a_data_key(a_settled_key(hsm)), data_key_version(2, ISSUED, {}, NOW), a_settled_key(hsm), None)
    record = rewrapped(before, 1, b"again", "arn:new", "22" * 32)
    one, two = record.versions
    assert (one.blob, one.key_arn, one.key_material_id, one.created) == (b"again", "arn:new", "22" * 32, before.created)
    assert two == before.versions[1]

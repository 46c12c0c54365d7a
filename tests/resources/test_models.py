"""Parsing: what is kept, what is told apart, what is refused, and that nothing else can happen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from tests.resources.manifests import SPECS, manifest

from keystead.errors import InvalidSpecError
from keystead.resources import parse_alias, parse_data_key, parse_grant, parse_key, parse_resource
from keystead.resources.conditions import Condition, ConditionStatus, find_condition, kstatus, merge_conditions
from keystead.resources.kms_key import KmsKeySpec
from keystead.resources.model import to_wire
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage

NOW = datetime(2026, 1, 1, tzinfo=UTC)

words = st.text(max_size=12) | st.sampled_from(["name", "key", "spec", "enabled", "rotation", "windows", "tags"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(words, below, max_size=4),
    max_leaves=12,
)


def test_an_empty_spec_is_a_symmetric_key() -> None:
    key = parse_key(manifest("KmsKey", "k", {}))
    assert (key.spec.key_spec, key.spec.key_usage) == (KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT)
    assert key.status.observed_generation == -1


@pytest.mark.parametrize("field", ["description", "enabled", "policy", "tags", "rotation", "region"])
def test_absent_is_told_from_set(field: str) -> None:
    values: dict[str, Any] = {
        "description": "",
        "enabled": False,
        "policy": {},
        "tags": [],
        "rotation": {},
        "region": "a",
    }
    assert getattr(parse_key(manifest("KmsKey", "k", {})).spec, field) is UNSET
    assert getattr(parse_key(manifest("KmsKey", "k", {field: values[field]})).spec, field) is not UNSET


def test_metadata_is_read_as_the_api_server_writes_it() -> None:
    body = manifest("KmsKey", "k", {})
    body["metadata"] |= {
        "namespace": "a",
        "uid": "u",
        "generation": 3,
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": "2026-01-02T00:00:00Z",
        "annotations": {"kms.keystead.io/hold": "x"},
        "finalizers": ["f"],
        "managedFields": [{"manager": "kubectl"}],
    }
    meta = parse_key(body).metadata
    assert (meta.namespace, meta.uid, meta.generation, meta.resource_version) == ("a", "u", 3, "7")
    assert meta.creation_timestamp == NOW
    assert meta.terminating
    assert (meta.annotations, meta.finalizers) == ({"kms.keystead.io/hold": "x"}, ("f",))


def test_a_read_only_mapping_is_read_too() -> None:
    body = MappingProxyType(manifest("KmsKey", "k", MappingProxyType({"enabled": True})))  # type: ignore[arg-type]
    assert parse_key(body).spec.enabled is True


def test_models_are_frozen() -> None:
    key = parse_key(manifest("KmsKey", "k", {}))
    with pytest.raises(AttributeError):
        key.spec.suspend = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "KmsKey"}, "spec"),
        ({"kind": "KmsKey", "spec": None}, "spec"),
        ({"kind": "KmsAlias", "spec": {"aliasName": "alias/a"}}, "spec.keyRef"),
        ({"kind": "KmsAlias", "spec": {"aliasName": "alias/a", "keyRef": {}}}, "spec.keyRef.name"),
        (
            {"kind": "KmsKey", "spec": {"rotation": {"windows": [{"cron": "* * * * *"}]}}},
            "spec.rotation.windows[0].duration",
        ),
        ({"kind": "KmsKey", "metadata": {"name": 3}, "spec": {}}, "metadata.name"),
        ({"kind": "KmsKey", "spec": {}, "status": {"keyState": "Odd"}}, "status.keyState"),
        ({"kind": "Secret", "spec": {}}, "kind"),
        ({"kind": ["KmsKey"], "spec": {}}, "kind"),
        ({"kind": "KmsKey", "apiVersion": "v1", "spec": {}}, "apiVersion"),
    ],
)
def test_refusal_names_the_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpecError) as error:
        parse_resource(body)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("kind", "parser"),
    [("KmsKey", parse_key), ("KmsAlias", parse_alias), ("KmsGrant", parse_grant), ("KmsDataKey", parse_data_key)],
)
def test_each_kind_has_its_parser(kind: str, parser: Any) -> None:
    body = manifest(kind, "x", SPECS[kind])
    assert parser(body) == parse_resource(body)
    with pytest.raises(InvalidSpecError):
        parser(body | {"kind": "Other"})


@given(st.sampled_from(sorted(SPECS)), st.dictionaries(words, json_values, max_size=4), json_values, json_values)
def test_the_parser_gives_a_model_or_an_invalid_spec_error(kind: str, more: Any, spec: Any, status: Any) -> None:
    merged = SPECS[kind] | spec if isinstance(spec, dict) else spec
    for body in ({"kind": kind, "spec": merged}, more | {"kind": kind, "spec": merged, "status": status}):
        try:
            parsed = parse_resource(body)
        except InvalidSpecError as error:
            assert error.field
        else:
            assert parsed.kind == kind


@given(st.sampled_from(sorted(SPECS)), st.dictionaries(st.from_regex(r"x[a-z]{1,8}Zz", fullmatch=True), json_values))
def test_unknown_fields_disturb_nothing(kind: str, unknown: dict[str, Any]) -> None:
    body = manifest(kind, "x", SPECS[kind])
    extended = manifest(kind, "x", SPECS[kind] | unknown) | unknown
    assert parse_resource(extended) == parse_resource(body)


@given(st.sampled_from(sorted(SPECS)), st.booleans(), st.text(max_size=30))
def test_wire_form_reads_back(kind: str, suspend: bool, message: str) -> None:
    body = manifest(kind, "x", SPECS[kind] | ({"suspend": suspend} if kind != "KmsGrant" else {}))
    body["status"] = {
        "observedGeneration": 2,
        "recordSeq": 4,
        "conditions": [to_wire(each) for each in kstatus(Reason.CREATING, message, generation=2, now=NOW)],
    }
    parsed = parse_resource(body)
    assert parse_resource(to_wire(parsed)) == parsed


def test_wire_form_leaves_out_what_is_absent_or_default() -> None:
    assert to_wire(KmsKeySpec(enabled=False, key_spec=KeySpec.HMAC_256, key_usage=KeyUsage.GENERATE_VERIFY_MAC)) == {
        "enabled": False,
        "keySpec": "HMAC_256",
        "keyUsage": "GENERATE_VERIFY_MAC",
    }


def test_status_is_written_in_aws_words() -> None:
    status = msgspec.structs.replace(parse_key(manifest("KmsKey", "k", {})).status, key_state=KeyState.ENABLED)
    assert to_wire(status)["keyState"] == "Enabled"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.AVAILABLE, ("True", "False", "False")),
        (Reason.CREATING, ("False", "True", "False")),
        (Reason.HSM_AUTH_FAILED, ("False", "False", "True")),
        (Reason.SUSPENDED, ("Unknown", "False", "False")),
    ],
)
def test_kstatus_of_a_reason(reason: Reason, expected: tuple[str, str, str]) -> None:
    found = kstatus(reason, "m", generation=3, now=NOW)
    assert [condition.type for condition in found] == ["Ready", "Reconciling", "Stalled"]
    assert tuple(condition.status for condition in found) == expected


def test_transition_time_moves_only_with_the_status() -> None:
    later = NOW + timedelta(hours=1)
    foreign = Condition(type="Foreign", status=ConditionStatus.TRUE, reason="X", last_transition_time=NOW)
    before = (foreign, *kstatus(Reason.CREATING, "", generation=1, now=NOW))
    after = merge_conditions(before, kstatus(Reason.AVAILABLE, "", generation=1, now=later))
    times = {condition.type: condition.last_transition_time for condition in after}
    assert times == {"Foreign": NOW, "Ready": later, "Reconciling": later, "Stalled": NOW}
    assert find_condition(after, "Foreign") == foreign
    assert find_condition(after, "Absent") is None

"""The AWS managed key over the API: who uses it, by which names, what everybody may read, and that nobody changes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    REGION,
    UID,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
    an_alias,
    an_app,
    another_tenants_key,
    root_of,
)
from tests.hsm.fake import FakeHsm
from tests.operations.control.steps import Run
from tests.operations.requests import KEYS, a_request

from keystead.engine.identifiers import alias_arn, key_arn
from keystead.engine.managed import DATA_KEYS_SERVICE, MANAGED_ALIAS, managed_policy
from keystead.engine.plan.key_settings import policy_bytes
from keystead.engine.record import KeyRecord, Rotation
from keystead.errors import AccessDeniedError, KmsError, NotFoundException
from keystead.operations.control.alias_lists import ListAliasesRequest
from keystead.operations.control.policies import GetKeyPolicyRequest
from keystead.operations.control.registry import CONTROL
from keystead.operations.control.rotation import GetKeyRotationStatusRequest
from keystead.operations.describe import DescribeKeyRequest, KeyManager
from keystead.operations.encryption import EncryptRequest
from keystead.policy import Caller, service_account_caller
from keystead.policy.question import Carried
from keystead.resources.vocabulary import GrantOperation, KeyState

HSM = FakeHsm()
SYMMETRIC = sorted(name for name, (spec, _) in KEYS.items() if spec == "SYMMETRIC_DEFAULT" and name != "DescribeKey")
READS = sorted(
    {"GetKeyPolicy", "ListKeyPolicies", "GetKeyRotationStatus", "ListKeyRotations", "ListResourceTags", "GetKeyLastUsage", "ListGrants"}
)
CHANGES: dict[str, dict[str, Any]] = {
    "UpdateKeyDescription": {"description": "x"},
    "EnableKey": {},
    "DisableKey": {},
    "ScheduleKeyDeletion": {},
    "CancelKeyDeletion": {},
    "TagResource": {"tags": ()},
    "UntagResource": {"tag_keys": ("a",)},
    "PutKeyPolicy": {"policy": json.dumps(managed_policy(ACCOUNT)), "bypass_policy_lockout_safety_check": True},
    "EnableKeyRotation": {},
    "DisableKeyRotation": {},
    "RotateKeyOnDemand": {},
    "CreateGrant": {"operations": (GrantOperation.DECRYPT,), "grantee_principal": f"arn:aws:iam::{ACCOUNT}:role/app"},
}
VIA = Carried(via_service=DATA_KEYS_SERVICE)


def managed(**changes: Any) -> KeyRecord:
    policy = policy_bytes(managed_policy(changes.get("account", ACCOUNT)))
    return a_key(HSM, name="aws-keystead", **{"policy": policy, "rotation": Rotation(enabled=True, period=365), **changes})


def run(*records: Any, carried: Carried | None = None, rbac: bool = True) -> Run:
    return Run(HSM, a_control_world(HSM, *records, carried=carried or Carried()), Rbac(rbac))


def callers(key: KeyRecord) -> tuple[Caller, ...]:
    return an_app(), root_of(key)


@pytest.mark.parametrize("operation", SYMMETRIC)
def test_no_application_uses_it_whatever_rbac_says(operation: str) -> None:
    key = managed()
    for caller in callers(key):
        assert type(run(key).refusal(a_request(HSM, operation, key), caller)) is AccessDeniedError


@pytest.mark.parametrize("operation", SYMMETRIC)
def test_data_keys_use_it_for_their_namespace(operation: str) -> None:
    key = managed()
    run(key, carried=VIA, rbac=False)(a_request(HSM, operation, key), root_of(key))


def test_another_account_does_not_use_it_through_the_service_either() -> None:
    key, foreign = managed(), root_of(another_tenants_key(HSM))
    request = EncryptRequest(key_id=key_arn(key.region, key.account, key.key_id), plaintext=b"x")
    assert type(run(key, carried=VIA).refusal(request, foreign)) is AccessDeniedError
    other = Carried(via_service="audit.kms.keystead.io")
    assert type(run(key, carried=other).refusal(request, root_of(key))) is AccessDeniedError


def test_a_refusal_is_awss() -> None:
    key = managed()
    error = run(key).refusal(EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    assert error.message == (
        f"User: {an_app().arn} is not authorized to perform: kms:Encrypt on resource: {key_arn(REGION, ACCOUNT, key.key_id)} "
        "because no resource-based policy allows the kms:Encrypt action"
    )


@pytest.mark.parametrize("operation", CHANGES)
def test_nobody_changes_it(operation: str) -> None:
    key = managed()
    request = CONTROL[operation].request(key_id=key.key_id, **CHANGES[operation])
    for caller in callers(key):
        error = run(key).refusal(request, caller)
        assert type(error) is AccessDeniedError
        assert f"because no resource-based policy allows the kms:{operation} action" in error.message


@pytest.mark.parametrize("operation", CHANGES)
def test_nobody_changes_it_under_whatever_policy_it_came_to_have(operation: str) -> None:
    key = managed(policy=UNSET, state=KeyState.PENDING_DELETION if operation == "CancelKeyDeletion" else KeyState.ENABLED)
    request = CONTROL[operation].request(key_id=key.key_id, **CHANGES[operation])
    assert type(run(key).refusal(request, root_of(key))) is AccessDeniedError


def test_these_are_all_that_change_a_key() -> None:
    names = {name for name, row in CONTROL.items() if "key_id" in getattr(row.request, "__dataclass_fields__", {})}
    ends = {"RevokeGrant", "RetireGrant"}  # of a grant, which nobody can make
    assert names - set(READS) - ends - {"ListAliases"} == set(CHANGES)


def test_a_grant_on_it_lets_nobody_in_and_its_end_is_refused() -> None:
    key = managed()
    request = CONTROL["RevokeGrant"].request(key_id=key.key_id, grant_id=a_grant(key, GrantOperation.DECRYPT).grant_id)
    assert type(run(key, a_grant(key, GrantOperation.DECRYPT)).refusal(request, root_of(key))) is AccessDeniedError


@pytest.mark.parametrize("operation", READS)
def test_who_has_the_right_reads_it(operation: str) -> None:
    key = managed()
    request = CONTROL[operation].request(key_id=key.key_id)
    run(key)(request, an_app())
    assert type(run(key, rbac=False).refusal(request, an_app())) is AccessDeniedError


def test_it_shows_what_it_is() -> None:
    key = managed()
    metadata = run(key)(DescribeKeyRequest(key_id=key.key_id)).key_metadata
    assert (metadata.key_manager, metadata.key_id) == (KeyManager.AWS, key.key_id)
    assert json.loads(run(key)(GetKeyPolicyRequest(key_id=key.key_id)).policy) == managed_policy(ACCOUNT)
    assert run(key)(GetKeyRotationStatusRequest(key_id=key.key_id)).key_rotation_enabled is True


# Its alias, by rule


@pytest.mark.parametrize("name", [MANAGED_ALIAS, alias_arn(REGION, ACCOUNT, MANAGED_ALIAS)])
def test_its_alias_leads_to_it_without_a_record(name: str) -> None:
    key = managed()
    assert run(key)(DescribeKeyRequest(key_id=name)).key_metadata.key_id == key.key_id
    run(key, carried=VIA, rbac=False)(EncryptRequest(key_id=name, plaintext=b"x"), root_of(key))


def refused(name: str, *records: Any, caller: Caller | None = None) -> KmsError:
    return run(*records).refusal(DescribeKeyRequest(key_id=name), caller)


def test_before_its_first_use_the_alias_is_not_there() -> None:
    error = refused(MANAGED_ALIAS, a_key(HSM))
    assert (type(error), error.message) == (NotFoundException, f"Alias {alias_arn(REGION, ACCOUNT, MANAGED_ALIAS)} is not found.")
    assert type(refused("alias/aws/s3", managed())) is NotFoundException


def test_another_namespaces_alias_leads_nowhere() -> None:
    stranger = service_account_caller("444455556666", "team-b", "app")
    there = refused(alias_arn(REGION, ACCOUNT, MANAGED_ALIAS), managed(), caller=stranger)
    assert type(there) is AccessDeniedError
    assert there.message == refused(alias_arn(REGION, ACCOUNT, MANAGED_ALIAS), caller=stranger).message
    earlier = managed(namespace_uid="22222222-2222-4222-8222-222222222222")
    assert type(refused(MANAGED_ALIAS, earlier)) is NotFoundException
    assert run(earlier)(ListAliasesRequest()).aliases == ()


def test_it_is_listed_in_its_place() -> None:
    key, other = managed(), a_key(HSM, n=2)
    aliases = [an_alias(other, name, name=name.rpartition("/")[2]) for name in ("alias/a", "alias/b")]
    found = run(key, other, *aliases)(ListAliasesRequest()).aliases
    assert [entry.alias_name for entry in found] == ["alias/a", MANAGED_ALIAS, "alias/b"]
    entry = found[1]
    assert (entry.target_key_id, entry.alias_arn) == (key.key_id, alias_arn(REGION, ACCOUNT, MANAGED_ALIAS))
    only = run(key, other, *aliases)(ListAliasesRequest(key_id=key.key_id)).aliases
    assert [entry.alias_name for entry in only] == [MANAGED_ALIAS]
    go, names, marker = run(key, other, *aliases), [], None
    for _ in range(3):
        page = go(ListAliasesRequest(limit=1, marker=marker))
        names += [entry.alias_name for entry in page.aliases]
        marker = page.next_marker
    assert (names, marker) == (["alias/a", MANAGED_ALIAS, "alias/b"], None)


def test_a_policy_that_looks_at_the_keys_aliases_sees_it() -> None:
    policy = {
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": an_app().principal},
            "Action": "kms:DescribeKey",
            "Resource": "*",
            "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": MANAGED_ALIAS}},
        }
    }
    key = managed(policy=policy_bytes(policy), namespace_uid=UID)
    run(key, rbac=False)(DescribeKeyRequest(key_id=key.key_id), an_app())

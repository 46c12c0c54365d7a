"""RevokeGrant and RetireGrant: who may end which grant, and what is gone then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    APP,
    BEFORE,
    NOW,
    OTHER_UID,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
    another_tenants_key,
)
from tests.operations.control.steps import Run

from keystead.engine.identifiers import key_arn
from keystead.engine.record import GrantConstraints
from keystead.errors import (
    AccessDeniedError,
    InvalidGrantIdError,
    InvalidGrantTokenError,
    NotFoundException,
    ValidationError,
)
from keystead.operations import DryRunError
from keystead.operations.control.grant_ends import RetireGrantRequest, RevokeGrantRequest
from keystead.operations.control.grant_lists import ListGrantsRequest
from keystead.operations.control.grants import CreateGrantRequest
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import DecryptRequest, EncryptRequest
from keystead.operations.grant_tokens import make_token
from keystead.operations.writes import DeleteObject, Target
from keystead.policy import root_caller, service_account_caller
from keystead.policy.caller import service_caller
from keystead.resources.vocabulary import GrantOperation, KeyState, ObjectKind

PUBLISHED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "key_states.json").read_text())
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
ROOT = root_caller(ACCOUNT, "team-a")
UNKNOWN = "ab" * 32
SERVICE = "datakeys.kms.keystead.io"
CONTROLLER = service_caller(ACCOUNT, "team-a", SERVICE)
TO_SERVICE = {
    "grantee_principal": UNSET,
    "grantee_service_principal": SERVICE,
    "constraints": GrantConstraints(source_arn=f"arn:aws:kms:cluster-1:{ACCOUNT}:datakey/app"),
}
G = GrantOperation
STATES = [KeyState(state) for state in PUBLISHED["columns"]]


def run(hsm, *records, **how) -> Run:
    changes = {name: how.pop(name) for name in ("now", "region") if name in how}
    return Run(hsm, a_control_world(hsm, *records, **changes), **how)


def denied(hsm, *records, **how) -> Run:
    return run(hsm, *records, rbac=Rbac(answer=False), **how)


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def revoke(grant, **changes) -> RevokeGrantRequest:
    return RevokeGrantRequest(**{"key_id": grant.key_id, "grant_id": grant.grant_id, **changes})


def retire(grant, **changes) -> RetireGrantRequest:
    return RetireGrantRequest(**{"key_id": grant.key_id, "grant_id": grant.grant_id, **changes})


def by_token(hsm, grant, at=NOW) -> RetireGrantRequest:
    return RetireGrantRequest(grant_token=make_token(hsm.domain, grant.grant_id, at))


# -- RevokeGrant


def test_revoke_deletes_the_object_of_the_grant_and_narrows(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT)
    go = run(hsm, key, grant)
    change = go(revoke(grant))
    assert change.write == DeleteObject(Target(ObjectKind.GRANT, "team-a", "grant-1", "object-2"))
    assert change.narrows
    assert [(review.verb, review.name) for review in go.rbac.asked] == [("revokegrant", "key-1")]
    assert change.done() is None


def test_no_grant_revokes(hsm):
    key = a_key(hsm)
    grant = a_grant(key, *GrantOperation)
    assert type(denied(hsm, key, grant).refusal(revoke(grant))) is AccessDeniedError


@pytest.mark.parametrize("grant_id", [UNKNOWN, "x", "A" * 64])
@pytest.mark.parametrize("make", [RevokeGrantRequest, RetireGrantRequest])
def test_a_grant_id_that_no_grant_of_the_key_has(hsm, make, grant_id):
    key, other = a_key(hsm), a_key(hsm, n=2)
    go = run(hsm, key, other, a_grant(other, G.DECRYPT))
    error = go.refusal(make(key_id=key.key_id, grant_id=grant_id))
    assert type(error) is (NotFoundException if grant_id == UNKNOWN else InvalidGrantIdError)
    assert grant_id in error.message
    assert len(go.awaited) == (grant_id == UNKNOWN)


@pytest.mark.parametrize("make", [revoke, retire])
def test_a_grant_of_another_key_of_an_earlier_namespace_or_of_another_account_is_not_of_this_key(hsm, make):
    key, other = a_key(hsm), a_key(hsm, n=2)
    theirs = another_tenants_key(hsm)
    for grant in (a_grant(other, G.DECRYPT), a_grant(key, G.DECRYPT, namespace_uid=OTHER_UID), a_grant(theirs, G.DECRYPT)):
        error = run(hsm, key, other, theirs, grant).refusal(make(grant, key_id=key.key_id), ROOT)
        assert type(error) is NotFoundException


@pytest.mark.parametrize("make", [RevokeGrantRequest, RetireGrantRequest])
@pytest.mark.parametrize("grant_id", ["", "x" * 129])
def test_a_grant_id_has_bounds(hsm, make, grant_id):
    key = a_key(hsm)
    assert type(run(hsm, key).refusal(make(key_id=key.key_id, grant_id=grant_id))) is ValidationError


@pytest.mark.parametrize("make", [revoke, retire])
@pytest.mark.parametrize("exists", [True, False])
def test_another_tenants_grant_is_refused_alike_whether_or_not_it_exists(hsm, make, exists):
    theirs = another_tenants_key(hsm)
    grant = a_grant(theirs, *GrantOperation, retiring_principal=APP)
    go = run(hsm, *([theirs, grant] if exists else []), rbac=Rbac(answer=False))
    error = go.refusal(make(grant, key_id=arn(theirs)))
    assert type(error) is AccessDeniedError
    assert "the resource does not exist in this Region" in error.message


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("operation", ["RevokeGrant", "RetireGrant", "ListGrants"])
@pytest.mark.parametrize("bound", [True, False])
def test_grants_end_and_are_listed_in_every_state_and_of_an_orphan(hsm, operation, state, bound):
    assert set(PUBLISHED["rows"][operation]) == {"Y"}
    key = a_key(hsm, state=state, bound=bound)
    grant = a_grant(key, G.DECRYPT, retiring_principal=APP)
    go = run(hsm, key, grant)
    request = {"RevokeGrant": revoke(grant), "RetireGrant": retire(grant), "ListGrants": ListGrantsRequest(key_id=key.key_id)}[operation]
    go(request)


def test_a_destroyed_key_has_no_grants(hsm):
    key = a_key(hsm, state=KeyState.DESTROYED)
    grant = a_grant(key, G.DECRYPT)
    go = run(hsm, key, grant)
    for request in (revoke(grant), retire(grant), by_token(hsm, grant), ListGrantsRequest(key_id=key.key_id)):
        assert type(go.refusal(request)) is NotFoundException


@pytest.mark.parametrize("make", [revoke, retire])
def test_a_dry_run_ends_nothing_and_checks_all(hsm, make):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT)
    assert type(run(hsm, key, grant).refusal(make(grant, dry_run=True))) is DryRunError
    assert type(run(hsm, key).refusal(make(grant, dry_run=True))) is NotFoundException
    assert type(denied(hsm, key, grant).refusal(make(grant, dry_run=True))) is AccessDeniedError


@pytest.mark.parametrize("make", [revoke, retire])
def test_an_alias_is_no_key_id_here(hsm, make):
    grant = a_grant(a_key(hsm), G.DECRYPT)
    assert run(hsm).refusal(make(grant, key_id="alias/app")).message == "Invalid keyId 'alias/app'"


# -- RetireGrant: who may


RETIRES = {
    "the retiring principal": ({"to": READER, "retiring_principal": APP}, [G.DECRYPT], True),
    "the grantee with RetireGrant": ({}, [G.DECRYPT, G.RETIRE_GRANT], True),
    "the same under a constraint": ({"equals": {"App": "x"}}, [G.DECRYPT, G.RETIRE_GRANT], True),
    "the retiring principal after the end": ({"to": READER, "retiring_principal": APP, "expires_at": BEFORE}, [G.DECRYPT], True),
    "the grantee without RetireGrant": ({}, [G.DECRYPT, G.CREATE_GRANT], False),
    "the grantee after the end": ({"expires_at": BEFORE}, [G.DECRYPT, G.RETIRE_GRANT], False),
    "somebody else": ({"to": READER, "retiring_principal": READER}, [G.DECRYPT, G.RETIRE_GRANT], False),
    "a service retires it": ({"to": READER, "retiring_service_principal": SERVICE}, [G.DECRYPT], False),
}


@pytest.mark.parametrize("case", RETIRES)
@pytest.mark.parametrize("how", ["token", "id"])
def test_who_retires_a_grant(hsm, case, how):
    members, operations, allowed = RETIRES[case]
    key = a_key(hsm)
    grant = a_grant(key, *operations, **members)
    go = denied(hsm, key, grant)
    request = retire(grant) if how == "id" else by_token(hsm, grant)
    if allowed:
        change = go(request)
        assert change.write == DeleteObject(Target(ObjectKind.GRANT, "team-a", "grant-1", "object-2"))
        assert change.narrows
    else:
        error = go.refusal(request)
        assert (type(error), "kms:RetireGrant" in error.message) == (AccessDeniedError, True)


@pytest.mark.parametrize("how", ["token", "id"])
def test_which_grant_was_retired_is_told_to_the_audit_however_it_was_named(hsm, how):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, **RETIRES["the retiring principal"][0])
    answer = denied(hsm, key, grant).end(retire(grant) if how == "id" else by_token(hsm, grant))
    assert answer.grant_id == grant.grant_id


@pytest.mark.parametrize(
    ("members", "operations", "allowed"),
    [
        ({"to": READER, "retiring_service_principal": SERVICE}, [G.DECRYPT], True),
        ({"to": READER, "retiring_service_principal": SERVICE, "expires_at": BEFORE}, [G.DECRYPT], True),
        ({**TO_SERVICE, "retiring_principal": READER}, [G.DECRYPT, G.RETIRE_GRANT], True),
        ({**TO_SERVICE, "retiring_principal": READER}, [G.DECRYPT], False),
        ({"to": READER, "retiring_principal": APP}, [G.DECRYPT, G.RETIRE_GRANT], False),
        ({"to": READER, "retiring_service_principal": "a.b.c"}, [G.DECRYPT, G.RETIRE_GRANT], False),
    ],
)
@pytest.mark.parametrize("how", ["token", "id"])
def test_a_service_retires_what_names_it(hsm, members, operations, allowed, how):
    key = a_key(hsm)
    grant = a_grant(key, *operations, **members)
    go = denied(hsm, key, grant)
    request = retire(grant) if how == "id" else by_token(hsm, grant)
    if allowed:
        assert isinstance(go(request, CONTROLLER).write, DeleteObject)
    else:
        assert type(go.refusal(request, CONTROLLER)) is AccessDeniedError


def test_the_accounts_root_retires_whatever_the_policy_leaves_to_it(hsm):
    """AWS: "As a backup, the AWS account in which the grant was created can retire the grant". A Deny stands above it."""
    named = {"Effect": "Allow", "Principal": {"AWS": APP}, "Action": "kms:*", "Resource": "*"}
    for statements, allowed in ([named], True), ([named, {**named, "Effect": "Deny", "Principal": {"AWS": ACCOUNT}}], False):
        key = a_key(hsm, policy=json.dumps({"Version": "2012-10-17", "Statement": statements}).encode())
        grant = a_grant(key, G.DECRYPT, to=READER)
        go = denied(hsm, key, grant)
        if allowed:
            assert isinstance(go(retire(grant), ROOT).write, DeleteObject)
            # Nor does a policy that names a principal let it retire.
            assert type(go.refusal(retire(grant))) is AccessDeniedError
        else:
            assert type(go.refusal(retire(grant), ROOT)) is AccessDeniedError


def test_a_grant_does_not_retire_another_one(hsm):
    key = a_key(hsm)
    own = a_grant(key, G.RETIRE_GRANT, G.DECRYPT)
    other = a_grant(key, G.DECRYPT, to=READER, name="grant-2")
    assert type(denied(hsm, key, own, other).refusal(retire(other))) is AccessDeniedError
    assert type(denied(hsm, key, own, other).refusal(by_token(hsm, other))) is AccessDeniedError


def test_who_retires_one_grant_does_not_retire_its_neighbour(hsm):
    key = a_key(hsm)
    own = a_grant(key, G.DECRYPT, to=READER, retiring_principal=APP)
    other = a_grant(key, G.ENCRYPT, to=READER, name="grant-2")
    assert type(denied(hsm, key, own, other).refusal(retire(other))) is AccessDeniedError


def test_root_and_who_has_the_verb_retire_too(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, to=READER)
    denied(hsm, key, grant)(retire(grant), ROOT)
    go = run(hsm, key, grant)
    go(retire(grant))
    assert [(review.verb, review.name) for review in go.rbac.asked] == [("retiregrant", "key-1")]


def test_nobody_ends_a_grant_of_a_key_whose_policy_lets_nobody_in(hsm):
    key = a_key(hsm, policy=b"{}")
    grant = a_grant(key, G.RETIRE_GRANT, retiring_principal=APP)
    go = run(hsm, key, grant)
    for request in (retire(grant), by_token(hsm, grant), revoke(grant)):
        assert type(go.refusal(request)) is AccessDeniedError


@pytest.mark.parametrize("members", [{}, {"key_id": "k"}, {"grant_id": UNKNOWN}, {"grant_token": "t", "key_id": "k", "grant_id": UNKNOWN}])
def test_retire_needs_a_token_or_both_ids(hsm, members):
    assert type(run(hsm).refusal(RetireGrantRequest(**members))) is ValidationError


@pytest.mark.parametrize("token", ["x", "x" * 103, "\u00e9"])
def test_a_token_that_is_none_of_ours(hsm, token):
    assert type(run(hsm).refusal(RetireGrantRequest(grant_token=token))) is InvalidGrantTokenError


def test_every_flipped_character_of_a_token_is_refused(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, retiring_principal=APP)
    go = run(hsm, key, grant)
    token = make_token(hsm.domain, grant.grant_id, NOW)
    for n in range(0, len(token) - 1, 3):
        bad = token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :]
        assert type(go.refusal(RetireGrantRequest(grant_token=bad))) is InvalidGrantTokenError
    go(RetireGrantRequest(grant_token=token))


def test_a_token_of_another_tenants_grant_ends_nothing_without_the_own_accounts_consent(hsm):
    theirs = another_tenants_key(hsm)
    grant = a_grant(theirs, *GrantOperation, retiring_principal=APP)
    error = run(hsm, theirs, grant, rbac=Rbac(answer=False)).refusal(by_token(hsm, grant))
    assert type(error) is AccessDeniedError
    assert "the resource does not exist in this Region" in error.message


def test_another_tenants_grant_is_retired_where_both_accounts_consent(hsm):
    theirs = another_tenants_key(hsm)
    grant = a_grant(theirs, *GrantOperation, retiring_principal=APP)
    go = run(hsm, theirs, grant)
    assert isinstance(go(by_token(hsm, grant)).write, DeleteObject)
    assert [(review.verb, review.namespace, review.name) for review in go.rbac.asked] == [
        ("retiregrant", "team-a", arn(theirs))
    ]


# -- the whole way: writer, operator, read model


def test_a_grant_is_used_and_retired_by_its_token(desk):
    key = desk.apply("key-1")
    reader = service_account_caller(desk.account, "team-a", "reader", session="s-2")
    blob = desk.call(EncryptRequest(key_id=key.key_id, plaintext=b"secret")).ciphertext_blob
    made = desk.call(
        CreateGrantRequest(key_id=key.key_id, operations=("Decrypt", "RetireGrant", "DescribeKey"), grantee_principal=reader.arn)
    )
    desk.rbac.answer = False
    use = DecryptRequest(ciphertext_blob=blob, grant_tokens=(made.grant_token,))
    assert desk.call(use, caller=reader).plaintext == b"secret"
    assert desk.call(DescribeKeyRequest(key_id=key.key_id), caller=reader).key_metadata.key_id == key.key_id
    desk.call(RetireGrantRequest(grant_token=made.grant_token), caller=reader)
    with pytest.raises(InvalidGrantTokenError):
        desk.call(use, caller=reader)
    with pytest.raises(AccessDeniedError):
        desk.call(replace(use, grant_tokens=()), caller=reader)
    with pytest.raises(InvalidGrantTokenError):
        desk.call(RetireGrantRequest(grant_token=made.grant_token), caller=reader)


def test_a_revoked_grant_is_gone_for_good_and_its_name_makes_a_new_one(desk):
    key = desk.apply("key-1")
    request = CreateGrantRequest(
        key_id=key.key_id, operations=("Decrypt",), grantee_principal=f"arn:aws:iam::{desk.account}:role/reader", name="n"
    )
    first = desk.call(request)
    desk.call(RevokeGrantRequest(key_id=key.key_id, grant_id=first.grant_id))
    assert desk.call(ListGrantsRequest(key_id=key.key_id)).grants == ()
    with pytest.raises(NotFoundException):
        desk.call(RevokeGrantRequest(key_id=key.key_id, grant_id=first.grant_id))
    assert desk.call(request).grant_id != first.grant_id


def test_a_child_grant_outlives_the_end_of_its_parent(desk):
    key = desk.apply("key-1")
    reader = service_account_caller(desk.account, "team-a", "reader", session="s-2")
    third = service_account_caller(desk.account, "team-a", "third", session="s-3")
    parent = desk.call(
        CreateGrantRequest(key_id=key.key_id, operations=("CreateGrant", "DescribeKey"), grantee_principal=reader.principal)
    )
    desk.rbac.answer = False
    ask = CreateGrantRequest(key_id=key.key_id, operations=("DescribeKey",), grantee_principal=third.principal)
    desk.call(ask, caller=reader)
    with pytest.raises(AccessDeniedError):
        desk.call(replace(ask, operations=("DescribeKey", "Decrypt")), caller=reader)
    desk.call(RevokeGrantRequest(key_id=key.key_id, grant_id=parent.grant_id), caller=desk.root)
    with pytest.raises(AccessDeniedError):
        desk.call(ask, caller=reader)
    assert desk.call(DescribeKeyRequest(key_id=key.key_id), caller=third).key_metadata.key_id == key.key_id

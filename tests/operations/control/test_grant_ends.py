"""RevokeGrant, RetireGrant, both lists, and what a grant token is worth on the way of every operation that takes one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    APP,
    BEFORE,
    NOW,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    OTHER_UID,
    REGION,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
    an_app,
    another_tenants_key,
)
from tests.operations.control.steps import Run

from keystead.engine.identifiers import key_arn
from keystead.errors import (
    AccessDeniedError,
    InvalidArnError,
    InvalidGrantIdError,
    InvalidGrantTokenError,
    InvalidMarkerError,
    KmsError,
    NotFoundException,
    ValidationError,
)
from keystead.operations import DryRunError
from keystead.operations.control.grant_ends import RetireGrantRequest, RevokeGrantRequest
from keystead.operations.control.grant_lists import ListGrantsRequest, ListRetirableGrantsRequest
from keystead.operations.control.grants import CreateGrantRequest
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import DecryptRequest, EncryptRequest
from keystead.operations.grant_tokens import LIFE, make_token
from keystead.operations.writes import DeleteObject, Target
from keystead.policy import root_caller, service_account_caller
from keystead.resources.vocabulary import GrantOperation, KeyState, ObjectKind

PUBLISHED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "key_states.json").read_text())
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
ROOT = root_caller(ACCOUNT, "team-a")
UNKNOWN = "ab" * 32
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
    assert type(error) is InvalidGrantIdError
    assert len(go.awaited) == (grant_id == UNKNOWN)


@pytest.mark.parametrize("make", [revoke, retire])
def test_a_grant_of_another_key_of_an_earlier_namespace_or_of_another_account_is_not_of_this_key(hsm, make):
    key, other = a_key(hsm), a_key(hsm, n=2)
    theirs = another_tenants_key(hsm)
    for grant in (a_grant(other, G.DECRYPT), a_grant(key, G.DECRYPT, namespace_uid=OTHER_UID), a_grant(theirs, G.DECRYPT)):
        error = run(hsm, key, other, theirs, grant).refusal(make(grant, key_id=key.key_id), ROOT)
        assert type(error) is InvalidGrantIdError


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
    error = run(hsm, *([theirs, grant] if exists else [])).refusal(make(grant, key_id=arn(theirs)))
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
    assert type(run(hsm, key).refusal(make(grant, dry_run=True))) is InvalidGrantIdError
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
    "a service retires it": ({"to": READER, "retiring_service_principal": "a.b.c"}, [G.DECRYPT], False),
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


def test_nobody_ends_a_grant_of_a_key_whose_policy_is_not_enforced(hsm):
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


def test_a_token_of_another_tenants_grant_ends_nothing(hsm):
    theirs = another_tenants_key(hsm)
    grant = a_grant(theirs, *GrantOperation, retiring_principal=APP)
    error = run(hsm, theirs, grant).refusal(by_token(hsm, grant))
    assert type(error) is AccessDeniedError
    assert "the resource does not exist in this Region" in error.message


# -- what a token is worth


@pytest.mark.parametrize("request_of", ["describe", "encrypt", "create", "retire"])
def test_a_token_is_worth_a_wait_for_its_grant(hsm, request_of):
    key = a_key(hsm)
    grant = a_grant(key, G.DESCRIBE_KEY, G.ENCRYPT, G.CREATE_GRANT, retiring_principal=APP)
    token = make_token(hsm.domain, grant.grant_id, NOW)
    request = {
        "describe": DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,)),
        "encrypt": EncryptRequest(key_id=key.key_id, plaintext=b"x", grant_tokens=(token,)),
        "create": CreateGrantRequest(key_id=key.key_id, operations=("Encrypt",), grantee_principal=READER, grant_tokens=(token,)),
        "retire": RetireGrantRequest(grant_token=token),
    }[request_of]
    go = denied(hsm, key)
    go.waits = lambda: go.world.keys.add(grant)
    go(request)
    assert [wait.by for wait in go.awaited] == [APP]
    assert go.rbac.asked == []
    # Without it the same caller is refused: the grant is not here yet.
    bare = RetireGrantRequest(key_id=key.key_id, grant_id=grant.grant_id) if request_of == "retire" else replace(request, grant_tokens=())
    assert type(denied(hsm, key).refusal(bare)) is AccessDeniedError


@pytest.mark.parametrize("late", [False, True])
def test_a_token_whose_grant_is_gone_is_refused(hsm, late):
    key = a_key(hsm)
    made = NOW - (LIFE + timedelta(seconds=1) if late else timedelta(0))
    token = make_token(hsm.domain, UNKNOWN, made)
    for request in (DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,)), RetireGrantRequest(grant_token=token)):
        go = run(hsm, key)
        assert type(go.refusal(request, ROOT)) is InvalidGrantTokenError
        # An old token is not even worth the wait: every replica would have its grant.
        assert len(go.awaited) == (not late)


@pytest.mark.parametrize(("age", "worth"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)])
def test_a_token_is_worth_nothing_after_five_minutes(hsm, age, worth):
    key = a_key(hsm)
    grant = a_grant(key, G.DESCRIBE_KEY, retiring_principal=APP)
    token = make_token(hsm.domain, grant.grant_id, NOW - timedelta(seconds=age))
    go = denied(hsm, key)
    go.waits = lambda: go.world.keys.add(grant)
    requests = [DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,)), RetireGrantRequest(grant_token=token)]
    for request in requests:
        go.world.keys.grants.clear()
        if worth:
            go(request)
        else:
            assert type(go.refusal(request)) is InvalidGrantTokenError


def test_an_old_token_of_a_grant_that_is_here_does_no_harm_and_no_good(hsm):
    key = a_key(hsm)
    grant, other = a_grant(key, G.DESCRIBE_KEY), a_grant(key, G.DESCRIBE_KEY, to=READER, name="grant-2")
    old = NOW - timedelta(hours=1)
    mine, theirs = (make_token(hsm.domain, each.grant_id, old) for each in (grant, other))
    denied(hsm, key, grant)(DescribeKeyRequest(key_id=key.key_id, grant_tokens=(mine,)))
    error = denied(hsm, key, other).refusal(DescribeKeyRequest(key_id=key.key_id, grant_tokens=(theirs,)))
    assert type(error) is AccessDeniedError


def test_a_token_never_widens_its_grant(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, equals={"App": "x"})
    token = make_token(hsm.domain, grant.grant_id, NOW)
    go = denied(hsm, key, grant)
    asked = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_context={"App": "x"}, grant_tokens=(token,))
    assert type(go.refusal(asked)) is AccessDeniedError
    for_reader = a_grant(key, G.ENCRYPT, to=READER)
    go = denied(hsm, key, for_reader)
    token = make_token(hsm.domain, for_reader.grant_id, NOW)
    assert type(go.refusal(EncryptRequest(key_id=key.key_id, plaintext=b"x", grant_tokens=(token,)))) is AccessDeniedError


# -- lists


def ids(answer) -> list[str]:
    return [entry.grant_id for entry in answer.grants]


def several(key, count: int, **changes):
    return [a_grant(key, G.DECRYPT, name=f"g{n}", grant_id=f"{n:064x}", **changes) for n in range(count)]


def test_a_list_has_the_grants_of_one_key(hsm):
    key, other = a_key(hsm), a_key(hsm, n=2)
    stale = a_grant(key, G.SIGN, namespace_uid=OTHER_UID)
    go = run(hsm, key, other, *several(key, 3), a_grant(other, G.DECRYPT), stale)
    answer = go(ListGrantsRequest(key_id=arn(key)))
    assert (ids(answer), answer.truncated, answer.next_marker) == ([f"{n:064x}" for n in range(3)], False, None)
    assert {entry.key_id for entry in answer.grants} == {arn(key)}
    assert [(review.verb, review.name) for review in go.rbac.asked] == [("listgrants", "key-1")]


def test_a_list_is_narrowed_by_its_filters(hsm):
    key = a_key(hsm)
    one, two = a_grant(key, G.DECRYPT), a_grant(key, G.ENCRYPT, to=READER, name="g2")
    service = a_grant(key, G.DECRYPT, G.ENCRYPT, name="g3", grantee_principal=UNSET, grantee_service_principal="a.b.c")
    go = run(hsm, key, one, two, service)

    def found(**how):
        return ids(go(ListGrantsRequest(key_id=key.key_id, **how)))

    assert found(grant_id=one.grant_id) == [one.grant_id]
    assert found(grant_id=UNKNOWN) == []
    assert found(grantee_principal=READER) == [two.grant_id]
    assert found(grantee_principal=f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s-7") == [two.grant_id]
    assert found(grantee_service_principal="a.b.c") == [service.grant_id]
    assert found(grant_id=one.grant_id, grantee_principal=READER) == []


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"grantee_principal": READER, "grantee_service_principal": "a.b.c"}, ValidationError),
        ({"grantee_principal": "reader"}, InvalidArnError),
        ({"grant_id": ""}, ValidationError),
        ({"limit": 0}, ValidationError),
        ({"limit": 1001}, ValidationError),
        ({"marker": ""}, ValidationError),
        ({"marker": "AAAA"}, InvalidMarkerError),
    ],
)
def test_a_list_that_cannot_be_is_refused(hsm, members: dict, kind: type[KmsError]):
    key = a_key(hsm)
    assert type(run(hsm, key).refusal(ListGrantsRequest(key_id=key.key_id, **members))) is kind


def test_pages_give_every_grant_once_and_50_if_nothing_is_said(hsm):
    key = a_key(hsm)
    go = run(hsm, key, *several(key, 120))
    found, marker = [], None
    for size in (50, 50, 20):
        answer = go(ListGrantsRequest(key_id=key.key_id, marker=marker))
        assert (len(answer.grants), answer.truncated) == (size, answer.next_marker is not None)
        found, marker = found + ids(answer), answer.next_marker
    assert (marker, found) == (None, [f"{n:064x}" for n in range(120)])
    assert len(go(ListGrantsRequest(key_id=key.key_id, limit=7)).grants) == 7


def test_a_marker_is_of_one_key_and_one_filter(hsm):
    key, other = a_key(hsm), a_key(hsm, n=2)
    go = run(hsm, key, other, *several(key, 3), *several(other, 3))
    marker = go(ListGrantsRequest(key_id=key.key_id, limit=1)).next_marker
    assert ids(go(ListGrantsRequest(key_id=arn(key), limit=1, marker=marker))) == [f"{1:064x}"]
    for request in (ListGrantsRequest(key_id=other.key_id), ListGrantsRequest(key_id=key.key_id, grantee_principal=APP)):
        assert type(go.refusal(replace(request, marker=marker))) is InvalidMarkerError


def test_a_grant_does_not_list(hsm):
    key = a_key(hsm)
    assert type(denied(hsm, key, a_grant(key, *GrantOperation)).refusal(ListGrantsRequest(key_id=key.key_id))) is AccessDeniedError


# -- ListRetirableGrants


def retirable(principal=APP, **how) -> ListRetirableGrantsRequest:
    return ListRetirableGrantsRequest(retiring_principal=principal, **how)


def test_a_principal_lists_what_it_may_retire_in_its_own_account_and_region(hsm):
    key, theirs, elsewhere = a_key(hsm), another_tenants_key(hsm), a_key(hsm, n=3, region="cluster-2")
    grants = several(key, 2, to=READER, retiring_principal=APP)
    others = [
        a_grant(key, G.SIGN, name="x", retiring_principal=READER),
        a_grant(theirs, G.DECRYPT, retiring_principal=APP),
        a_grant(elsewhere, G.DECRYPT, name="y", retiring_principal=APP),
        a_grant(key, G.VERIFY, name="z", retiring_principal=APP, namespace_uid=OTHER_UID),
    ]
    go = denied(hsm, key, theirs, elsewhere, *grants, *others)
    assert ids(go(retirable())) == [grant.grant_id for grant in grants]
    assert ids(go(retirable(f"arn:aws:sts::{ACCOUNT}:assumed-role/app/other-session"))) == [grant.grant_id for grant in grants]
    assert go.rbac.asked == []
    assert go.world.region == REGION


def test_of_another_principal_it_takes_the_right_of_the_account(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, retiring_principal=READER)
    assert type(denied(hsm, key, grant).refusal(retirable(READER))) is AccessDeniedError
    assert ids(denied(hsm, key, grant)(retirable(READER), ROOT)) == [grant.grant_id]
    go = run(hsm, key, grant)
    assert ids(go(retirable(READER))) == [grant.grant_id]
    assert [(review.verb, review.namespace, review.name) for review in go.rbac.asked] == [("listretirablegrants", "team-a", "")]


def test_nobody_lists_for_a_principal_of_another_account(hsm):
    theirs = another_tenants_key(hsm)
    foreign = f"arn:aws:iam::{OTHER_ACCOUNT}:role/app"
    go = run(hsm, theirs, a_grant(theirs, G.DECRYPT, retiring_principal=foreign))
    for caller in (ROOT, an_app()):
        assert type(go.refusal(retirable(foreign), caller)) is AccessDeniedError
    assert len(go(retirable(foreign), an_app(account=OTHER_ACCOUNT, namespace=OTHER_NAMESPACE)).grants) == 1


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({}, ValidationError),
        ({"retiring_principal": APP, "retiring_service_principal": "a.b.c"}, ValidationError),
        ({"retiring_service_principal": "a.b.c"}, AccessDeniedError),
        ({"retiring_principal": "app"}, InvalidArnError),
        ({"retiring_principal": APP, "limit": 0}, ValidationError),
        ({"retiring_principal": APP, "marker": "x"}, InvalidMarkerError),
    ],
)
def test_a_retirable_list_that_cannot_be_is_refused(hsm, members: dict, kind: type[KmsError]):
    assert type(run(hsm).refusal(ListRetirableGrantsRequest(**members))) is kind


def test_retirable_grants_come_in_pages(hsm):
    key = a_key(hsm)
    go = run(hsm, key, *several(key, 5, retiring_principal=APP))
    first = go(retirable(limit=3))
    second = go(retirable(limit=3, marker=first.next_marker))
    assert (ids(first) + ids(second), second.truncated) == ([f"{n:064x}" for n in range(5)], False)
    other = go(ListGrantsRequest(key_id=key.key_id, limit=3)).next_marker
    assert type(go.refusal(retirable(marker=other))) is InvalidMarkerError


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
    with pytest.raises(InvalidGrantIdError):
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

"""CreateGrant: what is written, what is refused before anything is, once for a retry, and no wider than what it was made by."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    AFTER,
    OTHER_UID,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
    another_tenants_key,
)
from tests.operations.control.steps import Run

from keystead.engine.identifiers import data_key_arn, key_arn
from keystead.engine.keyspec import usages
from keystead.engine.plan.grant_terms import check_terms, terms_of
from keystead.engine.record import GrantConstraints as Terms
from keystead.errors import (
    AccessDeniedError,
    DisabledError,
    InvalidArnError,
    InvalidGrantTokenError,
    InvalidSpecError,
    InvalidStateError,
    KmsError,
    LimitExceededError,
    NotFoundException,
    ValidationError,
)
from keystead.operations import DryRunError
from keystead.operations.control import grants as module
from keystead.operations.control.child_grants import covers
from keystead.operations.control.grant_ends import RetireGrantRequest
from keystead.operations.control.grant_lists import ListGrantsRequest, ListRetirableGrantsRequest
from keystead.operations.control.grants import CreateGrantRequest, GrantConstraints
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.grant_tokens import read_token
from keystead.operations.world import Call
from keystead.operations.writes import CreateObject
from keystead.policy import root_caller
from keystead.policy.caller import service_caller, user_caller
from keystead.policy.question import Carried
from keystead.resources.kms_grant import KmsGrantSpec
from keystead.resources.model import KeyRef
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyState, ObjectKind

PUBLISHED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "key_states.json").read_text())
READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s-9"
SOURCE = data_key_arn("cluster-1", ACCOUNT, "app")
SERVICE = "datakeys.kms.keystead.io"
CONTROLLER = service_caller(ACCOUNT, "team-a", SERVICE)
ROOT = root_caller(ACCOUNT, "team-a")
G = GrantOperation
NO_CALL = Call()


def run(hsm, *records, call: Call = NO_CALL, **how) -> Run:
    return Run(hsm, a_control_world(hsm, *records, call=call), **how)


def create(key, *operations: str, **members: Any) -> CreateGrantRequest:
    base: dict[str, Any] = {"key_id": key.key_id, "operations": operations or ("Decrypt",)}
    if not {"grantee_principal", "grantee_service_principal"} & set(members):
        base["grantee_principal"] = READER
    return CreateGrantRequest(**{**base, **members})


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def equals(**pairs: str) -> GrantConstraints:
    return GrantConstraints(encryption_context_equals=pairs)


def subset(**pairs: str) -> GrantConstraints:
    return GrantConstraints(encryption_context_subset=pairs)


# -- what is written


def test_create_grant_writes_a_kmsgrant_in_canonical_form(hsm):
    key = a_key(hsm)
    request = create(
        key,
        "Encrypt",
        "Decrypt",
        "Encrypt",
        grantee_principal=SESSION,
        retiring_principal=SESSION,
        constraints=subset(App="x"),
        name="IT/app:1",
    )
    write = run(hsm, key)(request).write
    assert isinstance(write, CreateObject)
    assert (write.kind, write.namespace, write.name[:6], len(write.name)) == (ObjectKind.GRANT, "team-a", "grant-", 26)
    assert write.spec == {
        "keyRef": {"name": "key-1"},
        "granteePrincipal": READER,
        "retiringPrincipal": READER,
        "operations": ["Decrypt", "Encrypt"],
        "constraints": {"encryptionContextSubset": {"App": "x"}},
        "grantName": "IT/app:1",
    }


def test_service_principals_and_the_source_are_kept(hsm):
    key = a_key(hsm)
    request = create(
        key,
        grantee_service_principal=SERVICE,
        retiring_service_principal=SERVICE,
        constraints=GrantConstraints(source_arn=SOURCE),
    )
    spec = run(hsm, key)(request).write.spec
    assert (spec["granteeServicePrincipal"], spec["retiringServicePrincipal"]) == (SERVICE, SERVICE)
    assert spec["constraints"] == {"sourceArn": SOURCE}


def test_empty_constraints_are_none(hsm):
    key = a_key(hsm)
    assert "constraints" not in run(hsm, key)(create(key, constraints=GrantConstraints())).write.spec


# -- refused before anything is written


BAD: dict[str, tuple[dict[str, Any], type[KmsError]]] = {
    "no grantee": ({"grantee_principal": None}, ValidationError),
    "two grantees": ({"grantee_principal": READER, "grantee_service_principal": SERVICE}, ValidationError),
    "two that retire": ({"retiring_principal": READER, "retiring_service_principal": SERVICE}, ValidationError),
    "a service without its source": (
        {"grantee_service_principal": SERVICE, "retiring_principal": READER},
        ValidationError,
    ),
    "a service that nobody retires": (
        {"grantee_service_principal": SERVICE, "constraints": GrantConstraints(source_arn=SOURCE)},
        ValidationError,
    ),
    "a service that is none": (
        {
            "grantee_service_principal": "backup.amazonaws.com",
            "retiring_principal": READER,
            "constraints": GrantConstraints(source_arn=SOURCE),
        },
        ValidationError,
    ),
    "one that retires and is no service": ({"retiring_service_principal": "backup.amazonaws.com"}, ValidationError),
    "no operation": ({"operations": ()}, ValidationError),
    "an operation of no key here": ({"operations": ("Encapsulate",)}, ValidationError),
    "a name with a space": ({"name": "a b"}, ValidationError),
    "an empty name": ({"name": ""}, ValidationError),
    "a long name": ({"name": "x" * 257}, ValidationError),
    "both contexts": (
        {"constraints": GrantConstraints(encryption_context_equals={"a": "b"}, encryption_context_subset={"a": "b"})},
        ValidationError,
    ),
    "an empty context": ({"constraints": equals()}, ValidationError),
    "nine pairs": ({"constraints": subset(**{f"k{n}": "v" for n in range(9)})}, ValidationError),
    "a long value": ({"constraints": subset(k="v" * 385)}, ValidationError),
    "a long key": ({"constraints": subset(**{"k" * 385: "v"})}, ValidationError),
    "an empty key": ({"constraints": subset(**{"": "v"})}, ValidationError),
    "one key twice, as case does not count": ({"constraints": subset(app="x", App="y")}, ValidationError),
    "one key twice with one value": ({"constraints": equals(app="x", b="", APP="x")}, ValidationError),
    "a grantee that is no ARN": ({"grantee_principal": "reader"}, InvalidArnError),
    "a grantee that is no principal": ({"grantee_principal": SOURCE}, InvalidArnError),
    "everybody": ({"grantee_principal": "*"}, InvalidArnError),
    "one that retires and is no ARN": ({"retiring_principal": "111122223333"}, InvalidArnError),
    "a token that is none": ({"grant_tokens": ("x" * 64,)}, InvalidGrantTokenError),
    "eleven tokens": ({"grant_tokens": ("x",) * 11}, ValidationError),
    "an alias": ({"key_id": "alias/app"}, NotFoundException),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused(hsm, case):
    members, kind = BAD[case]
    key = a_key(hsm)
    request = replace(create(key, **{k: v for k, v in members.items() if k not in ("operations", "key_id")}), **members)
    assert type(run(hsm, key).refusal(request, ROOT)) is kind


def test_a_constraint_that_no_request_could_meet_is_refused_before_anything_is_asked(hsm):
    key = a_key(hsm)
    go = run(hsm, key)
    told = go.refusal(create(key, constraints=subset(app="x", App="y"))).message
    assert told == "Constraints: app and App are one key, as case does not count: no request could have both values."
    assert go.rbac.asked == []


IAM, STS = f"arn:aws:iam::{ACCOUNT}:", f"arn:aws:sts::{ACCOUNT}:"
NOBODY = {
    f"{IAM}group/devs": "groups are for key policies",
    f"{IAM}role/a/b": "paths are not supported",
    f"{IAM}role/App": "a role is a ServiceAccount",
    f"{IAM}role/a_b": "a role is a ServiceAccount",
    f"{STS}assumed-role/App/s-1": "a role is a ServiceAccount",
    f"{STS}assumed-role/app/s": "not the ARN of a principal",
    f"{STS}federated-user/jane": "not the ARN of a principal",
    f"{STS}role/app": "not the ARN of a principal",
    f"{IAM}user/oidc/jane": f"must be percent-encoded, in upper case: {IAM}user/oidc%2Fjane",
    f"{IAM}user/oidc%2fjane": f"must be percent-encoded, in upper case: {IAM}user/oidc%2Fjane",
    f"{IAM}user/j%61ne": f"must be percent-encoded, in upper case: {IAM}user/jane",
    f"{IAM}user/100%": "must be percent-encoded",
}


@pytest.mark.parametrize("member", ["grantee_principal", "retiring_principal"])
@pytest.mark.parametrize("name", NOBODY)
def test_whom_nobody_can_be_is_granted_nothing_and_told_what_to_write(hsm, name, member):
    key = a_key(hsm)
    with pytest.raises(InvalidArnError, match=re.escape(NOBODY[name])):
        run(hsm, key)(create(key, **{member: name}))


def test_a_person_is_granted_by_the_name_that_she_calls_with(hsm):
    key, jane = a_key(hsm), user_caller("999988887777", "keystead-records", "oidc/jané~1")
    assert jane.principal.endswith(":user/oidc%2Fjan%C3%A9%7E1")
    assert run(hsm, key)(create(key, grantee_principal=jane.principal)).write.spec["granteePrincipal"] == jane.principal


def test_a_grant_of_before_is_still_listed_by_the_name_that_it_has(hsm):
    key = a_key(hsm)
    old = a_grant(key, G.DECRYPT, to=f"{IAM}user/oidc%2fjane")
    answer = run(hsm, key, old)(ListGrantsRequest(key_id=key.key_id, grantee_principal=old.grantee_principal))
    assert [entry.grant_id for entry in answer.grants] == [old.grant_id]


@pytest.mark.parametrize("spec", list(KeySpec))
@pytest.mark.parametrize("operation", list(GrantOperation))
def test_an_operation_that_the_key_cannot_do_is_refused_as_the_operator_would(hsm, spec, operation):
    for usage in usages(spec):
        key = a_key(hsm, spec, usage=usage)
        wanted = KmsGrantSpec(key_ref=KeyRef(name="k"), grantee_principal=READER, operations=(operation,))
        try:
            check_terms(terms_of(wanted, ACCOUNT, run(hsm).world.now), spec, usage)
        except InvalidSpecError:
            assert type(run(hsm, key).refusal(create(key, operation.value))) is ValidationError
        else:
            run(hsm, key)(create(key, operation.value))


@pytest.mark.parametrize("operation", list(GrantOperation))
def test_a_context_constraint_goes_with_operations_that_have_a_context(hsm, operation):
    spec = KeySpec.SYMMETRIC_DEFAULT
    free = {G.DESCRIBE_KEY, G.RETIRE_GRANT, G.CREATE_GRANT}
    has = {"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo"} | {o.value for o in G if o.value.startswith("GenerateDataKey")}
    key = a_key(hsm, spec)
    request = create(key, operation.value, constraints=equals(App="x"))
    if operation in free or operation.value in has:
        run(hsm, key)(request)
    else:
        assert type(run(hsm, key).refusal(request)) is ValidationError


def test_a_key_has_50000_grants_at_most(hsm, monkeypatch):
    assert module.GRANTS_PER_KEY == 50_000
    monkeypatch.setattr(module, "GRANTS_PER_KEY", 2)
    key = a_key(hsm)
    held = [a_grant(key, G.DECRYPT, name=f"g{n}", to=f"arn:aws:iam::{ACCOUNT}:role/r{n}") for n in range(2)]
    run(hsm, key, held[0])(create(key))
    assert type(run(hsm, key, *held).refusal(create(key))) is LimitExceededError

def test_a_full_key_still_answers_a_retry(hsm, monkeypatch):
    monkeypatch.setattr(module, "GRANTS_PER_KEY", 1)
    key = a_key(hsm)
    name = run(hsm, key)(create(key, name="n")).write.name
    run(hsm, key, a_grant(key, G.DECRYPT, name=name))(create(key, name="n"))


# -- states


@pytest.mark.parametrize(
    ("state", "mark"), [(KeyState(s), m) for s, m in zip(PUBLISHED["columns"], PUBLISHED["rows"]["CreateGrant"], strict=True)]
)
def test_a_state_does_to_create_grant_what_aws_says(hsm, state, mark):
    key = a_key(hsm, state=state)
    go = run(hsm, key)
    if mark == "Y":
        go(create(key))
        return
    error = go.refusal(create(key))
    assert type(error) is (DisabledError if mark == "X[1]" else InvalidStateError)
    assert error.message.startswith(arn(key))


def test_a_held_key_and_an_orphan_get_no_grant(hsm):
    held, orphan = a_key(hsm, held=True), a_key(hsm, bound=False)
    assert run(hsm, held).refusal(create(held)).message == f"{arn(held)} is disabled."
    assert run(hsm, orphan).refusal(create(orphan)).message == f"{arn(orphan)} has no KmsKey object."


# -- rights


def test_create_grant_asks_for_its_verb_on_the_key(hsm):
    key = a_key(hsm)
    go = run(hsm, key)
    go(create(key))
    assert [(r.resource, r.verb, r.name) for r in go.rbac.asked] == [("kmskeys", "creategrant", "key-1")]
    error = run(hsm, key, rbac=Rbac(answer=False)).refusal(create(key))
    assert (type(error), "kms:CreateGrant" in error.message) == (AccessDeniedError, True)


def test_root_makes_grants_but_not_of_keystead_keys_nor_under_a_policy_that_lets_nobody_in(hsm):
    key, own, closed = a_key(hsm), a_key(hsm, n=2, name="aws-keystead"), a_key(hsm, n=3, policy=b"{}")
    go = run(hsm, key, own, closed, rbac=Rbac(answer=False))
    go(create(key), ROOT)
    assert type(go.refusal(create(own), ROOT)) is AccessDeniedError
    assert type(go.refusal(create(closed), ROOT)) is AccessDeniedError


def test_a_closed_key_is_not_opened_by_a_grant_that_has_create_grant(hsm):
    closed = a_key(hsm, policy=b"{}")
    assert type(run(hsm, closed, a_grant(closed, *GrantOperation)).refusal(create(closed))) is AccessDeniedError


@pytest.mark.parametrize("exists", [True, False])
def test_another_tenants_key_is_refused_alike_whether_or_not_it_exists(hsm, exists):
    theirs = another_tenants_key(hsm)
    records = [theirs, a_grant(theirs, *GrantOperation)] if exists else []
    error = run(hsm, *records, rbac=Rbac(answer=False)).refusal(create(theirs, key_id=arn(theirs)))
    assert type(error) is AccessDeniedError
    assert "the resource does not exist in this Region" in error.message


PARENTS: dict[str, tuple[dict[str, Any], GrantConstraints | None, bool]] = {
    "free, free": ({}, None, True),
    "free, narrower": ({}, equals(App="x"), True),
    "equals, the same": ({"equals": {"App": "x"}}, equals(app="x"), True),
    "equals, more": ({"equals": {"App": "x"}}, equals(App="x", more="y"), False),
    "equals, another value": ({"equals": {"App": "x"}}, equals(App="X"), False),
    "equals, subset": ({"equals": {"App": "x"}}, subset(App="x"), False),
    "equals, free": ({"equals": {"App": "x"}}, None, False),
    "subset, the same": ({"subset": {"App": "x"}}, subset(APP="x"), True),
    "subset, more": ({"subset": {"App": "x"}}, subset(App="x", more="y"), True),
    "subset, equals": ({"subset": {"App": "x"}}, equals(App="x", more="y"), True),
    "subset, fewer": ({"subset": {"App": "x", "more": "y"}}, subset(App="x"), False),
    "subset, another value": ({"subset": {"App": "x"}}, subset(App="y"), False),
    "subset, free": ({"subset": {"App": "x"}}, None, False),
    "a source, free": ({"constraints": Terms(source_arn=SOURCE)}, None, False),
    "a source, the same, and nobody asks on its behalf": (
        {"constraints": Terms(source_arn=SOURCE)},
        GrantConstraints(source_arn=SOURCE),
        False,
    ),
    "a source, another": ({"constraints": Terms(source_arn=SOURCE)}, GrantConstraints(source_arn=SOURCE + "2"), False),
    "nothing constrained, free": ({"constraints": Terms()}, None, False),
    "nothing constrained, narrower": ({"constraints": Terms()}, equals(App="x"), False),
    "twins, of before they were refused": ({"subset": {"App": "x", "app": "x"}}, subset(App="x"), False),
}


@pytest.mark.parametrize("case", PARENTS)
def test_a_grant_makes_grants_that_are_no_wider(hsm, case):
    parent, wanted, allowed = PARENTS[case]
    key = a_key(hsm)
    go = run(hsm, key, a_grant(key, G.CREATE_GRANT, G.DECRYPT, G.ENCRYPT, **parent), rbac=Rbac(answer=False))
    request = create(key, "Decrypt", constraints=wanted)
    if allowed:
        go(request)
    else:
        assert type(go.refusal(request)) is AccessDeniedError
    wider = create(key, "Decrypt", "GenerateDataKey", constraints=wanted)
    assert type(go.refusal(wider)) is AccessDeniedError


def test_who_has_the_right_by_rbac_is_not_held_to_a_grant(hsm):
    key = a_key(hsm)
    run(hsm, key, a_grant(key, G.CREATE_GRANT, G.DECRYPT))(create(key, "Decrypt", "Encrypt"))


def test_a_grant_gives_create_grant_on_only_if_it_has_it(hsm):
    key = a_key(hsm)
    go = run(hsm, key, a_grant(key, G.CREATE_GRANT, G.DECRYPT), rbac=Rbac(answer=False))
    go(create(key, "CreateGrant", "Decrypt"))
    without = run(hsm, key, a_grant(key, G.DECRYPT, G.DESCRIBE_KEY, G.RETIRE_GRANT), rbac=Rbac(answer=False))
    assert type(without.refusal(create(key, "Decrypt"))) is AccessDeniedError


@pytest.mark.parametrize(
    "changes",
    [{"expires_at": AFTER}, {"to": READER}, {"namespace_uid": OTHER_UID}],
    ids=["it ends", "another's", "of an earlier namespace"],
)
def test_some_grants_make_no_others(hsm, changes):
    key = a_key(hsm)
    parent = a_grant(key, G.CREATE_GRANT, G.DECRYPT, **changes)
    assert type(run(hsm, key, parent, rbac=Rbac(answer=False)).refusal(create(key))) is AccessDeniedError


@pytest.mark.parametrize(
    ("source", "constraints", "allowed"),
    [
        (SOURCE, GrantConstraints(source_arn=SOURCE, encryption_context_equals={"App": "x"}), True),
        (SOURCE, GrantConstraints(source_arn=SOURCE, encryption_context_equals={"App": "y"}), False),
        (SOURCE, GrantConstraints(source_arn=SOURCE), False),
        (SOURCE, GrantConstraints(source_arn=SOURCE + "2", encryption_context_equals={"App": "x"}), False),
        (SOURCE, equals(App="x"), False),
        (SOURCE + "2", GrantConstraints(source_arn=SOURCE, encryption_context_equals={"App": "x"}), False),
        ("", GrantConstraints(source_arn=SOURCE, encryption_context_equals={"App": "x"}), False),
    ],
)
def test_a_service_makes_grants_on_behalf_of_the_source_only(hsm, source, constraints, allowed):
    key = a_key(hsm)
    held = Terms(source_arn=SOURCE, encryption_context_subset={"app": "x"})
    parent = a_grant(
        key, G.CREATE_GRANT, G.DECRYPT, grantee_principal=UNSET, grantee_service_principal=SERVICE, constraints=held
    )
    world = a_control_world(hsm, key, parent, carried=Carried(source_arn=source))
    go = Run(hsm, world, rbac=Rbac(answer=False))
    request = create(key, "Decrypt", constraints=constraints)
    if allowed:
        go(request, CONTROLLER)
    else:
        assert type(go.refusal(request, CONTROLLER)) is AccessDeniedError
    assert type(go.refusal(request)) is AccessDeniedError


def test_two_grants_do_not_add_up(hsm):
    key = a_key(hsm)
    parents = [a_grant(key, G.CREATE_GRANT, G.DECRYPT), a_grant(key, G.CREATE_GRANT, G.ENCRYPT, name="g2")]
    assert type(run(hsm, key, *parents, rbac=Rbac(answer=False)).refusal(create(key, "Decrypt", "Encrypt"))) is AccessDeniedError


def test_nothing_covers_a_grant_of_no_constraint_under_a_constraint(hsm):
    key = a_key(hsm)
    assert not covers(a_grant(key, G.DECRYPT, equals={"a": "b"}), [G.DECRYPT], UNSET)
    assert covers(a_grant(key, G.DECRYPT), [G.DECRYPT], UNSET)


# -- once for a retry


def name_of(hsm, request, call=NO_CALL, caller=None) -> str:
    return run(hsm, a_key(hsm), call=call)(request, caller).write.name


def test_a_name_and_the_same_parameters_are_one_grant_in_whatever_order_they_come(hsm):
    key = a_key(hsm)
    one = create(key, "Encrypt", "Decrypt", name="n", constraints=subset(a="1", b="2"), grantee_principal=SESSION)
    two = create(key, "Decrypt", "Encrypt", name="n", constraints=subset(b="2", a="1"), key_id=arn(key))
    assert name_of(hsm, one) == name_of(hsm, two, Call(b"other", "other"), ROOT)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "m"},
        {"operations": ("Encrypt",)},
        {"grantee_principal": f"{READER}2"},
        {"retiring_principal": READER},
        {"constraints": subset(a="1")},
        {"constraints": equals(a="1")},
    ],
)
def test_with_any_other_parameter_it_is_another_grant(hsm, changes):
    request = create(a_key(hsm), name="n")
    assert name_of(hsm, request) != name_of(hsm, replace(request, **changes))


def test_without_a_name_a_retry_of_the_sdk_finds_the_same_object(hsm):
    request, call = create(a_key(hsm)), Call(b"body", "invocation")
    assert name_of(hsm, request, call) == name_of(hsm, request, call)
    others = [Call(b"body", "another"), Call(b"other", "invocation")]
    names = {name_of(hsm, request, call), *(name_of(hsm, request, other) for other in others), name_of(hsm, request, call, ROOT)}
    assert len(names) == 4


def test_without_an_invocation_id_every_call_is_a_new_grant(hsm):
    key = a_key(hsm)
    go = run(hsm, key)
    assert go(create(key)).write.name != go(create(key)).write.name


def test_a_dry_run_checks_everything_and_asks_for_nothing(hsm):
    key = a_key(hsm)
    assert type(run(hsm, key).refusal(create(key, dry_run=True))) is DryRunError
    assert type(run(hsm, key).refusal(create(key, "Sign", dry_run=True))) is ValidationError
    assert type(run(hsm, key, rbac=Rbac(answer=False)).refusal(create(key, dry_run=True))) is AccessDeniedError
    off = a_key(hsm, state=KeyState.DISABLED)
    assert type(run(hsm, off).refusal(create(off, dry_run=True))) is DisabledError


# -- the whole way: writer, admission, operator, read model


def role(desk, name="reader") -> str:
    return f"arn:aws:iam::{desk.account}:role/{name}"


def test_a_grant_is_made_and_listed_and_its_token_is_not(desk):
    key = desk.apply("key-1")
    made = desk.call(create(key, "Decrypt", grantee_principal=role(desk), name="IT", constraints=subset(App="x")))
    assert read_token(desk.control_world().domain, made.grant_token).grant_id == made.grant_id
    answer = desk.call(ListGrantsRequest(key_id=key.key_id))
    entry = answer.grants[0]
    assert (entry.grant_id, entry.name, entry.key_id) == (made.grant_id, "IT", arn(key))
    assert (entry.grantee_principal, entry.issuing_account) == (role(desk), f"arn:aws:iam::{desk.account}:root")
    assert (entry.operations, entry.constraints) == ((G.DECRYPT,), subset(App="x"))
    assert made.grant_token not in repr(answer)
    assert made.grant_token not in repr(made)
    assert "token" not in json.dumps(desk.world.objects.bodies[next(r for r in desk.world.objects.bodies if "grant-" in r.name)])


def test_a_named_grant_that_is_asked_for_again_is_the_same_with_a_token_of_now(desk):
    key = desk.apply("key-1")
    request = create(key, "Decrypt", grantee_principal=role(desk), name="IT")
    first, second = desk.call(request), desk.call(request, invocation="another")
    assert first.grant_id == second.grant_id
    assert len(desk.call(ListGrantsRequest(key_id=key.key_id)).grants) == 1
    third = desk.call(replace(request, operations=("Encrypt",)))
    assert third.grant_id != first.grant_id


def test_a_retry_of_the_sdk_makes_one_grant_and_two_calls_make_two(desk):
    key = desk.apply("key-1")
    request = create(key, "Decrypt", grantee_principal=role(desk))
    ids = [desk.call(request, invocation=invocation).grant_id for invocation in ("one", "one", "two", "", "")]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


def test_a_grant_to_a_service_principal_is_listed_and_used_by_the_service_for_the_source(desk):
    key = desk.apply("key-1")
    request = create(
        key,
        "DescribeKey",
        grantee_service_principal=SERVICE,
        retiring_service_principal=SERVICE,
        constraints=GrantConstraints(source_arn=SOURCE),
    )
    desk.call(request)
    entry = desk.call(ListGrantsRequest(key_id=key.key_id)).grants[0]
    assert (entry.grantee_principal, entry.grantee_service_principal) == (None, SERVICE)
    assert (entry.retiring_service_principal, entry.constraints) == (SERVICE, GrantConstraints(source_arn=SOURCE))
    desk.rbac.answer = False
    service = service_caller(desk.account, "team-a", SERVICE)
    for source, allowed in ((SOURCE, True), (SOURCE + "2", False), ("", False)):
        desk.carried = Carried(source_arn=source)
        if allowed:
            assert desk.call(DescribeKeyRequest(key_id=key.key_id), caller=service).key_metadata.key_id == key.key_id
        else:
            with pytest.raises(AccessDeniedError):
                desk.call(DescribeKeyRequest(key_id=key.key_id), caller=service)
    with pytest.raises(AccessDeniedError):
        desk.call(DescribeKeyRequest(key_id=key.key_id))
    listed = desk.call(ListRetirableGrantsRequest(retiring_service_principal=SERVICE), caller=service)
    assert [each.grant_id for each in listed.grants] == [entry.grant_id]
    desk.call(RetireGrantRequest(key_id=key.key_id, grant_id=entry.grant_id), caller=service)
    assert desk.call(ListGrantsRequest(key_id=key.key_id), caller=desk.root).grants == ()

"""Aliases: names, rights on alias and key, states, and the whole way through the real writer, operator and read model."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from tests.builders import (
    ACCOUNT,
    OTHER_UID,
    REGION,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
    an_alias,
    another_tenants_key,
)
from tests.operations.control.steps import Run

from keystead.engine.identifiers import alias_arn, key_arn, root_arn
from keystead.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    DependencyTimeoutError,
    ForeignOwnerError,
    InvalidStateError,
    LimitExceededError,
    NotFoundException,
    ValidationError,
)
from keystead.operations.control.alias_lists import ListAliasesRequest
from keystead.operations.control.aliases import (
    CreateAliasRequest,
    CreateAliasResponse,
    DeleteAliasRequest,
    NotAuthorizedError,
    UpdateAliasRequest,
    alias_object_name,
    create_alias,
    update_alias,
)
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.effects import Change
from keystead.operations.writes import CreateObject, DeleteObject, SetFields, Target
from keystead.policy import caller_of, root_caller
from keystead.policy.question import Carried
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyState, KeyUsage, ObjectKind

PUBLISHED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "key_states.json").read_text())
NAME = "alias/app"
ARN = alias_arn(REGION, ACCOUNT, NAME)
ROOT = root_caller(ACCOUNT, "team-a")
PREFIX = (
    'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html'
)
NOT_ALLOWED = (
    "User: arn:aws:sts::111122223333:assumed-role/app/s-1 is not authorized to perform: kms:{0} on resource: {1} "
    "because no identity-based policy allows the kms:{0} action"
)


def run(hsm, *records, **how) -> Run:
    return Run(hsm, a_control_world(hsm, *records), **how)


def create(key, name=NAME):
    return CreateAliasRequest(alias_name=name, target_key_id=key.key_id)


def update(key, name=NAME):
    return UpdateAliasRequest(alias_name=name, target_key_id=key.key_id)


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


# -- what is written


def test_create_alias_writes_a_kmsalias_that_names_the_kmskey(hsm):
    key = a_key(hsm)
    change = run(hsm, key)(create(key))
    digest = hashlib.sha256(b"cluster-1\0alias/app").hexdigest()[:20]
    spec = {"aliasName": NAME, "keyRef": {"name": "key-1"}}
    assert change.write == CreateObject(ObjectKind.ALIAS, "team-a", f"alias-{digest}", spec)
    assert not change.narrows


def test_an_alias_object_is_named_by_region_and_name():
    names = {alias_object_name(region, name) for region in ("a", "b") for name in ("alias/a", "alias/b")}
    assert len(names) == 4
    assert all(len(name) == len("alias-") + 20 for name in names)


def test_update_alias_changes_the_key_reference_of_the_object_that_holds_the_name(hsm):
    one, two = a_key(hsm), a_key(hsm, n=2)
    change = run(hsm, one, two, an_alias(one))(update(two))
    assert change.write == SetFields(Target(ObjectKind.ALIAS, "team-a", "app", "object-2"), {"keyRef": {"name": "key-2"}})


def test_delete_alias_deletes_that_object_and_narrows(hsm):
    key = a_key(hsm)
    change = run(hsm, key, an_alias(key))(DeleteAliasRequest(alias_name=NAME))
    assert change.write == DeleteObject(Target(ObjectKind.ALIAS, "team-a", "app", "object-2"))
    assert change.narrows


# -- names


@pytest.mark.parametrize("make", [CreateAliasRequest, UpdateAliasRequest])
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("app", ValidationError, PREFIX),
        ("alias", ValidationError, PREFIX),
        ("alias/", ValidationError, PREFIX),
        ("Alias/app", ValidationError, PREFIX),
        ("alias/aws/s3", NotAuthorizedError, ""),
        ("alias/aws/", NotAuthorizedError, ""),
        ("alias/a:b", ValidationError, "alias/a:b contains invalid characters for an alias"),
        (
            "alias/a b",
            ValidationError,
            "1 validation error detected: Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular "
            "expression pattern: ^[a-zA-Z0-9:/_-]+$",
        ),
        (
            "",
            ValidationError,
            "1 validation error detected: Value '' at 'aliasName' failed to satisfy constraint: Member must have length greater than or "
            "equal to 1",
        ),
        (
            "alias/" + "x" * 251,
            ValidationError,
            f"1 validation error detected: Value 'alias/{'x' * 251}' at 'aliasName' failed to satisfy constraint: Member must have length "
            "less than or equal to 256",
        ),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_aws_words(hsm, make, name, kind, message):
    key = a_key(hsm)
    error = run(hsm, key).refusal(make(alias_name=name, target_key_id=key.key_id))
    assert (type(error), error.message) == (kind, message)


def test_a_reserved_name_cannot_be_deleted_either(hsm):
    error = run(hsm).refusal(DeleteAliasRequest(alias_name="alias/aws/s3"))
    assert error.code == "NotAuthorizedException"


@pytest.mark.parametrize("name", ["alias/my-alias_/", "alias/" + "x" * 250, "alias/aws", "alias/awsome/x"])
def test_all_else_is_a_name(hsm, name):
    key = a_key(hsm)
    assert run(hsm, key)(create(key, name)).write.spec["aliasName"] == name


@pytest.mark.parametrize("make", [CreateAliasRequest, UpdateAliasRequest])
@pytest.mark.parametrize("target", ["alias/other", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/other"])
def test_an_alias_is_no_target(hsm, make, target):
    error = run(hsm).refusal(make(alias_name=NAME, target_key_id=target))
    assert (type(error), error.message) == (ValidationError, "Aliases must refer to keys. Not aliases")


# -- existence, limits, types


@pytest.mark.parametrize("whose", ["this key", "another key", "an earlier namespace"])
def test_a_name_that_is_taken_is_said_so(hsm, whose):
    key, other = a_key(hsm), a_key(hsm, n=2)
    held = {"this key": an_alias(key), "another key": an_alias(other)}.get(whose) or an_alias(key, namespace_uid=OTHER_UID)
    error = run(hsm, key, other, held).refusal(create(key))
    assert (type(error), error.message) == (AlreadyExistsError, f"An alias with the name {ARN} already exists")


def test_a_name_that_another_object_claimed_meanwhile_is_taken(hsm):
    key, other = a_key(hsm), a_key(hsm, n=2)
    own = alias_object_name(REGION, NAME)
    for claimed in (an_alias(key, name="by-hand"), an_alias(other, name=own), an_alias(key, name=own)):
        running = create_alias(run(hsm, key, other).world, ROOT, create(key))
        assert isinstance(next(running), Change)
        if claimed.name == own and claimed.key_id == key.key_id:
            with pytest.raises(StopIteration):
                running.send(claimed)
        else:
            with pytest.raises(AlreadyExistsError):
                running.send(claimed)


def test_the_same_name_of_another_account_or_region_is_free(hsm):
    key, theirs, elsewhere = a_key(hsm), another_tenants_key(hsm), a_key(hsm, n=3, region="cluster-2")
    run(hsm, key, theirs, elsewhere, an_alias(theirs), an_alias(elsewhere))(create(key))


@pytest.mark.parametrize(("held", "refused"), [(49, False), (50, True)])
def test_a_key_has_50_aliases_at_most(hsm, held, refused):
    key, other = a_key(hsm), a_key(hsm, n=2)
    aliases = [an_alias(key, f"alias/{n}") for n in range(held)]
    go = run(hsm, key, other, *aliases, an_alias(other))
    for request in (create(key, "alias/new"), update(key)):
        if refused:
            assert type(go.refusal(request)) is LimitExceededError
        else:
            go(request)


def test_a_full_key_may_have_its_own_alias_set_again(hsm):
    key = a_key(hsm)
    run(hsm, key, *[an_alias(key, f"alias/{n}") for n in range(50)])(update(key, "alias/7"))


@pytest.mark.parametrize(
    ("spec", "usage", "fits"),
    [
        (KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT, False),
        (KeySpec.HMAC_256, KeyUsage.GENERATE_VERIFY_MAC, False),
        (KeySpec.RSA_2048, KeyUsage.ENCRYPT_DECRYPT, False),
        (KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY, True),
        (KeySpec.ECC_NIST_P384, KeyUsage.SIGN_VERIFY, True),
    ],
)
def test_an_alias_moves_to_a_key_of_the_same_type_and_usage_only(hsm, spec, usage, fits):
    signing, to = a_key(hsm, KeySpec.ECC_NIST_P256), a_key(hsm, spec, usage=usage, n=2)
    go = run(hsm, signing, to, an_alias(signing))
    if fits:
        go(update(to))
    else:
        assert type(go.refusal(update(to))) is ValidationError


@pytest.mark.parametrize("make", [update, lambda _: DeleteAliasRequest(alias_name=NAME)])
def test_an_alias_that_is_not_there_is_not_found_after_a_wait(hsm, make):
    key = a_key(hsm)
    gone = [
        run(hsm, key),
        run(hsm, key, an_alias(key, namespace_uid=OTHER_UID)),
        run(hsm, key, an_alias(a_key(hsm, n=2, state=KeyState.DESTROYED))),
        run(hsm, key, an_alias(another_tenants_key(hsm))),
    ]
    for go in gone:
        error = go.refusal(make(key))
        assert (type(error), error.message) == (NotFoundException, f"Alias {ARN} is not found.")
        assert len(go.awaited) == 1


def test_an_alias_that_another_replica_just_made_is_waited_for(hsm):
    key = a_key(hsm)
    go = run(hsm, key)
    go.waits = lambda: go.world.keys.add(an_alias(key))
    assert go(DeleteAliasRequest(alias_name=NAME)).write.target.name == "app"


# -- rights


CASES = [("CreateAlias", "", 1), ("UpdateAlias", "app", 2), ("DeleteAlias", "app", 1)]


def the_case(hsm, operation):
    one, two = a_key(hsm), a_key(hsm, n=2)
    if operation == "CreateAlias":
        return [one, two], create(one)
    requests = {"UpdateAlias": update(two), "DeleteAlias": DeleteAliasRequest(alias_name=NAME)}
    return [one, two, an_alias(one)], requests[operation]


@pytest.mark.parametrize(("operation", "object_name", "keys"), CASES)
def test_rbac_is_asked_for_the_alias_first_and_then_for_every_key(hsm, operation, object_name, keys):
    records, request = the_case(hsm, operation)
    go = run(hsm, *records)
    go(request)
    verb = operation.lower()
    asked = [(review.resource, review.verb, review.namespace, review.name) for review in go.rbac.asked]
    on_keys = [("kmskeys", verb, "team-a", f"key-{n}") for n in range(1, keys + 1)]
    assert asked == [("kmsaliases", verb, "team-a", object_name), *on_keys]


@pytest.mark.parametrize(("operation", "object_name", "keys"), CASES)
@pytest.mark.parametrize("refused", ["kmsaliases ", "kmskeys key-1", "kmskeys key-2"])
@pytest.mark.parametrize("answer", [False, None, 1])
def test_each_right_is_needed(hsm, operation, object_name, keys, refused, answer):
    class Picky(Rbac):
        def __call__(self, review):
            super().__call__(review)
            return answer if f"{review.resource} {review.name}".startswith(refused) else True

    records, request = the_case(hsm, operation)
    if refused == "kmskeys key-2" and keys == 1:
        run(hsm, *records, rbac=Picky())(request)
        return
    error = run(hsm, *records, rbac=Picky()).refusal(request)
    assert type(error) is AccessDeniedError
    if refused == "kmsaliases ":
        assert error.message == NOT_ALLOWED.format(operation, ARN)
    else:
        assert arn(records[int(refused[-1]) - 1]) in error.message


@pytest.mark.parametrize(("operation", "object_name", "keys"), CASES)
def test_no_grant_gives_a_right_on_aliases(hsm, operation, object_name, keys):
    records, request = the_case(hsm, operation)
    grants = [a_grant(key, *GrantOperation) for key in records[:2]]
    assert type(run(hsm, *records, *grants, rbac=Rbac(answer=False)).refusal(request)) is AccessDeniedError


@pytest.mark.parametrize(("operation", "object_name", "keys"), CASES)
def test_root_needs_no_rbac_and_a_person_has_no_right(hsm, operation, object_name, keys):
    records, request = the_case(hsm, operation)
    go = run(hsm, *records, rbac=Rbac(answer=False))
    go(request, ROOT)
    assert go.rbac.asked == []
    person = caller_of(f"arn:aws:iam::{ACCOUNT}:user/ann", "team-a")
    assert type(run(hsm, *records).refusal(request, person)) is AccessDeniedError


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("make", [create, update])
def test_an_alias_of_another_tenants_key_is_refused_alike_whether_or_not_it_exists(hsm, make, exists):
    own, theirs = a_key(hsm), another_tenants_key(hsm)
    records = [own, an_alias(own), *([theirs] if exists else [])]
    name = "alias/new" if make is create else NAME
    request = type(make(own))(alias_name=name, target_key_id=arn(theirs))
    error = run(hsm, *records).refusal(request)
    assert type(error) is AccessDeniedError
    assert "the resource does not exist in this Region" in error.message


def test_another_tenants_alias_cannot_be_moved_or_deleted(hsm):
    theirs = another_tenants_key(hsm)
    go = run(hsm, a_key(hsm), theirs, an_alias(theirs))
    assert type(go.refusal(DeleteAliasRequest(alias_name=NAME))) is NotFoundException
    assert type(go.refusal(update(a_key(hsm)))) is NotFoundException


@pytest.mark.parametrize(("operation", "object_name", "keys"), CASES)
def test_a_key_with_a_policy_of_its_own_gets_and_loses_no_alias(hsm, operation, object_name, keys):
    key = a_key(hsm, policy=b"{}")
    records, request = ([key], create(key)) if operation == "CreateAlias" else ([key, an_alias(key)], the_case(hsm, operation)[1])
    assert type(run(hsm, *records, a_key(hsm, n=2)).refusal(request, ROOT)) is AccessDeniedError


def test_keystead_keys_get_no_alias(hsm):
    key = a_key(hsm, name="aws-keystead")
    assert type(run(hsm, key).refusal(create(key), ROOT)) is AccessDeniedError


# -- states


@pytest.mark.parametrize(
    ("state", "mark"), [(KeyState(s), m) for s, m in zip(PUBLISHED["columns"], PUBLISHED["rows"]["CreateAlias"], strict=True)]
)
@pytest.mark.parametrize("held", [True, False])
def test_a_state_does_to_create_alias_what_aws_says(hsm, state, mark, held):
    key = a_key(hsm, state=state, held=held)
    go = run(hsm, key)
    if mark == "Y":
        go(create(key))
        return
    error = go.refusal(create(key))
    assert (type(error), error.message) == (InvalidStateError, f"{arn(key)} is pending deletion (or pending replica deletion).")


@pytest.mark.parametrize(
    ("state", "mark"), [(KeyState(s), m) for s, m in zip(PUBLISHED["columns"], PUBLISHED["rows"]["UpdateAlias"], strict=True)]
)
@pytest.mark.parametrize("end", ["from", "to"])
def test_a_state_does_to_update_alias_what_aws_says(hsm, state, mark, end):
    one = a_key(hsm, state=state if end == "from" else KeyState.ENABLED)
    two = a_key(hsm, n=2, state=state if end == "to" else KeyState.ENABLED)
    go = run(hsm, one, two, an_alias(one))
    # Note 10: it fails only if the destination is pending deletion.
    if mark == "Y" or end == "from":
        go(update(two))
    else:
        assert mark == "?[10]"
        assert type(go.refusal(update(two))) is InvalidStateError


@pytest.mark.parametrize("state", [KeyState(s) for s in PUBLISHED["columns"]])
@pytest.mark.parametrize("operation", ["DeleteAlias", "ListAliases"])
def test_aliases_are_deleted_and_listed_in_every_state(hsm, operation, state):
    assert set(PUBLISHED["rows"][operation]) == {"Y"}
    key = a_key(hsm, state=state)
    go = run(hsm, key, an_alias(key))
    if operation == "DeleteAlias":
        go(DeleteAliasRequest(alias_name=NAME))
    else:
        assert len(go(ListAliasesRequest(key_id=key.key_id)).aliases) == 1


def test_an_orphan_gets_no_alias_and_keeps_none_against_its_owner(hsm):
    orphan, live = a_key(hsm, bound=False), a_key(hsm, n=2)
    go = run(hsm, orphan, live, an_alias(orphan), an_alias(live, "alias/live", name="live"))
    for request in (create(orphan, "alias/new"), update(orphan, "alias/live")):
        error = go.refusal(request)
        assert (type(error), error.message) == (InvalidStateError, f"{arn(orphan)} has no KmsKey object.")
    go(update(live))
    go(DeleteAliasRequest(alias_name=NAME))


# -- the whole way: writer, admission, operator, read model


def listed(answer) -> list[str]:
    return [entry.alias_name for entry in answer.aliases]


def test_an_alias_lives_and_moves_and_goes(desk):
    one, two = desk.apply("key-1"), desk.apply("key-2")
    assert desk.call(create(one)) == CreateAliasResponse()
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == one.key_id
    desk.call(update(two))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == two.key_id
    assert listed(desk.call(ListAliasesRequest(key_id=two.key_id))) == [NAME]
    desk.call(DeleteAliasRequest(alias_name=NAME))
    assert desk.call(ListAliasesRequest()).aliases == ()
    assert not [ref for ref in desk.world.objects.bodies if ref.kind is Kind.ALIAS]
    desk.call(create(one))


def test_an_alias_made_by_kubectl_is_the_apis_too(desk):
    one, two = desk.apply("key-1"), desk.apply("key-2")
    ref = ObjectRef(Kind.ALIAS, "team-a", "by-hand")
    desk.world.apply(ref, aliasName=NAME, keyRef={"name": "key-1"})
    desk.reconcile(ref)
    with pytest.raises(AlreadyExistsError, match=NAME):
        desk.call(create(two))
    desk.call(update(two))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == two.key_id
    desk.call(DeleteAliasRequest(alias_name=NAME))
    assert ref not in desk.world.objects.bodies
    assert one.key_id != two.key_id


SPARES_THE_APP = {"StringNotLike": {"aws:PrincipalArn": "*:role/app"}}


def denying(desk, *actions: str) -> dict:
    """The account does everything, and of these actions only the ServiceAccount `app` and no root."""
    every = {"Effect": "Allow", "Principal": {"AWS": root_arn(desk.account)}, "Action": "kms:*", "Resource": "*"}
    no = {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": [*actions], "Resource": "*", "Condition": SPARES_THE_APP}
    return {"Version": "2012-10-17", "Statement": [every, no]}


@pytest.mark.parametrize("side", ["key-1", "key-2"])
def test_an_alias_of_somebody_elses_object_does_not_move_past_a_deny_of_the_root(desk, side):
    """Its caller is spared. But the operator, which sees the object only, would not move it: the API answers so, and writes nothing."""
    one, two = desk.apply("key-1"), desk.apply("key-2")
    ref = ObjectRef(Kind.ALIAS, "team-a", "by-hand")
    desk.world.apply(ref, aliasName=NAME, keyRef={"name": "key-1"})
    desk.reconcile(ref)
    denied = desk.apply(side, policy=denying(desk, "kms:UpdateAlias"))
    desk.refresh()
    world = desk.control_world()
    with pytest.raises(AccessDeniedError) as caught:
        desk.drive(update_alias(world, desk.app, update(two)))
    assert caught.value.message.endswith(f"on resource: {arn(denied)} with an explicit deny in a resource-based policy")
    (note,) = caught.value.__notes__
    told = f"KmsAlias by-hand was not made by the API: the policy of KmsKey {side} does not let this namespace do kms:UpdateAlias: "
    assert note.startswith(f'{told}statement "No"')
    judged = world.trail[-1]
    assert (judged.key, judged.decision.reason, judged.decision.explicit) == (denied, note, True)
    assert desk.changes == []
    desk.call(update(one))  # it stays where it is: nothing is asked
    desk.apply(side, policy=denying(desk, "kms:CreateAlias"))
    desk.call(update(two))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == two.key_id


def test_an_alias_of_the_api_is_made_and_moves_past_a_deny_that_spares_its_caller(desk):
    policy = denying(desk, "kms:CreateAlias", "kms:UpdateAlias")
    one, two = desk.apply("key-1", policy=policy), desk.apply("key-2", policy=policy)
    desk.call(create(one))
    desk.call(update(two))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == two.key_id
    with pytest.raises(AccessDeniedError):
        desk.call(update(one), caller=desk.root)


def test_an_alias_of_the_api_that_lost_its_label_is_never_answered_as_moved_where_it_stays(desk):
    """No record has the label: the operator's refusal comes after the write."""
    policy = denying(desk, "kms:UpdateAlias")
    one, two = desk.apply("key-1", policy=policy), desk.apply("key-2", policy=policy)
    desk.call(create(one))
    ref = ObjectRef(Kind.ALIAS, "team-a", alias_object_name(REGION, NAME))
    body = desk.world.objects.bodies[ref]
    body["metadata"]["labels"] = {}
    desk.reconcile(ref)
    with pytest.raises(DependencyTimeoutError):
        desk.call(update(two))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == one.key_id
    assert desk.world.ready(ref) == "AccessDenied"


@pytest.mark.parametrize("came", [Carried(), Carried(source_ip="10.0.0.1", secure=True)])
def test_how_the_call_came_does_not_move_an_alias_that_the_operator_would_not(desk, came):
    """An object came from no address. What the call says of itself must not tell it another answer than the operator's."""
    desk.carried = came
    desk.apply("key-1")
    ref = ObjectRef(Kind.ALIAS, "team-a", "by-hand")
    desk.world.apply(ref, aliasName=NAME, keyRef={"name": "key-1"})
    desk.reconcile(ref)
    policy = denying(desk, "kms:UpdateAlias")
    policy["Statement"][1]["Condition"] = {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    two = desk.apply("key-2", policy=policy)
    with pytest.raises(AccessDeniedError):
        desk.call(update(two))
    assert desk.changes == []


def cut_short(desk, key) -> ObjectRef:
    """A CreateAlias whose object was written, and no more."""
    name = alias_object_name(REGION, NAME)
    write = CreateObject(ObjectKind.ALIAS, "team-a", name, {"aliasName": NAME, "keyRef": {"name": key.name}})
    asyncio.run(desk.world.sqlite.writer.write(write))
    return ObjectRef(Kind.ALIAS, "team-a", name)


def test_a_create_that_was_cut_short_is_found_again_by_its_retry(desk):
    key = desk.apply("key-1")
    cut_short(desk, key)
    desk.call(create(key))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == key.key_id


def test_two_creates_at_once_for_two_keys_give_one_alias(desk):
    one, two = desk.apply("key-1"), desk.apply("key-2")
    ref = cut_short(desk, one)
    with pytest.raises(AlreadyExistsError):
        desk.call(create(two))
    desk.reconcile(ref)
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == one.key_id


def test_a_field_that_somebody_else_owns_stays(desk):
    one, two = desk.apply("key-1"), desk.apply("key-2")
    desk.call(create(one))
    desk.fail(ForeignOwnerError("spec.keyRef belongs to kubectl"))
    with pytest.raises(InvalidStateError, match=r"spec.keyRef belongs to kubectl"):
        desk.call(update(two))
    assert desk.call(DescribeKeyRequest(key_id=NAME)).key_metadata.key_id == one.key_id

"""plan_grant: the terms that a grant is made with, its end, whose it is; which obstacle is told first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import asdict, replace
from tests.builders import ACCOUNT, APP, CREATED, NOW, OTHER_UID, UID, a_grant
from tests.hsm.fake import FakeHsm
from tests.plan.facts import DIGEST, a_kms_grant, a_settled_key, at, grant_facts

from keystead.engine.clock import format_time
from keystead.engine.identifiers import role_arn
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.plan.grant import DropGrant, GrantPlan, MakeGrant, WriteGrant, next_change, plan_grant
from keystead.engine.plan.grant_terms import GrantTerms, _fitting, terms_of
from keystead.engine.record import GrantConstraints, GrantRecord
from keystead.engine.view.manifest import grant_manifest
from keystead.resources import names
from keystead.resources.kms_grant import parse_grant
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import USAGES, GrantOperation, KeySpec, KeyState, KeyUsage

Changes = dict[str, Any]
ADOPT = {names.ADOPT: names.ADOPT_TRUE}
AS_NEW = {names.ADOPT: names.ADOPT_AS_NEW}
OTHER_SPACE = NamespaceFacts(OTHER_UID)
LEAVING = NamespaceFacts(UID, terminating=True)
REMADE = {"uid": "object-3"}
MADE = NOW - timedelta(days=1)  # of the object in facts.py
PAST, SOON = format_time(NOW - timedelta(seconds=1)), format_time(NOW + timedelta(seconds=1))


def record_of(hsm: FakeHsm, **changes: Any) -> GrantRecord:
    return a_grant(a_settled_key(hsm), GrantOperation.DECRYPT, **changes)


def told(plan: GrantPlan) -> tuple[Reason, str]:
    assert plan.obstacle is not None
    return plan.obstacle.reason, plan.obstacle.message


def terms(**spec: Any) -> GrantTerms:
    return terms_of(a_kms_grant(**spec).spec, ACCOUNT, at(CREATED))


# Terms


@pytest.mark.parametrize(
    ("spec", "principal"),
    [
        ({"granteePrincipal": f"arn:aws:sts::{ACCOUNT}:assumed-role/app/session-1"}, APP),
        ({"granteePrincipal": APP}, APP),
        ({"serviceAccountRef": {"name": "app"}}, APP),
        ({"granteeServicePrincipal": "s3.amazonaws.com"}, UNSET),
    ],
)
def test_a_grantee_is_stored_in_its_canonical_form(spec: Changes, principal: object) -> None:
    assert terms(**spec).grantee_principal == principal


def test_a_retiring_session_is_its_role() -> None:
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/boss/session-1"
    assert terms(retiringPrincipal=session).retiring_principal == role_arn(ACCOUNT, "boss")


@given(st.permutations(["Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey", "RetireGrant"]))
def test_operations_are_a_sorted_set(operations: list[str]) -> None:
    assert terms(operations=operations).operations == sorted(operations)


def test_a_ttl_counts_from_the_record_and_an_end_is_absolute() -> None:
    assert terms(ttl="1h30m").expires_at == "2026-11-01T01:30:00Z"
    assert terms(expiresAt="2026-12-01T01:00:00+01:00").expires_at == "2026-12-01T00:00:00Z"
    assert terms().expires_at is UNSET


def test_constraints_are_those_of_the_spec() -> None:
    given_terms = terms(constraints={"encryptionContextSubset": {"a": "b"}})
    assert given_terms.constraints == GrantConstraints(encryption_context_subset={"a": "b"})


def test_a_grant_made_again_of_its_record_is_the_same_grant(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm)
    named = a_grant(key, GrantOperation.DECRYPT, grant_name="IT/app", retiring_principal=APP, subset={"a": "b"})
    again = parse_grant(grant_manifest(named, key.name, {}))
    assert again.spec.grant_name == "IT/app"
    assert replace(named, **asdict(terms_of(again.spec, ACCOUNT, at(CREATED)))) == named


# Birth


def test_a_settled_grant_has_nothing_to_do(hsm: FakeHsm) -> None:
    assert plan_grant(grant_facts(hsm)) == GrantPlan()


def test_a_new_grant_is_made_with_the_terms_of_now(hsm: FakeHsm) -> None:
    step = plan_grant(grant_facts(hsm, record=None, grant=a_kms_grant(ttl="1m"))).step
    assert isinstance(step, MakeGrant)
    assert step.terms.expires_at == format_time(NOW + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"operations": ["Sign"]}, "spec.operations"),
        ({"operations": ["Decrypt", "GetPublicKey"]}, "spec.operations"),
        ({"serviceAccountRef": None, "granteePrincipal": "bob"}, "spec.granteePrincipal"),
        ({"retiringPrincipal": "arn:aws:iam::12:role/app"}, "spec.retiringPrincipal"),
        ({"retiringPrincipal": f"arn:aws:iam::{ACCOUNT}:group/devs"}, "spec.retiringPrincipal"),
        *(
            ({"serviceAccountRef": None, "granteePrincipal": f"arn:aws:iam::{ACCOUNT}:{name}"}, "spec.granteePrincipal")
            for name in ("group/devs", "role/App", "role/a/b", "user/oidc/jane", "user/oidc%2fjane")
        ),
        ({"constraints": {"encryptionContextSubset": {"a": "b", "A": "b"}}}, "spec.constraints.encryptionContextSubset"),
        ({"granteeServicePrincipal": "s3.amazonaws.com", "constraints": {"sourceArn": APP}}, "spec.granteeServicePrincipal"),
        ({"granteeServicePrincipal": "datakeys.kms.keystead.io"}, "spec.constraints.sourceArn"),
        (
            {
                "granteeServicePrincipal": "datakeys.kms.keystead.io",
                "constraints": {"encryptionContextEquals": {"a": "b"}},
            },
            "spec.constraints.sourceArn",
        ),
        ({"retiringServicePrincipal": "s3.amazonaws.com"}, "spec.retiringServicePrincipal"),
    ],
)
def test_what_aws_refuses_is_never_granted(hsm: FakeHsm, spec: Changes, field: str) -> None:
    whole = {key: value for key, value in spec.items() if value is not None}
    grant = a_kms_grant(**whole)
    if "granteePrincipal" in whole:
        grant = replace(grant, spec=replace(grant.spec, service_account_ref=UNSET))
    plan = plan_grant(grant_facts(hsm, record=None, grant=grant))
    assert plan.step is None
    reason, message = told(plan)
    assert reason is Reason.INVALID_SPEC
    assert message.startswith(field)


@pytest.mark.parametrize("name", ["encryptionContextEquals", "encryptionContextSubset"])
def test_a_context_constraint_of_operations_without_a_context_is_never_granted(hsm: FakeHsm, name: str) -> None:
    key = a_settled_key(hsm, spec=KeySpec.ECC_NIST_P256, usage=KeyUsage.SIGN_VERIFY)
    for operations, granted in ((["DescribeKey", "Sign"], False), (["DescribeKey"], True)):
        grant = a_kms_grant(operations=operations, constraints={name: {"a": "b"}})
        plan = plan_grant(grant_facts(hsm, record=None, grant=grant, key=key, target=None))
        assert (plan.step is not None) is granted
        if not granted:
            words = f"spec.constraints.{name}: Sign has no encryption context, so that none can be required"
            assert told(plan) == (Reason.INVALID_SPEC, words)


@pytest.mark.parametrize("name", ["encryption_context_equals", "encryption_context_subset"])
def test_an_empty_context_constraint_of_an_older_object_is_never_granted(hsm: FakeHsm, name: str) -> None:
    grant = a_kms_grant(constraints={"sourceArn": APP})
    empty = replace(grant.spec.constraints, **{name: {}})
    plan = plan_grant(grant_facts(hsm, record=None, grant=replace(grant, spec=replace(grant.spec, constraints=empty))))
    assert plan.step is None
    assert "has 1 to 8 pairs" in told(plan)[1]


@pytest.mark.parametrize("usage", list(KeyUsage))
def test_every_operation_fits_some_key_and_these_fit_all(usage: KeyUsage) -> None:
    always = {GrantOperation.DESCRIBE_KEY, GrantOperation.CREATE_GRANT, GrantOperation.RETIRE_GRANT}
    specs = [spec for spec in KeySpec if usage in USAGES[spec]]
    assert specs
    assert all(always <= _fitting(spec, usage) for spec in specs)
    everything = {operation for spec, uses in USAGES.items() for use in uses for operation in _fitting(spec, use)}
    assert everything == set(GrantOperation)


@pytest.mark.parametrize(("end", "made"), [(PAST, False), (format_time(NOW), False), (SOON, True)])
def test_a_grant_whose_end_is_over_is_never_made(hsm: FakeHsm, end: str, made: bool) -> None:
    plan = plan_grant(grant_facts(hsm, record=None, grant=a_kms_grant(expiresAt=end)))
    assert isinstance(plan.step, MakeGrant) is made
    assert (plan.obstacle is None) is made
    if not made:
        assert told(plan)[0] is Reason.GRANT_EXPIRED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": KeyState.DISABLED}, Reason.DEPENDENCY_NOT_READY),
        ({"state": KeyState.PENDING_DELETION}, Reason.DEPENDENCY_NOT_READY),
        ({"held": True}, Reason.DEPENDENCY_NOT_READY),
        ({"bound": False}, Reason.DEPENDENCY_NOT_FOUND),
    ],
)
def test_a_key_that_cannot_be_used_grants_nothing_new_and_keeps_what_it_granted(hsm: FakeHsm, change: Changes, reason: Reason) -> None:
    key = a_settled_key(hsm, **change)
    plan = plan_grant(grant_facts(hsm, key=key, record=None))
    assert (plan.step, told(plan)[0]) == (None, reason)
    assert plan_grant(grant_facts(hsm, key=key)) == GrantPlan()


# The end


@pytest.mark.parametrize(("end", "over"), [(PAST, True), (format_time(NOW), True), (SOON, False)])
def test_an_expired_grant_says_so_and_keeps_its_record(hsm: FakeHsm, end: str, over: bool) -> None:
    plan = plan_grant(grant_facts(hsm, record=record_of(hsm, expires_at=end), grant=a_kms_grant(expiresAt=end)))
    assert plan.step is None
    assert (plan.obstacle is not None and told(plan)[0] is Reason.GRANT_EXPIRED) is over


def test_the_end_is_the_next_change(hsm: FakeHsm) -> None:
    assert next_change(record_of(hsm, expires_at=SOON), NOW) == NOW + timedelta(seconds=1)
    assert next_change(record_of(hsm, expires_at=PAST), NOW) is None
    assert next_change(record_of(hsm), NOW) is None
    assert next_change(None, NOW) is None


# Whose the record is


def test_an_object_made_again_is_another_grant(hsm: FakeHsm) -> None:
    again = a_kms_grant(about=REMADE, ttl="1m")
    old = record_of(hsm, expires_at=format_time(at(CREATED) + timedelta(minutes=1)))
    assert plan_grant(grant_facts(hsm, grant=again, record=old)) == GrantPlan(DropGrant())
    step = plan_grant(grant_facts(hsm, grant=again, record=None)).step
    assert isinstance(step, MakeGrant)
    assert step.terms.expires_at == format_time(NOW + timedelta(minutes=1))


def test_after_the_crd_was_made_again_the_same_words_are_the_same_grant(hsm: FakeHsm) -> None:
    record, crd = record_of(hsm), CrdFacts("made-again")
    same = plan_grant(grant_facts(hsm, grant=a_kms_grant(about=REMADE), record=record, crd=crd)).step
    assert same == WriteGrant(replace(record, object_uid="object-3", crd_uid="made-again"))
    other = a_kms_grant(about=REMADE, operations=["Decrypt", "Encrypt"])
    assert plan_grant(grant_facts(hsm, grant=other, record=record, crd=crd)).step == DropGrant()


def test_a_grant_that_differs_from_its_spec_is_not_believed(hsm: FakeHsm) -> None:
    """CEL lets no spec change: a record that says something else is another one's work."""
    plan = plan_grant(grant_facts(hsm, grant=a_kms_grant(operations=["Encrypt"])))
    assert (plan.step, told(plan)[0]) == (None, Reason.RECORD_INTEGRITY)


def test_an_earlier_namespaces_grant_must_be_adopted(hsm: FakeHsm) -> None:
    record, adopted = record_of(hsm), a_settled_key(hsm, namespace_uid=OTHER_UID)
    about: Changes = {"record": record, "namespace": OTHER_SPACE, "key": adopted}
    plan = plan_grant(grant_facts(hsm, grant=a_kms_grant(about=REMADE), **about))
    assert (plan.step, told(plan)[0]) == (None, Reason.ADOPTION_REQUIRED)
    taken = plan_grant(grant_facts(hsm, grant=a_kms_grant(about=REMADE, annotations=ADOPT), **about)).step
    assert taken == WriteGrant(replace(record, namespace_uid=OTHER_UID, object_uid="object-3"))
    assert plan_grant(grant_facts(hsm, grant=a_kms_grant(about=REMADE, annotations=AS_NEW), **about)).step == DropGrant()


def test_an_adopted_grant_follows_its_keys_account(hsm: FakeHsm) -> None:
    record = record_of(hsm)
    key = a_settled_key(hsm, namespace_uid=OTHER_UID, account="444455556666")
    grant = a_kms_grant(about=REMADE, annotations=ADOPT, serviceAccountRef={"name": "app"})
    step = plan_grant(grant_facts(hsm, grant=grant, record=record, namespace=OTHER_SPACE, key=key)).step
    assert isinstance(step, WriteGrant)
    assert (step.record.grant_id, step.record.account) == (record.grant_id, "444455556666")
    assert step.record.grantee_principal == role_arn("444455556666", "app")


@pytest.mark.parametrize("state", [KeyState.ENABLED, KeyState.DESTROYED])
def test_another_tenant_learns_only_that_the_name_is_taken(hsm: FakeHsm, state: KeyState) -> None:
    key = a_settled_key(hsm, state=state)
    plan = plan_grant(grant_facts(hsm, grant=a_kms_grant(about=REMADE), key=key, namespace=OTHER_SPACE))
    reason, message = told(plan)
    assert (plan.step, reason) == (None, Reason.ADOPTION_REQUIRED)
    assert all(word not in message for word in (key.key_id, key.account, "destroyed"))


@pytest.mark.parametrize("state", list(KeyState))
def test_an_earlier_tenants_key_tells_nothing_of_its_state(hsm: FakeHsm, state: KeyState) -> None:
    plan = plan_grant(grant_facts(hsm, key=a_settled_key(hsm, state=state), record=None, namespace=OTHER_SPACE))
    assert (plan.step, told(plan)[0]) == (None, Reason.DEPENDENCY_NOT_READY)
    assert "earlier namespace" in told(plan)[1]


# Absent, and the end of the key


def test_a_record_goes_with_its_grant(hsm: FakeHsm) -> None:
    assert plan_grant(grant_facts(hsm, grant=None)) == GrantPlan(DropGrant())
    assert plan_grant(grant_facts(hsm, grant=None, record=None)) == GrantPlan()


@pytest.mark.parametrize(
    "changes",
    [
        {"crd": None},
        {"crd": CrdFacts("crd-2", terminating=True)},
        {"crd": CrdFacts("made-again")},
        {"namespace": None},
        {"namespace": LEAVING},
        {"namespace": OTHER_SPACE},
    ],
)
def test_a_grant_that_is_absent_for_another_reason_stays(hsm: FakeHsm, changes: Changes) -> None:
    plan = plan_grant(grant_facts(hsm, grant=None, **changes))
    assert plan.step is None
    assert "has no object, but" in plan.note


def test_a_grant_ends_with_its_key(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, state=KeyState.DESTROYED)
    plan = plan_grant(grant_facts(hsm, key=key))
    assert (plan.step, told(plan)[0]) == (DropGrant(), Reason.KEY_DESTROYED)
    shown = a_kms_grant(status={"grantId": "ab" * 32, "recordSeq": 1, "recordDigest": DIGEST})
    after = plan_grant(grant_facts(hsm, grant=shown, key=key, record=None))
    assert (after.step, told(after)[0]) == (None, Reason.KEY_DESTROYED)


def test_a_new_key_under_the_old_name_drops_the_old_grants(hsm: FakeHsm) -> None:
    destroyed = a_settled_key(hsm, state=KeyState.DESTROYED)
    record = a_grant(destroyed, GrantOperation.DECRYPT)
    plan = plan_grant(grant_facts(hsm, key=a_settled_key(hsm, n=2), target=destroyed, record=record))
    assert (plan.step, told(plan)[0]) == (DropGrant(), Reason.KEY_DESTROYED)
    for after, reason in ((0, Reason.KEY_DESTROYED), (-1, None)):
        again = plan_grant(grant_facts(hsm, record=None, destroyed_at=MADE + timedelta(seconds=after)))
        assert (told(again)[0] if again.obstacle else None) is reason


# Obstacles, and which of two is told

NEWER = {"recordSeq": 2, "recordDigest": DIGEST}


@pytest.mark.parametrize(
    ("grant", "facts", "reason", "words"),
    [
        ({"status": {"grantId": "ab" * 32}}, {"record": None}, Reason.RECORD_INTEGRITY, "does not exist"),
        ({"status": NEWER}, {}, Reason.RECORD_INTEGRITY, "older record"),
        ({}, {"record": None, "namespace": LEAVING}, Reason.CREATING, "being deleted"),
        ({}, {"record": None, "namespace": None}, Reason.CREATING, "being deleted"),
        ({}, {"record": None, "key": None}, Reason.DEPENDENCY_NOT_FOUND, "spec.keyRef: KmsKey team-a/key-1 does not exist"),
        ({}, {"key": None}, Reason.DEPENDENCY_NOT_FOUND, "does not exist"),
    ],
)
def test_an_obstacle_of_a_grant_stops_all_work(hsm: FakeHsm, grant: Changes, facts: Changes, reason: Reason, words: str) -> None:
    plan = plan_grant(grant_facts(hsm, grant=a_kms_grant(**grant), **facts))
    assert plan.step is None
    assert told(plan)[0] is reason
    assert words in told(plan)[1]


def test_another_key_under_the_old_name_is_not_granted(hsm: FakeHsm) -> None:
    plan = plan_grant(grant_facts(hsm, key=a_settled_key(hsm, n=2), target=a_settled_key(hsm), record=record_of(hsm)))
    assert (plan.step, told(plan)[0]) == (None, Reason.DEPENDENCY_NOT_FOUND)
    assert "another key" in told(plan)[1]


@pytest.mark.parametrize(
    ("grant", "facts", "reason"),
    [
        ({"about": REMADE, "status": NEWER}, {"namespace": OTHER_SPACE}, Reason.ADOPTION_REQUIRED),
        ({"status": NEWER}, {"namespace": LEAVING}, Reason.RECORD_INTEGRITY),
        ({}, {"record": None, "namespace": LEAVING, "key": None}, Reason.CREATING),
    ],
)
def test_the_first_of_two_obstacles_of_a_grant_is_told(hsm: FakeHsm, grant: Changes, facts: Changes, reason: Reason) -> None:
    assert told(plan_grant(grant_facts(hsm, grant=a_kms_grant(**grant), **facts)))[0] is reason


def test_a_terminating_namespace_keeps_its_grants(hsm: FakeHsm) -> None:
    """Nothing is dropped or made there: not even for an object that was made again."""
    plan = plan_grant(grant_facts(hsm, grant=a_kms_grant(about=REMADE), namespace=LEAVING))
    assert (plan.step, told(plan)[0]) == (None, Reason.CREATING)

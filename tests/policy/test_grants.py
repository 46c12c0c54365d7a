"""Grants: principal, operation, constraints, time, key."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    AFTER,
    APP,
    BEFORE,
    NAMESPACE,
    NOW,
    OTHER_ACCOUNT,
    OTHER_UID,
    a_grant,
    a_key,
    an_app,
)
from tests.hsm.fake import FakeHsm

from keystead.engine.clock import format_time
from keystead.engine.identifiers import data_key_arn
from keystead.engine.record import GrantConstraints
from keystead.policy import Action, root_caller
from keystead.policy.actions import ACTIONS, Constraint
from keystead.policy.caller import service_caller
from keystead.policy.grants import CHECKS, GrantQuestion, allows
from keystead.policy.question import Carried
from keystead.resources.vocabulary import GrantOperation

KEY = a_key(FakeHsm())
NOW_TEXT = format_time(NOW)
GRANTABLE = [action for action in Action if ACTIONS[action].grantable]


SERVICE = "datakeys.kms.keystead.io"
SOURCE = data_key_arn("cluster-1", ACCOUNT, "app")
CONTROLLER = service_caller(ACCOUNT, NAMESPACE, SERVICE)


def asks(action=Action.DECRYPT, context=None, caller=None, key=KEY, now=NOW_TEXT, source=""):
    return GrantQuestion(caller or an_app(), action, key, context or {}, now, Carried(source_arn=source))


def to_service(*operations, **constraints):
    """A grant to the data key controller. No constraints at all: not even of the source."""
    given = {"constraints": GrantConstraints(**constraints)} if constraints else {}
    return a_grant(KEY, *operations, grantee_principal=UNSET, grantee_service_principal=SERVICE, **given)


@pytest.mark.parametrize("action", GRANTABLE)
@pytest.mark.parametrize("granted", list(GrantOperation))
def test_a_grant_allows_its_operations_and_no_other(action, granted):
    assert allows(a_grant(KEY, granted), asks(action)) is (action.value == granted.value)


def test_generate_random_is_never_granted():
    assert not allows(a_grant(KEY, *GrantOperation), asks(Action.GENERATE_RANDOM))


@pytest.mark.parametrize(("expires", "allowed"), [(BEFORE, False), (NOW_TEXT, False), (AFTER, True), (UNSET, True)])
def test_a_grant_ends_at_its_time(expires, allowed):
    assert allows(a_grant(KEY, GrantOperation.DECRYPT, expires_at=expires), asks()) is allowed


def test_a_grant_of_another_key_allows_nothing():
    other = a_key(FakeHsm(), n=2)
    assert not allows(a_grant(other, GrantOperation.DECRYPT), asks())


def test_a_grant_of_an_earlier_namespace_allows_nothing():
    assert not allows(a_grant(KEY, GrantOperation.DECRYPT, namespace_uid=OTHER_UID), asks())


@pytest.mark.parametrize("to", [APP + "2", APP.upper(), "*", APP[:-1], "arn:aws:iam::111122223333:root"])
def test_the_principal_is_compared_exactly(to):
    assert not allows(a_grant(KEY, GrantOperation.DECRYPT, to=to), asks())


@pytest.mark.parametrize("action", GRANTABLE)
def test_a_service_is_granted_what_it_asks_on_behalf_of_the_source(action):
    grant = to_service(GrantOperation(action.value), source_arn=SOURCE)
    assert allows(grant, asks(action, caller=CONTROLLER, source=SOURCE))
    others = ["", SOURCE + "2", SOURCE[:-1], SOURCE.upper(), SOURCE.replace(ACCOUNT, OTHER_ACCOUNT)]
    for other in others:
        # AWS, CreateGrant: the constraint "does not apply to RetireGrant operation".
        assert allows(grant, asks(action, caller=CONTROLLER, source=other)) is (action is Action.RETIRE_GRANT)


@pytest.mark.parametrize("action", GRANTABLE)
def test_a_grant_to_a_service_is_for_nobody_else(action):
    grant = to_service(*GrantOperation, source_arn=SOURCE)
    for caller in (an_app(), root_caller(ACCOUNT, NAMESPACE), service_caller(ACCOUNT, NAMESPACE, "audit.kms.keystead.io")):
        assert not allows(grant, asks(action, caller=caller, source=SOURCE))


def test_a_principal_of_that_name_is_no_service():
    imposter = replace(an_app(), principal=SERVICE)
    assert not allows(to_service(*GrantOperation, source_arn=SOURCE), asks(caller=imposter, source=SOURCE))


def test_a_service_without_a_source_is_granted_nothing_but_the_end_of_it():
    """What CreateGrant refuses, and what a record of another version may have all the same."""
    for grant in (to_service(*GrantOperation), to_service(*GrantOperation, encryption_context_subset={"app": "x"})):
        for action in GRANTABLE:
            expected = action is Action.RETIRE_GRANT
            assert allows(grant, asks(action, {"app": "x"}, CONTROLLER, source=SOURCE)) is expected


def test_a_source_is_no_pattern():
    grant = to_service(GrantOperation.DECRYPT, source_arn=SOURCE[:-3] + "*")
    assert not allows(grant, asks(caller=CONTROLLER, source=SOURCE))


def test_one_grant_can_be_asked_for():
    grant = a_grant(KEY, GrantOperation.DECRYPT)
    assert allows(grant, asks(caller=replace(an_app(), only_grant=grant.grant_id)))
    assert not allows(grant, asks(caller=replace(an_app(), only_grant="00" * 32)))


SUBSET = [
    ({"app": "x"}, {"app": "x"}, True),
    ({"app": "x"}, {"APP": "x"}, True),
    ({"App": "x"}, {"aPP": "x", "more": "y"}, True),
    ({"app": "x"}, {"app": "X"}, False),
    ({"app": "x"}, {}, False),
    ({"app": "x"}, {"more": "x"}, False),
    ({"app": "x", "env": "y"}, {"app": "x"}, False),
    ({}, {"app": "x"}, False),
    ({"app": "x"}, {"app": "x", "APP": "x"}, False),
    ({"app": "x", "APP": "x"}, {"app": "x"}, False),
]
EQUALS = [
    ({"app": "x"}, {"app": "x"}, True),
    ({"app": "x"}, {"APP": "x"}, True),
    ({"app": "x"}, {"app": "X"}, False),
    ({"app": "x"}, {"app": "x", "more": "y"}, False),
    ({"app": "x", "more": "y"}, {"app": "x"}, False),
    ({"app": "x"}, {}, False),
    ({}, {}, False),
    ({"app": "x"}, {"app": "x", "APP": "x"}, False),
]
COMPARED = [action for action in GRANTABLE if ACTIONS[action].constraint is Constraint.COMPARED]


@pytest.mark.parametrize("action", COMPARED)
@pytest.mark.parametrize(("wanted", "given", "allowed"), SUBSET)
def test_subset_compares_keys_without_case_and_values_with_it(action, wanted, given, allowed):
    assert allows(a_grant(KEY, *GrantOperation, subset=wanted), asks(action, given)) is allowed


@pytest.mark.parametrize("action", COMPARED)
@pytest.mark.parametrize(("wanted", "given", "allowed"), EQUALS)
def test_equals_compares_keys_without_case_and_values_with_it(action, wanted, given, allowed):
    assert allows(a_grant(KEY, *GrantOperation, equals=wanted), asks(action, given)) is allowed


@pytest.mark.parametrize("action", [a for a in GRANTABLE if a not in COMPARED])
@pytest.mark.parametrize("kind", ["equals", "subset"])
def test_a_constrained_grant_allows_of_the_rest_only_describe_and_retire(action, kind):
    grant = a_grant(KEY, *GrantOperation, **{kind: {"app": "x"}})
    expected = action in (Action.DESCRIBE_KEY, Action.RETIRE_GRANT)
    assert allows(grant, asks(action, {"app": "x"})) is expected
    assert allows(grant, asks(action)) is expected


def test_a_principal_asks_on_behalf_of_nobody_and_so_a_source_rules_it_out():
    grant = a_grant(KEY, *GrantOperation, constraints=GrantConstraints(source_arn=SOURCE))
    for action in GRANTABLE:
        assert allows(grant, asks(action)) is (action is Action.RETIRE_GRANT)


@pytest.mark.parametrize("action", GRANTABLE)
@pytest.mark.parametrize("kind", ["encryption_context_equals", "encryption_context_subset"])
def test_a_source_and_a_context_both_have_to_hold(action, kind):
    grant = to_service(*GrantOperation, source_arn=SOURCE, **{kind: {"App": "x"}})
    free = action in (Action.DESCRIBE_KEY, Action.RETIRE_GRANT)
    fits = {"app": "x"}
    assert allows(grant, asks(action, fits, CONTROLLER, source=SOURCE)) is (free or action in COMPARED)
    assert allows(grant, asks(action, {"app": "y"}, CONTROLLER, source=SOURCE)) is free
    assert allows(grant, asks(action, fits, CONTROLLER, source=SOURCE + "2")) is (action is Action.RETIRE_GRANT)


def test_a_constraint_that_constrains_nothing_is_no_allowance():
    assert not allows(a_grant(KEY, GrantOperation.DECRYPT, constraints=GrantConstraints()), asks())


@pytest.mark.parametrize("action", GRANTABLE)
@pytest.mark.parametrize(
    ("kind", "expires"), list(itertools.product([None, "equals", "subset"], [UNSET, BEFORE, AFTER]))
)
def test_operations_constraints_and_expiry_all_have_to_hold(action, kind, expires):
    constraint = {} if kind is None else {kind: {"App": "x"}}
    grant = a_grant(KEY, GrantOperation(action.value), expires_at=expires, **constraint)
    fits = kind is None or ACTIONS[action].constraint is not Constraint.REFUSED
    assert allows(grant, asks(action, {"app": "x"})) is (fits and expires != BEFORE)


texts = st.text(max_size=4)


@given(st.dictionaries(texts, texts, max_size=3), st.dictionaries(texts, texts, max_size=3))
def test_equals_never_allows_more_than_subset(wanted, given):
    question = asks(context=given)
    if allows(a_grant(KEY, GrantOperation.DECRYPT, equals=wanted), question):
        assert allows(a_grant(KEY, GrantOperation.DECRYPT, subset=wanted), question)


def test_the_principal_is_checked_first_since_it_is_the_cheapest():
    assert [check.__name__ for check in CHECKS] == [
        "_is_for_caller",
        "_is_the_one_asked_for",
        "_is_of_key",
        "_has_operation",
        "_is_in_time",
        "_constraints_hold",
    ]

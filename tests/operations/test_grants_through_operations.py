"""Grants x operations x both constraints x expiry, through the pipeline, with RBAC saying no."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from tests.builders import AFTER, BEFORE, Rbac, a_grant, a_world, call
from tests.operations.requests import KEYS, a_request, the_key

from keystead.errors import AccessDeniedError
from keystead.operations import OPERATIONS
from keystead.policy.actions import ACTIONS, Constraint
from keystead.resources.vocabulary import GrantOperation

CONSTRAINTS = {
    "none": ({}, True),
    "equals": ({"equals": {"app": "x", "ENV": "prod"}}, True),
    "subset": ({"subset": {"APP": "x"}}, True),
    "equals fewer": ({"equals": {"app": "x"}}, False),
    "equals other value": ({"equals": {"app": "X", "env": "prod"}}, False),
    "subset other value": ({"subset": {"app": "X"}}, False),
    "subset more": ({"subset": {"app": "x", "more": "y"}}, False),
}


def compares(operation: str) -> bool:
    return any(ACTIONS[action].constraint is Constraint.COMPARED for action in OPERATIONS[operation].actions)


def expected(operation: str, constraint: str, expires: object) -> bool:
    if expires == BEFORE:
        return False
    if constraint == "none" or operation == "DescribeKey":
        return True
    return compares(operation) and CONSTRAINTS[constraint][1]


def allowed(hsm, key, request, grant) -> bool:
    try:
        call(hsm, a_world(hsm, key, grant), request, rbac=Rbac(answer=False))
    except AccessDeniedError:
        return False
    return True


@pytest.mark.parametrize("operation", sorted(KEYS))
@pytest.mark.parametrize("constraint", list(CONSTRAINTS))
@pytest.mark.parametrize("expires", [UNSET, BEFORE, AFTER], ids=["no end", "expired", "in time"])
def test_a_grant_allows_exactly_when_operation_constraint_and_time_fit(hsm, operation, constraint, expires):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    granted = [GrantOperation(action.value) for action in OPERATIONS[operation].actions]
    grant = a_grant(key, *granted, expires_at=expires, **CONSTRAINTS[constraint][0])
    assert allowed(hsm, key, request, grant) is expected(operation, constraint, expires)


@pytest.mark.parametrize("operation", sorted(KEYS))
def test_a_grant_of_all_other_operations_does_not_allow_this_one(hsm, operation):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    own = {GrantOperation(action.value) for action in OPERATIONS[operation].actions}
    assert not allowed(hsm, key, request, a_grant(key, *(set(GrantOperation) - own)))


@pytest.mark.parametrize("operation", sorted(filter(compares, KEYS)))
@pytest.mark.parametrize("kind", ["equals", "subset"])
def test_a_constrained_grant_needs_a_context(hsm, operation, kind):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key, None)
    assert not allowed(hsm, key, request, a_grant(key, *GrantOperation, **{kind: {"App": "x"}}))


@pytest.mark.parametrize("operation", sorted(KEYS))
def test_a_grant_of_another_key_or_principal_does_not_allow(hsm, operation):
    key, other = the_key(hsm, operation), the_key(hsm, operation, n=2)
    request = a_request(hsm, operation, key)
    assert not allowed(hsm, key, request, a_grant(other, *GrantOperation))
    assert not allowed(hsm, key, request, a_grant(key, *GrantOperation, to="arn:aws:iam::111122223333:role/app2"))

"""Principals and their canonical form."""

from __future__ import annotations

import pytest
from tests.builders import ACCOUNT, NAMESPACE

from keystead.errors import InvalidSpecError
from keystead.policy import CallerKind, caller_of, root_caller, service_account_caller
from keystead.policy.caller import account_of, canonical_principal

ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1"


def test_a_session_is_its_role():
    assert canonical_principal(SESSION) == ROLE


@pytest.mark.parametrize(
    "arn",
    [
        ROLE,
        f"arn:aws:iam::{ACCOUNT}:root",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/app",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1/x",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1\n",
        "",
    ],
)
def test_everything_else_stays_as_it_is(arn):
    assert canonical_principal(arn) == arn


def test_a_service_account_shows_its_session_and_compares_as_its_role():
    caller = service_account_caller(ACCOUNT, NAMESPACE, "app", uid="u", session="s-1")
    assert (caller.arn, caller.principal, caller.uid) == (SESSION, ROLE, "u")


def test_without_a_session_it_shows_its_role():
    assert service_account_caller(ACCOUNT, NAMESPACE, "app").arn == ROLE


@pytest.mark.parametrize(
    ("arn", "kind", "name"),
    [
        (ROLE, CallerKind.SERVICE_ACCOUNT, "app"),
        (SESSION, CallerKind.SERVICE_ACCOUNT, "app"),
        (f"arn:aws:iam::{ACCOUNT}:user/jane%40example", CallerKind.USER, "jane%40example"),
        (f"arn:aws:iam::{ACCOUNT}:root", CallerKind.ROOT, ""),
    ],
)
def test_an_arn_names_a_caller(arn, kind, name):
    caller = caller_of(arn, NAMESPACE)
    assert (caller.kind, caller.name, caller.account, caller.arn) == (kind, name, ACCOUNT, arn)


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "app",
        "*",
        "arn:aws:iam::*:root",
        "arn:aws:iam::1:root",
        f"arn:aws:iam::{ACCOUNT}:group/x",
        f"arn:aws:iam::{ACCOUNT}:role/",
        f"arn:aws:iam::{ACCOUNT}:role/a/b",
        f"{ROLE}\n",
        f"arn:aws:kms:cluster-1:{ACCOUNT}:key/x",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s",
    ],
)
def test_other_texts_are_refused(arn):
    with pytest.raises(InvalidSpecError):
        caller_of(arn, NAMESPACE)


def test_the_account_of_an_arn():
    assert {account_of(arn) for arn in (ROLE, SESSION, root_caller(ACCOUNT, NAMESPACE).arn)} == {ACCOUNT}

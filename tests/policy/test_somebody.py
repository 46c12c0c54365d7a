"""Principals that nobody can be: refused in a new policy, told of one that is recorded."""

from __future__ import annotations

import pytest
from tests.builders import ACCOUNT, OTHER_ACCOUNT
from tests.policy.documents import ROOT, policy, role, statement

from keystead.errors import MalformedPolicyDocumentError
from keystead.policy import compile_policy
from keystead.policy.compiled import recorded_policy
from keystead.policy.documents import parse
from keystead.policy.somebody import names_people, strangers

ARN = f"arn:aws:kms:cluster-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PEOPLE = OTHER_ACCOUNT
NOBODY = [
    {"AWS": role("KeyAdmin")},
    {"AWS": role("a_b")},
    {"AWS": role("-a")},
    {"AWS": role("a..b")},
    {"AWS": role("a@b")},
    {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/KeyAdmin/s-1"},
    {"Service": "lambda.amazonaws.com"},
    {"Service": "datakey.kms.keystead.io"},
]
SOMEBODY = [
    "*",
    {"AWS": "*"},
    {"AWS": [ACCOUNT, ROOT, role("app"), role("a.b-1"), role("a" * 253), f"arn:aws:sts::{ACCOUNT}:assumed-role/app/S_1"]},
    {"AWS": [f"arn:aws:iam::{ACCOUNT}:user/Jane", f"arn:aws:iam::{ACCOUNT}:group/A"]},
    {"Service": ["datakeys.kms.keystead.io", "audit.kms.keystead.io"]},
]


def named(principal, effect="Allow", member="Principal"):
    made = statement(principal, effect=effect)
    made[member] = made.pop("Principal")
    return policy(statement(ROOT), made)


@pytest.mark.parametrize("principal", NOBODY, ids=str)
@pytest.mark.parametrize(("effect", "member"), [("Allow", "Principal"), ("Deny", "Principal"), ("Deny", "NotPrincipal")])
def test_a_new_policy_names_nobody_who_cannot_be(principal, effect, member):
    [(kind, name)] = principal.items()
    for names, place in ((name, kind), ([name], f"{kind}[0]")):
        with pytest.raises(MalformedPolicyDocumentError) as caught:
            compile_policy(named({kind: names}, effect, member), ARN)
        assert caught.value.place == f"Statement[1].{member}.{place}"
        assert "Policy contains a statement with one or more invalid principals" in caught.value.message


@pytest.mark.parametrize("principal", NOBODY, ids=str)
def test_one_that_is_recorded_stays_readable_and_is_told(principal):
    document = recorded_policy(named(principal), ARN).document
    [told] = strangers(document)
    assert told.startswith('statement "Statement[1]" names ')


@pytest.mark.parametrize("principal", SOMEBODY, ids=str)
def test_who_can_be_somebody_is_taken(principal):
    assert strangers(compile_policy(named(principal), ARN).document) == ()


@pytest.mark.parametrize(
    ("names", "unspared"),
    [
        ({"AWS": [role("app"), ROOT]}, []),
        ({"AWS": [role("app"), ACCOUNT], "Service": "datakeys.kms.keystead.io"}, []),
        ("*", []),
        ({"AWS": role("app")}, [role("app")]),
        ({"AWS": [role("app"), PEOPLE, ROOT, f"arn:aws:iam::{PEOPLE}:group/devs"]}, []),
        ({"AWS": [ROOT, f"arn:aws:iam::{PEOPLE}:group/devs"]}, [f"group/devs of account {PEOPLE}"]),
    ],
    ids=str,
)
def test_whom_a_not_principal_names_without_its_account_is_told(names, unspared):
    document = parse(named(names, "Deny", "NotPrincipal"))
    wanted = [f'statement "Statement[1]" does not spare {name}: NotPrincipal must name account ' for name in unspared]
    assert [line.rpartition("account ")[0] + "account " for line in strangers(document)] == wanted
    assert strangers(parse(named(names, "Deny"))) == ()


def test_a_single_statement_is_looked_at_too():
    with pytest.raises(MalformedPolicyDocumentError, match="lambda"):
        compile_policy(b'{"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.x"}, "Action": "*", "Resource": "*"}}', ARN)


@pytest.mark.parametrize("name", ["user/KeyAdmin", "group/Admins"])
def test_people_are_of_one_account_only(name):
    here, there = (parse(named({"AWS": f"arn:aws:iam::{account}:{name}"})) for account in (PEOPLE, ACCOUNT))
    assert names_people(here) and names_people(there)
    assert strangers(here, PEOPLE) == strangers(there) == ()
    [told] = strangers(there, PEOPLE)
    assert name in told and told.endswith(f"people and groups are of account {PEOPLE}")
    assert not names_people(parse(named(role("app"))))

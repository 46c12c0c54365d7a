"""Principals: what a document may write, and whom it means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT, OTHER_NAMESPACE, an_app
from tests.policy.documents import ROOT, role

from keystead.errors import MalformedPolicyDocumentError
from keystead.policy import root_caller, service_account_caller
from keystead.policy.caller import service_caller, user_caller
from keystead.policy.principals import parse_principals

INSTALL, RECORDS = "999988887777", "keystead-records"
USER = f"arn:aws:iam::{INSTALL}:user/"
GROUP = f"arn:aws:iam::{INSTALL}:group/"
APP_ROOT = root_caller(ACCOUNT, NAMESPACE)


def who(given):
    return parse_principals(given, "here")


def aws(*names):
    return who({"AWS": list(names)})


@pytest.mark.parametrize("given", ["*", {"AWS": "*"}, {"AWS": [role("x"), "*"]}])
def test_a_star_names_everybody(given):
    everybody = who(given)
    assert all(
        everybody.name(caller)
        for caller in (an_app(), APP_ROOT, service_caller(INSTALL, RECORDS, "a.b"), root_caller("1" * 12, "x"))
    )


@pytest.mark.parametrize("given", [ACCOUNT, ROOT])
def test_an_account_consents_for_its_principals_and_names_none(given):
    account = aws(given)
    for caller in (an_app(), APP_ROOT):
        assert (account.name(caller), account.consent(caller), account.reach(caller)) == (False, True, True)
    other = service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app")
    assert not account.reach(other)
    assert not account.consent(service_caller(ACCOUNT, NAMESPACE, "datakeys.kms.keystead.io"))


def test_a_role_is_its_service_account_in_every_session():
    named = aws(role("app"))
    assert named.name(an_app(session="s-1"))
    assert named.name(an_app(session=None))
    assert not named.name(an_app(name="app2"))
    assert not named.name(service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app"))
    assert not named.reach(APP_ROOT)


def test_a_session_is_one_of_them():
    named = aws(f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1")
    assert named.name(an_app(session="s-1"))
    assert not named.name(an_app(session="s-2"))
    assert not named.name(an_app(session=None))


NAMES = [
    ("jane@example.com", "jane@example.com"),
    ("system:admin", "system%3Aadmin"),
    ("oidc/jane", "oidc%2Fjane"),
    ("https://idp:8443/users#jane", "https%3A%2F%2Fidp%3A8443%2Fusers%23jane"),
    ("a%2Fb", "a%252Fb"),
    ("a b", "a%20b"),
    ("~tilde", "%7Etilde"),
    ("J\u00f6rg", "J%C3%B6rg"),
    ("*", "%2A"),
]


@pytest.mark.parametrize(("name", "written"), NAMES)
def test_names_of_people_and_groups_are_percent_encoded(name, written):
    jane = user_caller(INSTALL, RECORDS, name)
    assert jane.principal == USER + written
    assert aws(USER + written).name(jane)
    assert aws(USER + written.replace("%3A", "%3a").replace("%2F", "%2f")).name(jane)
    member = user_caller(INSTALL, RECORDS, "someone", groups=("other", name))
    assert aws(GROUP + written).name(member)
    assert not aws(GROUP + written).name(jane)
    assert not aws(GROUP + written).name(replace(member, account=ACCOUNT))


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_a_person_is_named_by_the_own_name_only(name, other):
    jane = user_caller(INSTALL, RECORDS, name)
    assert aws(jane.principal).name(jane)
    assert aws(jane.principal).name(user_caller(INSTALL, RECORDS, other)) is (name == other)


@pytest.mark.parametrize(
    ("name", "fix"), [("system:admin", "system%3Aadmin"), ("oidc/jane", "oidc%2Fjane"), ("a b", "a%20b")]
)
@pytest.mark.parametrize("prefix", [USER, GROUP])
def test_a_name_that_is_not_encoded_is_refused_with_its_encoding(prefix, name, fix):
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        aws(prefix + name)
    assert fix in caught.value.message


def test_a_service_is_named_by_its_name():
    service = service_caller(INSTALL, RECORDS, "datakeys.kms.keystead.io")
    assert who({"Service": "datakeys.kms.keystead.io"}).name(service)
    assert not who({"Service": "other.kms.keystead.io"}).reach(service)
    assert not aws(INSTALL).reach(service)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "x",
        ACCOUNT,
        [],
        {},
        7,
        {"AWS": []},
        {"AWS": None},
        {"AWS": [["*"]]},
        {"aws": "*"},
        {"Federated": "cognito-identity.amazonaws.com"},
        {"CanonicalUser": "x"},
        {"Service": "*"},
        {"Service": "Datakeys.kms"},
        {"Service": "one"},
        {"Service": "a..b"},
        {"Service": "a.b\n"},
        *(
            {"AWS": text}
            for text in (
                "",
                "1",
                f"{ACCOUNT}\n",
                "\u0661" * 12,
                "AIDACKCEVSQ6C2EXAMPLE",
                "arn:aws:iam::*:root",
                f"arn:aws:iam::{ACCOUNT}:root2",
                f"arn:aws:iam::{ACCOUNT}:role/*",
                f"arn:aws:iam::{ACCOUNT}:role/",
                f"arn:aws:iam::{ACCOUNT}:role/a/b",
                f"arn:aws:iam::{ACCOUNT}:role/a\n",
                f"arn:aws:iam::{ACCOUNT}:user/",
                f"arn:aws:iam::{ACCOUNT}:user/*",
                f"arn:aws:iam::{ACCOUNT}:user/%",
                f"arn:aws:iam::{ACCOUNT}:user/%zz",
                f"arn:aws:iam::{ACCOUNT}:user/%ff",
                f"arn:aws:iam::{ACCOUNT}:user/jane\n",
                f"arn:aws:iam::{ACCOUNT}:policy/x",
                f"arn:aws:iam::{ACCOUNT}:group/system%3Aserviceaccounts",
                f"arn:aws:iam::{ACCOUNT}:group/system%3Aserviceaccounts%3Ateam-a",
                f"arn:aws:iam::{ACCOUNT}:group/system%3aauthenticated",
                f"arn:aws:sts::{ACCOUNT}:assumed-role/app",
                f"arn:aws:sts::{ACCOUNT}:assumed-role/app/*",
                f"arn:aws:sts::{ACCOUNT}:federated-user/x",
                f"arn:aws-cn:iam::{ACCOUNT}:root",
            )
        ),
    ],
)
def test_what_names_nobody_for_sure_is_refused(given):
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        who(given)
    assert caught.value.message.startswith("here")
    assert "Policy contains a statement with one or more invalid principals" in caught.value.message


JANE = user_caller(INSTALL, RECORDS, "jane", groups=("devs",))
SERVICE = service_caller(INSTALL, RECORDS, "datakeys.kms.keystead.io")


def test_an_account_spares_only_its_root():
    account = aws(ACCOUNT)
    assert account.spare(APP_ROOT)
    assert not account.spare(an_app())


@pytest.mark.parametrize(
    ("name", "caller"),
    [
        (role("app"), an_app()),
        (role("app"), an_app(session=None)),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1", an_app()),
        (f"arn:aws:iam::{INSTALL}:user/jane", JANE),
        (f"arn:aws:iam::{INSTALL}:group/devs", JANE),
    ],
)
def test_whoever_is_spared_is_named_with_its_account(name, caller):
    # IAM, 'NotPrincipal': "you must also specify the account ARN of the not-denied principal"
    assert not aws(name).spare(caller)
    assert not aws(name, OTHER_ACCOUNT).spare(caller)
    assert aws(name, caller.account).spare(caller)
    assert aws(name, f"arn:aws:iam::{caller.account}:root").spare(caller)


def test_everybody_and_services_are_spared_without_an_account():
    for caller in (an_app(), APP_ROOT, JANE, SERVICE):
        assert aws("*").spare(caller)
    assert who({"Service": SERVICE.principal}).spare(SERVICE)
    assert not aws(INSTALL).spare(SERVICE)


def test_a_role_with_a_path_is_refused_with_the_reason():
    with pytest.raises(MalformedPolicyDocumentError, match="is no principal; paths are not supported: role/<serviceaccount>"):
        aws(f"arn:aws:iam::{ACCOUNT}:role/path/app")

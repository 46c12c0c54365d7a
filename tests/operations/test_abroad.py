"""Keys of other accounts: only by the key's policy or grant AND the caller's RBAC. Three tenants x every action x every reference field.

Who is refused is told the same whether or not there is such a key, and takes the same steps.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from tests.builders import a_grant, an_alias
from tests.operations.abroad import (
    ADOPTED,
    B2,
    HOMES,
    REFERENCES,
    A,
    B,
    C,
    Consent,
    Keys,
    Outcome,
    Reference,
    Tenant,
    attempt,
    keys_of,
)
from tests.policy.documents import policy as policy_of
from tests.policy.documents import statement

from keystead.app.frontdoor import SERVED
from keystead.engine.identifiers import role_arn
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.operations.control.grant_lists import ListRetirableGrantsRequest
from keystead.operations.control.grants import CreateGrantRequest
from keystead.policy import Action, Caller
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY, KEYLESS
from keystead.policy.caller import CallerKind, user_caller
from keystead.resources.vocabulary import GrantOperation, KeyState

G = GrantOperation
OUTSIDERS: tuple[tuple[str, Tenant, Caller], ...] = tuple(
    (f"{name}-{kind}", tenant, caller)
    for name, tenant in {"A": A, "B": B, "B-in-A's-old-name": B2, "A-adopted": ADOPTED}.items()
    for kind, caller in {"app": tenant.app, "other": tenant.other, "root": tenant.root}.items()
)
references = pytest.mark.parametrize("reference", REFERENCES, ids=str)
consents = pytest.mark.parametrize("consent", list(Consent), ids=str)
BLOB = re.compile("The ciphertext refers to a customer master key that does not exist, ")


def key_side(consent: Consent, caller: Caller, action: Action) -> bool:
    """What the key says, in the words of the table in AWS's documentation, and not by the evaluator."""
    if caller.account != A.account or action not in ABROAD:
        return False
    match consent:
        case Consent.ACCOUNT:
            return action not in BY_GRANT_ONLY
        case Consent.ROLE:
            return caller.name == "app" and action not in BY_GRANT_ONLY
        case Consent.GRANT:
            return caller.name == "app" and ACTIONS[action].grantable is not None
        case Consent.DEFAULT | Consent.DENY:
            return False


@cache
def own_of(tenant: Tenant, reference: Reference) -> tuple[Keys, tuple[KeyRecord | AliasRecord | GrantRecord, ...]]:
    """A caller's own key, and an alias of it that could be moved."""
    own = keys_of(tenant, *reference.fits)
    return own, (own.key, an_alias(own.key, "alias/own"))


def run(reference: Reference, tenant: Tenant, caller: Caller, theirs: Keys, *, exists: bool = True, **how: object) -> Outcome:
    """exists=False: without the key. The grant that a token names stays: its holder is told whether that is there, whatever of the key."""
    own, records = own_of(tenant, reference)
    left = (theirs.grant,) if reference.how == "token" else ()
    return attempt(reference.make(theirs, own), caller, tenant.uid, *records, *(theirs if exists else left), **how)  # type: ignore[arg-type]


def test_every_action_and_every_member_that_names_a_key_is_in_the_table() -> None:
    named = {reference.action for reference in REFERENCES}
    assert named | KEYLESS == set(Action) - {Action.DELETE_ALIAS} | {Action.LIST_ALIASES}  # an alias name is of one's own account
    members = {
        (operation, member)
        for operation, row in SERVED.items()
        for member in row.request.__dataclass_fields__
        if member in ("key_id", "source_key_id", "destination_key_id", "target_key_id", "ciphertext_blob")
    }
    words = {(each.operation, re.sub(r"(?<!^)([A-Z])", r"_\1", each.member).lower()) for each in REFERENCES}
    assert words == members


@consents
@references
def test_it_takes_the_keys_consent_and_ones_own_rbac(reference: Reference, consent: Consent) -> None:
    theirs = keys_of(C, *reference.fits, consent)
    got, wanted = {}, {}
    for name, tenant, caller in OUTSIDERS:
        for rbac in (True, False):
            lets = key_side(consent, caller, reference.action)
            wanted[name, rbac] = lets and (rbac or caller.kind is CallerKind.ROOT)
            got[name, rbac] = run(reference, tenant, caller, theirs, rbac=rbac).allowed
    assert got == wanted


@consents
@references
def test_a_refusal_says_and_takes_the_same_whether_or_not_there_is_such_a_key(reference: Reference, consent: Consent) -> None:
    theirs = keys_of(C, *reference.fits, consent)
    for name, tenant, caller in OUTSIDERS:
        for rbac in (True, False):
            there = run(reference, tenant, caller, theirs, rbac=rbac)
            nothing = run(reference, tenant, caller, theirs, exists=False, rbac=rbac)
            assert not nothing.allowed, name
            if there.allowed:
                continue
            assert (there.code, there.message) == (nothing.code, nothing.message), name
            assert there.code == "AccessDeniedException"
            if not key_side(consent, caller, reference.action):
                assert (there.trace, there.asked) == (nothing.trace, nothing.asked), name


@references
def test_rbac_is_asked_in_the_callers_namespace_for_the_keys_arn_and_then_where_the_key_lives(reference: Reference) -> None:
    theirs = keys_of(C, *reference.fits, Consent.ACCOUNT)
    said = run(reference, A, A.app, theirs)
    if reference.action not in ABROAD - BY_GRANT_ONLY:
        assert "Home" not in said.trace and not any(theirs.arn in each for each in said.asked)
        return
    assert f"{reference.action.value.lower()} {theirs.arn} in {A.namespace}" in said.asked
    assert [step for step in said.trace if step in ("Need", "Home")][:2] == ["Need", "Home"] or reference.member == "DestinationKeyId"
    assert "Home" not in run(reference, A, A.app, theirs, rbac=False).trace


@references
def test_the_keys_own_tenant_is_served_whatever_it_says_of_others(reference: Reference) -> None:
    for consent in Consent:
        theirs = keys_of(C, *reference.fits, consent)
        said = attempt(reference.make(theirs, theirs), C.app, C.uid, *theirs)
        assert said.code in ("", "NotFoundException", "InvalidStateException", "KMSInvalidStateException"), (consent, said)
        assert "not authorized" not in said.message or reference.operation == "UpdateAlias"
        assert "Home" not in said.trace


@pytest.mark.parametrize("change", [{"state": KeyState.DESTROYED}, {"region": "cluster-2"}, {"namespace_uid": "an-earlier-one"}])
@references
def test_a_key_that_is_gone_or_whose_namespace_is_another_one_now_is_no_key(reference: Reference, change: dict[str, object]) -> None:
    theirs = keys_of(C, *reference.fits, Consent.ACCOUNT)
    gone = keys_of(C, *reference.fits, Consent.ACCOUNT, **change)
    for caller in (A.app, A.root):
        there = run(reference, A, caller, gone)
        nothing = run(reference, A, caller, theirs, exists=False)
        assert (there.code, there.message) == (nothing.code, nothing.message)


@references
def test_a_key_whose_namespace_is_deleted_serves_no_foreigner(reference: Reference) -> None:
    theirs = keys_of(C, *reference.fits, Consent.ACCOUNT)
    homes = {name: uid for name, uid in HOMES.items() if name != C.namespace}
    nothing = run(reference, A, A.root, theirs, exists=False)
    assert (run(reference, A, A.root, theirs, homes=homes).message) == nothing.message


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
@references
def test_the_state_is_told_to_whom_both_sides_allow_it_and_to_nobody_else(reference: Reference, state: KeyState) -> None:
    theirs = keys_of(C, *reference.fits, Consent.ACCOUNT, state=state)
    enabled = keys_of(C, *reference.fits, Consent.ACCOUNT)
    refused = run(reference, A, A.app, theirs, rbac=False)
    nothing = run(reference, A, A.app, enabled, exists=False, rbac=False)
    assert (refused.code, refused.message) == (nothing.code, nothing.message)
    said = run(reference, A, A.app, theirs)
    if reference.action in ABROAD - BY_GRANT_ONLY:
        assert said.allowed or said.code in ("DisabledException", "KMSInvalidStateException")
        assert said.allowed is (reference.operation in ("DescribeKey", "ListGrants", "RevokeGrant", "GetKeyRotationStatus"))


def test_a_deny_of_one_role_leaves_the_rest_of_its_account() -> None:
    encrypt = next(each for each in REFERENCES if str(each) == "Encrypt.KeyId by arn")
    theirs = keys_of(C, *encrypt.fits, Consent.DENY)
    assert not run(encrypt, A, A.root, theirs).allowed
    assert run(encrypt, C, C.app, theirs).allowed


@references
def test_an_account_that_nobody_has_claimed_is_lent_nothing(reference: Reference) -> None:
    """Its id could come to a namespace that is made under the old name later, and with it what it was trusted with."""
    theirs = keys_of(C, *reference.fits, Consent.ACCOUNT)
    said = run(reference, A, A.app, theirs, claimed=False)
    nothing = run(reference, A, A.app, theirs, exists=False)
    assert (said.code, said.message, "Home" in said.trace) == (nothing.code, nothing.message, False)


# -- grants


def test_a_grant_that_a_foreigner_makes_lives_with_the_key() -> None:
    theirs = keys_of(C, *REFERENCES[0].fits, Consent.ACCOUNT)
    request = CreateGrantRequest(key_id=theirs.arn, operations=("Decrypt",), grantee_principal=role_arn(B.account, "app"), name="n")
    said = attempt(request, A.app, A.uid, *theirs)
    assert f"namespace='{C.namespace}'" in said.changed and f"name='{theirs.key.name}'" not in said.changed
    again = attempt(request, A.root, A.uid, *theirs)
    assert again.changed == said.changed  # one name and the same terms are one grant, whoever asks


def test_a_foreign_grantee_gives_on_what_it_has_and_no_more() -> None:
    theirs = keys_of(C, *REFERENCES[0].fits)
    narrow = a_grant(theirs.key, G.DECRYPT, G.CREATE_GRANT, to=role_arn(A.account, "app"))

    def make(operation: str) -> Outcome:
        grantee = role_arn(B.account, "app")
        request = CreateGrantRequest(key_id=theirs.arn, operations=(operation,), grantee_principal=grantee)
        return attempt(request, A.app, A.uid, theirs.key, narrow)

    assert make("Decrypt").changed and make("Encrypt").code == "AccessDeniedException"


def test_grants_abroad_that_one_may_retire_are_listed_while_their_namespace_lives() -> None:
    theirs = keys_of(C, *REFERENCES[0].fits)
    grant = a_grant(theirs.key, G.DECRYPT, to=role_arn(B.account, "app"), retiring_principal=role_arn(A.account, "app"))
    request = ListRetirableGrantsRequest(retiring_principal=role_arn(A.account, "app"))
    said = attempt(request, A.app, A.uid, theirs.key, grant, rbac=False)
    assert (said.allowed, said.trace) == (True, ["Home"])
    assert attempt(request, A.app, A.uid, theirs.key, grant, claimed=False).trace == []


def test_a_retiring_principal_abroad_retires_by_the_grant_alone_with_its_own_sides_consent() -> None:
    retire = next(each for each in REFERENCES if each.operation == "RetireGrant")
    theirs = keys_of(C, *retire.fits)
    grant = a_grant(
        theirs.key, G.DECRYPT, to=role_arn(B.account, "app"), retiring_principal=role_arn(A.account, "app"), grant_id=theirs.grant.grant_id
    )
    mine = theirs._replace(grant=grant)
    assert "DeleteObject" in run(retire, A, A.app, mine).changed
    assert not run(retire, A, A.app, mine, rbac=False).allowed
    assert not run(retire, B2, B2.app, mine).allowed


# -- people


@pytest.mark.parametrize("principal", ["user/jane%40example.org", "group/system%3Aauditors"])
def test_a_person_uses_a_key_abroad_by_name_or_group_and_rbac_in_the_installs_namespace(principal: str) -> None:
    install = Tenant("keystead-records", "uid-of-records", "999988887777")
    jane = user_caller(install.account, install.namespace, "jane@example.org", "u-1", ("system:auditors",))
    named = {"AWS": f"arn:aws:iam::{install.account}:{principal}"}
    policy = policy_of(statement(named, "kms:Encrypt"))
    encrypt = next(each for each in REFERENCES if str(each) == "Encrypt.KeyId by arn")
    theirs = keys_of(C, *encrypt.fits, policy=policy)
    said = run(encrypt, install, jane, theirs)
    assert said.allowed and said.asked == [f"encrypt {theirs.arn} in keystead-records"]
    assert not run(encrypt, install, jane, theirs, rbac=False).allowed
    joe = user_caller(install.account, install.namespace, "joe", "u-2", ("system:authenticated",))
    assert not run(encrypt, install, joe, theirs).allowed

"""What a hostile caller tries through the operations: between two looks, before it is authorised, with what a request leaves empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import ACCOUNT, Records, a_grant, a_key, a_world, an_alias, an_app
from tests.operations.abroad import HSM, REFERENCES, SYMMETRIC, A, C, Consent, Reference, Tenant, attempt, keys_of
from tests.operations.requests import a_blob

from keystead.engine.identifiers import role_arn, root_arn
from keystead.engine.record import KeyRecord
from keystead.errors import AccessDeniedError
from keystead.operations.control.registry import CONTROL
from keystead.operations.effects import Need
from keystead.operations.encryption import ReEncryptRequest, re_encrypt
from keystead.operations.grant_tokens import make_token
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyState, KeyUsage
from keystead.server.codec import Codec

APP = role_arn(ACCOUNT, "app")
references = pytest.mark.parametrize("reference", REFERENCES, ids=str)


def a_policy(principal: str, action: str, condition: dict[str, Any]) -> bytes:
    one = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": "*", "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [one]}).encode()


def test_an_alias_that_moves_while_rbac_is_asked_takes_nothing_to_another_key() -> None:
    same = a_policy(root_arn(ACCOUNT), "kms:ReEncrypt*", {"Bool": {"kms:ReEncryptOnSameKey": "true"}})
    source, other = a_key(HSM, n=1, policy=same), a_key(HSM, n=2)
    alias = an_alias(source, "alias/x")
    request = ReEncryptRequest(ciphertext_blob=a_blob(HSM, source, None), destination_key_id="alias/x")
    for moves in (False, True):
        world = a_world(HSM, source, other, alias)
        assert isinstance(world.keys, Records)
        running = re_encrypt(world, an_app(), request)
        effect = next(running)
        if moves:
            world.keys.add(an_alias(other, "alias/x"))
        try:
            while True:
                assert isinstance(effect, Need)
                effect = running.send(True)
        except StopIteration as stop:
            assert not moves and stop.value.key_id.endswith(source.key_id)
        except AccessDeniedError:
            assert moves


@pytest.mark.parametrize("constraints", ["{}", '{"EncryptionContextEquals": null}', "null"])
def test_empty_constraints_do_not_pass_for_one(constraints: str) -> None:
    wanted = {"StringLike": {"kms:GrantConstraintType": "*"}}
    key = a_key(HSM, policy=a_policy(APP, "kms:CreateGrant", wanted))
    body = f'{{"KeyId": "{key.key_id}", "Operations": ["Decrypt"], "GranteePrincipal": "{APP}", "Constraints": {constraints}}}'
    codec = Codec({"CreateGrant": CONTROL["CreateGrant"]})
    said = attempt(codec.decode("CreateGrant", body.encode()), A.app, A.uid, key)
    assert (said.code, said.changed) == ("AccessDeniedException", "")
    bound = body.replace(constraints, '{"EncryptionContextEquals": {"a": "b"}}')
    assert attempt(codec.decode("CreateGrant", bound.encode()), A.app, A.uid, key).changed


OTHER_KINDS = [
    (KeySpec.HMAC_256, KeyUsage.GENERATE_VERIFY_MAC),
    (KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY),
    SYMMETRIC,
]
STATES: list[dict[str, Any]] = [
    {},
    {"state": KeyState.DISABLED},
    {"state": KeyState.PENDING_DELETION},
    {"bound": False},
    {"name": "aws-keystead"},
    {"tags": {"a": "b"}, "description": "x"},
]


@references
def test_who_has_no_right_in_its_own_account_learns_nothing_but_that_there_is_a_key(reference: Reference) -> None:
    """Neither spec, nor usage, nor state, whatever is asked: a DryRun is no way round."""
    base = keys_of(A, *reference.fits)
    request = reference.make(base, keys_of(A, *SYMMETRIC))
    requests = [request, replace(request, dry_run=True)] if hasattr(request, "dry_run") else [request]
    said = set()
    for spec, usage in (reference.fits, *OTHER_KINDS):
        for change in STATES:
            key = keys_like(base.key, spec, usage, change)
            for each in requests:
                outcome = attempt(each, A.other, A.uid, key, base.alias, rbac=False)
                said.add((outcome.code, outcome.message, tuple(outcome.trace)))
    assert len(said) == 1 and next(iter(said))[0] != ""


def keys_like(key: KeyRecord, spec: KeySpec, usage: KeyUsage, changes: dict[str, Any]) -> KeyRecord:
    where = {"account": key.account, "namespace": key.namespace, "namespace_uid": key.namespace_uid}
    return a_key(HSM, spec, usage=usage, key_id=key.key_id, **{**where, **changes})


TOKENS: dict[str, Callable[[], tuple[Tenant, str]]] = {
    "of another key": lambda: (A, "b" * 64),
    "of another account": lambda: (C, "c" * 64),
}


@pytest.mark.parametrize("whose", TOKENS)
def test_a_token_of_another_grant_gives_nothing(whose: str) -> None:
    tenant, grant_id = TOKENS[whose]()
    encrypt = next(each for each in REFERENCES if str(each) == "Encrypt.KeyId by arn")
    mine, elsewhere = keys_of(A, *encrypt.fits), keys_of(tenant, *encrypt.fits).key
    if tenant is A:
        elsewhere = a_key(HSM, n=77)
    grant = a_grant(elsewhere, *GrantOperation, to=role_arn(A.account, "other"), grant_id=grant_id)
    request = replace(encrypt.make(mine, mine), grant_tokens=(make_token(HSM.domain, grant_id, a_world(HSM).now),))
    said = attempt(request, A.other, A.uid, mine.key, elsewhere, grant, rbac=False)
    assert said.code == "AccessDeniedException" and elsewhere.key_id not in said.message


def test_constraint_keys_that_differ_by_case_only_open_nothing_by_either_value() -> None:
    encrypt = next(each for each in REFERENCES if str(each) == "Encrypt.KeyId by arn")
    mine = keys_of(A, *encrypt.fits)
    request = encrypt.make(mine, mine)
    for constraint, context, may in (
        ({"Team": "a"}, {"team": "a"}, True),
        ({"Team": "a"}, {"team": "A"}, False),
        ({"Team": "a"}, {"team": "a", "TEAM": "b"}, False),
        ({"Team": "a", "team": "b"}, {"team": "b"}, False),
        ({"Team": "a", "team": "b"}, {"Team": "a", "team": "b"}, False),
    ):
        for kind in ("equals", "subset"):
            grant = a_grant(mine.key, GrantOperation.ENCRYPT, to=role_arn(A.account, "other"), **{kind: constraint})
            asked = replace(request, encryption_context=context)
            assert attempt(asked, A.other, A.uid, mine.key, grant, rbac=False).allowed is may, (constraint, context, kind)


@references
def test_a_deny_and_no_consent_abroad_are_told_alike(reference: Reference) -> None:
    own = keys_of(A, *reference.fits)
    told = {
        (said.code, said.message, tuple(said.trace))
        for consent in (Consent.DENY, Consent.DEFAULT)
        for theirs in [keys_of(C, *reference.fits, consent)]
        for said in [attempt(reference.make(theirs, own), A.app, A.uid, *theirs, own.key, rbac=False)]
    }
    assert len(told) == 1 and "explicit deny in" not in str(told)


def test_who_calls_is_never_the_service_that_a_key_is_for() -> None:
    """kms:ViaService comes from the process alone: no header and no member of a request says it."""
    via = {"StringEquals": {"kms:ViaService": "datakeys.kms.keystead.io"}}
    key = a_key(HSM, policy=a_policy("*", "kms:*", via))
    encrypt = next(each for each in REFERENCES if str(each) == "Encrypt.KeyId by arn")
    request = replace(encrypt.make(keys_of(A, *encrypt.fits), keys_of(A, *encrypt.fits)), key_id=key.key_id)
    for caller in (A.app, A.root):
        said = attempt(request, caller, A.uid, key)
        assert (said.code, said.asked) == ("AccessDeniedException", []), caller

"""Key policies through the operations: the request's own members reach the conditions, and another account needs both consents."""

from __future__ import annotations

import dataclasses
import json

import pytest
from tests.builders import (
    ACCOUNT,
    NAMESPACE,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    Rbac,
    a_grant,
    a_key,
    a_world,
    an_alias,
    call,
    root_of,
)
from tests.operations.requests import a_blob

from keystead.engine.algorithms import MessageType, SigningAlgorithm
from keystead.engine.identifiers import key_arn
from keystead.errors import AccessDeniedError, InvalidGrantTokenError, KmsError
from keystead.operations import OPERATIONS
from keystead.operations.control.registry import CONTROL
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import DecryptRequest, EncryptRequest, ReEncryptRequest
from keystead.operations.signatures import SignRequest
from keystead.policy import Action, service_account_caller
from keystead.policy.question import Carried
from keystead.policy.request import FEEDS
from keystead.resources.vocabulary import GrantOperation, KeySpec

ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
FOREIGN = service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app", session="s-1")


def a_policy(*statements) -> bytes:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}).encode()


def allow(principal=ROLE, action="kms:*", effect="Allow", **condition):
    made = {"Effect": effect, "Principal": {"AWS": principal}, "Action": action, "Resource": "*"}
    return {**made, "Condition": condition["when"]} if condition else made


def denied(hsm, world, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request, **{"rbac": Rbac(answer=False), **how})
    return caught.value


@pytest.mark.parametrize(
    ("action", "member"), [(action, member) for action, feeds in FEEDS.items() for member, _ in feeds.values()]
)
def test_every_member_that_feeds_a_key_is_one_of_the_request(action, member):
    rows = [row for row in {**OPERATIONS, **CONTROL}.values() if action in row.actions]
    assert rows
    assert all(member in {part.name for part in dataclasses.fields(row.request)} for row in rows)


def test_a_policy_decides_without_rbac(hsm):
    key = a_key(hsm, policy=a_policy(allow(action="kms:Encrypt")))
    rbac = Rbac()
    call(hsm, a_world(hsm, key), EncryptRequest(key_id=key.key_id, plaintext=b"x"), rbac=rbac)
    assert rbac.asked == []
    assert type(denied(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id))) is AccessDeniedError
    assert (
        type(denied(hsm, a_world(hsm, key), EncryptRequest(key_id=key.key_id, plaintext=b"x"), caller=root_of(key)))
        is AccessDeniedError
    )


def test_the_encryption_context_reaches_the_policy(hsm):
    key = a_key(hsm, policy=a_policy(allow(when={"StringEquals": {"kms:EncryptionContext:app": "shop"}})))
    world = a_world(hsm, key)
    blob = call(
        hsm, world, EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_context={"app": "shop"})
    ).ciphertext_blob
    call(hsm, world, DecryptRequest(ciphertext_blob=blob, encryption_context={"app": "shop"}))
    assert (
        "CMK"
        not in denied(hsm, world, DecryptRequest(ciphertext_blob=blob, encryption_context={"app": "bank"})).message
    )


def test_members_of_the_request_reach_the_policy(hsm):
    raw = {"StringEquals": {"kms:MessageType": "RAW", "kms:SigningAlgorithm": "ECDSA_SHA_256"}}
    key = a_key(hsm, KeySpec.ECC_NIST_P256, policy=a_policy(allow(when=raw)))
    request = SignRequest(key_id=key.key_id, message=b"x" * 32, signing_algorithm=SigningAlgorithm.ECDSA_SHA_256)
    call(hsm, a_world(hsm, key), request)
    digest = dataclasses.replace(request, message_type=MessageType.DIGEST)
    assert type(denied(hsm, a_world(hsm, key), digest)) is AccessDeniedError


def test_aliases_reach_the_policy(hsm):
    asked = {"StringEquals": {"kms:RequestAlias": "alias/app"}}
    has = {"ForAnyValue:StringLike": {"kms:ResourceAliases": "alias/a*"}}
    for when in (asked, has):
        key = a_key(hsm, policy=a_policy(allow(when=when)))
        world = a_world(hsm, key, an_alias(key))
        for name in ("alias/app", f"arn:aws:kms:cluster-1:{ACCOUNT}:alias/app"):
            call(hsm, world, DescribeKeyRequest(key_id=name), rbac=Rbac(answer=False))
    assert type(denied(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id))) is AccessDeniedError


def test_how_the_call_came_reaches_the_policy(hsm):
    when = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "Bool": {"aws:SecureTransport": True}}
    key = a_key(hsm, policy=a_policy(allow(when=when)))
    request = DescribeKeyRequest(key_id=key.key_id)
    call(hsm, a_world(hsm, key, carried=Carried("10.1.2.3", True)), request)
    for carried in (Carried("11.1.2.3", True), Carried("10.1.2.3", False), Carried()):
        assert type(denied(hsm, a_world(hsm, key, carried=carried), request)) is AccessDeniedError


@pytest.mark.parametrize("same", [True, False])
def test_re_encrypt_on_the_same_key_is_known_on_both_sides(hsm, same):
    only_same = a_policy(
        allow(), allow("*", "kms:ReEncrypt*", "Deny", when={"Bool": {"kms:ReEncryptOnSameKey": False}})
    )
    one, two = a_key(hsm, policy=only_same), a_key(hsm, n=2)
    world = a_world(hsm, one, two, an_alias(one))
    request = ReEncryptRequest(
        ciphertext_blob=a_blob(hsm, one, None), destination_key_id="alias/app" if same else two.key_id
    )
    if same:
        call(hsm, world, request)
        return
    assert type(denied(hsm, world, request, rbac=Rbac())) is AccessDeniedError
    back = ReEncryptRequest(ciphertext_blob=a_blob(hsm, two, None), destination_key_id=one.key_id)
    assert "kms:ReEncryptTo" in denied(hsm, world, back, rbac=Rbac()).message


def test_an_explicit_deny_is_told_to_the_own_account(hsm):
    key = a_key(hsm, policy=a_policy(allow(), allow("*", "kms:DescribeKey", "Deny")))
    error = denied(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id))
    assert error.message.endswith("with an explicit deny in a resource-based policy")
    assert error.__notes__ == ['statement "Statement[1]" of the key policy denies it']


# -- dual control


@pytest.mark.parametrize(("key_consents", "own_consents"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("by", ["policy", "grant"])
def test_another_accounts_key_needs_both_consents(hsm, by, key_consents, own_consents):
    trusting = key_consents and by == "policy"
    key = a_key(hsm, policy=a_policy(allow(ACCOUNT), *([allow(OTHER_ACCOUNT, "kms:*crypt")] if trusting else [])))
    records = [a_grant(key, GrantOperation.ENCRYPT, to=FOREIGN.principal)] if key_consents and by == "grant" else []
    arn = key_arn(key.region, key.account, key.key_id)
    rbac = Rbac(answer=own_consents)
    request = EncryptRequest(key_id=arn, plaintext=b"x")
    world = a_world(hsm, key, *records)
    if key_consents and own_consents:
        assert call(hsm, world, request, caller=FOREIGN, rbac=rbac).key_id == arn
    else:
        assert "does not exist in this Region" in denied(hsm, world, request, caller=FOREIGN, rbac=rbac).message
    asked = [(review.user, review.verb, review.namespace, review.name) for review in rbac.asked]
    assert asked == [("system:serviceaccount:team-b:app", "encrypt", OTHER_NAMESPACE, arn)] * key_consents


@pytest.mark.parametrize("consents", [True, False])
def test_a_blob_of_another_account_opens_where_both_consent(hsm, consents):
    key = a_key(hsm, policy=a_policy(allow(ACCOUNT), allow(OTHER_ACCOUNT, "kms:Decrypt")))
    request = DecryptRequest(ciphertext_blob=a_blob(hsm, key, None))
    if consents:
        call(hsm, a_world(hsm, key), request, caller=FOREIGN)
    else:
        unknown = denied(hsm, a_world(hsm), request, caller=FOREIGN)
        refused = denied(hsm, a_world(hsm, key), request, caller=FOREIGN)
        assert (type(refused), refused.message) == (type(unknown), unknown.message)


@pytest.mark.parametrize("exists", [True, False])
def test_a_bad_grant_token_does_not_tell_whether_a_foreign_key_exists(hsm, exists):
    key = a_key(hsm, policy=a_policy(allow(ACCOUNT)))
    arn = key_arn(key.region, key.account, key.key_id)
    world = a_world(hsm, *([key] if exists else []))
    blob = a_blob(hsm, key, None)
    for request in (
        DescribeKeyRequest(key_id=arn, grant_tokens=("bad",)),
        DecryptRequest(ciphertext_blob=blob, grant_tokens=("bad",)),
    ):
        assert type(denied(hsm, world, request, caller=FOREIGN)) is InvalidGrantTokenError


def test_the_namespace_of_the_key_is_the_place_of_its_own_accounts_review(hsm):
    key = a_key(hsm, policy=a_policy(allow(ACCOUNT)))
    rbac = Rbac()
    call(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id), rbac=rbac)
    assert [(review.namespace, review.name) for review in rbac.asked] == [(NAMESPACE, key.name)]
    assert Action.DESCRIBE_KEY.value.lower() == rbac.asked[0].verb

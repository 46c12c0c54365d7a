"""Resolve and authorise: forms of KeyId, and refusals that tell an outsider nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from tests.builders import (
    ACCOUNT,
    APP,
    NOW,
    OTHER_ACCOUNT,
    OTHER_UID,
    REGION,
    Rbac,
    a_grant,
    a_key,
    a_key_id,
    a_world,
    an_alias,
    an_app,
    another_tenants_key,
    call,
)
from tests.operations.requests import CONTEXT, KEYS, a_blob, a_request, the_key

from keystead.engine.identifiers import alias_arn, key_arn
from keystead.errors import (
    AccessDeniedError,
    InvalidGrantTokenError,
    KmsError,
    NotFoundException,
    ValidationError,
)
from keystead.operations import OPERATIONS
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.effects import Await, drive
from keystead.operations.encryption import DecryptRequest, EncryptRequest, ReEncryptRequest
from keystead.operations.grant_tokens import make_token, read_token
from keystead.operations.pipeline import _at_once, resolve
from keystead.policy import Action, root_caller
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyState

FOREIGN = (
    "User: arn:aws:sts::111122223333:assumed-role/app/s-1 is not authorized to perform: kms:{} on this resource "
    "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based "
    "policy explicitly denies access"
)
BLOB = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are "
    "not allowed to access."
)
operations = pytest.mark.parametrize("operation", sorted(KEYS))
UNKNOWN = a_key_id(404)


def describe(hsm, world, key_id, **how):
    return call(hsm, world, DescribeKeyRequest(key_id=key_id), **how).key_metadata


def refusal(hsm, world, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request, **how)
    return caught.value


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


@pytest.mark.parametrize("form", ["id", "arn", "alias", "alias arn"])
def test_a_key_has_four_names(hsm, form):
    key = a_key(hsm)
    names = {
        "id": key.key_id,
        "arn": arn(key),
        "alias": "alias/app",
        "alias arn": alias_arn(REGION, ACCOUNT, "alias/app"),
    }
    assert describe(hsm, a_world(hsm, key, an_alias(key)), names[form]).arn == arn(key)


@pytest.mark.parametrize("name", ["{id}", "{arn}", "{upper}", "key/{id}", "alias/app", "{arn}x", "{arn} ", "{other}", "{elsewhere}"])
@pytest.mark.parametrize("change", [{}, {"region": "cluster-2"}, {"state": KeyState.DESTROYED}, {"namespace_uid": OTHER_UID}])
@pytest.mark.parametrize("by", [an_app(), root_caller(OTHER_ACCOUNT, "team-b")])
def test_the_short_way_to_a_key_finds_what_the_long_one_finds_or_nothing(hsm, name, change, by):
    key = a_key(hsm, **change)
    key_id = name.format(
        id=key.key_id,
        arn=arn(key),
        upper=key.key_id.upper(),
        other=key_arn(REGION, OTHER_ACCOUNT, key.key_id),
        elsewhere=key_arn("cluster-3", ACCOUNT, key.key_id),
    )
    world = a_world(hsm, key)
    short = _at_once(world, by, key_id)
    try:
        found = drive(resolve(world, by, Action.DESCRIBE_KEY, key_id), Rbac(), hsm.slow)
    except KmsError:
        found = None
    assert short is found
    plain = name == "{id}" and by.account == ACCOUNT
    assert (short is key) is ((plain or name == "{arn}") and not change)


def test_a_changed_record_is_described_anew(hsm):
    key = a_key(hsm, description="old")
    assert describe(hsm, a_world(hsm, key), key.key_id).description == "old"
    changed = msgspec.structs.replace(key, description="new")
    assert describe(hsm, a_world(hsm, changed), key.key_id).description == "new"


def test_a_multi_region_key_id_resolves(hsm):
    key = a_key(hsm, key_id="mrk-1234abcd12ab34cd56ef1234567890ab")
    assert describe(hsm, a_world(hsm, key), key.key_id).key_id == key.key_id


def test_the_other_form_of_the_same_bytes_names_no_key(hsm):
    world = a_world(hsm, a_key(hsm, key_id="mrk-1234abcd12ab34cd56ef1234567890ab"))
    uuid = "1234abcd-12ab-34cd-56ef-1234567890ab"
    assert refusal(hsm, world, DescribeKeyRequest(key_id=uuid)).code == "NotFoundException"


@pytest.mark.parametrize(
    ("key_id", "message"),
    [
        (UNKNOWN, f"Key 'arn:aws:kms:cluster-1:111122223333:key/{UNKNOWN}' does not exist"),
        (key_arn(REGION, ACCOUNT, UNKNOWN), f"Key 'arn:aws:kms:cluster-1:111122223333:key/{UNKNOWN}' does not exist"),
        ("fake-key-id", "Invalid keyId 'fake-key-id'"),
        ("134f2428cec14b25a1ae9048164dba47", "Invalid keyId '134f2428cec14b25a1ae9048164dba47'"),
        ("mrk-fake-key-id", "Invalid keyId 'mrk-fake-key-id'"),
        ("*", "Invalid keyId '*'"),
        (UNKNOWN.upper(), f"Invalid keyId '{UNKNOWN.upper()}'"),
        (key_arn("us-east-2", ACCOUNT, UNKNOWN), "Invalid arn us-east-2"),
        ("arn:aws:kms:cluster-1", "Invalid keyId 'arn:aws:kms:cluster-1'"),
        ("arn:aws:iam::111122223333:root", "Invalid keyId 'arn:aws:iam::111122223333:root'"),
        ("alias/none", "Alias arn:aws:kms:cluster-1:111122223333:alias/none is not found."),
        ("alias/", "Alias arn:aws:kms:cluster-1:111122223333:alias/ is not found."),
    ],
)
def test_what_is_not_found_is_said_in_aws_words(hsm, key_id, message):
    error = refusal(hsm, a_world(hsm, a_key(hsm)), DescribeKeyRequest(key_id=key_id))
    assert type(error) is NotFoundException
    assert error.message == message


@pytest.mark.parametrize("key_id", ["", "x" * 2049])
def test_a_key_id_has_1_to_2048_characters(hsm, key_id):
    assert type(refusal(hsm, a_world(hsm), DescribeKeyRequest(key_id=key_id))) is ValidationError


@operations
def test_a_destroyed_key_is_not_found(hsm, operation):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    error = refusal(hsm, a_world(hsm, the_key(hsm, operation, state=KeyState.DESTROYED)), request)
    if operation in ("Decrypt", "ReEncrypt"):
        assert (error.code, error.message) == ("AccessDeniedException", BLOB)
    else:
        assert (error.code, error.message) == ("NotFoundException", f"Key '{arn(key)}' does not exist")


@operations
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("by", ["id", "alias"])
def test_another_tenants_key_is_refused_alike_whether_or_not_it_exists(hsm, operation, exists, by):
    own = the_key(hsm, operation)
    theirs = another_tenants_key(hsm, *KEYS[operation][:1], usage=KEYS[operation][1])
    request = a_request(hsm, operation, own)
    name = arn(theirs) if by == "id" else alias_arn(REGION, OTHER_ACCOUNT, "alias/app")
    member = "destination_key_id" if operation == "ReEncrypt" else "key_id"
    records = [theirs, an_alias(theirs), a_grant(theirs, *GrantOperation)] if exists else []
    consented = exists  # by the grant: then the caller's own side is asked, and says no
    rbac = Rbac(answer=False)
    world = a_world(hsm, own, *records, a_grant(own, GrantOperation.RE_ENCRYPT_FROM))
    error = refusal(hsm, world, replace(request, **{member: name}), rbac=rbac)
    action = OPERATIONS[operation].actions[-1].value
    assert (error.code, error.message) == ("AccessDeniedException", FOREIGN.format(action))
    assert [(review.namespace, review.name) for review in rbac.asked] == [("team-a", arn(theirs))] * consented


@pytest.mark.parametrize("resource", [f"key/{UNKNOWN}", "key/nonsense", "alias/none"])
def test_a_malformed_foreign_arn_is_refused_like_any_foreign_key(hsm, resource):
    name = f"arn:aws:kms:{REGION}:{OTHER_ACCOUNT}:{resource}"
    error = refusal(hsm, a_world(hsm), DescribeKeyRequest(key_id=name))
    assert (type(error), error.message) == (AccessDeniedError, FOREIGN.format("DescribeKey"))


def test_a_bare_id_of_another_tenant_is_an_unknown_key_of_the_own_account(hsm):
    theirs = another_tenants_key(hsm)
    error = refusal(hsm, a_world(hsm, theirs), DescribeKeyRequest(key_id=theirs.key_id))
    assert error.message == f"Key '{key_arn(REGION, ACCOUNT, theirs.key_id)}' does not exist"


def test_a_bare_id_of_another_tenant_is_waited_for_like_one_that_does_not_exist(hsm):
    """Else the time of the refusal would tell which keys other tenants have."""
    foreign, waits = another_tenants_key(hsm), []
    for world in (a_world(hsm, foreign), a_world(hsm)):
        running = OPERATIONS["DescribeKey"].function(world, an_app(), DescribeKeyRequest(key_id=foreign.key_id))
        effect = next(running)
        with pytest.raises(NotFoundException):
            running.send(None)
        waits.append(isinstance(effect, Await) and not effect.ready())
    assert waits == [True, True]


def test_an_arn_with_the_own_account_and_another_tenants_id_is_an_unknown_key(hsm):
    theirs = another_tenants_key(hsm)
    name = key_arn(REGION, ACCOUNT, theirs.key_id)
    assert type(refusal(hsm, a_world(hsm, theirs), DescribeKeyRequest(key_id=name))) is NotFoundException


def test_an_alias_that_points_to_another_account_is_an_unknown_key(hsm):
    theirs = another_tenants_key(hsm)
    alias = an_alias(a_key(hsm), key_id=theirs.key_id)
    error = refusal(hsm, a_world(hsm, theirs, alias), DescribeKeyRequest(key_id="alias/app"))
    assert type(error) is NotFoundException


def test_an_alias_of_an_earlier_namespace_is_not_found(hsm):
    key = a_key(hsm)
    world = a_world(hsm, key, an_alias(key, namespace_uid=OTHER_UID))
    assert refusal(hsm, world, DescribeKeyRequest(key_id="alias/app")).message.startswith("Alias ")


def test_a_key_of_another_region_does_not_exist_here(hsm):
    key = a_key(hsm, region="cluster-2")
    assert type(refusal(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id))) is NotFoundException


@operations
def test_rbac_is_asked_for_every_action_of_an_operation(hsm, operation):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    rbac = Rbac()
    call(hsm, a_world(hsm, key), request, rbac=rbac)
    assert [review.verb for review in rbac.asked] == [a.value.lower() for a in OPERATIONS[operation].actions]


@operations
@pytest.mark.parametrize("answer", [False, None, 1, "yes"])
def test_anything_but_an_explicit_yes_denies(hsm, operation, answer):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    error = refusal(hsm, a_world(hsm, key), request, rbac=Rbac(answer=answer))
    action = OPERATIONS[operation].actions[0].value
    own = (
        f"User: arn:aws:sts::111122223333:assumed-role/app/s-1 is not authorized to perform: kms:{action} on resource: "
        f"{arn(key)} because no resource-based policy allows the kms:{action} action"
    )
    assert type(error) is AccessDeniedError
    assert error.message == (BLOB if operation in ("Decrypt", "ReEncrypt") else own)


@operations
def test_root_of_the_account_needs_no_rbac(hsm, operation):
    key = the_key(hsm, operation)
    rbac = Rbac(answer=False)
    request = a_request(hsm, operation, key)
    call(hsm, a_world(hsm, key), request, caller=root_caller(ACCOUNT, "team-a"), rbac=rbac)
    assert rbac.asked == []


@operations
def test_a_key_with_a_policy_of_its_own_serves_nobody(hsm, operation):
    key = the_key(hsm, operation, policy=b"{}")
    request = a_request(hsm, operation, key)
    world = a_world(hsm, key, a_grant(key, *GrantOperation))
    root = root_caller(ACCOUNT, "team-a")
    if operation == "DescribeKey":  # what shows the policy goes on as if it were the default one
        call(hsm, world, request, caller=root)
        assert type(refusal(hsm, a_world(hsm, key), request, rbac=Rbac(answer=False))) is AccessDeniedError
        return
    assert type(refusal(hsm, world, request)) is AccessDeniedError
    assert type(refusal(hsm, world, request, caller=root)) is AccessDeniedError


@operations
@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("uid", [None, "made-again"])
def test_a_namespace_that_is_gone_or_made_again_does_not_have_the_key(hsm, operation, bound, uid):
    key = the_key(hsm, operation, bound=bound)
    request = a_request(hsm, operation, key)
    world = a_world(hsm, key, a_grant(key, *GrantOperation))
    world.keys.namespaces.pop("team-a")
    if uid:
        world.keys.namespaces["team-a"] = uid
    error = refusal(hsm, world, request)
    by_blob = operation in ("Decrypt", "ReEncrypt")
    assert error.message == (BLOB if by_blob else FOREIGN.format(OPERATIONS[operation].actions[0].value))


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_state_and_usage_are_not_told_to_who_may_not_use_the_key(hsm, state):
    signing = a_key(hsm, KeySpec.ECC_NIST_P256, state=state)
    request = EncryptRequest(key_id=signing.key_id, plaintext=b"x")
    assert type(refusal(hsm, a_world(hsm, signing), request, rbac=Rbac(answer=False))) is AccessDeniedError


def test_a_blob_of_an_unknown_foreign_or_denied_key_is_one_answer(hsm):
    def make(blob):
        return DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT)

    own, theirs = a_key(hsm), another_tenants_key(hsm)
    unknown = refusal(hsm, a_world(hsm), make(a_blob(hsm, own)))
    foreign = refusal(hsm, a_world(hsm, theirs), make(a_blob(hsm, theirs)))
    denied = refusal(hsm, a_world(hsm, own), make(a_blob(hsm, own)), rbac=Rbac(answer=False))
    elsewhere = refusal(hsm, a_world(hsm, own, region="cluster-2"), make(a_blob(hsm, own)))
    answers = {(error.code, error.message) for error in (unknown, foreign, denied, elsewhere)}
    assert answers == {("AccessDeniedException", BLOB)}


def test_the_reason_is_a_note_for_the_log_and_not_in_the_message(hsm):
    key = a_key(hsm)
    error = refusal(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id), rbac=Rbac(answer=False))
    assert error.__notes__ == [
        "RBAC does not give system:serviceaccount:team-a:app the verb describekey on key-1 in team-a "
        '(statement "Enable IAM User Permissions" of the key policy leaves it to the account)'
    ]
    assert "RBAC" not in error.message


def test_re_encrypt_needs_both_rights(hsm):
    one, two = a_key(hsm), a_key(hsm, n=2)
    request = ReEncryptRequest(ciphertext_blob=a_blob(hsm, one, None), destination_key_id=two.key_id)
    only_from = a_world(hsm, one, two, a_grant(one, GrantOperation.RE_ENCRYPT_FROM, GrantOperation.RE_ENCRYPT_TO))
    assert "kms:ReEncryptTo" in refusal(hsm, only_from, request, rbac=Rbac(answer=False)).message
    only_to = a_world(hsm, one, two, a_grant(two, GrantOperation.RE_ENCRYPT_FROM, GrantOperation.RE_ENCRYPT_TO))
    assert refusal(hsm, only_to, request, rbac=Rbac(answer=False)).message == BLOB
    both = a_world(
        hsm, one, two, a_grant(one, GrantOperation.RE_ENCRYPT_FROM), a_grant(two, GrantOperation.RE_ENCRYPT_TO)
    )
    call(hsm, both, request, rbac=Rbac(answer=False))


def test_decrypt_and_encrypt_rights_do_not_re_encrypt(hsm):
    key = a_key(hsm)
    world = a_world(hsm, key, a_grant(key, GrantOperation.DECRYPT, GrantOperation.ENCRYPT))
    request = ReEncryptRequest(ciphertext_blob=a_blob(hsm, key, None), destination_key_id=key.key_id)
    assert type(refusal(hsm, world, request, rbac=Rbac(answer=False))) is AccessDeniedError


@pytest.mark.parametrize(("count", "bad"), [(10, False), (11, True)])
def test_a_request_has_ten_grant_tokens_at_most(hsm, count, bad):
    key = a_key(hsm)
    grant = a_grant(key, GrantOperation.DESCRIBE_KEY)
    tokens = (make_token(hsm.domain, grant.grant_id, NOW),) * count
    request = DescribeKeyRequest(key_id=key.key_id, grant_tokens=tokens)
    if bad:
        assert type(refusal(hsm, a_world(hsm, key, grant), request)) is ValidationError
    else:
        call(hsm, a_world(hsm, key, grant), request)


@pytest.mark.parametrize("token", ["", "t" * 8193])
def test_a_grant_token_has_1_to_8192_characters(hsm, token):
    request = DescribeKeyRequest(key_id=a_key(hsm).key_id, grant_tokens=(token,))
    assert type(refusal(hsm, a_world(hsm, a_key(hsm)), request)) is ValidationError


@pytest.mark.parametrize("token", ["t", "x" * 64, "x" * 103, "\u00e9" * 103, "=" * 103, "A" * 104])
def test_a_grant_token_that_is_none_of_ours_is_refused(hsm, token):
    request = DescribeKeyRequest(key_id=a_key(hsm).key_id, grant_tokens=(token,))
    assert refusal(hsm, a_world(hsm, a_key(hsm)), request).code == "InvalidGrantTokenException"


def test_a_grant_token_has_one_text(hsm):
    """Decoders are strict (format.md): no padding, no spare bits, no other alphabet."""
    token = make_token(hsm.domain, "ab" * 32, NOW)
    assert read_token(hsm.domain, token).grant_id == "ab" * 32
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(token[-1]) + 1]
    for text in (f"{token}=", f"{token}\n", f" {token}", token[:-1] + other, token.replace("-", "+").replace("_", "/") + "A", f"{token}é"):
        with pytest.raises(InvalidGrantTokenError):
            read_token(hsm.domain, text)


def test_a_grant_token_with_one_character_changed_is_refused(hsm):
    key = a_key(hsm)
    grant = a_grant(key, GrantOperation.DESCRIBE_KEY)
    token = make_token(hsm.domain, grant.grant_id, NOW)
    for at in range(0, len(token) - 1, 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        request = DescribeKeyRequest(key_id=key.key_id, grant_tokens=(changed,))
        assert refusal(hsm, a_world(hsm, key, grant), request).code == "InvalidGrantTokenException"


def test_a_grant_token_opens_nothing_by_itself(hsm):
    key = a_key(hsm)
    others = a_grant(key, GrantOperation.DESCRIBE_KEY, to=f"{APP}2")
    request = DescribeKeyRequest(key_id=key.key_id, grant_tokens=(make_token(hsm.domain, others.grant_id, NOW),))
    assert type(refusal(hsm, a_world(hsm, key, others), request, rbac=Rbac(answer=False))) is AccessDeniedError


def wait_for(hsm, world, grant, request, age=timedelta(0)):
    """(the answer, how often it waited): the grant arrives at the first wait."""
    waits = 0

    def arrive(effect):
        nonlocal waits
        waits += 1
        world.keys.add(grant)

    running = OPERATIONS["DescribeKey"].function(replace(world, now=NOW + age), an_app(), request)
    effect = next(running)
    try:
        while True:
            effect = running.send(arrive(effect) if isinstance(effect, Await) else False)
    except StopIteration as stop:
        return stop.value, waits


def test_a_fresh_grant_token_waits_for_its_grant(hsm):
    key = a_key(hsm)
    grant = a_grant(key, GrantOperation.DESCRIBE_KEY)
    request = DescribeKeyRequest(
        key_id=key.key_id, grant_tokens=(make_token(hsm.domain, grant.grant_id, NOW),)
    )
    answer, waits = wait_for(hsm, a_world(hsm, key), grant, request)
    assert (answer.key_metadata.key_id, waits) == (key.key_id, 1)


@pytest.mark.parametrize("age", [timedelta(minutes=5, seconds=1), -timedelta(minutes=5, seconds=1)])
def test_an_old_grant_token_waits_for_nothing(hsm, age):
    key = a_key(hsm)
    grant = a_grant(key, GrantOperation.DESCRIBE_KEY)
    request = DescribeKeyRequest(
        key_id=key.key_id, grant_tokens=(make_token(hsm.domain, grant.grant_id, NOW),)
    )
    with pytest.raises(InvalidGrantTokenError):
        wait_for(hsm, a_world(hsm, key), grant, request, age)


def test_the_token_of_a_grant_that_is_gone_is_refused(hsm):
    key = a_key(hsm)
    token = make_token(hsm.domain, a_grant(key, GrantOperation.DESCRIBE_KEY).grant_id, NOW)
    request = DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,))
    assert refusal(hsm, a_world(hsm, key), request).code == "InvalidGrantTokenException"


def test_an_only_grant_caller_is_held_to_that_grant(hsm):
    key = a_key(hsm)
    grant = a_grant(key, GrantOperation.DESCRIBE_KEY)
    request = DescribeKeyRequest(key_id=key.key_id)
    call(hsm, a_world(hsm, key, grant), request, caller=replace(an_app(), only_grant=grant.grant_id))
    error = refusal(hsm, a_world(hsm, key, grant), request, caller=replace(an_app(), only_grant="00" * 32))
    assert type(error) is AccessDeniedError

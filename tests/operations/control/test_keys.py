"""CreateKey, ListKeys, UpdateKeyDescription."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.builders import NAMESPACE, OTHER_UID, REGION
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.common import NamespaceFacts
from keystead.errors import AccessDeniedError, KmsError, LimitExceededError
from keystead.operations.control.keys import (
    CreateKeyRequest,
    ListKeysRequest,
    UpdateKeyDescriptionRequest,
    create_key,
)
from keystead.operations.control.state import DisableKeyRequest
from keystead.operations.control.tags import Tag
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.effects import Change, Probe
from keystead.operations.encryption import EncryptRequest
from keystead.operations.writes import CreateObject
from keystead.policy import caller_of
from keystead.reconciler.ports import Kind
from keystead.resources.vocabulary import USAGES, KeySpec, KeyState, KeyUsage, Origin


def create(desk, **members):
    how = {name: members.pop(name) for name in ("caller", "invocation", "region") if name in members}
    return desk.call(CreateKeyRequest(**members), **how).key_metadata


def refusal(desk, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        desk.call(request, **how)
    return caught.value


def names(desk) -> list[str]:
    return [ref.name for ref in desk.world.objects.bodies if ref.kind is Kind.KEY]


def test_a_key_without_members_is_symmetric_default_and_works(desk):
    made = create(desk)
    assert (made.key_spec, made.key_usage, made.key_state) == (
        KeySpec.SYMMETRIC_DEFAULT,
        KeyUsage.ENCRYPT_DECRYPT,
        KeyState.ENABLED,
    )
    assert made.arn == key_arn(REGION, desk.account, made.key_id)
    assert (made.origin, made.multi_region, made.description) == (Origin.AWS_KMS, False, "")
    assert desk.call(EncryptRequest(key_id=made.key_id, plaintext=b"x")).key_id == made.arn


def test_create_key_answers_what_describe_key_answers(desk):
    made = create(desk, description="d", tags=(Tag(tag_key="a", tag_value="b"),))
    assert desk.call(DescribeKeyRequest(key_id=made.arn)).key_metadata == made


def test_the_object_says_what_the_request_said_and_nothing_else(desk):
    create(desk, description="ours", key_spec=KeySpec.HMAC_256, key_usage=KeyUsage.GENERATE_VERIFY_MAC)
    (change,) = desk.changes
    assert not change.narrows
    assert isinstance(change.write, CreateObject)
    assert change.write.spec == {
        "region": REGION,
        "keySpec": "HMAC_256",
        "keyUsage": "GENERATE_VERIFY_MAC",
        "description": "ours",
    }
    body = desk.body(change.write.name)
    assert body["metadata"]["labels"] == {"kms.keystead.io/created-by": "api"}
    assert re.fullmatch(r"key-[0-9a-f]{20}", change.write.name)


@pytest.mark.parametrize(("spec", "usage"), [(spec, usage) for spec, usages in USAGES.items() for usage in usages])
def test_every_spec_can_be_made_with_every_usage_of_its(desk, spec, usage):
    made = create(desk, key_spec=spec, key_usage=usage)
    assert (made.key_spec, made.key_usage) == (spec, usage)


@pytest.mark.parametrize(
    ("spec", "usage"), [(spec, usage) for spec in KeySpec for usage in KeyUsage if usage not in USAGES[spec]]
)
def test_a_usage_that_a_spec_does_not_have_is_refused_before_anything_is_written(desk, spec, usage):
    error = refusal(desk, CreateKeyRequest(key_spec=spec, key_usage=usage))
    assert (error.code, error.message) == (
        "ValidationException",
        f"KeyUsage {usage.value} is not compatible with KeySpec {spec.value}",
    )
    assert desk.changes == []


@pytest.mark.parametrize("spec", [spec for spec in KeySpec if spec is not KeySpec.SYMMETRIC_DEFAULT])
def test_all_other_specs_need_a_usage(desk, spec):
    error = refusal(desk, CreateKeyRequest(key_spec=spec))
    assert (error.code, error.message) == (
        "ValidationException",
        "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
    )


def test_the_deprecated_name_of_key_spec_is_the_same(desk):
    made = create(desk, customer_master_key_spec=KeySpec.ECC_NIST_P384, key_usage=KeyUsage.SIGN_VERIFY)
    assert made.key_spec is KeySpec.ECC_NIST_P384
    both = CreateKeyRequest(
        key_spec=KeySpec.SYMMETRIC_DEFAULT, customer_master_key_spec=KeySpec.SYMMETRIC_DEFAULT
    )
    assert refusal(desk, both).code == "ValidationException"


@pytest.mark.parametrize(
    "members",
    [
        {"origin": Origin.EXTERNAL},
        {"origin": Origin.AWS_CLOUDHSM, "custom_key_store_id": "cks-1"},
        {"origin": Origin.EXTERNAL_KEY_STORE, "xks_key_id": "x"},
        {"custom_key_store_id": "cks-1"},
        {"xks_key_id": "x"},
        {"multi_region": True},
    ],
)
def test_material_from_elsewhere_is_unsupported_and_says_so(desk, members):
    error = refusal(desk, CreateKeyRequest(**members))
    assert error.code == "UnsupportedOperationException"
    assert "not supported" in error.message
    assert desk.changes == []


def test_multi_region_false_and_origin_aws_kms_are_what_there_is(desk):
    assert create(desk, multi_region=False, origin=Origin.AWS_KMS).multi_region is False


def test_a_spec_that_the_key_store_cannot_do_is_refused_before_anything_is_written(desk):
    desk.world.engine.hsm = FakeHsm(protections={KeySpec.RSA_4096: None})
    error = refusal(desk, CreateKeyRequest(key_spec=KeySpec.RSA_4096, key_usage=KeyUsage.SIGN_VERIFY))
    assert (error.code, error.message) == (
        "UnsupportedOperationException",
        "The key store cannot do keys of KeySpec RSA_4096.",
    )
    assert desk.changes == []


CLOSED = '{"Action":"kms:*","Effect":"Deny","Principal":"*","Resource":"*"}'


def test_tags_and_policy_are_in_the_first_record(desk):
    made = create(
        desk,
        tags=(Tag(tag_key="team", tag_value="a"), Tag(tag_key="empty", tag_value="")),
        policy=f'{{"Version": "2012-10-17", "Statement": [{CLOSED}]}}',
        bypass_policy_lockout_safety_check=True,
    )
    record = desk.model.by_id(bytes.fromhex(made.key_id.replace("-", "")))
    assert record.tags == {"team": "a", "empty": ""}
    assert record.policy == f'{{"Statement":[{CLOSED}],"Version":"2012-10-17"}}'.encode()
    assert record.seq == 1


@pytest.mark.parametrize(
    ("tags", "code", "message"),
    [
        ((("a", "1"), ("a", "2")), "TagException", "Duplicate tag keys"),
        (tuple((f"k{n}", "") for n in range(51)), "TagException", "Too many tags"),
        ((("aws:x", "1"),), "TagException", "Tags beginning with aws: are reserved"),
    ],
)
def test_tags_that_cannot_be_are_refused_before_anything_is_written(desk, tags, code, message):
    error = refusal(desk, CreateKeyRequest(tags=tuple(Tag(tag_key=key, tag_value=value) for key, value in tags)))
    assert (error.code, error.message) == (code, message)
    assert desk.changes == []


OTHER_KEY = CLOSED.replace('"*"}', '"arn:aws:kms:cluster-1:1:key/x"}').replace("Deny", "Allow")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("[]", "must be a JSON object"),
        ('{"Statement": [' + CLOSED.replace("kms:*", "kms:Decyrpt") + "]}", "Statement[0].Action: there is no action kms:Decyrpt"),
        ('{"Statement": [' + CLOSED + "]}", "will not allow you to update the key policy in the future."),
        ('{"Statement": [' + OTHER_KEY + "]}", "Statement[0].Resource"),
    ],
)
def test_a_bad_policy_is_refused_before_anything_is_written(desk, policy, words):
    error = refusal(desk, CreateKeyRequest(policy=policy))
    assert error.code == "MalformedPolicyDocumentException"
    assert words in error.message
    assert desk.changes == []


def test_a_description_has_8192_characters_at_most(desk):
    assert create(desk, description="x" * 8192).description == "x" * 8192
    error = refusal(desk, CreateKeyRequest(description="x" * 8193))
    assert error.message.endswith("at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192")


def test_a_retry_of_the_sdk_finds_the_key_of_the_first_attempt(desk):
    first = create(desk, description="d", invocation="i-1")
    assert create(desk, description="d", invocation="i-1") == first
    assert len(names(desk)) == 1


@pytest.mark.parametrize(
    "changes", [{"invocation": "i-2"}, {"description": "other"}, {"caller": "root"}, {"invocation": ""}]
)
def test_another_call_makes_another_key(desk, changes):
    first = create(desk, description="d", invocation="i-1")
    again = {"description": "d", "invocation": "i-1", **changes}
    if "caller" in again:
        again["caller"] = desk.root
    assert create(desk, **again).key_id != first.key_id


def test_without_an_invocation_id_every_call_makes_a_key(desk):
    assert create(desk).key_id != create(desk).key_id


def test_rbac_is_asked_for_createkey_in_the_callers_namespace_without_a_name(desk):
    create(desk)
    (review,) = desk.rbac.asked
    assert (review.verb, review.resource, review.namespace, review.name) == ("createkey", "kmskeys", NAMESPACE, "")


def test_who_may_not_create_learns_nothing_of_the_key_store(desk):
    desk.rbac.answer = False
    desk.world.engine.hsm = FakeHsm(protections=dict.fromkeys(KeySpec))
    error = refusal(desk, CreateKeyRequest())
    assert (error.code, error.message) == (
        "AccessDeniedException",
        f"User: {desk.app.arn} is not authorized to perform: kms:CreateKey",
    )


def test_a_user_of_an_account_creates_nothing(desk):
    user = caller_of(f"arn:aws:iam::{desk.account}:user/jane", NAMESPACE)
    assert refusal(desk, CreateKeyRequest(), caller=user).code == "AccessDeniedException"


def test_the_key_is_of_the_region_that_was_called(desk):
    made = create(desk, region="eu-west-9")
    assert made.arn == key_arn("eu-west-9", desk.account, made.key_id)
    assert desk.call(ListKeysRequest()).keys == ()
    assert [key.key_id for key in desk.call(ListKeysRequest(), region="eu-west-9").keys] == [made.key_id]


def test_the_probe_comes_last_and_the_write_after_it(desk):
    running = create_key(desk.control_world(), desk.root, CreateKeyRequest())
    assert isinstance(next(running), Probe)
    assert isinstance(running.send(desk.world.engine.hsm.protection(KeySpec.SYMMETRIC_DEFAULT)), Change)
    running.close()


# ListKeys


def test_keys_are_listed_in_the_order_of_their_ids(desk):
    made = sorted(create(desk).key_id for _ in range(5))
    answer = desk.call(ListKeysRequest())
    assert [key.key_id for key in answer.keys] == made
    assert all(key.key_arn == key_arn(REGION, desk.account, key.key_id) for key in answer.keys)
    assert (answer.truncated, answer.next_marker) == (False, None)


def test_pages_of_keys_have_each_key_once(desk):
    made = sorted(create(desk).key_id for _ in range(5))
    seen, marker = [], None
    for expected in (2, 2, 1):
        answer = desk.call(ListKeysRequest(limit=2, marker=marker))
        assert len(answer.keys) == expected
        seen += [key.key_id for key in answer.keys]
        marker = answer.next_marker
        assert answer.truncated is (marker is not None)
    assert seen == made
    assert marker is None


def test_disabled_keys_and_orphans_are_listed_and_destroyed_ones_are_not(desk):
    made = create(desk)
    desk.call(DisableKeyRequest(key_id=made.key_id))
    lost = desk.apply("lost")
    desk.orphan("lost")
    assert {key.key_id for key in desk.call(ListKeysRequest()).keys} == {made.key_id, lost.key_id}


def test_keys_of_an_earlier_namespace_are_not_listed(desk):
    create(desk)
    desk.world.objects.namespaces[NAMESPACE] = NamespaceFacts(OTHER_UID)
    assert desk.call(ListKeysRequest()).keys == ()


def test_another_account_sees_its_own_keys_only(desk):
    create(desk)
    stranger = replace(desk.root, account="999988887777", namespace="team-b")
    assert desk.call(ListKeysRequest(), caller=stranger).keys == ()


def test_nobody_shares_keys_by_ram(desk):
    create(desk)
    assert desk.call(ListKeysRequest(resource_owners=("OTHER_ACCOUNTS_VIA_RAM",))).keys == ()
    assert len(desk.call(ListKeysRequest(resource_owners=("OTHER_ACCOUNTS_VIA_RAM", "SELF"))).keys) == 1


def test_rbac_is_asked_for_listkeys(desk):
    desk.rbac.answer = False
    assert refusal(desk, ListKeysRequest()).message.endswith("kms:ListKeys")
    assert [(review.verb, review.name) for review in desk.rbac.asked] == [("listkeys", "")]


# UpdateKeyDescription


def test_a_description_is_replaced_and_can_be_emptied(desk):
    made = create(desk, description="old")
    for text in ("new", ""):
        desk.call(UpdateKeyDescriptionRequest(key_id=made.key_id, description=text))
        assert desk.call(DescribeKeyRequest(key_id=made.key_id)).key_metadata.description == text
    assert not any(change.narrows for change in desk.changes)


def test_the_same_description_is_not_written_again(desk):
    made = create(desk, description="same")
    desk.call(UpdateKeyDescriptionRequest(key_id=made.key_id, description="same"))
    assert len(desk.changes) == 1


def test_a_description_that_is_too_long_is_refused(desk):
    made = create(desk)
    error = refusal(desk, UpdateKeyDescriptionRequest(key_id=made.key_id, description="x" * 8193))
    assert error.code == "ValidationException"


def test_a_namespace_has_so_many_keys_at_most_and_a_retry_finds_its_own(desk):
    desk.keys_per_namespace = 2
    create(desk)
    made = create(desk, invocation="i-1")
    error = refusal(desk, CreateKeyRequest())
    assert (type(error), str(error)) == (LimitExceededError, f"The account {desk.account} has 2 keys, which is the limit.")
    assert len(names(desk)) == 2, "nothing is written"
    assert create(desk, invocation="i-1") == made
    desk.call(DisableKeyRequest(key_id=made.key_id))
    assert type(refusal(desk, CreateKeyRequest())) is LimitExceededError, "a key counts whatever its state"


def test_who_may_not_make_keys_does_not_learn_how_many_there_are(desk):
    desk.keys_per_namespace = 0
    desk.rbac.answer = False
    assert type(refusal(desk, CreateKeyRequest(), caller=desk.app)) is AccessDeniedError

"""Errors as AWS answered them (tests/vectors/aws_recorded_errors.json): each that an operation on a key itself can give, word for word.

The others belong to cryptographic operations, to import and multi-Region keys (not built), or to the model's enums (server/codec).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.builders import REGION, a_key_id

from keystead.engine.identifiers import key_arn
from keystead.errors import KmsError
from keystead.operations.control.keys import CreateKeyRequest
from keystead.operations.control.rotation import RotateKeyOnDemandRequest
from keystead.operations.control.state import DisableKeyRequest, EnableKeyRequest
from keystead.operations.control.tags import Tag, TagResourceRequest
from keystead.resources.vocabulary import KeySpec, KeyUsage

RECORDED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "aws_recorded_errors.json").read_text())
UNKNOWN = a_key_id(404)
LIMIT = (
    "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "
    "<key-arn>"
)


def tagged(*pairs):
    return tuple(Tag(tag_key=key, tag_value=value) for key, value in pairs)


def tags_of(key, *pairs):
    return TagResourceRequest(key_id=key.key_id, tags=tagged(*pairs))


def asymmetric(desk):
    return desk.apply("pair", keySpec="ECC_NIST_P256", keyUsage="SIGN_VERIFY")


def rotated_25_times(desk, key):
    for _ in range(25):
        desk.call(RotateKeyOnDemandRequest(key_id=key.key_id))
    return key


CASES = {
    "NotFoundException | Invalid keyId 'fake-key-id'": lambda desk, key: EnableKeyRequest(key_id="fake-key-id"),
    "NotFoundException | Invalid keyId 'mrk-fake-key-id'": lambda desk, key: EnableKeyRequest(key_id="mrk-fake-key-id"),
    "NotFoundException | Invalid keyId '134f2428cec14b25a1ae9048164dba47'": lambda desk, key: DisableKeyRequest(
        key_id="134f2428cec14b25a1ae9048164dba47"
    ),
    "NotFoundException | Invalid arn <secondary-region>": lambda desk, key: EnableKeyRequest(
        key_id=key_arn("us-east-2", desk.account, key.key_id)
    ),
    "NotFoundException | Key '<key-arn>' does not exist": lambda desk, key: EnableKeyRequest(key_id=UNKNOWN),
    "ValidationException | You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.": (
        lambda desk, key: CreateKeyRequest(key_spec=KeySpec.HMAC_256)
    ),
    "ValidationException | KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048": lambda desk, key: CreateKeyRequest(
        key_spec=KeySpec.RSA_2048, key_usage=KeyUsage.KEY_AGREEMENT
    ),
    "TagException | Duplicate tag keys": lambda desk, key: tags_of(key, ("a", "1"), ("a", "2")),
    "TagException | Too many tags": lambda desk, key: CreateKeyRequest(tags=tagged(*((f"k{n}", "") for n in range(51)))),
    "TagException | Tags beginning with aws: are reserved": lambda desk, key: tags_of(key, ("aws:key1", "value1")),
    "DisabledException | <key-arn> is disabled.": lambda desk, key: RotateKeyOnDemandRequest(
        key_id=desk.apply("k", enabled=False).key_id
    ),
    "UnsupportedOperationException | ": lambda desk, key: RotateKeyOnDemandRequest(key_id=asymmetric(desk).key_id),
    f"LimitExceededException | {LIMIT}": lambda desk, key: RotateKeyOnDemandRequest(
        key_id=rotated_25_times(desk, key).key_id
    ),
}


def long_tag(part: str) -> str:
    """The recorded case whose text ends in this: it has the whole value in it."""
    (case,) = (case for case in RECORDED if f"'tags.1.member.{part}'" in case)
    return case


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_text_is_that_of_aws(desk, case):
    assert case in RECORDED
    key = desk.apply("k")
    with pytest.raises(KmsError) as caught:
        desk.call(CASES[case](desk, key))
    code, _, message = case.partition(" | ")
    arn = key_arn(REGION, desk.account, UNKNOWN if "does not exist" in message else key.key_id)
    expected = message.replace("<key-arn>", arn).replace("<secondary-region>", "us-east-2")
    assert (caught.value.code, caught.value.message) == (code, expected)


@pytest.mark.parametrize("part", ["tagKey", "tagValue"])
def test_a_tag_that_is_too_long_is_shown_as_by_aws(desk, part):
    code, _, message = long_tag(part).partition(" | ")
    value = message.split("'")[1]
    pair = (value, "") if part == "tagKey" else ("key", value)
    with pytest.raises(KmsError) as caught:
        desk.call(CreateKeyRequest(tags=tagged(pair)))
    assert (caught.value.code, caught.value.message) == (code, message)

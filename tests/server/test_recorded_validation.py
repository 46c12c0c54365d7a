"""What AWS was recorded to say of invalid requests: in the model's words from the codec, in an operation's words never from it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path

import pytest
from tests.server.cases import ROWS, SHAPES

from keystead.errors import ValidationError
from keystead.server.codec import Codec

RECORDED = json.loads((Path(__file__).resolve().parents[1] / "vectors/aws_recorded_errors.json").read_text())
TEXTS = [pair.partition(" | ")[2] for pair in RECORDED]
IN_MODEL_WORDS = [text for text in TEXTS if "validation error detected" in text]
CODEC = Codec(ROWS)
KEY = {"KeyId": "alias/x"}

# What was sent, by the member that the text names and the value that it shows.
SENT = {
    ("numberOfBytes", "0"): ("GenerateRandom", {"NumberOfBytes": 0}),
    ("numberOfBytes", "1025"): ("GenerateRandom", {"NumberOfBytes": 1025}),
    ("keySpec", "HMAC_random"): ("CreateKey", {"KeySpec": "HMAC_random", "KeyUsage": "GENERATE_VERIFY_MAC"}),
    ("keyUsage", "RANDOM"): ("CreateKey", {"KeySpec": "HMAC_256", "KeyUsage": "RANDOM"}),
    ("macAlgorithm", "INVALID"): ("GenerateMac", KEY | {"Message": "AAAA", "MacAlgorithm": "INVALID"}),
    ("plaintext", None): ("Encrypt", KEY | {"Plaintext": b64encode(b"x" * 4097).decode()}),
    ("keyAgreementAlgorithm", "INVALID"): (
        "DeriveSharedSecret",
        KEY | {"PublicKey": "AAAA", "KeyAgreementAlgorithm": "INVALID"},
    ),
    ("tags.1.member.tagValue", "v" * 257): ("CreateKey", {"Tags": [{"TagKey": "k", "TagValue": "v" * 257}]}),
    ("tags.1.member.tagKey", "a" * 129): ("CreateKey", {"Tags": [{"TagKey": "a" * 129, "TagValue": "v"}]}),
}
FORM = re.compile(r"1 validation error detected: Value(?: '(?P<value>[^']*)')? at '(?P<at>[^']*)' failed to satisfy constraint: .*")
ENUM = re.compile(r"enum value set: \[([^]]*)\]")
ENUMS = {
    "keySpec": "KeySpec",
    "keyUsage": "KeyUsageType",
    "macAlgorithm": "MacAlgorithmSpec",
    "keyAgreementAlgorithm": "KeyAgreementAlgorithmSpec",
}


def places() -> dict[tuple[str, str | None], str]:
    found = {}
    for text in IN_MODEL_WORDS:
        match = FORM.fullmatch(text)
        assert match, text
        value = match["value"]
        found[(match["at"], value)] = text
    return found


def test_every_recorded_text_in_the_model_s_words_is_tried():
    recorded = {(at, len(value or "")) for at, value in places()}
    assert recorded == {(at, len(value or "")) for at, value in SENT}
    assert len(IN_MODEL_WORDS) == len(SENT)


@pytest.mark.parametrize("key", SENT, ids=lambda key: f"{key[0]}-{str(key[1])[:8]}")
def test_the_codec_says_what_aws_said(key):
    operation, body = SENT[key]
    with pytest.raises(ValidationError) as refused:
        CODEC.decode(operation, json.dumps(body).encode())
    at, ours = key[0], refused.value.message
    (theirs,) = [text for (place, value), text in places().items() if place == at and len(value or "") == len(key[1] or "")]
    if at in ENUMS:  # the recordings are older than the model: its values, as a set, and theirs are among them
        said = [set(ENUM.search(text)[1].split(", ")) for text in (ours, theirs)]
        assert said[0] == set(SHAPES[ENUMS[at]]["enum"]) >= said[1]
        ours, theirs = ENUM.sub("", ours), ENUM.sub("", theirs)
    assert ours == theirs


OTHER_WORDS = {
    "NumberOfBytes is required.": ("GenerateRandom", {}),
    'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html': (
        "CreateAlias",
        {"AliasName": "name", "TargetKeyId": "x"},
    ),
    "Algorithm RSAES_OAEP_SHA_1 and key spec RSA_2048 cannot encrypt data larger than 214 bytes.": (
        "Encrypt",
        KEY | {"Plaintext": b64encode(b"x" * 215).decode(), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"},
    ),
    "Digest is invalid length for algorithm ECDSA_SHA_256.": (
        "Sign",
        KEY | {"Message": "AAAA", "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"},
    ),
    "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.": (
        "CreateKey",
        {"KeySpec": "HMAC_256"},
    ),
    "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048": (
        "CreateKey",
        {"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"},
    ),
    "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES": (
        "ImportKeyMaterial",
        KEY | {"ImportToken": "AAAA", "EncryptedKeyMaterial": "AAAA", "ExpirationModel": "KEY_MATERIAL_EXPIRES"},
    ),
    "Duplicate tag keys": ("TagResource", KEY | {"Tags": [{"TagKey": "k", "TagValue": "v"}] * 2}),
    "Too many tags": ("CreateKey", {"Tags": [{"TagKey": f"k{n}", "TagValue": ""} for n in range(51)]}),
    "Tags beginning with aws: are reserved": ("TagResource", KEY | {"Tags": [{"TagKey": "aws:x", "TagValue": "v"}]}),
    "Invalid keyId 'fake-key-id'": ("DescribeKey", {"KeyId": "fake-key-id"}),
}


@pytest.mark.parametrize("text", OTHER_WORDS, ids=lambda text: text[:30])
def test_what_an_operation_says_in_its_own_words_passes_the_codec(text):
    assert text in TEXTS
    operation, body = OTHER_WORDS[text]
    assert type(CODEC.decode(operation, json.dumps(body).encode())) is ROWS[operation].request

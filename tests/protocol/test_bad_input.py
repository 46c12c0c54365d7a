"""The design's list of bad input (SECURITY.md) through the whole endpoint: the right refusal, and never a 500.

Every form of broken JSON and base64: tests/server/test_bad_json.py; each bound of the model: tests/server/test_requests_from_model.py; HTTP
itself: tests/server/test_http_bad_input.py. Here each kind once, really signed, and what only the whole can show: blobs, contexts, names.
"""

from __future__ import annotations

import gzip
import json
import unicodedata
from base64 import b64encode
from typing import Any

import pytest
from tests.protocol.harness import REGION, House, code_of, error_of, refused, role, together
from tests.server.http_harness import Client

pytestmark = pytest.mark.token
BAD_BLOB = {"InvalidCiphertextException", "AccessDeniedException"}
HEADER, TAG = 116, 16
NFC = unicodedata.normalize("NFC", "e\u0301")
NFD = unicodedata.normalize("NFD", NFC)


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def told(house: House, operation: str, body: bytes | dict[str, Any], **how: Any) -> tuple[int, str]:
    answer = house.call(operation, body, **how)
    return answer.status, code_of(answer)


@pytest.fixture(scope="module")
def blob(house, kms) -> bytes:
    made: bytes = kms.encrypt(KeyId=house.key(), Plaintext=b"secret", EncryptionContext={"a": "b"})["CiphertextBlob"]
    return made


# --- JSON and headers

JSON = {
    "a duplicate": b'{"KeyId": "alias/x", "KeyId": "alias/y"}',
    "NaN": b'{"KeyId": NaN}',
    "10,000 levels": b'{"KeyId": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a BOM": b'\xef\xbb\xbf{"KeyId": "alias/x"}',
    "bytes behind": b'{"KeyId": "alias/x"} x',
    "no UTF-8": b'{"KeyId": "\xff"}',
    "a lone surrogate": b'{"KeyId": "\\ud800"}',
    "gzip": gzip.compress(b'{"KeyId": "alias/x"}'),
    "an unknown member": b'{"KeyId": "alias/x", "Evil": 1}',
    "a list": b"[]",
    "a number for a string": b'{"KeyId": 1}',
    "half": b'{"KeyId": "alias/x"',
}


@pytest.mark.parametrize("body", JSON.values(), ids=JSON)
def test_json_that_is_none_is_refused_and_not_repeated(house, body):
    answer = house.call("DescribeKey", body)
    assert (answer.status, error_of(answer).code) == (400, "SerializationException")
    assert b"alias/x" not in answer.body


BASE64 = {"a newline": "AA\nAA", "the URL alphabet": "-_-_", "spare bits": "AB==", "no padding": "AAA", "a space": "AA AA"}


@pytest.mark.parametrize("text", BASE64.values(), ids=BASE64)
def test_base64_in_another_form_is_refused(house, text):
    assert told(house, "Encrypt", {"KeyId": house.key(), "Plaintext": text}) == (400, "SerializationException")


def test_gzip_is_not_unpacked_whatever_the_header_says(house):
    body = gzip.compress(b"{}")
    assert told(house, "ListKeys", body, content_encoding="gzip") == (400, "SerializationException")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-amz-json-1.0", "", "application/x-www-form-urlencoded"])
def test_another_content_type_opens_nothing(house, kind):
    """The target names the operation, and the signature covers the body: the type decides nothing but what STS is."""
    answer = house.ask(house.signed("ListKeys", Content_Type=kind))
    assert answer.status in (200, 400)
    bad = house.ask(house.signed("ListKeys", b"Action=GetCallerIdentity", Content_Type=kind))
    assert (bad.status, code_of(bad)) == (400, "SerializationException")


def test_a_get_and_a_100_mb_body_are_refused_and_the_next_call_is_well(house):
    assert house.ask(house.signed(method="GET")).status == 405
    huge = house.signed("ListKeys").having("Content-Length", str(100 << 20))
    assert house.ask(huge).status == 413
    assert told(house, "ListKeys", b"{}") == (200, "")


# --- names

NAMES = {
    "alias/": ("NotFoundException", "ValidationException"),
    "*": ("NotFoundException",),
    "": ("ValidationException",),
    "x" * 2049: ("ValidationException",),
    "\u0000": ("NotFoundException",),
    "../../etc/passwd": ("NotFoundException",),
    "alias/" + "\u00e9" * 10: ("NotFoundException",),
    "arn:aws:kms:eu-west-3:111122223333:key/01234567-89ab-4cde-8f01-23456789abcd": ("NotFoundException",),
    "arn:aws:kms:eu-central-1:444455556666:key/01234567-89ab-4cde-8f01-23456789abcd": ("AccessDeniedException",),
    # Operations of the control plane take no alias at all.
    "arn:aws:kms:eu-central-1:444455556666:alias/x": ("AccessDeniedException", "NotFoundException"),
    "arn:aws:kms": ("NotFoundException",),
    "arn:aws:kms:::": ("NotFoundException",),
    "arn:aws:s3:eu-central-1:111122223333:key/01234567-89ab-4cde-8f01-23456789abcd": ("NotFoundException",),
    "arn:aws-cn:kms:eu-central-1:111122223333:key/01234567-89ab-4cde-8f01-23456789abcd": ("NotFoundException",),
}


@pytest.mark.parametrize("key_id", NAMES, ids=lambda name: repr(name)[:40])
@pytest.mark.parametrize("operation", ["DescribeKey", "Encrypt", "DisableKey"])
def test_a_name_of_no_key_is_refused(house, operation, key_id):
    more = {"Plaintext": "AAAA"} if operation == "Encrypt" else {}
    answer = house.call(operation, {"KeyId": key_id, **more})
    assert answer.status == 400
    assert error_of(answer).code in NAMES[key_id]


def test_a_key_id_is_exact(house):
    """Other spellings of the same 16 bytes name no key."""
    key_id = house.key().rpartition("/")[2]
    bare = key_id.replace("-", "")
    for spelling in (key_id.upper(), bare, f"mrk-{bare}", f" {key_id}", f"{key_id}\n", f"key/{key_id}", f"{{{key_id}}}"):
        assert told(house, "DescribeKey", {"KeyId": spelling}) == (400, "NotFoundException")


# --- blobs


def lengths(blob: bytes) -> list[bytes]:
    made = [b"", b"x", blob[: HEADER - 1], blob[:HEADER], blob[: HEADER + TAG], blob[: HEADER + TAG + 1], blob[:-1], blob + b"x"]
    return [*made, blob + bytes(6144 - len(blob)), blob + bytes(6145 - len(blob)), bytes(6144), b"\xff" * 6144]


def test_a_blob_of_another_length_is_refused(house, blob):
    for bad in lengths(blob):
        status, code = told(house, "Decrypt", {"CiphertextBlob": b64(bad), "EncryptionContext": {"a": "b"}})
        expected = {"ValidationException"} if len(bad) in (0, 6145) else BAD_BLOB
        assert (status, code in expected) == (400, True), (len(bad), code)


def test_every_single_bit_of_a_blob_counts(house, kms, blob):
    """Refused, never opened, never a fault. The key is given: so nothing waits for an unknown one."""
    body = {"KeyId": house.key(), "EncryptionContext": {"a": "b"}}
    seen = set()
    with house.line() as line:
        for bit in range(8 * len(blob)):
            bad = bytearray(blob)
            bad[bit // 8] ^= 1 << bit % 8
            answer = line.send(house.signed("Decrypt", body | {"CiphertextBlob": b64(bytes(bad))}).bytes).answer()
            found = error_of(answer)
            assert (found.status, found.message.startswith("The key ID")) == (400, 4 * 8 <= bit < 20 * 8)
            seen.add(found.code)
    assert seen == {"InvalidCiphertextException", "IncorrectKeyException"}
    assert kms.decrypt(CiphertextBlob=blob, **body)["Plaintext"] == b"secret"


def test_a_flipped_bit_where_no_key_is_given(house, blob):
    """Version, suite: no blob at all. Key id: a key that does not exist, in the words for one that may not be used; each is waited for."""

    def code(byte: int) -> str:
        bad = bytearray(blob)
        bad[byte] ^= 1
        return told(house, "Decrypt", {"CiphertextBlob": b64(bytes(bad)), "EncryptionContext": {"a": "b"}})[1]

    assert {code(byte) for byte in range(4)} == {"InvalidCiphertextException"}
    for start in (4, 12):
        found = together([lambda byte=byte: code(byte) for byte in range(start, start + 8)])
        assert set(found) == {"AccessDeniedException"}


def test_parts_of_two_blobs_make_no_third(house, kms):
    key, other_key = house.key(), house.fresh()
    one, two = (kms.encrypt(KeyId=key, Plaintext=text)["CiphertextBlob"] for text in (b"one", b"two"))
    three = kms.encrypt(KeyId=other_key, Plaintext=b"one")["CiphertextBlob"]
    for cut in (4, 20, 52, 84, 116, 119):
        for mixed in (one[:cut] + two[cut:], one[:cut] + three[cut:], three[:cut] + one[cut:]):
            if mixed in (one, two, three):
                continue
            status, code = told(house, "Decrypt", {"CiphertextBlob": b64(mixed)})
            assert (status, code in BAD_BLOB) == (400, True)


# --- encryption contexts

TWINS = {
    "NFC and NFD": ({"k": NFC}, {"k": NFD}),
    "NFC and NFD keys": ({NFC: "v"}, {NFD: "v"}),
    "where key and value part": ({"ab": "c"}, {"a": "bc"}),
    "letters of another case": ({"Key": "v"}, {"key": "v"}),
    "a space more": ({"k": "v"}, {"k": "v "}),
    "an empty value and none": ({"k": ""}, {}),
    "two pairs and one": ({"a": "b", "c": "d"}, {"a": "b"}),
    "key and value changed over": ({"a": "b"}, {"b": "a"}),
    "an empty key": ({"": "v"}, {"v": ""}),
    "a NUL": ({"k": "v\0"}, {"k": "v"}),
}


@pytest.mark.parametrize("name", TWINS)
def test_contexts_that_only_look_alike_are_two(house, kms, name):
    one, two = TWINS[name]
    made = kms.encrypt(KeyId=house.key(), Plaintext=b"x", EncryptionContext=one)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=made, EncryptionContext=one)["Plaintext"] == b"x"
    assert refused(kms.decrypt, CiphertextBlob=made, EncryptionContext=two).code == "InvalidCiphertextException"


def test_the_order_of_a_context_is_no_matter(house, kms):
    made = kms.encrypt(KeyId=house.key(), Plaintext=b"x", EncryptionContext={"a": "1", "b": "2"})["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=made, EncryptionContext={"b": "2", "a": "1"})["Plaintext"] == b"x"


def test_a_context_has_8_kilobytes_at_most(house, kms):
    key = house.key()
    most = {"k": "v" * 8191}
    made = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=most)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=made, EncryptionContext=most)["Plaintext"] == b"x"
    assert refused(kms.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext={"k": "v" * 8192}).code == "ValidationException"


def test_a_context_with_a_lone_surrogate_is_refused(house):
    body = b'{"KeyId": "%s", "Plaintext": "AAAA", "EncryptionContext": {"k": "\\ud800"}}' % house.key().encode()
    assert told(house, "Encrypt", body) == (400, "SerializationException")


@pytest.mark.parametrize("value", [1, None, True, ["x"], {"x": "y"}])
def test_a_context_holds_strings_only(house, value):
    body = {"KeyId": house.key(), "Plaintext": "AAAA", "EncryptionContext": {"k": value}}
    assert told(house, "Encrypt", body) == (400, "SerializationException")


def test_a_context_is_refused_where_the_key_has_none(house, kms):
    key = house.key("RSA_2048", "ENCRYPT_DECRYPT")
    members = {"KeyId": key, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256", "EncryptionContext": {"a": "b"}}
    found = refused(kms.encrypt, Plaintext=b"x", **members)
    assert (found.status, found.code) == (400, "ValidationException")


# --- numbers, tags, tokens


def test_a_data_key_has_one_length(house):
    key = house.key()
    for members, code in (
        ({"KeySpec": "AES_256", "NumberOfBytes": 32}, "ValidationException"),
        ({}, "ValidationException"),
        ({"NumberOfBytes": 0}, "ValidationException"),
        ({"NumberOfBytes": 1025}, "ValidationException"),
        ({"NumberOfBytes": -1}, "ValidationException"),
        ({"NumberOfBytes": "32"}, "SerializationException"),
        ({"NumberOfBytes": 1e18}, "SerializationException"),
        ({"NumberOfBytes": 32.5}, "SerializationException"),
    ):
        assert told(house, "GenerateDataKey", {"KeyId": key, **members}) == (400, code)


def test_rotation_periods_and_windows_have_bounds(house):
    key = house.key()
    for operation, member, values in (
        ("EnableKeyRotation", "RotationPeriodInDays", (0, 89, 2561, -1)),
        ("ScheduleKeyDeletion", "PendingWindowInDays", (0, 6, 31, -7)),
    ):
        for value in values:
            assert told(house, operation, {"KeyId": key, member: value}) == (400, "ValidationException")
        assert told(house, operation, {"KeyId": key, member: 10**18}) == (400, "SerializationException")
    assert told(house, "DescribeKey", {"KeyId": key}) == (200, "")


def test_51_tags_are_too_many_and_50_are_not(house, kms):
    tags = [{"TagKey": f"k{n}", "TagValue": ""} for n in range(51)]
    assert refused(kms.create_key, Tags=tags).code == "TagException"
    key = kms.create_key(Tags=tags[:50])["KeyMetadata"]["Arn"]
    assert refused(kms.tag_resource, KeyId=key, Tags=tags[50:]).code == "TagException"
    assert len(kms.list_resource_tags(KeyId=key)["Tags"]) == 50


@pytest.mark.parametrize("token", ["x", "A" * 103, "A" * 8192, "\u00e9", "=", "-_" * 10])
def test_grant_tokens_that_are_none_are_refused(house, kms, token):
    found = refused(kms.encrypt, KeyId=house.key(), Plaintext=b"x", GrantTokens=[token])
    assert (found.status, found.code) == (400, "InvalidGrantTokenException")
    assert len(token) < 9 or token not in found.message


def test_too_many_or_too_long_grant_tokens_are_refused_and_not_shown(house, kms):
    for tokens in (["canary-token"] * 11, ["canary-token" + "A" * 8192], [""]):
        found = refused(kms.encrypt, KeyId=house.key(), Plaintext=b"x", GrantTokens=tokens)
        assert found.code == "ValidationException"
        assert "canary-token" not in found.message


@pytest.mark.parametrize("marker", ["x", "A" * 1024, "\u00e9", "=", "AAAAAAAAAAAAAAAAAAAAAAAA"])
def test_markers_that_are_none_are_refused(kms, marker):
    assert refused(kms.list_keys, Marker=marker).code == "InvalidMarkerException"


IAM = "arn:aws:iam::111122223333:"
NOBODY = ["x", "*", f"{IAM}*", "arn:aws:s3:::bucket", "arn:aws:iam::1:root", "\u00e9"]
NOBODY += [f"{IAM}{name}" for name in ("group/devs", "role/App", "role/a/b", "user/a/b", "user/a%2fb")]


@pytest.mark.parametrize("principal", NOBODY)
def test_a_grantee_that_nobody_is_is_refused(house, kms, principal):
    found = refused(kms.create_grant, KeyId=house.key(), GranteePrincipal=principal, Operations=["Decrypt"])
    assert found.status == 400
    assert found.code in ("InvalidArnException", "ValidationException")


def test_a_grant_without_operations_or_with_unfit_ones_is_refused(house, kms):
    asked = {"KeyId": house.key(), "GranteePrincipal": role(house.first, "x")}
    for operations in ([], ["Sign"], ["NoSuch"], ["Decrypt", "GenerateMac"]):
        assert refused(kms.create_grant, **asked, Operations=operations).code == "ValidationException"
    unfit = refused(kms.create_grant, KeyId=house.key("HMAC_256"), GranteePrincipal=role(house.first, "x"), Operations=["Encrypt"])
    assert unfit.code == "ValidationException"


BAD_ALIASES = ("x", "alias/", "alias/a b", "alias/\u00e9", "alias/aws/x", "alias/" + "x" * 251, "", "alias/a:b", "Alias/x")


@pytest.mark.parametrize("name", BAD_ALIASES)
def test_alias_names_that_cannot_be_are_refused(house, kms, name):
    found = refused(kms.create_alias, AliasName=name, TargetKeyId=house.key())
    assert found.status == 400
    assert found.code in ("ValidationException", "NotAuthorizedException")


def test_an_alias_to_a_dying_key_or_to_an_alias_is_refused(house, kms):
    dying = refused(kms.create_alias, AliasName="alias/dying", TargetKeyId=house.key(state="PendingDeletion"))
    assert dying.code == "KMSInvalidStateException"
    kms.create_alias(AliasName="alias/real", TargetKeyId=house.key())
    for target in ("alias/real", f"arn:aws:kms:{REGION}:{house.first.id}:alias/real"):
        assert refused(kms.create_alias, AliasName="alias/of-alias", TargetKeyId=target).status == 400
    assert refused(kms.create_alias, AliasName="alias/real", TargetKeyId=house.key()).code == "AlreadyExistsException"


def test_a_key_s_spec_cannot_be_changed(house, kms):
    """Nothing of the API does it; members of another operation are refused."""
    body = {"KeyId": house.key(), "Description": "", "KeySpec": "HMAC_256"}
    assert told(house, "UpdateKeyDescription", body) == (400, "SerializationException")
    assert kms.describe_key(KeyId=house.key())["KeyMetadata"]["KeySpec"] == "SYMMETRIC_DEFAULT"


def test_pipelined_requests_are_answered_in_their_order(house):
    """A bad one between two good ones on one connection, sent at once."""
    good, bad = house.signed("ListKeys"), house.signed("DescribeKey", b"{")
    with Client(house.port) as line:
        line.send(good.bytes + bad.bytes + good.bytes)
        answers = [line.answer() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 400, 200]
    assert json.loads(answers[0].body) == json.loads(answers[2].body)

"""The endpoint's own rules (AWS.md, Rules that follow): idempotent creates, read your writes, grant tokens, waits, refusals, Recipient."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest
from tests.protocol.harness import REGION, House, code_of, error_of, refused, role, together
from tests.server.cases import SERVED, SHAPES, base, input_of

pytestmark = pytest.mark.token
INVOCATION = "6f1e2d3c-0000-4000-8000-{:012d}"
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"
BLOB_TEXT = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not "
    "allowed to access."
)


def made(house: House, operation: str, body: dict[str, Any], number: int | None, **how: Any) -> Any:
    """The answer of a create with an invocation id, as the SDK sends it with each attempt."""
    more = {} if number is None else {"amz_sdk_invocation_id": INVOCATION.format(number)}
    answer = house.call(operation, body, **how, **more)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def new_key(house: House, body: dict[str, Any], number: int | None, **how: Any) -> str:
    arn: str = made(house, "CreateKey", body, number, **how)["KeyMetadata"]["Arn"]
    return arn


def test_a_retried_create_key_is_the_same_key(house):
    body = {"Description": "once"}
    first = new_key(house, body, 1)
    assert new_key(house, body, 1) == first
    assert {new_key(house, {"Description": "other body"}, 1), new_key(house, body, 2), new_key(house, body, None)}.isdisjoint({first})
    assert new_key(house, body, 1, who=house.second).split(":")[4] == house.second.id
    assert new_key(house, body, 1, region="eu-west-3") != first


def test_attempts_that_overlap_make_one_key(house):
    found = together([lambda: new_key(house, {"Description": "race"}, 3)] * 8)
    assert len(set(found)) == 1


def test_creates_without_an_invocation_id_are_each_their_own(house):
    assert len({new_key(house, {"Description": "same"}, None) for _ in range(3)}) == 3


def test_a_retried_rotation_rotates_once(house, kms):
    key = house.fresh()
    for _ in range(3):
        made(house, "RotateKeyOnDemand", {"KeyId": key}, 4)
    assert len(kms.list_key_rotations(KeyId=key)["Rotations"]) == 1
    made(house, "RotateKeyOnDemand", {"KeyId": key}, 5)
    assert len(kms.list_key_rotations(KeyId=key)["Rotations"]) == 2


def test_a_retried_create_grant_is_the_same_grant(house, kms):
    body = {"KeyId": house.fresh(), "GranteePrincipal": role(house.first, "app"), "Operations": ["Decrypt"]}
    first = made(house, "CreateGrant", body, 6)["GrantId"]
    assert made(house, "CreateGrant", body, 6)["GrantId"] == first
    assert made(house, "CreateGrant", body, 7)["GrantId"] != first
    named = body | {"Name": "by-name"}
    by_name = made(house, "CreateGrant", named, 8)["GrantId"]
    assert made(house, "CreateGrant", named, 9)["GrantId"] == by_name == made(house, "CreateGrant", named, None)["GrantId"]
    assert len(kms.list_grants(KeyId=body["KeyId"])["Grants"]) == 3


def test_read_your_writes_fifty_times(house, kms):
    key = house.fresh()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for n in range(50):
        kms.disable_key(KeyId=key)
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
        assert refused(kms.decrypt, CiphertextBlob=blob).code == "DisabledException"
        kms.enable_key(KeyId=key)
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
        assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
        kms.update_key_description(KeyId=key, Description=f"n{n}")
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == f"n{n}"


def test_read_your_writes_of_tags_aliases_rotation_and_deletion(house, kms):
    one, two = house.fresh(), house.fresh()
    for n in range(5):
        kms.tag_resource(KeyId=one, Tags=[{"TagKey": "n", "TagValue": str(n)}])
        assert kms.list_resource_tags(KeyId=one)["Tags"] == [{"TagKey": "n", "TagValue": str(n)}]
        kms.untag_resource(KeyId=one, TagKeys=["n"])
        assert kms.list_resource_tags(KeyId=one)["Tags"] == []
        kms.create_alias(AliasName="alias/mine", TargetKeyId=one)
        assert kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["Arn"] == one
        kms.update_alias(AliasName="alias/mine", TargetKeyId=two)
        assert kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["Arn"] == two
        kms.delete_alias(AliasName="alias/mine")
        assert refused(kms.describe_key, KeyId="alias/mine").code == "NotFoundException"
        kms.enable_key_rotation(KeyId=one, RotationPeriodInDays=90 + n)
        assert kms.get_key_rotation_status(KeyId=one)["RotationPeriodInDays"] == 90 + n
        kms.disable_key_rotation(KeyId=one)
        assert kms.get_key_rotation_status(KeyId=one)["KeyRotationEnabled"] is False
        kms.schedule_key_deletion(KeyId=one, PendingWindowInDays=7)
        assert kms.describe_key(KeyId=one)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        kms.cancel_key_deletion(KeyId=one)
        assert kms.describe_key(KeyId=one)["KeyMetadata"]["KeyState"] == "Disabled"
        kms.enable_key(KeyId=one)


def test_parallel_tags_all_survive(house, kms):
    key = house.fresh()
    together([lambda n=n: kms.tag_resource(KeyId=key, Tags=[{"TagKey": f"k{n}", "TagValue": "v"}]) for n in range(8)])
    assert {tag["TagKey"] for tag in kms.list_resource_tags(KeyId=key)["Tags"]} == {f"k{n}" for n in range(8)}


def test_a_grant_token_works_at_once_and_is_in_no_list(house, kms):
    key, app = house.fresh(), house.client(house.workload("tokens"))
    assert refused(app.encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"
    grant = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "tokens"), Operations=["Encrypt", "RetireGrant"])
    assert app.encrypt(KeyId=key, Plaintext=b"x", GrantTokens=[grant["GrantToken"]])["CiphertextBlob"]
    assert app.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert grant["GrantToken"] not in json.dumps(kms.list_grants(KeyId=key), default=str)
    app.retire_grant(GrantToken=grant["GrantToken"])
    assert refused(app.encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"
    told = refused(app.encrypt, KeyId=key, Plaintext=b"x", GrantTokens=[grant["GrantToken"]])
    assert told.code == "InvalidGrantTokenException"


def test_a_grant_token_widens_nothing(house, kms):
    key, other_key = house.fresh(), house.key()
    app = house.client(house.workload("narrow"))
    token = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "somebody"), Operations=["Encrypt"])["GrantToken"]
    assert refused(app.encrypt, KeyId=key, Plaintext=b"x", GrantTokens=[token]).code == "AccessDeniedException"
    mine = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "narrow"), Operations=["Encrypt"])["GrantToken"]
    assert refused(app.encrypt, KeyId=other_key, Plaintext=b"x", GrantTokens=[mine]).code == "AccessDeniedException"
    assert refused(app.generate_data_key, KeyId=key, KeySpec="AES_256", GrantTokens=[mine]).code == "AccessDeniedException"


@pytest.mark.parametrize("place", [0, 7, 60, 102])
def test_a_forged_grant_token_is_refused(house, kms, place):
    key = house.key()
    token = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "x"), Operations=["Encrypt"], Name="forge")["GrantToken"]
    forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    for tokens in ([forged], [token, forged], ["x"], ["\u00e9"]):
        assert refused(kms.encrypt, KeyId=key, Plaintext=b"x", GrantTokens=tokens).code == "InvalidGrantTokenException"


def test_a_revoked_grant_is_over_with_its_answer(house, kms):
    key, app = house.fresh(), house.client(house.workload("revoked"))
    for _ in range(10):
        grant = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "revoked"), Operations=["Encrypt"])["GrantId"]
        assert app.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        kms.revoke_grant(KeyId=key, GrantId=grant)
        assert refused(app.encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"


RECIPIENT = {
    "Decrypt": {"CiphertextBlob": "AAAA"},
    "GenerateDataKey": {"KeySpec": "AES_256"},
    "GenerateDataKeyPair": {"KeyPairSpec": "ECC_NIST_P256"},
    "GenerateRandom": {"NumberOfBytes": 1},
    "DeriveSharedSecret": {"PublicKey": "AAAA", "KeyAgreementAlgorithm": "ECDH"},
}


def test_these_are_all_the_operations_with_a_recipient():
    assert RECIPIENT.keys() == {name for name in SERVED if "Recipient" in SHAPES[input_of(name)]["members"]}


@pytest.mark.parametrize("operation", sorted(RECIPIENT))
@pytest.mark.parametrize("recipient", [{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": "AAAA"}, {}])
def test_a_recipient_is_refused_and_never_ignored(house, operation, recipient):
    key = {} if operation == "GenerateRandom" else {"KeyId": house.key()}
    told = error_of(house.call(operation, {**key, **RECIPIENT[operation], "Recipient": recipient}))
    assert (told.status, told.code) == (400, "UnsupportedOperationException")
    assert "Recipient" in told.message


def seconds(call: Any, **members: Any) -> tuple[float, str]:
    start = time.perf_counter()
    code = refused(call, **members).code
    return time.perf_counter() - start, code


def test_an_unknown_name_is_waited_for_and_one_of_another_account_or_form_is_not(house, kms):
    for key_id in (UNKNOWN, "alias/no-such"):
        took, code = seconds(kms.describe_key, KeyId=key_id)
        assert (took > 0.24, code) == (True, "NotFoundException")
    foreign = f"arn:aws:kms:{REGION}:{house.second.id}:key/{UNKNOWN}"
    for key_id, code in ((foreign, "AccessDeniedException"), ("no-form", "NotFoundException")):
        # One of them is enough, however busy the machine is: what is waited for never takes less.
        tried = (seconds(kms.describe_key, KeyId=key_id) for _ in range(40))
        assert next((found for took, found in tried if took < 0.24), "all of them waited") == code


def of_another_key(blob: bytes, number: int) -> bytes:
    """The blob, with the id of a key that there is not."""
    return blob[:4] + bytes(15) + bytes([number]) + blob[20:]


def test_a_blob_of_an_unknown_key_takes_as_long_as_one_of_a_foreign_key(house, kms, other):
    theirs = other.encrypt(KeyId=house.key(who=house.second), Plaintext=b"x")["CiphertextBlob"]
    mine = kms.encrypt(KeyId=house.key(), Plaintext=b"x")["CiphertextBlob"]
    blobs = [theirs] * 4 + [of_another_key(mine, n) for n in range(4)]
    found = together([lambda blob=blob: seconds(kms.decrypt, CiphertextBlob=blob) for blob in blobs])
    assert {code for _, code in found} == {"AccessDeniedException"}
    took = [one for one, _ in found]
    print("milliseconds, four foreign then four unknown:", [round(1000 * one, 1) for one in took])
    assert min(took) > 0.24


def test_the_ninth_waiter_of_one_principal_is_throttled(house):
    """And only that principal: its other calls and other callers' go on."""
    requests = [house.signed("DescribeKey", {"KeyId": f"01234567-89ab-4cde-8f01-{n:012d}"}).bytes for n in range(12)]
    theirs = house.signed("DescribeKey", {"KeyId": UNKNOWN}, who=house.second).bytes
    good = house.signed("DescribeKey", {"KeyId": house.key()}).bytes
    lines = [house.line() for _ in range(14)]
    opened = [line.__enter__() for line in lines]
    for line, request in zip(opened, [*requests, theirs, good], strict=True):
        line.send(request)
    answers = [line.answer() for line in opened]
    for line in lines:
        line.__exit__(None, None, None)
    codes = [code_of(answer) for answer in answers[:12]]
    assert (codes.count("NotFoundException"), codes.count("ThrottlingException")) == (8, 4)
    (text,) = {error_of(answer).message for answer in answers[:12] if code_of(answer) == "ThrottlingException"}
    assert text == "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
    assert [code_of(answer) for answer in answers[12:]] == ["NotFoundException", ""]
    assert code_of(house.call("DescribeKey", {"KeyId": UNKNOWN})) == "NotFoundException"


PRINCIPAL = {"GranteePrincipal": "arn:aws:iam::111122223333:role/x", "Operations": ["Decrypt"]}
MORE = {
    "CreateGrant": PRINCIPAL,
    "GenerateDataKey": {"KeySpec": "AES_256"},
    "GenerateDataKeyWithoutPlaintext": {"KeySpec": "AES_256"},
    "RetireGrant": {"GrantId": "0" * 64},
    "CreateAlias": {"AliasName": "alias/refusals"},
}
# UpdateAlias looks for the alias first; ListAliases lists those of the caller.
NAMED = sorted(
    name
    for name in SERVED.keys() - {"UpdateAlias", "ListAliases"}
    if {"KeyId", "TargetKeyId"} & SHAPES[input_of(name)]["members"].keys()
)


def naming(operation: str, key_id: str) -> dict[str, Any]:
    member = "TargetKeyId" if operation == "CreateAlias" else "KeyId"
    return base(operation, SERVED[operation]) | MORE.get(operation, {}) | {member: key_id}


@pytest.mark.parametrize("operation", NAMED)
def test_a_foreign_key_is_refused_alike_whether_or_not_it_exists(house, operation):
    there = house.key(who=house.second)
    not_there = there.rpartition("/")[0] + f"/{UNKNOWN}"
    with house.line() as line:
        told = [error_of(line.send(house.signed(operation, naming(operation, key)).bytes).answer()) for key in (there, not_there)]
    assert told[0] == told[1]
    assert (told[0].status, told[0].code) == (400, "AccessDeniedException")
    assert told[0].message == (
        f"User: {house.first.root} is not authorized to perform: kms:{operation} on this resource because the resource does not "
        "exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
    )


def test_an_unknown_key_of_the_own_account_is_not_found_by_every_operation(house):
    """Eight at a time: who waits for more is throttled."""
    arn = f"arn:aws:kms:{REGION}:{house.first.id}:key/{UNKNOWN}"
    for start in range(0, len(NAMED), 8):
        calls = [lambda name=name: error_of(house.call(name, naming(name, arn))) for name in NAMED[start : start + 8]]
        for told in together(calls):
            assert (told.status, told.code, told.message) == (400, "NotFoundException", f"Key '{arn}' does not exist")


def test_a_foreign_alias_is_refused_alike_whether_or_not_it_exists(house, kms, other):
    other.create_alias(AliasName="alias/theirs", TargetKeyId=house.key(who=house.second))
    told = [
        refused(kms.describe_key, KeyId=f"arn:aws:kms:{REGION}:{house.second.id}:alias/{name}") for name in ("theirs", "nobody-s")
    ]
    assert told[0] == told[1]
    assert told[0].code == "AccessDeniedException"


def test_a_blob_says_the_same_of_an_unknown_a_foreign_and_a_denied_key(house, kms, other):
    mine = kms.encrypt(KeyId=house.key(), Plaintext=b"x")["CiphertextBlob"]
    theirs = other.encrypt(KeyId=house.key(who=house.second), Plaintext=b"x")["CiphertextBlob"]
    nobody = house.client(house.workload("nobody"))
    calls = [
        lambda: refused(kms.decrypt, CiphertextBlob=of_another_key(mine, 9)),
        lambda: refused(kms.decrypt, CiphertextBlob=theirs),
        lambda: refused(nobody.decrypt, CiphertextBlob=mine),
        lambda: refused(kms.re_encrypt, CiphertextBlob=theirs, DestinationKeyId=house.key()),
        lambda: refused(kms.re_encrypt, CiphertextBlob=of_another_key(mine, 8), DestinationKeyId=house.key()),
    ]
    told = set(together(calls))
    assert {(one.status, one.code, one.message) for one in told} == {(400, "AccessDeniedException", BLOB_TEXT)}


def test_a_blob_that_is_none_is_invalid_whoever_asks(house):
    for who in (house.first, house.second, house.workload("nobody")):
        told = error_of(house.call("Decrypt", {"CiphertextBlob": b64encode(b"x" * 200).decode()}, who=who))
        assert (told.status, told.code, told.message) == (400, "InvalidCiphertextException", "")

"""Request quotas of `keystead dev --quota`: over HTTP, with boto3 that retries and boto3 that does not.

Limits of one call in a hundred seconds are full after one call, and stay it for the test; with the others time only helps the client.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from tests.protocol.harness import REGION, House, code_of, error_of, open_house, refused, together

pytestmark = pytest.mark.token

RARE = 0.01
LIMITS = {"Cryptographic/symmetric": RARE, "Cryptographic/RSA": RARE, "GetKeyPolicy": RARE, "ListKeyPolicies": 2, "CreateKey": None}
TOO_FAST = (400, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("quota")
    file = folder / "quota.json"
    file.write_text(json.dumps({"preset": "aws", "limits": LIMITS}))
    opened = open_house(folder, ("--memory", "--quota", str(file)))
    yield opened
    opened.endpoint.stop()
    assert "Traceback" not in opened.endpoint.output


@pytest.fixture(scope="module")
def full(house: House) -> House:
    """The first account has made its one call of the symmetric class; the second has not."""
    assert code_of(house.call("GenerateRandom", {"NumberOfBytes": 8})) == ""
    return house


def test_a_call_too_many_is_refused_whether_or_not_the_key_is_there_or_the_callers(full: House) -> None:
    mine, theirs = full.key(), full.key(who=full.second)
    nobodys = mine[:-12] + "000000000000"
    for key in (mine, theirs, nobodys, theirs[:-12] + "000000000000"):
        found = error_of(full.call("Encrypt", {"KeyId": key, "Plaintext": "eA=="}))
        assert (found.status, found.code, found.message) == TOO_FAST


def test_signature_and_form_come_before_the_quota(full: House) -> None:
    request = full.signed("Encrypt", {"KeyId": full.key(), "Plaintext": "eA=="})
    assert code_of(full.ask(request.without("Authorization"))) == "MissingAuthenticationTokenException"
    assert code_of(full.call("Encrypt", b"{")) == "SerializationException"
    assert code_of(full.call("Encrypt", {"KeyId": full.key()})) == "ValidationException"
    assert code_of(full.ask(request)) == "ThrottlingException"


def test_another_account_and_another_class_go_on(full: House) -> None:
    assert code_of(full.call("GenerateRandom", {"NumberOfBytes": 8}, who=full.second)) == ""
    assert code_of(full.call("DescribeKey", {"KeyId": full.key()})) == ""
    rsa = {"KeyId": full.key("RSA_2048", "ENCRYPT_DECRYPT"), "Plaintext": "eA==", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    assert [code_of(full.call("Encrypt", rsa)) for _ in range(2)] == ["", "ThrottlingException"]


def test_a_workload_and_the_root_of_its_account_share_the_quota(house: House) -> None:
    key = {"KeyId": house.key(), "PolicyName": "default"}
    assert code_of(house.call("GetKeyPolicy", key, who=house.workload("app"))) == "AccessDeniedException"
    assert code_of(house.call("GetKeyPolicy", key)) == "ThrottlingException"


def client(house: House, attempts: int) -> boto3.client:  # type: ignore[valid-type]
    """boto3 with its standard retries: so many attempts in all."""
    return boto3.client(
        "kms",
        region_name=REGION,
        endpoint_url=house.endpoint.url,
        aws_access_key_id=house.first.access_key_id,
        aws_secret_access_key=house.first.secret,
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )


def test_boto3_rides_over_a_full_bucket_and_without_retries_says_so(house: House) -> None:
    key = house.key()
    kms = client(house, 8)
    answers = [kms.list_key_policies(KeyId=key) for _ in range(6)]
    assert all(answer["PolicyNames"] == ["default"] for answer in answers)
    assert sum(answer["ResponseMetadata"]["RetryAttempts"] for answer in answers) > 0
    once = client(house, 1)
    codes = [refusal_of(lambda: once.list_key_policies(KeyId=key)) for _ in range(20)]
    assert "ThrottlingException" in codes


def refusal_of(call: object) -> str:
    try:
        return refused(call).code  # type: ignore[arg-type]
    except AssertionError:
        return ""


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(tmp_path_factory.mktemp("aws"), ("--memory", "--quota", "aws"))
    yield opened
    opened.endpoint.stop()


def test_awss_figures_can_be_rehearsed(rehearsal: House) -> None:
    key, start = rehearsal.key(), time.monotonic()
    calls = [lambda: rehearsal.call("GetKeyLastUsage", {"KeyId": key})] * 60
    codes = [code_of(answer) for answer in together(calls)]
    most = 5 + 5 * (time.monotonic() - start)
    assert set(codes) == {"", "ThrottlingException"}
    assert 5 <= codes.count("") <= most


def test_and_those_of_the_region_that_the_client_signs_for(rehearsal: House) -> None:
    """Key pairs of 2,048 bits: 1 a second in China, 20 elsewhere."""
    found = {}
    for region in ("cn-north-1", "eu-central-1"):
        key = rehearsal.client(region=region).create_key()["KeyMetadata"]["KeyId"]
        asked = {"KeyId": key, "KeyPairSpec": "RSA_2048"}
        calls = [lambda region=region, asked=asked: rehearsal.call("GenerateDataKeyPairWithoutPlaintext", asked, region=region)] * 8
        found[region] = {code_of(answer) for answer in together(calls)}
    assert found == {"cn-north-1": {"", "ThrottlingException"}, "eu-central-1": {""}}

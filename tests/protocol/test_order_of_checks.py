"""A request that is wrong in two ways gets the error of the earlier check; `Date` and a request id are on every answer.

    HTTP itself (size) < path < method < target < signature < operation < JSON < model < resolve < authorise < state < usage
"""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime

import pytest
from tests.protocol.harness import House, Request, code_of, error_of, role

pytestmark = pytest.mark.token
HUGE = str(100 * 1024 * 1024)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})


def seen(house: House, request: Request) -> tuple[int, str]:
    answer = house.ask(request)
    return answer.status, code_of(answer) if answer.body.startswith(b"{") else ""


def unsigned(request: Request) -> Request:
    return request.without("Authorization")


def badly_signed(request: Request) -> Request:
    return request.having("Authorization", request.header("Authorization")[:-4] + "0000")


def test_size_before_path_and_method(house):
    request = house.signed(method="GET", path="/x").having("Content-Length", HUGE)
    assert seen(house, request) == (413, "RequestEntityTooLargeException")


def test_path_before_method(house):
    assert seen(house, house.signed(method="GET", path="/x"))[0] == 404
    assert seen(house, house.signed(method="GET"))[0] == 405


def test_path_and_method_before_target_and_signature(house):
    assert seen(house, unsigned(house.signed(path="/x", target="Nothing.Such")))[0] == 404
    assert seen(house, unsigned(house.signed(method="PUT", target="Nothing.Such")))[0] == 405


@pytest.mark.parametrize("target", ["TrentService.NoSuchOperation", "TrentService.", "Trent.Encrypt", "encrypt", ""])
def test_target_before_signature(house, target):
    request = house.signed(body=b"{").having("X-Amz-Target", target)
    for wrong in (unsigned(request), badly_signed(request)):
        assert seen(house, wrong) == (400, "UnknownOperationException")


def test_target_missing_or_twice_before_signature(house):
    request = unsigned(house.signed())
    assert seen(house, request.without("X-Amz-Target")) == (400, "UnknownOperationException")
    assert seen(house, request.adding("X-Amz-Target", "TrentService.ListKeys")) == (400, "UnknownOperationException")


def test_signature_before_an_operation_that_is_not_served(house):
    request = house.signed("CreateCustomKeyStore", b"{")
    assert seen(house, unsigned(request)) == (400, "MissingAuthenticationTokenException")
    assert seen(house, badly_signed(request)) == (400, "InvalidSignatureException")
    assert seen(house, request) == (400, "UnsupportedOperationException")


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"KeyId": 1}', b'{"KeyId": ""}'])
def test_signature_before_the_body(house, body):
    assert seen(house, badly_signed(house.signed("DescribeKey", body))) == (400, "InvalidSignatureException")


def test_json_before_the_model(house):
    assert seen(house, house.signed("DescribeKey", b'{"KeyId": "", "KeyId": ""}')) == (400, "SerializationException")
    assert seen(house, house.signed("Encrypt", b'{"KeyId": "", "Plaintext": "*"}')) == (400, "SerializationException")


def test_the_model_before_the_key(house):
    body = {"KeyId": "01234567-89ab-4cde-8f01-23456789abcd", "Plaintext": ""}
    assert seen(house, house.signed("Encrypt", body)) == (400, "ValidationException")


def test_the_key_before_the_right_to_it(house):
    """A workload that may do nothing: an unknown key of its own account is not found, a known one denied."""
    nobody = house.workload("nobody")
    unknown = {"KeyId": "01234567-89ab-4cde-8f01-23456789abcd"}
    assert seen(house, house.signed("EnableKey", unknown, who=nobody)) == (400, "NotFoundException")
    assert seen(house, house.signed("EnableKey", {"KeyId": house.key()}, who=nobody)) == (400, "AccessDeniedException")


def test_the_right_before_the_state(house):
    disabled, nobody = house.key(state="Disabled"), house.workload("nobody")
    body = {"KeyId": disabled, "Plaintext": "AAAA"}
    assert seen(house, house.signed("Encrypt", body, who=nobody)) == (400, "AccessDeniedException")
    assert seen(house, house.signed("Encrypt", body)) == (400, "DisabledException")


def test_the_state_before_the_usage(house):
    body = {"KeyId": house.key("ECC_NIST_P256", state="Disabled"), "Plaintext": "AAAA"}
    assert seen(house, house.signed("Encrypt", body)) == (400, "DisabledException")


def test_the_usage_before_the_algorithm(house):
    body = {"KeyId": house.key("ECC_NIST_P256"), "Plaintext": "AAAA", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    answer = house.ask(house.signed("Encrypt", body))
    assert error_of(answer).message.endswith("key usage is SIGN_VERIFY which is not valid for Encrypt.")


def test_the_right_before_a_dry_run(house, kms):
    nobody = house.workload("nobody")
    body = {"KeyId": house.key(), "Plaintext": "AAAA", "DryRun": True}
    assert seen(house, house.signed("Encrypt", body, who=nobody)) == (400, "AccessDeniedException")


def test_the_right_before_the_grant_s_parameters(house):
    nobody = house.workload("nobody")
    body = {"KeyId": house.key("HMAC_256"), "GranteePrincipal": role(house.first, "x"), "Operations": ["Encrypt"]}
    assert seen(house, house.signed("CreateGrant", body, who=nobody)) == (400, "AccessDeniedException")
    assert seen(house, house.signed("CreateGrant", body)) == (400, "ValidationException")


def answers(house: House):
    good = house.signed()
    yield good
    yield house.signed("DescribeKey", {"KeyId": "01234567-89ab-4cde-8f01-23456789abcd"})
    yield house.signed("DescribeKey", b"{")
    yield house.signed("CreateCustomKeyStore")
    yield house.signed(path="/x")
    yield house.signed(method="GET")
    yield unsigned(good)
    yield badly_signed(good)
    yield good.having("X-Amz-Target", "TrentService.No")
    yield house.signed(service="sts").having("Content-Type", "application/x-www-form-urlencoded").without("X-Amz-Target")


def test_every_answer_of_the_service_has_a_date_and_a_request_id(house):
    ids = set()
    asked = list(answers(house))
    with house.line() as line:
        for request in asked:
            answer = line.send(request.bytes).answer()
            assert parsedate_to_datetime(answer.headers["date"]).tzinfo is not None
            assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", answer.headers["x-amzn-requestid"])
            ids.add(answer.headers["x-amzn-requestid"])
    assert len(ids) == len(asked)


def test_what_is_refused_before_the_service_has_a_date_too(house):
    good = house.signed()
    whole = [good.having("Content-Length", HUGE), house.signed(path="/x"), house.signed(method="GET")]
    raw = [request.bytes for request in whole] + [b"NOT HTTP\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"]
    for sent in raw:
        with house.line() as line:
            answer = line.send(sent).answer()
            assert answer.status in (400, 404, 405, 411, 413)
            assert parsedate_to_datetime(answer.headers["date"])


def test_errors_are_json_of_the_protocol(house):
    answer = house.call("DescribeKey", {"KeyId": "x"})
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert json.loads(answer.body) == {"__type": "NotFoundException", "message": "Invalid keyId 'x'"}

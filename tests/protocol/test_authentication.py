"""Every row of AWS.md, Authentication errors, over HTTP: code, status 400, text. The signer is botocore's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from tests.protocol.harness import REGION, Account, House, Refused, Request, account, code_of, error_of

pytestmark = pytest.mark.token
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
    "method. Consult the service documentation for details."
)
INVALID = "The security token included in the request is invalid."


def told(house: House, request: Request) -> Refused:
    answer = house.ask(request)
    assert answer.status == 400
    return error_of(answer)


def code_and_text(house: House, request: Request) -> tuple[str, str]:
    found = told(house, request)
    return found.code, found.message


def test_no_credentials(house):
    assert code_and_text(house, house.signed().without("Authorization")) == (
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
    )


def test_an_unparsable_header(house):
    request = house.signed().having("Authorization", "AWS4-HMAC-SHA256 nonsense")
    assert code_and_text(house, request) == (
        "IncompleteSignatureException",
        "'nonsense' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 nonsense'",
    )


@pytest.mark.parametrize("part", ["Credential", "SignedHeaders", "Signature"])
def test_a_part_that_is_missing_is_named(house, part):
    request = house.signed()
    rest = re.sub(rf"{part}=[^,]*,? ?", "", request.header("Authorization")).rstrip(", ")
    code, text = code_and_text(house, request.having("Authorization", rest))
    assert code == "IncompleteSignatureException"
    assert text.startswith(f"Authorization header requires '{part}' parameter.")
    assert request.header("Authorization").rpartition("=")[2] not in text


def test_an_unknown_access_key(house):
    assert code_and_text(house, house.signed(who=account(house.first.id))) == ("UnrecognizedClientException", INVALID)


@pytest.mark.parametrize("token", ["x", "A" * 516])
def test_a_bad_session_token(house, token):
    made = account(house.first.id)
    stranger = Account(made.id, "ASIA" + made.access_key_id[4:], made.secret, token)
    assert code_and_text(house, house.signed(who=stranger)) == ("UnrecognizedClientException", INVALID)


def test_a_session_token_of_somebody_else(house):
    one, two = house.workload("one"), house.workload("two")
    mixed = Account(one.id, one.access_key_id, one.secret, two.token)
    assert told(house, house.signed(who=mixed)).code == "UnrecognizedClientException"


@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_session_token_with_a_flipped_character(house, at):
    one = house.workload("one")
    token = list(one.token)
    token[at] = "A" if token[at] != "A" else "B"
    forged = Account(one.id, one.access_key_id, one.secret, "".join(token))
    assert code_and_text(house, house.signed(who=forged)) == ("UnrecognizedClientException", INVALID)


def test_a_wrong_secret(house):
    wrong = Account(house.first.id, house.first.access_key_id, "x" * 40)
    assert code_and_text(house, house.signed(who=wrong)) == ("InvalidSignatureException", MISMATCH)


def test_the_secret_of_another_account(house):
    mixed = Account(house.first.id, house.first.access_key_id, house.second.secret)
    assert told(house, house.signed(who=mixed)).code == "InvalidSignatureException"


@pytest.mark.parametrize("change", ["body", "target", "date", "host", "query", "signature"])
def test_whatever_is_changed_after_signing_is_noticed(house, change):
    request = house.signed("DescribeKey", {"KeyId": house.key()})
    changed = {
        "body": lambda: Request("POST", "/", request.headers, request.body.replace(b"}", b" }")),
        "target": lambda: request.having("X-Amz-Target", "TrentService.DisableKey"),
        "date": lambda: request.having("X-Amz-Date", (datetime.now(UTC) + timedelta(seconds=9)).strftime("%Y%m%dT%H%M%SZ")),
        "host": lambda: request.having("Host", "kms.eu-central-1.amazonaws.com"),
        "query": lambda: Request("POST", "/?a=b", request.headers, request.body),
        "signature": lambda: request.having("Authorization", request.header("Authorization")[:-1] + "g"),
    }[change]()
    assert code_and_text(house, changed) == ("InvalidSignatureException", MISMATCH)
    assert code_of(house.ask(request)) == ""


@pytest.mark.parametrize("value", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64])
def test_a_payload_hash_that_is_not_the_body_s(house, value):
    assert told(house, house.signed(x_amz_content_sha256=value)).code == "InvalidSignatureException"


def test_too_old(house):
    moment = datetime.now(UTC) - timedelta(minutes=6)
    code, text = code_and_text(house, house.signed(moment=moment))
    form = r"Signature expired: (\d{8}T\d{6}Z) is now earlier than (\d{8}T\d{6}Z) \((\d{8}T\d{6}Z) - 5 min\.\)"
    assert code == "InvalidSignatureException"
    assert re.fullmatch(form, text)[1] == moment.strftime("%Y%m%dT%H%M%SZ")


def test_too_new(house):
    moment = datetime.now(UTC) + timedelta(minutes=6)
    code, text = code_and_text(house, house.signed(moment=moment))
    form = r"Signature not yet current: (\d{8}T\d{6}Z) is still later than (\d{8}T\d{6}Z) \((\d{8}T\d{6}Z) \+ 5 min\.\)"
    assert code == "InvalidSignatureException"
    assert re.fullmatch(form, text)[1] == moment.strftime("%Y%m%dT%H%M%SZ")


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_four_minutes_off_is_well(house, minutes):
    assert code_of(house.call("ListKeys", moment=datetime.now(UTC) + timedelta(minutes=minutes))) == ""


def test_a_scope_of_no_region(house):
    code, text = code_and_text(house, house.signed(region="NO_REGION"))
    assert (code, text) == ("InvalidSignatureException", "Credential should be scoped to a valid region.")


def test_a_scope_of_another_service(house):
    code, text = code_and_text(house, house.signed(service="s3"))
    assert (code, text) == ("InvalidSignatureException", "Credential should be scoped to correct service: 'kms'.")


def test_a_scope_of_another_day(house):
    request = house.signed()
    day = datetime.now(UTC).strftime("%Y%m%d")
    wrong = request.having("Authorization", request.header("Authorization").replace(f"/{day}/", "/20200101/"))
    found = told(house, wrong)
    assert found.code == "InvalidSignatureException"
    assert "does not match YYYYMMDD" in found.message


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-target"])
def test_what_steers_the_service_must_be_signed(house, name):
    request = house.signed()
    signed = re.search(r"SignedHeaders=([^,]+)", request.header("Authorization"))[1]
    fewer = ";".join(one for one in signed.split(";") if one != name)
    found = told(house, request.having("Authorization", request.header("Authorization").replace(signed, fewer)))
    assert found.code == "InvalidSignatureException"
    assert "must be a 'SignedHeader'" in found.message


@pytest.mark.parametrize("name", ["X-Amz-Date", "Authorization", "Content-Type"])
def test_what_steers_the_service_is_sent_once(house, name):
    request = house.signed()
    assert told(house, request.adding(name, request.header(name))).code == "IncompleteSignatureException"


def test_a_presigned_request_is_refused(house):
    request = house.signed(path="/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0")
    assert told(house, request).code == "IncompleteSignatureException"


def test_a_bearer_token_on_plain_http_is_refused_and_not_repeated(house):
    token = house.issuer.token("bearer")
    answer = house.ask(house.signed().having("Authorization", f"Bearer {token}"))
    assert answer.status == 400
    assert token[:20].encode() not in answer.body


def test_own_account_denied(house):
    """The text names the caller, the action and the key."""
    key, nobody = house.key(), house.workload("nobody")
    found = error_of(house.call("Encrypt", {"KeyId": key, "Plaintext": "AAAA"}, who=nobody))
    caller = f"arn:aws:sts::{house.first.id}:assumed-role/nobody/protocol"
    assert (found.code, found.message) == (
        "AccessDeniedException",
        f"User: {caller} is not authorized to perform: kms:Encrypt on resource: {key} "
        "because no resource-based policy allows the kms:Encrypt action",
    )


def test_get_caller_identity_says_who_each_access_key_is(house):
    for who in (house.first, house.second):
        told = house.client(who, service="sts").get_caller_identity()
        assert (told["Account"], told["Arn"]) == (who.id, who.root)
    told = house.client(house.workload("me"), service="sts").get_caller_identity()
    assert told["Arn"] == f"arn:aws:sts::{house.first.id}:assumed-role/me/protocol"


def test_any_region_s_signature_is_verified(house):
    for region in ("us-east-1", "ap-southeast-2", REGION):
        assert code_of(house.call("ListKeys", region=region)) == ""
        wrong = Account(house.first.id, house.first.access_key_id, "y" * 40)
        assert code_of(house.call("ListKeys", region=region, who=wrong)) == "InvalidSignatureException"

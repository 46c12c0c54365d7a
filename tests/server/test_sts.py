"""STS: the query protocol as unmodified clients speak it, its bounds, and its errors in AWS's names and shapes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from urllib.parse import urlencode

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import QueryParser
from hypothesis import given
from hypothesis import strategies as st
from tests.hsm.fake import FakeHsm
from tests.server.identities import ACCOUNT, NOW, ROLE, SA_UID, AnIdentity

from keystead.errors import (
    AccessDeniedError,
    ExpiredTokenError,
    HsmUnavailableError,
    IdentityTokenError,
    IdentityTokenExpiredError,
    IncompleteSignatureError,
    InvalidRequestSignatureError,
    KeysteadError,
    KmsError,
    KmsInternalError,
    MissingAuthenticationTokenError,
    StoreUnavailableError,
    ThrottlingError,
    UnrecognizedClientError,
    ValidationError,
)
from keystead.operations.trail import Actor
from keystead.policy import CallerKind, caller_of, root_caller, service_account_caller
from keystead.server import sigv4, sts
from keystead.server.credentials import SessionCache, open_session
from keystead.server.message import Asked, Reply

FORM = b"application/x-www-form-urlencoded"
WEB_TOKEN = "eyJ.canary-token.sig"
ASSUME = {
    "Action": "AssumeRoleWithWebIdentity",
    "Version": "2011-06-15",
    "RoleArn": ROLE,
    "RoleSessionName": "s-1",
    "WebIdentityToken": WEB_TOKEN,
}
WHO = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
MODEL = botocore.session.get_session().get_service_model("sts")


@pytest.fixture(scope="module")
def hsm() -> FakeHsm:
    return FakeHsm()


def posted(body: bytes, content_type: bytes = FORM) -> Asked:
    return Asked(b"POST", b"/", ((b"host", b"kms"), (b"content-type", content_type)), body)


def encoded(fields) -> bytes:
    return urlencode(fields).encode()


async def identify(token: str) -> AnIdentity:
    if token == WEB_TOKEN:
        return AnIdentity()
    raise IdentityTokenExpiredError("old") if token == "expired" else IdentityTokenError(f"bad {token}")


class Signers:
    """Authenticates as the door does: parse, find the secret, check."""

    def __init__(self, hsm: FakeHsm, region: str | None = "cluster-1") -> None:
        self._hsm = hsm
        self._verifier = sigv4.Verifier(region=region, service="sts")
        self._sessions = SessionCache()

    async def __call__(self, asked: Asked, now: datetime):
        signed = sigv4.parse(asked)
        if signed.session_token is None:
            raise UnrecognizedClientError("The security token included in the request is invalid.")
        session = self._sessions.open(self._hsm.domain, signed.session_token, signed.access_key_id, now)
        self._verifier.check(asked, signed, session.secret_access_key, now)
        caller = service_account_caller(
            session.account,
            session.namespace,
            session.service_account,
            uid=session.uid,
            session=session.session_name,
        )
        return Actor(caller, session.access_key_id, session.issued, session.session_name)


def an_endpoint(hsm: FakeHsm, **changes) -> sts.StsEndpoint:
    parts = {
        "identify": identify,
        "authenticate": Signers(hsm),
        "domain": lambda: hsm.domain,
        "now": lambda: NOW,
        "entropy": os.urandom,
    }
    return sts.StsEndpoint(**{**parts, **changes})


def answer(hsm: FakeHsm, fields, *, content_type: bytes = FORM, **changes) -> Reply:
    body = fields if isinstance(fields, bytes) else encoded(fields)
    return asyncio.run(an_endpoint(hsm, **changes).handle(posted(body, content_type), "req-1"))


def parsed(reply: Reply, operation: str = "AssumeRoleWithWebIdentity"):
    """As botocore reads it; the Content-Type too, since it parses what it was told."""
    assert reply.content_type == b"text/xml"
    shape = MODEL.operation_model(operation).output_shape
    response = {"status_code": reply.status, "headers": {}, "body": reply.body}
    return QueryParser().parse(response, shape)


def refusal(hsm: FakeHsm, fields, **how) -> tuple[int, str, str]:
    reply = answer(hsm, fields, **how)
    read = parsed(reply)
    assert read["Error"]["Type"] == ("Sender" if reply.status < 500 else "Receiver")
    assert read["ResponseMetadata"]["RequestId"] == "req-1"
    assert WEB_TOKEN.encode() not in reply.body
    return reply.status, read["Error"]["Code"], read["Error"]["Message"]


# --- AssumeRoleWithWebIdentity


def test_credentials_for_the_service_account_of_the_token(hsm):
    read = parsed(answer(hsm, ASSUME))
    credentials = read["Credentials"]
    session = open_session(hsm.domain, credentials["SessionToken"], credentials["AccessKeyId"], NOW)
    assert session.secret_access_key == credentials["SecretAccessKey"]
    assert credentials["Expiration"] == NOW + timedelta(hours=1)
    assert read["AssumedRoleUser"] == {
        "AssumedRoleId": f"{sts.role_id(SA_UID)}:s-1",
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1",
    }
    assert read["SubjectFromWebIdentityToken"] == "system:serviceaccount:team-a:app"
    assert read["ResponseMetadata"] == {"RequestId": "req-1", "HTTPStatusCode": 200, "HTTPHeaders": {}}
    assert (session.uid, session.pod_name) == (SA_UID, "app-7f9c")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n", ""])
def test_the_token_files_last_newline_is_taken_away(hsm, newline):
    assert answer(hsm, {**ASSUME, "WebIdentityToken": WEB_TOKEN + newline}).status == 200


@pytest.mark.parametrize(
    "name",
    [
        "botocore-session-1795680000",
        "aws-sdk-js-session-1795680000000",
        "aws-sdk-java-1795680000000",
        "1795680000000000000",
    ],
)
def test_session_names_that_sdks_send(hsm, name):
    assert parsed(answer(hsm, {**ASSUME, "RoleSessionName": name}))["AssumedRoleUser"]["Arn"].endswith("/" + name)


@pytest.mark.parametrize("seconds", [900, 3600, 43200])
def test_duration_within_its_bounds(hsm, seconds):
    read = parsed(answer(hsm, {**ASSUME, "DurationSeconds": str(seconds)}))
    assert read["Credentials"]["Expiration"] == NOW + timedelta(seconds=seconds)


def test_parameters_in_any_order_and_a_charset(hsm):
    turned = dict(reversed(ASSUME.items()))
    for content_type in (FORM + b"; charset=utf-8", FORM + b";charset=UTF-8", FORM.upper()):
        assert answer(hsm, turned, content_type=content_type).status == 200


@pytest.mark.parametrize(
    "arn",
    [
        ROLE + "x",
        ROLE.replace("/app", "/other"),
        ROLE.replace(ACCOUNT, "444455556666"),
        ROLE.replace("role/app", "role/path/app"),
        ROLE.upper(),
        f"arn:aws:iam::{ACCOUNT}:root-of-all",
    ],
)
def test_another_role_than_the_tokens_is_denied(hsm, arn):
    expected = (403, "AccessDenied", f"Not authorized to perform sts:AssumeRoleWithWebIdentity: the token is that of {ROLE}")
    assert refusal(hsm, {**ASSUME, "RoleArn": arn}) == expected


def test_a_bad_token_tells_nothing_about_the_role(hsm):
    for arn in (ROLE, ROLE + "x"):
        expected = (400, "InvalidIdentityToken", "The web identity token that was passed could not be validated.")
        assert refusal(hsm, {**ASSUME, "RoleArn": arn, "WebIdentityToken": "canary"}) == expected


def test_an_expired_token(hsm):
    expected = (400, "ExpiredTokenException", "The web identity token that was passed is expired.")
    assert refusal(hsm, {**ASSUME, "WebIdentityToken": "expired"}) == expected


@pytest.mark.parametrize("missing", ["RoleArn", "RoleSessionName", "WebIdentityToken"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_parameter_is_named(hsm, missing, empty):
    fields = {name: value for name, value in ASSUME.items() if name != missing}
    expected = (400, "MissingParameter", f"The request must contain the parameter {missing}.")
    assert refusal(hsm, {**fields, missing: ""} if empty else fields) == expected


UNFIT = "1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must {}"
PATTERN = r"satisfy regular expression pattern: [\w+=,.@-]{2,64}"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "RoleArn",
            "arn:aws:iam::1:role",
            UNFIT.format("arn:aws:iam::1:role", "roleArn", "have length greater than or equal to 20"),
        ),
        ("RoleArn", "a" * 2049, UNFIT.format("a" * 256, "roleArn", "have length less than or equal to 2048")),
        ("RoleSessionName", "a", UNFIT.format("a", "roleSessionName", PATTERN)),
        ("RoleSessionName", "a" * 65, UNFIT.format("a" * 65, "roleSessionName", PATTERN)),
        ("RoleSessionName", "a/b", UNFIT.format("a/b", "roleSessionName", PATTERN)),
        ("RoleSessionName", "ab\n", UNFIT.format("ab?", "roleSessionName", PATTERN)),
        ("RoleSessionName", "é\0\x1b\ufffe", UNFIT.format("é???", "roleSessionName", PATTERN)),
        ("DurationSeconds", "899", UNFIT.format("899", "durationSeconds", "have value greater than or equal to 900")),
        (
            "DurationSeconds",
            "43201",
            UNFIT.format("43201", "durationSeconds", "have value less than or equal to 43200"),
        ),
        ("DurationSeconds", "9" * 5000, UNFIT.format("9" * 256, "durationSeconds", "be an integer")),
        ("DurationSeconds", "-1", UNFIT.format("-1", "durationSeconds", "be an integer")),
        ("DurationSeconds", "9e2", UNFIT.format("9e2", "durationSeconds", "be an integer")),
        ("DurationSeconds", "٩٠٠", UNFIT.format("٩٠٠", "durationSeconds", "be an integer")),
        ("DurationSeconds", "", UNFIT.format("", "durationSeconds", "be an integer")),
        ("WebIdentityToken", "a" * 20_001, "The WebIdentityToken must have 4 to 20000 characters."),
        ("WebIdentityToken", "abc\n\n", "The WebIdentityToken must have 4 to 20000 characters."),
    ],
)
def test_values_out_of_bounds(hsm, name, value, message):
    assert refusal(hsm, {**ASSUME, name: value}) == (400, "ValidationError", message)


@pytest.mark.parametrize("name", ["Policy", "PolicyArns.member.1.arn", "ProviderId", "Tags.member.1.Key", "x" * 300])
def test_a_parameter_that_we_would_have_to_ignore_is_refused(hsm, name):
    assert refusal(hsm, {**ASSUME, name: "x"}) == (
        400,
        "ValidationError",
        f"The parameter {name[:256]} is not supported.",
    )


@pytest.mark.parametrize("name", sorted(ASSUME))
def test_a_parameter_that_was_sent_twice_is_refused(hsm, name):
    body = encoded([*ASSUME.items(), (name, ASSUME[name])])
    assert refusal(hsm, body) == (400, "ValidationError", "A parameter was sent more than once.")


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        (
            {**WHO, "Action": "AssumeRole"},
            "InvalidAction",
            "Could not find operation AssumeRole for version 2011-06-15",
        ),
        (
            {**WHO, "Action": "GetSessionToken"},
            "InvalidAction",
            "Could not find operation GetSessionToken for version 2011-06-15",
        ),
        (
            {**WHO, "Action": "getcalleridentity"},
            "InvalidAction",
            "Could not find operation getcalleridentity for version 2011-06-15",
        ),
        (
            {**ASSUME, "Version": "2010-05-08"},
            "InvalidAction",
            "Could not find operation AssumeRoleWithWebIdentity for version 2010-05-08",
        ),
        (
            {"Action": "GetCallerIdentity"},
            "InvalidAction",
            "Could not find operation GetCallerIdentity for version NO_VERSION_SPECIFIED",
        ),
        ({"Version": "2011-06-15"}, "MissingAction", "The request must contain the parameter Action."),
        (b"", "MissingAction", "The request must contain the parameter Action."),
        (b"Action", "ValidationError", "The request body is not a form."),
        (b"Action=%ff", "ValidationError", "The request body is not a form."),
        ("Action=é".encode(), "ValidationError", "The request body is not a form."),
        (b"&".join(b"a%d=1" % n for n in range(40)), "ValidationError", "The request body is not a form."),
        (b"{}", "ValidationError", "The request body is not a form."),
        (b"Action=" + b"a" * 70_000, "ValidationError", "The request must have at most 65536 bytes."),
    ],
)
def test_what_is_no_request_of_ours(hsm, fields, code, message):
    assert refusal(hsm, fields) == (400, code, message)


@given(
    st.binary(max_size=400)
    | st.dictionaries(st.sampled_from([*ASSUME, "Policy"]), st.text(st.characters(codec="utf-8"))).map(encoded)
)
def test_whatever_is_sent_the_answer_is_xml_of_ours(body):
    reply = answer(FakeHsm(), body)
    assert parsed(reply)["Error"]["Code"] in (
        "ValidationError",
        "InvalidAction",
        "MissingAction",
        "MissingParameter",
        "InvalidIdentityToken",
        "MissingAuthenticationToken",
    )


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"", FORM + b"; charset=utf-16", FORM + b"x", b"text/plain, " + FORM]
)
def test_another_content_type_is_not_sts(hsm, content_type):
    assert not sts.is_sts(posted(b"", content_type))
    assert refusal(hsm, WHO, content_type=content_type)[:2] == (400, "ValidationError")


def test_a_target_or_two_content_types_are_not_sts():
    asked = posted(encoded(WHO))
    assert sts.is_sts(asked)
    assert not sts.is_sts(replace(asked, headers=(*asked.headers, (b"x-amz-target", b"TrentService.Encrypt"))))
    assert not sts.is_sts(replace(asked, headers=(*asked.headers, (b"content-type", FORM))))
    assert not sts.is_sts(replace(asked, headers=()))


# --- errors


@pytest.mark.parametrize(
    ("fault", "status", "code", "message"),
    [
        (MissingAuthenticationTokenError("m"), 403, "MissingAuthenticationToken", "m"),
        (IncompleteSignatureError("m"), 400, "IncompleteSignature", "m"),
        (UnrecognizedClientError("m"), 403, "InvalidClientTokenId", "m"),
        (ExpiredTokenError("m"), 403, "ExpiredToken", "m"),
        (InvalidRequestSignatureError("m"), 403, "SignatureDoesNotMatch", "m"),
        (AccessDeniedError("m"), 403, "AccessDenied", "m"),
        (ValidationError("m"), 400, "ValidationError", "m"),
        (ThrottlingError("m"), 400, "Throttling", "m"),
        (KmsInternalError("canary"), 500, "InternalFailure", "The request could not be served; try again."),
        (StoreUnavailableError("canary"), 500, "InternalFailure", "The request could not be served; try again."),
        (HsmUnavailableError("canary"), 500, "InternalFailure", "The request could not be served; try again."),
        (ZeroDivisionError("canary"), 500, "InternalFailure", "The request could not be served; try again."),
    ],
)
def test_errors_of_the_ports_by_the_names_of_sts(hsm, fault, status, code, message, caplog):
    async def failing(*_):
        raise fault

    assert refusal(hsm, WHO, authenticate=failing) == (status, code, message)
    assert refusal(hsm, ASSUME, identify=failing) == (status, code, message)
    assert "canary" not in caplog.text


def test_a_domain_that_is_away_is_retryable(hsm):
    def away():
        raise HsmUnavailableError("away")

    assert refusal(hsm, ASSUME, domain=away)[:2] == (500, "InternalFailure")


def test_every_error_of_the_signature_has_a_name_in_sts():
    codes = {error.code for error in KmsError.__subclasses__() if error.__module__ == "keystead.errors"}
    assert set(sts.ERRORS) <= codes
    raised = (MissingAuthenticationTokenError, IncompleteSignatureError, UnrecognizedClientError, ExpiredTokenError)
    assert {error.code for error in (*raised, InvalidRequestSignatureError)} <= set(sts.ERRORS)


def test_no_token_in_a_repr_or_an_error():
    assert WEB_TOKEN not in repr(sts.parse(encoded(ASSUME)))
    reply = sts.error(KeysteadError(WEB_TOKEN), "req-1")
    assert WEB_TOKEN.encode() not in reply.body


# --- GetCallerIdentity


@pytest.mark.parametrize(
    ("caller", "user_id"),
    [
        (service_account_caller(ACCOUNT, "team-a", "app", uid=SA_UID, session="s-1"), f"{sts.role_id(SA_UID)}:s-1"),
        (service_account_caller(ACCOUNT, "team-a", "app", uid=SA_UID), sts.role_id(SA_UID)),
        (root_caller(ACCOUNT, "team-a"), ACCOUNT),
        (caller_of(f"arn:aws:iam::{ACCOUNT}:user/jane", "x"), None),
    ],
)
def test_who_signed(caller, user_id):
    read = parsed(sts.caller_identity(caller, "req-1"), "GetCallerIdentity")
    assert (read["Arn"], read["Account"]) == (caller.arn, ACCOUNT)
    assert read["UserId"] == user_id or (caller.kind is CallerKind.USER and read["UserId"][:4] == "AIDA")


def test_a_role_id_is_that_of_one_uid():
    ids = {sts.role_id(str(n)) for n in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 21 and one.startswith("AROA") and one.isalnum() for one in ids)


def test_an_unsigned_call_is_refused(hsm):
    assert refusal(hsm, WHO)[1:] == ("MissingAuthenticationToken", "Request is missing Authentication Token")


# --- unmodified clients, over a socket


class Served(asyncio.Protocol):
    """As little HTTP as an SDK needs. The product's own is server/http.py."""

    def __init__(self, endpoint: sts.StsEndpoint) -> None:
        self._endpoint = endpoint
        self._data = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
        if not end or len(body) < int(dict(headers).get(b"content-length", 0)):
            return
        method, target, _ = lines[0].split(b" ")
        self._task = asyncio.ensure_future(self._answer(Asked(method, target, headers, body)))

    async def _answer(self, asked: Asked) -> None:
        reply = await self._endpoint.handle(asked, "req-1")
        head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self._transport.write(head % (reply.status, reply.content_type, len(reply.body)) + reply.body)
        self._transport.close()


@contextmanager
def a_server(endpoint: sts.StsEndpoint) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Served(endpoint), "127.0.0.1", 0))
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture
def url(hsm) -> Iterator[str]:
    with a_server(an_endpoint(hsm, now=lambda: datetime.now(UTC))) as served:
        yield served


def a_client(url: str, **credentials):
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("sts", region_name="cluster-1", endpoint_url=url, config=config, **credentials)


def assume(url: str, **changes):
    client = a_client(url, aws_access_key_id="unused", aws_secret_access_key="unused")
    asked = {"RoleArn": ROLE, "RoleSessionName": "boto", "WebIdentityToken": WEB_TOKEN + "\n", **changes}
    return client.assume_role_with_web_identity(**asked)


def keys(credentials) -> dict[str, str]:
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


def test_boto3_assumes_the_role_and_is_told_who_it_is(url):
    credentials = assume(url)["Credentials"]
    who = a_client(url, **keys(credentials)).get_caller_identity()
    assert (who["Account"], who["Arn"]) == (ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/app/boto")
    assert who["UserId"] == f"{sts.role_id(SA_UID)}:boto"


def test_botocores_own_provider_finds_the_token_file_by_its_environment(url, tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(WEB_TOKEN + "\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ENDPOINT_URL_STS": url,
        "AWS_DEFAULT_REGION": "cluster-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    who = boto3.Session().client("sts").get_caller_identity()
    assert who["Arn"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/app/botocore-session-")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"RoleArn": ROLE + "x"}, "AccessDenied"),
        ({"WebIdentityToken": "nonsense"}, "InvalidIdentityToken"),
        ({"WebIdentityToken": "expired"}, "ExpiredTokenException"),
        ({"Policy": "{}"}, "ValidationError"),
        ({"DurationSeconds": 43201}, "ValidationError"),
    ],
)
def test_boto3_reads_our_errors(url, changes, code):
    with pytest.raises(ClientError) as caught:
        assume(url, **changes)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["Error"]["Type"] == "Sender"


def test_boto3s_typed_exceptions_are_raised(url):
    client = a_client(url, aws_access_key_id="unused", aws_secret_access_key="unused")
    asked = {"RoleArn": ROLE, "RoleSessionName": "boto"}
    with pytest.raises(client.exceptions.InvalidIdentityTokenException):
        client.assume_role_with_web_identity(**asked, WebIdentityToken="nonsense")
    with pytest.raises(client.exceptions.ExpiredTokenException):
        client.assume_role_with_web_identity(**asked, WebIdentityToken="expired")


def test_boto3_with_a_wrong_secret_or_a_strange_token_is_refused(url):
    good = keys(assume(url)["Credentials"])
    for change, code in (
        ({"aws_secret_access_key": "x"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "ASIAABCDEFGHIJKLMNOP"}, "InvalidClientTokenId"),
        ({"aws_session_token": "A" * 500}, "InvalidClientTokenId"),
        ({"aws_session_token": None}, "InvalidClientTokenId"),
    ):
        with pytest.raises(ClientError) as caught:
            a_client(url, **{**good, **change}).get_caller_identity()
        assert caught.value.response["Error"]["Code"] == code


def test_no_other_action_of_sts_is_there(url):
    credentials = keys(assume(url)["Credentials"])
    client = a_client(url, **credentials)
    for call in (
        lambda: client.assume_role(RoleArn=ROLE, RoleSessionName="boto"),
        client.get_session_token,
        lambda: client.decode_authorization_message(EncodedMessage="x"),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "InvalidAction"

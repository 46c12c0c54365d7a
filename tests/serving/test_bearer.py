"""`Authorization: Bearer <ServiceAccount token>`: for clients that are no AWS SDKs. What curl would send, over TLS."""

from __future__ import annotations

import base64
import time

import pytest
from tests.serving.desk import Desk, Raw, Worker
from tests.serving.harness import REGION

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-people"
TARGET = {"X-Amz-Target": "TrentService.ListKeys", "Content-Type": "application/x-amz-json-1.1"}


@pytest.fixture(scope="module")
def app(desk: Desk) -> Worker:
    return desk.worker(NAMESPACE, "app", "*")


@pytest.fixture(scope="module")
def key(app: Worker) -> str:
    """A key's ARN."""
    return str(app.raw().call("CreateKey").json["KeyMetadata"]["Arn"])


def refused(client: Raw, **headers: str) -> tuple[int, str]:
    answer = client.post(b"{}", TARGET | headers)
    return answer.status, answer.code


def test_a_bearer_token_is_its_service_account(app: Worker, key: str) -> None:
    client = app.raw()
    blob = client.call("Encrypt", KeyId=key, Plaintext=b"hello", EncryptionContext={"a": "b"}).json["CiphertextBlob"]
    opened = client.call("Decrypt", CiphertextBlob=base64.b64decode(blob), EncryptionContext={"a": "b"})
    assert base64.b64decode(opened.json["Plaintext"]) == b"hello"
    assert opened.headers["Date"] and opened.headers["x-amzn-RequestId"]
    assert key.split(":")[3:5] == [REGION, app.account]
    signed = app.kms()
    assert signed.decrypt(CiphertextBlob=base64.b64decode(blob), EncryptionContext={"a": "b"})["Plaintext"] == b"hello"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_schemes_case_and_blanks_do_not_matter(app: Worker, scheme: str) -> None:
    assert refused(app.desk.raw(), Authorization=f"{scheme} {app.token('keystead')}") == (200, "")


def test_a_token_that_is_not_for_us_is_nobodys(app: Worker) -> None:
    for token in (app.token(), app.token("vault"), "nonsense", "a.b.c", app.forged()[:-4] + "AAAA"):
        assert refused(app.desk.raw(), Authorization=f"Bearer {token}") == (400, "UnrecognizedClientException")


def test_a_token_whose_time_is_over_is_told_so(app: Worker) -> None:
    ended = app.forged(exp=int(time.time()) - 60)
    assert refused(app.desk.raw(), Authorization=f"Bearer {ended}") == (400, "ExpiredTokenException")


@pytest.mark.parametrize("sent", ["Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer two words", "Bearer a, Bearer b"])
def test_what_is_neither_token_nor_signature_is_told_so(app: Worker, sent: str) -> None:
    status, code = refused(app.desk.raw(), Authorization=sent)
    assert (status, code) == (400, "IncompleteSignatureException")


def test_without_any_credentials_it_is_told_so(app: Worker) -> None:
    assert refused(app.desk.raw()) == (400, "MissingAuthenticationTokenException")


def test_rbac_holds_for_bearer_tokens_too(desk: Desk, key: str) -> None:
    weak = desk.worker(NAMESPACE, "weak", "encrypt")
    client = weak.raw()
    assert client.call("Encrypt", KeyId=key, Plaintext=b"x").status == 200
    denied = client.call("DescribeKey", KeyId=key)
    assert (denied.status, denied.code) == (400, "AccessDeniedException")
    assert f"User: arn:aws:iam::{weak.account}:role/weak is not authorized" in denied.json["message"]


def test_sts_takes_no_bearer(app: Worker) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {app.token('keystead')}"}
    answer = app.desk.raw().post(b"Action=GetCallerIdentity&Version=2011-06-15", form)
    assert (answer.status, "<Code>IncompleteSignature</Code>" in answer.text) == (400, True)

"""Requests signed by botocore, as `Asked`: what the tests of SigV4 and STS send. The signer is AWS's own, never ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from keystead.server.message import Asked

ACCESS_KEY = "ASIAABCDEFGHIJKLMNOP"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "A" * 516
REGION = "cluster-1"
URL = "https://kms.keystead.svc:8443/"
BODY = b'{"KeyId":"alias/app","Plaintext":"aGVsbG8="}'
JSON = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Encrypt"}
INVOCATION = {"amz-sdk-invocation-id": "0a4c2d3e-0000-4000-8000-000000000001", "amz-sdk-request": "attempt=1; max=3"}
# What each client signs besides host, x-amz-date and x-amz-security-token (AWS.md, SigV4 as sent).
CLIENTS: dict[str, dict[str, str]] = {
    "boto3": JSON,
    "go": {**JSON, **INVOCATION, "Content-Length": str(len(BODY))},
    "js": {**JSON, "x-amz-content-sha256": "body", **INVOCATION, "x-amz-user-agent": "aws-sdk-js/3.1163.0"},
    "java": {**JSON, "x-amz-content-sha256": "body", **INVOCATION},
}


class BodyHashed(SigV4Auth):
    """A signer that sends x-amz-content-sha256 wherever it was asked to, as JS and Java do."""

    def _modify_request_before_signing(self, request: Any) -> None:
        super()._modify_request_before_signing(request)
        if "x-amz-content-sha256" in request.headers:
            del request.headers["x-amz-content-sha256"]
            request.headers["x-amz-content-sha256"] = self.payload(request)


def sign(
    headers: Mapping[str, str] = JSON,
    body: bytes = BODY,
    *,
    url: str = URL,
    method: str = "POST",
    service: str = "kms",
    region: str = REGION,
    access_key: str = ACCESS_KEY,
    secret: str = SECRET,
    token: str | None = TOKEN,
    unsigned: Sequence[tuple[bytes, bytes]] = (),
) -> Asked:
    """A request as it reaches the door. `unsigned` headers come last."""
    request = AWSRequest(method, url, data=body, headers=dict(headers))
    BodyHashed(Credentials(access_key, secret, token), service, region).add_auth(request)
    host = url.split("/")[2]
    sent = [(name.lower().encode(), value.strip().encode()) for name, value in request.headers.items()]
    target = "/" + url.split("/", 3)[3]
    return Asked(method.encode(), target.encode(), ((b"host", host.encode()), *sent, *unsigned), body)


def header(asked: Asked, name: bytes) -> bytes:
    """The value of a header that was sent once."""
    [value] = [value for key, value in asked.headers if key == name]
    return value


def without(asked: Asked, name: bytes) -> Asked:
    """The request without a header."""
    return replace(asked, headers=tuple(pair for pair in asked.headers if pair[0] != name))


def having(asked: Asked, name: bytes, value: bytes) -> Asked:
    """The request with another value of a header, in its place, or with a new header."""
    headers = tuple((key, value if key == name else old) for key, old in asked.headers)
    if all(key != name for key, _ in headers):
        headers += ((name, value),)
    return replace(asked, headers=headers)


def adding(asked: Asked, name: bytes, value: bytes) -> Asked:
    """The request with one header more, at its end."""
    return replace(asked, headers=(*asked.headers, (name, value)))


def signed_at(asked: Asked) -> datetime:
    """The moment of x-amz-date."""
    return datetime.strptime(header(asked, b"x-amz-date").decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

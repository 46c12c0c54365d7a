"""`keystead dev` as these tests see it: a process behind an HTTP address, boto3 that checks nothing by itself, and bare requests.

Called by conftest.py and the tests here. Signatures are botocore's, never ours. Keys are made once and shared where a test changes nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.clients.endpoint import Endpoint
from tests.clients.webidentity import Issuer
from tests.server.http_harness import Answer, Client

REGION = "eu-central-1"
CONFIG = Config(parameter_validation=False, retries={"total_max_attempts": 1}, max_pool_connections=32)
CONTENT_TYPE = "application/x-amz-json-1.1"
USAGES = {"SYMMETRIC_DEFAULT": "ENCRYPT_DECRYPT", "HMAC_256": "GENERATE_VERIFY_MAC"}


@dataclass(frozen=True)
class Account:
    """An account and its access key."""

    id: str
    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def root(self) -> str:
        """The caller that an access key is."""
        return f"arn:aws:iam::{self.id}:root"


def account(number: str) -> Account:
    """With an access key that nobody has had before."""
    return Account(number, "AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))


@dataclass(frozen=True)
class Refused:
    """An error, as a client has it."""

    status: int
    code: str
    message: str


@dataclass(frozen=True)
class Request:
    """A request as bytes will be made of it."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    def having(self, name: str, value: str) -> Request:
        """With another value of a header, in its place, or with a new one."""
        if all(key.lower() != name.lower() for key, _ in self.headers):
            return self.adding(name, value)
        return replace(self, headers=tuple((key, value if key.lower() == name.lower() else old) for key, old in self.headers))

    def adding(self, name: str, value: str) -> Request:
        """With one header more."""
        return replace(self, headers=(*self.headers, (name, value)))

    def without(self, name: str) -> Request:
        """With a header less."""
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0].lower() != name.lower()))

    def header(self, name: str) -> str:
        """The value of a header that is there once."""
        (value,) = (value for key, value in self.headers if key.lower() == name.lower())
        return value

    @property
    def bytes(self) -> bytes:
        """What is sent."""
        length = () if any(key.lower() == "content-length" for key, _ in self.headers) else (("Content-Length", str(len(self.body))),)
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in (*self.headers, *length))]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class _At(SigV4Auth):
    """botocore's signer, at another moment."""

    def __init__(self, credentials: Credentials, service: str, region: str, moment: datetime) -> None:
        super().__init__(credentials, service, region)
        self._moment = moment

    def add_auth(self, request: Any) -> None:
        request.context["timestamp"] = self._moment.strftime(SIGV4_TIMESTAMP)
        self._modify_request_before_signing(request)
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))


@dataclass(frozen=True)
class House:
    """The process, its accounts, and the issuer of web identities that it believes."""

    endpoint: Endpoint
    issuer: Issuer
    first: Account
    second: Account
    clients: dict[Any, Any] = field(default_factory=dict)
    keys: dict[Any, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Of the endpoint."""
        port = urlsplit(self.endpoint.url).port
        assert port is not None
        return port

    @property
    def host(self) -> str:
        """As clients send it."""
        return urlsplit(self.endpoint.url).netloc

    def client(self, who: Account | None = None, region: str = REGION, service: str = "kms") -> Any:
        """boto3 of an account."""
        who = who or self.first
        place = (who.access_key_id, region, service)
        if place not in self.clients:
            self.clients[place] = boto3.client(
                service,
                region_name=region,
                endpoint_url=self.endpoint.url,
                config=CONFIG,
                aws_access_key_id=who.access_key_id,
                aws_secret_access_key=who.secret,
                aws_session_token=who.token,
            )
        return self.clients[place]

    def workload(self, name: str, duration: int = 3600) -> Account:
        """The temporary credentials of a ServiceAccount of the first account, from STS with its projected token."""
        answer = self.client(service="sts").assume_role_with_web_identity(
            RoleArn=role(self.first, name),
            RoleSessionName="protocol",
            WebIdentityToken=self.issuer.token(name),
            DurationSeconds=duration,
        )["Credentials"]
        return Account(self.first.id, answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])

    def key(self, spec: str = "SYMMETRIC_DEFAULT", usage: str | None = None, state: str = "Enabled", who: Account | None = None) -> str:
        """The ARN of a shared key. Its state must stay."""
        usage = usage or USAGES.get(spec, "SIGN_VERIFY")
        place = (spec, usage, state, (who or self.first).id)
        if place not in self.keys:
            self.keys[place] = self.fresh(spec, usage, state, who)
        return self.keys[place]

    def fresh(self, spec: str = "SYMMETRIC_DEFAULT", usage: str | None = None, state: str = "Enabled", who: Account | None = None) -> str:
        """The ARN of a key of a test's own."""
        kms = self.client(who)
        usage = usage or USAGES.get(spec, "SIGN_VERIFY")
        arn: str = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
        if state == "Disabled":
            kms.disable_key(KeyId=arn)
        elif state == "PendingDeletion":
            kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
        return arn

    def signed(
        self,
        operation: str = "ListKeys",
        body: bytes | dict[str, Any] = b"{}",
        *,
        who: Account | None = None,
        region: str = REGION,
        service: str = "kms",
        target: str | None = None,
        method: str = "POST",
        path: str = "/",
        moment: datetime | None = None,
        **headers: str,
    ) -> Request:
        """A request, rightly signed. `headers`: more of them, `_` for `-`."""
        who = who or self.first
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        sent = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": target or f"TrentService.{operation}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, f"{self.endpoint.url}{path}", data=data, headers=sent)
        _At(Credentials(who.access_key_id, who.secret, who.token), service, region, moment or datetime.now(UTC)).add_auth(request)
        return Request(method, path, (("Host", self.host), *((str(k), str(v)) for k, v in request.headers.items())), data)

    @contextmanager
    def line(self) -> Iterator[Client]:
        """A connection of its own."""
        with Client(self.port) as client:
            yield client

    def ask(self, request: Request) -> Answer:
        """One request on one connection."""
        with self.line() as client:
            return client.send(request.bytes).answer()

    def call(self, operation: str, body: bytes | dict[str, Any] = b"{}", **how: Any) -> Answer:
        """A rightly signed call."""
        return self.ask(self.signed(operation, body, **how))


def role(who: Account, name: str) -> str:
    """The ARN of a ServiceAccount."""
    return f"arn:aws:iam::{who.id}:role/{name}"


def open_house(folder: Path, options: Sequence[str] = ("--memory",)) -> House:
    """Start one; the caller stops `endpoint`."""
    folder.mkdir(parents=True, exist_ok=True)
    issuer, first, second = Issuer(), account("111122223333"), account("444455556666")
    given = [(one.access_key_id, one.secret, one.id) for one in (first, second)]
    endpoint = Endpoint(folder, jwks=issuer.write_jwks(folder / "jwks.json"), options=options, access_keys=given)
    return House(endpoint, issuer, first, second)


def refused(call: Callable[..., Any], **members: Any) -> Refused:
    """The error of a boto3 call that must be refused."""
    try:
        call(**members)
    except ClientError as error:
        found = error.response
        return Refused(found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"], found["Error"].get("Message", ""))
    raise AssertionError(f"{call} was not refused")


def error_of(answer: Answer) -> Refused:
    """The error of a raw answer."""
    told = json.loads(answer.body)
    return Refused(answer.status, told["__type"], told["message"])


def code_of(answer: Answer) -> str:
    """ "" where it is no error."""
    return "" if answer.status == 200 else error_of(answer).code


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The answers of calls that are made at one time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]

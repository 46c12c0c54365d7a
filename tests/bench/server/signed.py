"""Whole HTTP requests, signed by botocore before anything is measured. Called by servers.py and measure.py."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "eu-central-1"
Body = dict[str, Any]


@dataclass(frozen=True)
class Signer:
    """Whose requests, and to which address."""

    access_key: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    host: str

    def headers(self, operation: str, body: bytes) -> list[tuple[str, str]]:
        """As boto3 sends them, in its order; Host first."""
        named = {
            "X-Amz-Target": f"TrentService.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "User-Agent": "Boto3/1.44.8 md/Botocore#1.44.8 ua/2.1 os/linux lang/python#3.11.2 cfg/retry-mode#legacy Botocore/1.44.8",
            "amz-sdk-invocation-id": str(uuid.uuid4()),
            "amz-sdk-request": "attempt=1",
        }
        request = AWSRequest("POST", f"http://{self.host}/", data=body, headers=named)
        SigV4Auth(Credentials(self.access_key, self.secret, self.token), "kms", REGION).add_auth(request)
        return [("Host", self.host), *request.headers.items(), ("Content-Length", str(len(body)))]

    def whole(self, operation: str, body: Body) -> bytes:
        """The bytes of one request."""
        data = json.dumps(body).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers(operation, data))
        return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + data

    def batch(self, operation: str, bodies: Iterable[Body]) -> list[bytes]:
        """They are good for 5 minutes."""
        return [self.whole(operation, body) for body in bodies]

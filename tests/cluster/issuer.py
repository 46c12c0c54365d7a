"""An OpenID Connect issuer for people: discovery document, key set, ID tokens, on an https port of its own.

Started by kinds.py before the API server of the session, which trusts it by `--authentication-config`; tests ask it for tokens
(`cluster.issuer`). It is a thread: nothing of it outlives the tests. Only the API server ever fetches from it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.cluster import certificates
from tests.cluster.flags import HOST

AUDIENCES = ("kubernetes", "keystead")  # whom tokens may be for: the first is what kubectl would send
OFFICE = "example.org/office"  # the name that the claim `office` has as UserInfo.extra
LIFETIME = 600
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"


@dataclass(frozen=True)
class Issuer:
    """`url`: what tokens name as `iss`. `authority`: PEM of who signed its certificate. `folder`: where its files lie."""

    url: str
    authority: bytes
    folder: Path

    @functools.cached_property
    def keys(self) -> dict[str, Any]:
        """Algorithm -> private key; made when the first token is, as most suites need none."""
        return {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
        }

    def token(self, name: str, *groups: str, algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """An ID token of a person, for Keystead. `claims` replace or add; `key`: another than the issuer's own."""
        now = int(time.time())
        told = {
            "iss": self.url,
            "aud": "keystead",
            "sub": f"sub-{name}",
            "email": name,
            "groups": list(groups),
            "iat": now,
            "exp": now + LIFETIME,
        }
        return jwt.encode(told | claims, key or self.keys[algorithm], algorithm=algorithm, headers={"kid": algorithm})

    def discovery(self) -> dict[str, Any]:
        """Where its keys are."""
        return {
            "issuer": self.url,
            "jwks_uri": self.url + KEYS,
            "authorization_endpoint": self.url + "/nobody-signs-in-here",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }

    def key_set(self) -> dict[str, Any]:
        """The public halves."""
        public = {
            "RS256": RSAAlgorithm.to_jwk(self.keys["RS256"].public_key(), as_dict=True),
            "ES256": ECAlgorithm.to_jwk(self.keys["ES256"].public_key(), as_dict=True),
        }
        return {"keys": [{**key, "kid": name, "alg": name, "use": "sig"} for name, key in public.items()]}

    def api_argument(self) -> str:
        """The API server's flag, with the file it names. People keep the names that the issuer gives them."""
        mapped = {
            "username": {"claim": "email", "prefix": ""},
            "groups": {"claim": "groups", "prefix": ""},
            "uid": {"claim": "sub"},
            "extra": [{"key": OFFICE, "valueExpression": "has(claims.office) ? claims.office : ''"}],
        }
        issuer = {
            "url": self.url,
            "certificateAuthority": self.authority.decode(),
            "audiences": list(AUDIENCES),
            "audienceMatchPolicy": "MatchAny",
        }
        content = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [{"issuer": issuer, "claimMappings": mapped}],
        }
        path = self.folder / "authentication.yaml"
        path.write_text(json.dumps(content), encoding="utf-8")
        return f"--authentication-config={path}"


@contextlib.contextmanager
def running() -> Iterator[Issuer]:
    """An issuer that answers until the block ends."""
    with tempfile.TemporaryDirectory(prefix="keystead-issuer-") as scratch:
        folder, authority = Path(scratch), certificates.Authority("keystead-test-issuer")
        authority.issue("issuer", names=(HOST,)).write(folder, "issuer")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "issuer.crt", folder / "issuer.key")
        with ThreadingHTTPServer((HOST, 0), _Handler) as server:
            # The handshake is the handler's: who connects and says nothing holds up nobody else.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            issuer = Issuer(f"https://{HOST}:{server.server_port}", authority.pair.certificate, folder)
            server.issuer = issuer  # type: ignore[attr-defined]
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="issuer", daemon=True)
            thread.start()
            try:
                yield issuer
            finally:
                server.shutdown()
                thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = 5

    def do_GET(self) -> None:
        issuer: Issuer = self.server.issuer  # type: ignore[attr-defined]
        made = {DISCOVERY: issuer.discovery, KEYS: issuer.key_set}.get(self.path)
        body = json.dumps(made() if made else {}).encode()
        self.send_response(200 if made else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the API server's own log has it."""

"""An issuer of ServiceAccount tokens, as `keystead dev --jwks` believes it. Called by test_web_identity.py."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://kubernetes.default.svc.cluster.local"
KEY_NAME = "clients-1"
LIFETIME = 3600


class Issuer:
    """Signs what the API server's TokenRequest signs, in its form."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def write_jwks(self, path: Path) -> Path:
        """The public half, as /openid/v1/jwks gives it."""
        public = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        path.write_text(json.dumps({"keys": [public | {"kid": KEY_NAME, "alg": "RS256", "use": "sig"}]}))
        return path

    def token(
        self, service_account: str, *, audience: str = "keystead", namespace: str = "default", age: int = 0
    ) -> str:
        """A projected token; `age` in seconds: how long ago it was made."""
        made = int(time.time()) - age
        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "aud": [audience],
            "iat": made,
            "nbf": made,
            "exp": made + LIFETIME,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": service_account, "uid": "5f0c9a1e-6f2b-4f0e-8a53-2f7c6f1f9d11"},
                "pod": {"name": f"{service_account}-0", "uid": "c7d1a0f4-90f2-45b5-8b0f-6f0a4a2be7a3"},
            },
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_NAME})

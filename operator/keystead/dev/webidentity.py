"""Web identity tokens without an API server: `keystead dev --jwks FILE`. A ServiceAccount token, verified with the keys of its issuer.

A token of a real cluster works (its keys: `kubectl get --raw /openid/v1/jwks`), and one that a test signs itself. The audience is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jwt

from keystead.errors import IdentityTokenError, IdentityTokenExpiredError, InvalidSpecError

_SUBJECT: Final = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})\Z")
_ALGORITHMS: Final = ("RS256", "ES256", "ES384", "EdDSA")
_CLAIMS: Final = "kubernetes.io"
# Seconds that the clock of who signed may be ahead.
_SKEW: Final = 60.0


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """Implements `server.credentials.TokenIdentity`."""

    namespace: str
    namespace_uid: str
    account: str
    service_account: str
    uid: str
    pod_name: str = ""
    pod_uid: str = ""


Place = Callable[[str], tuple[str, str]]
"""Namespace -> its uid and its account id."""


class WebIdentity:
    """The verifier. InvalidSpecError, when it is made, for a file without keys."""

    def __init__(self, file: Path, audience: str, place: Place, now: Callable[[], datetime]) -> None:
        try:
            self._keys = jwt.PyJWKSet.from_dict(json.loads(file.read_text()))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no JSON Web Key Set"
            raise InvalidSpecError("--jwks", f"{file}: {reason}; try `kubectl get --raw /openid/v1/jwks`") from None
        self._audience = audience
        self._place = place
        self._now = now

    async def identify(self, token: str) -> LocalIdentity:
        """Whose token it is. IdentityTokenError, IdentityTokenExpiredError."""
        claims = self._claims(token)
        match = _SUBJECT.match(str(claims["sub"]))
        if match is None:
            raise IdentityTokenError("the subject is no ServiceAccount")
        namespace, name = match.groups()
        inside = claims.get(_CLAIMS)
        inside = inside if isinstance(inside, dict) else {}
        uid, account = self._place(namespace)
        pod = inside.get("pod") or {}
        told = (inside.get("serviceaccount") or {}).get("uid", f"{namespace}/{name}")
        return LocalIdentity(namespace, uid, account, name, str(told)[:64], str(pod.get("name", "")), str(pod.get("uid", "")))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = next(key for key in self._keys.keys if header.get("kid") in (None, key.key_id))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(_ALGORITHMS),
                audience=self._audience,
                options={"require": ["exp", "sub", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, StopIteration, ValueError):
            raise IdentityTokenError("the token is not signed by these keys for this audience") from None
        now = self._now().timestamp()
        if not isinstance(claims["exp"], int | float) or now >= claims["exp"]:
            raise IdentityTokenExpiredError("the token is expired")
        if now + _SKEW < float(claims.get("nbf", 0)):
            raise IdentityTokenError("the token is not valid yet")
        return claims


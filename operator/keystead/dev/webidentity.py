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
# No name of Kubernetes is longer, and credentials hold no more.
_MOST: Final = 253


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
            found = jwt.PyJWKSet.from_dict(json.loads(file.read_text()))
            self._keys = [key for key in found.keys if key.key_type != "oct"]  # a secret that both sides have proves nothing
            if not self._keys:
                raise ValueError  # noqa: TRY301 - one text for every file without keys
        except (OSError, ValueError, AttributeError, TypeError, jwt.PyJWTError) as error:
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
        uid, account = self._place(namespace)
        told = _inside(claims, "serviceaccount", "uid") or f"{namespace}/{name}"[:_MOST]
        return LocalIdentity(namespace, uid, account, name, told, _inside(claims, "pod", "name"), _inside(claims, "pod", "uid"))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = next(key for key in self._keys if header.get("kid") in (None, key.key_id))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(_ALGORITHMS),
                audience=self._audience,
                options={"require": ["exp", "sub", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, StopIteration, ValueError, TypeError):  # TypeError: the header's algorithm is not of the key's kind
            raise IdentityTokenError("the token is not signed by these keys for this audience") from None
        now = self._now().timestamp()
        ends, begins = claims["exp"], claims.get("nbf", 0)
        if not isinstance(ends, int | float) or not now < ends:
            raise IdentityTokenExpiredError("the token is expired")
        if not isinstance(begins, int | float) or not begins <= now + _SKEW:
            raise IdentityTokenError("the token is not valid yet")
        return claims


def _inside(claims: dict[str, Any], part: str, name: str) -> str:
    """A text of the claim `kubernetes.io`; "" where there is none."""
    found: object = claims.get(_CLAIMS)
    for key in (part, name):
        found = found.get(key) if isinstance(found, dict) else None
    return found[:_MOST] if isinstance(found, str) else ""


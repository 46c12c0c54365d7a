"""Facts that only the API server knows: RBAC's answers, whose token it is, uids of namespaces and ServiceAccounts.

`KubeFacts` implements `server.facts.ClusterFacts`. What may never enter a log or an error here: a token.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final
from urllib.parse import quote

from keystead.errors import NotFoundError
from keystead.policy import SubjectAccessReview
from keystead.policy.bearer import AUDIENCE, Bearer, NotBearer
from keystead.policy.review import SERVICE_ACCOUNT
from keystead.store.kube import Kube

_ANONYMOUS: Final = "system:unauthenticated"
# RFC 6750, b64token, and no more. The API server puts a token into a header: of one with a blank it reads a part, or nothing at all,
# and of nothing it says "authenticated: system:anonymous".
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+\Z")
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


class KubeFacts:
    """Asks the API server each time; server/facts.py remembers."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def review(self, question: SubjectAccessReview) -> bool:
        """Whether RBAC allows it."""
        return await review(self._kube, question)

    async def namespace_uid(self, namespace: str) -> str | None:
        """The uid of the live namespace of this name."""
        return await self._uid("namespaces", namespace)

    async def service_account_uid(self, namespace: str, name: str) -> str | None:
        """The uid of the live ServiceAccount of this name."""
        return await self._uid("namespaces", namespace, "serviceaccounts", name)

    async def token_review(self, token: str) -> Bearer | NotBearer:
        """Whose token it is.

        The API server's OIDC authenticators know no audience but its own (`--api-audiences`), whatever the token's `aud` says, so that
        of a person's token it says no. Where the token itself is for us, it is asked again as it would ask for itself. To have our
        audience among its own would make each Pod's default token one for us, too.
        """
        if _TOKEN.match(token) is None:
            return NotBearer()
        found = bearer_of(await self._token_status({"token": token, "audiences": [AUDIENCE]}))
        if isinstance(found, NotBearer) and not found.expired and is_for_us(token):
            return person_of(await self._token_status({"token": token}))
        return found

    async def _token_status(self, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        answer = await self._kube.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=body)
        return answer.get("status") or {}

    async def _uid(self, *path: str) -> str | None:
        try:
            found = await self._kube.request("GET", "/api/v1/" + "/".join(quote(part, safe="") for part in path))
            return str(found["metadata"]["uid"])
        except NotFoundError:
            return None


def bearer_of(status: dict[str, Any]) -> Bearer | NotBearer:
    """What a TokenReview's status says. Anything but a clear yes for our audience is no.

    An authenticator that knows no audiences answers without them: its yes is not for us.
    """
    if status.get("authenticated") is not True or status.get("audiences") != [AUDIENCE]:
        return NotBearer("expired" in str(status.get("error", "")))
    return _user_of(status)


def person_of(status: dict[str, Any]) -> Bearer | NotBearer:
    """What the status says of a token that is for us by its own `aud`, asked without an audience. Never a ServiceAccount: of those, the
    API server knows the audience."""
    if status.get("authenticated") is not True:
        return NotBearer("expired" in str(status.get("error", "")))
    found = _user_of(status)
    return NotBearer() if isinstance(found, Bearer) and found.user.startswith(SERVICE_ACCOUNT) else found


def is_for_us(token: str) -> bool:
    """Whether a JWT says that it is for our audience. It vouches for nothing: whether it is true, the API server says, by the signature."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return False
    audience = payload.get("aud") if isinstance(payload, dict) else None
    return audience == AUDIENCE or (isinstance(audience, list) and AUDIENCE in audience)


def _user_of(status: dict[str, Any]) -> Bearer | NotBearer:
    user: dict[str, Any] = status.get("user") or {}
    name, uid = str(user.get("username") or ""), str(user.get("uid") or "")
    groups = tuple(str(group) for group in user.get("groups") or ())
    if not name or _ANONYMOUS in groups:
        return NotBearer()
    extra: dict[str, Any] = user.get("extra") or {}
    if not name.startswith(SERVICE_ACCOUNT):
        return Bearer(name, uid, groups, extra=tuple(sorted((key, tuple(map(str, values or ()))) for key, values in extra.items())))
    namespace, _, account = name.removeprefix(SERVICE_ACCOUNT).partition(":")
    if not (namespace and account and uid):
        return NotBearer()
    return Bearer(name, uid, groups, namespace, account, _one(extra, _POD_NAME), _one(extra, _POD_UID))


def _one(extra: dict[str, Any], name: str) -> str:
    values = extra.get(name) or []
    return str(values[0]) if len(values) == 1 else ""


async def review(kube: Kube, question: SubjectAccessReview) -> bool:
    """Whether RBAC allows it. Anything but a clear yes is no."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": question.user,
            "uid": question.uid,
            "groups": list(question.groups),
            "extra": {key: list(values) for key, values in question.extra},
            "resourceAttributes": {
                "group": question.group,
                "resource": question.resource,
                "namespace": question.namespace,
                "name": question.name,
                "verb": question.verb,
            },
        },
    }
    answer = await kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)
    status = answer.get("status") or {}
    return status.get("allowed") is True and status.get("denied") is not True

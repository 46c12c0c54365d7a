"""Facts that only the API server knows: RBAC's answers, whose token it is, uids of namespaces and ServiceAccounts.

`KubeFacts` implements `server.facts.ClusterFacts`. What may never enter a log or an error here: a token.
"""

from __future__ import annotations

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
        """Whose token it is."""
        if _TOKEN.match(token) is None:
            return NotBearer()
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        answer = await self._kube.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=body)
        return bearer_of(answer.get("status") or {})

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
    user: dict[str, Any] = status.get("user") or {}
    name, uid = str(user.get("username") or ""), str(user.get("uid") or "")
    groups = tuple(str(group) for group in user.get("groups") or ())
    if not name or _ANONYMOUS in groups:
        return NotBearer()
    if not name.startswith(SERVICE_ACCOUNT):
        return Bearer(name, uid, groups)
    namespace, _, account = name.removeprefix(SERVICE_ACCOUNT).partition(":")
    if not (namespace and account and uid):
        return NotBearer()
    extra = user.get("extra") or {}
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

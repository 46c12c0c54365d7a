"""What the API server says of a right, and which binding and rule it said so by.

The answer is the API server's (SelfSubjectAccessReview, LocalSubjectAccessReview, SubjectAccessReview, the first that this person may
make). The rule is found by reading roles and bindings, where they may be read: that is told, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from keystead.app.kms.view import Body, Unread, View
from keystead.policy.evaluate import reviewed
from keystead.policy.question import NeedReview
from keystead.policy.rbac import RBAC_GROUP, Holding, holdings, right_of
from keystead.policy.review import SubjectAccessReview

_AUTHORIZATION: Final = "/apis/authorization.k8s.io/v1"
_RBAC: Final = f"/apis/{RBAC_GROUP}/v1"


@dataclass(frozen=True, slots=True)
class Ruling:
    """allowed None: nobody may say, see `why`. reason: the API server's own words. rules: what gives the right, as far as can be read."""

    asked: str
    allowed: bool | None
    reason: str = ""
    rules: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """An answer of the evaluator with RBAC's part. allowed None: RBAC could not be asked."""

    allowed: bool | None
    reason: str
    decided_by: str
    name: str
    ruling: Ruling | None = None
    explicit: bool = False


@dataclass(frozen=True, slots=True)
class Bindings:
    """All that could be read of who is bound to what, for one namespace. unread: what could not."""

    bindings: tuple[Body, ...] = ()
    roles: dict[tuple[str, str, str], Body] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


class Rights:
    """Asks for one person. What was read is kept for the length of a command."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._read: dict[str, Bindings] = {}
        self._ruled: dict[SubjectAccessReview, Ruling] = {}

    async def ask(self, review: SubjectAccessReview, own: bool = False) -> Ruling:
        """What the API server says. own: it is about who asks."""
        if review not in self._ruled:
            self._ruled[review] = await self._ask(review, own)
        return self._ruled[review]

    async def _ask(self, review: SubjectAccessReview, own: bool) -> Ruling:
        asked = asked_text(review)
        status = await self._status(review, own)
        if isinstance(status, Unread):
            return Ruling(asked, None, str(status))
        allowed = status.get("allowed") is True and status.get("denied") is not True
        reason = str(status.get("reason") or status.get("evaluationError") or "")
        rules = await self.rules(review) if allowed else ()
        return Ruling(asked, allowed, reason, rules)

    async def _status(self, review: SubjectAccessReview, own: bool) -> Body | Unread:
        attributes = {
            "group": review.group,
            "resource": review.resource,
            "namespace": review.namespace,
            "name": review.name,
            "verb": review.verb,
        }
        subject = {"user": review.user, "uid": review.uid, "groups": list(review.groups)}
        local = f"/namespaces/{review.namespace}/localsubjectaccessreviews"
        ways: list[tuple[str, str, dict[str, Any]]] = [
            ("LocalSubjectAccessReview", local, subject),
            ("SubjectAccessReview", "/subjectaccessreviews", subject),
        ]
        if own:
            ways = [("SelfSubjectAccessReview", "/selfsubjectaccessreviews", {})]
        refused = Unread("ask what others may do")
        for kind, path, about in ways:
            body: Body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {**about, "resourceAttributes": attributes}}
            if kind.startswith("Local"):
                body["metadata"] = {"namespace": review.namespace}
            found = await self._view.post(f"{_AUTHORIZATION}{path}", body, f"create {kind.lower()}s in {review.namespace}")
            if not isinstance(found, Unread):
                return dict(found.get("status") or {})
            refused = found
        return refused

    async def rules(self, review: SubjectAccessReview) -> tuple[Holding, ...]:
        """The bindings of this subject that give the right."""
        read = await self.bindings(review.namespace)
        found = holdings(read.bindings, read.roles, right_of(review))
        return tuple(held for held in found if any(subject.is_about(review.user, review.groups) for subject in held.subjects))

    async def bindings(self, namespace: str) -> Bindings:
        """Roles and bindings of a namespace and of the cluster."""
        if namespace not in self._read:
            self._read[namespace] = await self._bindings(namespace)
        return self._read[namespace]

    async def _bindings(self, namespace: str) -> Bindings:
        bindings: list[Body] = []
        roles: dict[tuple[str, str, str], Body] = {}
        unread: list[str] = []
        for place, kinds in ((f"/namespaces/{namespace}", ("roles", "rolebindings")), ("", ("clusterroles", "clusterrolebindings"))):
            for plural in kinds:
                where = f" in {namespace}" if place else ""
                found = await self._view.items(f"{_RBAC}{place}/{plural}", f"list {plural}{where}")
                if isinstance(found, Unread):
                    unread.append(str(found))
                elif plural.endswith("roles"):
                    roles |= _by_name(found)
                else:
                    bindings += found
        return Bindings(tuple(bindings), roles, tuple(unread))


def _by_name(found: Iterable[Body]) -> dict[tuple[str, str, str], Body]:
    roles = {}
    for body in found:
        namespace = body["metadata"].get("namespace", "")
        roles["Role" if namespace else "ClusterRole", namespace, body["metadata"]["name"]] = body
    return roles


def asked_text(review: SubjectAccessReview) -> str:
    """A right in words."""
    name = f"/{review.name}" if review.name else ""
    return f"{review.verb} {review.resource}{name} in {review.namespace}"


def ruled(answer: NeedReview, ruling: Ruling) -> Settled:
    """The evaluator's answer with RBAC's."""
    if ruling.allowed is None:
        return Settled(None, f"RBAC decides ({answer.because}), and {ruling.reason}", "rbac", ruling.asked, ruling)
    decision = reviewed(answer, ruling.allowed)
    return Settled(ruling.allowed, decision.reason, decision.by.ground.value, decision.by.name, ruling)

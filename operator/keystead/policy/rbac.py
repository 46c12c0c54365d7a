"""Which rules and bindings of RBAC give a right: the API server's own matching, over objects that somebody could read. Pure.

Called by app/kms/, to name what a SubjectAccessReview decided by and to list who holds a right. It never decides: the API server does, by
RBAC and by whatever else it is configured with. Source: Kubernetes, 'Using RBAC Authorization' and the RBAC v1 API.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keystead.policy.review import SubjectAccessReview, service_account_user

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
_ALL: Final = "*"
_PARTS: Final = {"verbs": "all verbs", "resources": "all resources", "apiGroups": "all API groups"}
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one object. name "": without one."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


def right_of(review: SubjectAccessReview) -> Right:
    """What a review asks for."""
    return Right(review.verb, review.group, review.resource, review.namespace, review.name)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a binding names. kind: User, Group or ServiceAccount, which alone has a namespace."""

    kind: str
    name: str
    namespace: str = ""

    def is_about(self, user: str, groups: Iterable[str]) -> bool:
        """Whether a user with these groups is meant."""
        if self.kind == "Group":
            return self.name in groups
        own = service_account_user(self.namespace, self.name) if self.kind == "ServiceAccount" else self.name
        return own == user

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.kind == "ServiceAccount" else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Holding:
    """A binding whose role has a rule that gives the right. wild: the parts of the rule that are `*`, in words."""

    binding: str
    role: str
    subjects: tuple[Subject, ...]
    rule: str
    wild: tuple[str, ...]


def gives(rule: Body, right: Right) -> bool:
    """Whether a rule of a role gives a right."""
    names = rule.get("resourceNames") or ()
    return (
        _has(rule, "verbs", right.verb)
        and _has(rule, "apiGroups", right.group)
        and _has(rule, "resources", right.resource)
        and (not names or (right.name != "" and right.name in names))
    )


def wild_parts(rule: Body) -> tuple[str, ...]:
    """The parts of a rule that are `*`."""
    return tuple(word for member, word in _PARTS.items() if _ALL in (rule.get(member) or ()))


def rule_text(rule: Body, right: Right) -> str:
    """What of a rule gives the right, in one line."""
    verbs, names = rule.get("verbs") or (), rule.get("resourceNames") or ()
    verb = _ALL if _ALL in verbs else right.verb
    more = f" and {len(verbs) - 1} more" if len(verbs) > 1 else ""
    resource = _ALL if _ALL in (rule.get("resources") or ()) else right.resource
    return f"{verb}{more} on {resource}/{right.name if right.name in names else _ALL}"


def holdings(bindings: Iterable[Body], roles: Mapping[tuple[str, str, str], Body], right: Right) -> Iterator[Holding]:
    """The bindings that give a right. roles: by kind, namespace ("" for ClusterRoles) and name; a role that is not there gives nothing."""
    for binding in bindings:
        metadata, ref = binding["metadata"], binding["roleRef"]
        namespace = metadata.get("namespace", "")
        if namespace not in ("", right.namespace):
            continue
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        role = roles.get((ref["kind"], namespace if ref["kind"] == "Role" else "", ref["name"]))
        found = [rule for rule in (role or {}).get("rules") or () if gives(rule, right)]
        if found:
            best = min(found, key=lambda rule: len(wild_parts(rule)))
            place = f" in {namespace}" if namespace else ""
            subjects = tuple(_subjects(binding.get("subjects") or (), namespace))
            names = f"{kind} {metadata['name']}{place}", f"{ref['kind']} {ref['name']}"
            yield Holding(*names, subjects, rule_text(best, right), wild_parts(best))


def _subjects(given: Iterable[Body], namespace: str) -> Iterator[Subject]:
    for subject in given:
        account = subject["kind"] == "ServiceAccount"
        yield Subject(subject["kind"], subject["name"], subject.get("namespace", namespace) if account else "")


def _has(rule: Body, member: str, wanted: str) -> bool:
    values = rule.get(member) or ()
    return _ALL in values or wanted in values

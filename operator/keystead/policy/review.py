"""The question that only the API server can answer: does RBAC give this user this verb on this object?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keystead.policy.bearer import Extra
from keystead.resources.names import GROUP

RESOURCE: Final = "kmskeys"
SERVICE_ACCOUNT: Final = "system:serviceaccount:"
"""How the user names of ServiceAccounts begin, and nobody else's."""


@dataclass(frozen=True, slots=True)
class SubjectAccessReview:
    """authorization.k8s.io/v1 SubjectAccessReview on kmskeys. Hashable: the front door keeps answers as facts.

    `uid` is empty where only the name is known (`keystead crypt --as`). `name` is empty for an action without a key. `extra`: of a person.
    """

    user: str
    uid: str
    groups: tuple[str, ...]
    verb: str
    namespace: str
    name: str
    group: str = GROUP
    resource: str = RESOURCE
    extra: Extra = ()

    def __hash__(self) -> int:
        """Of what tells reviews apart already: each call looks its fact up."""
        return hash((self.user, self.verb, self.name))


def service_account_user(namespace: str, name: str) -> str:
    """The user name under which RBAC knows a ServiceAccount."""
    return f"{SERVICE_ACCOUNT}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    """The three groups of every ServiceAccount of a namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")

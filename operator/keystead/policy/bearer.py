"""Whose bearer token it is, as the API server says. Made by store/reviews.py, asked for by the front doors; a value, never the token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

AUDIENCE: Final = "keystead"
"""The audience that a token must have: one without it, such as a Pod's default token, is worthless here (RECORDS, Identity)."""

Extra: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""What an authenticator says of a person besides: an authorizer may narrow rights by it (UserInfo.extra, sorted by name)."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """An authenticated token with the audience `keystead`.

    user, uid, groups   as RBAC knows it
    extra               of a person; of a ServiceAccount what we need stands below
    namespace, name     of a ServiceAccount; "" for a person
    pod_name, pod_uid   of the Pod that a ServiceAccount's token is bound to; "" for one that is not bound
    """

    user: str
    uid: str
    groups: tuple[str, ...] = ()
    namespace: str = ""
    name: str = ""
    pod_name: str = ""
    pod_uid: str = ""
    extra: Extra = ()


@dataclass(frozen=True, slots=True)
class NotBearer:
    """A token that nobody vouches for. `expired`: it was one, its time is over."""

    expired: bool = False

"""Whose bearer token it is, as the API server says. Made by store/reviews.py, asked for by the front doors; a value, never the token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

AUDIENCE: Final = "keystead"
"""The audience that a token must have: one without it, such as a Pod's default token, is worthless here (RECORDS, Identity)."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """An authenticated token with the audience `keystead`.

    user, uid, groups   as RBAC knows it
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


@dataclass(frozen=True, slots=True)
class NotBearer:
    """A token that nobody vouches for. `expired`: it was one, its time is over."""

    expired: bool = False

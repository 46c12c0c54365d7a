"""The permission table: what each thing that can be done asks for. A missing row fails the build (tests/operations/test_permissions.py).

    API         operations of the endpoint: asked of key policy, grants and RBAC by the pipeline, in this order
    CONTROLLER  what the operator does by itself: on whose word, and what asked for his right (names of audit records)
    COMMANDS    the command line: what a command works with

Nothing is decided here: the tests hold the pipeline, the admission policies and the commands against it, docs/reference/permissions.md is
made of it, and `kubectl kms` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from keystead.policy import Action
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY


class On(StrEnum):
    """What a right is on."""

    KEY = "kmskeys"
    ALIAS = "kmsaliases"
    ACCOUNT = "kmskeys of the namespace"
    """No key is named: RBAC alone decides."""


class Right(NamedTuple):
    """One right. `member`: of the request, that names the key or alias; "" for the account."""

    action: Action
    on: On
    member: str = ""

    @property
    def verb(self) -> str:
        """RBAC's."""
        return ACTIONS[self.action].verb


def _key(action: Action, member: str = "KeyId") -> Right:
    return Right(action, On.KEY, member)


def _alias(action: Action) -> Right:
    return Right(action, On.ALIAS, "AliasName")


def _account(action: Action) -> Right:
    return Right(action, On.ACCOUNT)


_A = Action
# Those whose action has their name and whose key is KeyId.
_PLAIN: Final = (
    _A.CANCEL_KEY_DELETION, _A.CREATE_GRANT, _A.DERIVE_SHARED_SECRET, _A.DESCRIBE_KEY, _A.DISABLE_KEY, _A.DISABLE_KEY_ROTATION,
    _A.ENABLE_KEY, _A.ENABLE_KEY_ROTATION, _A.ENCRYPT, _A.GENERATE_DATA_KEY, _A.GENERATE_DATA_KEY_PAIR,
    _A.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT, _A.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, _A.GENERATE_MAC, _A.GET_KEY_LAST_USAGE,
    _A.GET_KEY_POLICY, _A.GET_KEY_ROTATION_STATUS, _A.GET_PUBLIC_KEY, _A.LIST_GRANTS, _A.LIST_KEY_POLICIES, _A.LIST_KEY_ROTATIONS,
    _A.LIST_RESOURCE_TAGS, _A.PUT_KEY_POLICY, _A.REVOKE_GRANT, _A.ROTATE_KEY_ON_DEMAND, _A.SCHEDULE_KEY_DELETION, _A.SIGN,
    _A.TAG_RESOURCE, _A.UNTAG_RESOURCE, _A.UPDATE_KEY_DESCRIPTION, _A.VERIFY, _A.VERIFY_MAC,
)  # fmt: skip

API: Final[Mapping[str, tuple[Right, ...]]] = {
    **{action.value: (_key(action),) for action in _PLAIN},
    "Decrypt": (_key(_A.DECRYPT, "KeyId, else the key that the blob names"),),
    "ReEncrypt": (
        _key(_A.RE_ENCRYPT_FROM, "SourceKeyId, else the key that the blob names"),
        _key(_A.RE_ENCRYPT_TO, "DestinationKeyId"),
    ),
    "RetireGrant": (_key(_A.RETIRE_GRANT, "KeyId, else the key of the GrantToken"),),
    "CreateAlias": (_alias(_A.CREATE_ALIAS), _key(_A.CREATE_ALIAS, "TargetKeyId")),
    "UpdateAlias": (
        _alias(_A.UPDATE_ALIAS),
        _key(_A.UPDATE_ALIAS, "the key that the alias has"),
        _key(_A.UPDATE_ALIAS, "TargetKeyId"),
    ),
    "DeleteAlias": (_alias(_A.DELETE_ALIAS), _key(_A.DELETE_ALIAS, "the key that the alias has")),
    "CreateKey": (_account(_A.CREATE_KEY),),
    "GenerateRandom": (_account(_A.GENERATE_RANDOM),),
    "ListAliases": (_account(_A.LIST_ALIASES),),
    "ListKeys": (_account(_A.LIST_KEYS),),
    "ListRetirableGrants": (_account(_A.LIST_RETIRABLE_GRANTS),),
}
"""Operation -> its rights, in the order in which they are asked."""


def is_abroad(right: Right) -> bool:
    """Whether another account can be given it at all."""
    return right.on is On.KEY and right.action in ABROAD


def by_policy(right: Right) -> bool:
    """Whether a key policy that names a principal gives it."""
    return right.on is On.KEY and right.action not in BY_GRANT_ONLY


def by_grant(right: Right) -> bool:
    """Whether a grant can give it."""
    return right.on is On.KEY and ACTIONS[right.action].grantable is not None

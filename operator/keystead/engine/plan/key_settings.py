"""The members of a key record that follow the spec. What a spec leaves out is as the record has it, at birth the documented default.

Never "back to default": deleting and making again without `policy` or `enabled` must not open a closed key (RECORDS, Identity).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from msgspec import UNSET, UnsetType

from keystead.engine.identifiers import root_arn
from keystead.engine.record.key import KeyRecord, Rotation, RotationWindow
from keystead.engine.rotation import check_window
from keystead.errors import InvalidSpecError
from keystead.resources.kms_key import KmsKeySpec
from keystead.resources.vocabulary import DeletionPolicy, KeySpec

DEFAULT_PERIOD = 365
# The grammar of IAM needs 7 (Condition). A record must not hold what a reader with Python's default limit (1,000) cannot parse.
MAX_POLICY_DEPTH: Final = 32
MAX_POLICY: Final = 32 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The members of a record that follow the spec. UNSET in the spec means: as the record has it."""

    description: str
    tags: dict[str, str]
    policy: bytes | UnsetType
    enabled: bool
    rotation: Rotation | UnsetType
    deletion_policy: DeletionPolicy
    pending_window_in_days: int


def settings_of(spec: KmsKeySpec, record: KeyRecord | None) -> KeySettings:
    """What the spec says, and the record (at birth: the documented default) where it says nothing."""
    tags = record.tags if record else {}
    return KeySettings(
        description=given(spec.description, record.description if record else ""),
        tags=tags if spec.tags is UNSET else {tag.key: tag.value for tag in spec.tags},
        policy=_policy(spec, record),
        enabled=given(spec.enabled, record.enabled if record else True),
        rotation=_rotation(spec, record),
        deletion_policy=spec.deletion_policy,
        pending_window_in_days=spec.pending_window_in_days,
    )


def given(value: T | UnsetType, default: T) -> T:
    """What the spec says, or the default where it says nothing."""
    return default if isinstance(value, UnsetType) else value


def _policy(spec: KmsKeySpec, record: KeyRecord | None) -> bytes | UnsetType:
    if spec.policy is UNSET:
        return record.policy if record else UNSET
    return policy_bytes(spec.policy)


def policy_bytes(policy: Mapping[str, Any]) -> bytes:
    """The form that a record holds: compact JSON, keys sorted. InvalidSpecError for one that is too deep or too large."""
    if _depth(policy) > MAX_POLICY_DEPTH:
        raise InvalidSpecError("spec.policy", f"more than {MAX_POLICY_DEPTH} levels; a key policy has at most 7")
    data = json.dumps(policy, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > MAX_POLICY:
        raise InvalidSpecError("spec.policy", f"{len(data)} bytes; a key policy has at most 32 KB as JSON")
    return data


def _depth(value: object) -> int:
    """Levels of objects and arrays. Not by recursion: the API server lets 10,000 through."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, Mapping | list)]:
        depth += 1
        level = [part for item in level for part in (item.values() if isinstance(item, Mapping) else item)]
    return depth


def without_default(policy: bytes | UnsetType, account: str) -> bytes | UnsetType:
    """The policy, UNSET where it says what the default policy says: compared parsed; the record leaves that one out."""
    if policy is UNSET or json.loads(policy) != default_policy(account):
        return policy
    return UNSET


def default_policy(account: str) -> dict[str, object]:
    """The default key policy (RECORDS, Identity): the account, which is the namespace, decides through RBAC."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(account)},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]}


_ADMINISTRATION: Final = (
    "CancelKeyDeletion",
    "CreateAlias",
    "CreateGrant",
    "DeleteAlias",
    "DescribeKey",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "EnableKeyRotation",
    "GetKeyLastUsage",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListResourceTags",
    "PutKeyPolicy",
    "RetireGrant",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
)


def strict_policy(account: str) -> dict[str, object]:
    """The policy at birth under `policies.namespaceDefaultPolicy: strict`: RBAC administers the key, and gives nobody its use.

    Use is for whom a statement names or a grant is made to; the namespace's own data keys are no exception.
    """
    statement = {
        "Sid": "Administration by the account",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(account)},
        "Action": [f"kms:{name}" for name in _ADMINISTRATION],
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Id": "key-strict-1", "Statement": [statement]}


def shown_policy(spec: KmsKeySpec, policy: bytes | UnsetType, account: str) -> dict[str, object] | UnsetType:
    """The policy that a key is served by, where its spec does not say the same: status.policy. UNSET where it does.

    policy: the record's.
    """
    if spec.policy is not UNSET:
        try:
            said = without_default(policy_bytes(spec.policy), account)
        except InvalidSpecError:
            said = None
    else:
        said = UNSET
    if said == policy:
        return UNSET
    effective: dict[str, object] = default_policy(account) if policy is UNSET else json.loads(policy)
    return effective


def _rotation(spec: KmsKeySpec, record: KeyRecord | None) -> Rotation | UnsetType:
    had = record.rotation if record else UNSET
    if spec.key_spec is not KeySpec.SYMMETRIC_DEFAULT:
        return UNSET
    before = had if had is not UNSET else Rotation(enabled=False, period=DEFAULT_PERIOD)
    if spec.rotation is UNSET:
        return before
    wanted = spec.rotation
    windows = before.windows
    if wanted.windows is not UNSET:
        windows = [
            RotationWindow(cron=w.cron, timezone=w.timezone, duration=w.duration) for w in wanted.windows
        ]
        for window in windows:
            check_window(window)
    return Rotation(
        enabled=given(wanted.enabled, before.enabled),
        period=given(wanted.period_in_days, before.period),
        windows=windows,
    )

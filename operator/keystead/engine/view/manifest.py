"""An object written again from its record: what `keystead records adopt`, `hold` and `schedule-deletion` create where there is none. Pure.

The record must not change by it, but for what was asked: an absent field means "as the record has it", so `bare` leaves out all that may be
absent (each such field asks its author for a right of its own), and the whole form says it, as the manifest that was lost did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET, to_builtins

from keystead.engine.identifiers import role_arn
from keystead.engine.managed import MANAGED_KEY
from keystead.engine.plan.key_settings import DEFAULT_PERIOD
from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord, Rotation
from keystead.resources import names
from keystead.resources.vocabulary import DeletionPolicy, KeyState

Object = dict[str, Any]
NO_PROTECTION: Final = "deletionProtection is not in a record: apply its manifest, if that sets it"
_DEFAULT_WINDOW: Final = 30
_ROLE: Final = re.compile(r"role/(?P<name>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)\Z")


def key_manifest(record: KeyRecord, annotations: Mapping[str, str], *, bare: bool = False) -> Object:
    """A KmsKey. A deletion that is scheduled stays so: left out, the field would cancel it."""
    spec: Object = {"keySpec": record.spec.value, "keyUsage": record.usage.value}
    if record.deletion_policy is not DeletionPolicy.RETAIN:
        spec["deletionPolicy"] = record.deletion_policy.value
    if record.pending_window_in_days != _DEFAULT_WINDOW:
        spec["pendingWindowInDays"] = record.pending_window_in_days
    if record.state is KeyState.PENDING_DELETION:
        spec["scheduledDeletion"] = {}
    return _object("KmsKey", record, annotations, spec if bare else spec | _said(record))


def may_have_protection(record: KeyRecord) -> bool:
    """Whether deleting the object that is written would begin the end of the key, which spec.deletionProtection may have refused."""
    return record.deletion_policy is DeletionPolicy.SCHEDULE_DELETION


def _said(record: KeyRecord) -> Object:
    """Fields that may be absent, where they are not what a birth without them gives."""
    spec: Object = {"region": record.region}
    if record.description:
        spec["description"] = record.description
    if record.tags:
        spec["tags"] = [{"key": key, "value": value} for key, value in sorted(record.tags.items())]
    if record.policy is not UNSET:
        spec["policy"] = json.loads(record.policy)
    if not record.enabled:
        spec["enabled"] = False
    if record.rotation not in (UNSET, Rotation(enabled=False, period=DEFAULT_PERIOD)):
        rotation = to_builtins(record.rotation)
        spec["rotation"] = {"enabled": rotation["enabled"], "periodInDays": rotation["period"]}
        if rotation["windows"]:
            spec["rotation"]["windows"] = rotation["windows"]
    return spec


def alias_manifest(record: AliasRecord, key_name: str, annotations: Mapping[str, str]) -> Object:
    """A KmsAlias of the key that the record names by its id."""
    return _object("KmsAlias", record, annotations, {"aliasName": record.alias_name, "keyRef": {"name": key_name}})


def grant_manifest(record: GrantRecord, key_name: str, annotations: Mapping[str, str]) -> Object:
    """A KmsGrant. A ServiceAccount of the namespace is named as such: its ARN changes with the namespace's account."""
    spec: Object = {"keyRef": {"name": key_name}, "operations": [item.value for item in record.operations]}
    account = _service_account(record)
    if account is not None:
        spec["serviceAccountRef"] = {"name": account}
    elif record.grantee_principal is not UNSET:
        spec["granteePrincipal"] = record.grantee_principal
    members = to_builtins(record)
    for member in (
        "grantName",
        "granteeServicePrincipal",
        "retiringPrincipal",
        "retiringServicePrincipal",
        "constraints",
        "expiresAt",
    ):
        if member in members:
            spec[member] = members[member]
    return _object("KmsGrant", record, annotations, spec)


def _service_account(record: GrantRecord) -> str | None:
    if record.grantee_principal is UNSET:
        return None
    match = _ROLE.search(record.grantee_principal)
    return match["name"] if match and record.grantee_principal == role_arn(record.account, match["name"]) else None


def data_key_manifest(record: DataKeyRecord, key_name: str, annotations: Mapping[str, str]) -> Object:
    """A KmsDataKey into the same Secret. Its rotation is not in the record."""
    # Under the AWS managed key spec names none: a keyRef would conflict with the manifest that is applied next.
    named: Object = {} if key_name == MANAGED_KEY else {"keyRef": {"name": key_name}}
    spec: Object = {**named, "target": {"secretName": record.target.secret_name}}
    if record.data_key_spec is not UNSET:
        spec["dataKeySpec"] = record.data_key_spec
    if record.number_of_bytes is not UNSET:
        spec["numberOfBytes"] = record.number_of_bytes
    if record.current_version.encryption_context:
        spec["encryptionContext"] = dict(record.current_version.encryption_context)
    return _object("KmsDataKey", record, annotations, spec)


def _object(
    kind: str,
    record: KeyRecord | AliasRecord | GrantRecord | DataKeyRecord,
    annotations: Mapping[str, str],
    spec: Object,
) -> Object:
    metadata: Object = {"namespace": record.namespace, "name": record.name}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}

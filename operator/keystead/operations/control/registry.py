"""The TABLE of control-plane operations by AWS's name: what front doors look up, beside operations.registry. The totality test holds it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from keystead.operations.control import (
    alias_lists,
    aliases,
    grant_ends,
    grant_lists,
    grants,
    keys,
    policies,
    rotation,
    state,
    tags,
    usage,
)
from keystead.operations.effects import Running
from keystead.operations.registry import OperationRow
from keystead.policy import Action


def _row(name: str, module: ModuleType, function: Callable[..., Running[Any]], *actions: Action) -> OperationRow:
    """Request and response are named after the operation, in the function's module."""
    return OperationRow(function, getattr(module, f"{name}Request"), getattr(module, f"{name}Response"), actions)


_A = Action
CONTROL: Final[dict[str, OperationRow]] = {
    "CreateKey": _row("CreateKey", keys, keys.create_key, _A.CREATE_KEY),
    "ListKeys": _row("ListKeys", keys, keys.list_keys, _A.LIST_KEYS),
    "UpdateKeyDescription": _row(
        "UpdateKeyDescription", keys, keys.update_key_description, _A.UPDATE_KEY_DESCRIPTION
    ),
    "EnableKey": _row("EnableKey", state, state.enable_key, _A.ENABLE_KEY),
    "DisableKey": _row("DisableKey", state, state.disable_key, _A.DISABLE_KEY),
    "ScheduleKeyDeletion": _row(
        "ScheduleKeyDeletion", state, state.schedule_key_deletion, _A.SCHEDULE_KEY_DELETION
    ),
    "CancelKeyDeletion": _row("CancelKeyDeletion", state, state.cancel_key_deletion, _A.CANCEL_KEY_DELETION),
    "TagResource": _row("TagResource", tags, tags.tag_resource, _A.TAG_RESOURCE),
    "UntagResource": _row("UntagResource", tags, tags.untag_resource, _A.UNTAG_RESOURCE),
    "ListResourceTags": _row("ListResourceTags", tags, tags.list_resource_tags, _A.LIST_RESOURCE_TAGS),
    "GetKeyPolicy": _row("GetKeyPolicy", policies, policies.get_key_policy, _A.GET_KEY_POLICY),
    "PutKeyPolicy": _row("PutKeyPolicy", policies, policies.put_key_policy, _A.PUT_KEY_POLICY),
    "ListKeyPolicies": _row("ListKeyPolicies", policies, policies.list_key_policies, _A.LIST_KEY_POLICIES),
    "EnableKeyRotation": _row("EnableKeyRotation", rotation, rotation.enable_key_rotation, _A.ENABLE_KEY_ROTATION),
    "DisableKeyRotation": _row("DisableKeyRotation", rotation, rotation.disable_key_rotation, _A.DISABLE_KEY_ROTATION),
    "GetKeyRotationStatus": _row(
        "GetKeyRotationStatus", rotation, rotation.get_key_rotation_status, _A.GET_KEY_ROTATION_STATUS
    ),
    "RotateKeyOnDemand": _row("RotateKeyOnDemand", rotation, rotation.rotate_key_on_demand, _A.ROTATE_KEY_ON_DEMAND),
    "ListKeyRotations": _row("ListKeyRotations", rotation, rotation.list_key_rotations, _A.LIST_KEY_ROTATIONS),
    "CreateAlias": _row("CreateAlias", aliases, aliases.create_alias, _A.CREATE_ALIAS),
    "UpdateAlias": _row("UpdateAlias", aliases, aliases.update_alias, _A.UPDATE_ALIAS),
    "DeleteAlias": _row("DeleteAlias", aliases, aliases.delete_alias, _A.DELETE_ALIAS),
    "ListAliases": _row("ListAliases", alias_lists, alias_lists.list_aliases, _A.LIST_ALIASES),
    "CreateGrant": _row("CreateGrant", grants, grants.create_grant, _A.CREATE_GRANT),
    "RevokeGrant": _row("RevokeGrant", grant_ends, grant_ends.revoke_grant, _A.REVOKE_GRANT),
    "RetireGrant": _row("RetireGrant", grant_ends, grant_ends.retire_grant, _A.RETIRE_GRANT),
    "ListGrants": _row("ListGrants", grant_lists, grant_lists.list_grants, _A.LIST_GRANTS),
    # The model gives both lists one answer.
    "ListRetirableGrants": OperationRow(
        grant_lists.list_retirable_grants,
        grant_lists.ListRetirableGrantsRequest,
        grant_lists.ListGrantsResponse,
        (_A.LIST_RETIRABLE_GRANTS,),
    ),
    "GetKeyLastUsage": _row("GetKeyLastUsage", usage, usage.get_key_last_usage, _A.GET_KEY_LAST_USAGE),
}

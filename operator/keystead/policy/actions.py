"""The IAM actions, one row each: RBAC verb, grant operation, and whether a grant's context constraint can apply.

ReEncrypt is two actions. Sources: AWS KMS 'Permissions reference' (actions), 'Grants' (operations, constraints);
RECORDS, Rights (verbs). The totality test holds it against botocore's GrantOperation and the operations that we serve.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from keystead.resources.vocabulary import GrantOperation


class Action(StrEnum):
    """`kms:<value>`; the RBAC verb on kmskeys is the value in lower case."""

    DECRYPT = "Decrypt"
    ENCRYPT = "Encrypt"
    RE_ENCRYPT_FROM = "ReEncryptFrom"
    RE_ENCRYPT_TO = "ReEncryptTo"
    GENERATE_DATA_KEY = "GenerateDataKey"
    GENERATE_DATA_KEY_WITHOUT_PLAINTEXT = "GenerateDataKeyWithoutPlaintext"
    GENERATE_DATA_KEY_PAIR = "GenerateDataKeyPair"
    GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT = "GenerateDataKeyPairWithoutPlaintext"
    GENERATE_RANDOM = "GenerateRandom"
    GENERATE_MAC = "GenerateMac"
    VERIFY_MAC = "VerifyMac"
    SIGN = "Sign"
    VERIFY = "Verify"
    GET_PUBLIC_KEY = "GetPublicKey"
    DERIVE_SHARED_SECRET = "DeriveSharedSecret"  # noqa: S105 - the name of an action
    DESCRIBE_KEY = "DescribeKey"
    CREATE_GRANT = "CreateGrant"
    RETIRE_GRANT = "RetireGrant"
    REVOKE_GRANT = "RevokeGrant"
    LIST_GRANTS = "ListGrants"
    LIST_RETIRABLE_GRANTS = "ListRetirableGrants"
    CREATE_ALIAS = "CreateAlias"
    UPDATE_ALIAS = "UpdateAlias"
    DELETE_ALIAS = "DeleteAlias"
    LIST_ALIASES = "ListAliases"
    CREATE_KEY = "CreateKey"
    LIST_KEYS = "ListKeys"
    ENABLE_KEY = "EnableKey"
    DISABLE_KEY = "DisableKey"
    UPDATE_KEY_DESCRIPTION = "UpdateKeyDescription"
    SCHEDULE_KEY_DELETION = "ScheduleKeyDeletion"
    CANCEL_KEY_DELETION = "CancelKeyDeletion"
    TAG_RESOURCE = "TagResource"
    UNTAG_RESOURCE = "UntagResource"
    LIST_RESOURCE_TAGS = "ListResourceTags"
    GET_KEY_POLICY = "GetKeyPolicy"
    PUT_KEY_POLICY = "PutKeyPolicy"
    LIST_KEY_POLICIES = "ListKeyPolicies"
    ENABLE_KEY_ROTATION = "EnableKeyRotation"
    DISABLE_KEY_ROTATION = "DisableKeyRotation"
    GET_KEY_ROTATION_STATUS = "GetKeyRotationStatus"
    ROTATE_KEY_ON_DEMAND = "RotateKeyOnDemand"
    LIST_KEY_ROTATIONS = "ListKeyRotations"
    GET_KEY_LAST_USAGE = "GetKeyLastUsage"


class Constraint(StrEnum):
    """What an encryption-context constraint of a grant does to an action."""

    COMPARED = "compared"
    """The request has an encryption context: it is compared."""
    IGNORED = "ignored"
    """DescribeKey and RetireGrant: allowed whatever the constraint says (AWS, 'Grant constraints')."""
    REFUSED = "refused"
    """No encryption context in this action: a constrained grant never allows it."""


class ActionRow(NamedTuple):
    """One action. `grantable` is None where no grant can allow it."""

    verb: str
    grantable: GrantOperation | None
    constraint: Constraint


_COMPARED: Final = frozenset(
    {
        Action.DECRYPT,
        Action.ENCRYPT,
        Action.RE_ENCRYPT_FROM,
        Action.RE_ENCRYPT_TO,
        Action.GENERATE_DATA_KEY,
        Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
        Action.GENERATE_DATA_KEY_PAIR,
        Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
    }
)
_IGNORED: Final = frozenset({Action.DESCRIBE_KEY, Action.RETIRE_GRANT})
KEYLESS: Final = frozenset(
    {Action.GENERATE_RANDOM, Action.CREATE_KEY, Action.LIST_KEYS, Action.LIST_ALIASES, Action.LIST_RETIRABLE_GRANTS}
)
"""Actions that no key is named for: RBAC is asked for the caller's own namespace."""


def _row(action: Action) -> ActionRow:
    grantable = GrantOperation(action.value) if action.value in GrantOperation.__members__.values() else None
    if action in _COMPARED:
        return ActionRow(action.value.lower(), grantable, Constraint.COMPARED)
    constraint = Constraint.IGNORED if action in _IGNORED else Constraint.REFUSED
    return ActionRow(action.value.lower(), grantable, constraint)


ACTIONS: Final[dict[Action, ActionRow]] = {action: _row(action) for action in Action}

ABROAD: Final = frozenset(
    {
        Action.CREATE_GRANT,
        Action.DECRYPT,
        Action.DERIVE_SHARED_SECRET,
        Action.DESCRIBE_KEY,
        Action.ENCRYPT,
        Action.GENERATE_DATA_KEY,
        Action.GENERATE_DATA_KEY_PAIR,
        Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
        Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
        Action.GENERATE_MAC,
        Action.GET_KEY_ROTATION_STATUS,
        Action.GET_PUBLIC_KEY,
        Action.LIST_GRANTS,
        Action.RE_ENCRYPT_FROM,
        Action.RE_ENCRYPT_TO,
        Action.RETIRE_GRANT,
        Action.REVOKE_GRANT,
        Action.SIGN,
        Action.VERIFY,
        Action.VERIFY_MAC,
    }
)
"""What another account may do, where the key's side and its own allow it (AWS KMS permissions, column 'Cross-account use')."""

BY_GRANT_ONLY: Final = frozenset({Action.RETIRE_GRANT})
"""A key policy that names a principal does not give it these (AWS KMS permissions, RetireGrant: 'not effective in a key policy')."""

KNOWN: Final = (
    *(action.value for action in Action),
    # Not served here. A policy of AWS's may speak of them.
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "Decapsulate",
    "DeleteCustomKeyStore",
    "DeleteImportedKeyMaterial",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "Encapsulate",
    "GetParametersForImport",
    "ImportKeyMaterial",
    "ReplicateKey",
    "SynchronizeMultiRegionKey",
    "UpdateCustomKeyStore",
    "UpdatePrimaryRegion",
)
"""All of AWS's actions on keys. ReEncrypt is none: it is two."""

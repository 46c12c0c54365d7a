"""One row an action: the API operation it belongs to, the key usage it needs, and whether an orphan answers it.

Sources: AWS 'Key type reference' (usages), RECORDS, Life of a key (orphans). The totality test holds it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from keystead.policy import Action
from keystead.resources.vocabulary import KeyUsage


class Rule(NamedTuple):
    """`usage` None: any key. `orphan`: a key whose KmsKey object is gone still answers it."""

    action: Action
    operation: str
    usage: KeyUsage | None
    orphan: bool


_ENCRYPT: Final = KeyUsage.ENCRYPT_DECRYPT
_SIGN: Final = KeyUsage.SIGN_VERIFY
_MAC: Final = KeyUsage.GENERATE_VERIFY_MAC

_ROWS: Final = (
    Rule(Action.ENCRYPT, "Encrypt", _ENCRYPT, False),
    Rule(Action.DECRYPT, "Decrypt", _ENCRYPT, True),
    Rule(Action.RE_ENCRYPT_FROM, "ReEncrypt", _ENCRYPT, True),
    Rule(Action.RE_ENCRYPT_TO, "ReEncrypt", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY, "GenerateDataKey", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, "GenerateDataKeyWithoutPlaintext", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY_PAIR, "GenerateDataKeyPair", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT, "GenerateDataKeyPairWithoutPlaintext", _ENCRYPT, False),
    Rule(Action.GENERATE_MAC, "GenerateMac", _MAC, False),
    Rule(Action.VERIFY_MAC, "VerifyMac", _MAC, True),
    Rule(Action.SIGN, "Sign", _SIGN, False),
    Rule(Action.VERIFY, "Verify", _SIGN, True),
    Rule(Action.DERIVE_SHARED_SECRET, "DeriveSharedSecret", KeyUsage.KEY_AGREEMENT, True),
    Rule(Action.GET_PUBLIC_KEY, "GetPublicKey", None, True),
    Rule(Action.DESCRIBE_KEY, "DescribeKey", None, True),
    # The control plane. What changes a key needs its KmsKey; the three of an orphan write one (RECORDS, Life of a key).
    Rule(Action.ENABLE_KEY, "EnableKey", None, False),
    Rule(Action.DISABLE_KEY, "DisableKey", None, True),
    Rule(Action.UPDATE_KEY_DESCRIPTION, "UpdateKeyDescription", None, False),
    Rule(Action.SCHEDULE_KEY_DELETION, "ScheduleKeyDeletion", None, True),
    Rule(Action.CANCEL_KEY_DELETION, "CancelKeyDeletion", None, True),
    Rule(Action.TAG_RESOURCE, "TagResource", None, False),
    Rule(Action.UNTAG_RESOURCE, "UntagResource", None, False),
    Rule(Action.LIST_RESOURCE_TAGS, "ListResourceTags", None, True),
    Rule(Action.GET_KEY_POLICY, "GetKeyPolicy", None, True),
    Rule(Action.PUT_KEY_POLICY, "PutKeyPolicy", None, False),
    Rule(Action.LIST_KEY_POLICIES, "ListKeyPolicies", None, True),
    Rule(Action.ENABLE_KEY_ROTATION, "EnableKeyRotation", None, False),
    Rule(Action.DISABLE_KEY_ROTATION, "DisableKeyRotation", None, False),
    Rule(Action.GET_KEY_ROTATION_STATUS, "GetKeyRotationStatus", None, True),
    Rule(Action.ROTATE_KEY_ON_DEMAND, "RotateKeyOnDemand", None, False),
    Rule(Action.LIST_KEY_ROTATIONS, "ListKeyRotations", None, True),
    Rule(Action.CREATE_ALIAS, "CreateAlias", None, False),
    Rule(Action.UPDATE_ALIAS, "UpdateAlias", None, False),
    Rule(Action.DELETE_ALIAS, "DeleteAlias", None, True),
    Rule(Action.CREATE_GRANT, "CreateGrant", None, False),
    Rule(Action.LIST_GRANTS, "ListGrants", None, True),
    Rule(Action.RETIRE_GRANT, "RetireGrant", None, True),
    Rule(Action.REVOKE_GRANT, "RevokeGrant", None, True),
    Rule(Action.GET_KEY_LAST_USAGE, "GetKeyLastUsage", None, True),
)

RULES: Final[dict[Action, Rule]] = {rule.action: rule for rule in _ROWS}

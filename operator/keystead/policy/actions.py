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
_NOT_GRANTABLE: Final = frozenset({Action.GENERATE_RANDOM})


def _row(action: Action) -> ActionRow:
    grantable = None if action in _NOT_GRANTABLE else GrantOperation(action.value)
    if action in _COMPARED:
        return ActionRow(action.value.lower(), grantable, Constraint.COMPARED)
    constraint = Constraint.IGNORED if action in _IGNORED else Constraint.REFUSED
    return ActionRow(action.value.lower(), grantable, constraint)


ACTIONS: Final[dict[Action, ActionRow]] = {action: _row(action) for action in Action}

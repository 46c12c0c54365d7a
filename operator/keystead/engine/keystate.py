"""The key state TABLE: every operation x every state -> allowed, or which error (AWS, 'Key states of KMS keys').

Rows are AWS's, in the order of KeyState's first seven members; note numbers are those of AWS's table. The test holds them
against the published table (tests/vectors/key_states.json).
"""

from __future__ import annotations

from enum import StrEnum

from keystead.errors import DisabledError, InvalidStateError, KmsError, UnsupportedOperationError
from keystead.resources.vocabulary import KeyState


class Cell(StrEnum):
    """What a state does to an operation. The value is AWS's mark."""

    YES = "Y"
    NOT_APPLICABLE = "N/A"
    NO_EFFECT = "Y(No effect)"
    DEPENDS_ROTATION = "?[7]"
    DEPENDS_IMPORT = "?[9]"
    DEPENDS_DESTINATION = "?[10]"
    DISABLED = "X[1]"
    PENDING_DELETION = "X[3]"
    PENDING_DELETION_2 = "X[2][3]"
    NOT_PENDING_DELETION = "X[4]"
    NOT_PENDING_DELETION_13 = "X[4][13]"
    PENDING_IMPORT = "X[5]"
    EXTERNAL = "X[6]"
    CUSTOM_STORE = "X[7]"
    UNAVAILABLE = "X[11]"
    CREATING = "X[14]"
    UPDATING = "X[15]"
    YES_9 = "Y[9]"
    YES_12 = "Y[12]"
    NO_IMPORT = "X[9]"
    DISABLED_7 = "X[1][7]"
    PENDING_DELETION_7 = "X[3][7]"
    PENDING_DELETION_8 = "X[8][9]"


STATES: tuple[KeyState, ...] = (
    KeyState.ENABLED,
    KeyState.DISABLED,
    KeyState.PENDING_DELETION,
    KeyState.PENDING_IMPORT,
    KeyState.UNAVAILABLE,
    KeyState.CREATING,
    KeyState.UPDATING,
)

_USE = "Y X[1] X[2][3] X[5] X[11] X[14] Y"
_USE_ASYMMETRIC = "Y X[1] X[2][3] N/A N/A X[14] Y"
_ALWAYS = "Y Y Y Y Y Y Y"
_EDIT = "Y Y X[3] Y Y Y Y"
_ROTATION_EDIT = "?[7] X[1][7] X[3][7] X[6] X[7] X[14] ?[7]"

_ROWS: dict[str, str] = {
    "CancelKeyDeletion": "X[4] X[4] Y X[4] X[4][13] X[4] X[4]",
    "CreateAlias": _EDIT,
    "CreateGrant": "Y X[1] X[2][3] X[5] Y X[14] Y",
    "Decrypt": _USE,
    "DeleteAlias": _ALWAYS,
    "DeleteImportedKeyMaterial": "Y[9] Y[9] Y[9] Y(No effect) N/A X[14] X[15]",
    "DeriveSharedSecret": _USE_ASYMMETRIC,
    "DescribeKey": _ALWAYS,
    "DisableKey": "Y Y X[3] X[5] Y[12] X[14] X[15]",
    "DisableKeyRotation": _ROTATION_EDIT,
    "EnableKey": "Y Y X[3] X[5] Y[12] X[14] X[15]",
    "EnableKeyRotation": _ROTATION_EDIT,
    "Encrypt": _USE,
    "GenerateDataKey": _USE,
    "GenerateDataKeyPair": _USE,
    "GenerateDataKeyPairWithoutPlaintext": _USE,
    "GenerateDataKeyWithoutPlaintext": _USE,
    "GenerateMac": _USE_ASYMMETRIC,
    "GetKeyLastUsage": _ALWAYS,
    "GetKeyPolicy": _ALWAYS,
    "GetKeyRotationStatus": "?[7] ?[7] ?[7] X[6] X[7] ?[7] ?[7]",
    "GetParametersForImport": "?[9] ?[9] X[8][9] Y X[9] X[14] X[15]",
    "GetPublicKey": _USE_ASYMMETRIC,
    "ImportKeyMaterial": "?[9] ?[9] X[8][9] Y X[9] X[14] Y",
    "ListAliases": _ALWAYS,
    "ListGrants": _ALWAYS,
    "ListKeyPolicies": _ALWAYS,
    "ListKeyRotations": "?[7] ?[7] ?[7] X[6] X[7] ?[7] ?[7]",
    "ListResourceTags": _ALWAYS,
    "PutKeyPolicy": _ALWAYS,
    "ReEncrypt": _USE,
    "ReplicateKey": "Y X[1] X[2][3] X[5] N/A X[14] X[15]",
    "RetireGrant": _ALWAYS,
    "RevokeGrant": _ALWAYS,
    "RotateKeyOnDemand": "?[7] X[1][7] X[3][7] X[6] X[7] X[14] ?[7]",
    "ScheduleKeyDeletion": "Y Y X[3] Y Y Y X[15]",
    "Sign": _USE_ASYMMETRIC,
    "TagResource": _EDIT,
    "UntagResource": _EDIT,
    "UpdateAlias": "Y Y ?[10] Y Y Y Y",
    "UpdateKeyDescription": _EDIT,
    "UpdatePrimaryRegion": "Y X[1] X[2][3] X[5] N/A X[14] Y",
    "Verify": _USE_ASYMMETRIC,
    "VerifyMac": _USE_ASYMMETRIC,
}

# These are newer than the table we hold: 'assumed' from their siblings (KMS.md, notes; GetKeyLastUsage is a read).
ASSUMED: frozenset[str] = frozenset({"DeriveSharedSecret", "GetKeyLastUsage", "ListKeyRotations", "RotateKeyOnDemand"})

def _cells(text: str) -> list[Cell]:
    return [Cell(mark.replace("_", " ")) for mark in text.replace("No effect", "No_effect").split()]


KEY_STATES: dict[str, dict[KeyState, Cell]] = {
    name: dict(zip(STATES, _cells(text), strict=True)) for name, text in _ROWS.items()
}

_ALLOWED = frozenset(
    {
        Cell.YES,
        Cell.NO_EFFECT,
        Cell.YES_9,
        Cell.YES_12,
        Cell.DEPENDS_ROTATION,
        Cell.DEPENDS_IMPORT,
        Cell.DEPENDS_DESTINATION,
    }
)


_OPEN: dict[str, frozenset[KeyState]] = {
    name: frozenset(state for state, cell in cells.items() if cell in _ALLOWED) for name, cells in KEY_STATES.items()
}


def lets(operation: str, state: KeyState) -> bool:
    """Whether `state_error` has nothing to say."""
    return state in _OPEN[operation]


def state_error(operation: str, state: KeyState, arn: str) -> KmsError | None:
    """None where the state lets the operation go on, else the error that AWS answers with (KMS.md, Key state errors).

    A Destroyed key is not found before this is asked.
    """
    cell = KEY_STATES[operation][state]
    if cell in _ALLOWED:
        return None
    return _error(cell, state, arn)


def _error(cell: Cell, state: KeyState, arn: str) -> KmsError:
    match cell:
        case Cell.DISABLED | Cell.DISABLED_7:
            return DisabledError(f"{arn} is disabled.")
        case Cell.NOT_PENDING_DELETION | Cell.NOT_PENDING_DELETION_13:
            return InvalidStateError(f"{arn} is not pending deletion.")
        case Cell.EXTERNAL:
            return UnsupportedOperationError(f"{arn} origin is EXTERNAL which is not valid for this operation.")
        case Cell.CUSTOM_STORE | Cell.NO_IMPORT:
            return UnsupportedOperationError(f"{arn} cannot do this operation.")
        case _:
            return InvalidStateError(f"{arn} is {_STATE_WORDS[state]}.")


_STATE_WORDS = {
    KeyState.ENABLED: "enabled",
    KeyState.DISABLED: "disabled",
    KeyState.PENDING_DELETION: "pending deletion (or pending replica deletion)",
    KeyState.PENDING_IMPORT: "pending import",
    KeyState.UNAVAILABLE: "unavailable",
    KeyState.CREATING: "creating",
    KeyState.UPDATING: "updating",
}

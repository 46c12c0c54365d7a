"""Names that the API server, people and GitOps tools see: group, annotations, labels, finalizer, Secret types.

What each is for, and who may write it, stands in the tables below; the reference page is generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

GROUP: Final = "kms.keystead.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

HOLD: Final = "kms.keystead.io/hold"
HOLD_RELEASED: Final = "released"
ROTATE_REQUESTED_AT: Final = "kms.keystead.io/rotate-requested-at"
RECONCILE_REQUESTED_AT: Final = "kms.keystead.io/reconcile-requested-at"
CANCEL_DELETION: Final = "kms.keystead.io/cancel-deletion"
ALLOW_DELETION: Final = "kms.keystead.io/allow-deletion"
ADOPT: Final = "kms.keystead.io/adopt"
ADOPT_TRUE: Final = "true"
ADOPT_AS_NEW: Final = "as-new"
NEW_KEY_AFTER_DESTRUCTION: Final = "kms.keystead.io/new-key-after-destruction"
BYPASS_LOCKOUT_CHECK: Final = "kms.keystead.io/bypass-policy-lockout-safety-check"
DATA_KEY: Final = "kms.keystead.io/data-key"
VERSION_HASH: Final = "kms.keystead.io/data-key-version-hash"
RESTARTED_AT: Final = "kms.keystead.io/restarted-at"

CREATED_BY: Final = "kms.keystead.io/created-by"
CREATED_BY_API: Final = "api"
CLASS: Final = "kms.keystead.io/class"
RECORD: Final = "kms.keystead.io/record"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_KEYSTEAD: Final = "keystead"

IN_USE: Final = "kms.keystead.io/in-use"

DATA_KEY_SECRET_TYPE: Final = "kms.keystead.io/data-key"  # noqa: S105 - a type, not a secret
RECORD_SECRET_TYPE: Final = "kms.keystead.io/{}-record"  # noqa: S105 - a type, not a secret
DOMAIN_BACKUP_SECRET_TYPE: Final = "kms.keystead.io/domain-backup"  # noqa: S105 - a type, not a secret


class NameRow(NamedTuple):
    """One name: the objects that carry it, what its values mean, who writes it, and the RBAC verb asked beside the write itself."""

    on: str
    meaning: str
    writer: str
    verb: str = ""


_FOUR: Final = "all four kinds"
_ASKED: Final = "people"
_OPERATOR: Final = "the operator"
_LATER: Final = "Reserved: nothing in this version reads or writes it."

ANNOTATIONS: Final[Mapping[str, NameRow]] = MappingProxyType(
    {
        RECONCILE_REQUESTED_AT: NameRow(
            _FOUR, "A new value asks for one pass; status.lastHandledReconcileAt answers with it.", _ASKED
        ),
        ROTATE_REQUESTED_AT: NameRow(
            "KmsKey, KmsDataKey",
            "A new value asks for one rotation on demand; status.lastHandledRotateAt answers with it.",
            _ASKED,
            "rotatekeyondemand (on a KmsKey)",
        ),
        HOLD: NameRow(
            "KmsKey",
            f"Any value but `{HOLD_RELEASED}` latches a hold in the sealed record; only `{HOLD_RELEASED}` lifts it. "
            "Removing the annotation, or the object, does not.",
            _ASKED,
            "hold",
        ),
        CANCEL_DELETION: NameRow(
            "KmsKey", "`true`: spec.scheduledDeletion is taken back, for as long as both are there.", _ASKED, "cancelkeydeletion"
        ),
        ALLOW_DELETION: NameRow(
            "KmsKey; record Secrets and namespace keystead-records",
            "`true`: lifts spec.deletionProtection, or the fence of a record.",
            _ASKED,
            "hold (for a record or the namespace: cluster-wide)",
        ),
        ADOPT: NameRow(
            _FOUR,
            f"`{ADOPT_TRUE}`: take over the record of an earlier namespace of this name. `{ADOPT_AS_NEW}`: set it aside and "
            "make a new one.",
            _ASKED,
            "adopt, cluster-wide",
        ),
        NEW_KEY_AFTER_DESTRUCTION: NameRow(
            "KmsKey", "The id of the destroyed key: allows a new key under its name.", _ASKED, "adopt, cluster-wide"
        ),
        BYPASS_LOCKOUT_CHECK: NameRow(
            "KmsKey",
            "`true`: spec.policy may be one under which nobody of the account can do PutKeyPolicy. Who may write spec.policy of the object "
            "can replace it all the same.",
            "people, the API",
        ),
        DATA_KEY: NameRow("Secret", "The KmsDataKey that Keystead made this Secret for.", _OPERATOR),
        VERSION_HASH: NameRow(
            "Secret",
            "Changes with the data key in it, for reloaders. In a Secret that Keystead did not make, the name ends in "
            "`-` and 8 hex digits of the KmsDataKey.",
            _OPERATOR,
        ),
        RESTARTED_AT: NameRow("Pod template of a workload", _LATER, _OPERATOR),
    }
)
"""Annotation -> what it is."""

LABELS: Final[Mapping[str, NameRow]] = MappingProxyType(
    {
        RECORD: NameRow("Secret in keystead-records", "The kind of record that it holds.", _OPERATOR),
        MANAGED_BY: NameRow(
            "Secrets that Keystead makes", f"`{MANAGED_BY_KEYSTEAD}`. Nothing is decided by it.", "the operator, the ceremony"
        ),
        CREATED_BY: NameRow(
            "KmsKey", f"`{CREATED_BY_API}`: the API made the object, and after the key's destruction the operator deletes it.", "the API"
        ),
        CLASS: NameRow(_FOUR, _LATER, _ASKED),
    }
)
"""Label -> what it is."""

FINALIZERS: Final[Mapping[str, NameRow]] = MappingProxyType(
    {
        IN_USE: NameRow(
            "KmsKey with deletionPolicy ScheduleDeletion",
            "Keeps the object, and the key in use, while something depends on the key.",
            _OPERATOR,
        )
    }
)
"""Finalizer -> what it is. There is one."""

SECRET_TYPES: Final[Mapping[str, NameRow]] = MappingProxyType(
    {
        DATA_KEY_SECRET_TYPE: NameRow(
            "Secret beside the workload", "An encrypted data key, in a Secret that Keystead made for it.", _OPERATOR
        ),
        RECORD_SECRET_TYPE.format("<kind>"): NameRow(
            "Secret in keystead-records", "A sealed record: key, alias, grant, account, datakey or install.", _OPERATOR
        ),
        DOMAIN_BACKUP_SECRET_TYPE: NameRow(
            "Secret in keystead-records", "The sealed backup of the domain.", "the ceremony, once"
        ),
    }
)
"""Secret type -> what it is."""

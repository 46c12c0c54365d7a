"""Names that the API server, people and GitOps tools see: group, annotations, labels, finalizer, Secret type.

Values and rights of each annotation: docs RECORDS (Rights, Annotations) and RESOURCES (Behaviour).
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "kms.keystead.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

HOLD: Final = "kms.keystead.io/hold"
"""Any value but `released` latches a hold in the sealed record; only `released` lifts it. Asks the verb hold."""
HOLD_RELEASED: Final = "released"
ROTATE_REQUESTED_AT: Final = "kms.keystead.io/rotate-requested-at"
"""A new value asks for one rotation on demand."""
RECONCILE_REQUESTED_AT: Final = "kms.keystead.io/reconcile-requested-at"
"""A new value asks for one pass; status.lastHandledReconcileAt answers with it."""
CANCEL_DELETION: Final = "kms.keystead.io/cancel-deletion"
"""`true` on a live KmsKey whose window runs: CancelKeyDeletion. Asks cancelkeydeletion."""
ALLOW_DELETION: Final = "kms.keystead.io/allow-deletion"
"""`true`: lifts deletionProtection of a KmsKey, or the fence of a record Secret. Asks the verb hold."""
ADOPT: Final = "kms.keystead.io/adopt"
"""`true`: take the record of an earlier namespace of this name; `as-new`: set it aside. Asks the verb adopt."""
NEW_KEY_AFTER_DESTRUCTION: Final = "kms.keystead.io/new-key-after-destruction"
"""The destroyed key's id: allows a new key under its name. Asks the verb adopt."""
DATA_KEY: Final = "kms.keystead.io/data-key"
"""On a Secret that Keystead made: the KmsDataKey that it was made for."""
VERSION_HASH: Final = "kms.keystead.io/data-key-version-hash"
"""On a data key's Secret: changes with its content, for reloaders."""
RESTARTED_AT: Final = "kms.keystead.io/restarted-at"
"""On a Pod template, where rolloutRestartTargets works: the one annotation that the operator may change."""

CREATED_BY: Final = "kms.keystead.io/created-by"
CREATED_BY_API: Final = "api"
"""Label of an object that the API made; after destruction the operator deletes it."""
CLASS: Final = "kms.keystead.io/class"
"""Label that tells two installations in one cluster apart."""
RECORD: Final = "kms.keystead.io/record"
"""Label of a record Secret: its record kind."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_KEYSTEAD: Final = "keystead"

IN_USE: Final = "kms.keystead.io/in-use"
"""The one finalizer: on a ScheduleDeletion key while something depends on it."""

DATA_KEY_SECRET_TYPE: Final = "kms.keystead.io/data-key"  # noqa: S105 - a type, not a secret
"""Type of a Secret that a KmsDataKey made."""

"""The one table of reasons: what a condition's reason means, whether it heals alone, and what to type.

The reference page is generated from it. Who uses it: conditions.kstatus, the planners, the docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Reason(StrEnum):
    """Why a condition is as it is. Every member has a row in REASONS (a test holds it total)."""

    AVAILABLE = "Available"
    CREATING = "Creating"
    DEPENDENCY_NOT_FOUND = "DependencyNotFound"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    REFERENCE_NOT_GRANTED = "ReferenceNotGranted"
    INVALID_SPEC = "InvalidSpec"
    KEY_SPEC_UNSUPPORTED = "KeySpecUnsupported"
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    HSM_AUTH_FAILED = "HsmAuthFailed"
    HSM_SESSION_LOST = "HsmSessionLost"
    PENDING_DELETION = "PendingDeletion"
    KEY_DESTROYED = "KeyDestroyed"
    DISABLED = "Disabled"
    HELD = "Held"
    IN_USE = "InUse"
    SUSPENDED = "Suspended"
    RECORD_INTEGRITY = "RecordIntegrity"
    ADOPTION_REQUIRED = "AdoptionRequired"
    ALIAS_TAKEN = "AliasTaken"
    GRANT_EXPIRED = "GrantExpired"
    QUOTA_EXCEEDED = "QuotaExceeded"
    TARGET_CONFLICT = "TargetConflict"
    TARGET_FORBIDDEN = "TargetForbidden"
    TARGET_IMMUTABLE = "TargetImmutable"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_TOO_LARGE = "TargetTooLarge"
    ROTATED = "Rotated"
    ROTATION_FAILED = "RotationFailed"
    REWRAPPING = "Rewrapping"
    REWRAPPED = "Rewrapped"
    ACCESS_DENIED = "AccessDenied"


class Outlook(StrEnum):
    """What comes next without a person: the kstatus of a reason."""

    CURRENT = "Current"
    """Ready=True: nothing to do."""
    IN_PROGRESS = "InProgress"
    """Reconciling=True: Keystead goes on by itself."""
    WAITING = "Waiting"
    """Ready=Unknown: paused on purpose."""
    FAILED = "Failed"
    """Stalled=True: somebody must act."""


class ReasonRow(NamedTuple):
    """One row of the table. `heals_within` is in seconds; None: not without what `remedy` says."""

    outlook: Outlook
    heals_within: int | None
    meaning: str
    remedy: str


_C, _P, _W, _F = Outlook.CURRENT, Outlook.IN_PROGRESS, Outlook.WAITING, Outlook.FAILED

REASONS: Final[Mapping[Reason, ReasonRow]] = MappingProxyType(
    {
        Reason.AVAILABLE: ReasonRow(_C, None, "The spec is carried out.", "Nothing."),
        Reason.CREATING: ReasonRow(_P, 10, "The key, alias, grant or data key is being made.", "Nothing: wait."),
        Reason.DEPENDENCY_NOT_FOUND: ReasonRow(
            _P, None, "The key or alias that it names does not exist.", "kubectl get kms; create it or mend the name."
        ),
        Reason.DEPENDENCY_NOT_READY: ReasonRow(
            _P,
            None,
            "The key that it names cannot be used now: disabled, held, pending deletion or not made yet.",
            "kubectl describe kmskey NAME and act on its reason.",
        ),
        Reason.REFERENCE_NOT_GRANTED: ReasonRow(
            _F,
            None,
            "The other namespace does not consent; the answer is the same whether or not the target exists.",
            "Ask the key's owner to allow this namespace in spec.policy of the key.",
        ),
        Reason.INVALID_SPEC: ReasonRow(
            _F, None, "A field cannot be accepted; the message names it.", "kubectl edit, and mend the named field."
        ),
        Reason.KEY_SPEC_UNSUPPORTED: ReasonRow(
            _F,
            None,
            "The token cannot make and keep this key spec, and software protection is not allowed.",
            "keystead hsm check shows what it can; choose another keySpec, or let the installer allow software.",
        ),
        Reason.ENGINE_UNAVAILABLE: ReasonRow(
            _P, 60, "The HSM module, its token or the record store does not answer.", "Nothing: wait; then hsm check."
        ),
        Reason.HSM_AUTH_FAILED: ReasonRow(
            _F,
            None,
            "The token refused the PIN; no replica tries it again.",
            "Put the right PIN into its Secret (a new resourceVersion lifts the stop); see keystead hsm check.",
        ),
        Reason.HSM_SESSION_LOST: ReasonRow(_P, 30, "The session with the token broke; it is opened anew.", "Nothing."),
        Reason.PENDING_DELETION: ReasonRow(
            _C,
            None,
            "The waiting window runs; the key refuses use until it is cancelled or destroyed.",
            "To cancel before status.deletionTime: remove spec.scheduledDeletion (keystead records schedule-deletion NAMESPACE NAME "
            "--cancel); where the object was deleted, apply its manifest again.",
        ),
        Reason.KEY_DESTROYED: ReasonRow(
            _F,
            None,
            "The key under this name was destroyed; no new key takes its place unasked.",
            "kubectl annotate kmskey NAME kms.keystead.io/new-key-after-destruction=<id of the destroyed key>",
        ),
        Reason.DISABLED: ReasonRow(
            _C,
            None,
            "The key is disabled: by spec.enabled, or because a deletion was cancelled.",
            """kubectl patch kmskey NAME --type=merge -p '{"spec":{"enabled":true}}'""",
        ),
        Reason.HELD: ReasonRow(
            _F,
            None,
            "A hold stops this key; it wins over spec and survives deletion.",
            "kubectl annotate --overwrite kmskey NAME kms.keystead.io/hold=released (asks the verb hold)",
        ),
        Reason.IN_USE: ReasonRow(
            _P,
            None,
            "The object is being deleted, but something still depends on the key, which works on until then.",
            "Delete the dependants that the message lists; the deletion itself cannot be taken back.",
        ),
        Reason.SUSPENDED: ReasonRow(
            _W, None, "spec.suspend is true: nothing is changed.", "kubectl edit, and remove spec.suspend."
        ),
        Reason.RECORD_INTEGRITY: ReasonRow(
            _F,
            None,
            "The sealed record is missing, older than the status, or does not verify. Nothing was generated.",
            "keystead records show NAMESPACE NAME. If the record is the right one, somebody wrote the status: kubectl patch "
            "--subresource=status KIND NAME --type=merge -p '{\"status\":null}' clears it; else restore the record from a backup.",
        ),
        Reason.ADOPTION_REQUIRED: ReasonRow(
            _F,
            None,
            "The name belongs to an earlier namespace of this name.",
            "keystead records adopt NAMESPACE NAME (to take it over), or the same with --as-new (to have the name); see docs/adoption.md",
        ),
        Reason.ALIAS_TAKEN: ReasonRow(
            _P, None, "Another KmsAlias of this account and region holds the name.", "Delete it, or choose another."
        ),
        Reason.GRANT_EXPIRED: ReasonRow(
            _F, None, "The grant's time is over; it allows nothing.", "kubectl delete kmsgrant NAME; make a new one."
        ),
        Reason.QUOTA_EXCEEDED: ReasonRow(
            _F,
            None,
            "There are as many as may be: keys in the namespace, aliases or grants of the key; the message names the bound.",
            "Delete some (a key counts until it is destroyed), or let the installer raise operator.keysPerNamespace (keys only).",
        ),
        Reason.TARGET_CONFLICT: ReasonRow(
            _P, None, "Another field manager owns the keys in the Secret.", "Remove those keys from its manifest."
        ),
        Reason.TARGET_FORBIDDEN: ReasonRow(
            _P,
            None,
            "The operator may not write Secrets in this namespace.",
            "Add the namespace to dataKeys.namespaces of the chart; where it is there and the namespace was made again, helm upgrade makes "
            "its Role again.",
        ),
        Reason.TARGET_IMMUTABLE: ReasonRow(
            _F, None, "The Secret is immutable.", "Delete the Secret, or name another one in a new KmsDataKey."
        ),
        Reason.TARGET_NOT_FOUND: ReasonRow(
            _P, None, "The Secret does not exist and may not be made here.", "Create it, or allow create on secrets."
        ),
        Reason.TARGET_TOO_LARGE: ReasonRow(
            _P, None, "The Secret would exceed 1 MiB.", "Remove data from it, or lower rotation.keepVersions."
        ),
        Reason.ROTATED: ReasonRow(_C, None, "The last rotation that was due is done.", "Nothing."),
        Reason.ROTATION_FAILED: ReasonRow(
            _P,
            None,
            "A rotation that was asked for is not done: the key is disabled or held (then it waits), of a spec that does not rotate, or "
            "was rotated 25 times on demand.",
            "Act on what the message says; kubectl annotate kmskey NAME kms.keystead.io/rotate-requested-at- withdraws the request.",
        ),
        Reason.REWRAPPING: ReasonRow(
            _P, 3600, "Data key versions are being encrypted anew under the key's current material.", "Nothing: wait."
        ),
        Reason.REWRAPPED: ReasonRow(_C, None, "Every version is under the key's current material.", "Nothing."),
        Reason.ACCESS_DENIED: ReasonRow(
            _P,
            None,
            "The key's policy does not let the namespace do this with the key; the message names the statement. Nothing is lost.",
            "Allow it in spec.policy of the key, for the namespace's account or the service datakeys.kms.keystead.io, or by a KmsGrant; a "
            "Deny statement must go.",
        ),
    }
)
"""Reason -> outlook, healing time, meaning, remedy. The reference page is generated from it."""

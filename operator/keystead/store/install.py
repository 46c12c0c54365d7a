"""What a ceremony leaves in a cluster: token and PIN Secrets, the sealed backup, the recovery key or its envelope, the install record.

Create-only throughout: an existing token is never replaced. Used by `keystead hsm init --to-cluster` and the chart's Job, under the
rights of ServiceAccount keystead-hsm-init.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keystead.engine.births import new_install_record
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.ports import Domain
from keystead.engine.record import InstallRecord, open_sealed, seal_record
from keystead.errors import ConflictError, HsmSetupError, NotFoundError, RecordIntegrityError
from keystead.reconciler.ports import StoredRecord
from keystead.resources import names
from keystead.store.kube import Kube
from keystead.store.records import KubeRecords

TOKEN_SECRET: Final = "keystead-token"  # noqa: S105 - a name
RECOVERY_SECRET: Final = "keystead-recovery-key"  # noqa: S105 - a name
BACKUP_TYPE: Final = names.DOMAIN_BACKUP_SECRET_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallParts:
    """What to leave where. Secrets are kept out of the repr."""

    domain: Domain = field(repr=False)
    install_id: bytes
    backup: bytes = field(repr=False)
    recovery_text: str | None = field(repr=False)
    recovery_cms: bytes | None = field(repr=False)
    token_files: Mapping[str, bytes] = field(repr=False)
    pin: str | None = field(repr=False)


async def check_namespace(kube: Kube, records_namespace: str) -> Any:  # noqa: ANN401 - JSON
    """The namespace of the records. HsmSetupError where it is not there."""
    try:
        return await kube.request("GET", f"/api/v1/namespaces/{records_namespace}")
    except NotFoundError:
        raise HsmSetupError(
            f"namespace {records_namespace} does not exist; hint: helm install the chart first, it makes it"
        ) from None


async def publish(kube: Kube, parts: InstallParts, namespace: str, records_namespace: str, pin_secret: str) -> None:
    """Create everything that is not there; the install record comes last.

    The operator makes nothing without it, so a ceremony that is cut short leaves Secrets that nothing was encrypted under: the error of
    the next one names them. HsmSetupError where another install's token or domain is there already.
    """
    space = await check_namespace(kube, records_namespace)
    records = KubeRecords(kube, records_namespace)
    found = await _find_install(records, parts)
    backup = {"backup": parts.backup}
    if parts.recovery_cms is not None:
        backup["recovery.cms"] = parts.recovery_cms
    name = f"domain-backup-{parts.domain.generation}"
    await _create(kube, records_namespace, name, BACKUP_TYPE, backup, keep=found)
    if parts.recovery_text is not None:
        await _create(kube, namespace, RECOVERY_SECRET, "Opaque", {"recovery-key": parts.recovery_text.encode()})
    if parts.token_files:
        await _create(kube, namespace, TOKEN_SECRET, "Opaque", parts.token_files)
    if parts.pin is not None:
        await _create(kube, namespace, pin_secret, "Opaque", {"pin": parts.pin.encode()})
    if not found:
        await _create_install(kube, records, parts, space["metadata"]["uid"])


def open_install(domain: Domain, stored: StoredRecord) -> InstallRecord:
    """The install record. HsmSetupError where another domain sealed it: the token is the wrong one, nobody changed anything."""
    try:
        return open_sealed(domain, stored.sealed, InstallRecord)
    except RecordIntegrityError:
        raise HsmSetupError(
            f"this token holds domain {domain.fingerprint[:16]}, and the records were sealed by another one; "
            "hint: use the token of this install, or restore its domain with `keystead hsm init --from-backup`"
        ) from None


async def check_domain(kube: Kube, records_namespace: str, domain: Domain) -> None:
    """HsmSetupError where there is an install and this token is not its token."""
    found = await KubeRecords(kube, records_namespace).get(record_name(RecordKind.INSTALL))
    if found is not None:
        open_install(domain, found)


async def _find_install(records: KubeRecords, parts: InstallParts) -> bool:
    """Whether this install's record is there. HsmSetupError where it is another install's."""
    found = await records.get(record_name(RecordKind.INSTALL))
    if found is None:
        return False
    held = open_install(parts.domain, found)
    if held.install_id != parts.install_id.hex():
        raise HsmSetupError(
            f"the cluster belongs to install {held.install_id}; hint: use its token, or restore that domain with --from-backup"
        )
    return True


async def _create_install(kube: Kube, records: KubeRecords, parts: InstallParts, namespace_uid: str) -> None:
    name = record_name(RecordKind.INSTALL)
    record = new_install_record(parts.domain, parts.install_id, namespace_uid, kube.clock.now())
    try:
        await records.create(RecordKind.INSTALL, seal_record(parts.domain, name, record))
    except ConflictError:
        raise HsmSetupError("another install was made at the same moment; nothing was overwritten") from None


async def _create(
    kube: Kube, namespace: str, name: str, kind: str, data: Mapping[str, bytes], *, keep: bool = False
) -> None:
    """Create-only. `keep`: one that is there already is this install's own (a domain restored beside its records)."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {names.MANAGED_BY: names.MANAGED_BY_KEYSTEAD}},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    try:
        await kube.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=body)
    except ConflictError:
        if keep:
            return
        raise HsmSetupError(
            f"Secret {namespace}/{name} exists already and was not touched; hint: if keystead-records has a Secret `install`, "
            "an install is there and nothing of it may be deleted; without one an earlier ceremony was cut short: delete that "
            "Secret and run this again"
        ) from None

"""What a ceremony leaves in a cluster: token and PIN Secrets, the sealed backup, the recovery key or its envelope, the install record.

Create-only throughout: an existing token is never replaced. Used by `keystead hsm init --to-cluster` and the chart's Job, under the
rights of ServiceAccount keystead-hsm-init.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keystead.engine.clock import format_time
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.ports import Domain
from keystead.engine.record import InstallRecord, open_sealed, seal_record
from keystead.errors import ConflictError, HsmSetupError
from keystead.resources import names
from keystead.store.kube import Kube
from keystead.store.records import KubeRecords

TOKEN_SECRET: Final = "keystead-token"  # noqa: S105 - a name
RECOVERY_SECRET: Final = "keystead-recovery-key"  # noqa: S105 - a name
BACKUP_TYPE: Final = "kms.keystead.io/domain-backup"


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


async def publish(kube: Kube, parts: InstallParts, namespace: str, records_namespace: str, pin_secret: str) -> None:
    """Create everything that is not there. HsmSetupError where another install's token or domain is there already."""
    await kube.request("GET", f"/api/v1/namespaces/{records_namespace}")
    await _install_record(kube, parts, records_namespace)
    backup = {"backup": parts.backup}
    if parts.recovery_cms is not None:
        backup["recovery.cms"] = parts.recovery_cms
    generation = parts.domain.generation
    await _create(kube, records_namespace, f"domain-backup-{generation}", BACKUP_TYPE, backup)
    if parts.recovery_text is not None:
        await _create(kube, namespace, RECOVERY_SECRET, "Opaque", {"recovery-key": parts.recovery_text.encode()})
    if parts.token_files:
        await _create(kube, namespace, TOKEN_SECRET, "Opaque", parts.token_files)
    if parts.pin is not None:
        await _create(kube, namespace, pin_secret, "Opaque", {"pin": parts.pin.encode()})


async def _install_record(kube: Kube, parts: InstallParts, records_namespace: str) -> None:
    """The first thing that is written: it claims the cluster for this domain."""
    records, name = KubeRecords(kube, records_namespace), record_name(RecordKind.INSTALL)
    found = await records.get(name)
    if found is None:
        space = await kube.request("GET", f"/api/v1/namespaces/{records_namespace}")
        record = InstallRecord(
            domain_generation=parts.domain.generation,
            domain_fingerprint=parts.domain.fingerprint,
            namespace_uid=space["metadata"]["uid"],
            transition=0,
            seq=1,
            install_id=parts.install_id.hex(),
            created=format_time(kube.clock.now()),
        )
        try:
            await records.create(RecordKind.INSTALL, seal_record(parts.domain, name, record))
        except ConflictError:
            raise HsmSetupError("another install was made at the same moment; nothing was overwritten") from None
        return
    held = open_sealed(parts.domain, found.sealed, InstallRecord)
    if held.install_id != parts.install_id.hex():
        raise HsmSetupError(
            f"the cluster belongs to install {held.install_id}; hint: use its token, or restore that domain with --from-backup"
        )


async def _create(kube: Kube, namespace: str, name: str, kind: str, data: Mapping[str, bytes]) -> None:
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
        raise HsmSetupError(
            f"Secret {namespace}/{name} exists already and was not touched; hint: an install is there; delete nothing of it"
        ) from None

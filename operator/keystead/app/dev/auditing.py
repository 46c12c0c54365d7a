"""The audit trail of `keystead dev --audit DIR`: of the process that reconciles, which alone or before its workers serves too."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from keystead.app.auditing import StoredKeySigner, Trail, kept
from keystead.app.openengine import OpenEngine
from keystead.audit.reading.signatures import as_pem
from keystead.cli.services import DevRequest
from keystead.engine.identifiers import RECORDS_NAMESPACE, RecordKind, record_name
from keystead.engine.managed import AUDIT_KEY
from keystead.engine.material import material_of
from keystead.engine.record import KeyRecord, open_sealed
from keystead.errors import InvalidSpecError
from keystead.hsm.backend import Hsm
from keystead.operations.trail import Audit
from keystead.settings import AuditMode, AuditSettings
from keystead.store.sqlite.store import SqliteStore

PUBLIC_KEY: Final = "audit-signing.pem"


def audit_of(settings: AuditSettings, request: DevRequest) -> AuditSettings:
    """No trail unless --audit names a folder; how it is kept there, KEYSTEAD_AUDIT_* may say. InvalidSpecError where it cannot be."""
    if request.audit is None:
        return AuditSettings(mode=AuditMode.OFF)
    folder = request.audit.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSpecError("--audit", f"{folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidSpecError("--audit", f"{folder} cannot be written to")
    return replace(settings, folder=folder, stdout=False)


async def publish_key(audit: AuditSettings, hsm: Hsm, store: SqliteStore) -> bool:
    """Whether PUBLIC_KEY beside the records has the key that signs them now. One block a key: a reset, or --memory, makes a new one."""
    stored = await store.records.get(record_name(RecordKind.KEY, RECORDS_NAMESPACE, AUDIT_KEY))
    if audit.folder is None or stored is None:
        return False
    record = open_sealed(hsm.domain, stored.sealed, KeyRecord)
    spki = material_of(record, record.current_version).spki
    assert spki is not None
    await asyncio.to_thread(_add_key, audit.folder / PUBLIC_KEY, as_pem(base64.b64encode(spki).decode()))
    return True


def _add_key(path: Path, pem: str) -> None:
    """The earlier ones stay: they are what older chains are verified with. Whole, or as it was."""
    try:
        known = path.read_text("ascii") if path.is_file() else ""
        if pem in known:
            return
        new = path.with_name(f".{path.name}.new")
        new.write_text(known + pem, "ascii")
        new.chmod(0o644)
        new.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpecError("--audit", f"{path}: {error}") from None


@asynccontextmanager
async def recording(audit: AuditSettings, hsm: Hsm, store: SqliteStore) -> AsyncIterator[Audit]:
    """The audit trail of this process, while it lives: a reset does not end it."""
    engine, now = OpenEngine(hsm, lambda _operation, _result: None), store.clock.now
    trail = Trail(audit, "dev", now, StoredKeySigner(store.records, lambda: engine, now))
    async with kept(trail, lambda: InvalidSpecError("--audit", f"{audit.folder}: {trail.missing}")):
        yield trail.audit

"""The audit trail of `keystead dev --audit DIR`: of the process that reconciles, which alone or before its workers serves too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from keystead.app.auditing import StoredKeySigner, Trail, kept
from keystead.app.openengine import OpenEngine
from keystead.cli.services import DevRequest
from keystead.errors import InvalidSpecError
from keystead.hsm.backend import Hsm
from keystead.operations.trail import Audit
from keystead.settings import AuditMode, AuditSettings
from keystead.store.sqlite.store import SqliteStore


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


@asynccontextmanager
async def recording(audit: AuditSettings, hsm: Hsm, store: SqliteStore) -> AsyncIterator[Audit]:
    """The audit trail of this process, while it lives: a reset does not end it."""
    engine, now = OpenEngine(hsm, lambda _operation, _result: None), store.clock.now
    trail = Trail(audit, "dev", now, StoredKeySigner(store.records, lambda: engine, now))
    async with kept(trail, lambda: InvalidSpecError("--audit", f"{audit.folder}: {trail.missing}")):
        yield trail.audit

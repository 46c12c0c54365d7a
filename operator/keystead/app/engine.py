"""The token as the operator holds it: opened at start, opened again when it comes back, never tried twice with a refused PIN."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Final

from keystead.app.counting import Called
from keystead.app.openengine import OpenEngine
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.record import InstallRecord, open_sealed
from keystead.errors import HsmAuthError, HsmError, HsmUnavailableError, RecordIntegrityError, StoreError
from keystead.hsm.backend import Hsm, open_hsm
from keystead.settings import Settings
from keystead.store.kube import Kube
from keystead.store.pins import read_marker, save_marker
from keystead.store.records import KubeRecords

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 5.0


class EngineHolder:
    """Opens the token and answers with it, or says why it cannot."""

    def __init__(self, settings: Settings, kube: Kube, called: Called) -> None:
        self._settings = settings
        self._kube = kube
        self._called = called
        self._engine: OpenEngine | None = None
        self._error: HsmError = HsmUnavailableError("the token is not open yet")
        # Digest of a PIN that the token refused, in memory only: this process never tries the same bytes twice, whatever the marker
        # says. A Pod's copy of the PIN does not change with its Secret, so a corrected Secret alone must not bring it in again.
        self._refused = b""
        self.opened = asyncio.Event()

    def __call__(self) -> OpenEngine:
        """The open engine. HsmAuthError or HsmUnavailableError where it is not."""
        if self._engine is None:
            raise self._error
        return self._engine

    @property
    def missing(self) -> str | None:
        """What readiness says of the token."""
        if self._engine is None:
            return f"hsm: {self._error}"
        return None if self._engine.hsm.fast.healthy() else "hsm: the token does not answer"

    def sessions(self) -> int:
        """Logins that this process and its lanes hold now."""
        return 0 if self._engine is None else self._engine.hsm.sessions()

    async def run(self) -> None:
        """Try until the token is open. A refused PIN is tried again only when its Secret has changed."""
        while self._engine is None:
            try:
                await self._open()
            except HsmError as error:
                if str(error) != str(self._error):
                    log.error("%s", error)
                self._error = error
            except StoreError as error:
                log.info("the PIN's marker cannot be read yet: %s", error)
            if self._engine is None:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _open(self) -> None:
        cluster = self._settings.cluster
        marker = await read_marker(self._kube, cluster.namespace, cluster.pin_secret)
        digest = _digest(self._settings.hsm.pin_file)
        if digest and digest == self._refused:
            raise HsmAuthError(
                "the token refused this PIN, and the PIN file still holds it; "
                "hint: put the right PIN into its Secret, then restart the Pods"
            )
        try:
            hsm = open_hsm(self._settings.hsm, marker)
        except HsmAuthError:
            if marker.was_refused:
                self._refused = digest
                await save_marker(self._kube, cluster.namespace, marker)
            raise
        try:
            await self._check_install(hsm)
        except BaseException:
            hsm.close()
            raise
        log.info("domain %s generation %s is open", hsm.domain.fingerprint[:16], hsm.domain.generation)
        self._engine = OpenEngine(hsm, self._called)
        self.opened.set()

    async def _check_install(self, hsm: Hsm) -> None:
        """The records must belong to this domain: a wrong token never starts a second life over existing records."""
        records = KubeRecords(self._kube, self._settings.cluster.records_namespace)
        stored = await records.get(record_name(RecordKind.INSTALL))
        if stored is None:
            raise HsmUnavailableError(
                "there is no install record in keystead-records; hint: run `keystead hsm init --to-cluster`, or restore it"
            )
        try:
            open_sealed(hsm.domain, stored.sealed, InstallRecord)
        except RecordIntegrityError as error:
            raise HsmUnavailableError(f"the token does not belong to these records: {error}") from None

    def close(self) -> None:
        """End the session."""
        if self._engine is not None:
            self._engine.hsm.close()


def _digest(pin_file: Path) -> bytes:
    try:
        return hashlib.sha256(pin_file.read_bytes()).digest()
    except OSError:
        return b""

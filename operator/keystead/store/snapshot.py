"""All sealed records at one moment, opened and verified: what `keystead crypt` works on. A read model that is filled once.

A record that does not verify is left out of it and named in `refused`: a command on it says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Mapping

from keystead.engine.ports import Domain
from keystead.engine.record import AccountRecord
from keystead.errors import RecordIntegrityError
from keystead.reconciler.ports import StoredRecord
from keystead.store.kube import Kube
from keystead.store.model import SERVED, RecordModel, type_of
from keystead.store.records import KubeRecords
from keystead.store.requests import KubeRequests
from keystead.store.view import View


class Snapshot(View):
    """`namespaces`: uids of the live ones. `refused`: what was left out, and why."""

    __slots__ = ("refused",)

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        super().__init__(RecordModel(), namespaces)
        self.refused: list[str] = []

    def add(self, domain: Domain, stored: StoredRecord) -> None:
        """Open a record and file it by its kind, which its name tells. What is of no kind here is passed over."""
        if type_of(stored.sealed.name) is None:
            return
        try:
            self._model.take(domain, stored)
        except RecordIntegrityError as error:
            self.refused.append(str(error))

    def account(self, account_id: str) -> AccountRecord | None:
        """The account record of this id."""
        return self._model.account(account_id)


async def take(kube: Kube, records_namespace: str, domain: Domain) -> Snapshot:
    """Read everything once."""
    stored, _ = await KubeRecords(kube, records_namespace).list_all(SERVED)
    snapshot = Snapshot(await KubeRequests(kube).namespaces())
    for item in stored:
        snapshot.add(domain, item)
    return snapshot

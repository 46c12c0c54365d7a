"""How a sealed record that a list or a watch tells of is taken in: verified, and never older than what this process has seen.

Called by what remembers records (reconciler/index.py for the operator, store/model.py for the server), which are fed through `Sink`. What
may never enter: a record of which nothing was verified.
"""

from __future__ import annotations

from typing import Final, Protocol

from keystead.engine.freshness import Memory, Seen
from keystead.engine.ports import Domain
from keystead.engine.record import open_sealed
from keystead.engine.record.codec import Record
from keystead.errors import KeysteadError
from keystead.reconciler.ports import StoredRecord

_COME_AND_GO: Final = ("alias-", "grant-")


class Sink(Protocol):
    """What is fed by a list and a watch of records (store/readmodel.py)."""

    def take(self, domain: Domain, stored: StoredRecord) -> None:
        """A record that is new or different. RecordIntegrityError where it must not be believed."""

    def refuse(self, name: str, error: KeysteadError) -> None:
        """What lies under this name now is not even a record."""

    def gone(self, name: str) -> None:
        """A record that is no longer in the store."""

    def keep(self, names: set[str]) -> None:
        """A list is whole: what is not in it is gone."""


def comes_and_goes(name: str) -> bool:
    """Whether a record of this name may be deleted and made again: then it begins with seq 1."""
    return name.startswith(_COME_AND_GO)


def open_told(memory: Memory, domain: Domain, stored: StoredRecord, digest: str, kind: type[Record]) -> Record | None:
    """The verified record; None where it is older than what was seen, which a watch that lags may tell. RecordIntegrityError.

    An echo of an alias or a grant before this one must not make it look old.
    """
    name = stored.sealed.name
    record = open_sealed(domain, stored.sealed, kind)
    if not comes_and_goes(name) and not memory.note(name, Seen(record.seq, digest)):
        return None
    return record

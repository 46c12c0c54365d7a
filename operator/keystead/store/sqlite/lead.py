"""Who may write records in a state folder: one process, by a lock on a file in it, counted in the database (the fence's transition).

The kernel lets go of the lock when the process ends, however it ends. The lock is on a file of its own: SQLite's locks are of another kind
(POSIX), which a process loses when it closes any descriptor of the database file. A forked child shares the lock: workers are spawned.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

from keystead.errors import ConflictError, FencedError, StoreError
from keystead.store.sqlite.database import Database, Transaction

LOCK: Final = "leader.lock"


class FolderLead:
    """Implements `reconciler.ports.Leadership`. In memory the one process leads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._descriptor: int | None = None
        self._transition: int | None = None

    @property
    def transition(self) -> int:
        """How many processes have led, this one included. FencedError while not leading."""
        if self._transition is None:
            raise FencedError("this process does not hold the state folder")
        return self._transition

    def acquire(self) -> int:
        """Lead from now on. ConflictError where another process does."""
        folder = self._database.folder
        if folder is not None:
            try:
                descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreError(f"{folder} cannot be locked: {error.strerror}") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise ConflictError(f"another keystead dev uses {folder}; hint: end it, or give another --state") from None
            self._descriptor = descriptor
        self._transition = self._database.run(_count)
        return self._transition

    def check(self) -> None:
        """FencedError unless this process leads."""
        _ = self.transition

    def release(self) -> None:
        """Another process may lead."""
        self._transition = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _count(transaction: Transaction) -> int:
    number: int = transaction.fact("transition") + 1
    transaction.set_fact("transition", number)
    return number

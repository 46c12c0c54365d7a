"""One SQLite file: its form, transactions, the group commit, and reads. Used by the other modules of this package only.

    facts       name -> value: rv (the last resourceVersion given), floor, transition, written (the newest time), crd/<kind> (uids)
    namespaces  name, uid
    objects     kind, ns, name, uid, rv, generation, json (the whole object but for the three)
    owners      who wrote a field of an object's spec last: keystead-api or keystead-seed (writes.py)
    records     name, bytes, seal, rv
    gone        a row for each object and record that was deleted, with the rv of the deletion: what other processes learn it from
    events      as core/v1 Events, once each
    uses        a key's last cryptographic use (uses.py); no rv: nothing is decided by it
    calls       counts of calls by month, namespace, key and price class; likewise

`rv` counts every write of objects and records in one sequence, in the order of the commits (one writer at a time, whatever the process).

WAL and synchronous=FULL: a commit is answered after its fsync, so nothing that was acknowledged is lost by kill -9 or by the machine.
Group commit: writes that come while an fsync is under way (in a thread: the event loop goes on) share the next one, each in a savepoint of
its own, so that one that is refused takes no other with it.

A process that was forked must open its own: neither a connection nor the thread survives a fork.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from keystead.engine.clock import format_time, parse_time
from keystead.errors import StoreError, StoreUnavailableError
from keystead.reconciler.ports import Clock, Kind
from keystead.store.sqlite.clock import LocalClock

log = logging.getLogger(__name__)
FILE: Final = "keystead.db"
VERSION: Final = 1
# Seconds that a write waits for another process's: more than any commit takes, less than a caller waits.
BUSY_SECONDS: Final = 5.0
# Deletions that are remembered: who has not looked for longer is given everything anew.
REMEMBERED: Final = 100_000

_FORM: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS namespaces (name TEXT PRIMARY KEY, uid TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (kind TEXT, ns TEXT, name TEXT, uid TEXT NOT NULL UNIQUE, rv INTEGER NOT NULL,
    generation INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (kind, ns, name));
CREATE INDEX IF NOT EXISTS objects_rv ON objects (rv);
CREATE TABLE IF NOT EXISTS owners (uid TEXT, field TEXT, manager TEXT NOT NULL, PRIMARY KEY (uid, field)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, bytes BLOB NOT NULL, seal BLOB NOT NULL, rv INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS records_rv ON records (rv);
CREATE TABLE IF NOT EXISTS gone (rv INTEGER, kind TEXT, ns TEXT, name TEXT, uid TEXT NOT NULL,
    PRIMARY KEY (rv, kind, ns, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, uid TEXT, reason TEXT, once TEXT, kind TEXT NOT NULL,
    ns TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, message TEXT NOT NULL, time TEXT NOT NULL,
    UNIQUE (uid, reason, once));
CREATE TABLE IF NOT EXISTS uses (key TEXT PRIMARY KEY, operation TEXT NOT NULL, time TEXT NOT NULL, event TEXT NOT NULL,
    request TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (month TEXT, ns TEXT, key TEXT, price TEXT, calls INTEGER NOT NULL,
    PRIMARY KEY (month, ns, key, price)) WITHOUT ROWID;
INSERT OR IGNORE INTO facts VALUES ('rv', 0), ('floor', 0), ('transition', 0);
"""
Result = TypeVar("Result")


class View:
    """Rows of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows. StoreUnavailableError where the file cannot be read."""
        with _as_store_error():
            return self._connection.execute(sql, values).fetchall()

    def fact(self, name: str) -> Any:  # noqa: ANN401 - text or integer
        """The value of a fact, or None."""
        found = self.rows("SELECT value FROM facts WHERE name = ?", name)
        return found[0][0] if found else None


class Transaction(View):
    """What a write works on. `now`: the moment of the commit."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        super().__init__(connection)
        self.now = now

    def execute(self, sql: str, *values: object) -> int:
        """One statement; answers the number of rows that it changed."""
        return self._connection.execute(sql, values).rowcount

    def set_fact(self, name: str, value: object) -> None:
        """Set a fact."""
        self.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)

    def next_rv(self) -> int:
        """The resourceVersion of the next write, and its time beside it."""
        self.set_fact("written", format_time(self.now))
        number: int = self.rows("UPDATE facts SET value = value + 1 WHERE name = 'rv' RETURNING value")[0][0]
        return number


Work = Callable[[Transaction], Result]


class Database:
    """`folder` None: in memory, for one process. `committed` is called in the event loop after each commit of this process.

    `clock`: whose time is written; by default the machine's, never behind what was written.
    """

    def __init__(self, folder: Path | None, clock: Clock | None = None) -> None:
        self.folder = folder
        self.committed: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any] | None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._writer, reader = _open(folder)
        self.view = View(reader)
        self._reader = reader
        self._thread = None if folder is None else ThreadPoolExecutor(1, "keystead-sqlite")
        self.clock: Clock = clock or LocalClock()
        self.run(_prepare)
        written = self.view.fact("written")
        if clock is None and written is not None:
            self.clock = LocalClock(parse_time(written))

    def run(self, work: Work[Result]) -> Result:
        """A transaction of its own, at once: for what happens once (opening, leading, a reset). The event loop waits for its fsync."""
        (outcome,) = self._commit([work], self.clock.now())
        self._tell()
        if isinstance(outcome, _Raised):
            raise outcome.error
        answer: Result = outcome
        return answer

    async def write(self, work: Work[Result]) -> Result:
        """A write in the next commit: its answer, when it is on the disk. What it raises changes nothing, for it and for others."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._enqueue(work, answer)
        return await answer

    def post(self, work: Work[object]) -> None:
        """A write that nobody waits for: on the disk with, or before, every write that is asked for after it."""
        self._enqueue(work, None)

    def _enqueue(self, work: Work[Any], answer: asyncio.Future[Any] | None) -> None:
        self._waiting.append((work, answer))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            outcomes = await self._outcomes([work for work, _ in batch])
            try:
                self._tell()
            finally:
                for (_, answer), outcome in zip(batch, outcomes, strict=True):
                    _settle(answer, outcome)

    async def _outcomes(self, works: list[Work[Any]]) -> list[Any]:
        """The statements run here: in a thread, each would have to win the interpreter back from a busy event loop. The fsync does not."""
        try:
            now = self.clock.now()
            if self._thread is None:
                return self._commit(works, now)
            loop, outcomes = asyncio.get_running_loop(), self._attempt_all(works, now, wait=False)
            if outcomes is None:  # another process is writing: it is waited for in the thread
                return await loop.run_in_executor(self._thread, self._commit, works, now)
            await loop.run_in_executor(self._thread, self._finish)
        except StoreError as error:
            return [_Raised(error)] * len(works)
        return outcomes

    def _commit(self, works: list[Work[Any]], now: datetime) -> list[Any]:
        """The answer or the error of each, after one fsync for all. StoreUnavailableError: nothing of it was written."""
        outcomes = self._attempt_all(works, now, wait=True)
        assert outcomes is not None
        self._finish()
        return outcomes

    def _attempt_all(self, works: list[Work[Any]], now: datetime, *, wait: bool) -> list[Any] | None:
        """Within a transaction that `_finish` ends, and the lock with it. None where another process is writing, and not waited for."""
        self._lock.acquire()
        try:
            with _as_store_error():
                if not self._begin(wait):
                    self._lock.release()
                    return None
                return [self._attempt(work, Transaction(self._writer, now)) for work in works]
        except BaseException:
            self._give_up()
            raise

    def _begin(self, wait: bool) -> bool:
        self._writer.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000) if wait else 0}")
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if wait or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    def _finish(self) -> None:
        try:
            with _as_store_error():
                self._writer.execute("COMMIT")
        except BaseException:
            self._give_up()
            raise
        self._lock.release()

    def _give_up(self) -> None:
        with suppress(sqlite3.Error):
            self._writer.rollback()
        self._lock.release()

    def _attempt(self, work: Work[Any], transaction: Transaction) -> Any:  # noqa: ANN401 - an answer, or its error
        self._writer.execute("SAVEPOINT one")
        try:
            answer = work(transaction)
        except (sqlite3.Error, StoreUnavailableError):
            raise  # the file's trouble is everybody's
        except Exception as error:  # noqa: BLE001 - goes to whoever asked for this write; the others of the commit have no part in it
            self._writer.execute("ROLLBACK TO one")
            answer = _Raised(error)
        self._writer.execute("RELEASE one")
        return answer

    def _tell(self) -> None:
        for listener in tuple(self.committed):
            listener()

    @contextmanager
    def snapshot(self) -> Iterator[View]:
        """Several reads of one moment."""
        with _as_store_error():
            self._reader.execute("BEGIN")
            try:
                yield self.view
            finally:
                self._reader.execute("COMMIT")

    def data_version(self) -> int:
        """Another number whenever somebody else, of this or another process, committed. Costs microseconds."""
        number: int = self.view.rows("PRAGMA data_version")[0][0]
        return number

    def close(self) -> None:
        """What was acknowledged is on the disk already."""
        if self._thread is not None:
            self._thread.shutdown()
        self._reader.close()
        self._writer.close()


class _Raised:
    """What a write raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _settle(answer: asyncio.Future[Any] | None, outcome: object) -> None:
    if answer is None:
        if isinstance(outcome, _Raised):
            log.warning("a write that nobody waits for was lost: %s", outcome.error)
    elif answer.done():  # its caller was cancelled
        return
    elif isinstance(outcome, _Raised):
        answer.set_exception(outcome.error)
    else:
        answer.set_result(outcome)


@contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:  # its text names tables and conditions, never values
        raise StoreUnavailableError(f"the database: {error}") from None


def _open(folder: Path | None) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The connection that writes and the one that reads: in memory they are one, and nothing is ever half done between two calls."""
    if folder is None:
        connection = _connect(":memory:")
        return connection, connection
    _claim(folder)
    return _connect(str(folder / FILE)), _connect(str(folder / FILE))


def _claim(folder: Path) -> None:
    """The folder and the file, for this user only. An open folder that holds something else is left alone: StoreError."""
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise StoreError(f"{folder} belongs to another user; hint: give a folder of your own")
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            if any(folder.iterdir()) and not path.exists():
                raise StoreError(f"{folder} is open to other users and holds other files; hint: give a folder of its own, mode 0700")
            folder.chmod(0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"{folder} cannot hold the state: {error.strerror}; hint: give a folder of your own with --state") from None


def _connect(where: str) -> sqlite3.Connection:
    with _as_store_error():
        # Python's own locking is not needed: who writes holds a lock, and who reads is the event loop.
        connection = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{where} cannot be opened ({error}); hint: is the disk full, or is it another program's file?") from None
    return connection


def _prepare(transaction: Transaction) -> None:
    """Tables and constant facts, where they are not there; and old deletions are forgotten."""
    (version,) = transaction.rows("PRAGMA user_version")[0]
    if version > VERSION:
        raise StoreError(f"the state was written by a later version of Keystead (form {version}, this one knows {VERSION})")
    for statement in filter(str.strip, _FORM.split(";")):
        transaction.execute(statement)
    transaction.execute(f"PRAGMA user_version = {VERSION}")
    for kind in Kind:
        transaction.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", f"crd/{kind}", str(uuid.uuid4()))
    old = transaction.fact("rv") - REMEMBERED
    if transaction.execute("DELETE FROM gone WHERE rv <= ?", old):
        transaction.set_fact("floor", old)

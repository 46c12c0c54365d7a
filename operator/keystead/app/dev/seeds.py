"""Seeds of `keystead dev`: their files read, held against the records, applied, and waited for. Called by app/dev/main.py.

All or nothing where it can be told before: every manifest is read and admitted before the token is opened, and every id is held against
the records before the first object is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from keystead.dev.documents import MAX_BYTES
from keystead.dev.seeds import KINDS, SeedDocument, Seeds, read_seeds
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.imported import imported_id
from keystead.engine.record import KeyRecord
from keystead.errors import InvalidSpecError, KeysteadError, RefusedError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.conditions import stalled_of
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState
from keystead.store.model import RecordModel
from keystead.store.sqlite.admission import admitted
from keystead.store.sqlite.changes import Changes, ObjectChange
from keystead.store.sqlite.store import SqliteStore

log = logging.getLogger(__name__)
DEADLINE: Final = 30.0
"""Seconds for all seeds to be carried out. A key takes milliseconds, one of RSA_4096 some seconds."""
_SECOND_LOOK: Final = 2.0
"""Seconds in which an object that was stalled when the process began may come out of it."""


def load_seeds(paths: Iterable[Path]) -> Seeds:
    """Read and admitted. InvalidSpecError names file, document and field."""
    seeds = read_seeds((str(path), _content(path)) for path in paths)
    for document in seeds.documents:
        try:
            admitted(document.manifest)
        except RefusedError as error:
            raise InvalidSpecError(document.where, str(error)) from None
    return seeds


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidSpecError("--seed", f"{path}: {error.strerror}") from None


async def plant(seeds: Seeds, store: SqliteStore, model: RecordModel, seconds: float = DEADLINE) -> None:
    """Apply all and wait until each is carried out. The workers run meanwhile. InvalidSpecError names the one that cannot be.

    In a folder that has lived, an alias or grant may not fit what the API did since (its key is pending deletion, its name is another
    key's): that is said, and the rest is served. A folder must start with its seed.
    """
    lived = any(model.key_named(document.ref.namespace, document.ref.name) for document in seeds.documents if document.ref.kind is Kind.KEY)
    for document in seeds.documents:
        check_recorded(document, model)
    for namespace in sorted(seeds.namespaces):
        await store.objects.ensure_namespace(namespace)
    end = asyncio.get_running_loop().time() + seconds
    for kind in KINDS:
        planting = Planting([document for document in seeds.documents if document.ref.kind is kind])
        store.changes.subscribe(planting.told)
        try:
            await planting.apply(store)
            if lived and kind is not Kind.KEY:
                await _wait_leniently(planting, min(end, asyncio.get_running_loop().time() + _SECOND_LOOK))
            else:
                await planting.wait(end)
        finally:
            store.changes.unsubscribe(planting.told)


# None: it waits for its key.
_LEFT: Final = (None, Reason.ALIAS_TAKEN, Reason.KEY_DESTROYED)


async def _wait_leniently(planting: Planting, end: float) -> None:
    while True:
        try:
            await planting.wait(end)
        except KeysteadError as error:
            if planting.stalled_for() not in _LEFT:
                raise
            log.warning("a seed does not fit what was done since, and is left: %s", error)
            if not planting.leave():
                return
        else:
            return


def check_recorded(document: SeedDocument, model: RecordModel) -> None:
    """A key that is there keeps its id and its material. InvalidSpecError where the seed gives another, or another key's."""
    seed, ref = document.seed, document.ref
    if seed is None:
        return
    record = model.key_named(ref.namespace, ref.name)
    if record is None:
        other = None if seed.key_id is None else model.by_id(key_id_bytes(seed.key_id))
        if other is not None:
            raise _other(document, "keyId", f"{seed.key_id} is the id of KmsKey {other.namespace}/{other.name} already")
        return
    if seed.key_id is not None and seed.key_id != record.key_id:
        raise _other(document, "keyId", f"{seed.key_id}: {ref} has the key id {record.key_id} already")
    if not _same_material(document, record):
        raise _other(document, "material", f"{ref} ({record.key_id}) was made with other material")


def _other(document: SeedDocument, member: str, message: str) -> InvalidSpecError:
    return InvalidSpecError(f"{document.where}: seed.{member}", f"{message}; take another --state, or the seed that it was made with")


def _same_material(document: SeedDocument, record: KeyRecord) -> bool:
    """Of HMAC keys nobody can tell: their ids are random. Of another spec, admission tells."""
    seed = document.seed
    spec = document.manifest["spec"].get("keySpec", "SYMMETRIC_DEFAULT")
    if seed is None or seed.material is None or spec != record.spec or record.state is KeyState.DESTROYED:
        return True
    found = imported_id(record.spec, key_id_bytes(record.key_id), seed.material)
    return found is None or found.hex() == record.versions[0].material_id


class Planting:
    """The documents of one kind. `told` is subscribed to the changes."""

    def __init__(self, documents: Iterable[SeedDocument]) -> None:
        self._waiting = {document.ref: document for document in documents}
        self._seen: dict[ObjectRef, dict[str, Any]] = {}
        self._stalled: ObjectRef | None = None
        self._stalled_before: set[ObjectRef] = set()
        self._bell = asyncio.Event()

    async def apply(self, store: SqliteStore) -> None:
        """Write them. InvalidSpecError where admission refuses a change of what is there."""
        for document in tuple(self._waiting.values()):
            try:
                await store.writer.apply(document.manifest)
            except RefusedError as error:
                raise InvalidSpecError(document.where, str(error)) from None
            found = await store.objects.get(document.ref)
            if found is not None and _carried_out(found):
                self._waiting.pop(document.ref, None)
        self._bell.set()

    def told(self, changes: Changes) -> None:
        """A status. One from before this process may be stalled for a reason that has gone: it is given a second look."""
        for change in changes.changes:
            if not isinstance(change, ObjectChange) or change.ref not in self._waiting or change.body is None:
                continue
            self._seen[change.ref] = change.body
            if changes.whole:
                self._stalled_before |= {change.ref} if stalled_of(change.body) else set()
                continue
            self._stalled_before.discard(change.ref)
            if _carried_out(change.body):
                del self._waiting[change.ref]
            elif stalled_of(change.body):
                self._stalled = change.ref
            self._bell.set()

    async def wait(self, end: float) -> None:
        """Until none is waited for. InvalidSpecError: one is stalled. KeysteadError: the time is over."""
        while self._waiting and self._stalled is None:
            self._bell.clear()
            left = max(0.0, end - asyncio.get_running_loop().time())
            if self._waiting.keys() <= self._stalled_before:
                left = min(left, _SECOND_LOOK)
            try:
                await asyncio.wait_for(self._bell.wait(), left)
            except TimeoutError:
                break
        if self._stalled is not None or self._waiting:
            raise self._error()

    def stalled_for(self) -> str | None:
        """The reason of the one of the last error; None: it waits for something."""
        stalled = stalled_of(self._seen.get(self._stalled or next(iter(self._waiting)), {"metadata": {}}))
        return None if stalled is None else stalled[0]

    def leave(self) -> bool:
        """Wait no longer for the one of the last error; whether others are left."""
        self._waiting.pop(self._stalled or next(iter(self._waiting)), None)
        self._stalled = None
        return bool(self._waiting)

    def _error(self) -> KeysteadError:
        ref = self._stalled or next(iter(self._waiting))
        body, where = self._seen.get(ref, {}), self._waiting[ref].where
        stalled = stalled_of(body) if body else None
        if stalled is not None:
            return InvalidSpecError(where, f"{ref} cannot be carried out: {stalled[0]}: {stalled[1]}")
        ready = _condition(body, "Ready")
        why = f"{ready['reason']}: {ready.get('message', '')}" if ready else "no status yet"
        return KeysteadError(f"{where}: {ref} was not ready in time ({len(self._waiting)} are waited for): {why}")


def _condition(body: dict[str, Any], kind: str) -> dict[str, Any] | None:
    conditions = (body.get("status") or {}).get("conditions", ())
    return next((condition for condition in conditions if condition["type"] == kind), None)


def _carried_out(body: dict[str, Any]) -> bool:
    """Ready for the spec as it is now, or suspended, which is Unknown and stays so."""
    ready = _condition(body, "Ready")
    if ready is None or ready.get("observedGeneration") != body["metadata"]["generation"]:
        return False
    return ready["status"] in ("True", "Unknown")

"""Key records that lie under `orphan-<id>`: set aside, held by no object. The one thing that still happens to them is the end of a window
that ran already.

Their place in the queue is an ObjectRef of no namespace whose name is the record's.
"""

from __future__ import annotations

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import RecordKind, key_id_bytes, orphan_name, record_name
from keystead.engine.plan.key_life import tombstone
from keystead.engine.record import KeyRecord
from keystead.errors import KeysteadError
from keystead.reconciler.context import Context
from keystead.reconciler.outcome import Outcome, obstacle_of, spread
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.workers import Reconciler
from keystead.resources.vocabulary import KeyState


def aside_ref(record_name: str) -> ObjectRef:
    """The place in the queue of a record that was set aside."""
    return ObjectRef(Kind.KEY, "", record_name)


class KeysAndAside:
    """`reconcile` of keys: by object, or by the record's name where it was set aside."""

    def __init__(self, context: Context, keys: Reconciler) -> None:
        self._context = context
        self._keys = keys

    async def reconcile(self, ref: ObjectRef) -> Outcome:
        """One key."""
        return await (self._keys.reconcile(ref) if ref.namespace else self._end(ref))

    async def _end(self, ref: ObjectRef) -> Outcome:
        context = self._context
        try:
            engine = context.engine()
            held = await context.book.read(engine.domain, ref.name, KeyRecord)
        except KeysteadError as error:
            if obstacle_of(error) is None:
                raise
            return Outcome(spread(ref, context.refresh_period), failed=True)
        if held is None or held.record.state is not KeyState.PENDING_DELETION or held.record.deletion_date is UNSET:
            return Outcome(None)
        if await _is_a_copy(context, held.record):
            return Outcome(spread(ref, context.refresh_period))
        key_id, end, now = held.record.key_id, parse_time(held.record.deletion_date), context.clock.now()
        if not context.windows.over(key_id, end, now):
            look = context.windows.next_look(key_id, end, now)
            later = spread(ref, context.refresh_period)
            return Outcome(later if look is None else min((look - now).total_seconds() + 0.05, later))
        await context.book.replace(engine.domain, RecordKind.KEY, held, tombstone(held.record, now))
        engine.forget(key_id_bytes(key_id))
        context.windows.forget(key_id)
        return Outcome(None)


async def _is_a_copy(context: Context, record: KeyRecord) -> bool:
    """Whether the key still has its name: the move was broken off, and what happens to the key is decided there."""
    name = record_name(RecordKind.KEY, record.namespace, record.name)
    held = await context.book.read(context.engine().domain, name, KeyRecord)
    return held is not None and held.record.key_id == record.key_id and held.record.state is not KeyState.DESTROYED


async def end_copy(context: Context, key_id: str) -> None:
    """The copy that a move which was broken off left of a key: its material ends with the key's, and before it."""
    domain = context.engine().domain
    held = await context.book.read(domain, orphan_name(key_id), KeyRecord)
    if held is not None and held.record.state is not KeyState.DESTROYED:
        await context.book.replace(domain, RecordKind.KEY, held, tombstone(held.record, context.clock.now()))

"""Key records that lie under `orphan-<id>`: set aside, held by no object. The one thing that still happens to them is the end of a window
that ran already.

Their place in the queue is an ObjectRef of no namespace whose name is the record's.
"""

from __future__ import annotations

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import RecordKind, key_id_bytes
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
        key_id, end, now = held.record.key_id, parse_time(held.record.deletion_date), context.clock.now()
        if not context.windows.over(key_id, end, now):
            later = (context.windows.next_look(key_id, end, now) - now).total_seconds()
            return Outcome(min(later + 0.05, spread(ref, context.refresh_period)))
        await context.book.replace(engine.domain, RecordKind.KEY, held, tombstone(held.record, now))
        engine.forget(key_id_bytes(key_id))
        context.windows.forget(key_id)
        return Outcome(None)

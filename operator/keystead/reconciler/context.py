"""What one reconcile works with: ports, the record book, and a few settings. Made once by app."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keystead.engine.bounds import KEYS_PER_NAMESPACE
from keystead.errors import InvalidSpecError
from keystead.reconciler.book import RecordBook
from keystead.reconciler.ports import Clock, Engine, Index, Leadership, ObjectRef, Objects, Secrets, Seed
from keystead.reconciler.windows import Windows
from keystead.resources.conditions import kstatus, merge_conditions
from keystead.resources.model import to_wire
from keystead.resources.reasons import Reason
from keystead.resources.status import CommonStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`engine()` answers the open token, or raises HsmAuthError or HsmUnavailableError. `entropy(n)`: n random bytes.

    `announce` is told of each status before it is written (feed.will_write). `seeds`: what is given of a key that is to be made.
    `strict_policies`: a key whose spec says no policy is born with the strict one.
    """

    book: RecordBook
    index: Index
    windows: Windows
    objects: Objects
    secrets: Secrets
    leadership: Leadership
    clock: Clock
    engine: Callable[[], Engine]
    entropy: Callable[[int], bytes]
    announce: Callable[[ObjectRef, Mapping[str, Any]], None]
    region: str
    refresh_period: float
    seeds: Callable[[ObjectRef], Seed | None]
    keys_per_namespace: int = KEYS_PER_NAMESPACE
    strict_policies: bool = False

    async def write_status(self, ref: ObjectRef, uid: str, status: Mapping[str, Any]) -> None:
        """Announce and apply a status. FencedError while not leading."""
        self.leadership.check()
        self.announce(ref, status)
        await self.objects.apply_status(ref, uid, dict(status))

    async def show_invalid(self, ref: ObjectRef, body: Mapping[str, Any], error: InvalidSpecError) -> None:
        """An object that cannot even be parsed (made before a CRD change): only its conditions are touched."""
        metadata = body["metadata"]
        generation = metadata.get("generation", 0)
        conditions = kstatus(Reason.INVALID_SPEC, str(error), generation=generation, now=self.clock.now())
        status = CommonStatus(observed_generation=generation, conditions=merge_conditions((), conditions))
        await self.write_status(ref, metadata["uid"], to_wire(status))

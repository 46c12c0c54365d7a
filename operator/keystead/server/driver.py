"""Runs an operation: at once as long as facts are known, else as a coroutine that awaits what its effects ask for.

Called by the door, one call a request. What an effect is: operations/effects.py. Every wait ends, and fails closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Final, Protocol, TypeVar

from keystead.engine.ports import Capabilities, Domain, FastLane, SlowCall, SlowResult
from keystead.errors import (
    AlreadyExistsError,
    DependencyTimeoutError,
    InvalidStateError,
    KeysteadError,
    KmsError,
    KmsInternalError,
    LimitExceededError,
    StoreError,
    ThrottlingError,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.operations.effects import Await, Change, Effect, Home, Need, Probe, Running, Slow
from keystead.operations.writes import CreateObject, Write
from keystead.policy import SubjectAccessReview
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, ObjectKind, Protection

T = TypeVar("T")
# AWS.md, Read your writes (2).
AWAIT_SECONDS: Final = 0.25
MAX_WAITERS: Final = 8
# AWS.md, Creates are idempotent.
CHANGE_SECONDS: Final = 8.0
# AWS.md, Read your writes (3).
SIBLING_SECONDS: Final = 2.0
# A change that shows within this time was not refused: only then is the object's status asked.
_ASK_SECONDS: Final = 1.0
_LATE: Final = "The change was accepted and has not taken effect yet. Try the call again."


class Facts(Protocol):
    """What only the API server knows, remembered for seconds (server/facts.py)."""

    def known(self, review: SubjectAccessReview) -> bool | None: ...
    async def ask(self, review: SubjectAccessReview) -> bool: ...
    def known_namespace(self, namespace: str) -> str | None: ...
    async def namespace(self, namespace: str) -> str | None: ...


class Waiting(Protocol):
    """The read model (store/model.py)."""

    async def until(self, ready: Callable[[], T | None], seconds: float) -> T | None: ...


class Writer(Protocol):
    """Carries out a write of intent (store/). `stalled`: reason and message where the operator refuses the object as it is."""

    async def write(self, write: Write) -> None: ...
    async def stalled(self, kind: ObjectKind, namespace: str, name: str) -> tuple[str, str] | None: ...


class Engine(Protocol):
    """The open token."""

    @property
    def domain(self) -> Domain: ...
    @property
    def fast(self) -> FastLane: ...
    @property
    def capabilities(self) -> Capabilities: ...
    async def slow(self, call: SlowCall) -> SlowResult: ...
    async def protection(self, spec: KeySpec) -> Protection | None: ...


class Siblings(Protocol):
    """The other workers of this Pod."""

    async def confirm(self, seconds: float) -> bool:
        """Whether all of them have seen what this worker has seen, in time."""


REFUSED: Final[Mapping[str, Callable[[str], KmsError]]] = {
    Reason.ALIAS_TAKEN: AlreadyExistsError,
    Reason.QUOTA_EXCEEDED: LimitExceededError,
    Reason.KEY_SPEC_UNSUPPORTED: UnsupportedOperationError,
    Reason.INVALID_SPEC: ValidationError,
    Reason.ADOPTION_REQUIRED: InvalidStateError,
    Reason.KEY_DESTROYED: InvalidStateError,
    Reason.SUSPENDED: InvalidStateError,
    Reason.HELD: InvalidStateError,
}
"""Reason of Stalled=True -> the answer. What is not here is a fault that people must look at: KMSInternalException, told in the log."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One a worker."""

    facts: Facts
    model: Waiting
    writer: Writer
    engine: Callable[[], Engine]
    siblings: Siblings
    waiters: Counter[str]

    def run(self, running: Running[T]) -> T | CoroutineType[Any, Any, T]:
        """The answer, or a coroutine of it. KmsError where the operation refuses."""
        try:
            effect = next(running)
            while True:
                known: bool | str | None = None
                if isinstance(effect, Need):
                    known = self.facts.known(effect.review)
                elif isinstance(effect, Home):
                    known = self.facts.known_namespace(effect.namespace)
                if known is None:
                    break
                effect = running.send(known)
        except StopIteration as stop:
            answer: T = stop.value
            return answer
        return self._finish(running, effect)  # type: ignore[return-value]  # what `async def` makes is a CoroutineType

    async def _finish(self, running: Running[T], effect: Effect) -> T:
        try:
            while True:
                try:
                    result = await self._answer(effect)
                except KeysteadError as error:
                    effect = running.throw(error)
                else:
                    effect = running.send(result)
        except StopIteration as stop:
            answer: T = stop.value
            return answer

    async def _answer(self, effect: Effect) -> Any:  # noqa: ANN401 - each effect has its own answer
        match effect:
            case Need(review):
                return await self.facts.ask(review)
            case Home(namespace):
                return await self.facts.namespace(namespace)
            case Slow(call):
                return await self.engine().slow(call)
            case Probe(spec):
                return await self.engine().protection(spec)
            case Await(ready, by):
                return await self._wait(ready, by)
            case Change():
                return await self._change(effect)

    async def _wait(self, ready: Callable[[], bool], by: str) -> None:
        if self.waiters[by] >= MAX_WAITERS:
            raise ThrottlingError
        self.waiters[by] += 1
        try:
            await self.model.until(lambda: True if ready() else None, AWAIT_SECONDS)
        finally:
            self.waiters[by] -= 1
            if not self.waiters[by]:
                del self.waiters[by]

    async def _change(self, change: Change) -> object:
        await self.writer.write(change.write)
        shown = await self.model.until(change.done, _ASK_SECONDS)
        if shown is None:
            await self._check_refused(change.write)
            shown = await self.model.until(change.done, CHANGE_SECONDS - _ASK_SECONDS)
        if shown is None:
            await self._check_refused(change.write)
            raise DependencyTimeoutError(_LATE)
        if change.narrows and not await self.siblings.confirm(SIBLING_SECONDS):
            raise DependencyTimeoutError(_LATE)
        return shown

    async def _check_refused(self, write: Write) -> None:
        """The operator says of the object why it will not be: an answer now, instead of a time-out that is tried again.

        The change was written: where this cannot be asked, it is waited for all the same.
        """
        where = write if isinstance(write, CreateObject) else write.target
        try:
            said = await self.writer.stalled(where.kind, where.namespace, where.name)
        except StoreError:
            return
        if said is not None:
            raise refused(*said)


def refused(reason: str, message: str) -> KmsError:
    """The answer for a condition Stalled=True of this reason."""
    make = REFUSED.get(reason)
    if make is None:
        error = KmsInternalError("The key's object is stalled. Its conditions tell people with access to it why.")
        error.add_note(f"{reason}: {message}")
        return error
    return make(message)

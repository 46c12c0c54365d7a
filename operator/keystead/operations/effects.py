"""What an operation asks of its driver, as values (sans-I/O). An operation is a generator that yields them.

    Need(review)         answered with True (RBAC allows) or anything else (it does not)
    Home(namespace)      answered with the uid of the live namespace of this name, None: there is none
    Slow(call)           answered with the SlowCall's result, or by throwing the HsmError into the generator
    Probe(spec)          answered with the protection that the key store can give a key spec, None: unsupported
    Await(ready)         answered when `ready()` holds, or after 250 ms; ThrottlingError for one caller's ninth at once
    Change(write, done)  a custom resource is written; answered with `done()` as soon as it is not None (the read model shows the
                         effect), or DependencyTimeoutError after 8 s: the object stays, and a retry finds it

`drive` runs one to its end synchronously, for the CLI and for tests; the server has a driver that awaits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from keystead.engine.ports import SlowCall, SlowResult
from keystead.errors import KeysteadError, KmsInternalError
from keystead.operations.writes import Write
from keystead.policy import SubjectAccessReview
from keystead.resources.vocabulary import KeySpec


@dataclass(frozen=True, slots=True)
class Need:
    """A fact that only the API server knows."""

    review: SubjectAccessReview


@dataclass(frozen=True, slots=True)
class Home:
    """Which namespace of this name lives now? Asked about the namespace of another account's key, once that key consents."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Slow:
    """A token call that must not run in the event loop."""

    call: SlowCall


@dataclass(frozen=True, slots=True)
class Probe:
    """Can the key store make keys of this spec? A first answer takes a probe in a slow lane."""

    spec: KeySpec


@dataclass(frozen=True, slots=True)
class Await:
    """A name is not in the read model: another replica may have just made it (AWS.md, Read your writes). `by`: who waits."""

    ready: Callable[[], bool]
    by: str


@dataclass(frozen=True, slots=True)
class Change:
    """A write of intent, and what shows in the read model that the operator carried it out.

    narrows: it takes something away (Disable, Revoke, ...): the answer waits for the sibling workers too
    """

    write: Write
    done: Callable[[], object | None]
    narrows: bool = False


Effect: TypeAlias = Need | Home | Slow | Probe | Await | Change
Answer = TypeVar("Answer")
Running: TypeAlias = Generator[Effect, Any, Answer]
Facts: TypeAlias = Callable[[SubjectAccessReview], bool]
SlowRunner: TypeAlias = Callable[[SlowCall], SlowResult]
AsyncFacts: TypeAlias = Callable[[SubjectAccessReview], Awaitable[bool]]
AsyncSlowRunner: TypeAlias = Callable[[SlowCall], Awaitable[SlowResult]]


def _answer(effect: Effect, facts: Callable[[SubjectAccessReview], Any], slow: Callable[[SlowCall], Any]) -> Any:  # noqa: ANN401
    """Of those who look at a snapshot: waiting shows nothing new, and they never run an operation that changes something."""
    match effect:
        case Need(review):
            return facts(review)
        case Slow(call):
            return slow(call)
        case Await() | Home():  # a snapshot has the namespaces: of one that it does not know there is none
            return None
        case Probe() | Change():
            raise KmsInternalError("this front door changes nothing")


def drive(running: Running[Answer], facts: Facts, slow: SlowRunner) -> Answer:
    """Run an operation to its answer, or to its KmsError."""
    try:
        effect = next(running)
        while True:
            try:
                result = _answer(effect, facts, slow)
            except KeysteadError as error:
                effect = running.throw(error)
            else:
                effect = running.send(result)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer


async def drive_async(running: Running[Answer], facts: AsyncFacts, slow: AsyncSlowRunner) -> Answer:
    """`drive` for those who must not wait in the thread: the controller, the CLI in a cluster, the server."""
    try:
        effect = next(running)
        while True:
            try:
                waiting = _answer(effect, facts, slow)
                result = None if waiting is None else await waiting
            except KeysteadError as error:
                effect = running.throw(error)
            else:
                effect = running.send(result)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer

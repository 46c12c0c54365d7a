"""What an operation asks of its driver, as values (sans-I/O). An operation is a generator that yields them.

    Need(review)   answered with True (RBAC allows) or anything else (it does not)
    Slow(call)     answered with the SlowCall's result, or by throwing the HsmError into the generator

`drive` runs one to its end synchronously, for the CLI and for tests; the server has a driver that awaits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from keystead.engine.ports import SlowCall, SlowResult
from keystead.errors import KeysteadError
from keystead.policy import SubjectAccessReview


@dataclass(frozen=True, slots=True)
class Need:
    """A fact that only the API server knows."""

    review: SubjectAccessReview


@dataclass(frozen=True, slots=True)
class Slow:
    """A token call that must not run in the event loop."""

    call: SlowCall


Effect: TypeAlias = Need | Slow
Answer = TypeVar("Answer")
Running: TypeAlias = Generator[Effect, Any, Answer]
Facts: TypeAlias = Callable[[SubjectAccessReview], bool]
SlowRunner: TypeAlias = Callable[[SlowCall], SlowResult]
AsyncFacts: TypeAlias = Callable[[SubjectAccessReview], Awaitable[bool]]
AsyncSlowRunner: TypeAlias = Callable[[SlowCall], Awaitable[SlowResult]]


def drive(running: Running[Answer], facts: Facts, slow: SlowRunner) -> Answer:
    """Run an operation to its answer, or to its KmsError."""
    try:
        effect = next(running)
        while True:
            try:
                result = facts(effect.review) if isinstance(effect, Need) else slow(effect.call)
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
                result = await (facts(effect.review) if isinstance(effect, Need) else slow(effect.call))
            except KeysteadError as error:
                effect = running.throw(error)
            else:
                effect = running.send(result)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer

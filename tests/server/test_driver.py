"""The driver of effects: every wait ends, fails closed, and leaves nothing counted behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any

import pytest

from keystead.errors import (
    AlreadyExistsError,
    DependencyTimeoutError,
    DisabledError,
    HsmUnavailableError,
    InvalidStateError,
    KeysteadError,
    KmsInternalError,
    StoreUnavailableError,
    ThrottlingError,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.operations.effects import Await, Change, Effect, Home, Need, Probe, Slow
from keystead.operations.faults import public_error
from keystead.operations.writes import Annotate, CreateObject, Target, Write
from keystead.policy import SubjectAccessReview
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, ObjectKind, Protection
from keystead.server.driver import AWAIT_SECONDS, CHANGE_SECONDS, MAX_WAITERS, SIBLING_SECONDS, Driver, refused

REVIEW = SubjectAccessReview("user", "uid", (), "decrypt", "team-a", "key-1")
WRITE = CreateObject(ObjectKind.KEY, "team-a", "key-1", {})
PATCH = Annotate(Target(ObjectKind.KEY, "team-a", "key-2", "uid-2"), {})


@dataclass
class Parts:
    """All ports of a driver. `shown`: when the change shows, in seconds. What was waited for is in `waits`, never really waited."""

    review: bool | None = True
    shown: float | None = 0.0
    said: tuple[str, str] | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    siblings_confirm: bool = True
    passed: float = 0.0
    waits: list[float] = field(default_factory=list)
    did: list[Any] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def driver(self) -> Driver:
        return Driver(facts=self, model=self, writer=self, engine=lambda: self, siblings=self, waiters=Counter())  # type: ignore[arg-type,return-value]

    def _do(self, what: str, *about: Any) -> None:
        self.did.append((what, *about))
        if what in self.errors:
            raise self.errors[what]

    def known(self, _review: SubjectAccessReview) -> bool | None:
        return self.review

    async def ask(self, _review: SubjectAccessReview) -> bool:
        self._do("ask")
        return True

    def known_namespace(self, namespace: str) -> str | None:
        return None if self.review is None else f"uid of {namespace}"

    async def namespace(self, namespace: str) -> str | None:
        self._do("namespace", namespace)
        return None

    async def until(self, ready: Callable[[], Any], seconds: float) -> Any:
        self.waits.append(seconds)
        if self.gate is not None:
            await self.gate.wait()
        if self.shown is None or self.shown > self.passed + seconds:
            self.passed += seconds
            return None
        return ready()

    async def write(self, write: Write) -> None:
        self._do("write", write)

    async def stalled(self, kind: ObjectKind, namespace: str, name: str) -> tuple[str, str] | None:
        self._do("stalled", kind, namespace, name)
        return self.said

    async def slow(self, call: object) -> Any:
        self._do("slow", call)
        return b"slow"

    async def protection(self, spec: KeySpec) -> Protection:
        self._do("probe", spec)
        return Protection.TOKEN

    async def confirm(self, seconds: float) -> bool:
        self._do("confirm", seconds)
        return self.siblings_confirm


def asking(*effects: Effect) -> Generator[Effect, Any, Any]:
    """An operation that answers with what it was told."""
    answers = []
    for effect in effects:
        answers.append((yield effect))
    return answers


async def run(parts: Parts, *effects: Effect) -> Any:
    coming = parts.driver().run(asking(*effects))
    return await coming if isinstance(coming, CoroutineType) else coming


def change(narrows: bool = False, write: Write = WRITE) -> Change:
    return Change(write, lambda: "shown", narrows=narrows)


def test_known_facts_are_answered_without_a_coroutine() -> None:
    assert Parts(review=False).driver().run(asking(Need(REVIEW), Need(REVIEW))) == [False, False]


async def test_a_fact_that_is_not_known_is_asked_for() -> None:
    parts = Parts(review=None)
    assert await run(parts, Need(REVIEW)) == [True]
    assert parts.did == [("ask",)]


def test_a_namespace_that_is_known_is_answered_without_a_coroutine() -> None:
    assert Parts(review=True).driver().run(asking(Need(REVIEW), Home("team-c"))) == [True, "uid of team-c"]


async def test_a_namespace_that_is_not_known_is_asked_for() -> None:
    parts = Parts(review=None)
    assert await run(parts, Need(REVIEW), Home("team-c")) == [True, None]
    assert parts.did == [("ask",), ("namespace", "team-c")]


async def test_token_and_probe_are_asked() -> None:
    assert await run(Parts(), Slow(b"call"), Probe(KeySpec.RSA_2048)) == [b"slow", Protection.TOKEN]  # type: ignore[arg-type]


async def test_an_error_of_ours_is_the_operations_to_judge_and_any_other_ends_it() -> None:
    def judging() -> Generator[Effect, Any, str]:
        try:
            yield Slow(b"call")  # type: ignore[arg-type]
        except HsmUnavailableError:
            return "judged"
        return "?"

    coming = Parts(errors={"slow": HsmUnavailableError("away")}).driver().run(judging())
    assert isinstance(coming, CoroutineType)
    assert await coming == "judged"
    coming = Parts(errors={"slow": OSError("defect")}).driver().run(judging())
    assert isinstance(coming, CoroutineType)
    with pytest.raises(OSError, match="defect"):
        await coming


async def test_a_refusal_after_a_wait_is_raised() -> None:
    def refusing() -> Generator[Effect, Any, None]:
        yield Await(lambda: False, "p")
        raise DisabledError("no")

    coming = Parts().driver().run(refusing())
    assert isinstance(coming, CoroutineType)
    with pytest.raises(DisabledError):
        await coming


async def test_a_missing_name_is_waited_for_250_ms() -> None:
    parts = Parts(shown=None)
    assert await run(parts, Await(lambda: False, "p")) == [None]
    assert parts.waits == [AWAIT_SECONDS] == [0.25]


async def test_one_callers_ninth_wait_at_once_is_throttled_and_no_other_callers() -> None:
    parts = Parts(gate=asyncio.Event())
    driver = parts.driver()
    assert parts.gate is not None

    def waiting(by: str) -> asyncio.Task[Any]:
        coming = driver.run(asking(Await(lambda: True, by)))
        assert isinstance(coming, CoroutineType)
        return asyncio.create_task(coming)

    first = [waiting("p") for _ in range(MAX_WAITERS)]
    await asyncio.sleep(0)
    with pytest.raises(ThrottlingError, match="exceeded the rate"):
        await asyncio.wait_for(waiting("p"), 1)
    other = waiting("q")
    first.pop().cancel()
    await asyncio.sleep(0)
    another = waiting("p")
    await asyncio.sleep(0)
    assert driver.waiters == {"p": MAX_WAITERS, "q": 1}
    parts.gate.set()
    await asyncio.gather(*first, other, another)
    assert MAX_WAITERS == 8
    assert not driver.waiters  # nothing stays of those who ended, were cancelled or were refused


async def test_a_wait_that_breaks_is_not_counted_any_more() -> None:
    driver = Parts().driver()

    def broken() -> bool:
        raise KmsInternalError("broken")

    coming = driver.run(asking(Await(broken, "p")))
    assert isinstance(coming, CoroutineType)
    with pytest.raises(KmsInternalError):
        await coming
    assert not driver.waiters


async def test_a_change_that_shows_at_once_asks_nobody_else() -> None:
    parts = Parts()
    assert await run(parts, change()) == ["shown"]
    assert parts.did == [("write", WRITE)]


async def test_a_change_that_never_shows_ends_after_eight_seconds_for_a_retry() -> None:
    parts = Parts(shown=None)
    with pytest.raises(DependencyTimeoutError):
        await run(parts, change())
    assert sum(parts.waits) == CHANGE_SECONDS == 8.0


@pytest.mark.parametrize(("write", "name"), [(WRITE, "key-1"), (PATCH, "key-2")])
async def test_what_the_operator_refuses_is_an_answer_after_a_second(write: Write, name: str) -> None:
    parts = Parts(shown=None, said=(Reason.ALIAS_TAKEN, "taken"))
    with pytest.raises(AlreadyExistsError, match="taken"):
        await run(parts, change(write=write))
    assert parts.waits == [1.0]
    assert parts.did[-1] == ("stalled", ObjectKind.KEY, "team-a", name)


async def test_a_look_at_the_conditions_that_fails_does_not_end_the_wait() -> None:
    """The change is written: it may show, and until then 'try again' would be wrong."""
    parts = Parts(shown=3.0, errors={"stalled": StoreUnavailableError("away")})
    assert await run(parts, change()) == ["shown"]
    late = Parts(shown=None, errors={"stalled": StoreUnavailableError("away")})
    with pytest.raises(DependencyTimeoutError):
        await run(late, change())


async def test_a_write_that_fails_is_the_operations_to_judge() -> None:
    with pytest.raises(StoreUnavailableError):
        await run(Parts(errors={"write": StoreUnavailableError("away")}), change())


async def test_only_what_takes_something_away_waits_for_the_siblings() -> None:
    parts = Parts()
    assert await run(parts, change(narrows=True), change(narrows=False)) == ["shown", "shown"]
    assert parts.did.count(("confirm", SIBLING_SECONDS)) == 1


async def test_a_sibling_that_does_not_confirm_is_a_time_out() -> None:
    with pytest.raises(DependencyTimeoutError):
        await run(Parts(siblings_confirm=False), change(narrows=True))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.ALIAS_TAKEN, AlreadyExistsError),
        (Reason.KEY_SPEC_UNSUPPORTED, UnsupportedOperationError),
        (Reason.INVALID_SPEC, ValidationError),
        (Reason.HELD, InvalidStateError),
        ("Unheard", KmsInternalError),
    ],
)
def test_a_reason_has_its_answer(reason: str, kind: type[KeysteadError]) -> None:
    error = refused(reason, "what the condition says")
    assert type(error) is kind
    assert ("what the condition says" in error.message) is (reason != "Unheard")
    assert public_error(error) is error

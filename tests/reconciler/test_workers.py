"""Workers: what becomes of each answer and each error of a reconcile."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.reconciler.fakes import FakeLeadership

from keystead.errors import ConflictError, FencedError, HsmUnavailableError, KeysteadError, StoreUnavailableError
from keystead.reconciler.outcome import OBSTACLES, Outcome, obstacle_of, spread
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue
from keystead.reconciler.workers import Workers
from keystead.resources.reasons import Reason

A, B = (ObjectRef(Kind.KEY, "team-a", name) for name in "ab")
Answer = Outcome | Exception


class Job:
    """A reconciler that answers what it was told to, and an observer of what came of it."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []
        self.results: list[str] = []
        self.queue = WorkQueue()
        self.leadership = FakeLeadership()

    async def reconcile(self, ref: ObjectRef) -> Outcome:
        self.seen.append(ref.name)
        answer = self.answers.pop(0) if self.answers else Outcome(None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reconciled(self, kind: Kind, seconds: float, result: str) -> None:
        assert kind is Kind.KEY
        assert seconds >= 0
        self.results.append(result)

    async def run(self, until: int, seconds: float = 2.0) -> None:
        """Work until so many reconciles ended."""
        workers = Workers(self.queue, {Kind.KEY: self}, self.leadership, self, lambda: -1.5)
        task = asyncio.create_task(workers.run(2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.results) < until and not task.done():
                    await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]


async def test_a_key_with_a_next_time_comes_back_and_one_without_does_not() -> None:
    job = Job(Outcome(0.0), Outcome(None))
    job.queue.add(A, Class.NEW)
    await job.run(3, seconds=0.1)
    assert (job.seen, job.results) == (["a", "a"], ["ok", "ok"])


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Outcome(100.0, failed=True), "obstacle"),
        (ConflictError("first"), "conflict"),
        (StoreUnavailableError("away"), "error"),
        (HsmUnavailableError("away"), "error"),
        (RuntimeError("a bug"), "error"),
    ],
)
async def test_a_failure_is_tried_again_and_stops_nobody(answer: Answer, result: str) -> None:
    job = Job(answer)
    job.queue.add(A, Class.NEW)
    job.queue.add(B, Class.NEW)
    await job.run(3)
    assert sorted(job.seen) == ["a", "a", "b"]
    assert sorted(job.results) == sorted([result, "ok", "ok"])


async def test_the_fence_ends_all_workers() -> None:
    job = Job(FencedError("a newer leader"))
    job.queue.add(A, Class.NEW)
    with pytest.raises(ExceptionGroup) as caught:
        await job.run(1)
    assert caught.group_contains(FencedError)


async def test_without_the_lease_nothing_is_reconciled() -> None:
    job = Job()
    job.leadership.leading = False
    job.queue.add(A, Class.NEW)
    with pytest.raises(ExceptionGroup):
        await job.run(1)
    assert job.seen == []


def test_the_most_specific_row_decides() -> None:
    """A row whose error is a kind of an earlier row's would never be reached."""
    kinds = [kind for kind, _, _ in OBSTACLES]
    for n, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:n])


@pytest.mark.parametrize("error", [StoreUnavailableError("x"), ConflictError("x"), FencedError("x"), KeysteadError("x")])
def test_the_workers_errors_become_no_condition(error: KeysteadError) -> None:
    assert obstacle_of(error) is None


def test_an_error_without_words_is_named() -> None:
    found = obstacle_of(HsmUnavailableError())
    assert found is not None
    assert (found[0].reason, found[0].message) == (Reason.ENGINE_UNAVAILABLE, "HsmUnavailableError")


def test_refreshes_are_spread_and_the_same_at_every_start() -> None:
    delays = [spread(ObjectRef(Kind.KEY, "team-a", f"k{n}"), 100.0) for n in range(200)]
    assert min(delays) >= 80
    assert max(delays) < 120
    assert max(delays) - min(delays) > 30
    assert delays[0] == spread(ObjectRef(Kind.KEY, "team-a", "k0"), 100.0)

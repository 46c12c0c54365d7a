"""The queue: new before refresh, each key once, one worker a key, a backoff of its own."""

from __future__ import annotations

import asyncio

import pytest

from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import BACKOFF_MAX, Class, WorkQueue

A, B, C = (ObjectRef(Kind.KEY, "team-a", name) for name in "abc")
MIDDLE = 0.5  # a jitter that leaves the delay as it is


async def taken(queue: WorkQueue, count: int) -> list[ObjectRef]:
    return [await asyncio.wait_for(queue.get(), 60) for _ in range(count)]


async def nothing_waits(queue: WorkQueue) -> bool:
    await asyncio.sleep(0)
    return queue.depth(Class.NEW) == queue.depth(Class.REFRESH) == 0


async def test_new_ones_come_before_refreshes() -> None:
    queue = WorkQueue()
    queue.add(A, Class.REFRESH)
    queue.add(B, Class.NEW)
    queue.add(C, Class.NEW)
    assert await taken(queue, 3) == [B, C, A]


async def test_refreshes_never_take_every_worker() -> None:
    queue = WorkQueue(refreshes=1)
    for key in (A, B):
        queue.add(key, Class.REFRESH)
    assert await taken(queue, 1) == [A]
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.add(C, Class.NEW)
    assert await waiting == C
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not second.done()
    queue.done(A)
    assert await second == B


async def test_a_key_waits_once_and_in_the_more_urgent_class() -> None:
    queue = WorkQueue()
    for kind in (Class.REFRESH, Class.NEW, Class.REFRESH, Class.NEW):
        queue.add(A, kind)
    assert (queue.depth(Class.NEW), queue.depth(Class.REFRESH)) == (1, 0)
    await taken(queue, 1)
    assert await nothing_waits(queue)


async def test_a_key_that_is_worked_on_comes_back_once() -> None:
    queue = WorkQueue()
    queue.add(A, Class.NEW)
    await taken(queue, 1)
    for kind in (Class.REFRESH, Class.NEW, Class.REFRESH):
        queue.add(A, kind)
    assert await nothing_waits(queue)  # never two workers on one key
    queue.done(A)
    assert (queue.depth(Class.NEW), queue.depth(Class.REFRESH)) == (1, 0)
    await taken(queue, 1)
    queue.done(A)
    assert await nothing_waits(queue)


async def test_a_waiting_worker_is_woken() -> None:
    queue = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add(A, Class.NEW)
    queue.add(B, Class.REFRESH)
    assert set(await asyncio.wait_for(asyncio.gather(*waiting), 60)) == {A, B}


async def failed(queue: WorkQueue, key: ObjectRef, jitter: float = MIDDLE) -> float:
    """The delay after one more failure of a key."""
    queue.add(key, Class.NEW)
    await taken(queue, 1)
    return queue.failed(key, lambda: jitter)


async def test_the_backoff_doubles_up_to_a_minute_and_is_each_keys_own() -> None:
    queue = WorkQueue()
    delays = [await failed(queue, A) for _ in range(11)]
    assert delays[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert delays[-2:] == pytest.approx([BACKOFF_MAX, BACKOFF_MAX])
    assert await failed(queue, B) == pytest.approx(0.2)
    queue.close()


async def test_success_ends_the_backoff() -> None:
    queue = WorkQueue()
    await failed(queue, A)
    await failed(queue, A)
    queue.add(A, Class.NEW)
    await taken(queue, 1)
    queue.done(A)
    assert await failed(queue, A) == pytest.approx(0.2)
    queue.close()


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 0.15), (1.0, 0.25)])
async def test_the_backoff_is_spread_by_a_quarter(jitter: float, delay: float) -> None:
    queue = WorkQueue()
    assert await failed(queue, A, jitter) == pytest.approx(delay)
    queue.close()


async def test_a_failed_key_comes_back_by_itself() -> None:
    queue = WorkQueue()
    await failed(queue, A, -1.5)  # a delay of 0
    assert await taken(queue, 1) == [A]


@pytest.mark.parametrize("kind", Class)
async def test_a_failed_key_comes_back_in_its_own_class(kind: Class) -> None:
    """A new object whose first try met a conflict must not wait behind the refreshes."""
    queue = WorkQueue()
    queue.add(A, kind)
    await taken(queue, 1)
    queue.failed(A, lambda: -1.5)
    await asyncio.sleep(0.01)
    assert queue.depth(kind) == 1


async def test_a_failed_key_can_be_put_behind() -> None:
    queue = WorkQueue()
    queue.add(A, Class.NEW)
    await taken(queue, 1)
    queue.failed(A, lambda: -1.5, Class.REFRESH)
    await asyncio.sleep(0.01)
    assert (queue.depth(Class.NEW), queue.depth(Class.REFRESH)) == (0, 1)


async def test_a_new_key_is_taken_next_while_a_thousand_refreshes_wait() -> None:
    queue = WorkQueue()
    for number in range(1000):
        queue.add(ObjectRef(Kind.KEY, "team-a", f"old-{number}"), Class.REFRESH)
    for name in ("first", "second"):
        queue.add(ObjectRef(Kind.KEY, "team-a", name), Class.NEW)
        assert [key.name for key in await taken(queue, 1)] == [name]
    assert queue.depth(Class.REFRESH) == 1000


async def test_a_failed_key_that_was_asked_for_meanwhile_does_not_wait() -> None:
    queue = WorkQueue()
    queue.add(A, Class.NEW)
    await taken(queue, 1)
    queue.add(A, Class.NEW)
    queue.failed(A, lambda: MIDDLE)
    assert queue.depth(Class.NEW) == 1


async def test_a_later_wish_keeps_the_sooner() -> None:
    queue = WorkQueue()
    queue.add_later(A, 0.0)
    queue.add_later(A, 3600)
    assert await taken(queue, 1) == [A]
    queue.add_later(B, 3600)
    queue.add_later(B, 0.0)
    assert await taken(queue, 1) == [B]


async def test_an_event_replaces_a_wish_for_later() -> None:
    queue = WorkQueue()
    queue.add_later(A, 0.01)
    queue.add(A, Class.NEW)
    await taken(queue, 1)
    queue.done(A)
    await asyncio.sleep(0.02)
    assert await nothing_waits(queue)


async def test_a_closed_queue_takes_nothing() -> None:
    queue = WorkQueue()
    queue.add_later(A, 0.0)
    queue.close()
    queue.add(B, Class.NEW)
    queue.add_later(C, 0.0)
    await asyncio.sleep(0.01)
    assert await nothing_waits(queue)

"""What can go wrong with a request: the faults that rules of the chaos proxy (chaos.py) act with.

A fault is an async function of `forward`, which sends the request on and answers the API server's reply.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_RECORDS = "/api/v1/namespaces/keystead-records/secrets"


@dataclass(frozen=True)
class Request:
    """What `match` is asked about. `number` counts writes from 1 since `clear`; 0 for a read."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    number: int

    @property
    def watch(self) -> bool:
        """A watch, whose answer is a stream."""
        return self.query.get("watch") in ("1", "true")

    @property
    def write(self) -> bool:
        """It changes something."""
        return self.method in WRITES

    @property
    def is_lease(self) -> bool:
        """About the leader's Lease."""
        return "/leases" in self.path

    @property
    def is_record(self) -> bool:
        """A write of a sealed record."""
        return self.write and self.path.startswith(_RECORDS)

    @property
    def is_work(self) -> bool:
        """A write that is not the Lease: what a reconcile does."""
        return self.write and not self.is_lease


@dataclass(frozen=True)
class Reply:
    """An answer in whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Drop(Exception):
    """Close the caller's connection."""


class Process(Protocol):
    """What can be killed (harness.OperatorProcess)."""

    def kill(self) -> None: ...


Forward = Callable[[], Awaitable[Reply]]
Action = Callable[[Forward], Awaitable[Reply]]
Match = Callable[[Request], bool]


def named(name: str, action: Action) -> Action:
    """The action with the name that the log shows."""
    action.__name__ = name  # type: ignore[attr-defined]
    return action


def kill_before(process: Callable[[], Process]) -> Action:
    """kill -9; the write never reaches the API server."""

    async def act(_: Forward) -> Reply:
        process().kill()
        raise Drop

    return named("kill_before", act)


def kill_after(process: Callable[[], Process]) -> Action:
    """kill -9 after the commit, before the reply."""

    async def act(forward: Forward) -> Reply:
        await forward()
        process().kill()
        raise Drop

    return named("kill_after", act)


def drop_reply() -> Action:
    """Commit, then close the connection."""

    async def act(forward: Forward) -> Reply:
        await forward()
        raise Drop

    return named("drop_reply", act)


def drop_request() -> Action:
    """Close the connection; nothing is committed."""

    async def act(_: Forward) -> Reply:
        raise Drop

    return named("drop_request", act)


def answer(status: int, headers: Mapping[str, str] | None = None, *, after_commit: bool = False) -> Action:
    """A false answer: without forwarding, or (`after_commit`) in place of the real one."""

    async def act(forward: Forward) -> Reply:
        if after_commit:
            await forward()
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": "chaos proxy"}
        return Reply(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())

    return named(f"answer_{status}{'_after_commit' if after_commit else ''}", act)


def delay(seconds: float, *, after_commit: bool = False) -> Action:
    """A slow API server: before it commits, or after."""

    async def act(forward: Forward) -> Reply:
        if after_commit:
            reply = await forward()
            await asyncio.sleep(seconds)
            return reply
        await asyncio.sleep(seconds)
        return await forward()

    return named("delay", act)


@dataclass(frozen=True)
class Gate:
    """Holds a request: `reached` is set when it is there, `go` lets it on to the API server (however late)."""

    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


def hold(gate: Gate) -> Action:
    """Keep the request until the gate opens. Its caller may be gone by then: the request is not."""

    async def act(forward: Forward) -> Reply:
        gate.reached.set()
        while not gate.go.is_set():
            await asyncio.sleep(0.01)
        return await forward()

    return named("hold", act)


def stall_watch() -> Action:
    """A watch says nothing any more, also one that is open already; the connection stays. `times` counts streams."""

    async def act(_: Forward) -> Reply:
        await asyncio.Event().wait()  # until the caller hangs up, which cancels this
        raise Drop

    return named("stall_watch", act)


@dataclass
class Rule:
    """`seen`: requests that matched; `hits`: how often it acted."""

    match: Match
    action: Action
    times: int | None
    after: int
    seen: int = 0
    hits: int = 0

    @property
    def spent(self) -> bool:
        """Whether it will never act again."""
        return self.times is not None and self.hits >= self.times

    def acts_on(self, request: Request) -> bool:
        """Count the request; whether to act."""
        if self.spent or not self.match(request):
            return False
        self.seen += 1
        if self.seen <= self.after:
            return False
        self.hits += 1
        return True

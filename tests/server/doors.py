"""A door on fakes of its own ports: what test_door.py asks. Every part can be told to fail, and says in `seen` that it was reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.hsm.fake import FakeHsm

from keystead.operations.effects import Effect
from keystead.operations.registry import OperationRow
from keystead.operations.trail import Actor
from keystead.operations.world import Call, ControlWorld
from keystead.policy import root_caller
from keystead.server.door import AwsDoor, Parts
from keystead.server.driver import Driver
from keystead.server.identity import Identity
from keystead.server.message import Asked, Reply

NOW = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
SECRET_WORDS = "correct horse battery staple"
ROOT = root_caller("111122223333", "default")
IDENTITY = Identity(ROOT, "us-east-1", "uid-1", Actor(ROOT, "AKIA"))


def raises(error: Exception | None) -> None:
    if error is not None:
        raise error


class Away:
    """A value of `Awaitable` that is no coroutine: what `await` takes, and no more."""

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value, self._error = value, error

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        if self._error is not None:
            raise self._error
        return self._value


@dataclass
class Who:
    """`door.Authenticator`."""

    house: House
    error: Exception | None = None
    later: Awaitable[Identity] | None = None

    def authenticate(self, asked: Asked, now: datetime) -> Identity | Awaitable[Identity]:
        self.house.seen.append("signature")
        raises(self.error)
        return IDENTITY if self.later is None else self.later


@dataclass
class OneOperation:
    """`door.Wire` of a table with `Echo` and `CreateKey` in it; AWS has `Import`, too."""

    house: House
    error: Exception | None = None
    unfit: Exception | None = None

    def row(self, operation: str) -> OperationRow | None:
        return OperationRow(self.house.run, str, str, ()) if operation in ("Echo", "CreateKey") else None

    def unsupported(self, operation: str) -> str | None:
        return "not in this version" if operation == "Import" else None

    def decode(self, operation: str, body: bytes) -> Any:
        self.house.seen.append("body")
        raises(self.error)
        return body.decode()

    def encode(self, operation: str, response: Any) -> bytes:
        raises(self.unfit)
        return repr(response).encode()


@dataclass
class Words:
    """`door.Stream`."""

    refusal: str | None = None


class AnSts:
    """`door.Sts`."""

    def handle(self, asked: Asked, request_id: str) -> Reply:
        return Reply(200, b"sts")


@dataclass
class House:
    """The parts, and what they are told to do."""

    seen: list[str] = field(default_factory=list)
    served: list[tuple[str, str]] = field(default_factory=list)
    used: list[tuple[str, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    fault: BaseException | None = None
    away: Exception | None = None
    stream: Words = field(default_factory=Words)
    call: Call | None = None
    driver: Any = None
    routes: dict[bytes, Callable[[Asked], Awaitable[Reply]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hsm, self.who, self.wire = FakeHsm(b"door"), Who(self), OneOperation(self)

    def run(self, world: ControlWorld, _caller: Any, request: Any) -> Generator[Effect, Any, Any]:
        """The operation."""
        self.seen.append("operation")
        self.call = world.call
        answers = []
        for effect in self.effects:
            answers.append((yield effect))
        if self.fault is not None:
            raise self.fault
        return (request, *answers)

    def token(self) -> Any:
        """The open token."""
        raises(self.away)
        return self.hsm

    def door(self, **changes: Any) -> AwsDoor:
        driver = self.driver or Driver(
            facts=Nothing(), model=Nothing(), writer=Nothing(), engine=self.token, siblings=Nothing(), waiters=Counter()
        )
        parts: dict[str, Any] = {
            "authenticator": self.who, "wire": self.wire, "driver": driver, "token": self.token, "keys": lambda _: None,
            "stream": self.stream, "sts": AnSts(), "now": lambda: NOW, "tracking_since": lambda: NOW,
            "served": lambda operation, code: self.served.append((operation, code)),
            "used": lambda operation, response, _id, _event, _now: self.used.append((operation, response)), "routes": self.routes,
        }  # fmt: skip
        return AwsDoor(Parts(**{**parts, **changes}))


class Nothing:
    """A port that nobody may call."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


def ask(
    target: str | None = "TrentService.Echo", *, method: bytes = b"POST", path: bytes = b"/", body: bytes = b"x", **headers: str
) -> Asked:
    """A request. `headers`: with _ for -."""
    sent = [] if target is None else [(b"x-amz-target", target.encode())]
    sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Asked(method, path, tuple(sent), body)

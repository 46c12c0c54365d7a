"""Running one operation up to the change that it asks for, over records of tests.builders: for matrices of rights, states and texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.builders import NAMESPACES, Hsm, Rbac, an_app

from keystead.errors import KmsError
from keystead.operations import OPERATIONS
from keystead.operations.control.registry import CONTROL
from keystead.operations.effects import Await, Change, Home, Need, Slow
from keystead.operations.world import ControlWorld
from keystead.policy import Caller

_FUNCTIONS = {row.request: row.function for row in [*OPERATIONS.values(), *CONTROL.values()]}


@dataclass
class Run:
    """How operations are run; `waits` happens at an Await whose `ready` does not hold, as if another replica's record came in.

    homes: the uids of the namespaces that live, for whoever asks about another account's
    """

    hsm: Hsm
    world: ControlWorld
    rbac: Rbac = field(default_factory=Rbac)
    waits: Callable[[], None] = lambda: None
    awaited: list[Await] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=lambda: dict(NAMESPACES))

    def __call__(self, request: Any, caller: Caller | None = None) -> Any:
        """The first Change, or the answer of an operation that changes nothing."""
        return self._run(request, caller, done=False)

    def end(self, request: Any, caller: Caller | None = None) -> Any:
        """The answer, where every Change is done and seen."""
        return self._run(request, caller, done=True)

    def _run(self, request: Any, caller: Caller | None, *, done: bool) -> Any:
        running = _FUNCTIONS[type(request)](self.world, caller or an_app(), request)
        try:
            effect = next(running)
            while True:
                match effect:
                    case Change() if done:
                        effect = running.send(None)
                    case Change():
                        running.close()
                        return effect
                    case Need(review):
                        effect = running.send(self.rbac(review))
                    case Home(namespace):
                        effect = running.send(self.homes.get(namespace))
                    case Await(ready):
                        self.awaited.append(effect)
                        if not ready():
                            self.waits()
                        effect = running.send(None)
                    case Slow(call):
                        effect = running.send(self.hsm.slow(call))
                    case _:
                        raise AssertionError(effect)
        except StopIteration as stop:
            return stop.value

    def refusal(self, request: Any, caller: Caller | None = None) -> KmsError:
        """The error that this call ends in."""
        with pytest.raises(KmsError) as caught:
            self(request, caller)
        return caught.value

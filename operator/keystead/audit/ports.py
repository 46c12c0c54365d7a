"""What the journal stands on: sinks that keep lines, a signer of checkpoints, somebody who counts. app brings them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Sink(Protocol):
    """Keeps lines. Called by one thread of its own (flush.Lane), never by two at once."""

    @property
    def name(self) -> str:
        """For messages: `file`, `stdout`."""

    def write(self, data: bytes) -> None:
        """Keep whole lines; returns when they are as durable as this sink makes them. May block.

        OSError: how much of it was kept is not known. The same data is brought again, and must be there once in the end.
        """

    def close(self) -> None:
        """Nothing is brought any more."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A closed file that retention is about to take: what is lost with it."""

    name: str
    first_seq: int
    last_seq: int
    last_hash: str


class Keeper(Protocol):
    """Housekeeping of a sink's folder, by a thread of its own: slow, and nothing waits for it."""

    def tidy(self) -> Sequence[Removed]:
        """Compress what is closed; answer what must go. OSError."""

    def remove(self, removed: Removed) -> None:
        """Once it is on record that it goes. OSError."""

    def hold_room(self) -> bool:
        """Keep some room back that nothing else can use; whether that could be."""

    def give_room(self) -> None:
        """And let it go, where the record of a removal cannot be kept. OSError."""


class Signature(Protocol):
    """ECDSA, in DER; and which version of which key made it."""

    @property
    def signature(self) -> bytes: ...
    @property
    def key_arn(self) -> str: ...
    @property
    def material_id(self) -> str: ...


class Signer(Protocol):
    """Signs checkpoints (app/auditkey.py)."""

    async def sign(self, digest: bytes) -> Signature | None:
        """Over this SHA-256 digest; None: there is no key yet."""


class Observer(Protocol):
    """Counts (app)."""

    def recorded(self, durability: str, number: int) -> None:
        """So many records are kept; `durability`: sync or buffered."""

    def flushed(self, seconds: float) -> None:
        """One batch reached all sinks."""


class Unobserved:
    """Implements Observer: nobody counts."""

    def recorded(self, _durability: str, _number: int) -> None:
        """Nothing."""

    def flushed(self, _seconds: float) -> None:
        """Nothing."""


class NoSigner:
    """Implements Signer: there is no key."""

    async def sign(self, _digest: bytes) -> Signature | None:
        """None."""
        return None

"""All that an operation may look at besides its caller and its request. Made by the front door, one a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from keystead.engine.ports import Capabilities, Domain, FastLane
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord


class Keys(Protocol):
    """The read model: sealed records only, opened and verified (store/ implements it)."""

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """The key record with these 16 bytes; of two, the one with the higher seq."""

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """The alias record; `name` begins with `alias/`."""

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """All grants of a key."""

    def namespace_uid(self, namespace: str) -> str | None:
        """The uid of the live namespace of this name, None where there is none."""


@dataclass(frozen=True, slots=True)
class World:
    """`entropy` answers fresh random bytes; `now` is the moment of the call."""

    domain: Domain
    fast: FastLane
    capabilities: Capabilities
    keys: Keys
    region: str
    now: datetime
    entropy: Callable[[int], bytes]

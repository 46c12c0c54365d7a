"""`@per_call`: a frozen dataclass of what is made for each request. The type checker holds it frozen; at run time nothing does.

The run-time guard of `dataclass(frozen=True)` costs 0.1 us a field each time one is made, and a request makes some fifty fields of them
(docs/performance.md, The endpoint). Requests, responses and everything else stay real frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def per_call(kind: type[T]) -> type[T]:
    """Equality, hash and repr as those of a frozen dataclass with slots."""
    return dataclass(slots=True, unsafe_hash=True)(kind)

"""`@value`: a frozen dataclass of what is made for each request. The type checker holds it frozen; at run time nothing does.

The run-time guard of `dataclass(frozen=True)` costs 0.1 us a field each time one is made, and a request makes some sixty fields: about a
tenth of an Encrypt (docs/performance.md, The endpoint). Everything else stays a real frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def value(kind: type[T], /) -> type[T]: ...
@overload
def value(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(kind: type[T] | None = None, /, *, kw_only: bool = False) -> type[T] | Callable[[type[T]], type[T]]:
    """Equality, hash and repr as those of a frozen dataclass with slots."""
    make = dataclass(slots=True, unsafe_hash=True, kw_only=kw_only)
    return make if kind is None else make(kind)

"""What a probe of `hsm check` answers with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from keystead.hsm.backend import Hsm


class Verdict(StrEnum):
    """DEGRADED: it works, but a protection that Keystead relies on in depth is missing. FAILED: not to be used."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what was seen."""

    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """One line of the table: what was tried, what it proves, and what came out."""

    name: str
    proves: str
    verdict: Verdict
    detail: str


Probe: TypeAlias = Callable[[Hsm], Finding]


def ok(detail: str) -> Finding:
    """As it must be."""
    return Finding(Verdict.OK, detail)


def degraded(detail: str) -> Finding:
    """Usable, with a protection less."""
    return Finding(Verdict.DEGRADED, detail)


def failed(detail: str) -> Finding:
    """Not to be used."""
    return Finding(Verdict.FAILED, detail)

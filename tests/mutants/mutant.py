"""What a seeded fault is. The tables beside this file are made of it; `tests/mutants/__main__.py` tries them. Nothing runs here."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE = "operator/keystead/engine"
SERVER = "operator/keystead/server"
READING = "operator/keystead/audit/reading"
AUDIT = "operator/keystead/audit"


@dataclass(frozen=True)
class Mutant:
    """A fault: in `file`, `old` becomes `new`. `tests`: pytest arguments of what must turn red."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

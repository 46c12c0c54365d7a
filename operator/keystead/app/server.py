"""`keystead server`."""

from __future__ import annotations

from keystead.settings import Settings


def run_server(settings: Settings) -> int:
    """The command."""
    raise NotImplementedError(settings)

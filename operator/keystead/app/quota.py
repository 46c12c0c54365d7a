"""Request quotas from what a setting or an option says. Called by app/server/worker.py and app/dev/house.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keystead.errors import InvalidSpecError
from keystead.server.quota import Buckets, Limits, Quota, Unlimited, limits_of


def read_limits(text: str, source: str) -> Limits:
    """Calls a second by class: of `off`, `aws`, JSON, or the path of a file with JSON. InvalidSpecError names `source`, which said it.

    The JSON is an object with `preset` (off or aws; default off) and `limits`: class -> calls a second, or null for none.
    """
    if text in ("off", "aws"):
        return limits_of(text, {})
    try:
        told = _read(text)
        return limits_of(told.get("preset", "off"), told.get("limits", {}))
    except OSError as error:
        raise InvalidSpecError(source, f"must be off, aws, JSON or a file: {text}: {error.strerror}") from None
    except ValueError as error:  # of json, too
        raise InvalidSpecError(source, str(error) if _is_json(text) else f"{text}: {error}") from None


def _is_json(text: str) -> bool:
    """Else it is the path of a file."""
    return text.lstrip().startswith("{")


def _read(text: str) -> dict[str, Any]:
    told = json.loads(text if _is_json(text) else Path(text).read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise ValueError("it must be a JSON object with preset and limits")  # noqa: TRY004 - it is a value's
    if unknown := set(told) - {"preset", "limits"}:
        raise ValueError(f"it has preset and limits, not {', '.join(sorted(unknown))}")
    return told


def make_quota(limits: Limits, parts: int, throttled: Callable[[str], None] = lambda _class: None) -> Quota:
    """For one of `parts` processes that serve."""
    if not limits.everywhere:
        return Unlimited()
    return Buckets(limits, time.monotonic_ns, share=1 / parts, throttled=throttled)

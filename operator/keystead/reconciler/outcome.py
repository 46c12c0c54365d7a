"""What a reconcile answers, and how errors become obstacles: the one map of the reconciler (STYLE 15)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from keystead.engine.plan.common import Obstacle
from keystead.errors import (
    ForbiddenError,
    HsmAuthError,
    HsmError,
    HsmSessionLostError,
    HsmSetupError,
    HsmUnsupportedError,
    InvalidSpecError,
    KeysteadError,
    KmsError,
    RecordFormatError,
    RecordIntegrityError,
)
from keystead.reconciler.ports import ObjectRef
from keystead.resources.reasons import Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """`again_in`: seconds until the object is looked at again; None: not until something is seen of it. `failed`: with backoff."""

    again_in: float | None
    failed: bool = False


class StoppedError(Exception):
    """A step met an obstacle that only doing it could show (a target's other owner)."""

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle.message)
        self.obstacle = obstacle


# Most specific first: the first row that fits decides. The flag: whether to try again soon by itself.
OBSTACLES: Final[tuple[tuple[type[KeysteadError], Reason, bool], ...]] = (
    (InvalidSpecError, Reason.INVALID_SPEC, False),
    (RecordIntegrityError, Reason.RECORD_INTEGRITY, False),
    (RecordFormatError, Reason.RECORD_INTEGRITY, False),
    (HsmAuthError, Reason.HSM_AUTH_FAILED, False),
    (HsmUnsupportedError, Reason.KEY_SPEC_UNSUPPORTED, False),
    (HsmSessionLostError, Reason.HSM_SESSION_LOST, True),
    (HsmSetupError, Reason.ENGINE_UNAVAILABLE, True),
    (HsmError, Reason.ENGINE_UNAVAILABLE, True),
    (ForbiddenError, Reason.TARGET_FORBIDDEN, True),
    (KmsError, Reason.DEPENDENCY_NOT_READY, True),
)


TARGET_FORBIDDEN_HINT: Final = "; is this namespace in dataKeys.namespaces of the chart?"


def obstacle_of(error: KeysteadError) -> tuple[Obstacle, bool] | None:
    """(obstacle, try again soon), or None for an error that no condition tells of (the store, the fence)."""
    for kind, reason, soon in OBSTACLES:
        if isinstance(error, kind):
            return Obstacle(reason, str(error) or error.__class__.__name__), soon
    return None


def spread(ref: ObjectRef, period: float) -> float:
    """A refresh delay between 0.8 and 1.2 periods, by a hash of the name: a restart brings no burst later."""
    part = int.from_bytes(hashlib.sha256(str(ref).encode()).digest()[:4], "big") / 2**32
    return period * (0.8 + 0.4 * part)

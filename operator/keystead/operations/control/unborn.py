"""A key that CreateKey is about to make, as the conditions of its policy may look at it.

Called by the lock-out check of create_key (keys.py), before anything is written. What may never be done with it: engine/imagined.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.engine.clock import format_time
from keystead.engine.imagined import imagined_key
from keystead.engine.record import KeyRecord
from keystead.operations.world import ControlWorld
from keystead.policy import Caller
from keystead.resources.vocabulary import KeySpec, KeyUsage

KEY_ID: Final = "00000000-0000-4000-8000-000000000000"


def unborn(world: ControlWorld, caller: Caller, spec: KeySpec, usage: KeyUsage, tags: Mapping[str, str]) -> KeyRecord:
    """Of the caller's account, as the request describes it."""
    return imagined_key(
        format_time(world.now),
        caller.namespace,
        key_id=KEY_ID,
        region=world.region,
        account=caller.account,
        spec=spec,
        usage=usage,
        tags=dict(tags),
    )

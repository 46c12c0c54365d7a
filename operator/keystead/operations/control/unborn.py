"""A key that CreateKey is about to make, as the conditions of its policy may look at it.

Called by the lock-out check of create_key (keys.py), before anything is written. It has no material and no seal: nothing may ever store it,
open a blob with it, or answer with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.engine.clock import format_time
from keystead.engine.identifiers import KeyIdForm
from keystead.engine.record import KeyRecord, KeyVersion, Wrap
from keystead.operations.world import ControlWorld
from keystead.policy import Caller
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyState, KeyUsage, Origin, Protection

KEY_ID: Final = "00000000-0000-4000-8000-000000000000"
_NOBODYS: Final = "0" * 64


def unborn(world: ControlWorld, caller: Caller, spec: KeySpec, usage: KeyUsage, tags: Mapping[str, str]) -> KeyRecord:
    """Of the caller's account, as the request describes it."""
    now = format_time(world.now)
    version = KeyVersion(
        n=1,
        material_id=_NOBODYS,
        created=now,
        origin=Origin.AWS_KMS,
        protection=Protection.SOFTWARE,
        wrap=Wrap.KWP,
        wrapped=b"",
        plain_len=1,
    )
    return KeyRecord(
        domain_generation=1,
        domain_fingerprint=_NOBODYS,
        transition=0,
        seq=1,
        namespace_uid=caller.namespace,
        store_name="default",
        key_id=KEY_ID,
        key_id_form=KeyIdForm.UUID,
        region=world.region,
        account=caller.account,
        namespace=caller.namespace,
        name="unborn",
        object_uid="unborn",
        crd_uid="unborn",
        bound=True,
        spec=spec,
        usage=usage,
        origin=Origin.AWS_KMS,
        multi_region=False,
        protection=Protection.SOFTWARE,
        description="",
        tags=dict(tags),
        enabled=True,
        state=KeyState.ENABLED,
        created=now,
        pending_window_in_days=30,
        deletion_policy=DeletionPolicy.RETAIN,
        on_demand_rotations=0,
        versions=[version],
        current=1,
        n_versions=1,
    )

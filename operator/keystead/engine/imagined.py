"""A key as the conditions of its policy may look at it, where its record is not there to read: it is about to be made, or only the
operator can open it.

Called by the lock-out check of CreateKey (operations/control/unborn.py) and by `kubectl kms` (app/kms/keys.py). It has no material and no
seal: nothing may ever store it, open a blob with it, or answer with it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from keystead.engine.identifiers import KeyIdForm
from keystead.engine.record import KeyRecord, KeyVersion, Wrap
from keystead.resources.vocabulary import DeletionPolicy, KeyState, Origin, Protection

_NOBODYS: Final = "0" * 64
UNSEALED: Final[dict[str, Any]] = {"domain_generation": 1, "domain_fingerprint": _NOBODYS, "transition": 0, "seq": 1, "bound": True}
"""Members of a record that nothing but its seal and its history hang on."""


def imagined_key(created: str, namespace: str, **known: Any) -> KeyRecord:  # noqa: ANN401 - members of a KeyRecord
    """A key of which these members are known. An object that is not there yet has no name."""
    gone = known.get("state") is KeyState.DESTROYED
    version = KeyVersion(
        n=1,
        material_id=_NOBODYS,
        created=created,
        origin=known.get("origin", Origin.AWS_KMS),
        protection=Protection.SOFTWARE,
        wrap=Wrap.KWP,
        wrapped=UNSET if gone else b"",
        plain_len=UNSET if gone else 1,
    )
    members: dict[str, Any] = {
        "store_name": "default",
        "key_id_form": KeyIdForm.UUID,
        "name": "imagined",
        "object_uid": "imagined",
        "crd_uid": "imagined",
        "origin": version.origin,
        "multi_region": False,
        "protection": version.protection,
        "description": "",
        "enabled": True,
        "state": KeyState.ENABLED,
        "pending_window_in_days": 30,
        "deletion_policy": DeletionPolicy.RETAIN,
        "on_demand_rotations": 0,
        "versions": [version],
        "current": 1,
        "n_versions": 1,
    }
    return KeyRecord(**UNSEALED, **(members | known), namespace=namespace, namespace_uid=namespace, created=created)

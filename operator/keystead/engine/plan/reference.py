"""What stands against an object by the key that it names (KmsAlias, KmsGrant). Pure."""

from __future__ import annotations

from datetime import datetime

from keystead.engine.managed import is_managed, is_own
from keystead.engine.plan.common import NamespaceFacts, Obstacle, namespace_obstacle
from keystead.engine.record.key import KeyRecord
from keystead.resources.model import ObjectMeta
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState


def key_of_object(key: KeyRecord | None) -> str | None:
    """The id of the key that a name in a spec leads to."""
    return None if key is None else key.key_id


def key_reference_obstacle(key: KeyRecord | None, namespace: NamespaceFacts | None, named: str) -> Obstacle | None:
    """The KmsKey in spec.keyRef has no record that is this namespace's. named: NAMESPACE/NAME, as its author knows it."""
    if key is None:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, f"spec.keyRef: KmsKey {named} does not exist")
    if namespace_obstacle(key, namespace) is not None:
        return Obstacle(
            Reason.DEPENDENCY_NOT_READY, "the name of the KmsKey in spec.keyRef is taken by an earlier namespace's key"
        )
    if is_managed(key) or is_own(key.namespace):
        return Obstacle(Reason.INVALID_SPEC, "spec.keyRef: one of Keystead's own keys, which has no other names and no grants")
    return None


def destroyed_here(key: KeyRecord | None, namespace: NamespaceFacts | None) -> bool:
    """The name in a spec leads to a destroyed key of this namespace. Of an earlier namespace's key nothing is said."""
    return key is not None and key.state is KeyState.DESTROYED and namespace_obstacle(key, namespace) is None


def older_than_destruction(
    metadata: ObjectMeta, key: KeyRecord | None, namespace: NamespaceFacts | None, destroyed_at: datetime | None
) -> Obstacle | None:
    """An object without a record whose key is destroyed, or that is older than the destruction of a key that bore the name."""
    if destroyed_here(key, namespace):
        return outlived_key(key_of_object(key))
    made = metadata.creation_timestamp
    return outlived_key(None) if destroyed_at is not None and made is not None and made <= destroyed_at else None


def outlived_key(key_id: str | None) -> Obstacle:
    """The key that the object belonged to was destroyed: a new key under the name does not inherit it."""
    which = "" if key_id is None else f", {key_id},"
    return Obstacle(
        Reason.KEY_DESTROYED,
        f"the key{which} that this object belonged to was destroyed; delete this object, and make it again for a new key",
    )

"""What stands against an object by the key that it names (KmsAlias, KmsGrant). Pure."""

from __future__ import annotations

from keystead.engine.plan.common import NamespaceFacts, Obstacle, namespace_obstacle
from keystead.engine.record.key import KeyRecord
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState


def key_of_object(key: KeyRecord | None) -> str | None:
    """The id of the key that a name in a spec leads to."""
    return None if key is None else key.key_id


def key_reference_obstacle(key: KeyRecord | None, namespace: NamespaceFacts | None) -> Obstacle | None:
    """The KmsKey in spec.keyRef has no record that is this namespace's."""
    if key is None:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, "the KmsKey in spec.keyRef does not exist")
    if namespace_obstacle(key, namespace) is not None:
        return Obstacle(
            Reason.DEPENDENCY_NOT_READY, "the name of the KmsKey in spec.keyRef is taken by an earlier namespace's key"
        )
    return None


def destroyed_here(key: KeyRecord | None, namespace: NamespaceFacts | None) -> bool:
    """The name in a spec leads to a destroyed key of this namespace. Of an earlier namespace's key nothing is said."""
    return key is not None and key.state is KeyState.DESTROYED and namespace_obstacle(key, namespace) is None


def outlived_key(key_id: str | None) -> Obstacle:
    """The key that the object belonged to was destroyed: a new key under the name does not inherit it."""
    which = "" if key_id is None else f", {key_id},"
    return Obstacle(
        Reason.KEY_DESTROYED,
        f"the key{which} that this object belonged to was destroyed; delete this object, and make it again for a new key",
    )

"""What a control-plane operation asks to be written: intent on custom resources, as values (RESOURCES, API calls as writes).

One writer carries them out: store/ on the API server, and on SQLite in `keystead dev`. None of them ever touches a record. Who owns a
field that is to change, and is not one of Keystead's own managers, keeps it: ForeignOwnerError names the manager.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from keystead.resources.vocabulary import ObjectKind


@dataclass(frozen=True, slots=True)
class Target:
    """The object of one record. `uid`: of the object that was authorised; "" where the record has none (an orphan)."""

    kind: ObjectKind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class CreateObject:
    """A new object with label created-by: api. One that is there with this very spec is the one that a retry finds."""

    kind: ObjectKind
    namespace: str
    name: str
    spec: Mapping[str, Any]
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetFields:
    """Fields of spec, each replaced whole; a value of None takes the field away. Only the named fields are touched.

    manifest: written instead, with `fields` in it, where the record has no object (RECORDS, Life of a key); None: NotFoundError
    """

    target: Target
    fields: Mapping[str, Any]
    manifest: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SetTags:
    """Tags of a KmsKey: `put` is set, `drop` goes, all others stay. Two calls at once both hold.

    recorded: the record's tags. They are what the key has where the object says no tags at all; written with the change, or they would go
    """

    target: Target
    put: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    recorded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Annotate:
    """Annotations of the object."""

    target: Target
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """The object goes. Nothing happens where it is gone, or where another one has its name."""

    target: Target


Write: TypeAlias = CreateObject | SetFields | SetTags | Annotate | DeleteObject

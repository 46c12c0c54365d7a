"""Who owns a field of an object, by the API server's managedFields: asked before anything is changed by the API (writes.py) or a command
(requests.py). Field managers of Keystead's own clients, `<name>` and `<name>.<field>`, count as one owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

API: Final = "keystead-api"
CLI: Final = "keystead-cli"
_OURS: Final = (API, CLI)
Object = Mapping[str, Any]


def foreign(found: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Managers that are not ours, and what each owns of spec."""
    for entry in found["metadata"].get("managedFields") or ():
        if entry["manager"].partition(".")[0] not in _OURS:
            yield entry["manager"], entry.get("fieldsV1", {}).get("f:spec", {})


def owners_of(found: Object, field: str) -> list[str]:
    """Managers that are not ours and own this field of spec."""
    return [manager for manager, owned in foreign(found) if f"f:{field}" in owned]


def fence(found: Object) -> dict[str, Any]:
    """What makes a patch one of this very version of the object."""
    return {key: found["metadata"][key] for key in ("uid", "resourceVersion")}

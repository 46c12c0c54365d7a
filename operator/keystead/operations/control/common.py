"""What control-plane operations share: admission by key id or key ARN, names of new objects, targets of writes, pages of lists.

A list's Marker is the position of its last item, sealed for the caller's account, the operation and what was listed:

    marker = base64url( MAC 16 | position in UTF-8 ), without padding
    MAC    = HMAC-SHA-512(DM_g, "keystead/v1/list-marker" 00 (u16 len | part)*)[:16]; parts: account, region, operation, scope, position

so that one of another account or of another list is refused, and a page never begins where no page ended.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from keystead.engine.labels import Label, domain_mac
from keystead.engine.record import KeyRecord
from keystead.engine.view.manifest import key_manifest
from keystead.errors import InvalidMarkerError
from keystead.operations import refusals
from keystead.operations.describe import KeyManager, manager_of
from keystead.operations.effects import Running
from keystead.operations.pipeline import Asked, admit, arn_of
from keystead.operations.rules import RULES
from keystead.operations.validate import check_key_id, failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import SetFields, Target
from keystead.policy import Action, Caller
from keystead.resources.vocabulary import ObjectKind

Item = TypeVar("Item")
MAX_LIMIT: Final = 1000
_DEFAULT_LIMIT: Final = 100
_MAX_MARKER: Final = 1024
_PART: Final = 256
_MAC: Final = 16
_NAME: Final = 10


def admit_key(
    world: ControlWorld, caller: Caller, action: Action, key_id: str, request: object
) -> Running[KeyRecord]:
    """The key that a key id or key ARN names, if the caller may do this with it and its state lets it. request: the operation's.

    An alias is no KeyId of the control plane (botocore's model: "Specify the key ID or key ARN"). One that is refused says nothing.
    """
    check_key_id(key_id)
    if key_id.startswith("alias/") or ":alias/" in key_id:
        raise refusals.malformed_key_id(key_id)
    return (yield from admit(world, caller, RULES[action], key_id, Asked(request)))


def admit_change(
    world: ControlWorld, caller: Caller, action: Action, key_id: str, request: object
) -> Running[KeyRecord]:
    """`admit_key` for what changes the key: Keystead's own keys are nobody's to change."""
    record = yield from admit_key(world, caller, action, key_id, request)
    if manager_of(record) is KeyManager.AWS:
        raise refusals.denied(caller, action, arn_of(record))
    return record


def current(world: ControlWorld, record: KeyRecord) -> KeyRecord | None:
    """The record of the same key as the read model has it now: what a `done` looks at."""
    return world.keys.by_id(bytes.fromhex(record.key_id.removeprefix("mrk-").replace("-", "")))


def object_name(world: ControlWorld, prefix: str, *parts: bytes) -> str:
    """`<prefix>-<20 hex>`: the same for the same parts, and nobody without the domain can foresee it (AWS.md, Creates are idempotent)."""
    return f"{prefix}-{domain_mac(world.domain.mac, Label.CREATE_NAME, *parts)[:_NAME].hex()}"


def create_name(world: ControlWorld, caller: Caller, operation: str, prefix: str) -> str:
    """The name of what this call creates: the same for a retry of the SDK, random for a call without an invocation id."""
    if not world.call.invocation_id:
        return f"{prefix}-{world.entropy(_NAME).hex()}"
    # The region: objects of all regions of an account share a namespace (dev).
    place = (caller.principal.encode(), world.region.encode(), operation.encode())
    return object_name(world, prefix, *place, world.call.body_digest, world.call.invocation_id.encode())


def target_of(record: KeyRecord) -> Target:
    """The KmsKey of a record."""
    return Target(ObjectKind.KEY, record.namespace, record.name, record.object_uid if record.bound else "")


def set_fields(
    world: ControlWorld, record: KeyRecord, fields: Mapping[str, Any], annotations: Mapping[str, str] = MappingProxyType({})
) -> SetFields:
    """A change of fields; for an orphan a KmsKey under the record's own name that says nothing else (RECORDS, Life of a key).

    annotations: of the KmsKey that an orphan gets
    """
    if record.bound:
        return SetFields(target_of(record), fields)
    named = world.keys.key_named(record.namespace, record.name)
    if named is None or named.key_id != record.key_id:
        raise refusals.orphan(arn_of(record))  # set aside: its name is another key's
    manifest = key_manifest(record, annotations, bare=True)
    spec = {name: value for name, value in {**manifest["spec"], **fields}.items() if value is not None}
    return SetFields(target_of(record), fields, {**manifest, "spec": spec})


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: of which operation, for whom, of what (a key id, or ""), and how long a page is when nothing is said."""

    operation: str
    account: str
    scope: str = ""
    default: int = _DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list."""

    items: tuple[Item, ...]
    next_marker: str | None

    @property
    def truncated(self) -> bool:
        """Whether there is more."""
        return self.next_marker is not None


def check_paging(limit: int | None, marker: str | None) -> None:
    """Bounds of Limit and Marker; before the caller is authorised."""
    if limit is not None and limit < 1:
        raise failed("limit", "have value greater than or equal to 1", limit)
    if limit is not None and limit > MAX_LIMIT:
        raise failed("limit", f"have value less than or equal to {MAX_LIMIT}", limit)
    if marker is not None and not marker:
        raise failed("marker", "have length greater than or equal to 1", "")
    if marker is not None and len(marker) > _MAX_MARKER:
        raise failed("marker", f"have length less than or equal to {_MAX_MARKER}", marker)


def page(
    world: ControlWorld,
    listing: Listing,
    items: Sequence[Item],
    position: Callable[[Item], str],
    limit: int | None,
    marker: str | None,
) -> Page[Item]:
    """The items after the marker's position, `limit` at most. `items` are in the order of their positions, which are unique.

    What is made or goes meanwhile moves no other item: none is given twice, and none that stays is left out.
    """
    return cut(world, listing, after(world, listing, items, position, marker), position, limit)


def after(
    world: ControlWorld, listing: Listing, items: Sequence[Item], position: Callable[[Item], str], marker: str | None
) -> Iterator[Item]:
    """The items after the marker's position. They may change while one looks at them: it goes on after the position that it had come to."""
    return _after(items, position, 0 if marker is None else bisect_right(items, _position(world, listing, marker), key=position))


def _after(items: Sequence[Item], position: Callable[[Item], str], first: int) -> Iterator[Item]:
    while part := items[first : first + _PART]:
        yield from part
        first = bisect_right(items, position(part[-1]), key=position)


def cut(
    world: ControlWorld, listing: Listing, items: Iterable[Item], position: Callable[[Item], str], limit: int | None
) -> Page[Item]:
    """The first of these, `limit` at most, and whether there are more: no more of them is looked at."""
    most = listing.default if limit is None else limit
    chosen = tuple(islice(items, most + 1))
    if len(chosen) <= most:
        return Page(chosen, None)
    return Page(chosen[:most], _marker(world, listing, position(chosen[most - 1])))


def _marker(world: ControlWorld, listing: Listing, position: str) -> str:
    data = position.encode()
    return _base64url(_mac(world, listing, data) + data)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _position(world: ControlWorld, listing: Listing, marker: str) -> str:
    try:
        data = base64.b64decode(marker + "=" * (-len(marker) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidMarkerError("The marker is not valid.") from None
    if _base64url(data) != marker:  # one text a marker: spare bits of the last character would make others that decode alike
        raise InvalidMarkerError("The marker is not valid.")
    mac, position = data[:_MAC], data[_MAC:]
    if len(mac) != _MAC or not hmac.compare_digest(mac, _mac(world, listing, position)):
        raise InvalidMarkerError("The marker is not valid.")
    return position.decode()


def _mac(world: ControlWorld, listing: Listing, position: bytes) -> bytes:
    about = (listing.account, world.region, listing.operation, listing.scope)
    return domain_mac(world.domain.mac, Label.LIST_MARKER, *(part.encode() for part in about), position)[:_MAC]

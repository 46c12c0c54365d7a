"""TagResource, UntagResource, ListResourceTags, and what tags may be (KMS.md, Limits)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keystead.engine.record import KeyRecord
from keystead.errors import TagError
from keystead.operations.control.common import Listing, admit_change, admit_key, check_paging, current, page, target_of
from keystead.operations.effects import Change, Running
from keystead.operations.faults import operation
from keystead.operations.validate import failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import SetTags
from keystead.policy import Action, Caller

MAX_TAGS: Final = 50
_KEY: Final = 128
_VALUE: Final = 256
_PAGE: Final = 50
_RESERVED: Final = "aws:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """AWS Tag."""

    tag_key: str
    tag_value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResourceRequest:
    """AWS TagResourceRequest."""

    key_id: str
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagResourceResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UntagResourceRequest:
    """AWS UntagResourceRequest."""

    key_id: str
    tag_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UntagResourceResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListResourceTagsRequest:
    """AWS ListResourceTagsRequest."""

    key_id: str
    limit: int | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListResourceTagsResponse:
    """AWS ListResourceTagsResponse."""

    tags: tuple[Tag, ...]
    next_marker: str | None
    truncated: bool


@operation
def tag_resource(world: ControlWorld, caller: Caller, request: TagResourceRequest) -> Running[TagResourceResponse]:
    """AWS TagResource. All other tags stay, those of another call at the same time too."""
    check_lengths(request.tags)
    record = yield from admit_change(world, caller, Action.TAG_RESOURCE, request.key_id, request)
    put = tag_map(request.tags)
    if len(record.tags | put) > MAX_TAGS:
        raise TagError("Too many tags")

    def done() -> KeyRecord | None:
        now = current(world, record)
        return now if now is not None and put.items() <= now.tags.items() else None

    if done() is None:
        yield Change(SetTags(target_of(record), put=put, recorded=record.tags), done)
    return TagResourceResponse()


@operation
def untag_resource(world: ControlWorld, caller: Caller, request: UntagResourceRequest) -> Running[UntagResourceResponse]:
    """AWS UntagResource. A tag that is not there is no error."""
    for number, key in enumerate(request.tag_keys, 1):
        _check_key(key, f"tagKeys.{number}.member")
    record = yield from admit_change(world, caller, Action.UNTAG_RESOURCE, request.key_id, request)
    drop = frozenset(request.tag_keys)

    def done() -> KeyRecord | None:
        now = current(world, record)
        return now if now is not None and not drop & set(now.tags) else None

    if drop:
        yield Change(SetTags(target_of(record), drop=drop, recorded=record.tags), done, narrows=True)
    return UntagResourceResponse()


@operation
def list_resource_tags(
    world: ControlWorld, caller: Caller, request: ListResourceTagsRequest
) -> Running[ListResourceTagsResponse]:
    """AWS ListResourceTags, in the order of the tags' keys."""
    check_paging(request.limit, request.marker)
    record = yield from admit_key(world, caller, Action.LIST_RESOURCE_TAGS, request.key_id, request)
    tags = [Tag(tag_key=key, tag_value=value) for key, value in sorted(record.tags.items())]
    listing = Listing("ListResourceTags", caller.account, record.key_id, _PAGE)
    found = page(world, listing, tags, lambda tag: tag.tag_key, request.limit, request.marker)
    return ListResourceTagsResponse(tags=found.items, next_marker=found.next_marker, truncated=found.truncated)


def check_lengths(tags: Sequence[Tag]) -> None:
    """ValidationException for a key or value that is too long; before the caller is authorised."""
    for number, tag in enumerate(tags, 1):
        _check_key(tag.tag_key, f"tags.{number}.member.tagKey")
        if len(tag.tag_value) > _VALUE:
            raise failed(f"tags.{number}.member.tagValue", f"have length less than or equal to {_VALUE}", tag.tag_value)


def tag_map(tags: Sequence[Tag]) -> dict[str, str]:
    """The tags of a request by their keys. TagException for what a key cannot have."""
    if len(tags) > MAX_TAGS:
        raise TagError("Too many tags")
    # AWS: whatever the case of the letters.
    if any(tag.tag_key.lower().startswith(_RESERVED) for tag in tags):
        raise TagError("Tags beginning with aws: are reserved")
    found = {tag.tag_key: tag.tag_value for tag in tags}
    if len(found) != len(tags):
        raise TagError("Duplicate tag keys")
    return found


def _check_key(key: str, where: str) -> None:
    if not key:
        raise failed(where, "have length greater than or equal to 1", "")
    if len(key) > _KEY:
        raise failed(where, f"have length less than or equal to {_KEY}", key)

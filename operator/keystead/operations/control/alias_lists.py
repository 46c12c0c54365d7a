"""ListAliases. It shows the aliases that have a record, and the one of the AWS managed key, which has none: it leads there by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import alias_arn
from keystead.engine.managed import MANAGED_ALIAS
from keystead.engine.record import AliasRecord, KeyRecord
from keystead.operations import refusals
from keystead.operations.control.aliases import is_alias, is_live
from keystead.operations.control.common import Listing, check_paging, page
from keystead.operations.effects import Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import admit_keyless, resolve
from keystead.operations.validate import check_key_id
from keystead.operations.world import ControlWorld
from keystead.policy import Action, Caller

PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAliasesRequest:
    """AWS ListAliasesRequest. `key_id`: only the aliases of this key."""

    key_id: str | None = None
    limit: int | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasListEntry:
    """AWS AliasListEntry."""

    alias_name: str
    alias_arn: str
    target_key_id: str
    creation_date: datetime
    last_updated_date: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAliasesResponse:
    """AWS ListAliasesResponse."""

    aliases: tuple[AliasListEntry, ...]
    next_marker: str | None
    truncated: bool


@operation
def list_aliases(world: ControlWorld, caller: Caller, request: ListAliasesRequest) -> Running[ListAliasesResponse]:
    """AWS ListAliases: those of the caller's account in this region, in the order of their names."""
    check_paging(request.limit, request.marker)
    if request.key_id is not None:
        _check_key(request.key_id)
    yield from admit_keyless(world, caller, Action.LIST_ALIASES)
    only = None
    if request.key_id is not None:
        key = yield from resolve(world, caller, Action.LIST_ALIASES, request.key_id)
        if key.account != caller.account:
            raise refusals.foreign(caller, Action.LIST_ALIASES)
        only = key.key_id
    listed: Sequence[AliasRecord | KeyRecord] = world.keys.aliases_of(caller.account, world.region)
    managed = world.keys.managed_key(caller.account, world.region)
    if managed is not None:
        listed = sorted((*listed, managed), key=_position)
    found = [alias for alias in listed if (only is None or alias.key_id == only) and is_live(world, alias)]
    listing = Listing("ListAliases", caller.account, only or "", PAGE)
    part = page(world, listing, found, _position, request.limit, request.marker)
    entries = tuple(_entry(alias) for alias in part.items)
    return ListAliasesResponse(aliases=entries, next_marker=part.next_marker, truncated=part.truncated)


def _check_key(key_id: str) -> None:
    check_key_id(key_id)
    if is_alias(key_id):
        raise refusals.malformed_key_id(key_id)


def _position(alias: AliasRecord | KeyRecord) -> str:
    return MANAGED_ALIAS if isinstance(alias, KeyRecord) else alias.alias_name


def _entry(alias: AliasRecord | KeyRecord) -> AliasListEntry:
    """A key stands for the alias that leads to it by rule: there is no record of that one."""
    if isinstance(alias, KeyRecord):
        made = parse_time(alias.created)
        arn = alias_arn(alias.region, alias.account, MANAGED_ALIAS)
        return AliasListEntry(
            alias_name=MANAGED_ALIAS, alias_arn=arn, target_key_id=alias.key_id, creation_date=made, last_updated_date=made
        )
    return AliasListEntry(
        alias_name=alias.alias_name,
        alias_arn=alias_arn(alias.region, alias.account, alias.alias_name),
        target_key_id=alias.key_id,
        creation_date=parse_time(alias.created),
        last_updated_date=parse_time(alias.updated),
    )

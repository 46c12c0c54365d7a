"""`kubectl kms usage`: the counts of all replicas, added; the keys as their objects show them; and both priced (operations/prices.py).

With the person's own rights: list on configmaps in the release's namespace, and on kmskeys where they are to be seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from msgspec import UNSET

from keystead.app.kms.view import Body, Unread, View
from keystead.cli.kms_usage import CallUsage, KeyUsage, PricesRead, Total, UsageAnswer, UsageAsk
from keystead.engine.clock import format_time
from keystead.engine.managed import MANAGED_PREFIX, is_own
from keystead.errors import ForbiddenError, InvalidSpecError, NotFoundError
from keystead.operations.counts import OTHER, Counts, Row, added
from keystead.operations.prices import PRICES, PriceClass, bounds_of, free_share, key_cost, month_of, requests_cost
from keystead.reconciler.ports import Kind
from keystead.resources.kms_key import KmsKey, parse_key
from keystead.resources.vocabulary import KeyState
from keystead.store.uses import PREFIX, counts_in, selector

_SHOWN: Final = 16
"""Versions that an object shows at most."""
_CLASSES: Final = frozenset(each.value for each in PriceClass)
_ENDS: Final = frozenset({KeyState.PENDING_DELETION, KeyState.DESTROYED})


async def usage(view: View, namespace: str, ask: UsageAsk) -> UsageAnswer:
    """A month of a namespace, or of all."""
    now = view.kube.clock.now()
    month = ask.month or month_of(now)
    begin, end = bounds_of(month)
    if begin > now:
        raise InvalidSpecError("--month", f"{month} is not yet; it is {month_of(now)}")
    place = "" if ask.everywhere else namespace
    maps = await _maps(view, ask.release_namespace)
    table = {row: calls for row, calls in added(counts_in(body) or {} for body in maps).items() if row.month == month}
    bodies = await _keys(view, place)
    known, unknown = _parsed(body for body in bodies if place in ("", body["metadata"]["namespace"]))
    keys = tuple(_key_rows(known, table, month, min(now, end)))
    calls = tuple(_call_rows(table, place, _names(bodies)))
    if place and not calls and not keys and await view.lacks_namespace(place):
        raise NotFoundError(f"there is no namespace {place}")
    since = min((str(_data(body)["countsSince"]) for body in maps if _data(body).get("countsSince")), default="")
    return UsageAnswer(
        month=month,
        namespace=place,
        until=format_time(min(now, end)),
        since=since,
        keys=keys,
        calls=calls,
        estimate=_estimate(keys, calls),
        prices=PricesRead(source=PRICES.source, checked=PRICES.checked.isoformat(), region=PRICES.region, currency=PRICES.currency),
        notes=(*unknown, *_uncounted(maps, ask.release_namespace), *_notes(maps, calls, since, begin, end)),
        unread=tuple(f"you may not {what}" for what in view.unread),
    )


async def _maps(view: View, release: str) -> list[Body]:
    path = f"/api/v1/namespaces/{release}/configmaps"
    found = await view.items(path, f"list configmaps in {release}", {"labelSelector": selector()})
    if isinstance(found, Unread):
        raise ForbiddenError(f"the counts are in ConfigMaps: {found}; hint: --release-namespace, or ask an administrator for that right")
    maps = [body for body in found if body["metadata"]["name"].startswith(PREFIX)]
    if not maps and await view.lacks_namespace(release):
        raise NotFoundError(f"--release-namespace: there is no namespace {release}; hint: it is where Keystead is installed")
    return maps


async def _keys(view: View, place: str) -> Sequence[Body]:
    """Of all namespaces where that is allowed: a caller of this one may have used a key of another."""
    found = await view.objects(Kind.KEY)
    if isinstance(found, Unread) and place:
        found = await view.objects(Kind.KEY, place)
    return () if isinstance(found, Unread) else found


def _names(bodies: Iterable[Body]) -> dict[str, str]:
    rows = ((body, (body.get("status") or {}).get("keyId")) for body in bodies)
    return {key_id: f"{body['metadata']['namespace']}/{body['metadata']['name']}" for body, key_id in rows if key_id}


def _parsed(bodies: Iterable[Body]) -> tuple[list[KmsKey], list[str]]:
    """Keys, and a warning for each that this version cannot read: one of them hides no other."""
    found: list[KmsKey] = []
    unknown: list[str] = []
    for body in bodies:
        try:
            found.append(parse_key(body))
        except InvalidSpecError as error:
            meta = body["metadata"]
            unknown.append(f"KmsKey {meta['namespace']}/{meta['name']} is in no amount: it cannot be read: {error}")
    return found, unknown


def _key_rows(keys: Iterable[KmsKey], table: Counts, month: str, until: datetime) -> Iterator[KeyUsage]:
    used: Counter[str] = Counter()
    for row, number in table.items():
        used[row.key_id] += number
    for key in keys:
        meta, status = key.metadata, key.status
        made = _made(key)
        if made is None or made.times[0] >= until:
            continue
        free = _free(meta.namespace, meta.name)
        cost = Decimal(0) if free else key_cost(made.times, _ended(key, until), month)
        yield KeyUsage(
            namespace=meta.namespace,
            name=meta.name,
            key_id=str(status.key_id),
            spec=key.spec.key_spec.value,
            state=status.key_state.value if status.key_state is not UNSET else "",
            versions=made.shown,
            calls=used[str(status.key_id)],
            cost=_amount(cost),
            note=free or _of_versions(made, month),
        )


def _free(namespace: str, name: str) -> str:
    if is_own(namespace):
        return "free at AWS: an AWS owned key"
    return "free at AWS: an AWS managed key" if name.startswith(MANAGED_PREFIX) else ""


@dataclass(frozen=True, slots=True)
class _Made:
    """When a key's materials were made, oldest first, as far as its object shows.

    shown   how many it shows
    cut     it has more: the second and third were made no later than the oldest two that it shows, which are taken for them
    """

    times: Sequence[datetime]
    shown: int
    cut: bool = False


def _made(key: KmsKey) -> _Made | None:
    """None: there is no key yet."""
    status = key.status
    if status.key_id is UNSET or status.creation_time is UNSET:
        return None
    first: datetime = status.creation_time
    materials = () if status.key_materials is UNSET else status.key_materials
    times = sorted(each.creation_time for each in materials if each.creation_time is not UNSET)
    if len(times) >= _SHOWN and times[0] > first:
        return _Made([first, *times[: PRICES.rotations]], len(times), cut=True)
    return _Made([first, *times[1:]], max(1, len(times)))


def _of_versions(made: _Made, month: str) -> str:
    if not made.cut:
        return ""
    low = made.times[-1] > bounds_of(month)[0]
    return f"more than {_SHOWN} versions" + ("; may cost more: when the first were made is not shown" if low else "")


def _ended(key: KmsKey, until: datetime) -> datetime:
    """From when on AWS takes nothing: its deletion was scheduled."""
    status = key.status
    if status.key_state is UNSET or status.key_state not in _ENDS or status.deletion_time is UNSET:
        return until
    scheduled, days = key.spec.scheduled_deletion, key.spec.pending_window_in_days
    if scheduled is not UNSET and scheduled.pending_window_in_days is not UNSET:
        days = scheduled.pending_window_in_days
    begun: datetime = status.deletion_time - timedelta(days=days)
    return min(until, begun)


def _call_rows(table: Counts, place: str, names: Mapping[str, str]) -> Iterator[CallUsage]:
    shown: dict[Row, int] = {}
    for row, calls in table.items():
        if place in ("", row.namespace):
            key = row.key_id if row.key_id in ("", OTHER) else names.get(row.key_id, row.key_id)
            shown[row._replace(key_id=key)] = calls
    for row in sorted(shown):
        cost = requests_cost(_priced(row.price, shown[row]))
        yield CallUsage(namespace=row.namespace, key=row.key_id, price_class=row.price, calls=shown[row], cost=_amount(cost))


def _estimate(keys: Iterable[KeyUsage], calls: Iterable[CallUsage]) -> Total:
    sums: Counter[PriceClass] = Counter()
    for each in calls:
        sums.update(_priced(each.price_class, each.calls))
    storage = sum((Decimal(key.cost) for key in keys), Decimal(0))
    requests, free = requests_cost(sums), free_share(sums)
    total = storage + requests - free
    return Total(keys=_amount(storage), requests=_amount(requests), free_tier=_amount(free), total=_amount(total))


def _priced(price: str, calls: int) -> dict[PriceClass, int]:
    """A class of a later version has no price here."""
    return {PriceClass(price): calls} if price in _CLASSES else {}


def _amount(value: Decimal) -> str:
    return str(value.quantize(Decimal("0.0001")))


def _uncounted(maps: Sequence[Body], release: str) -> Iterator[str]:
    """No counts are not a count of none."""
    if not maps:
        yield (
            f"calls are not known: there is no ConfigMap {PREFIX}* in {release}; either no server has written yet, or Keystead is "
            "installed elsewhere: then say --release-namespace"
        )


def _notes(maps: Sequence[Body], calls: Sequence[CallUsage], since: str, begin: datetime, end: datetime) -> Iterator[str]:
    if since and since >= format_time(end):
        yield f"counting began after the month: {since}; its calls are not known"
    elif since > format_time(begin):
        yield f"counting began within the month: {since}"
    elif maps and not since:
        yield "counting began within the month: no server has written yet"
    old = [body["metadata"]["name"] for body in maps if counts_in(body) is None]
    if old:
        yield f"without counts, written by an earlier version: {', '.join(old)}"
    if any(each.key == OTHER for each in calls):
        yield f"{OTHER}: keys without room for rows of their own, and months before the last"
    if any(each.price_class == PriceClass.REFUSED for each in calls):
        yield "refused calls are in no amount: AWS does not say whether it bills them"
    yield "an estimate: keys whose objects are gone are not in it; one free tier for all that is shown; no taxes, discounts or support"


def _data(body: Body) -> Body:
    return body.get("data") or {}

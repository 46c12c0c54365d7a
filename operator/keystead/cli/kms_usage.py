"""`kubectl kms usage`: keys, versions and calls of a month, and what the same would cost at AWS. Reads the usage ConfigMaps and KmsKeys
with the rights of the person who runs it; app/kms/usage.py does it. Every amount is an estimate, and said to be one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import click

from keystead.cli.kms import place_options
from keystead.cli.kms_services import Place
from keystead.cli.kms_show import plain
from keystead.cli.output import Format, dump, show_rows, table_option

_MONTH: Final = re.compile(r"(?!0000|9999)\d{4}-(0[1-9]|1[0-2])\Z", re.ASCII)  # the calendar's years, and one more to end in


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAsk:
    """month "": this one. everywhere: of all namespaces. release_namespace: where Keystead itself is."""

    month: str
    everywhere: bool
    release_namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsage:
    """One key, in the namespace that pays for its storage. calls: answered ones, of all callers. cost: storage only."""

    namespace: str
    name: str
    key_id: str
    spec: str
    state: str
    versions: int
    calls: int
    cost: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallUsage:
    """Calls of a namespace. key: NAMESPACE/NAME, a key id where its object is not seen, `other`, or "" where a call needs none."""

    namespace: str
    key: str
    price_class: str
    calls: int
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Amounts. free_tier is taken off requests."""

    keys: str
    requests: str
    free_tier: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PricesRead:
    """Which table the amounts are of, and when it was compared with its source."""

    source: str
    checked: str
    region: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAnswer:
    """A month. namespace "": all. until: amounts of keys are up to then, and counts up to a minute before; since: counts began then."""

    month: str
    namespace: str
    until: str
    since: str
    keys: tuple[KeyUsage, ...]
    calls: tuple[CallUsage, ...]
    estimate: Total
    prices: PricesRead
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class KmsUsageServices(Protocol):
    """Implemented by app/kms/services.py."""

    def usage(self, place: Place, ask: UsageAsk) -> UsageAnswer: ...


@click.command("usage")
@click.option("--month", metavar="YYYY-MM", default="", help="Default: this month, by UTC.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option("--release-namespace", metavar="NAME", default="keystead-system", show_default=True, help="Where Keystead is installed.")
@place_options
@table_option
@click.pass_obj
def usage_command(
    services: KmsUsageServices, /, *, month: str, everywhere: bool, release_namespace: str, place: Place, output: str
) -> None:
    """Keys, versions and calls of a month by namespace, key and AWS price class; and an estimate of the same at AWS.

    A call counts for the namespace of its caller, who pays for it at AWS, whosever key it used; a key for its own namespace.
    """
    if month and not _MONTH.match(month):
        raise click.UsageError(f"--month: {month} is not YYYY-MM")
    if everywhere and place.namespace:
        raise click.UsageError("-A goes without -n")
    ask = UsageAsk(month=month, everywhere=everywhere, release_namespace=release_namespace)
    show_usage(services.usage(place, ask), Format(output))


def show_usage(answer: UsageAnswer, output: Format) -> None:
    """Keys, calls, the sum, and what the sum is made by."""
    if output is Format.JSON:
        dump(plain(answer), output)
        return
    where = f"namespace {answer.namespace}" if answer.namespace else "all namespaces"
    counted = f"counted since {answer.since}" if answer.since else "were not counted"
    click.echo(f"{answer.month}, {where}, until {answer.until}; calls {counted}")
    _show_keys(answer)
    _show_calls(answer)
    total, prices = answer.estimate, answer.prices
    click.echo(
        f"\nestimate of the same at AWS: keys {total.keys} + requests {total.requests} - free tier {total.free_tier} = "
        f"{total.total} {prices.currency}"
    )
    click.echo(f"prices: {prices.region}, by {prices.source}, checked {prices.checked}")
    for word, texts in (("note", answer.notes), ("unread", answer.unread)):
        for text in texts:
            click.echo(f"{word}: {text}")


def _show_keys(answer: UsageAnswer) -> None:
    _block(
        [
            {
                "namespace": key.namespace,
                "key": key.name,
                "spec": key.spec,
                "state": key.state,
                "versions": str(key.versions),
                "calls": str(key.calls),
                f"storage {answer.prices.currency}": key.cost,
                "note": key.note,
            }
            for key in answer.keys
        ],
        "no keys that you may see",
    )


def _show_calls(answer: UsageAnswer) -> None:
    _block(
        [
            {
                "caller": each.namespace or "(others)",
                "key": each.key or "-",
                "class": each.price_class,
                "calls": str(each.calls),
                f"requests {answer.prices.currency}": each.cost,
            }
            for each in answer.calls
        ],
        "no calls" if answer.since else "calls are not known",
    )


def _block(rows: Sequence[dict[str, str]], nothing: str) -> None:
    click.echo()
    if not rows:
        click.echo(nothing)
        return
    show_rows([{name: value for name, value in row.items() if name != "note" or any(each["note"] for each in rows)} for row in rows],
              Format.TABLE)  # fmt: skip

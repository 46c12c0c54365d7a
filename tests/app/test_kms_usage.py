"""`kubectl kms usage` on objects as the API server has them: sums over replicas, prices, and what is said about what is missing."""

from __future__ import annotations

import asyncio
import base64
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner
from tests.app.kms_cluster import FakeKube
from tests.operator.harness import ROOT

from keystead.app.kms.usage import usage
from keystead.app.kms.view import Unread, View
from keystead.cli.kms_usage import UsageAnswer, UsageAsk, usage_command
from keystead.engine.clock import format_time
from keystead.errors import ForbiddenError, InvalidSpecError, NotFoundError
from keystead.operations.counts import NO_KEY, OTHER, Counts, Row, pack
from keystead.reconciler.ports import Kind
from keystead.resources.names import API_VERSION

NOW = datetime(2026, 12, 8, 12, tzinfo=UTC)
MONTH = "2026-11"
PAGE = ROOT / "docs/usage.md"


def id_of(number: int) -> str:
    return f"00000000-0000-4000-a000-{number:012}"


def key(
    namespace: str, name: str, number: int, *made: str, state: str = "Enabled", ends: str = "", **spec: Any
) -> dict[str, Any]:
    """A KmsKey whose materials were made at these times, oldest first."""
    made = made or ("2025-03-01T00:00:00Z",)
    materials = [{"keyMaterialId": f"{number:032}{version:032}", "creationTime": time} for version, time in enumerate(made)]
    status = {"keyId": id_of(number), "keyState": state, "creationTime": made[0], "keyMaterials": materials[::-1]}
    if ends:
        status["deletionTime"] = ends
    metadata = {"namespace": namespace, "name": name, "uid": id_of(number), "generation": 1, "resourceVersion": "1"}
    return {"apiVersion": API_VERSION, "kind": "KmsKey", "metadata": metadata, "spec": spec, "status": status}


def config_map(number: int, counts: Counts | None, since: str = "2026-06-01T00:00:00Z") -> dict[str, Any]:
    body: dict[str, Any] = {"metadata": {"name": f"keystead-usage-{number}"}, "data": {"countsSince": since}}
    if counts is None:
        return {**body, "data": {}}
    return {**body, "binaryData": {"counts.json.zlib": base64.b64encode(pack(counts)).decode()}}


class Cluster:
    """What a person sees of it, in the form of a View."""

    def __init__(self, keys: Sequence[Any] = (), maps: Sequence[Any] = (), hidden: Sequence[str] = (), gone: Sequence[str] = ()) -> None:
        self.keys, self.maps, self.hidden = keys, maps, hidden
        self.unread: tuple[str, ...] = ()
        self.gone = frozenset(gone)
        self.kube = SimpleNamespace(clock=SimpleNamespace(now=lambda: NOW))

    async def items(self, path: str, what: str, query: Mapping[str, str] | None = None) -> Any:
        assert path == "/api/v1/namespaces/keystead-system/configmaps"
        return Unread(what) if "maps" in self.hidden else tuple(self.maps)

    async def lacks_namespace(self, name: str) -> bool:
        return name in self.gone

    async def objects(self, kind: Kind, namespace: str = "") -> Any:
        if namespace in self.hidden:
            self.unread = (*self.unread, f"list kmskeys in {namespace or 'all namespaces'}")
            return Unread("list kmskeys")
        return tuple(body for body in self.keys if namespace in ("", body["metadata"]["namespace"]))


def ask(cluster: Cluster, namespace: str = "", month: str = MONTH) -> UsageAnswer:
    wanted = UsageAsk(month=month, everywhere=not namespace, release_namespace="keystead-system")
    return asyncio.run(usage(cast(View, cluster), namespace or "default", wanted))


def row(namespace: str, key_id: str, price: str = "requests", month: str = MONTH) -> Row:
    return Row(month, namespace, key_id, price)


SHOP = Cluster(
    keys=[
        key("orders", "orders-db", 1, "2025-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-11-16T00:00:00Z"),
        key("orders", "receipts", 2, keySpec="RSA_4096", keyUsage="SIGN_VERIFY"),
        key("orders", "aws-keystead", 3),
        key("billing", "ledger", 4, "2026-11-16T00:00:00Z"),
    ],
    maps=[
        config_map(0, {row("orders", id_of(1)): 1_200_000, row("orders", id_of(2), "asymmetric"): 40_000, row("orders", NO_KEY): 150}),
        config_map(1, {row("orders", id_of(1)): 840_000, row("orders", NO_KEY, "refused"): 12, row("billing", id_of(1)): 3_000}),
    ],
)


def test_counts_of_all_replicas_are_added_by_caller_key_and_class() -> None:
    told = ask(SHOP)
    assert {(each.namespace, each.key, each.price_class): each.calls for each in told.calls} == {
        ("orders", "orders/orders-db", "requests"): 2_040_000,
        ("orders", "orders/receipts", "asymmetric"): 40_000,
        ("orders", "", "requests"): 150,
        ("orders", "", "refused"): 12,
        ("billing", "orders/orders-db", "requests"): 3_000,
    }
    assert {each.name: each.calls for each in told.keys} == {"orders-db": 2_043_000, "receipts": 40_000, "aws-keystead": 0, "ledger": 0}


def test_keys_are_paid_for_by_their_versions_and_by_the_part_of_the_month() -> None:
    """1 + 1 for the first rotation + 1/2 for the second, on the 16th; 1; an AWS managed key nothing; half a month."""
    told = ask(SHOP)
    assert {each.name: (each.versions, each.cost) for each in told.keys} == {
        "orders-db": (3, "2.5000"),
        "receipts": (1, "1.0000"),
        "aws-keystead": (1, "0.0000"),
        "ledger": (1, "0.5000"),
    }
    assert (told.estimate.keys, told.estimate.requests, told.estimate.free_tier) == ("4.0000", "6.7294", "0.0600")
    assert told.estimate.total == "10.6694"


def test_a_namespace_sees_what_it_pays_for() -> None:
    told = ask(SHOP, "billing")
    assert [each.name for each in told.keys] == ["ledger"]
    assert [(each.namespace, each.key, each.calls) for each in told.calls] == [("billing", "orders/orders-db", 3_000)]
    assert told.estimate.total == "0.5000", "its 3,000 calls are in the free tier"


@pytest.mark.parametrize(("days", "cost"), [(30, "0.5000"), (7, "0.5000")])
def test_a_key_costs_nothing_from_when_its_deletion_was_scheduled(days: int, cost: str) -> None:
    ends = format_time(datetime(2026, 11, 16, tzinfo=UTC).replace(day=16) + (datetime(2026, 1, 1 + days) - datetime(2026, 1, 1)))
    going = key("a", "going", 1, state="PendingDeletion", ends=ends, scheduledDeletion={"pendingWindowInDays": days})
    assert [each.cost for each in ask(Cluster([going])).keys] == [cost]


def test_the_running_month_is_paid_for_up_to_now() -> None:
    told = ask(Cluster([key("a", "k", 1)], SHOP.maps), month="")
    assert (told.month, told.until) == ("2026-12", "2026-12-08T12:00:00Z")
    assert [each.cost for each in told.keys] == ["0.2419"]
    assert told.calls == ()


def versions(first: str, number: int, step: int) -> list[str]:
    """Times of the materials that an object shows: its newest sixteen."""
    begin = datetime.fromisoformat(first)
    return [format_time(begin + timedelta(days=step * version)) for version in range(number)][-16:]


@pytest.mark.parametrize(
    ("number", "step", "cost", "note"),
    [
        (16, 1, "2.9000", ""),  # 1 + 29/30 + 28/30: the second and the third, on the 2nd and 3rd of November
        (17, 1, "2.9000", "more than 16 versions; may cost more: when the first were made is not shown"),
        (30, 1, "2.0333", "more than 16 versions; may cost more: when the first were made is not shown"),
    ],
)
def test_of_many_versions_the_first_two_rotations_are_paid_for(number: int, step: int, cost: str, note: str) -> None:
    body = key("a", "many", 1, *versions("2026-11-01T00:00:00Z", number, step))
    body["status"]["creationTime"] = "2026-11-01T00:00:00Z"
    (told,) = ask(Cluster([body])).keys
    assert (told.cost, told.note, told.versions) == (cost, note, 16)


def test_of_many_versions_that_are_older_than_the_month_the_amount_is_whole() -> None:
    body = key("a", "many", 1, *versions("2024-01-01T00:00:00Z", 40, 20))
    body["status"]["creationTime"] = "2024-01-01T00:00:00Z"
    (told,) = ask(Cluster([body])).keys
    assert (told.cost, told.note) == ("3.0000", "more than 16 versions")


def test_a_key_that_cannot_be_read_is_named_and_hides_no_other() -> None:
    broken = key("a", "broken", 2, keySpec="OF_A_LATER_VERSION")
    told = ask(Cluster([broken, key("a", "k", 1)]))
    assert [each.name for each in told.keys] == ["k"]
    assert [note for note in told.notes if "a/broken" in note] == [told.notes[0]]
    assert "cannot be read" in told.notes[0]
    assert "a/broken" not in str(ask(Cluster([broken, key("b", "k", 1)]), "b").notes)


def test_a_key_that_was_not_made_yet_is_not_in_the_month() -> None:
    assert ask(Cluster([key("a", "k", 1, "2026-12-01T00:00:00Z")])).keys == ()


def test_what_has_no_row_of_its_own_is_told(month: str = MONTH) -> None:
    told = ask(Cluster(maps=[config_map(0, {row("a", OTHER): 7, row("a", id_of(9)): 1, row("a", NO_KEY, "of a later version"): 5})]))
    assert [(each.key, each.calls, each.cost) for each in told.calls] == [
        ("", 5, "0.0000"), (id_of(9), 1, "0.0000"), (OTHER, 7, "0.0000"),
    ]  # fmt: skip
    assert any(note.startswith("other: ") for note in told.notes)


def test_what_is_not_counted_from_the_begin_of_the_month_is_told() -> None:
    told = ask(Cluster(maps=[config_map(0, {}, "2026-11-09T10:00:00Z"), config_map(1, None)]))
    assert "counting began within the month: 2026-11-09T10:00:00Z" in told.notes
    assert "without counts, written by an earlier version: keystead-usage-1" in told.notes
    assert "counting began within the month: no server has written yet" in ask(Cluster(maps=[config_map(1, None)])).notes
    later = ask(Cluster(maps=[config_map(0, {}, "2026-11-09T10:00:00Z")]), month="2026-10")
    assert "counting began after the month: 2026-11-09T10:00:00Z; its calls are not known" in later.notes


def test_what_may_not_be_read_is_told_and_nothing_is_guessed() -> None:
    told = ask(Cluster(SHOP.keys, SHOP.maps, hidden=[""]), "billing")
    assert [each.key for each in told.calls] == [id_of(1)]
    assert told.unread == ("you may not list kmskeys in all namespaces",)
    with pytest.raises(ForbiddenError, match="you may not list configmaps in keystead-system"):
        ask(Cluster(hidden=["maps"]))


@pytest.mark.parametrize("hidden", [[], ["namespaces"]])
def test_where_nothing_was_counted_calls_are_not_known_instead_of_none(hidden: list[str]) -> None:
    """A misspelt --release-namespace looks like that, where namespaces may not be seen."""
    cluster = Cluster(SHOP.keys, hidden=hidden)
    told = ask(cluster)
    assert told.notes[0].startswith("calls are not known: there is no ConfigMap keystead-usage-* in keystead-system; ")
    assert told.notes[0].endswith("--release-namespace")
    output = said("-A", "--month", MONTH, cluster=cluster)
    assert "calls were not counted" in output and "\ncalls are not known\n" in output
    assert "no calls" not in output and "never" not in output
    assert "calls are not known" not in said("-A", "--month", MONTH)


def test_namespaces_that_are_not_there_are_named_where_that_can_be_seen() -> None:
    with pytest.raises(NotFoundError, match="--release-namespace: there is no namespace keystead-system;"):
        ask(Cluster(SHOP.keys, gone=["keystead-system"]))
    shop: dict[str, Any] = {"keys": SHOP.keys, "maps": SHOP.maps}
    with pytest.raises(NotFoundError, match="there is no namespace nope"):
        ask(Cluster(**shop, gone=["nope"]), "nope")
    assert ask(Cluster(**shop), "nope").calls == ()
    assert ask(Cluster(**shop, gone=["billing"]), "billing").calls  # it is gone, and what it used is not


def test_whether_a_namespace_is_lacking_is_asked_of_the_api_server_and_no_unread_list() -> None:
    kube = FakeKube(objects={"/api/v1/namespaces/shop": {"kind": "Namespace"}}, forbidden={"/hidden"})
    view = kube.view()
    assert [asyncio.run(view.lacks_namespace(name)) for name in ("shop", "nope", "hidden")] == [False, True, False]
    assert view.unread == ()


def test_a_month_to_come_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="2027-01 is not yet"):
        ask(SHOP, month="2027-01")


def said(*arguments: str, cluster: Cluster = SHOP) -> str:
    services = SimpleNamespace(usage=lambda place, wanted: asyncio.run(usage(cast(View, cluster), place.namespace or "orders", wanted)))
    done = CliRunner().invoke(usage_command, list(arguments), obj=services, catch_exceptions=False)
    return done.output


def test_the_page_has_what_the_command_says() -> None:
    """docs/usage.md: each example is run on the shop above, and what stands under it compared."""
    examples = [block.split("```")[0] for block in PAGE.read_text().split("```console\n")[1:]]
    assert len(examples) == 2
    for block in examples:
        command, _, output = block.partition("\n")
        assert said(*shlex.split(command)[4:]).strip() == output.strip()


def test_wrong_options_are_wrong_usage() -> None:
    for wrong in (("--month", "2026-13"), ("--month", "2026-1"), ("--month", "0000-01"), ("--month", "9999-12"), ("-A", "-n", "a")):
        assert CliRunner().invoke(usage_command, list(wrong), obj=None).exit_code == 2

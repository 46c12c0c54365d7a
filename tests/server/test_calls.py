"""Counting calls: by month, caller's namespace, key and price class; refused ones without their key; bounded; and the door does it."""

from __future__ import annotations

import timeit
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest
from tests.server.doors import NOW, ROOT, House, ask

from keystead.app.server.metrics import ServerMetrics
from keystead.errors import AuditUnavailableError, InvalidMacError, InvalidSignatureError, KmsError, KmsInternalError
from keystead.operations.counts import NO_KEY, OTHER, Row, added
from keystead.operations.refusals import dry_run
from keystead.operations.trail import NoAudit
from keystead.operations.usetable import merged
from keystead.operations.world import Judged
from keystead.resources.metrics import Metric
from keystead.resources.vocabulary import DataKeyPairSpec, KeySpec
from keystead.server import calls as module
from keystead.server.calls import Calls
from keystead.server.usage import Uses


def trail(*keys: tuple[str, KeySpec]) -> list[Judged]:
    return cast(list[Judged], [SimpleNamespace(key=SimpleNamespace(key_id=name, spec=spec)) for name, spec in keys])


PLAIN = trail(("k", KeySpec.SYMMETRIC_DEFAULT))
KEYLESS = cast(list[Judged], [SimpleNamespace(key=None)])


def row(price: str = "requests", key: str = "k", namespace: str = "a", month: str = "2026-11") -> Row:
    return Row(month, namespace, key, price)


def test_a_call_counts_for_its_caller_its_key_and_its_class() -> None:
    calls = Calls()
    for _ in range(3):
        calls.answered("Encrypt", "a", None, PLAIN, NOW)
    calls.answered("Decrypt", "a", None, PLAIN, NOW)
    calls.answered("Decrypt", "b", None, PLAIN, NOW)
    calls.answered("Sign", "a", None, trail(("e", KeySpec.ECC_NIST_P256)), NOW)
    calls.answered("ListKeys", "a", None, KEYLESS, NOW)
    calls.answered("GenerateRandom", "a", None, [], NOW)
    assert calls.counts() == {
        row(): 4,
        row(namespace="b"): 1,
        row("asymmetric", "e"): 1,
        row(key=NO_KEY): 2,
    }


@pytest.mark.parametrize(
    ("pair", "price"), [(DataKeyPairSpec.RSA_3072, "rsa-data-key-pairs"), (DataKeyPairSpec.ECC_NIST_P384, "ecc-data-key-pairs")]
)
def test_a_data_key_pair_is_priced_by_its_own_spec(pair: DataKeyPairSpec, price: str) -> None:
    calls = Calls()
    calls.answered("GenerateDataKeyPair", "a", SimpleNamespace(key_pair_spec=pair), PLAIN, NOW)
    assert calls.counts() == {row(price): 1}


def test_a_re_encrypt_is_one_call_of_the_dearer_key() -> None:
    calls = Calls()
    small, large = ("small", KeySpec.RSA_2048), ("large", KeySpec.RSA_4096)
    plain, other = ("k", KeySpec.SYMMETRIC_DEFAULT), ("l", KeySpec.SYMMETRIC_DEFAULT)
    for keys in ((plain, other), (plain, small), (small, large), (large, plain)):
        calls.answered("ReEncrypt", "a", None, trail(*keys), NOW)
    assert calls.counts() == {row(): 1, row("rsa-2048", "small"): 1, row("asymmetric", "large"): 2}


def test_a_refused_call_counts_without_a_key() -> None:
    calls = Calls()
    calls.refused("a", NOW)
    calls.refused("a", NOW)
    assert calls.counts() == {row("refused", NO_KEY): 2}


def test_a_call_counts_in_the_month_in_which_it_came_even_if_another_came_first() -> None:
    calls, december = Calls(), datetime(2026, 12, 1, tzinfo=UTC)
    for moment in (december - timedelta(seconds=1), december, december - timedelta(seconds=1)):
        calls.answered("Encrypt", "a", None, PLAIN, moment)
    assert calls.counts() == {row(): 2, row(month="2026-12"): 1}


def test_a_worker_that_slept_for_a_year_counts_in_the_new_one() -> None:
    calls = Calls()
    calls.answered("Encrypt", "a", None, PLAIN, NOW)
    calls.counts()
    calls.answered("Encrypt", "a", None, PLAIN, NOW.replace(year=2027))
    assert calls.counts()[row(month="2027-11")] == 1


def test_counts_stay_until_the_end_of_the_worker() -> None:
    """Whoever saves them replaces what he saved before."""
    calls = Calls()
    calls.answered("Encrypt", "a", None, PLAIN, NOW)
    first = calls.counts()
    calls.answered("Encrypt", "a", None, PLAIN, NOW)
    assert (first, calls.counts()) == ({row(): 1}, {row(): 2})


def test_keys_beyond_the_bound_are_other_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 100)
    monkeypatch.setattr(module, "_MAX_CELLS", 50)
    calls = Calls()
    for number in range(1000):
        calls.answered("Encrypt", "a", None, trail((str(number), KeySpec.SYMMETRIC_DEFAULT)), NOW)
        assert len(calls._cells) <= 50
    counts = calls.counts()
    assert len(counts) == 101
    assert counts[row(key=OTHER)] == 900


def test_the_metric_has_a_bounded_number_of_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMESPACES", 2)
    calls, metrics = Calls(), ServerMetrics()
    metrics.calls(calls.totals)
    for name in ("a", "b", "c", "d", "a"):
        calls.answered("Encrypt", name, None, PLAIN, NOW)
    calls.refused("c", NOW)
    text = generate_latest(metrics.registry).decode()
    found = {line for line in text.splitlines() if line.startswith(Metric.CALLS.value)}
    assert found == {
        'keystead_calls_total{class="requests",namespace="a"} 2.0',
        'keystead_calls_total{class="requests",namespace="b"} 1.0',
        'keystead_calls_total{class="requests",namespace="other"} 2.0',
        'keystead_calls_total{class="refused",namespace="other"} 1.0',
    }


def test_the_door_counts_answers_and_refusals_once_each_and_strangers_not_at_all() -> None:
    house, calls = House(), Calls()
    door = house.door(calls=calls)
    door.handle(ask())
    house.fault = KmsInternalError("away")
    door.handle(ask())
    door.handle(ask("TrentService.Import"))
    house.who.error = KmsInternalError("unknown")
    door.handle(ask())
    assert calls.counts() == {row(key=NO_KEY, namespace=ROOT.namespace): 1, row("refused", NO_KEY, ROOT.namespace): 2}


@pytest.mark.parametrize("fault", [dry_run(), InvalidSignatureError("no"), InvalidMacError("no")])
def test_a_dry_run_that_would_succeed_and_a_verify_that_says_no_are_calls_that_were_answered(fault: KmsError) -> None:
    house, calls = House(fault=fault), Calls()
    house.door(calls=calls).handle(ask())
    assert calls.counts() == {row(key=NO_KEY, namespace=ROOT.namespace): 1}


def test_what_is_not_recorded_is_not_counted() -> None:
    class Away(NoAudit):
        def call(self, _: Any) -> None:
            raise AuditUnavailableError

    house, calls = House(), Calls()
    house.door(calls=calls, audit=Away()).handle(ask())
    assert calls.counts() == {}


def test_a_workers_table_has_its_counts_and_tables_are_added() -> None:
    one, two = Uses(), Uses()
    for uses in (one, two):
        uses.calls.answered("Encrypt", "a", None, PLAIN, NOW)
    assert merged((one.own(), two.own())).counts == added((one.own().counts, two.own().counts)) == {row(): 2}


def test_counting_a_call_costs_less_than_two_microseconds() -> None:
    """0.25 us where it was written; the bound is loose for a busy machine, and far below a tenth of a call."""
    calls = Calls()
    seconds = min(timeit.repeat(lambda: calls.answered("Encrypt", "a", None, PLAIN, NOW), number=20_000, repeat=5)) / 20_000
    assert seconds < 2e-6

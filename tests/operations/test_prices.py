"""What a month would cost at AWS: the table against AWS's own worked examples, and every operation has a class.

Sources: "AWS Key Management Service Pricing", sections Key storage, Key usage, Free tier and Pricing examples; where the page's words are
quoted by others, the quote is named.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.operator.harness import ROOT

from keystead.operations.control.registry import CONTROL
from keystead.operations.prices import (
    DEAR,
    PAIRS,
    PRICES,
    PriceClass,
    bounds_of,
    class_of,
    free_share,
    key_cost,
    month_of,
    requests_cost,
)
from keystead.operations.registry import OPERATIONS
from keystead.resources.vocabulary import DataKeyPairSpec, KeySpec

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
NEVER = datetime(2030, 1, 1, tzinfo=UTC)


def bill(calls: dict[PriceClass, int]) -> Decimal:
    return requests_cost(calls) - free_share(calls)


def test_a_file_store_of_10_000_objects_that_are_read_2_000_000_times_is_6_97() -> None:
    """Pricing examples: one key, 10,000 Encrypt and 2,000,000 Decrypt: 1.00 + 1,990,000 x 0.03 / 10,000 = 6.97."""
    calls = {PriceClass.REQUESTS: 2_010_000}
    assert key_cost([LONG_AGO], NEVER, "2026-11") + bill(calls) == Decimal("6.97")


def test_one_key_with_99_000_decrypts_and_1_000_encrypts_is_1_24() -> None:
    """An example of 2019, when prices were the same: 1.00 + (100,000 - 20,000) x 0.03 / 10,000."""
    assert key_cost([LONG_AGO], NEVER, "2026-11") + bill({PriceClass.REQUESTS: 100_000}) == Decimal("1.24")


def test_15_000_decrypts_are_within_the_free_tier() -> None:
    """The same page: one key and 15,000 requests are 1.00."""
    assert bill({PriceClass.REQUESTS: 15_000}) == 0


@pytest.mark.parametrize(
    ("kind", "price"),
    [(PriceClass.RSA_2048, "0.03"), (PriceClass.ASYMMETRIC, "0.15"), (PriceClass.ECC_PAIRS, "0.10"), (PriceClass.RSA_PAIRS, "12.00")],
)
def test_asymmetric_calls_and_pairs_are_not_in_the_free_tier(kind: PriceClass, price: str) -> None:
    """Key usage: the price list's five lines; Free tier: which calls are excluded."""
    assert bill({kind: 10_000}) == Decimal(price)


def test_a_refused_call_has_no_price() -> None:
    assert bill({PriceClass.REFUSED: 1_000_000}) == 0
    assert set(PRICES.requests) == set(PriceClass) - {PriceClass.REFUSED}


def test_the_first_two_rotations_add_a_dollar_each_and_no_other() -> None:
    """Key storage: 'the first and second rotation of the key adds $1/month ... capped at the second rotation'."""
    rotations = [LONG_AGO + timedelta(days=30 * number) for number in range(8)]
    assert [key_cost(rotations[:made], NEVER, "2026-11") for made in (1, 2, 3, 4, 8)] == [1, 2, 3, 3, 3]


def test_a_key_is_paid_for_from_its_making_to_the_begin_of_its_end() -> None:
    """Key storage: prorated hourly; no charge while a deletion is scheduled."""
    half = NOVEMBER + timedelta(days=15)
    assert key_cost([half], NEVER, "2026-11") == Decimal("0.5")
    assert key_cost([LONG_AGO], half, "2026-11") == Decimal("0.5")
    assert key_cost([LONG_AGO], NOVEMBER - timedelta(days=1), "2026-11") == 0
    assert key_cost([NEVER], NEVER, "2026-11") == 0
    assert key_cost([LONG_AGO, half], NEVER, "2026-11") == Decimal("1.5")


@pytest.mark.parametrize(
    ("made", "ended", "hours"),
    [
        ("00:00:00", "01:00:00", 1),
        ("00:10:00", "00:50:00", 1),
        ("00:59:59", "01:00:01", 2),
        ("03:30:00", "05:30:00", 3),
        ("02:00:00", "01:00:00", 0),
        ("00:50:00", "00:10:00", 0),
    ],
)
def test_storage_is_paid_for_by_the_hour_of_which_any_part_counts_whole(made: str, ended: str, hours: int) -> None:
    """Key storage: 'prorated hourly'."""
    begin, end = (datetime.fromisoformat(f"2026-11-05T{time}+00:00") for time in (made, ended))
    assert key_cost([begin], end, "2026-11") == Decimal(hours) / Decimal(30 * 24)


def test_every_operation_with_its_key_has_a_class() -> None:
    assert set(OPERATIONS | CONTROL) >= DEAR | PAIRS
    for operation in OPERATIONS | CONTROL:
        for spec in (None, *KeySpec):
            assert class_of(operation, spec) in PRICES.requests


@pytest.mark.parametrize(
    ("operation", "spec", "pair", "kind"),
    [
        ("Encrypt", KeySpec.SYMMETRIC_DEFAULT, None, PriceClass.REQUESTS),
        ("GenerateMac", KeySpec.HMAC_512, None, PriceClass.REQUESTS),
        ("ListKeys", None, None, PriceClass.REQUESTS),
        ("DescribeKey", KeySpec.ECC_NIST_P256, None, PriceClass.REQUESTS),
        ("GetPublicKey", KeySpec.ECC_NIST_P256, None, PriceClass.ASYMMETRIC),
        ("Sign", KeySpec.RSA_2048, None, PriceClass.RSA_2048),
        ("Decrypt", KeySpec.RSA_4096, None, PriceClass.ASYMMETRIC),
        ("Verify", KeySpec.ECC_NIST_EDWARDS25519, None, PriceClass.ASYMMETRIC),
        ("GenerateDataKeyPair", KeySpec.SYMMETRIC_DEFAULT, DataKeyPairSpec.RSA_2048, PriceClass.RSA_PAIRS),
        ("GenerateDataKeyPairWithoutPlaintext", KeySpec.SYMMETRIC_DEFAULT, DataKeyPairSpec.ECC_NIST_P256, PriceClass.ECC_PAIRS),
    ],
)
def test_a_call_is_of_the_class_that_aws_bills_it_by(
    operation: str, spec: KeySpec | None, pair: DataKeyPairSpec | None, kind: PriceClass
) -> None:
    assert class_of(operation, spec, pair) is kind


def test_a_month_is_utcs() -> None:
    assert month_of(datetime.fromisoformat("2026-12-01T00:30:00+01:00")) == "2026-11"
    assert bounds_of("2026-12") == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs/usage.md").read_text()
    assert f"checked {PRICES.checked.isoformat()}" in page and PRICES.source in page and PRICES.region in page
    for kind, price in PRICES.requests.items():
        row = re.search(rf"^\| `{kind.value}` .*$", page, re.MULTILINE)
        assert row is not None and f"{price} USD" in row[0], kind

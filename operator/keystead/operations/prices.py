"""What a month would cost at AWS: price classes of calls, and the dated price table. Pure. For people; nothing is decided by it.

Asked by server/calls.py (which class a call is of) and by `kubectl kms usage`. The figures are those of AWS Price List files (service code
awskms) that public repositories keep for their tests, and of stored copies of AWS's pages; nobody read the live page. By title:

    "AWS Key Management Service Pricing" (Key storage, Key usage, Free tier, Note 1, Note 2): a key is 1 $ a month, by the hour; its first
    and second rotation add 1 $ each, further ones nothing; a key that is scheduled for deletion and an AWS managed key cost nothing; data
    key pairs, and calls such as Sign, Verify, Encrypt, Decrypt and GetPublicKey with asymmetric keys, are not in the free tier; the account
    that makes a call pays for it, calls to AWS managed keys are paid like others.
    "AWS Billing, Effective billing date, account activity, and volume discounts": accounts of an organization are billed as one.

    "AWS KMS Developer Guide, Testing your permissions": a DryRun is billed as a request.

Whether AWS bills a call that it refuses, none of its pages says: refused calls are a class of their own here, without a price. A Verify or
VerifyMac that answers no did its work, and is no refused call here. How a part of an hour of storage is rounded, no page says: up, here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from keystead.resources.vocabulary import DataKeyPairSpec, KeySpec


class PriceClass(StrEnum):
    """AWS's lines of a bill, and REFUSED. The values stand in ConfigMaps and in a metric: they stay."""

    REQUESTS = "requests"
    """Symmetric and HMAC keys, and everything that administers: in the free tier."""
    RSA_2048 = "rsa-2048"
    ASYMMETRIC = "asymmetric"
    """Asymmetric keys but RSA_2048."""
    ECC_PAIRS = "ecc-data-key-pairs"
    RSA_PAIRS = "rsa-data-key-pairs"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices as they were found on one day. requests: of 10,000, by class. rotations: how many of a key's rotations are paid for."""

    checked: date
    source: str
    region: str
    currency: str
    key_month: Decimal
    rotations: int
    free: int
    requests: Mapping[PriceClass, Decimal]


PRICES: Final = PriceTable(
    checked=date(2026, 11, 26),
    source="AWS Price List fixtures in public repositories and stored AWS pages",
    region="us-east-1",
    currency="USD",
    key_month=Decimal(1),
    rotations=2,
    free=20_000,
    requests=MappingProxyType(
        {
            PriceClass.REQUESTS: Decimal("0.03"),
            PriceClass.RSA_2048: Decimal("0.03"),
            PriceClass.ASYMMETRIC: Decimal("0.15"),
            PriceClass.ECC_PAIRS: Decimal("0.10"),
            PriceClass.RSA_PAIRS: Decimal("12.00"),
        }
    ),
)
"""The table in use."""
_LOT: Final = 10_000
_HOUR: Final = 3600
DEAR: Final = frozenset({"Sign", "Verify", "Encrypt", "Decrypt", "ReEncrypt", "GetPublicKey", "DeriveSharedSecret"})
"""Calls that are priced by the spec of their key."""
PAIRS: Final = frozenset({"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"})
_SYMMETRIC: Final = frozenset(
    {KeySpec.SYMMETRIC_DEFAULT, KeySpec.HMAC_224, KeySpec.HMAC_256, KeySpec.HMAC_384, KeySpec.HMAC_512}
)


def class_of(operation: str, spec: KeySpec | None, pair: DataKeyPairSpec | None = None) -> PriceClass:
    """Of a call that was answered. spec: of its key, None where it needs none; pair: of the data key pair that it makes."""
    if operation in PAIRS and pair is not None:
        return PriceClass.RSA_PAIRS if pair.value.startswith("RSA") else PriceClass.ECC_PAIRS
    if operation not in DEAR or spec is None or spec in _SYMMETRIC:
        return PriceClass.REQUESTS
    return PriceClass.RSA_2048 if spec is KeySpec.RSA_2048 else PriceClass.ASYMMETRIC


def requests_cost(calls: Mapping[PriceClass, int]) -> Decimal:
    """Without the free tier."""
    return sum((PRICES.requests.get(each, Decimal(0)) * number / _LOT for each, number in calls.items()), Decimal(0))


def free_share(calls: Mapping[PriceClass, int]) -> Decimal:
    """What the free tier takes off the calls of all accounts of one bill."""
    return requests_cost({PriceClass.REQUESTS: min(calls.get(PriceClass.REQUESTS, 0), PRICES.free)})


def key_cost(made: Sequence[datetime], ended: datetime, month: str) -> Decimal:
    """Storage of one key in a month. made: when its materials were, oldest first; ended: from then on nothing is paid."""
    begin, end = bounds_of(month)
    cost = Decimal(0)
    whole = _hours(begin, end)
    for moment in made[: 1 + PRICES.rotations]:
        cost += PRICES.key_month * Decimal(_hours(max(moment, begin), min(ended, end))) / Decimal(whole)
    return cost


def _hours(begin: datetime, end: datetime) -> int:
    """Hours of the clock of which any part lies between."""
    if end <= begin:
        return 0
    return -(-int(end.timestamp()) // _HOUR) - int(begin.timestamp()) // _HOUR


def month_of(moment: datetime) -> str:
    """`2026-11`, by UTC."""
    at = moment.astimezone(UTC)
    return f"{at.year:04}-{at.month:02}"


def bounds_of(month: str) -> tuple[datetime, datetime]:
    """Begin and end of a month. ValueError for what is none."""
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)

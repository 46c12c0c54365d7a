"""Request quotas: a token bucket for each account, region and class of call. The door asks it once a call, app makes it.

The classes, and the figures of the preset `aws`, are those of AWS KMS, Developer Guide, 'Request quotas' as of 2026: TABLE, and REGIONAL
for the Regions that have others. The Region is that of the call: the install's, and with `keystead dev` whichever the client signs for.
ReEncrypt counts once there, and once here.

The class of a cryptographic call is that of the key's type, and comes from the request's algorithm: a call whose algorithm is not of the
key's type never succeeds, and no key has to be looked at. So an answer "too fast" cannot tell anything of a key.

Pure: the clock is given, and monotonic. What may never enter: a key, a record, anything that another account could be known by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, isfinite
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from keystead.engine.algorithms import EncryptionAlgorithm, SigningAlgorithm
from keystead.errors import ThrottlingError
from keystead.policy import Caller
from keystead.policy.caller import CallerKind
from keystead.resources.vocabulary import DataKeyPairSpec

SYMMETRIC: Final = "Cryptographic/symmetric"
RSA: Final = "Cryptographic/RSA"
ECC: Final = "Cryptographic/ECC"
_SECOND: Final = 1_000_000_000
MOST: Final = 1_000_000
"""Calls a second that a limit can be: beyond it a bucket, which counts nanoseconds, would be coarse."""
_PLACES: Final = 16_384


class QuotaRow(NamedTuple):
    """One class. `name`: AWS's name of the quota, without its " request rate". `rate`: the figure of the preset `aws`, calls a second."""

    name: str
    rate: float
    operations: tuple[str, ...]


_PAIRS: Final[Mapping[DataKeyPairSpec, float]] = {
    DataKeyPairSpec.RSA_2048: 20,
    DataKeyPairSpec.RSA_3072: 4,
    DataKeyPairSpec.RSA_4096: 1,
    **{spec: 100 for spec in DataKeyPairSpec if spec.value.startswith("ECC")},
}
_SINGLE: Final[Mapping[str, float]] = {
    "CancelKeyDeletion": 5,
    "CreateAlias": 5,
    "CreateGrant": 50,
    "CreateKey": 5,
    "DeleteAlias": 15,
    "DescribeKey": 2000,
    "DisableKey": 5,
    "DisableKeyRotation": 5,
    "EnableKey": 5,
    "EnableKeyRotation": 15,
    "GetKeyLastUsage": 5,
    "GetKeyPolicy": 1000,
    "GetKeyRotationStatus": 1000,
    "GetPublicKey": 2000,
    "ListAliases": 500,
    "ListGrants": 100,
    "ListKeyPolicies": 100,
    "ListKeyRotations": 100,
    "ListKeys": 500,
    "ListResourceTags": 2000,
    "ListRetirableGrants": 100,
    "PutKeyPolicy": 15,
    "RetireGrant": 50,
    "RevokeGrant": 50,
    "RotateKeyOnDemand": 5,
    "ScheduleKeyDeletion": 15,
    "TagResource": 10,
    "UntagResource": 5,
    "UpdateAlias": 5,
    "UpdateKeyDescription": 5,
}
_PAIR_OPERATIONS: Final = ("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext")
_EITHER: Final = ("Encrypt", "Decrypt", "ReEncrypt")
_ALWAYS_SYMMETRIC: Final = ("GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GenerateRandom", "VerifyMac")

TABLE: Final[Mapping[str, QuotaRow]] = MappingProxyType(
    {
        SYMMETRIC: QuotaRow("Cryptographic operations (symmetric)", 10_000, (*_EITHER, *_ALWAYS_SYMMETRIC)),
        RSA: QuotaRow("Cryptographic operations (RSA)", 1000, (*_EITHER, "Sign", "Verify")),
        ECC: QuotaRow("Cryptographic operations (ECC and SM2)", 1000, ("DeriveSharedSecret", "Sign", "Verify")),
        **{
            f"GenerateDataKeyPair/{spec.value}": QuotaRow(f"GenerateDataKeyPair ({spec.value})", rate, _PAIR_OPERATIONS)
            for spec, rate in _PAIRS.items()
        },
        **{operation: QuotaRow(operation, rate, (operation,)) for operation, rate in _SINGLE.items()},
    }
)
"""Class -> row. Every operation of the endpoint is in one of them (a test holds it total)."""

REGIONAL: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        **{region: {SYMMETRIC: 100_000} for region in ("us-east-1", "us-west-2", "eu-west-1")},
        **{
            region: {SYMMETRIC: 20_000}
            for region in ("us-east-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "eu-central-1", "eu-west-2")
        },
        **{
            region: {f"GenerateDataKeyPair/RSA_{bits}": rate for bits, rate in ((2048, 1), (3072, 0.5), (4096, 0.1))}
            for region in ("cn-north-1", "cn-northwest-1")
        },
    }
)
"""Region -> class -> its figure where that is not TABLE's. The same page of AWS's, read in November 2026."""

_OF_ENCRYPTION: Final[Mapping[object, str]] = {
    algorithm: SYMMETRIC if algorithm is EncryptionAlgorithm.SYMMETRIC_DEFAULT else RSA for algorithm in EncryptionAlgorithm
}
_OF_SIGNING: Final[Mapping[object, str]] = {
    algorithm: RSA if algorithm.value.startswith("RSA") else ECC for algorithm in SigningAlgorithm
}
_OF_PAIR: Final[Mapping[object, str]] = {spec: f"GenerateDataKeyPair/{spec.value}" for spec in DataKeyPairSpec}
# Operation -> member of the request that decides, and the class of each of its values. Of a ReEncrypt the source decides.
_BY_MEMBER: Final[Mapping[str, tuple[str, Mapping[object, str]]]] = {
    "Encrypt": ("encryption_algorithm", _OF_ENCRYPTION),
    "Decrypt": ("encryption_algorithm", _OF_ENCRYPTION),
    "ReEncrypt": ("source_encryption_algorithm", _OF_ENCRYPTION),
    "Sign": ("signing_algorithm", _OF_SIGNING),
    "Verify": ("signing_algorithm", _OF_SIGNING),
    **dict.fromkeys(_PAIR_OPERATIONS, ("key_pair_spec", _OF_PAIR)),
}
_OF_OPERATION: Final[Mapping[str, str]] = {
    **dict.fromkeys(_ALWAYS_SYMMETRIC, SYMMETRIC),
    "DeriveSharedSecret": ECC,
    **{operation: operation for operation in _SINGLE},
}


class Quota(Protocol):
    """What the door asks."""

    def charge(self, operation: str, request: object, caller: Caller, region: str) -> None:
        """One call of the account is made. ThrottlingError where it is one too many: then nothing was counted."""


class Unlimited:
    """`Quota` where none is set."""

    def charge(self, operation: str, request: object, caller: Caller, region: str) -> None:
        """Nothing is counted."""


@dataclass(frozen=True, slots=True)
class _Rate:
    """One class as a bucket counts it, in nanoseconds: what a call takes, and how far ahead of the clock calls may be."""

    name: str
    interval: int
    slack: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls a second by class, and by region what is other there. A class that is not in it is not limited."""

    everywhere: Mapping[str, float]
    regional: Mapping[str, Mapping[str, float]]

    def of(self, region: str) -> dict[str, float]:
        """All that holds in a region."""
        return {**self.everywhere, **self.regional.get(region, {})}


class Buckets:
    """`Quota`.

    share      the part of each limit that is this process's: others that serve have the rest
    throttled  told the class of each call that was refused
    places     buckets that are remembered, twice as many at most

    A bucket holds one second's calls, one at least. It is a moment: when the next call would be due if calls came at the limit's pace. One
    whose moment is over is full, and the same as none: forgetting it gives nobody anything, as long as no more than `places` are in use.
    Buckets lie in two generations; what is used moves to the young one, and when that is full, the old one goes: each call costs the same.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], int],
        *,
        share: float = 1.0,
        throttled: Callable[[str], None] = lambda _class: None,
        places: int = _PLACES,
    ) -> None:
        self._fixed, self._chosen = _by_call(limits.everywhere, share)
        self._regional = {region: _by_call(limits.of(region), share) for region in limits.regional}
        self._clock = clock
        self._throttled = throttled
        self._places = places
        self._young: dict[tuple[str, str, str], int] = {}
        self._old: dict[tuple[str, str, str], int] = {}

    def charge(self, operation: str, request: object, caller: Caller, region: str) -> None:
        """See Quota."""
        own = self._regional.get(region)
        rate = (self._fixed if own is None else own[0]).get(operation)
        if rate is None:
            chosen = (self._chosen if own is None else own[1]).get(operation)
            rate = None if chosen is None else chosen[1].get(getattr(request, chosen[0]))
            if rate is None:
                return
        place = (rate.name, _who_pays(caller), region)
        due = self._young.get(place)
        if due is None:
            due = self._old.get(place, 0)
            if len(self._young) >= self._places:
                self._old, self._young = self._young, {}
            self._young[place] = due
        now = self._clock()
        if due - now > rate.slack:
            self._throttled(rate.name)
            raise ThrottlingError
        self._young[place] = (due if due > now else now) + rate.interval

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class OwnBuckets(Buckets):
    """`Quota` of one class that is no operation of AWS KMS: each principal has a bucket of its own, which holds `burst` calls."""

    def __init__(
        self, name: str, rate: float, burst: int, clock: Callable[[], int], throttled: Callable[[str], None] = lambda _class: None
    ) -> None:
        super().__init__(Limits({}, {}), clock, throttled=throttled)
        interval = ceil(_SECOND / rate)
        self._fixed = {name: _Rate(name, interval, (burst - 1) * interval)}

    def charge(self, operation: str, request: object, caller: Caller, region: str) -> None:
        """See Quota. As if the principal were an account."""
        super().charge(operation, request, replace(caller, account=caller.principal), region)


class Places:
    """So many at once, and of one account fewer: no tenant takes the last place from all others."""

    def __init__(self, most: int, of_one: int) -> None:
        self._most, self._of_one = most, of_one
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: Caller) -> Iterator[None]:
        """One, for as long as it takes. ThrottlingError where none is free."""
        who = _who_pays(caller)
        if self._taken.total() >= self._most or self._taken[who] >= self._of_one:
            raise ThrottlingError
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            self._taken += Counter()  # forgets who has none


def _who_pays(caller: Caller) -> str:
    """An account, but people have one together, the install's own: they must not stop each other."""
    return caller.principal if caller.kind is CallerKind.USER else caller.account


def _rate(name: str, rate: float) -> _Rate:
    interval = ceil(_SECOND / rate)
    return _Rate(name, interval, (max(int(rate), 1) - 1) * interval)


_Chosen = tuple[str, dict[object, _Rate]]


def _by_call(limits: Mapping[str, float], share: float) -> tuple[dict[str, _Rate], dict[str, _Chosen]]:
    """The rate of a call: by its operation alone, or by a member of its request."""
    rates = {name: _rate(name, rate * share) for name, rate in limits.items()}
    fixed = {operation: rates[name] for operation, name in _OF_OPERATION.items() if name in rates}
    chosen = {
        operation: (member, {value: rates[name] for value, name in classes.items() if name in rates})
        for operation, (member, classes) in _BY_MEMBER.items()
    }
    return fixed, chosen


def aws_limits() -> dict[str, float]:
    """The preset `aws`, where a Region has no figure of its own."""
    return {name: row.rate for name, row in TABLE.items()}


def limits_of(preset: object, changes: object) -> Limits:
    """A preset, `off` or `aws`, with changes to it, for every region; null: no limit. ValueError names what is wrong."""
    if preset not in ("off", "aws"):
        raise ValueError(f"preset must be off or aws, not {preset!r}")
    if not isinstance(changes, dict):
        raise ValueError("limits must be an object: class of call -> calls a second, or null")  # noqa: TRY004 - it is a value's
    limits = aws_limits() if preset == "aws" else {}
    regional = {region: dict(rates) for region, rates in REGIONAL.items()} if preset == "aws" else {}
    for name, rate in _checked(changes):
        for rates in regional.values():
            rates.pop(name, None)
        if rate is None:
            limits.pop(name, None)
        else:
            limits[name] = rate
    return Limits(limits, regional)


def _checked(changes: Mapping[object, object]) -> Iterator[tuple[str, float | None]]:
    for name, rate in changes.items():
        if not isinstance(name, str) or name not in TABLE:
            raise ValueError(f"limits: no class of call is named {name!r}; there are {', '.join(TABLE)}")
        if rate is None:
            yield name, None
            continue
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not isfinite(rate) or not 0 < rate <= MOST:
            raise ValueError(f"limits.{name}: calls a second, more than 0 and at most {MOST}, or null; not {rate!r}")
        yield name, float(rate)

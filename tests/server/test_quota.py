"""Request quotas under a clock of their own: never more than a bucket and its rate give, each account for itself, in bounded memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.app.frontdoor import SERVED
from keystead.app.quota import make_quota, read_limits
from keystead.engine.algorithms import EncryptionAlgorithm, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS, Family
from keystead.errors import InvalidSpecError, ThrottlingError
from keystead.policy import root_caller, service_account_caller
from keystead.policy.caller import Caller, user_caller
from keystead.resources.vocabulary import DataKeyPairSpec
from keystead.server.quota import (
    ECC,
    REGIONAL,
    RSA,
    SYMMETRIC,
    TABLE,
    Buckets,
    Limits,
    OwnBuckets,
    Unlimited,
    aws_limits,
    limits_of,
)

SECOND = 1_000_000_000
ACCOUNTS = ("111122223333", "444455556666")
CALLER = root_caller(ACCOUNTS[0], "a")
OTHER = root_caller(ACCOUNTS[1], "b")


@dataclass
class Desk:
    """Buckets, their clock, and what they told."""

    limits: dict[str, float] | Limits
    how: dict[str, Any] = field(default_factory=dict)
    now: int = 0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = self.limits if isinstance(self.limits, Limits) else Limits(self.limits, {})
        self.buckets = Buckets(limits, lambda: self.now, throttled=self.told.append, **self.how)

    def call(self, operation: str = "CreateKey", caller: Caller = CALLER, region: str = "r", **members: Any) -> bool:
        """Whether the call is let through."""
        try:
            self.buckets.charge(operation, SimpleNamespace(**members), caller, region)
        except ThrottlingError:
            return False
        return True

    def burst(self, most: int = 1000, **how: Any) -> int:
        """How many are let through at one moment."""
        return next((n for n in range(most) if not self.call(**how)), most)


def test_a_second_s_calls_may_come_at_once_and_the_next_one_when_it_is_due() -> None:
    desk = Desk({"CreateKey": 5})
    assert desk.burst() == 5
    desk.now += SECOND // 5 - 1
    assert not desk.call()
    desk.now += 1
    assert (desk.call(), desk.call()) == (True, False)
    assert desk.told == ["CreateKey"] * 3


def test_a_rest_fills_the_bucket_and_never_more_than_that() -> None:
    desk = Desk({"CreateKey": 5})
    desk.burst()
    desk.now += 1000 * SECOND
    assert desk.burst() == 5


def test_a_refused_call_costs_nothing() -> None:
    desk = Desk({"CreateKey": 1})
    desk.call()
    for _ in range(100):
        assert not desk.call()
    desk.now += SECOND
    assert desk.call()


@pytest.mark.parametrize(("rate", "burst", "seconds"), [(1, 1, 1), (0.25, 1, 4), (2.5, 2, 0.4)])
def test_slow_rates_let_one_call_through_at_a_time(rate: float, burst: int, seconds: float) -> None:
    desk = Desk({"CreateKey": rate})
    assert desk.burst() == burst
    desk.now += int(seconds * SECOND)
    assert desk.burst() == 1


Steps = st.lists(st.one_of(st.integers(0, 3 * SECOND), st.integers(0, SECOND // 50)), min_size=1, max_size=120)


@settings(max_examples=200, deadline=None)
@given(rate=st.floats(0.2, 60), share=st.sampled_from([1.0, 0.5, 1 / 3]), steps=Steps)
def test_no_window_of_time_holds_more_than_a_bucket_and_its_rate(rate: float, share: float, steps: list[int]) -> None:
    desk = Desk({"CreateKey": rate}, {"share": share})
    passed = []
    for step in steps:
        desk.now += step
        passed += [desk.now] * desk.burst(4)
    rate *= share
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            window = (passed[last] - start) / SECOND
            assert last - first + 1 <= max(int(rate), 1) + rate * window + 1e-6


@settings(max_examples=100, deadline=None)
@given(rate=st.floats(0.5, 50), steps=st.lists(st.integers(0, SECOND), min_size=1, max_size=60))
def test_who_keeps_to_the_rate_is_never_refused(rate: float, steps: list[int]) -> None:
    desk = Desk({"CreateKey": rate})
    for step in steps:
        desk.now += step + int(SECOND / rate) + 1
        assert desk.call()


@settings(max_examples=50, deadline=None)
@given(calls=st.lists(st.tuples(st.booleans(), st.integers(0, SECOND // 4)), max_size=80))
def test_an_account_is_served_as_if_it_were_alone(calls: list[tuple[bool, int]]) -> None:
    both, alone = Desk({"CreateKey": 5}), Desk({"CreateKey": 5})
    for other, step in calls:
        both.now = alone.now = both.now + step
        if other:
            both.burst(8, caller=OTHER)
        else:
            assert both.call() == alone.call()


def test_each_region_and_each_class_counts_for_itself() -> None:
    desk = Desk({"CreateKey": 1, "CreateAlias": 1})
    assert desk.call() and desk.call(region="other") and desk.call("CreateAlias")
    assert not desk.call() and not desk.call(region="other") and not desk.call("CreateAlias")


def test_all_of_an_account_share_its_quota_and_people_have_their_own() -> None:
    """People have one account, the install's own."""
    desk = Desk({"CreateKey": 2})
    workloads = [service_account_caller(ACCOUNTS[0], "a", name) for name in ("one", "two", "three")]
    assert [desk.call(caller=each) for each in workloads] == [True, True, False]
    people = [user_caller("999988887777", "keystead-records", name) for name in ("ada", "ben")]
    assert [desk.burst(caller=each) for each in people] == [2, 2]


def test_what_has_no_limit_is_not_counted() -> None:
    desk = Desk({"CreateKey": 1})
    assert desk.burst(operation="CreateAlias") == 1000
    assert desk.burst(operation="Encrypt", encryption_algorithm=EncryptionAlgorithm.SYMMETRIC_DEFAULT) == 1000
    assert len(desk.buckets) == 0
    assert isinstance(make_quota(Limits({}, {}), 4), Unlimited)


# -- classes


def test_every_operation_of_the_endpoint_is_in_a_class_and_no_other_one() -> None:
    assert {operation for row in TABLE.values() for operation in row.operations} == set(SERVED)


def requests(operation: str) -> Iterator[dict[str, Any]]:
    """Members of its request that could decide, with every value."""
    for encryption in EncryptionAlgorithm:
        for signing in SigningAlgorithm:
            for pair in DataKeyPairSpec:
                yield {"encryption_algorithm": encryption, "signing_algorithm": signing, "key_pair_spec": pair,
                       "source_encryption_algorithm": encryption, "destination_encryption_algorithm": encryption}  # fmt: skip


@pytest.mark.parametrize("operation", sorted(SERVED))
def test_every_request_of_an_operation_is_in_exactly_one_of_its_classes(operation: str) -> None:
    found: set[str] = set()
    for members in requests(operation):
        desk = Desk(dict.fromkeys(TABLE, 1.0))
        assert desk.call(operation, **members)
        assert not desk.call(operation, **members)
        found |= set(desk.told)
        assert len(desk.told) == 1
    assert found == {name for name, row in TABLE.items() if operation in row.operations}


@pytest.mark.parametrize("spec", sorted(KEY_SPECS))
def test_the_algorithm_tells_the_type_of_the_key_that_can_do_it(spec: Any) -> None:
    row = KEY_SPECS[spec]
    wanted = {Family.SYMMETRIC: SYMMETRIC, Family.RSA: RSA, Family.EC: ECC, Family.EDWARDS: ECC}.get(row.family)
    for operation, member, algorithms in (
        ("Encrypt", "encryption_algorithm", row.encryption), ("Sign", "signing_algorithm", row.signing)
    ):  # fmt: skip
        for algorithm in algorithms:
            desk = Desk(dict.fromkeys(TABLE, 1.0))
            desk.call(operation, **{member: algorithm})
            desk.call(operation, **{member: algorithm})
            assert desk.told == [wanted]


# -- memory


def test_memory_is_bounded_whoever_calls() -> None:
    desk = Desk({"CreateKey": 1}, {"places": 10})
    for number in range(1000):
        desk.call(caller=root_caller(f"{number:012}", "x"))
        assert len(desk.buckets) <= 20


def test_a_bucket_in_use_is_not_forgotten_for_others_and_not_for_its_refusals() -> None:
    """As long as no more than `places` others come between two of its calls."""
    desk = Desk({"CreateKey": 1}, {"places": 10})
    assert desk.call()
    for number in range(1000):
        desk.call(caller=root_caller(f"{number:012}", "x"))
        if number % 8 == 0:
            assert not desk.call()


# -- what is set


def test_the_preset_is_the_whole_table() -> None:
    limits = read_limits("aws", "X")
    assert limits.of("cluster-1") == aws_limits() == {name: row.rate for name, row in TABLE.items()}
    assert read_limits("off", "X").of("us-east-1") == {}


FIGURES = {
    "us-east-1": 100_000, "us-west-2": 100_000, "eu-west-1": 100_000, "us-east-2": 20_000, "ap-southeast-1": 20_000,
    "ap-southeast-2": 20_000, "ap-northeast-1": 20_000, "eu-central-1": 20_000, "eu-west-2": 20_000, "eu-north-1": 10_000,
    "cn-north-1": 10_000, "cluster-1": 10_000,
}  # fmt: skip


@pytest.mark.parametrize(("region", "figure"), FIGURES.items())
def test_a_calls_region_has_awss_figure_for_it(region: str, figure: int) -> None:
    limits = read_limits("aws", "X")
    desk = Desk(limits)
    symmetric = {"operation": "GenerateRandom", "region": region}
    assert desk.burst(100_001, **symmetric) == figure == limits.of(region)[SYMMETRIC]
    pairs = {"GenerateDataKeyPair": DataKeyPairSpec.RSA_2048, "GenerateDataKeyPairWithoutPlaintext": DataKeyPairSpec.RSA_3072}
    bursts = [desk.burst(operation=operation, region=region, key_pair_spec=spec) for operation, spec in pairs.items()]
    assert bursts == ([1, 1] if region.startswith("cn-") else [20, 4])
    assert desk.burst(operation="CreateKey", region=region) == 5  # whatever has one figure keeps it


def test_the_figures_of_a_region_reach_what_serves_and_are_divided_among_its_processes() -> None:
    quota = make_quota(read_limits("aws", "X"), 1000)
    taken = {"us-east-1": 0, "cluster-1": 0}
    for region in taken:
        with suppress(ThrottlingError):
            for _ in range(60):
                quota.charge("GenerateRandom", None, CALLER, region)
                taken[region] += 1
    assert taken["us-east-1"] == 60
    assert 10 <= taken["cluster-1"] < 60


def test_a_limit_that_is_said_holds_in_every_region() -> None:
    said = limits_of("aws", {SYMMETRIC: 7, "GenerateDataKeyPair/RSA_4096": None})
    for region in ("us-east-1", "eu-central-1", "cn-north-1", "cluster-1"):
        assert (said.of(region)[SYMMETRIC], "GenerateDataKeyPair/RSA_4096" in said.of(region)) == (7, False)
    assert said.of("cn-north-1")["GenerateDataKeyPair/RSA_2048"] == 1


def test_every_figure_of_a_region_is_of_a_class_and_another_one_than_elsewhere() -> None:
    for rates in REGIONAL.values():
        assert all(TABLE[name].rate != rate for name, rate in rates.items())


def test_a_custom_preset_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "quota.json"
    file.write_text(json.dumps({"preset": "aws", "limits": {"CreateKey": 20, "ListKeys": None}}))
    limits = read_limits(str(file), "X").of("cluster-1")
    assert limits == {**{name: rate for name, rate in aws_limits().items() if name != "ListKeys"}, "CreateKey": 20.0}
    assert read_limits('{"limits": {"Cryptographic/symmetric": 0.5}}', "X").of("us-east-1") == {SYMMETRIC: 0.5}
    assert limits_of("off", {}).of("us-east-1") == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("on", "off, aws, JSON or a file"),
        ("{", "Expecting"),
        ('{"limit": {}}', "not limit"),
        ('{"preset": "azure"}', "preset must be off or aws"),
        ('{"limits": []}', "limits must be an object"),
        ('{"limits": {"Encrypt": 5}}', "no class of call is named 'Encrypt'"),
        ('{"limits": {"CreateKey": 0}}', "limits.CreateKey"),
        ('{"limits": {"CreateKey": -1}}', "limits.CreateKey"),
        ('{"limits": {"CreateKey": true}}', "limits.CreateKey"),
        ('{"limits": {"CreateKey": "5"}}', "limits.CreateKey"),
        ('{"limits": {"CreateKey": 1e7}}', "limits.CreateKey"),
        ('{"limits": {"CreateKey": NaN}}', "limits.CreateKey"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(named)) as caught:
        read_limits(text, "KEYSTEAD_QUOTA")
    assert "KEYSTEAD_QUOTA" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "named"),
    [(b"", "Expecting value"), (b"limits: 5", "Expecting value"), (b"\xff", "decode"), (b"[]", "JSON object"), (None, "No such file")],
)
def test_a_file_that_cannot_be_is_named(tmp_path: Path, data: bytes | None, named: str) -> None:
    file = tmp_path / "quota.json"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(InvalidSpecError) as caught:
        read_limits(str(file), "--quota")
    assert re.match(f"--quota: .*{re.escape(str(file))}: .*{named}", str(caught.value))


def test_the_parts_of_all_processes_are_one_quota() -> None:
    desks = [Desk({"DescribeKey": 2000}, {"share": 1 / 4}) for _ in range(4)]
    assert sum(desk.burst(3000, operation="DescribeKey") for desk in desks) == 2000


def test_each_principal_of_an_account_has_a_bucket_of_its_own_where_it_is_asked_for() -> None:
    now = 10**12
    told: list[str] = []
    buckets = OwnBuckets("ReadAuditRecords", 5, 10, lambda: now, told.append)
    app, other = (service_account_caller("111122223333", "team-a", name, uid=name) for name in ("app", "other"))

    def calls(caller: Caller, number: int) -> int:
        taken = 0
        for _ in range(number):
            with suppress(ThrottlingError):
                buckets.charge("ReadAuditRecords", None, caller, "cluster-1")
                taken += 1
        return taken

    assert (calls(app, 12), calls(other, 12)) == (10, 10)
    assert told == ["ReadAuditRecords"] * 4
    now += 10**9
    assert calls(app, 12) == 5

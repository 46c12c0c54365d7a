"""`kubectl kms usage` by the real kubectl: exactly the calls that clients made at real servers, by who made them; and their cost."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.operator.harness import SYSTEM, wait_for
from tests.serving.desk import KEY, Desk, Worker, code_of
from tests.serving.harness import ServerProcess, server
from tests.serving.kubectl import Done, Plugin

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Teams:
    """Three namespaces, each with a ServiceAccount that may do everything in it."""

    desk: Desk
    names: tuple[str, ...]
    workers: tuple[Worker, ...]
    plugin: Plugin

    def usage(self, *more: str) -> Done:
        done = self.plugin("usage", "--release-namespace", SYSTEM, *more)
        assert done.code == 0, done.err
        return done

    def calls(self) -> dict[tuple[str, str, str], int]:
        """Of the three, as the command tells them."""
        told = self.usage("-A", "-o", "json").json
        return {
            (self.names.index(each["namespace"]), self.short(each["key"]), each["priceClass"]): each["calls"]
            for each in told["calls"]
            if each["namespace"] in self.names
        }

    def short(self, key: str) -> str:
        """`1/db` for the key db of the second namespace."""
        namespace, _, name = key.partition("/")
        return f"{self.names.index(namespace)}/{name}" if name else key


@pytest.fixture(scope="module")
def teams(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teams]:
    names = tuple(f"usage-{letter}-{uuid.uuid4().hex[:6]}" for letter in "abc")
    for name in names:
        desk.installation.cluster.kubectl("create", "namespace", name)
    desk.apply(KEY, names[0], "db")
    desk.apply(KEY, names[0], "signer", keySpec="ECC_NIST_P256", keyUsage="SIGN_VERIFY")
    desk.apply(KEY, names[1], "db")
    desk.apply(KEY, names[2], "own")  # nothing is lent to an account that nobody has claimed
    workers = tuple(desk.worker(name, "app", "*") for name in names)
    yield Teams(desk, names, workers, Plugin.install(desk.installation.cluster, Path(tmp_path_factory.mktemp("bin"))))
    for name in names:
        desk.installation.cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def counted(teams: Teams) -> dict[tuple[str, str, str], int]:
    """What was called, at three processes of two Pods, which have ended: the counts are on their way for a minute otherwise."""
    desk, arns = teams.desk, {}
    for namespace, name in ((0, "db"), (0, "signer"), (1, "db")):
        arns[namespace, name] = desk.object(KEY, teams.names[namespace], name)["status"]["keyArn"]
    lend(teams, arns[1, "db"])
    installation, authority = desk.installation, desk.authority
    with server(installation, authority, "usage-1") as one, server(installation, authority, "usage-2", server_workers="2") as two:
        for process in (one, two):
            process.wait_ready()
        first, second, third = (worker.at(one).kms() for worker in teams.workers)
        for _ in range(3):
            blob = first.encrypt(KeyId=arns[0, "db"], Plaintext=b"x")["CiphertextBlob"]
        for _ in range(2):
            first.sign(KeyId=arns[0, "signer"], Message=b"x", SigningAlgorithm="ECDSA_SHA_256")
        first.list_keys()
        assert code_of(first.encrypt, KeyId=arns[1, "db"], Plaintext=b"x") == "AccessDeniedException"
        second.generate_data_key_pair(KeyId=arns[1, "db"], KeyPairSpec="ECC_NIST_P256")
        third.encrypt(KeyId=arns[1, "db"], Plaintext=b"x")
        assert samples(one, teams.names) == {
            (0, "requests"): 4, (0, "asymmetric"): 2, (0, "refused"): 1, (1, "ecc-data-key-pairs"): 1, (2, "requests"): 1,
        }  # fmt: skip
        for _ in range(5):  # on new connections, so that both workers have some
            teams.workers[0].at(two).kms().decrypt(CiphertextBlob=blob)
    return {
        (0, "0/db", "requests"): 8,
        (0, "0/signer", "asymmetric"): 2,
        (0, "", "requests"): 1,
        (0, "", "refused"): 1,
        (1, "1/db", "ecc-data-key-pairs"): 1,
        (2, "1/db", "requests"): 1,
    }


def lend(teams: Teams, arn: str) -> None:
    """The third may encrypt with the second's key: the key's policy says so, and its own RBAC."""
    own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{arn.split(':')[4]}:root"}, "Action": "kms:*", "Resource": "*"}
    lent = {"Effect": "Allow", "Principal": {"AWS": teams.workers[2].role}, "Action": "kms:Encrypt", "Resource": "*"}
    teams.desk.apply(KEY, teams.names[1], "db", policy={"Version": "2012-10-17", "Statement": [own, lent]})

    def recorded() -> bool:
        found = teams.desk.object(KEY, teams.names[1], "db")
        return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])

    wait_for("the policy is recorded", recorded)


def samples(process: ServerProcess, names: tuple[str, ...]) -> dict[tuple[int, str], int]:
    """The metric, as Prometheus reads it."""
    found = {}
    for line in process.get("/metrics")[1].splitlines():
        if line.startswith("keystead_calls_total{"):
            labels, _, value = line.partition("{")[2].partition("} ")
            told = dict(label.replace('"', "").split("=") for label in labels.split(","))
            if told["namespace"] in names:
                found[names.index(told["namespace"]), told["class"]] = int(float(value))
    return found


def test_every_call_counts_once_for_its_caller_whatever_process_answered_it(
    teams: Teams, counted: dict[tuple[str, str, str], int]
) -> None:
    assert teams.calls() == counted


def test_a_server_that_starts_and_ends_again_adds_to_what_it_finds(teams: Teams, counted: dict[tuple[str, str, str], int]) -> None:
    before = teams.calls()
    with server(teams.desk.installation, teams.desk.authority, "usage-3") as process:
        process.wait_ready()
        teams.workers[1].at(process).kms().list_keys()
    assert teams.calls() == before | {(1, "", "requests"): 1}


def test_amounts_are_of_the_namespace_and_add_up(teams: Teams, counted: dict[tuple[str, str, str], int]) -> None:
    told = teams.usage("-n", teams.names[0], "-o", "json").json
    assert told["namespace"] == teams.names[0]
    assert [(key["name"], key["spec"], key["versions"], key["calls"]) for key in told["keys"]] == [
        ("db", "SYMMETRIC_DEFAULT", 1, 8),
        ("signer", "ECC_NIST_P256", 1, 2),
    ]
    assert {each["namespace"] for each in told["calls"]} == {teams.names[0]}
    total = {name: Decimal(value) for name, value in told["estimate"].items()}
    assert total["keys"] == sum(Decimal(key["cost"]) for key in told["keys"])
    assert total["requests"] == (9 * Decimal("0.03") / 10_000 + 2 * Decimal("0.15") / 10_000).quantize(Decimal("0.0001"))
    assert abs(total["keys"] + total["requests"] - total["freeTier"] - total["total"]) <= Decimal("0.0001")
    assert told["prices"]["checked"] in teams.usage("-n", teams.names[0]).out


def test_the_table_says_that_it_is_an_estimate_and_of_when(teams: Teams, counted: dict[tuple[str, str, str], int]) -> None:
    said = teams.usage("-n", teams.names[0]).out
    assert "estimate of the same at AWS: keys " in said
    assert "prices: us-east-1, by AWS Price List fixtures" in said
    rows = [line.split() for line in said.splitlines()]
    assert [teams.names[0], f"{teams.names[0]}/signer", "asymmetric", "2", "0.0000"] in rows
    assert [teams.names[0], "-", "refused", "1", "0.0000"] in rows


def test_another_month_has_other_calls_and_one_to_come_is_refused(teams: Teams, counted: dict[tuple[str, str, str], int]) -> None:
    told = teams.usage("-A", "--month", "2026-01", "-o", "json").json
    assert (told["calls"], told["keys"]) == ([], [])
    done = teams.plugin("usage", "--month", "2999-01")
    assert done.code == 2 and "is not yet" in done.err
    assert teams.plugin("usage", "--month", "soon").code == 2


def test_it_reads_with_the_persons_own_rights(teams: Teams, counted: dict[tuple[str, str, str], int]) -> None:
    mine = teams.plugin.of(teams.plugin.cluster.service_account_kubeconfig(teams.names[0], "app"))
    done = mine("usage", "--release-namespace", SYSTEM)
    assert done.code == 2 and f"you may not list configmaps in {SYSTEM}" in done.err, done.err


def test_misspelt_namespaces_are_no_use_of_nothing(teams: Teams) -> None:
    done = teams.plugin("usage", "-A", "--release-namespace", "foo")
    assert done.code == 2 and "--release-namespace: there is no namespace foo" in done.err, done.err
    done = teams.plugin("usage", "-n", "nope", "--release-namespace", SYSTEM)
    assert done.code == 2 and "there is no namespace nope" in done.err, done.err
    done = teams.plugin("usage", "-A", "--release-namespace", "default")  # it is there, and has no counts
    assert done.code == 0 and "calls were not counted" in done.out and "there is no ConfigMap keystead-usage-* in default" in done.out


def test_a_key_whose_object_is_gone_is_shown_by_its_id(teams: Teams, counted: dict[tuple[str, str, str], int]) -> None:
    found: Any = teams.desk.object(KEY, teams.names[0], "signer")
    key_id = found["status"]["keyId"]
    teams.desk.delete(KEY, teams.names[0], "signer")
    wait_for("the object is gone", lambda: teams.desk.object(KEY, teams.names[0], "signer") is None)
    told = teams.usage("-n", teams.names[0], "-o", "json").json
    rows = {(each["key"], each["priceClass"]): each["calls"] for each in told["calls"]}
    assert rows[key_id, "asymmetric"] == 2
    assert [key["name"] for key in told["keys"]] == ["db"]

"""What the sealed records hold by themselves: people with one right on a live operator, with the admission policies and without any.

A cluster of its own, because the policies are deleted here. What each policy asks: tests/chart/test_policies_cluster.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chart.people import People, path_of
from tests.chart.policed import POLICIES
from tests.cluster.kinds import built
from tests.operator.desk import HOLD, KEY, Desk, desk
from tests.operator.harness import RECORDS, install, key, wait_for

from keystead.engine.identifiers import RecordKind

pytestmark = pytest.mark.cluster

TEAM = "team"
_REPLACED = {"Effect": "Allow", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*"}
CLOSED_POLICY = {"Version": "2012-10-17", "Statement": [_REPLACED]}
CREATOR = ("create kmskeys", "delete kmskeys", "createkey kmskeys")
STATUS, SECRETS = ("patch kmskeys+status",), (f"delete secrets in {RECORDS}",)
RULED, UNRULED = "with policies", "without policies"


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with built() as cluster:
        installation = install(cluster, Path(tmp_path_factory.mktemp("admission")) / "install", (TEAM,))
        with desk(installation, TEAM) as opened:
            yield opened


@pytest.fixture(scope="module")
def people(at: Desk) -> People:
    made = People(at.installation.cluster, TEAM)
    made.give([*CREATOR, *STATUS, *SECRETS])
    return made


@pytest.fixture(scope="module", params=[RULED, UNRULED])
def rules(request: pytest.FixtureRequest, at: Desk, people: People) -> str:
    """Both worlds, the one with policies first: pytest orders tests by this parameter."""
    if request.param == UNRULED:
        at.installation.cluster.kubectl("delete", ",".join(POLICIES), "--all")
    new = key(TEAM, "probe", enabled=True)

    def ruled() -> str:
        answer = people.ask(CREATOR, "POST", path_of("kmskeys", TEAM), new)
        return UNRULED if answer.ok else RULED if answer.by_policy else answer.message

    wait_for(request.param, lambda: ruled() == request.param)
    return str(request.param)


def made_again(at: Desk, people: People, name: str) -> None:
    """Deleted and created, without policy and enabled, by somebody who may do just that."""
    path = path_of("kmskeys", TEAM, name)
    assert people.ask(CREATOR, "DELETE", path, dry=False).ok
    at.until(f"{name} is an orphan", lambda: getattr(at.key_record(name), "bound", None) is False)
    answer = people.ask(CREATOR, "POST", path_of("kmskeys", TEAM), key(TEAM, name), dry=False)
    assert answer.ok, answer.message


def test_a_key_made_again_by_who_may_only_create_stays_closed(at: Desk, people: People, rules: str) -> None:
    name = f"closed-{rules.replace(' ', '-')}"
    at.key(name, enabled=False, policy=CLOSED_POLICY)
    before = at.reason(KEY, name, "Disabled")["status"]
    policy = at.key_record(name).policy
    made_again(at, people, name)
    after = at.reason(KEY, name, "Disabled")["status"]
    assert (after["keyId"], after["keyState"]) == (before["keyId"], "Disabled")
    record = at.key_record(name)
    assert (record.enabled, record.policy) == (False, policy)


def test_a_key_made_again_by_who_may_only_create_stays_held(at: Desk, people: People, rules: str) -> None:
    name = f"held-{rules.replace(' ', '-')}"
    at.key(name)
    at.ready(KEY, name)
    at.annotate(KEY, name, HOLD, "incident-9")
    at.reason(KEY, name, "Held")
    made_again(at, people, name)
    at.reason(KEY, name, "Held")
    assert at.key_record(name).hold.by == "incident-9"


def test_whoever_may_patch_status_moves_no_record(at: Desk, people: People, rules: str) -> None:
    name = f"forged-{rules.replace(' ', '-')}"
    at.key(name, enabled=False)
    before = at.reason(KEY, name, "Disabled")["status"]
    record = at.key_record(name)
    patch = [{"op": "replace", "path": "/status/keyState", "value": "Enabled"}]
    assert people.ask(STATUS, "PATCH", path_of("kmskeys", TEAM, name, "status"), patch, dry=False).ok
    at.until("the status is put right", lambda: at.get(KEY, name)["status"] == before)
    assert at.key_record(name) == record


def test_a_record_that_somebody_deleted_is_missed_and_no_key_is_made_in_its_place(at: Desk, people: People, rules: str) -> None:
    name = f"lost-{rules.replace(' ', '-')}"
    at.key(name)
    key_id = at.ready(KEY, name)["status"]["keyId"]
    secret = at.direct.record(RecordKind.KEY, TEAM, name)["metadata"]["name"]
    answer = people.ask(SECRETS, "DELETE", path_of("secrets", RECORDS, secret), dry=False)
    if rules == RULED:
        assert answer.by_policy
        assert at.key_record(name).key_id == key_id
        return
    assert answer.ok
    at.until("the loss is seen", lambda: at.key_record(name) is None)
    at.look(KEY, name)
    at.reason(KEY, name, "RecordIntegrity")
    assert at.key_record(name) is None

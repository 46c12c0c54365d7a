"""KmsAlias on a real API server: one claim a name, a retarget without downtime, release, and data keys that name an alias."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import CommandError
from tests.operator.caller import Caller, RefusedError, caller
from tests.operator.chaos import delay, kill_after
from tests.operator.desk import ALIAS, DATA_KEY, KEY, Desk, desk
from tests.operator.direct import CallError
from tests.operator.harness import Installation, condition, wait_for
from tests.operator.replicas import SHORT

from keystead.engine.identifiers import RecordKind, record_name, root_arn

pytestmark = pytest.mark.cluster
MOVES = 6
MANY, VERSIONS = 20, 10
# Writes of re-wraps before the kill: 16 workers do 8 in a pass, and say so; it is neither before the first status nor after the last.
KILLED_AFTER = 150


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for all tests of this module, namespace `aliases`, and the keys `one` and `two`. No test waits for a refresh."""
    with contextlib.ExitStack() as stack, desk(installation, "aliases", **SHORT, refresh_period="3600") as made:
        for name in ("one", "two"):
            made.key(name)
        for name in ("one", "two"):
            made.ready(KEY, name)
        yield made
        stack.callback(made.operator.stop)  # after a test killed the first one it is another


@pytest.fixture(scope="module")
def kms(installation: Installation) -> Iterator[Caller]:
    with caller(installation) as made:
        yield made


def key_id(at: Desk, name: str) -> str:
    return str(at.get(KEY, name)["status"]["keyId"])


def root(at: Desk) -> str:
    """The principal of the namespace."""
    return root_arn(at.get(KEY, "one")["status"]["keyArn"].split(":")[4])


def point(at: Desk, alias: str, key: str, alias_name: str | None = None) -> Any:
    """The alias object, once it names the key."""
    at.named(ALIAS, alias, aliasName=alias_name or f"alias/{alias}", keyRef={"name": key})
    wanted = key_id(at, key)
    return at.until(f"{alias} names {key}", lambda: (body := at.ready(ALIAS, alias))["status"]["targetKeyId"] == wanted and body)


def by_alias(at: Desk, name: str, alias: str, **spec: Any) -> None:
    at.named(DATA_KEY, name, aliasRef={"name": alias}, target={"secretName": name}, **spec)


# The claim


def test_kubectl_makes_an_alias_and_shows_it(at: Desk) -> None:
    cluster = at.installation.cluster
    metadata = {"namespace": at.namespace, "name": "plain"}
    spec = {"aliasName": "alias/plain", "keyRef": {"name": "one"}}
    cluster.apply({"apiVersion": "kms.keystead.io/v1alpha1", "kind": ALIAS, "metadata": metadata, "spec": spec})
    cluster.kubectl("wait", "--for=condition=Ready", "kmsalias/plain", "-n", at.namespace, "--timeout=60s")
    row = cluster.kubectl("get", "ka", "plain", "-n", at.namespace, "--no-headers").split()
    assert row[:4] == ["plain", "True", "alias/plain", "one"]
    uid = at.get(ALIAS, "plain")["metadata"]["uid"]
    assert at.direct.events(at.namespace, uid) == ["Created"]


def test_the_first_has_the_name_and_a_freed_one_goes_to_who_waits(at: Desk) -> None:
    point(at, "first", "one", "alias/wanted")
    at.named(ALIAS, "second", aliasName="alias/wanted", keyRef={"name": "two"})
    taken = at.reason(ALIAS, "second", "AliasTaken")
    assert "targetKeyId" not in taken["status"]
    assert at.alias_records()["alias/wanted"].key_id == key_id(at, "one")
    at.installation.cluster.kubectl("delete", "kmsalias", "first", "-n", at.namespace)
    at.ready(ALIAS, "second")  # woken by the freed name, not by a refresh
    assert at.alias_records()["alias/wanted"].key_id == key_id(at, "two")


def test_an_object_made_again_under_another_name_frees_the_old_one(at: Desk, tmp_path: Path) -> None:
    point(at, "renamed", "one", "alias/before")
    at.named(ALIAS, "patient", aliasName="alias/before", keyRef={"name": "two"})
    at.reason(ALIAS, "patient", "AliasTaken")
    body = {"apiVersion": "kms.keystead.io/v1alpha1", "kind": ALIAS, "metadata": {"namespace": at.namespace, "name": "renamed"}}
    file = tmp_path / "renamed.json"
    file.write_text(json.dumps({**body, "spec": {"aliasName": "alias/after", "keyRef": {"name": "one"}}}))
    at.installation.cluster.kubectl("replace", "--force", "-f", str(file))
    at.ready(ALIAS, "renamed")
    at.ready(ALIAS, "patient")
    records = at.alias_records()
    assert (records["alias/after"].name, records["alias/before"].name) == ("renamed", "patient")


@pytest.mark.parametrize("name", ["alias/aws/mine", "alias/aws/", "aliases", "alias/", "alias/a b", "alias/" + "x" * 251])
def test_a_name_that_cannot_be_is_refused_by_the_api_server(at: Desk, name: str) -> None:
    with pytest.raises(CallError, match="aliasName"):
        at.named(ALIAS, "refused", aliasName=name, keyRef={"name": "one"})
    assert at.get(ALIAS, "refused") is None


def test_an_aliass_name_never_changes(at: Desk) -> None:
    point(at, "fixed", "one")
    with pytest.raises(CommandError, match="aliasName"):
        at.installation.cluster.kubectl(
            "patch", "kmsalias", "fixed", "-n", at.namespace, "--type=merge", "-p", '{"spec":{"aliasName":"alias/other"}}'
        )


def test_a_deleted_aliass_record_goes_with_it(at: Desk, kms: Caller) -> None:
    point(at, "short-lived", "one")
    assert kms.encrypt(root(at), "alias/short-lived", b"x")
    at.delete(ALIAS, "short-lived")
    at.until("the record is gone", lambda: "alias/short-lived" not in at.alias_records())
    with pytest.raises(RefusedError, match="NotFoundException"):
        kms.encrypt(root(at), "alias/short-lived", b"x")


# What it names


class Traffic:
    """A program that encrypts by the alias all the time."""

    def __init__(self, kms: Caller, principal: str, alias: str) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.keys: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(kms, principal, alias))
        self._errors: list[Exception] = []

    def _run(self, kms: Caller, principal: str, alias: str) -> None:
        try:
            while not self._stop.is_set():
                plaintext = b"message %d" % len(self.keys)
                answer = kms.call("Encrypt", principal, key_id=alias, plaintext=plaintext)
                self.blobs[base64.b64decode(answer["CiphertextBlob"])] = plaintext
                self.keys.append(answer["KeyId"].rpartition("/")[2])
        except Exception as error:  # told in the test's own thread
            self._errors.append(error)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._errors:
            raise AssertionError("a call failed while the alias moved") from self._errors[0]


def test_an_alias_moves_without_downtime_and_old_blobs_open(at: Desk, kms: Caller) -> None:
    point(at, "moving", "one")
    me, ids = root(at), [key_id(at, name) for name in ("one", "two")]
    cluster = at.installation.cluster
    with Traffic(kms, me, "alias/moving") as traffic:
        for n in range(1, MOVES + 1):
            at.until("traffic", lambda: ids[(n - 1) % 2] in traffic.keys[-3:])  # noqa: B023 - asked at once
            patch = json.dumps({"spec": {"keyRef": {"name": ("one", "two")[n % 2]}}})
            cluster.kubectl("patch", "kmsalias", "moving", "-n", at.namespace, "--type=merge", "-p", patch)
            at.until("the move", lambda: at.get(ALIAS, "moving")["status"]["targetKeyId"] == ids[n % 2])  # noqa: B023
    changes = [after for before, after in zip(traffic.keys, traffic.keys[1:], strict=False) if before != after]
    assert [traffic.keys[0], *changes][:MOVES] == [ids[n % 2] for n in range(MOVES)]
    assert len(changes) in (MOVES - 1, MOVES)  # each move is seen once: the old key until the write, the new one after it
    sample = list(traffic.blobs.items())[:: max(len(traffic.blobs) // 20, 1)]
    assert [kms.decrypt(me, blob) for blob, _ in sample] == [plaintext for _, plaintext in sample]
    events = at.direct.events(at.namespace, at.get(ALIAS, "moving")["metadata"]["uid"])
    assert events.count("Created") == 1
    assert events.count("Retargeted") == MOVES


def test_the_command_line_takes_an_alias(at: Desk, tmp_path: Path) -> None:
    point(at, "typed", "two")
    me, plain = root(at), tmp_path / "plain"
    plain.write_bytes(b"by its name")
    told = at.installation.keystead("crypt", "encrypt", "--as", me, "--key-id", "alias/typed", "--plaintext", str(plain), "-o", "json")
    answer = json.loads(told.stdout)
    assert answer["KeyId"].endswith(key_id(at, "two"))
    arn = at.get(ALIAS, "typed")["status"]["aliasArn"]
    blob = f"base64:{answer['CiphertextBlob']}"
    opened = at.installation.keystead("crypt", "decrypt", "--as", me, "--key-id", arn, "--ciphertext-blob", blob, "-o", "json")
    assert base64.b64decode(json.loads(opened.stdout)["Plaintext"]) == b"by its name"


def test_a_key_that_ends_takes_no_alias_and_the_old_one_serves_on(at: Desk, kms: Caller) -> None:
    at.key("ending", scheduledDeletion={"pendingWindowInDays": 7})
    at.reason(KEY, "ending", "PendingDeletion")
    point(at, "steady", "one")
    for key, reason in (("ending", "DependencyNotReady"), ("no-such-key", "DependencyNotFound")):
        at.named(ALIAS, "steady", aliasName="alias/steady", keyRef={"name": key})
        body = at.reason(ALIAS, "steady", reason)
        assert body["status"]["targetKeyId"] == key_id(at, "one")
        assert kms.encrypt(root(at), "alias/steady", b"x")
    at.key("no-such-key")
    at.ready(ALIAS, "steady")  # woken by the key's record
    at.merge(KEY, "ending", spec={"scheduledDeletion": None, "enabled": True})
    at.ready(KEY, "ending")


# Data keys by an alias


def test_a_moved_alias_reaches_a_data_key_at_its_next_rotation(at: Desk) -> None:
    point(at, "for-data", "one")
    by_alias(at, "follows", "for-data")
    at.ready(DATA_KEY, "follows")
    first, secret = at.data_key_record("follows"), at.data("follows")
    point(at, "for-data", "two")
    at.look(DATA_KEY, "follows")
    assert (at.data_key_record("follows"), at.data("follows")) == (first, secret)
    status = at.rotate(DATA_KEY, "follows")["status"]
    record = at.data_key_record("follows")
    assert first is not None
    assert record is not None
    assert [v.key_arn.rpartition("/")[2] for v in record.versions] == [key_id(at, "one"), key_id(at, "two")]
    assert (record.versions[0], status["keyName"]) == (first.versions[0], "two")
    arns = {name: at.get(KEY, name)["status"]["keyArn"] for name in ("one", "two")}
    assert (status["keyArn"], status["keyArns"]) == (arns["two"], sorted(arns.values()))
    plain = at.plaintexts()["follows"]
    at.rotate(KEY, "two")
    material = at.get(KEY, "two")["status"]["currentKeyMaterialId"]
    at.until("the re-wrap", lambda: at.get(DATA_KEY, "follows")["status"]["keyMaterialId"] == material)
    after = at.data_key_record("follows")
    assert after is not None
    assert (after.versions[0], after.versions[1].key_material_id) == (first.versions[0], material)
    assert at.plaintexts()["follows"] == plain


def test_a_data_key_waits_for_its_alias_and_heals_alone(at: Desk) -> None:
    by_alias(at, "early", "late")
    at.reason(DATA_KEY, "early", "DependencyNotFound")
    assert at.data_key_record("early") is None
    point(at, "late", "one")
    at.ready(DATA_KEY, "early")  # woken by the alias's record


def test_one_apply_of_a_bundle_with_everything_in_the_wrong_order_is_ready_at_once(at: Desk, tmp_path: Path) -> None:
    """Data key, then its alias, then its key: each is woken by the record of the one that it waits for."""
    metadata = {"namespace": at.namespace, "name": "bundled"}
    specs = {
        DATA_KEY: {"aliasRef": {"name": "bundled"}, "target": {"secretName": "bundled"}},
        ALIAS: {"aliasName": "alias/bundled", "keyRef": {"name": "bundled"}},
        KEY: {},
    }
    items = [{"apiVersion": "kms.keystead.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec} for kind, spec in specs.items()]
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    at.installation.cluster.kubectl("apply", "-f", str(file))
    at.ready(DATA_KEY, "bundled")
    assert at.data("bundled")["ciphertext"]


def test_a_data_key_that_waits_for_a_usable_key_goes_on_when_its_alias_moves_to_one(at: Desk) -> None:
    at.key("asleep", enabled=False)
    at.reason(KEY, "asleep", "Disabled")
    at.named(ALIAS, "turning", aliasName="alias/turning", keyRef={"name": "asleep"})
    at.ready(ALIAS, "turning")
    by_alias(at, "turned", "turning")
    at.reason(DATA_KEY, "turned", "DependencyNotReady")
    point(at, "turning", "one")
    assert at.ready(DATA_KEY, "turned")["status"]["keyName"] == "one"


def test_of_a_key_abroad_the_same_is_read_whether_or_not_it_exists(at: Desk) -> None:
    """Nothing to be learned from words or from time: one record by its name, and then nothing else."""
    at.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
    other = Desk(at.installation, at.direct, at.proxy, at.operator, "elsewhere")
    other.key("there")
    other.ready(KEY, "there")
    names = {name: record_name(RecordKind.KEY, "elsewhere", name) for name in ("there", "not-there")}
    rules = [at.proxy.rule(lambda r, end=end: r.path.endswith(end), delay(0), times=None) for end in names.values()]
    said = []
    for name in names:
        reference = {"name": name, "namespace": "elsewhere"}
        at.named(DATA_KEY, f"abroad-{name}", keyRef=reference, target={"secretName": f"abroad-{name}"})
        body = at.reason(DATA_KEY, f"abroad-{name}", "ReferenceNotGranted")
        said.append([(c["type"], c["reason"], c["message"]) for c in body["status"]["conditions"]])
    assert said[0] == said[1]
    assert all(rule.hits for rule in rules)
    other.clean()


# Re-wrap of many. Last of this module: the operator is killed


def test_many_versions_are_rewrapped_with_progress_and_a_kill_in_between(at: Desk) -> None:
    at.key("wraps")
    names = [f"many-{n}" for n in range(MANY)]
    for name in names:
        at.data_key(name, "wraps")
    for name in names:
        at.ready(DATA_KEY, name)
    for n in range(2, VERSIONS + 1):
        for name in names:
            at.annotate(DATA_KEY, name, "kms.keystead.io/rotate-requested-at", f"{n}")
        at.until(f"version {n} of all", lambda: all(at.get(DATA_KEY, name)["status"].get("version") == n for name in names))  # noqa: B023
    plain = at.plaintexts()

    def progress() -> list[tuple[int, int]]:
        found = [at.get(DATA_KEY, name)["status"]["rewrap"] for name in names]
        return [(each["done"], each["total"]) for each in found if each["keyMaterialId"] == material]

    killed = at.proxy.rule(lambda r: r.is_record and r.method == "PUT", kill_after(lambda: at.operator), after=KILLED_AFTER)
    at.annotate(KEY, "wraps", "kms.keystead.io/rotate-requested-at", "now")
    wait_for("the kill", lambda: killed.hits > 0 and at.operator.child.poll() is not None)
    record = at.key_record("wraps")
    assert record is not None
    material = record.current_version.material_id
    assert 0 < sum(done for done, _ in progress()) < MANY * VERSIONS  # a pass says how far it came
    at.operator = at.installation.start("aliases-again", **SHORT)
    at.until("all is done", lambda: progress() == [(VERSIONS, VERSIONS)] * MANY)
    for name in names:
        body = at.ready(DATA_KEY, name)
        rewrapped = condition(body, "Rewrapped")
        assert rewrapped is not None
        assert (rewrapped["status"], rewrapped["reason"]) == ("True", "Rewrapped")
        record = at.data_key_record(name)
        assert record is not None
        assert {version.key_material_id for version in record.versions} == {material}
        assert at.data(name)["ciphertext"] == record.current_version.blob
    after = at.plaintexts()
    assert {name: after[name] for name in names} == {name: plain[name] for name in names}

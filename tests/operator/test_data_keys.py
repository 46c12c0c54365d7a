"""KmsDataKey on a real API server: its own Secret and foreign ones, repair, rotation with overlap, re-wrap, what it refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tests.operator.desk import DATA_KEY, DAY, GRANT, HOLD, KEY, SECRET, Desk, desk
from tests.operator.direct import CallError, path_of
from tests.operator.harness import Installation, condition

from keystead.engine.identifiers import RecordKind, root_arn
from keystead.resources.names import ALLOW_DELETION

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for all tests of this module, namespace `data-keys`, and the key `main`."""
    with desk(installation, "data-keys") as made:
        made.key("main")
        made.ready(KEY, "main")
        yield made


def prefixed(name: str, *parts: str) -> list[str]:
    return sorted(f"kms.keystead.io.{name}.{part}" for part in parts)


def issued(at: Desk, name: str, key: str = "main", secret: str | None = None, **spec: Any) -> dict[str, bytes]:
    """A data key that is Ready; its Secret's data."""
    at.data_key(name, key, secret, **spec)
    at.ready(DATA_KEY, name)
    return at.data(secret or name)


# Our own Secret


def test_our_own_secret_has_the_documented_form(at: Desk) -> None:
    template = {"metadata": {"labels": {"team": "a"}, "annotations": {"example.com/note": "n"}}}
    data = issued(at, "own", encryptionContext={"App": "x"}, target={"secretName": "own", "template": template})
    secret, status = at.get(SECRET, "own"), at.get(DATA_KEY, "own")["status"]
    assert secret["type"] == "kms.keystead.io/data-key"
    assert secret["metadata"]["labels"] == {"team": "a", "app.kubernetes.io/managed-by": "keystead"}
    assert "ownerReferences" not in secret["metadata"]
    assert sorted(data) == ["ciphertext", "ciphertext.1", "meta.json"]
    assert data["ciphertext"] == data["ciphertext.1"]
    meta = json.loads(data["meta.json"])
    assert meta["keyArn"] == status["keyArn"]
    assert meta["encryptionContext"] == {"App": "x"}
    assert (meta["version"], meta["dataKeySpec"], [v["version"] for v in meta["versions"]]) == (1, "AES_256", [1])


def test_every_kind_of_data_key_is_issued(at: Desk) -> None:
    specs: dict[str, dict[str, Any]] = {
        "aes-128": {"dataKeySpec": "AES_128"},
        "bytes-1024": {"numberOfBytes": 1024},
        "rsa-2048": {"dataKeySpec": "RSA_2048"},
        "ecc-p256": {"dataKeySpec": "ECC_NIST_P256"},
        "ed25519": {"dataKeySpec": "ECC_NIST_EDWARDS25519"},
    }
    for name, spec in specs.items():
        at.data_key(name, "main", **spec)
    for name, spec in specs.items():
        at.ready(DATA_KEY, name)
        public = at.data(name).get("public-key")
        assert (public is not None) is spec.get("dataKeySpec", "").startswith(("RSA", "ECC"))
        if public is not None:
            assert load_pem_public_key(public)
            assert at.get(DATA_KEY, name)["status"]["publicKey"].encode() == public
    lengths = {name: len(at.data(name)["ciphertext"]) - 132 for name in ("aes-128", "bytes-1024")}
    assert lengths == {"aes-128": 16, "bytes-1024": 1024}
    assert set(specs) <= set(at.plaintexts())  # all of them open


def test_an_edited_secret_is_put_right_with_the_same_blob(at: Desk) -> None:
    before = issued(at, "edited")
    edits = {"ciphertext": base64.b64encode(b"edited").decode(), "meta.json": None, "ciphertext.9": "eA==", "note": "eA=="}
    at.merge(SECRET, "edited", data=edits, metadata={"labels": {"app.kubernetes.io/managed-by": "somebody"}})
    at.look(DATA_KEY, "edited")
    assert at.data("edited") == {**before, "note": b"x"}  # what is no data key's stays
    assert at.get(SECRET, "edited")["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "keystead"
    assert condition(at.get(DATA_KEY, "edited"))["reason"] == "Available"


def test_a_deleted_secret_comes_back_with_the_same_blob(at: Desk) -> None:
    before = issued(at, "deleted")
    at.delete(SECRET, "deleted")
    at.look(DATA_KEY, "deleted")
    assert at.data("deleted") == before


def test_the_deletion_policy_decides_who_owns_the_secret(at: Desk) -> None:
    issued(at, "policy", target={"secretName": "policy", "deletionPolicy": "Delete"})
    uid = at.get(DATA_KEY, "policy")["metadata"]["uid"]
    assert [owner["uid"] for owner in at.get(SECRET, "policy")["metadata"]["ownerReferences"]] == [uid]
    for policy, owners in (("Retain", 0), ("Delete", 1)):
        at.merge(DATA_KEY, "policy", spec={"target": {"deletionPolicy": policy}})
        at.look(DATA_KEY, "policy")
        assert len(at.get(SECRET, "policy")["metadata"].get("ownerReferences") or []) == owners


def test_a_deleted_data_key_leaves_its_secret_and_comes_back_the_same(at: Desk) -> None:
    before = issued(at, "returns")
    at.delete(DATA_KEY, "returns")
    at.until("the record is an orphan's", lambda: not at.data_key_record("returns").bound)
    assert at.data("returns") == before
    at.delete(SECRET, "returns")
    assert issued(at, "returns") == before


# Foreign Secrets


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/tls"])
def test_injection_leaves_keys_type_and_owner_as_they_are(at: Desk, kind: str) -> None:
    name = f"into-{kind.rpartition('/')[2].lower()}"
    at.secret(name, kind, tls__crt=b"c", tls__key=b"k")
    data = issued(at, name)
    assert sorted(set(data) - {"tls.crt", "tls.key"}) == prefixed(name, "ciphertext", "ciphertext.1", "meta.json")
    secret = at.get(SECRET, name)
    assert (secret["type"], data["tls.crt"], data["tls.key"]) == (kind, b"c", b"k")
    assert "labels" not in secret["metadata"]
    ours = [entry for entry in secret["metadata"]["managedFields"] if entry["manager"].startswith("keystead-dk-")]
    assert [(entry["operation"], len(entry["manager"])) for entry in ours] == [("Apply", len("keystead-dk-") + 8)]
    record = at.data_key_record(name)
    assert record is not None
    assert record.target.injected


def test_two_data_keys_in_one_secret_live_together(at: Desk) -> None:
    at.secret("shared", password=b"p")
    for name in ("first", "second"):
        issued(at, name, secret="shared")
    at.rotate(DATA_KEY, "first")
    parts = ("ciphertext", "ciphertext.1", "meta.json")
    expected = ["password", *prefixed("first", *parts, "ciphertext.2"), *prefixed("second", *parts)]
    assert sorted(at.data("shared")) == sorted(expected)


def test_an_injected_key_that_was_removed_comes_back(at: Desk) -> None:
    at.secret("removed", password=b"p")
    before = issued(at, "removed")
    at.merge(SECRET, "removed", data={"kms.keystead.io.removed.ciphertext": None})
    at.look(DATA_KEY, "removed")
    assert at.data("removed") == before


def test_an_injected_key_that_somebody_edited_is_a_conflict_and_stays(at: Desk) -> None:
    at.secret("conflict", password=b"p")
    before = issued(at, "conflict")
    field = "kms.keystead.io.conflict.ciphertext"
    at.merge(SECRET, "conflict", data={field: "eA=="})
    at.look(DATA_KEY, "conflict")
    at.reason(DATA_KEY, "conflict", "TargetConflict")
    assert at.data("conflict") == {**before, field: b"x"}
    at.merge(SECRET, "conflict", data={field: None})  # who gives it up gets it right
    at.look(DATA_KEY, "conflict")
    assert at.data("conflict") == before


def test_a_reapplied_data_key_rotates_in_the_foreign_secret(at: Desk) -> None:
    at.secret("second-life", password=b"p")
    before = issued(at, "second-life")
    at.delete(DATA_KEY, "second-life")
    at.until("the record is an orphan's", lambda: not at.data_key_record("second-life").bound)
    assert issued(at, "second-life") == before
    at.rotate(DATA_KEY, "second-life")
    assert condition(at.get(DATA_KEY, "second-life"))["reason"] == "Available"
    assert at.data("second-life")["kms.keystead.io.second-life.ciphertext"] != before["kms.keystead.io.second-life.ciphertext"]


def test_a_deleted_foreign_secret_is_waited_for(at: Desk) -> None:
    at.secret("theirs", password=b"p")
    before = issued(at, "theirs")
    at.delete(SECRET, "theirs")
    at.look(DATA_KEY, "theirs")
    at.reason(DATA_KEY, "theirs", "TargetNotFound")
    assert at.get(SECRET, "theirs") is None
    at.secret("theirs", password=b"p")
    at.look(DATA_KEY, "theirs")
    assert at.data("theirs") == before


# What is refused


def test_an_immutable_secret_is_told(at: Desk) -> None:
    at.secret("immutable", password=b"p")
    at.merge(SECRET, "immutable", immutable=True)
    at.data_key("immutable", "main")
    at.reason(DATA_KEY, "immutable", "TargetImmutable")
    assert at.data("immutable") == {"password": b"p"}


def test_a_full_secret_is_told(at: Desk) -> None:
    at.secret("full", filler=bytes(1_048_500))
    at.data_key("full", "main")
    at.reason(DATA_KEY, "full", "TargetTooLarge")
    assert list(at.data("full")) == ["filler"]


def test_a_namespace_without_rights_is_told(at: Desk) -> None:
    """Keys of every namespace are served; Secrets only where the installer bound the rights."""
    other = Desk(at.installation, at.direct, at.proxy, at.operator, "no-rights")
    at.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "no-rights"}})
    other.key("k")
    other.ready(KEY, "k")
    other.data_key("d", "k")
    other.reason(DATA_KEY, "d", "TargetForbidden")
    assert other.data_key_record("d") is None
    other.clean()


def policy(own: str, *others: str) -> dict[str, Any]:
    """Of a key of an account, which trusts others."""
    principals = [root_arn(account) for account in (own, *others)]
    allow = {"Effect": "Allow", "Principal": {"AWS": principals}, "Action": "kms:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [allow]}


def account(at: Desk, name: str) -> str:
    return str(at.get(KEY, name)["status"]["keyArn"]).split(":")[4]


@pytest.fixture(scope="module")
def elsewhere(at: Desk) -> Iterator[Desk]:
    """Another namespace, with the key `theirs` that trusts nobody yet."""
    other = Desk(at.installation, at.direct, at.proxy, at.operator, "keys-elsewhere")
    at.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.namespace}})
    other.key("theirs")
    other.ready(KEY, "theirs")
    yield other
    other.clean()


def test_a_key_abroad_is_refused_in_the_same_words_whether_or_not_it_exists(at: Desk, elsewhere: Desk) -> None:
    said = []
    for name, key in (("abroad-1", "theirs"), ("abroad-2", "not-there")):
        at.data_key(name, "ignored", keyRef={"name": key, "namespace": elsewhere.namespace})
        body = at.reason(DATA_KEY, name, "ReferenceNotGranted")
        said.append([(c["type"], c["reason"], c["message"]) for c in body["status"]["conditions"]])
        assert at.data_key_record(name) is None
    assert said[0] == said[1]


def test_a_key_abroad_is_used_from_the_moment_that_it_consents_and_no_longer_than_that(at: Desk, elsewhere: Desk) -> None:
    """Woken by the key's record both times, not by a refresh; the Secret stays, and comes back from the record."""
    at.data_key("far", "ignored", keyRef={"name": "theirs", "namespace": elsewhere.namespace})
    at.reason(DATA_KEY, "far", "ReferenceNotGranted")
    own = account(elsewhere, "theirs")
    elsewhere.key("theirs", policy=policy(own, account(at, "main")))
    at.ready(DATA_KEY, "far")
    before, status = at.data("far"), at.get(DATA_KEY, "far")["status"]
    assert status["keyArn"] == elsewhere.get(KEY, "theirs")["status"]["keyArn"]
    elsewhere.key("theirs", policy=policy(own))
    at.reason(DATA_KEY, "far", "ReferenceNotGranted")
    at.delete(SECRET, "far")
    at.look(DATA_KEY, "far")
    assert at.data("far") == before


def test_what_is_done_with_a_key_abroad_is_on_record_in_both_accounts_and_a_refusal_in_the_askers(at: Desk, elsewhere: Desk) -> None:
    at.data_key("told", "ignored", keyRef={"name": "theirs", "namespace": elsewhere.namespace})
    at.reason(DATA_KEY, "told", "ReferenceNotGranted")
    for _ in range(3):
        at.look(DATA_KEY, "told")
    own, mine = account(elsewhere, "theirs"), account(at, "main")
    elsewhere.key("theirs", policy=policy(own, mine))
    at.ready(DATA_KEY, "told")
    elsewhere.key("theirs", policy=policy(own))
    lines = [line for line in at.operator.text.splitlines() if line.startswith('{"keysteadType":"service"')]
    records = [json.loads(line) for line in lines]
    asked = [record for record in records if record.get("serviceEventDetails", {}).get("name") == "told"]
    assert {record["recipientAccountId"] for record in asked} == {mine}
    refused, issued = [record for record in asked if record["eventName"] == "IssueDataKey"][:2]
    assert (refused["errorCode"], refused["resources"], issued.get("errorCode")) == ("AccessDenied", [], None)
    (owners,) = [each for each in records if each.get("sharedEventID") == issued["sharedEventID"] and each is not issued]
    assert (owners["recipientAccountId"], owners["userIdentity"]["arn"]) == (own, root_arn(mine))
    assert owners["resources"] == issued["resources"]
    assert at.namespace not in json.dumps({name: value for name, value in owners.items() if name != "chain"})
    assert owners["additionalEventData"]["decision"]["by"] == "statement"


def test_a_grant_to_the_account_lets_a_data_key_in_from_abroad(at: Desk, elsewhere: Desk) -> None:
    at.data_key("granted", "ignored", keyRef={"name": "lent", "namespace": elsewhere.namespace})
    at.reason(DATA_KEY, "granted", "ReferenceNotGranted")
    elsewhere.key("lent")
    elsewhere.ready(KEY, "lent")
    grantee = root_arn(account(at, "main"))
    elsewhere.named(GRANT, "lent", keyRef={"name": "lent"}, granteePrincipal=grantee, operations=["GenerateDataKeyWithoutPlaintext"])
    at.ready(DATA_KEY, "granted")  # woken by the grant's record


def test_a_missing_key_heals_when_it_appears(at: Desk) -> None:
    at.data_key("early", "late-key")
    at.reason(DATA_KEY, "early", "DependencyNotFound")
    at.key("late-key")
    at.ready(DATA_KEY, "early")  # woken by the key's record, not by a refresh


def test_a_key_that_cannot_be_used_leaves_the_secret(at: Desk) -> None:
    at.key("stopped")
    before = issued(at, "under-stopped", "stopped")
    at.merge(KEY, "stopped", spec={"enabled": False})
    at.reason(DATA_KEY, "under-stopped", "DependencyNotReady")
    at.delete(SECRET, "under-stopped")
    at.look(DATA_KEY, "under-stopped")
    assert at.data("under-stopped") == before
    at.data_key("never", "stopped")
    at.reason(DATA_KEY, "never", "DependencyNotReady")
    assert at.data_key_record("never") is None
    at.annotate(KEY, "stopped", HOLD, "incident")
    at.until("the hold is told", lambda: "held" in at.message(DATA_KEY, "never"))
    at.annotate(KEY, "stopped", HOLD, "released")
    at.merge(KEY, "stopped", spec={"enabled": True})
    at.ready(DATA_KEY, "never")
    at.ready(DATA_KEY, "under-stopped")


def test_immutable_fields_are_refused_by_the_api_server(at: Desk) -> None:
    issued(at, "fixed")
    for change in ({"numberOfBytes": 9}, {"encryptionContext": {"a": "b"}}, {"target": {"secretName": "x"}}, {"keyRef": {"name": "x"}}):
        with pytest.raises(CallError, match=next(iter(change))):
            at.merge(DATA_KEY, "fixed", spec=change)


def test_a_record_that_is_missing_is_never_replaced(at: Desk) -> None:
    """An operator that has never seen the record has the status, or the Secret, to tell it."""
    names = ("lost-1", "lost-2")
    before = {name: issued(at, name) for name in names}
    for name in names:
        secret = at.direct.record(RecordKind.DATAKEY, at.namespace, name)["metadata"]["name"]
        at.direct.annotate(SECRET, "keystead-records", secret, ALLOW_DELETION, "true")  # else an admission policy refuses
        at.direct.call("DELETE", path_of(SECRET, "keystead-records", secret))
    emptied = {"status": {"version": None, "recordSeq": None, "recordDigest": None}}
    at.direct.merge(f"{path_of(DATA_KEY, at.namespace, 'lost-2')}/status", emptied)
    for name in names:
        at.look(DATA_KEY, name)
        assert at.reason(DATA_KEY, name, "RecordIntegrity")
        assert at.data_key_record(name) is None
        assert at.data(name) == before[name]


# Rotation and re-wrap


def test_a_rotated_key_rewraps_its_data_keys(at: Desk) -> None:
    at.key("rotates")
    issued(at, "wrapped", "rotates")
    at.rotate(DATA_KEY, "wrapped")
    old, opened = at.data_key_record("wrapped"), at.plaintexts()["wrapped"]
    at.rotate(KEY, "rotates")
    material = at.get(KEY, "rotates")["status"]["currentKeyMaterialId"]
    at.until("the re-wrap", lambda: at.get(DATA_KEY, "wrapped")["status"]["keyMaterialId"] == material)
    status = at.ready(DATA_KEY, "wrapped")["status"]
    assert (status["rewrap"]["done"], status["rewrap"]["total"], status["version"]) == (2, 2, 2)
    new = at.data_key_record("wrapped")
    assert old is not None
    assert new is not None
    assert not {version.blob for version in old.versions} & {version.blob for version in new.versions}
    assert at.plaintexts()["wrapped"] == opened
    at.until("the Secret", lambda: at.data("wrapped")["ciphertext"] == new.versions[1].blob)
    assert json.loads(at.data("wrapped")["meta.json"])["keyMaterialId"] == material


def test_an_immutable_secret_outlives_its_keys_rotation(at: Desk) -> None:
    at.key("rotates-too")
    before = issued(at, "sealed", "rotates-too", target={"secretName": "sealed", "immutable": True})
    assert at.get(SECRET, "sealed")["immutable"] is True
    at.rotate(KEY, "rotates-too")
    at.look(DATA_KEY, "sealed")
    at.ready(DATA_KEY, "sealed")
    assert at.data("sealed") == before
    assert at.data_key_record("sealed").current_version.blob == before["ciphertext"]
    at.delete(SECRET, "sealed")
    at.look(DATA_KEY, "sealed")
    assert at.data("sealed") == before


def test_a_secret_that_somebody_sealed_is_told(at: Desk) -> None:
    issued(at, "sealed-by-others", "main")
    at.merge(SECRET, "sealed-by-others", immutable=True)
    at.rotate(DATA_KEY, "sealed-by-others")
    at.reason(DATA_KEY, "sealed-by-others", "TargetImmutable")


def test_old_and_new_stand_together_for_the_overlap(at: Desk) -> None:
    at.secret("overlap-foreign", password=b"p")
    rotation = {"periodInDays": 30, "overlap": "48h"}
    for name in ("overlap-own", "overlap-foreign"):
        issued(at, name, rotation=rotation)
    issued(at, "overlap-kept", rotation={**rotation, "keepVersions": 2})
    names = {"overlap-own": "", "overlap-foreign": "kms.keystead.io.overlap-foreign.", "overlap-kept": ""}

    def versions(days: float) -> dict[str, list[str]]:
        at.proxy.shift_date(days * DAY)
        found = {}
        for name, prefix in names.items():
            at.look(DATA_KEY, name)
            keys = [key.removeprefix(prefix) for key in at.data(name)]
            found[name] = sorted(key for key in keys if key.startswith("ciphertext."))
        return found

    both, new = ["ciphertext.1", "ciphertext.2"], ["ciphertext.2"]
    assert set(map(tuple, versions(29.9).values())) == {("ciphertext.1",)}
    assert versions(30.1) == dict.fromkeys(names, both)
    assert versions(32) == dict.fromkeys(names, both)
    assert versions(32.2) == {"overlap-own": new, "overlap-foreign": new, "overlap-kept": both}
    at.proxy.shift_date(0)
    for name in names:
        record = at.data_key_record(name)
        assert record is not None
        assert [version.n for version in record.versions] == [1, 2]  # never the record
        assert condition(at.look(DATA_KEY, name))["reason"] == "Available"
    assert at.data("overlap-foreign")["password"] == b"p"


def test_nothing_that_was_issued_is_lost(at: Desk) -> None:
    """Last of this module: every version of every data key opens."""
    found = at.plaintexts()
    assert len(found) > 15
    every = [digest for digests in found.values() for digest in digests]
    assert len(set(every)) == len(every)

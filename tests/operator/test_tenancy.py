"""Tenant B in tenant A's old namespace name: what B learns and cannot do, and what an administrator's adoption then gives.

The namespaces are deleted and made again once for all tests. B is a user with the ClusterRole admin in them and no other right.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.cluster import CommandError
from tests.operator.desk import DATA_KEY, KEY, SECRET, Desk, desk
from tests.operator.direct import bytes_of, decoded, path_of
from tests.operator.harness import RECORDS, Installation, condition, data_key, key

from keystead.engine.identifiers import RecordKind, orphan_name
from keystead.engine.record import AccountRecord, KeyRecord, decode
from keystead.resources import names

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]
ALIAS, GRANT = "KmsAlias", "KmsGrant"
PLACES = ("tenant-look", "tenant-one", "tenant-whole", "tenant-new")
BERT = "bert"
RBAC = "rbac.authorization.k8s.io"
DATA_KEYS = "keystead-operator-datakeys"
ADMIN = {"kind": "ClusterRole", "name": "admin"}
Object = dict[str, Any]


@dataclass(frozen=True)
class Before:
    """What tenant A had in a namespace."""

    key: KeyRecord
    blob: bytes
    plaintexts: dict[str, list[str]]
    uid: str


def manifests(place: str) -> list[Object]:
    """What A applied, and what B finds in the same repository."""
    metadata = {"namespace": place, "name": "main"}
    ref = {"keyRef": {"name": "main"}}
    body = {"apiVersion": names.API_VERSION, "metadata": metadata}
    return [
        key(place, "main"),
        body | {"kind": ALIAS, "spec": {"aliasName": "alias/main", **ref}},
        body | {"kind": GRANT, "spec": {**ref, "serviceAccountRef": {"name": "app"}, "operations": ["Decrypt"]}},
        data_key(place, "main", "main", "main"),
    ]


def a_grant_that_ends(place: str) -> Object:
    """By a ttl, which its record does not have: the record has the moment."""
    spec = {"keyRef": {"name": "main"}, "serviceAccountRef": {"name": "app"}, "operations": ["Decrypt"], "ttl": "24h"}
    return {"apiVersion": names.API_VERSION, "kind": GRANT, "metadata": {"namespace": place, "name": "ends"}, "spec": spec}


def at_place(at: Desk, place: str) -> Desk:
    return Desk(at.installation, at.direct, at.proxy, at.operator, place)


def bound(kind: str, place: str, name: str, role: Object, subject: Object) -> Object:
    ref = {"apiGroup": RBAC, **role}
    metadata = {"namespace": place, "name": name}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "roleRef": ref, "subjects": [subject]}


def open_for_business(at: Desk) -> None:
    """The namespaces, with the operator's rights on their Secrets (what a helm upgrade gives) and Bert as their admin."""
    cluster = at.installation.cluster
    role, binding = (cluster.get(kind, DATA_KEYS, "-n", "data-keys") for kind in ("role", "rolebinding"))
    admin = {"apiGroup": RBAC, "kind": "User", "name": BERT}
    made: list[Object] = []
    for place in PLACES:
        metadata = {"namespace": place, "name": DATA_KEYS}
        made += [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}},
            {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": role["rules"]},
            bound("RoleBinding", place, DATA_KEYS, {"kind": "Role", "name": DATA_KEYS}, binding["subjects"][0]),
            bound("RoleBinding", place, BERT, ADMIN, admin),
        ]
    cluster.apply(*made)


def let_app_use_every_key(at: Desk, place: str) -> None:
    app = {"kind": "ServiceAccount", "name": "app", "namespace": place}
    at.installation.cluster.apply(bound("RoleBinding", place, "app", {"kind": "ClusterRole", "name": "keystead-key-user"}, app))


def as_bert(at: Desk, *arguments: str, stdin: str = "") -> str:
    return at.installation.cluster.kubectl("--as", BERT, *arguments, stdin=stdin)


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    with desk(installation, "tenancy") as made:
        yield made
        installation.cluster.kubectl("delete", "namespace", *PLACES, "--wait=false")


@pytest.fixture(scope="module")
def before(at: Desk) -> dict[str, Before]:
    """Tenant A, gone since."""
    found = {}
    cluster = at.installation.cluster
    open_for_business(at)
    cluster.apply(*(body for place in PLACES for body in manifests(place)), a_grant_that_ends("tenant-one"))
    at_place(at, "tenant-one").ready(GRANT, "ends")
    for place in PLACES:
        tenant = at_place(at, place)
        for kind in (KEY, ALIAS, GRANT, DATA_KEY):
            tenant.ready(kind, "main")
        tenant.merge(KEY, "main", spec={"description": "secret plans"})
        tenant.until("the record", lambda tenant=tenant: tenant.key_record("main").description == "secret plans")
        record = tenant.key_record("main")
        plaintexts = tenant.plaintexts() if place == "tenant-one" else {}
        assert record is not None
        found[place] = Before(record, tenant.data("main")["ciphertext"], plaintexts, record.namespace_uid)
    cluster.kubectl("delete", "namespace", *PLACES, "--timeout=60s")
    open_for_business(at)
    return found


def accounts(at: Desk, place: str) -> dict[int, str]:
    """n -> namespace uid of the accounts of a namespace name."""
    records = [decoded(item) for item in at.direct.records() if item["metadata"]["name"].startswith("account-")]
    return {each.n: each.namespace_uid for each in records if isinstance(each, AccountRecord) and each.namespace == place}


def secrets_of(before: Before) -> tuple[str, ...]:
    """What must never be told: id, account, words and date of A's key."""
    record = before.key
    return (record.key_id, record.account, record.description, record.created, record.versions[0].material_id)


def keystead(at: Desk, *arguments: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(at.installation.keystead("records", *arguments, "-o", "json").stdout)
    return rows


# What B learns


def test_a_new_tenant_learns_only_that_the_name_is_taken(at: Desk, before: dict[str, Before]) -> None:
    place, tenant = "tenant-look", at_place(at, "tenant-look")
    as_bert(at, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests(place)))
    for kind in (KEY, ALIAS, GRANT, DATA_KEY):
        tenant.reason(kind, "main", "AdoptionRequired")
    told = as_bert(at, "get", "kms,secrets,events", "-n", place, "-o", "yaml")
    assert "the name is taken" in told
    assert [word for word in secrets_of(before[place]) if word in told] == []
    assert tenant.get(SECRET, "main") is None  # A's data key does not come to B
    assert accounts(at, place) == {0: before[place].uid}  # nor A's account


def test_what_names_the_taken_key_is_refused_alike(at: Desk, before: dict[str, Before]) -> None:
    """Objects under names that nobody had: each says the same, whatever the key is."""
    place, tenant = "tenant-look", at_place(at, "tenant-look")
    fresh = [body | {"metadata": {"namespace": place, "name": "bert"}} for body in manifests(place)[1:]]
    fresh[0]["spec"] = fresh[0]["spec"] | {"aliasName": "alias/bert"}
    as_bert(at, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(fresh))
    for body in fresh:
        found = tenant.reason(body["kind"], "bert", "DependencyNotReady")
        said = condition(found)
        assert said is not None
        assert "taken by an earlier namespace's key" in said["message"]
        assert not any(word in json.dumps(found["status"]) for word in secrets_of(before[place]))


@pytest.mark.parametrize("value", ["true", "as-new"])
def test_a_namespaces_admin_cannot_adopt(at: Desk, before: dict[str, Before], value: str) -> None:
    with pytest.raises(CommandError, match="needs the verb adopt") as refused:
        as_bert(at, "annotate", "--overwrite", "kmskey", "main", "-n", "tenant-look", f"{names.ADOPT}={value}")
    assert not any(word in str(refused.value) for word in secrets_of(before["tenant-look"]))


def test_a_new_tenant_cannot_open_what_was_encrypted_before(at: Desk, before: dict[str, Before], tmp_path: Path) -> None:
    """As A's principal, whose namespace is gone, and as B's own, which has every right in B's namespace."""
    place, tenant = "tenant-look", at_place(at, "tenant-look")
    old, blob = before[place], tmp_path / "blob"
    blob.write_bytes(old.blob)
    as_bert(at, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(key(place, "mine")))
    mine = tenant.ready(KEY, "mine")["status"]["keyArn"].split(":")[4]
    assert accounts(at, place) == {0: old.uid, 1: tenant.key_record("mine").namespace_uid}  # a really new key: the next one
    let_app_use_every_key(at, place)
    for account in (old.key.account, mine):
        arguments = ("--as", f"arn:aws:iam::{account}:role/app", "--ciphertext-blob", str(blob))
        done = at.installation.keystead("crypt", "decrypt", *arguments, check=False)
        assert done.returncode != 0
        told = done.stdout + done.stderr
        assert not any(word in told for word in secrets_of(old) if word != old.key.account)
    principal, nobody = f"arn:aws:iam::{mine}:role/app", str(uuid.uuid4())
    answers = {
        at.installation.keystead("crypt", "describe-key", "--as", principal, "--key-id", key_id, check=False).stderr.replace(key_id, "ID")
        for key_id in (old.key.key_id, nobody)
    }
    assert len(answers) == 1, answers  # a key that was A's is no more there than one that never was


# Adoption


def test_one_adopted_key_is_the_same_and_its_data_opens(at: Desk, before: dict[str, Before], tmp_path: Path) -> None:
    place, tenant = "tenant-one", at_place(at, "tenant-one")
    old = before[place]
    at.installation.cluster.apply(key(place, "main"))
    tenant.reason(KEY, "main", "AdoptionRequired")
    assert [row["action"] for row in keystead(at, "adopt", place, "main")] == ["annotated"]
    status = tenant.ready(KEY, "main")["status"]
    assert status["keyId"] == old.key.key_id
    assert f":{old.key.account}:" in status["keyArn"]  # the namespace had no account: it keeps A's
    assert list(accounts(at, place)) == [0]
    assert [row["action"] for row in keystead(at, "adopt", place, "main", "--kind", "datakey")] == ["written"]
    tenant.ready(DATA_KEY, "main")
    assert tenant.data("main")["ciphertext"] == old.blob
    assert tenant.plaintexts() == old.plaintexts
    _decrypts(at, place, tenant, old, tmp_path)


def test_a_grant_that_ends_is_adopted_by_its_own_manifest(at: Desk, before: dict[str, Before]) -> None:
    place, tenant = "tenant-one", at_place(at, "tenant-one")
    old = tenant.grant_record("ends")
    refused = at.installation.keystead("records", "adopt", place, "ends", "--kind", "grant", check=False)
    assert refused.returncode == 15
    assert refused.stderr.splitlines()[-1] == "hint: apply its manifest, then adopt again"
    at.installation.cluster.apply(key(place, "main"), a_grant_that_ends(place))
    keystead(at, "adopt", place, "main")
    tenant.reason(GRANT, "ends", "AdoptionRequired")
    assert [row["action"] for row in keystead(at, "adopt", place, "ends", "--kind", "grant")] == ["annotated"]
    tenant.ready(GRANT, "ends")
    new = tenant.grant_record("ends")
    assert (new.grant_id, new.created, new.expires_at) == (old.grant_id, old.created, old.expires_at)


def _decrypts(at: Desk, place: str, tenant: Desk, old: Before, tmp_path: Path) -> None:
    """By the whole pipeline, as a ServiceAccount of the namespace as it is now."""
    let_app_use_every_key(at, place)
    (tmp_path / "blob").write_bytes(old.blob)
    principal = f"arn:aws:iam::{tenant.key_record('main').account}:role/app"
    arguments = ("--as", principal, "--ciphertext-blob", str(tmp_path / "blob"), "-o", "json")
    assert len(base64.b64decode(json.loads(at.installation.keystead("crypt", "decrypt", *arguments).stdout)["Plaintext"])) == 32


def test_a_whole_namespace_is_adopted_into_the_account_that_it_has(at: Desk, before: dict[str, Before]) -> None:
    place, tenant = "tenant-whole", at_place(at, "tenant-whole")
    old = before[place]
    at.installation.cluster.apply(key(place, "main"), key(place, "fresh"))
    ours = tenant.ready(KEY, "fresh")["status"]["keyArn"].split(":")[4]
    tenant.reason(KEY, "main", "AdoptionRequired")
    wanted = {"key": "annotated", "alias": "written", "grant": "written", "datakey": "written"}
    assert {row["kind"]: row["action"] for row in keystead(at, "adopt", place, "--dry-run")} == wanted
    assert tenant.get(ALIAS, "main") is None
    assert {row["kind"]: row["action"] for row in keystead(at, "adopt", place)} == wanted
    status = {kind: tenant.ready(kind, "main")["status"] for kind in (KEY, ALIAS, GRANT, DATA_KEY)}
    assert (status[KEY]["keyId"], status[KEY]["keyArn"].split(":")[4]) == (old.key.key_id, ours)
    assert ours != old.key.account
    assert status[ALIAS]["targetKeyId"] == old.key.key_id
    assert status[GRANT]["granteePrincipal"] == f"arn:aws:iam::{ours}:role/app"
    assert tenant.data("main")["ciphertext"] == old.blob
    assert accounts(at, place) == {0: old.uid, 1: tenant.key_record("main").namespace_uid}
    assert keystead(at, "adopt", place) == []  # a second run finds nothing
    events = at.direct.events(place, tenant.get(KEY, "main")["metadata"]["uid"])
    assert "Adopted" in events


def test_as_new_gives_another_key_and_moves_the_old_record(at: Desk, before: dict[str, Before]) -> None:
    place, tenant = "tenant-new", at_place(at, "tenant-new")
    old = before[place]
    at.installation.cluster.apply(key(place, "main", keySpec="HMAC_256", keyUsage="GENERATE_VERIFY_MAC"))
    tenant.reason(KEY, "main", "AdoptionRequired")
    assert [row["action"] for row in keystead(at, "adopt", place, "main", "--as-new")] == ["annotated"]
    new = tenant.ready(KEY, "main")["status"]["keyId"]
    assert new != old.key.key_id
    moved = decode(bytes_of(at.direct.get(path_of(SECRET, RECORDS, orphan_name(old.key.key_id)))), KeyRecord)
    assert (moved.key_id, moved.versions, moved.bound) == (old.key.key_id, old.key.versions, False)
    rows = {row["keyId"]: row for row in keystead(at, "list") if row["namespace"] == place}
    assert {row["object"] for row in rows.values()} == {"yes", "aside"}
    assert rows[new]["spec"] == "HMAC_256"
    assert keystead(at, "show", "--key-id", old.key.key_id)["object"] == "aside"  # type: ignore[call-overload]
    at.installation.cluster.apply(manifests(place)[1])
    assert tenant.ready(ALIAS, "main")["status"]["targetKeyId"] == new
    aliases = {row["object"]: row["next"] for row in keystead(at, "list", "--kind", "alias") if row["namespace"] == place}
    assert aliases == {"yes": "", "anew": "nothing: its name is claimed anew"}
    refused = at.installation.keystead("records", "adopt", place, "--as-new", check=False)
    assert "alias" not in refused.stdout
    assert "a new data key under this name would strand" in refused.stdout
    assert at.direct.record(RecordKind.DATAKEY, place, "main") is not None


def test_all_is_adopted_after_a_rebuild(at: Desk, before: dict[str, Before]) -> None:
    """Every namespace of this cluster that is another one than its records say; those that are gone are left, and named."""
    place, tenant = "tenant-look", at_place(at, "tenant-look")
    done = at.installation.keystead("records", "adopt", "--all", "-o", "json", check=False)
    rows = {(row["namespace"], row["kind"], row["name"]): row for row in json.loads(done.stdout)}
    assert {rows[place, kind, "main"]["action"] for kind in ("key", "alias", "grant", "datakey")} == {"annotated"}
    for kind in (KEY, ALIAS, GRANT, DATA_KEY):
        tenant.ready(kind, "main")
    assert tenant.key_record("main").key_id == before[place].key.key_id
    assert keystead(at, "adopt", place) == []

"""The Secret of a data key: our own and a foreign one, what satisfies it, what leaves it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tests.builders import CREATED
from tests.hsm.fake import FakeHsm
from tests.plan.facts import (
    OWN_TYPE,
    a_data_key,
    a_data_key_version,
    a_kms_data_key,
    a_secret,
    a_settled_key,
    the_secret,
)

from keystead.engine.plan.secret import DesiredSecret, SecretFacts, desired_secret, manager_of
from keystead.engine.record import DataKeyRecord
from keystead.resources.vocabulary import KeySpec, KeyUsage


def record_of(hsm: FakeHsm, n: int = 1, **changes: Any) -> DataKeyRecord:
    return a_data_key(a_settled_key(hsm), versions=[a_data_key_version(i) for i in range(1, n + 1)], **changes)


def desired(hsm: FakeHsm, secret: SecretFacts | None = None, *, n: int = 1, visible: tuple[int, ...] = (1,), **spec: Any) -> DesiredSecret:
    return desired_secret(a_kms_data_key(**spec), record_of(hsm, n), visible, secret)


def test_our_own_secret_has_the_documented_form(hsm: FakeHsm) -> None:
    found = desired(hsm, n=2, visible=(2, 1))
    assert not found.injected
    assert sorted(found.data) == ["ciphertext", "ciphertext.1", "ciphertext.2", "meta.json"]
    assert found.data["ciphertext"] == found.data["ciphertext.2"] == b"blob-2"
    assert found.labels == {"app.kubernetes.io/managed-by": "keystead"}
    assert found.annotations["kms.keystead.io/data-key"] == "data-1"
    assert found.owner is None


def test_meta_json_says_what_a_reader_needs(hsm: FakeHsm) -> None:
    record = record_of(hsm, 2)
    meta = json.loads(desired(hsm, n=2, visible=(2, 1)).data["meta.json"])
    assert meta == {
        "version": 2,
        "keyArn": record.current_version.key_arn,
        "keyMaterialId": "00" * 32,
        "encryptionContext": {},
        "dataKeySpec": "AES_256",
        "created": CREATED,
        "versions": [{"version": n, "created": CREATED, "keyMaterialId": "00" * 32} for n in (2, 1)],
    }


def test_meta_json_tells_a_byte_count_in_place_of_a_spec(hsm: FakeHsm) -> None:
    from msgspec import UNSET

    record = record_of(hsm, data_key_spec=UNSET, number_of_bytes=48)
    meta = json.loads(desired_secret(a_kms_data_key(numberOfBytes=48), record, (1,), None).data["meta.json"])
    assert meta["numberOfBytes"] == 48
    assert "dataKeySpec" not in meta


def test_a_key_pairs_public_half_is_in_pem(hsm: FakeHsm) -> None:
    spki = a_settled_key(hsm, spec=KeySpec.ECC_NIST_P256, usage=KeyUsage.SIGN_VERIFY).current_version.spki
    record = a_data_key(a_settled_key(hsm), versions=[a_data_key_version(public_key=spki)])
    data = desired_secret(a_kms_data_key(), record, (1,), None).data
    assert load_pem_public_key(data["public-key"])


def test_the_template_is_copied_and_nothing_else(hsm: FakeHsm) -> None:
    template = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "x"}}}
    found = desired(hsm, target={"secretName": "s", "template": template})
    assert found.labels == {"team": "a", "app.kubernetes.io/managed-by": "keystead"}
    assert found.annotations["note"] == "x"


def test_the_version_hash_changes_with_the_content_alone(hsm: FakeHsm) -> None:
    hashes = [desired(hsm, n=n).annotations["kms.keystead.io/data-key-version-hash"] for n in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


# Injection


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/tls", OWN_TYPE])
def test_in_a_foreign_secret_every_key_stands_behind_the_data_keys_name(hsm: FakeHsm, kind: str) -> None:
    foreign = a_secret(type=kind, annotations={"kms.keystead.io/data-key": "another"})
    found = desired(hsm, foreign, target={"secretName": "s", "immutable": True, "deletionPolicy": "Delete"})
    assert found.injected
    assert sorted(found.data) == [f"kms.keystead.io.data-1.{part}" for part in ("ciphertext", "ciphertext.1", "meta.json")]
    assert (found.labels, found.owner, found.immutable) == ({}, None, False)


def test_two_data_keys_in_one_secret_share_no_field(hsm: FakeHsm) -> None:
    from msgspec.structs import replace

    one = desired(hsm, a_secret())
    data_key = a_kms_data_key()
    other = desired_secret(replace(data_key, metadata=replace(data_key.metadata, name="data-1x")), record_of(hsm), (1,), a_secret())
    assert one.manager != other.manager
    assert not set(one.data) & set(other.data)
    assert not set(one.annotations) & set(other.annotations)
    both = a_secret(data={**one.data, **other.data}, annotations={**one.annotations, **other.annotations})
    assert one.satisfied_by(both)
    assert other.satisfied_by(both)


def test_a_reapplied_data_key_has_the_same_field_manager(hsm: FakeHsm) -> None:
    again = desired(hsm, a_secret(), about={"uid": "object-2"})
    assert again.manager == desired(hsm, a_secret()).manager == manager_of("team-a", "data-1")
    assert manager_of("team-a", "data-1") != manager_of("team-b", "data-1")


def test_foreign_keys_satisfy_and_are_never_stale(hsm: FakeHsm) -> None:
    found = desired(hsm, a_secret())
    filled = a_secret(data={**found.data, "password": b"theirs", "tls.key": b"x"}, annotations=dict(found.annotations))
    assert found.satisfied_by(filled)
    assert found.stale(filled) == ()


@pytest.mark.parametrize(
    "change", [{"kms.keystead.io.data-1.ciphertext": b"edited"}, {"kms.keystead.io.data-1.ciphertext.9": b"more"}]
)
def test_what_is_ours_in_a_foreign_secret_is_compared(hsm: FakeHsm, change: dict[str, bytes]) -> None:
    found = desired(hsm, a_secret())
    assert not found.satisfied_by(a_secret(data={**found.data, **change}, annotations=dict(found.annotations)))


# Our own


def owned(hsm: FakeHsm, **changes: Any) -> SecretFacts:
    return the_secret(a_kms_data_key(), record_of(hsm), **changes)


def test_our_own_secret_is_satisfied_by_itself(hsm: FakeHsm) -> None:
    assert desired(hsm, owned(hsm)).satisfied_by(owned(hsm))
    more = owned(hsm, data={**owned(hsm).data, "notes": b"a user's"}, labels={**owned(hsm).labels, "x": "y"})
    assert desired(hsm, more).satisfied_by(more)
    assert desired(hsm, more).stale(more) == ()


@pytest.mark.parametrize("changes", [{"labels": {}}, {"data": {}}])
def test_what_somebody_took_from_our_own_secret_is_missed(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    secret = owned(hsm, **changes)
    assert not desired(hsm, secret).satisfied_by(secret)


def test_old_versions_in_our_own_secret_are_stale(hsm: FakeHsm) -> None:
    secret = owned(hsm, data={**owned(hsm).data, "ciphertext.7": b"old", "public-key": b"old"})
    found = desired(hsm, secret)
    assert not found.satisfied_by(secret)
    assert set(found.stale(secret)) == {"ciphertext.7", "public-key"}


OWNER = {"apiVersion": "kms.keystead.io/v1alpha1", "kind": "KmsDataKey", "name": "data-1", "uid": "object-1", "blockOwnerDeletion": False}
THEIRS = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}


@pytest.mark.parametrize(
    ("policy", "owners", "satisfied"),
    [
        ("Delete", (OWNER,), True),
        ("Delete", (), False),
        ("Delete", ({**OWNER, "uid": "object-0"},), False),
        ("Retain", (), True),
        ("Retain", (OWNER,), False),
        ("Retain", (THEIRS,), True),
    ],
)
def test_a_changed_deletion_policy_changes_the_owner(
    hsm: FakeHsm, policy: str, owners: tuple[dict[str, Any], ...], satisfied: bool
) -> None:
    secret = owned(hsm, owners=owners)
    found = desired(hsm, secret, target={"secretName": "s", "deletionPolicy": policy})
    assert found.satisfied_by(secret) is satisfied
    assert found.other_owners(secret) == tuple(owner for owner in owners if owner is THEIRS)


def test_a_secret_becomes_immutable_when_it_shall(hsm: FakeHsm) -> None:
    found = desired(hsm, owned(hsm), target={"secretName": "s", "immutable": True})
    assert not found.satisfied_by(owned(hsm))
    assert found.satisfied_by(owned(hsm, immutable=True))


def test_a_secret_of_our_type_for_another_data_key_is_foreign(hsm: FakeHsm) -> None:
    other = owned(hsm, annotations={"kms.keystead.io/data-key": "data-2"})
    assert not other.is_own_of("data-1")
    assert other.is_own_of("data-2")
    assert desired(hsm, other).injected


def test_a_secret_names_only_its_data_keys(hsm: FakeHsm) -> None:
    secret = a_secret(data={"kms.keystead.io.data-12.ciphertext": b"x"})
    assert secret.names_data_key("data-12")
    assert not secret.names_data_key("data-1")

"""The disaster: everything is gone but the records, the domain backup and the recovery key (SECURITY promise 1, HSM.md A2).

A new SoftHSM token and a new kryoptic token, each restored from them alone: every blob, data key, MAC and signature
that was ever made opens, verifies and can be made again, but for the two specs that a token of the other kind cannot
unwrap (HSM.md A5).
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.builders import a_key, an_alias
from tests.hsm.domains import KINDS, DomainToken, new_domain, on_token, restored_domain
from tests.hsm.work import decrypt, encrypt, sign, verify

from keystead.engine import publickey
from keystead.engine.algorithms import KeyAgreementAlgorithm, RsaPadding, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS, Family, row, usages
from keystead.engine.material import find_version, material_of
from keystead.engine.ports import Agree, DecryptRsa, Material
from keystead.engine.record import KeyRecord
from keystead.engine.record.sealed import SealedRecord, open_sealed, seal_record
from keystead.errors import HsmDataError, RecordIntegrityError
from keystead.hsm.backend import Hsm
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection

pytestmark = pytest.mark.token
VERSIONS = 2
SECRET = b"what nobody may lose"
# HSM.md A5: held by the token of one kind, and not to be unwrapped by the other.
LOST = {("softhsm", "kryoptic"): KeySpec.ECC_SECG_P256K1, ("kryoptic", "softhsm"): KeySpec.ECC_NIST_EDWARDS25519}


@dataclass
class Estate:
    """What outlives a token: sealed records, and what users hold. `made` = (record's name, material id, what, input, output)."""

    records: list[SealedRecord] = field(default_factory=list)
    made: list[tuple[str, bytes, str, Any, Any]] = field(default_factory=list)


def make_estate(hsm: Hsm) -> Estate:
    """Keys of every spec and usage, two versions each, and something made with every version."""
    estate = Estate()
    for number, (spec, usage) in enumerate((each, use) for each in KEY_SPECS for use in usages(each)):
        key = a_key(hsm, spec, usage=usage, n=number + 1, n_versions=VERSIONS if not row(spec).size > 2048 else 1)
        name = f"key-{number:040x}"
        estate.records.append(seal_record(hsm.domain, name, key))
        for version in key.versions:
            material = material_of(key, version)
            for what, given, result in _make(hsm, material):
                estate.made.append((name, material.material_id, what, given, result))
    estate.records.append(seal_record(hsm.domain, "alias-" + "0" * 40, an_alias(key)))
    return estate


def _make(hsm: Hsm, material: Material) -> list[tuple[str, Any, Any]]:
    facts, spki = row(material.spec), material.spki
    match material.usage:
        case KeyUsage.ENCRYPT_DECRYPT if facts.family is Family.SYMMETRIC:
            data_key = os.urandom(32)
            return [("blob", encrypt(hsm, material, plain), plain) for plain in (SECRET, data_key, b"\0" * 4096)]
        case KeyUsage.ENCRYPT_DECRYPT:
            return [
                (padding.value, publickey.encrypt_rsa(spki or b"", padding, SECRET), SECRET) for padding in RsaPadding
            ]
        case KeyUsage.GENERATE_VERIFY_MAC:
            return [("mac", SECRET, hsm.fast.generate_mac(material, facts.macs[0], SECRET))]
        case KeyUsage.SIGN_VERIFY:
            return [
                (algorithm.value, SECRET, sign(hsm, material, algorithm, SECRET))
                for algorithm in facts.signing
                if algorithm is not SigningAlgorithm.ED25519_PH_SHA_512
            ]
        case KeyUsage.KEY_AGREEMENT:
            peer = ec.generate_private_key(publickey.CURVES[material.spec]())
            public = peer.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            secret = hsm.slow(Agree(material, KeyAgreementAlgorithm.ECDH, public))
            return [("agreement", public, secret)]


def use_estate(hsm: Hsm, estate: Estate) -> tuple[int, set[KeySpec]]:
    """Open everything. How many things opened, and the specs whose material this token cannot unwrap."""
    keys = {
        sealed.name: open_sealed(hsm.domain, sealed, KeyRecord)
        for sealed in estate.records
        if sealed.name.startswith("key-")
    }
    opened, lost = 0, set()
    for name, material_id, what, given, result in estate.made:
        version = find_version(keys[name], material_id)
        assert version is not None
        material = material_of(keys[name], version)
        try:
            assert _use(hsm, material, what, given, result), (material.spec, what)
            opened += 1
        except HsmDataError:
            lost.add(material.spec)
    return opened, lost


def _use(hsm: Hsm, material: Material, what: str, given: Any, result: Any) -> bool:
    match what:
        case "blob":
            return decrypt(hsm, material, given) == result
        case "mac":
            algorithm = row(material.spec).macs[0]
            return hsm.fast.verify_mac(material, algorithm, given, result) and (
                hsm.fast.generate_mac(material, algorithm, given) == result
            )
        case "agreement":
            return hsm.slow(Agree(material, KeyAgreementAlgorithm.ECDH, given)) == result
        case _ if what in RsaPadding.__members__.values():
            return hsm.slow(DecryptRsa(material, RsaPadding(what), given)) == result
    algorithm = SigningAlgorithm(what)
    again = sign(hsm, material, algorithm, given)
    return verify(material, algorithm, given, result) and verify(material, algorithm, given, again)


def refuse_tampered(hsm: Hsm, estate: Estate) -> bool:
    """The restored domain is as strict as the old one: a changed record is not believed."""
    for sealed in estate.records[:3]:
        changed = dataclasses.replace(sealed, record=sealed.record.replace(b'"cluster-1"', b'"cluster-2"'))
        with pytest.raises(RecordIntegrityError):
            open_sealed(hsm.domain, changed, KeyRecord)
    return True


@pytest.fixture(scope="module", params=KINDS)
def lost_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DomainToken, Estate]:
    """A token that made an estate and is gone."""
    token = new_domain(request.param, tmp_path_factory.mktemp(f"old-{request.param}"))
    with on_token(token) as run:
        estate = run(make_estate)
    place = token.backup.parent / "token"
    place.rename(place.with_name("gone"))
    return token, estate


@pytest.mark.parametrize("new_kind", KINDS)
def test_records_backup_and_recovery_key_bring_everything_back(
    lost_place: tuple[DomainToken, Estate], new_kind: str, tmp_path: Path
) -> None:
    old, estate = lost_place
    new = restored_domain(new_kind, tmp_path, old)
    assert new.fingerprint == old.fingerprint
    with on_token(new) as run:
        opened, lost = run(use_estate, estate)
        assert run(refuse_tampered, estate)
        other_way = run(make_estate)
    named = {LOST[old.kind, new_kind]} if (old.kind, new_kind) in LOST else set()
    assert lost == named
    kept = [item for item in estate.made if _spec(estate, item[0]) not in named]
    assert opened == len(kept) > 40
    assert {sealed.name for sealed in other_way.records} == {sealed.name for sealed in estate.records}


def _spec(estate: Estate, name: str) -> KeySpec:
    sealed = next(item for item in estate.records if item.name == name)
    return next(spec for spec in KeySpec if b'"spec":"%b"' % spec.value.encode() in sealed.record)


def test_software_keys_come_back_too(lost_place: tuple[DomainToken, Estate]) -> None:
    _, estate = lost_place
    assert any(Protection.SOFTWARE.value.encode() in sealed.record for sealed in estate.records)

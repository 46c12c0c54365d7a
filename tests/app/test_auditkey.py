"""The signature of the audit trail: with which key, over what, and when there is none. On the fake and on the real tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import UNSET
from tests.builders import NOW, Hsm, a_key
from tests.operations.conftest import hsm

from keystead.app.auditkey import AuditSigner, Signed
from keystead.engine.identifiers import RECORDS_NAMESPACE, RecordKind, key_arn, record_name
from keystead.engine.managed import AUDIT_KEY, audit_policy
from keystead.engine.plan.key_settings import policy_bytes
from keystead.engine.ports import SlowCall, SlowResult
from keystead.engine.record import KeyRecord, seal_record
from keystead.reconciler.ports import StoredRecord
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage
from keystead.store.model import RecordModel

__all__ = ["hsm"]
INSTALL = "999988887777"
DIGEST = hashlib.sha256(b"a segment").digest()


class Engine:
    """An open token."""

    def __init__(self, backend: Hsm) -> None:
        self._backend = backend

    async def slow(self, call: SlowCall) -> SlowResult:
        return self._backend.slow(call)  # type: ignore[no-any-return]


@pytest.fixture
def model() -> Iterator[RecordModel]:
    yield RecordModel()


def signer(backend: Hsm, model: RecordModel, **changes: Any) -> AuditSigner:
    """One whose model has the key, with changes."""
    spec, usage = changes.pop("spec", KeySpec.ECC_NIST_P256), changes.pop("usage", KeyUsage.SIGN_VERIFY)
    place = {"namespace": RECORDS_NAMESPACE, "account": INSTALL, "name": AUDIT_KEY, "policy": policy_bytes(audit_policy(INSTALL))}
    key = a_key(backend, spec, usage=usage, **{**place, **changes})
    name = record_name(RecordKind.KEY, key.namespace, key.name)
    model.take(backend.domain, StoredRecord(seal_record(backend.domain, name, key), "1"))
    return AuditSigner(model, lambda: Engine(backend), lambda: NOW)


def key_of(model: RecordModel) -> KeyRecord:
    found = model.own_key(AUDIT_KEY)
    assert found is not None
    return found


def public(signed: Signed) -> EllipticCurvePublicKey:
    found = load_der_public_key(signed.spki)
    assert isinstance(found, EllipticCurvePublicKey)
    return found


async def test_the_current_version_signs_and_anybody_verifies(hsm: Hsm, model: RecordModel) -> None:
    signed = await signer(hsm, model).sign(DIGEST)
    assert signed is not None
    key = key_of(model)
    public(signed).verify(signed.signature, DIGEST, ECDSA(Prehashed(SHA256())))
    with pytest.raises(InvalidSignature):
        public(signed).verify(signed.signature, hashlib.sha256(b"another").digest(), ECDSA(Prehashed(SHA256())))
    assert signed.key_arn == key_arn(key.region, INSTALL, key.key_id)
    assert (signed.spki, signed.material_id) == (key.current_version.spki, key.current_version.material_id)


async def test_an_object_that_is_gone_stops_no_trail(hsm: Hsm, model: RecordModel) -> None:
    assert await signer(hsm, model, bound=False).sign(DIGEST) is not None


async def test_without_the_key_there_is_no_signature_and_a_reason(hsm: Hsm, model: RecordModel) -> None:
    alone = AuditSigner(model, lambda: Engine(hsm), lambda: NOW)
    assert await alone.sign(DIGEST) is None
    assert "no record yet" in (alone.missing or "")
    assert signer(hsm, model).missing is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": KeyState.DISABLED}, "Disabled"),
        ({"held": True}, "held"),
        ({"state": KeyState.PENDING_DELETION}, "PendingDeletion"),
        ({"state": KeyState.DESTROYED}, "Destroyed"),
        ({"policy": UNSET}, "policy"),
        ({"policy": b"{}"}, "policy"),
        ({"policy": policy_bytes(audit_policy("111122223333") | {"Statement": []})}, "policy"),
        ({"spec": KeySpec.RSA_2048}, "RSA_2048"),
        ({"usage": KeyUsage.KEY_AGREEMENT}, "KEY_AGREEMENT"),
    ],
)
async def test_a_key_that_may_not_sign_does_not(hsm: Hsm, model: RecordModel, changes: dict[str, Any], words: str) -> None:
    made = signer(hsm, model, **changes)
    assert await made.sign(DIGEST) is None
    assert words in (made.missing or "")


async def test_only_digests_are_signed(hsm: Hsm, model: RecordModel) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        await signer(hsm, model).sign(b"message")

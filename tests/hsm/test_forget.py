"""A destroyed key's material leaves memory: the vault of this process and the lanes, and nothing of another key."""

from __future__ import annotations

import dataclasses

import pkcs11
from tests.hsm.backends import SharedHsm
from tests.hsm.work import decrypt, encrypt, new_material, sign, verify
from tests.operator.harness import wait_for

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.ports import Generate, GeneratedMaterial
from keystead.resources.vocabulary import KeySpec, KeyUsage

_ECDSA = SigningAlgorithm.ECDSA_SHA_256


def test_all_versions_of_a_key_are_forgotten_and_no_other_key(real: SharedHsm) -> None:
    first, other = new_material(real), new_material(real)
    made = real.slow(Generate(first.key_id, first.spec, first.protection, first.usage))
    assert isinstance(made, GeneratedMaterial)
    second = dataclasses.replace(first, material_id=made.material_id, wrapped=made.wrapped, plain_len=made.plain_len)
    blobs = {material.material_id: encrypt(real, material) for material in (first, second, other)}
    vault = real.hsm.vault
    before = len(vault)
    handles = [vault.handle(material) for material in (first, second)]
    real.hsm.forget(first.key_id)
    assert [vault.holds(material) for material in (first, second, other)] == [False, False, True]
    assert len(vault) == before - 2
    assert not any(_lives(real, handle) for handle in handles)
    assert decrypt(real, other, blobs[other.material_id]) == b"plaintext"


def _lives(real: SharedHsm, handle: object) -> bool:
    """Whether the token still has the session object."""
    try:
        handle.sign(b"x", mechanism=pkcs11.Mechanism.SHA512_HMAC)  # type: ignore[attr-defined]
    except pkcs11.PKCS11Error:
        return False
    return True


def test_a_key_that_was_never_used_is_forgotten_without_a_fault(real: SharedHsm) -> None:
    real.hsm.forget(b"\x07" * 16)
    assert real.fast.healthy()


def test_the_lanes_that_held_a_key_end_and_others_take_over(real: SharedHsm) -> None:
    made = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    assert sign(real, made, _ECDSA, b"m")
    pool = real.hsm.lanes._pool
    assert pool is not None
    held = list(pool._processes.values())
    real.hsm.forget(made.key_id)
    for lane in held:
        # The pool's thread waits for them too, and has the exit code a moment before everybody can read it.
        wait_for("the lane's end", lambda lane=lane: lane.exitcode is not None)
        assert lane.exitcode == 0
    other = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    assert verify(other, _ECDSA, b"m", sign(real, other, _ECDSA, b"m"))

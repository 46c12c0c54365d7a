"""What only a real token can show: vectors on its own HMAC, templates, threads, faults, its cache, its recovery."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from tests.hsm.backends import SharedHsm
from tests.hsm.domains import new_domain, on_token
from tests.hsm.work import decrypt, encrypt, new_material

from keystead.engine.algorithms import RsaPadding
from keystead.engine.blob import seal_message
from keystead.engine.context import encode_context
from keystead.engine.kdf import message_input
from keystead.engine.material import symmetric_material_id
from keystead.engine.ports import DecryptRsa, Material, SignDigest
from keystead.engine.publickey import encrypt_rsa
from keystead.errors import HsmDataError, HsmUnavailableError
from keystead.hsm.backend import Hsm
from keystead.hsm.domain import import_secret
from keystead.hsm.templates import session_secret
from keystead.hsm.vault import Vault
from keystead.resources.vocabulary import KeySpec, KeyUsage

BAD_CIPHERTEXTS = 10_000
BAD_LEAST, BAD_SECONDS = 500, 8.0

# HSM.md, Fixed layout: the test vector.
KEY_ID = bytes.fromhex("1234abcd12ab34cd56ef1234567890ab")
MATERIAL_ID = bytes.fromhex("66255efd60cc0d80a7ec43174b17f6ca17582c39bdf7042f640e13e80e8c9e6a")
NONCE = bytes(range(0x20, 0x40))
K_ENC = "9f692c65a10ea1a8a2707ed6be0d9bb6c6b5af38008adb9d949044f2ac5241dd"
K_COM = "273f05211d5bf0a717a8bd5057feb901d6898331735bf74c81b4be87cc9ba916"
TAIL = "e947ea5f3d85181c70b2aac270e36ee05cabb64bbd97cc8ec0d6728daf72c51fa3220c04030f32"


def test_format_vector_is_what_the_token_computes(real: SharedHsm) -> None:
    key = import_secret(real.domain.token.session, bytes(range(64)), extractable=False)
    try:

        def kdf(message: bytes) -> bytes:
            return bytes(key.sign(message, mechanism=Mechanism.SHA512_HMAC))

        assert symmetric_material_id(kdf, KEY_ID) == MATERIAL_ID
        assert kdf(message_input(KEY_ID + MATERIAL_ID, NONCE)).hex() == K_ENC + K_COM
        context = encode_context({"purpose": "test", "app": "keystead"})
        blob = seal_message(kdf, KEY_ID + MATERIAL_ID, NONCE, b"keystead test vector v1", context)
    finally:
        key.destroy()
    assert blob.hex() == "4b530101" + (KEY_ID + MATERIAL_ID + NONCE).hex() + K_COM + TAIL


def test_domain_keys_tell_nothing_and_stay_as_they_are(real: SharedHsm) -> None:
    for key in (real.domain.dk, real.domain.dm):
        with pytest.raises(pkcs11.PKCS11Error):
            key[Attribute.VALUE]
        for attribute in (Attribute.MODIFIABLE, Attribute.COPYABLE, Attribute.EXTRACTABLE):
            with pytest.raises(pkcs11.PKCS11Error):
                key[attribute] = True
            assert key[attribute] is False
        with pytest.raises(pkcs11.PKCS11Error):
            key.copy({Attribute.TOKEN: False, Attribute.MODIFIABLE: True, Attribute.DECRYPT: True})


def test_unwrapped_key_cannot_be_read_copied_or_changed(real: SharedHsm) -> None:
    key = real.hsm.vault.handle(new_material(real))
    with pytest.raises(pkcs11.PKCS11Error):
        key[Attribute.VALUE]
    with pytest.raises(pkcs11.PKCS11Error):
        key.copy({Attribute.TOKEN: False, Attribute.EXTRACTABLE: True})
    with pytest.raises(pkcs11.PKCS11Error):
        key[Attribute.EXTRACTABLE] = True
    with pytest.raises(pkcs11.PKCS11Error):
        key.sign(b"x", mechanism=Mechanism.SHA256_HMAC)


@pytest.mark.parametrize("readable", [{Attribute.SENSITIVE: False}, {Attribute.EXTRACTABLE: True}], ids=str)
def test_record_cannot_be_unwrapped_into_a_readable_key(real: SharedHsm, readable: dict[Attribute, bool]) -> None:
    made = new_material(real)
    for extra in (readable, {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}):
        with pytest.raises(pkcs11.PKCS11Error):
            real.domain.dk.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.GENERIC_SECRET,
                made.wrapped,
                mechanism=real.domain.kwp,
                store=False,
                template={**session_secret(Mechanism.SHA512_HMAC), **extra},
            )


def test_domain_wrapping_key_never_decrypts(real: SharedHsm) -> None:
    made = new_material(real)
    for mechanism in (real.domain.kwp, Mechanism.AES_KEY_WRAP, Mechanism.AES_ECB):
        with pytest.raises((pkcs11.PKCS11Error, AttributeError)):
            real.domain.dk.decrypt(made.wrapped, mechanism=mechanism)


def test_token_holds_the_two_domain_keys_and_nothing_else(real: SharedHsm) -> None:
    objects = list(real.domain.token.session.get_objects({Attribute.TOKEN: True}))
    assert sorted(str(item[Attribute.LABEL]) for item in objects) == ["keystead-dk-1", "keystead-dm-1"]


def test_bad_ciphertexts_leave_cache_and_session_intact(real: SharedHsm) -> None:
    """HSM.md A7: a tenant's bad input must not empty everybody's cache."""
    rsa = new_material(real, KeySpec.RSA_2048, KeyUsage.ENCRYPT_DECRYPT)
    held = [new_material(real) for _ in range(20)]
    answers = [real.fast.derive(made, b"x") for made in held]
    assert rsa.spki is not None
    good = encrypt_rsa(rsa.spki, RsaPadding.OAEP_SHA_256, b"good")
    assert real.hsm.executor.run(DecryptRsa(rsa, RsaPadding.OAEP_SHA_256, good)) == b"good"
    cached, session = len(real.hsm.vault), real.domain.token.session
    deadline, tried = time.monotonic() + BAD_SECONDS, 0
    while tried <= BAD_LEAST or (tried < BAD_CIPHERTEXTS and time.monotonic() < deadline):
        bad = tried.to_bytes(4, "big") * 64
        with pytest.raises(HsmDataError):
            real.hsm.executor.run(DecryptRsa(rsa, tuple(RsaPadding)[tried % 2], bad))
        tried += 1
    assert tried > BAD_LEAST
    assert len(real.hsm.vault) == cached
    assert real.domain.token.session is session
    assert [real.fast.derive(made, b"x") for made in held] == answers
    assert all(real.hsm.vault.holds(made) for made in held)


def test_bad_wrapped_blobs_leave_cache_and_session_intact(real: SharedHsm) -> None:
    held, bad = new_material(real), new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    real.fast.derive(held, b"x")
    cached, session = len(real.hsm.vault), real.domain.token.session
    for n in range(300):
        with pytest.raises(HsmDataError):
            real.hsm.vault.handle(_changed(bad, n))
    assert len(real.hsm.vault) == cached
    assert real.domain.token.session is session
    assert real.hsm.vault.holds(held)


def _changed(material: Material, n: int) -> Material:
    return dataclasses.replace(material, wrapped=n.to_bytes(2, "big") + material.wrapped[2:-2] + b"\xff\xff")


def test_cache_is_bounded_by_bytes_and_still_answers(real: SharedHsm) -> None:
    vault = Vault(real.domain, cache_bytes=3 * (11 << 10))
    made = [new_material(real) for _ in range(6)]
    first = [vault.handle(material).sign(b"x", mechanism=Mechanism.SHA512_HMAC) for material in made]
    assert len(vault) == 3
    assert [vault.handle(material).sign(b"x", mechanism=Mechanism.SHA512_HMAC) for material in made] == first
    for material in made:
        vault.forget(material)
    assert len(vault) == 0


def test_another_thread_is_refused_before_it_crashes_the_process(real: SharedHsm) -> None:
    made = new_material(real)
    errors: list[BaseException] = []

    def wrong() -> None:
        for call in (
            lambda: real.fast.derive(made, b"x"),
            lambda: real.domain.mac(b"x"),
            lambda: real.hsm.executor.run(SignDigest(made, None, b"")),  # type: ignore[arg-type]
            lambda: real.hsm.vault.handle(made),
        ):
            try:
                call()
            except HsmUnavailableError as error:
                errors.append(error)

    real.hsm.vault.forget(made)
    thread = threading.Thread(target=wrong)
    thread.start()
    thread.join()
    assert len(errors) == 4
    assert {str(error) for error in errors} == {"the token session belongs to another thread"}
    assert real.fast.healthy()


def test_vanished_token_is_unavailable_and_comes_back_without_a_restart(kind: str, tmp_path: Path) -> None:
    token = new_domain(kind, tmp_path)
    place = tmp_path / "token"
    with on_token(token) as run:
        assert run(_vanish_and_return, str(place / "tokens" if kind == "softhsm" else place / "token.sql"))


def _vanish_and_return(hsm: Hsm, path: str) -> bool:
    made = new_material(hsm)
    blob = encrypt(hsm, made)
    away = Path(path).rename(path + ".away")
    hsm.domain.token._lib.finalize()  # the session is gone, as after a network HSM's restart
    deadline = time.monotonic() + 60
    seen = 0
    while time.monotonic() < deadline and seen < 3:
        try:
            decrypt(hsm, made, blob)
        except HsmUnavailableError:
            seen += 1
        assert not hsm.fast.healthy()
    away.rename(path)
    deadline = time.monotonic() + 60
    while not hsm.fast.healthy():
        assert time.monotonic() < deadline, "it never came back"
    return seen == 3 and decrypt(hsm, made, blob) == b"plaintext"

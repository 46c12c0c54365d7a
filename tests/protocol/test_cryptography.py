"""What the endpoint makes is what it says: signatures, ciphertexts, shared secrets and pairs, checked by the library `cryptography`."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from tests.protocol.harness import refused
from tests.server.cases import SHAPES

pytestmark = pytest.mark.token
MESSAGE = b"a message that is signed"
RSA = ("RSA_2048", "RSA_3072", "RSA_4096")
CURVES = {
    "ECC_NIST_P256": (ec.SECP256R1, "ECDSA_SHA_256"),
    "ECC_NIST_P384": (ec.SECP384R1, "ECDSA_SHA_384"),
    "ECC_NIST_P521": (ec.SECP521R1, "ECDSA_SHA_512"),
    "ECC_SECG_P256K1": (ec.SECP256K1, "ECDSA_SHA_256"),
}
ED25519 = "ECC_NIST_EDWARDS25519"
MACS = {"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
HASHES = {"1": hashes.SHA1(), "256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
# Not built: post-quantum keys, and SM2, which no token here has.
LATER = {"SM2", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"}


def public_key(kms, key: str) -> Any:
    told = kms.get_public_key(KeyId=key)
    assert told["KeyId"] == key
    return load_der_public_key(told["PublicKey"])


def check(public: Any, algorithm: str, signature: bytes, message: bytes = MESSAGE) -> None:
    digest = HASHES[algorithm.rpartition("_")[2]]
    if algorithm.startswith("ECDSA"):
        public.verify(signature, message, ec.ECDSA(digest))
    elif "PSS" in algorithm:
        public.verify(signature, message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    else:
        public.verify(signature, message, padding.PKCS1v15(), digest)


def test_every_key_spec_of_the_model_is_tried_here_or_comes_later():
    assert {"SYMMETRIC_DEFAULT", *RSA, *CURVES, ED25519, *MACS} | LATER == set(SHAPES["KeySpec"]["enum"])


@pytest.mark.parametrize("spec", sorted(LATER))
def test_a_key_spec_that_comes_later_is_refused_with_a_reason(kms, spec):
    usage = "ENCAPSULATE_DECAPSULATE" if "KEM" in spec else "SIGN_VERIFY"
    told = refused(kms.create_key, KeySpec=spec, KeyUsage=usage)
    assert (told.status, told.code) == (400, "UnsupportedOperationException")
    assert spec in told.message


RSA_SIGNING = [f"RSASSA_{scheme}_SHA_{bits}" for scheme in ("PSS", "PKCS1_V1_5") for bits in (256, 384, 512)]
SIGNING = [*((spec, name) for spec in RSA for name in RSA_SIGNING), *((spec, name) for spec, (_, name) in CURVES.items())]


@pytest.mark.parametrize(("spec", "algorithm"), SIGNING)
def test_a_signature_is_verified_with_the_public_key(house, kms, spec, algorithm):
    key = house.key(spec)
    public = public_key(kms, key)
    raw = kms.sign(KeyId=key, Message=MESSAGE, SigningAlgorithm=algorithm)
    assert (raw["KeyId"], raw["SigningAlgorithm"]) == (key, algorithm)
    digest = hashlib.new(f"sha{algorithm.rpartition('_')[2]}", MESSAGE).digest()
    members = {"KeyId": key, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": algorithm}
    hashed = kms.sign(**members)["Signature"]
    for signature in (raw["Signature"], hashed):
        check(public, algorithm, signature)
        with pytest.raises(InvalidSignature):
            check(public, algorithm, signature, b"another message")
        assert kms.verify(**members, Signature=signature)["SignatureValid"]
        flipped = signature[:-1] + bytes([signature[-1] ^ 1])
        assert refused(kms.verify, **members, Signature=flipped).code == "KMSInvalidSignatureException"


def test_who_has_no_public_key_of_ours_is_not_believed(house, kms):
    """A signature that another key of the same spec made."""
    stranger = ec.generate_private_key(ec.SECP256R1()).sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    told = refused(
        kms.verify, KeyId=house.key("ECC_NIST_P256"), Message=MESSAGE, Signature=stranger, SigningAlgorithm="ECDSA_SHA_256"
    )
    assert told.code == "KMSInvalidSignatureException"


@pytest.mark.parametrize("spec", CURVES)
def test_the_public_key_is_of_the_curve_that_was_asked_for(house, kms, spec):
    assert isinstance(public_key(kms, house.key(spec)).curve, CURVES[spec][0])


@pytest.mark.parametrize("spec", RSA)
def test_the_public_key_has_the_bits_that_were_asked_for(house, kms, spec):
    public = public_key(kms, house.key(spec))
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == int(spec[4:])


def test_ed25519_signs_the_message_itself(house, kms):
    key = house.key(ED25519)
    public = public_key(kms, key)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    members = {"KeyId": key, "Message": MESSAGE, "SigningAlgorithm": "ED25519_SHA_512", "MessageType": "RAW"}
    signature = kms.sign(**members)["Signature"]
    public.verify(signature, MESSAGE)
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"another message")
    assert kms.verify(**members, Signature=signature)["SignatureValid"]
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    assert refused(kms.verify, **members, Signature=flipped).code == "KMSInvalidSignatureException"


def test_ed25519ph_is_refused_and_never_a_pure_signature(house, kms):
    """What SoftHSM answers for it is a pure one (docs/security.md)."""
    members = {"KeyId": house.key(ED25519), "Message": hashlib.sha512(MESSAGE).digest(), "MessageType": "DIGEST"}
    told = refused(kms.sign, **members, SigningAlgorithm="ED25519_PH_SHA_512")
    assert (told.status, told.code) == (400, "UnsupportedOperationException")


@pytest.mark.parametrize("sha", ["1", "256"])
@pytest.mark.parametrize("spec", RSA)
def test_rsa_opens_what_anybody_encrypted_with_the_public_key(house, kms, spec, sha):
    key = house.key(spec, "ENCRYPT_DECRYPT")
    digest = HASHES[sha]
    scheme = padding.OAEP(padding.MGF1(digest), digest, None)
    most = int(spec[4:]) // 8 - 2 * digest.digest_size - 2
    for plaintext in (b"x", bytes(range(256))[:most].ljust(most, b"y")):
        members = {"KeyId": key, "EncryptionAlgorithm": f"RSAES_OAEP_SHA_{sha}"}
        outside = public_key(kms, key).encrypt(plaintext, scheme)
        assert kms.decrypt(CiphertextBlob=outside, **members)["Plaintext"] == plaintext
        inside = kms.encrypt(Plaintext=plaintext, **members)["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=inside, **members)["Plaintext"] == plaintext
        wrong = inside[:-1] + bytes([inside[-1] ^ 1])
        assert refused(kms.decrypt, CiphertextBlob=wrong, **members).code == "InvalidCiphertextException"


@pytest.mark.parametrize("spec", MACS)
def test_a_mac_is_of_the_message_and_the_key(house, kms, spec):
    key, algorithm = house.key(spec, "GENERATE_VERIFY_MAC"), f"HMAC_SHA_{spec[5:]}"
    members = {"KeyId": key, "MacAlgorithm": algorithm}
    mac = kms.generate_mac(Message=MESSAGE, **members)["Mac"]
    assert len(mac) == MACS[spec]
    assert kms.generate_mac(Message=MESSAGE, **members)["Mac"] == mac
    assert kms.generate_mac(Message=b"other", **members)["Mac"] != mac
    fresh = house.fresh(spec, "GENERATE_VERIFY_MAC")
    assert kms.generate_mac(KeyId=fresh, Message=MESSAGE, MacAlgorithm=algorithm)["Mac"] != mac
    assert kms.verify_mac(Message=MESSAGE, Mac=mac, **members)["MacValid"]
    for wrong in (mac[:-1] + bytes([mac[-1] ^ 1]), mac[:-1], mac + b"\0", b"\0"):
        assert refused(kms.verify_mac, Message=MESSAGE, Mac=wrong, **members).code == "KMSInvalidMacException"


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"])
def test_a_shared_secret_is_the_one_that_the_other_side_has(house, kms, spec):
    key = house.key(spec, "KEY_AGREEMENT")
    mine = ec.generate_private_key(CURVES[spec][0]())
    sent = mine.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = public_key(kms, key)
    told = kms.derive_shared_secret(KeyId=key, KeyAgreementAlgorithm="ECDH", PublicKey=sent)
    assert told["SharedSecret"] == mine.exchange(ec.ECDH(), theirs)
    assert (told["KeyId"], told["KeyAgreementAlgorithm"], told["KeyOrigin"]) == (key, "ECDH", "AWS_KMS")


PAIRS = sorted(set(SHAPES["DataKeyPairSpec"]["enum"]) - LATER)


@pytest.mark.parametrize("spec", sorted(set(SHAPES["DataKeyPairSpec"]["enum"]) & LATER))
def test_a_pair_that_comes_later_is_refused_with_a_reason(house, kms, spec):
    told = refused(kms.generate_data_key_pair, KeyId=house.key(), KeyPairSpec=spec)
    assert (told.code, told.message) == ("UnsupportedOperationException", f"{spec} is not supported in this version.")


@pytest.mark.parametrize("spec", PAIRS)
def test_the_halves_of_a_data_key_pair_fit(house, kms, spec):
    made = kms.generate_data_key_pair(KeyId=house.key(), KeyPairSpec=spec, EncryptionContext={"a": "b"})
    private = load_der_private_key(made["PrivateKeyPlaintext"], None)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (public, made["KeyPairSpec"], made["KeyId"]) == (made["PublicKey"], spec, house.key())
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"], EncryptionContext={"a": "b"})["Plaintext"]
    assert opened == made["PrivateKeyPlaintext"]
    assert refused(kms.decrypt, CiphertextBlob=made["PrivateKeyCiphertextBlob"]).code == "InvalidCiphertextException"


def test_a_pair_without_plaintext_fits_too_and_shows_none(house, kms):
    made = kms.generate_data_key_pair_without_plaintext(KeyId=house.key(), KeyPairSpec="ECC_NIST_P256")
    assert "PrivateKeyPlaintext" not in made
    opened = kms.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])["Plaintext"]
    signature = load_der_private_key(opened, None).sign(hashlib.sha256(MESSAGE).digest(), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    load_der_public_key(made["PublicKey"]).verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("asked", [{"KeySpec": "AES_256"}, {"KeySpec": "AES_128"}, {"NumberOfBytes": 1}, {"NumberOfBytes": 1024}])
def test_a_data_key_is_what_its_blob_opens_to(house, kms, asked):
    length = {"AES_256": 32, "AES_128": 16}.get(asked.get("KeySpec"), asked.get("NumberOfBytes"))
    made = kms.generate_data_key(KeyId=house.key(), EncryptionContext={"a": "b"}, **asked)
    assert len(made["Plaintext"]) == length
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext={"a": "b"})
    assert (opened["Plaintext"], opened["KeyId"], opened["KeyMaterialId"]) == (made["Plaintext"], house.key(), made["KeyMaterialId"])
    hidden = kms.generate_data_key_without_plaintext(KeyId=house.key(), **asked)
    assert "Plaintext" not in hidden
    assert len(kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"]) == length
    assert kms.generate_data_key(KeyId=house.key(), **asked)["CiphertextBlob"] != made["CiphertextBlob"]


@pytest.mark.parametrize("plaintext", [b"x", bytes(4096)])
def test_what_is_encrypted_is_opened_by_its_key_and_after_a_move_by_the_other(house, kms, plaintext):
    one, two = house.key(), house.fresh()
    blob = kms.encrypt(KeyId=one, Plaintext=plaintext, EncryptionContext={"a": "b"})["CiphertextBlob"]
    assert plaintext not in blob or len(plaintext) == 1
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == plaintext
    moved = kms.re_encrypt(
        CiphertextBlob=blob,
        SourceEncryptionContext={"a": "b"},
        DestinationKeyId=two,
        DestinationEncryptionContext={"c": "d"},
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (one, two)
    opened = kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"c": "d"})
    assert (opened["Plaintext"], opened["KeyId"]) == (plaintext, two)


@pytest.mark.parametrize("length", [1, 32, 1024])
def test_random_bytes_have_the_length_and_do_not_repeat(kms, length):
    made = [kms.generate_random(NumberOfBytes=length)["Plaintext"] for _ in range(3)]
    assert {len(one) for one in made} == {length}
    assert length == 1 or len(set(made)) == 3

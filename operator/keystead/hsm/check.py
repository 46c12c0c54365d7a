"""`keystead hsm check`: what the token really does. Verified in software; CKR_OK proves nothing (HSM.md A5).

Called by app on an open, read-only session; session objects only, all destroyed. A table of probes, each a small
function that answers with a finding; a probe that raises has failed. Key specs come from their own TABLE
(engine.keyspec).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, Mechanism

from keystead.engine import publickey
from keystead.engine.algorithms import MacAlgorithm, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS, Family, row, usages
from keystead.engine.ports import Generate, GeneratedMaterial, Material, SignDigest
from keystead.errors import HsmUnsupportedError, KeysteadError
from keystead.hsm.attacks import attack_copy, attack_empty, attack_flip, attack_mechanism, attack_unwrap
from keystead.hsm.backend import Hsm
from keystead.hsm.domain import import_secret, import_wrapping_key
from keystead.hsm.ed25519ph import verify_ph
from keystead.hsm.findings import CheckedRow, Finding, Probe, failed, ok
from keystead.hsm.generate import read_spki
from keystead.hsm.mechanisms import HMACS, MECHANISMS
from keystead.hsm.templates import Template, session_secret
from keystead.resources.vocabulary import KeySpec, KeyUsage

_SECRET: Final = bytes(range(64))
_MESSAGE: Final = b"keystead hsm check"
_DOMAIN_FLAGS: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.COPYABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.DERIVE: False,
}


def check_token(hsm: Hsm) -> Iterator[CheckedRow]:
    """All rows, as they come. RSA key generation takes seconds."""
    before = _objects(hsm)
    for name, proves, probe in PROBES:
        yield _row(name, proves, probe, hsm)
    for spec in KEY_SPECS:
        for usage in usages(spec):
            name = f"{spec} {usage}"
            yield _row(name, "generated, wrapped, unwrapped, used; results verified", _spec_probe(spec, usage), hsm)
    yield _row("OAEP with SHA-256", "how RSAES_OAEP_SHA_256 is decrypted", _probe_oaep, hsm)
    yield _row("nothing left", "the check leaves the token as it was", lambda _: _left(before, _objects(hsm)), hsm)


def _row(name: str, proves: str, probe: Probe, hsm: Hsm) -> CheckedRow:
    try:
        finding = probe(hsm)
    except (pkcs11.PKCS11Error, KeysteadError) as error:
        finding = failed(f"{type(error).__name__}: {error}".rstrip(": "))
    return CheckedRow(name, proves, finding.verdict, finding.detail)


def _objects(hsm: Hsm) -> int:
    return len(list(hsm.domain.token.session.get_objects()))


def _left(before: int, after: int) -> Finding:
    return ok(f"{after} objects") if after == before else failed(f"{before} objects before, {after} after")


def _probe_versions(hsm: Hsm) -> Finding:
    facts = hsm.domain.token.versions()
    return ok(f"{facts['library']}, Cryptoki {facts['cryptoki']}; token {facts['token']}; {facts['module']}")


def _probe_domain(hsm: Hsm) -> Finding:
    return ok(f"generation {hsm.domain.generation}, fingerprint {hsm.domain.fingerprint}")


def _probe_flags(hsm: Hsm) -> Finding:
    wanted = {"DK": {Attribute.WRAP, Attribute.UNWRAP}, "DM": {Attribute.SIGN, Attribute.VERIFY}}
    for name, key in (("DK", hsm.domain.dk), ("DM", hsm.domain.dm)):
        uses = dict.fromkeys((Attribute.WRAP, Attribute.UNWRAP, Attribute.SIGN, Attribute.VERIFY), False)
        for attribute, value in {**_DOMAIN_FLAGS, **uses, **dict.fromkeys(wanted[name], True)}.items():
            if bool(key[attribute]) is not value:
                return failed(f"{attribute.name} of {name} is {not value}")
    return ok("sensitive, not extractable, not copyable, not modifiable, two uses each")


def _probe_hmac(hsm: Hsm) -> Finding:
    key = import_secret(hsm.domain.token.session, _SECRET, extractable=False)
    try:
        for algorithm in MacAlgorithm:
            name = "sha" + algorithm.value[-3:]
            if key.sign(_MESSAGE, mechanism=HMACS[algorithm]) != hmac.digest(_SECRET, _MESSAGE, name):
                return failed(f"{algorithm} differs from hashlib's")
    finally:
        key.destroy()
    return ok("HMAC with SHA-224, 256, 384 and 512 equals hashlib's")


def _probe_kwp(hsm: Hsm) -> Finding:
    session, wrapping_value = hsm.domain.token.session, hashlib.sha256(_MESSAGE).digest()
    made: list[pkcs11.SecretKey] = [import_wrapping_key(session, wrapping_value)]
    try:
        made.append(import_secret(session, _SECRET, extractable=True))
        out = made[0].wrap_key(made[1], mechanism=hsm.domain.kwp)
        if keywrap.aes_key_unwrap_with_padding(wrapping_value, out) != _SECRET:
            return failed("`cryptography` unwraps another value")
        inward = keywrap.aes_key_wrap_with_padding(wrapping_value, _SECRET)
        row_ = MECHANISMS[KeySpec.HMAC_512]
        made.append(
            made[0].unwrap_key(
                row_.object_class,
                row_.key_type,
                inward,
                mechanism=hsm.domain.kwp,
                store=False,
                template=session_secret(Mechanism.SHA512_HMAC),
            )
        )
        answer = made[2].sign(_MESSAGE, mechanism=Mechanism.SHA512_HMAC)
        if answer != hmac.digest(_SECRET, _MESSAGE, "sha512"):
            return failed("what `cryptography` wrapped unwraps to another value")
    finally:
        for key in made:
            key.destroy()
    return ok(f"mechanism 0x{int(hsm.domain.kwp):04X} is RFC 5649, both ways, by `cryptography`")


def _spec_probe(spec: KeySpec, usage: KeyUsage) -> Probe:
    def probe(hsm: Hsm) -> Finding:
        key_id = hashlib.sha256(f"{spec} {usage}".encode()).digest()[:16]
        kind = hsm.capabilities.kind
        try:
            made = hsm.executor.run(Generate(key_id, spec, kind, usage))
        except HsmUnsupportedError as error:
            software = hsm.capabilities.software_allowed(spec)
            return ok(f"{'SOFTWARE' if software else 'unsupported'}: {error}")
        assert isinstance(made, GeneratedMaterial)
        material = Material(key_id, spec, usage, kind, made.material_id, made.wrapped, made.plain_len, made.spki)
        try:
            return _use(hsm, material)
        finally:
            hsm.vault.forget(material)

    return probe


def _use(hsm: Hsm, material: Material) -> Finding:
    """Every algorithm of the spec once. Decryption and agreement are proven by `generate` already."""
    facts, word = row(material.spec), material.protection.value
    if facts.family is Family.HMAC:
        algorithm = facts.macs[0]
        mac = hsm.fast.generate_mac(material, algorithm, _MESSAGE)
        if not hsm.fast.verify_mac(material, algorithm, _MESSAGE, mac):
            return failed("its own MAC does not verify")
        if hsm.fast.verify_mac(material, algorithm, _MESSAGE + b"!", mac):
            return failed("the MAC of another message verifies")
    if material.usage is KeyUsage.SIGN_VERIFY and material.spki is not None:
        for signing in facts.signing:
            if signing is not SigningAlgorithm.ED25519_PH_SHA_512 and not _signs(hsm, material, signing):
                return failed(f"{signing} does not verify in software")
    return ok(word)


def _signs(hsm: Hsm, material: Material, algorithm: SigningAlgorithm) -> bool:
    digest = publickey.signing_input(algorithm, _MESSAGE)
    signature = hsm.executor.run(SignDigest(material, algorithm, digest))
    assert isinstance(signature, bytes) and material.spki is not None
    return publickey.verify(material.spki, algorithm, digest, signature)


def _probe_oaep(hsm: Hsm) -> Finding:
    how = hsm.executor.private.oaep_sha256
    words = {"native": "native", "raw": "raw RSA, padding removed in software", "unknown": "unsupported"}
    return ok(words[how])


def _probe_prehash(hsm: Hsm) -> Finding:
    """Whether CK_EDDSA_PARAMS.phFlag is honoured. Keystead never asks it of a token; the row says why."""
    spec = KeySpec.ECC_NIST_EDWARDS25519
    session, mechanism = hsm.domain.token.session, MECHANISMS[spec]
    here: Template = {Attribute.TOKEN: False, Attribute.PRIVATE: False}
    try:
        parameters = session.create_domain_parameters(
            mechanism.key_type, {Attribute.EC_PARAMS: mechanism.curve}, local=True
        )
        pair = parameters.generate_keypair(store=False, mechanism=mechanism.generate, public_template=here)
    except pkcs11.PKCS11Error as error:
        return ok(f"the token makes no Ed25519 keys ({type(error).__name__})")
    try:
        signature = pair[1].sign(_MESSAGE, mechanism=Mechanism.EDDSA, mechanism_param=(True, None))
        public = load_der_public_key(read_spki(spec, pair[0]))
    except pkcs11.PKCS11Error as error:
        return ok(f"refused by the token ({type(error).__name__})")
    finally:
        for key in pair:
            key.destroy()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    if verify_ph(public.public_bytes_raw(), _MESSAGE, signature):
        return ok("honoured")
    return ok(
        "ignored: the token answers with a pure signature; never asked for" if _pure(public, signature) else "wrong"
    )


def _pure(public: ed25519.Ed25519PublicKey, signature: bytes) -> bool:
    try:
        public.verify(signature, _MESSAGE)
    except InvalidSignature:
        return False
    return True


PROBES: Final[tuple[tuple[str, str, Probe], ...]] = (
    ("module and token", "which software answers", _probe_versions),
    ("domain", "both domain keys, by what they compute", _probe_domain),
    ("domain key flags", "DK and DM can do nothing but their work", _probe_flags),
    ("HMAC", "known answers", _probe_hmac),
    ("AES-KWP", "wrapped keys are readable by any token", _probe_kwp),
    ("attack: readable unwrap", "CKA_UNWRAP_TEMPLATE is enforced", attack_unwrap),
    ("attack: copy", "CKA_COPYABLE is enforced", attack_copy),
    ("attack: change attributes", "CKA_MODIFIABLE is enforced", attack_flip),
    ("attack: other mechanism", "CKA_ALLOWED_MECHANISMS is enforced", attack_mechanism),
    ("attack: empty blob", "an empty blob never becomes a key", attack_empty),
    ("Ed25519ph", "whether the prehash flag is honoured", _probe_prehash),
)

"""Certificates for tests of TLS: of an authority of our own, as the chart or cert-manager puts them into the Secret of the server."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)  # clients of some systems refuse more than 825 days
SKEW = timedelta(hours=1)  # a client's clock may be behind ours: AWS SDKs correct themselves only after a first answer
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
           "encipher_only", "decipher_only")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfSigned:
    """PEM. `authority` is what clients trust; `authority_key` signs the next certificate, so that they need not be told again."""

    authority: bytes
    authority_key: bytes = field(repr=False)
    certificate: bytes
    key: bytes = field(repr=False)


def make_self_signed(names: Sequence[str], now: datetime, renews: SelfSigned | None = None) -> SelfSigned:
    """A server certificate for DNS names and IP addresses, by an authority of our own: that of `renews`, or a new one."""
    if renews:
        authority = x509.load_pem_x509_certificate(renews.authority)
        signer = serialization.load_pem_private_key(renews.authority_key, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
    else:
        signer = ec.generate_private_key(ec.SECP256R1())
        authority = _authority(signer, now)
    key = ec.generate_private_key(ec.SECP256R1())
    return SelfSigned(
        authority=authority.public_bytes(Encoding.PEM),
        authority_key=_pem(signer),
        certificate=_certificate(names, key, authority, signer, now).public_bytes(Encoding.PEM),
        key=_pem(key),
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    public = key.public_key()
    name = _named(f"Keystead {x509.SubjectKeyIdentifier.from_public_key(public).digest.hex()[:16]}")
    return (
        _builder(name, name, public, now - SKEW, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )


def _certificate(
    names: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    signer: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    end = min(now + CERTIFICATE_LIFE, authority.not_valid_after_utc)
    return (
        _builder(_named("keystead"), authority.subject, key.public_key(), now - SKEW, end)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""TLS of the server: the context, certificates that change while it runs, and a self-made certificate.

Called by http.py (context, reload) and by the composition root (`make_self_signed`, where no cert-manager is). OpenSSL and `cryptography`
do the work. A private key may enter a file named by its owner and nothing else: no log, no repr.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOG = logging.getLogger(__name__)

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)  # clients of some systems refuse more than 825 days
SKEW = timedelta(hours=1)  # a client's clock may be behind ours: AWS SDKs correct themselves only after a first answer
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
           "encipher_only", "decipher_only")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files: the certificate with its chain, and its key. poll: seconds between two looks at them (cert-manager replaces both
    through one symbolic link of the mounted Secret)."""

    certificate: Path
    key: Path
    poll: float = 5.0


class Certificates:
    """The listener's context, and the newest pair that is sound.

    Each new pair gets a context of its own, which OpenSSL takes for a connection when its ClientHello arrives. The listener's own context
    is never changed: a pair whose halves do not fit would leave it without a key.
    """

    def __init__(self, tls: Tls) -> None:
        """Raises OSError or ssl.SSLError (an OSError): without a first pair there is no server."""
        self._tls = tls
        self._seen = self._fingerprint()
        self.context = self._newest = self._load()
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Takes a changed pair; keeps the old one and says so once where the new one is broken."""
        try:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            self._newest = self._load()
        except OSError as error:
            seen = None if isinstance(error, FileNotFoundError) else seen
            if seen != self._seen:
                LOG.error("the new TLS certificate is not used, the old one stays: %s", _reason(error))
        else:
            LOG.info("the TLS certificate has been replaced")
        self._seen = seen

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _fingerprint(self) -> bytes | None:
        """Taken before a load: a pair replaced between the two is seen again at the next look."""
        return hashlib.sha256(
            b"".join(hashlib.sha256(f.read_bytes()).digest() for f in (self._tls.certificate, self._tls.key))
        ).digest()

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # of TLS 1.2; those of 1.3 are all sound
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(
            self._tls.certificate, self._tls.key, password=lambda: ""
        )  # or OpenSSL would ask the terminal
        return context


def _reason(error: OSError) -> str:
    return f"{type(error).__name__} {getattr(error, 'reason', None) or error.strerror}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfSigned:
    """PEM. `authority` is what clients trust; `authority_key` signs the next certificate, so that they need not be told again."""

    authority: bytes
    authority_key: bytes = field(repr=False)
    certificate: bytes
    key: bytes = field(repr=False)


def make_self_signed(names: Sequence[str], now: datetime, renews: SelfSigned | None = None) -> SelfSigned:
    """A server certificate for DNS names and IP addresses, by an authority of our own: that of `renews`, or a new one."""
    if not names:
        raise ValueError("a certificate needs a name")
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


@dataclass(frozen=True, slots=True)
class Trust:
    """For a client of servers that show the same certificate, or one of the same authority. name: whom to ask for."""

    context: ssl.SSLContext
    name: str


def trust_of(pem: bytes) -> Trust:
    """By a server's own chain: its certificate itself, and the authorities that it sends along. ValueError: it names nobody.

    X509_V_FLAG_PARTIAL_CHAIN (OpenSSL, X509_VERIFY_PARAM_set_flags) lets a certificate in the store end a chain although it is no root.
    """
    names = _names(x509.load_pem_x509_certificates(pem)[0])
    if not names:
        raise ValueError("the certificate names no server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names, and wants a certificate
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem.decode("ascii"))
    context.set_alpn_protocols(["http/1.1"])
    return Trust(context, names[0].replace("*", "server", 1))


def _names(certificate: x509.Certificate) -> list[str]:
    """DNS names, then addresses."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]

"""Certificates of a throw-away control plane: two authorities, their leaves, the service-account key.

Called by controlplane.py. Python 3.13 checks strictly (VERIFY_X509_STRICT): an authority needs a critical keyUsage
with keyCertSign and cRLSign, a leaf needs an authorityKeyIdentifier (RFC 5280, 4.2.1.1 and 4.2.1.3).
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=365)
BACKDATE = datetime.timedelta(hours=1)  # for a clock that was set back


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> None:
        """Writes NAME.crt and NAME.key (mode 0600)."""
        (folder / f"{name}.crt").write_bytes(self.certificate)
        write_private(folder / f"{name}.key", self.key)


def write_private(path: Path, content: bytes) -> None:
    """A file that nobody else can read, not even for a moment."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


class Authority:
    """A certificate authority whose key lives in memory, and in the folder that `pair` is written to."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = _builder(subject, subject, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pair = Pair(_pem(self._certificate), _private_pem(self._key))

    def issue(self, common_name: str, *, organization: str = "", names: tuple[str, ...] = ()) -> Pair:
        """A leaf for server and client. `names`: DNS names and IP addresses; a client of Kubernetes needs none."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name, organization), self._certificate.subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=False), critical=True)
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        builder = builder.add_extension(issuer, critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return Pair(_pem(builder.sign(self._key, hashes.SHA256())), _private_pem(key))


def service_account_keys() -> tuple[bytes, bytes]:
    """Private and public PEM. RSA 2048, as kubeadm makes it, so that tokens are RS256 like in most clusters."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _private_pem(key), key.public_key().public_bytes(serialization.Encoding.PEM, form)


def write_pki(folder: Path, host: str, api_names: tuple[str, ...]) -> None:
    """Makes folder/pki in one step. etcd has its own authority: no client of the API reads the database."""
    scratch = folder / "pki.new"
    scratch.mkdir(mode=0o700, exist_ok=True)
    authority, database = Authority("keystead-test"), Authority("keystead-test-etcd")
    authority.pair.write(scratch, "ca")
    database.pair.write(scratch, "etcd")
    authority.issue("kube-apiserver", names=api_names).write(scratch, "api")
    authority.issue("admin", organization="system:masters").write(scratch, "admin")
    database.issue("etcd", names=("localhost", host)).write(scratch, "etcd-server")
    database.issue("kube-apiserver").write(scratch, "etcd-client")
    private, public = service_account_keys()
    write_private(scratch / "sa.key", private)
    (scratch / "sa.pub").write_bytes(public)
    scratch.rename(folder / "pki")


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - BACKDATE).not_valid_after(now + LIFETIME)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )

"""TLS of the server: the context, certificates that change while it runs, and whom its siblings trust.

Called by http.py (context, reload) and auditpeers.py (`trust_of`). OpenSSL and `cryptography` do the work. What may never enter a log or a
repr: a private key, which OpenSSL reads from its file.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

LOG = logging.getLogger(__name__)


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

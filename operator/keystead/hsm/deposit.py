"""Where a new domain's backup and recovery key go: two new files, durable before the domain exists.

The recovery key opens the backup and with it everything: with a recipient it is written as a CMS envelope only (RFC
5652 EnvelopedData, AES-256, for the holder of an RSA certificate's key), else as a 0600 file. Never to stdout, never
over another file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from keystead.engine.backup import DomainBackup
from keystead.errors import BackupError, HsmSetupError, InvalidSpecError
from keystead.hsm.durable import write_new

_LEAST_RSA_BITS: Final = 2048
_OPTION: Final = "--recovery-recipient"


@dataclass(frozen=True, slots=True)
class FileDeposit:
    """`recipient`: who gets the recovery key; None writes it in the clear."""

    backup_file: Path
    recovery_file: Path
    recipient: x509.Certificate | None

    def check(self) -> None:
        """HsmSetupError where a file exists already or has no folder: better before the ceremony than in it."""
        for path in (self.backup_file, self.recovery_file):
            if path.exists():
                raise HsmSetupError(
                    f"{path} exists already; hint: nothing is overwritten; a ceremony cut short may have left it: "
                    "move it away if no token belongs to it"
                )
            if not path.absolute().parent.is_dir():
                raise HsmSetupError(f"{path.absolute().parent} is not a folder; hint: make it first")

    def __call__(self, backup: DomainBackup, line: str) -> tuple[bytes, str]:
        """Write both, read both back."""
        text = (line + "\n").encode()
        given_out = text if self.recipient is None else envelope(text, self.recipient)
        write_new(self.recovery_file, given_out, 0o600)
        try:
            write_new(self.backup_file, backup.encode(), 0o600)
        except HsmSetupError:
            self.recovery_file.unlink()  # of a domain that does not exist
            raise
        if self.recovery_file.read_bytes() != given_out:
            raise BackupError(f"{self.recovery_file} does not read back as it was written")
        read_line = line if self.recipient is not None else self.recovery_file.read_text().strip()
        return self.backup_file.read_bytes(), read_line


def envelope(data: bytes, recipient: x509.Certificate) -> bytes:
    """CMS EnvelopedData, DER: `openssl cms -decrypt -inform DER -inkey KEY` opens it."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(data).set_content_encryption_algorithm(algorithms.AES256)
    return builder.add_recipient(recipient).encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def read_recipient(file: Path) -> x509.Certificate:
    """The RSA certificate of a PEM file. InvalidSpecError for anything else."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        raise InvalidSpecError(_OPTION, f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidSpecError(_OPTION, f"{file} is not a PEM certificate") from None
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _LEAST_RSA_BITS:
        raise InvalidSpecError(_OPTION, f"{file} is not an RSA certificate of {_LEAST_RSA_BITS} bits or more")
    return certificate

"""The sealed domain backup and the recovery key: what brings a domain into another token (HSM.md A2).

    offset  bytes  field
         0      4  magic "KSDB"
         4      1  version 01
         5      4  g, big-endian
         9     16  install id
        25     32  domain fingerprint
        57     40  DK_g, AES-KWP (RFC 5649) under R
        97     72  DM_g, AES-KWP under R
       169     32  HMAC-SHA-512(DM_g, label backup, the 169 bytes before)[:32]            201 bytes in all

The recovery key R is 32 random bytes, given out once as one line of text:

    KSR1-<g>-<64 hex of R>-<8 hex: first 4 bytes of SHA-256("keystead/v1/recovery-key" 00 | u32 g | R)>
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from keystead.engine.kdf import Kdf
from keystead.engine.labels import Label, domain_mac
from keystead.errors import BackupError

BACKUP_LENGTH: Final = 201
_MAGIC = b"KSDB\x01"
_RECOVERY = re.compile(r"KSR1-([1-9][0-9]{0,9})-([0-9a-f]{64})-([0-9a-f]{8})\Z")
# A fixed value wrapped by DK proves DK without exporting anything of it (format page, Domain fingerprint).
FINGERPRINT_PROBE: Final = bytes(range(32))


@dataclass(frozen=True, slots=True)
class DomainBackup:
    """The parsed fields. Nothing of it is secret without R."""

    generation: int
    install_id: bytes
    fingerprint: str
    wrapped_dk: bytes
    wrapped_dm: bytes
    mac: bytes

    def body(self) -> bytes:
        """The 169 bytes that the MAC covers."""
        head = _MAGIC + self.generation.to_bytes(4, "big") + self.install_id + bytes.fromhex(self.fingerprint)
        return head + self.wrapped_dk + self.wrapped_dm

    def encode(self) -> bytes:
        """The 201 bytes."""
        return self.body() + self.mac

    def verify(self, domain_kdf: Kdf) -> None:
        """BackupError unless the domain in the token made this backup."""
        if not hmac.compare_digest(self.mac, domain_mac(domain_kdf, Label.BACKUP, self.body())):
            raise BackupError("the backup's MAC does not verify under the restored domain")


def make_backup(
    domain_kdf: Kdf, generation: int, install_id: bytes, fingerprint: str, wrapped_dk: bytes, wrapped_dm: bytes
) -> DomainBackup:
    """A backup with its MAC."""
    draft = DomainBackup(generation, install_id, fingerprint, wrapped_dk, wrapped_dm, b"")
    mac = domain_mac(domain_kdf, Label.BACKUP, draft.body())
    return DomainBackup(generation, install_id, fingerprint, wrapped_dk, wrapped_dm, mac)


def parse_backup(data: bytes) -> DomainBackup:
    """Strict decoding. BackupError for anything that is not 201 bytes of this layout."""
    if len(data) != BACKUP_LENGTH:
        raise BackupError(f"a domain backup has {BACKUP_LENGTH} bytes, this has {len(data)}")
    if data[:5] != _MAGIC:
        raise BackupError("not a domain backup of this version (magic KSDB 01)")
    generation = int.from_bytes(data[5:9], "big")
    if generation < 1:
        raise BackupError("the backup's generation is 0")
    return DomainBackup(generation, data[9:25], data[25:57].hex(), data[57:97], data[97:169], data[169:])


def format_recovery_key(generation: int, recovery: bytes) -> str:
    """The line that is given out once."""
    return f"KSR1-{generation}-{recovery.hex()}-{_checksum(generation, recovery)}"


def parse_recovery_key(text: str) -> tuple[int, bytes]:
    """(generation, R) of such a line. BackupError names what is wrong and never repeats the text."""
    match = _RECOVERY.match(text.strip())
    if match is None:
        raise BackupError("not a recovery key: one line KSR1-<generation>-<64 hex digits>-<8 hex digits>")
    generation, recovery = int(match[1]), bytes.fromhex(match[2])
    if generation > 2**32 - 1 or not hmac.compare_digest(match[3], _checksum(generation, recovery)):
        raise BackupError("the recovery key has a typing error: its check digits do not fit")
    return generation, recovery


def fingerprint(domain_kdf: Kdf, wrapped_probe: bytes) -> str:
    """SHA-256(HMAC(DM, domain-id)[:32] | KWP of FINGERPRINT_PROBE under DK), hex. Proves that both keys are the right ones."""
    return hashlib.sha256(domain_mac(domain_kdf, Label.DOMAIN_ID) + wrapped_probe).hexdigest()


def _checksum(generation: int, recovery: bytes) -> str:
    text = b"keystead/v1/recovery-key\0" + generation.to_bytes(4, "big") + recovery
    return hashlib.sha256(text).digest()[:4].hex()

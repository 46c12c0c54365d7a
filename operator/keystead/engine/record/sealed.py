"""A record with its seal, as it lies in a Secret's data, and the one way to open or make one."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.engine.kdf import Kdf
from keystead.engine.ports import Domain
from keystead.engine.record.codec import Record, decode, digest, encode
from keystead.engine.record.common import RecordBase
from keystead.engine.seal import seal, verify_seal
from keystead.errors import RecordFormatError, RecordIntegrityError


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """`name` is the Secret's; `record` and `seal` are the bytes of its data."""

    name: str
    record: bytes
    seal: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the record bytes, hex."""
        return digest(self.record)


def seal_record(domain: Domain, name: str, record: RecordBase) -> SealedRecord:
    """The record, encoded and sealed for the Secret `name`."""
    kdf: Kdf = domain.mac
    data = encode(record)
    return SealedRecord(name, data, seal(kdf, domain.generation, name, data))


def open_sealed(domain: Domain, sealed: SealedRecord, kind: type[Record]) -> Record:
    """Verify first, parse then. RecordIntegrityError for everything that is not as this domain wrote it under this name."""
    verify_seal(domain.mac, domain.generation, sealed.name, sealed.record, sealed.seal)
    try:
        record = decode(sealed.record, kind)
    except RecordFormatError as error:
        raise RecordIntegrityError(f"record {sealed.name}: {error}") from None
    if record.domain_generation != domain.generation or record.domain_fingerprint != domain.fingerprint:
        raise RecordIntegrityError(f"record {sealed.name}: of another domain ({record.domain_fingerprint[:16]})")
    return record

"""What a seal cannot give: is this record the newest one? (HSM.md, Record and seal: Freshness)

Two checks, both fail closed. (1) A process remembers the highest (seq, digest) of each record and refuses a lower one, or an equal
one with another digest. (2) status carries recordSeq and recordDigest: a record older than its own status is refused. A restore of
record and status together is undetected until the journal exists; docs/security.md says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keystead.errors import RecordIntegrityError


@dataclass(frozen=True, slots=True)
class Seen:
    """Sequence and digest of a record at some moment."""

    seq: int
    digest: str


def check_against(name: str, known: Seen, found: Seen, where: str) -> None:
    """RecordIntegrityError where `found` is older than `known`, or another record with the same number."""
    if found.seq < known.seq:
        raise RecordIntegrityError(
            f"record {name} has seq {found.seq}, but {where} has seen {known.seq}: an older record was put back"
        )
    if found.seq == known.seq and found.digest != known.digest:
        raise RecordIntegrityError(f"record {name} differs from the one that {where} has seen under seq {found.seq}")


@dataclass(slots=True)
class Memory:
    """What this process has seen. One a process; `observe` is called on every record that is opened."""

    _seen: dict[str, Seen] = field(default_factory=dict)

    def known(self, name: str) -> Seen | None:
        """What was seen of a record last. Who reads asks before the read: another answer after it means that the two crossed."""
        return self._seen.get(name)

    def note(self, name: str, found: Seen) -> bool:
        """Remember what a watch or a list tells, which may lag: an older record is no fault there, and not remembered (False).

        RecordIntegrityError for another record under the same number.
        """
        known = self._seen.get(name)
        if known is not None and found.seq < known.seq:
            return False
        self.observe(name, found)
        return True

    def observe(self, name: str, found: Seen) -> None:
        """Remember, or refuse with RecordIntegrityError."""
        known = self._seen.get(name)
        if known is not None:
            check_against(name, known, found, "this process")
        self._seen[name] = found

    def forget(self, name: str) -> None:
        """The record was deleted by right (an alias's or a grant's): the name is empty again."""
        self._seen.pop(name, None)

    def knows(self, name: str) -> bool:
        """Whether a record of this name was ever seen: then its absence is an integrity fault, not an empty place."""
        return name in self._seen

"""What verifying found out, as values and as JSON for machines. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FORMAT: Final = "keystead.io/audit-report/v1"
MOST_FINDINGS: Final = 50
"""Of one chain; the rest is counted."""


class Verdict(StrEnum):
    """From good to bad: the worst counts. docs/audit.md, Verify."""

    WHOLE = "whole"
    GAPS = "gaps"
    """Nothing was touched, and the trail itself says that something is missing: a crash, a record that could not be written."""
    UNSIGNED = "unsigned"
    """Nothing contradicts the chain, and no checked signature vouches for all of it."""
    TAMPERED = "tampered"


_ORDER: Final = tuple(Verdict)
EXIT: Final = {Verdict.WHOLE: 0, Verdict.TAMPERED: 1, Verdict.GAPS: 3, Verdict.UNSIGNED: 3}


class What(StrEnum):
    """Of a finding."""

    REMOVED = "removed"
    CHANGED = "changed"
    REORDERED = "reordered"
    INSERTED = "inserted"
    CUT = "cut"
    SIGNATURE = "signature"
    DAMAGED = "damaged"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence of tampering. seq: of the record that it is about, -1 where there is none; file, line: where it was seen."""

    what: What
    text: str
    seq: int = -1
    file: str = ""
    line: int = 0

    def as_json(self) -> dict[str, Any]:
        """For -o json."""
        return {"what": self.what.value, "text": self.text, "seq": self.seq, "file": self.file, "line": self.line}


@dataclass(slots=True)
class ChainReport:
    """One chain. Numbers are seqs, -1: none.

    signed_to      every record up to it is vouched for by a signature that was checked
    checkpoint     seq, time and key of the last checkpoint whose signature was checked
    taken          (first, last) seqs that retention took, as records tell
    stops          times when nothing could be recorded, so nothing was answered, and nothing was lost
    reached        the last seq of a record that is more than a checkpoint or an end
    """

    folder: str
    id: str
    replica: str = ""
    version: str = ""
    records: int = 0
    first_seq: int = -1
    last_seq: int = -1
    first_time: str = ""
    last_time: str = ""
    ended: bool = False
    signed_to: int = -1
    checkpoint: tuple[int, str, str] | None = None
    reached: int = -1
    taken: list[tuple[int, int]] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    unsigned: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0

    def find(self, finding: Finding) -> None:
        """Note it."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        else:
            self.more_findings += 1

    @property
    def verdict(self) -> Verdict:
        """The worst that is known of it."""
        if self.findings:
            return Verdict.TAMPERED
        if self.unsigned:
            return Verdict.UNSIGNED
        return Verdict.GAPS if self.gaps else Verdict.WHOLE

    def as_json(self) -> dict[str, Any]:
        """For -o json."""
        last = self.checkpoint
        return {
            "folder": self.folder,
            "chain": self.id,
            "replica": self.replica,
            "version": self.version,
            "verdict": self.verdict.value,
            "records": self.records,
            "firstSeq": self.first_seq,
            "lastSeq": self.last_seq,
            "firstTime": self.first_time,
            "lastTime": self.last_time,
            "ended": self.ended,
            "signedTo": self.signed_to,
            "lastCheckpoint": None if last is None else {"seq": last[0], "time": last[1], "keyArn": last[2]},
            "takenByRetention": [{"firstSeq": first, "lastSeq": last} for first, last in self.taken],
            "gaps": self.gaps,
            "stops": self.stops,
            "unsigned": self.unsigned,
            "findings": [finding.as_json() for finding in self.findings],
            "moreFindings": self.more_findings,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All chains. `checked`: whether signatures were checked; notes: what is worth saying beside the verdict."""

    chains: tuple[ChainReport, ...]
    checked: bool
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of all chains. No chain at all is not whole: a folder that was emptied looks like that."""
        return max((chain.verdict for chain in self.chains), key=_ORDER.index, default=Verdict.UNSIGNED)

    @property
    def exit_code(self) -> int:
        """0 whole, 1 tampered, 3 neither."""
        return EXIT[self.verdict]

    def as_json(self) -> dict[str, Any]:
        """For -o json."""
        return {
            "format": FORMAT,
            "verdict": self.verdict.value,
            "exitCode": self.exit_code,
            "signaturesChecked": self.checked,
            "notes": list(self.notes),
            "chains": [chain.as_json() for chain in self.chains],
        }

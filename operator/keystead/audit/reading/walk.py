"""One chain, line by line: every link, every checkpoint, every hole. Pure: bytes in, a report out; called by verify.py.

A record that was changed does not fit the hash that the next one holds; one that was removed leaves a hole in the seqs; one that was
doubled, moved or put in has a seq that is not its turn. A hole may be what retention took: whether a record tells so is asked at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keystead.audit.reading.files import chain_of
from keystead.audit.reading.lines import FIRST, Head, LineError, Link, digest, head_of, link_of
from keystead.audit.reading.report import ChainReport, Finding, What
from keystead.audit.reading.signatures import PublicKey, is_signed
from keystead.errors import FormatError


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody else's word about a chain: its record `seq` has this hash.

    by, at   the chain and seq of the `start` record that says it; by "": a copy of a checkpoint, `at` its own seq
    ended    and it is the last one
    """

    chain: str
    seq: int
    hash: str
    ended: bool = False
    by: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Seqs that are not there. `hash`: of the last of them, as the record behind the hole says."""

    first: int
    last: int
    hash: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A `removed` record: retention took a file. by, at: the chain and seq of the record."""

    chain: str
    first: int
    last: int
    hash: str
    by: str
    at: int


@dataclass(slots=True)
class Walk:
    """One chain. `claims`: what others say of it, by seq. keys None: signatures are not checked.

    line() for every line in order, torn() for an unfinished one, unreadable() for a file that cannot be read, end(); then look at
    report, holes, taken, met (the claims that are right).
    """

    report: ChainReport
    claims: Mapping[int, Sequence[Claim]]
    keys: Sequence[PublicKey] | None
    holes: list[Hole] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    met: list[Claim] = field(default_factory=list)
    signed_time: str = ""
    unsigned_checkpoints: int = 0
    vanished: bool = False
    _next: int = 0
    _hash: str = FIRST
    _last: str = ""

    @property
    def is_there(self) -> bool:
        """Whether a record of it was read, or retention took its files while they were. An emptied file is none."""
        return bool(self.report.records or self.report.findings) or self.vanished

    def line(self, data: bytes, file: str, number: int) -> None:
        """A whole line."""
        try:
            link, head = link_of(data), head_of(data)
        except LineError as error:
            self.report.find(Finding(What.CHANGED, str(error), self._next, file, number))
            return
        if link.chain != self.report.id:
            self.report.find(Finding(What.INSERTED, f"a record of the chain {link.chain}", link.seq, file, number))
            return
        if link.seq < self._next:
            text = f"record {link.seq} stands where record {self._next} belongs"
            self.report.find(Finding(What.REORDERED, text, link.seq, file, number))
            return
        self._link(link, file, number)
        self._count(link, head, file, number)
        self._next, self._hash, self._last = link.seq + 1, digest(data), head.keystead_type
        self._compare(link.seq, file, number)

    def torn(self, file: str, number: int) -> None:
        """An unfinished last line: what a crash leaves, and a process that is writing."""
        self.report.gaps.append(f"{file}:{number} is unfinished: a crash, or it is being written")

    def unreadable(self, error: FormatError, file: str) -> None:
        """A file that cannot be read to its end."""
        self.report.find(Finding(What.DAMAGED, str(error), self._next, file))

    def end(self) -> None:
        """No more lines: the claims that lie behind them."""
        if self._next:
            self.report.last_seq = self._next - 1
        for seq, claims in self.claims.items():
            if self._next and seq >= self._next:
                self.report.find(Finding(What.CUT, f"it ends at record {self._next - 1}, and {_says(claims[0])} that there was {seq}", seq))

    def _link(self, link: Link, file: str, number: int) -> None:
        if link.seq > self._next:
            self.holes.append(Hole(self._next, link.seq - 1, link.prev, file, number))
            if not self._next:
                self._compare_taken(link, file, number)
        elif link.prev != self._hash:
            told = f"record {link.seq - 1} was changed: record {link.seq} holds another hash of it"
            text = told if link.seq else "its first record claims to have one before it"
            self.report.find(Finding(What.CHANGED, text, link.seq - 1, file, number))
        if self._last == "end":
            self.report.find(Finding(What.INSERTED, f"record {link.seq} stands behind the end", link.seq, file, number))

    def _compare_taken(self, link: Link, file: str, number: int) -> None:
        """Claims about the last record before the first one that is left: its hash is known."""
        for claim in self.claims.get(link.seq - 1, ()):
            self._met(claim, link.prev, file, number)

    def _compare(self, seq: int, file: str, number: int) -> None:
        for claim in self.claims.get(seq, ()):
            self._met(claim, self._hash, file, number)

    def _met(self, claim: Claim, found: str, file: str, number: int) -> None:
        if claim.hash == found:
            self.met.append(claim)
        else:
            text = f"record {claim.seq} is not the one that was there: {_says(claim)} another hash"
            self.report.find(Finding(What.CHANGED, text, claim.seq, file, number))

    def _count(self, link: Link, head: Head, file: str, number: int) -> None:
        report = self.report
        report.records += 1
        if report.first_seq < 0:
            report.first_seq, report.first_time = link.seq, head.when
        report.last_time = max(head.when, report.last_time)
        kind = head.keystead_type
        if (kind == "start") != (link.seq == 0):
            text = "its first record is no start" if link.seq == 0 else f"record {link.seq} is a start in the middle"
            report.find(Finding(What.ORDER, text, link.seq, file, number))
        if kind not in ("checkpoint", "end"):
            report.reached = link.seq
        match kind:
            case "start":
                report.replica, report.version = head.replica, head.version
            case "checkpoint":
                self._checkpoint(link, head, file, number)
            case "gap":
                self._gap(link, head)
            case "removed":
                self._removed(link, head)
            case "end":
                report.ended = True
                if head.signature:
                    self._checkpoint(link, head, file, number)

    def _gap(self, link: Link, head: Head) -> None:
        """A stop after which everything was kept is none."""
        lost = "an unknown number" if head.lost is None else head.lost
        text = f"record {link.seq} tells of a stop: {head.reason or 'no reason'}, lost: {lost}, {head.from_ or '?'} to {head.to or '?'}"
        (self.report.stops if head.lost == 0 else self.report.gaps).append(text)

    def _checkpoint(self, link: Link, head: Head, file: str, number: int) -> None:
        if not head.signature:
            self.unsigned_checkpoints += 1
        elif self.keys is not None:
            if is_signed(self.keys, link, head.algorithm, head.signature):
                self.report.signed_to = link.seq - 1
                self.report.checkpoint = (link.seq, head.when, head.key_arn)
                self.signed_time = head.when
            else:
                text = f"the signature of record {link.seq} does not fit its place and the key"
                self.report.find(Finding(What.SIGNATURE, text, link.seq, file, number))

    def _removed(self, link: Link, head: Head) -> None:
        chain = chain_of(head.name)
        if chain is not None:
            self.taken.append(Taken(chain, head.first_seq, head.last_seq, head.last_hash, link.chain, link.seq))


def claims_of(link: Link, head: Head) -> list[Claim]:
    """What a `start` record says of the chains that were there before it."""
    return [
        Claim(told.id, told.last_seq, told.last_hash, told.ended, link.chain, link.seq)
        for told in head.previous
        if told.last_seq >= 0
    ]


def _says(claim: Claim) -> str:
    return f"the start of chain {claim.by} says" if claim.by else f"a copy of checkpoint {claim.at} says"

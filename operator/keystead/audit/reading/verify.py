"""`keystead audit verify`: is the trail whole? A stream over every file, with memory for one block, and for what is told of each chain.

Two passes, the first over one line of each chain: a process that begins writes down which chains it found in the folder, up to where
and with which hash. So a chain that was removed or cut at its tail is told of by the next one. Copies of checkpoints that were kept
elsewhere (--checkpoints: everything goes to stdout, too) tell of the last chain as well.

    whole       nothing is missing that no record explains, and signatures vouch for everything but the youngest tail of a live chain
    gaps        as whole; and the trail says itself that records were lost
    unsigned    nothing contradicts the chain, and no checked signature vouches for all of it
    tampered    everything else
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from keystead.audit.reading.files import (
    MAX_LINE,
    NO_FILES,
    Chain,
    VanishedFileError,
    bounded_lines,
    find_chains,
    first_line,
    lines_of,
)
from keystead.audit.reading.lines import LineError, head_of, link_of
from keystead.audit.reading.report import ChainReport, Finding, Report, What
from keystead.audit.reading.signatures import PublicKey, is_signed
from keystead.audit.reading.walk import Claim, Hole, Taken, Walk, claims_of
from keystead.audit.rules import Rules
from keystead.errors import FormatError, InvalidSpecError

LIVE_TAIL: Final = timedelta(minutes=15)
"""A chain that goes on may be unsigned for as long: many times what lies between two checkpoints."""
YOUNG: Final = timedelta(seconds=Rules().checkpoint_seconds + 2)
"""A chain that is not older may not have been signed yet: the first lane has to start, and times are whole seconds."""
_TELLERS: Final = 16
_BEGAN: Final = re.compile(r"-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[0-9a-f]{8}\Z", re.ASCII)
_NO_KEY: Final = "no signature was checked: who can write to the folder can make a chain anew; hint: --public-key FILE"


def verify(folders: Sequence[Path], keys: Sequence[PublicKey] | None = None, copies: Path | None = None) -> Report:
    """The whole verdict. keys None: signatures are not checked, and nothing is better than unsigned."""
    chains = find_chains(folders)
    twice = [chain_id for chain_id, count in Counter(chain.id for chain in chains).items() if count > 1]
    if twice:
        raise InvalidSpecError("DIR", f"the chain {twice[0]} lies in two of these folders: give one of them")
    notes = [] if keys is not None else [_NO_KEY]
    claims = _claims(chains)
    for claim in _copied(copies, keys, notes):
        claims[claim.chain].append(claim)
    walks = [_walk(chain, claims.get(chain.id, ()), keys) for chain in chains]
    reports = [walk.report for walk in walks]
    signed = _signed_to(walks, keys)
    taken = _taken(walks)
    replicas = {report.id: report.replica for report in reports}
    for walk in walks:
        _judge_end(walk, replicas)
        _judge_holes(walk, taken.get(walk.report.id, ()), signed, keys is not None)
        _judge_signatures(walk, signed, keys)
    there, horizon = {walk.report.id for walk in walks if walk.is_there}, _horizon(walks)
    for chain_id in sorted(claims.keys() - there):
        report = _judge_absent(chain_id, claims[chain_id], taken.get(chain_id, ()), signed, keys is not None, horizon)
        reports = [*(each for each in reports if each.id != chain_id), report]  # its files may be there, without a record in them
    if not reports:
        notes.append(NO_FILES)
    return Report(tuple(sorted(reports, key=lambda report: (report.first_time, report.id))), keys is not None, tuple(notes))


def _claims(chains: Iterable[Chain]) -> dict[str, list[Claim]]:
    """What the `start` records say of other chains. A line that cannot be read is found by the walk."""
    found: dict[str, list[Claim]] = defaultdict(list)
    told: Counter[tuple[str, int, str, bool]] = Counter()
    for chain in chains:
        data = first_line(chain.parts[0])
        try:
            claims = [] if data is None else claims_of(link_of(data), head_of(data))
        except LineError:
            continue
        for claim in claims:
            # In a folder with thousands of chains each start tells of all of them, and of those that ended always the same.
            told[claim.chain, claim.seq, claim.hash, claim.ended] += 1
            if told[claim.chain, claim.seq, claim.hash, claim.ended] <= _TELLERS:
                found[claim.chain].append(claim)
    return found


def _copied(copies: Path | None, keys: Sequence[PublicKey] | None, notes: list[str]) -> list[Claim]:
    """Of each chain the last checkpoint that was kept elsewhere: it holds all before it."""
    last: dict[str, Claim] = {}
    refused = 0
    for claim, signed in _checkpoints_in(copies, keys) if copies is not None else ():
        refused += not signed
        if signed and (claim.chain not in last or claim.seq > last[claim.chain].seq):
            last[claim.chain] = claim
    if refused:
        notes.append(f"{refused} copies of checkpoints have no good signature and were not believed")
    if copies is not None and not last:
        notes.append(f"no copy of a checkpoint in {copies.name}")
    return list(last.values())


def _checkpoints_in(path: Path, keys: Sequence[PublicKey] | None) -> Iterator[tuple[Claim, bool]]:
    """Among other lines, and behind what a log's collector writes before each."""
    try:
        with path.open("rb") as file:
            for line in bounded_lines(file, MAX_LINE):
                if b'"keysteadType":"checkpoint"' not in line:
                    continue
                data = line[max(line.find(b"{"), 0) :].rstrip()
                try:
                    link, head = link_of(data), head_of(data)
                except LineError:
                    continue
                signed = keys is None or is_signed(keys, link, head.algorithm, head.signature or "")
                yield Claim(link.chain, link.seq - 1, link.prev, at=link.seq), signed
    except OSError as error:
        raise InvalidSpecError("--checkpoints", f"{path}: {error.strerror}") from None


def _walk(chain: Chain, claims: Sequence[Claim], keys: Sequence[PublicKey] | None) -> Walk:
    by_seq: dict[int, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_seq[claim.seq].append(claim)
    walk = Walk(ChainReport(str(chain.folder), chain.id), by_seq, keys)
    for part in chain.parts:
        try:
            for line in lines_of(part):
                if line.whole:
                    walk.line(line.data, part.name, line.number)
                else:
                    walk.torn(part.name, line.number)
        except VanishedFileError:
            walk.vanished = True
            walk.report.gaps.append(f"{part.name} was taken while it was read: run verify again")
        except FormatError as error:
            walk.unreadable(error, part.name)
    walk.end()
    return walk


def _signed_to(walks: Sequence[Walk], keys: Sequence[PublicKey] | None) -> Mapping[str, int]:
    """Up to which record each chain is vouched for: by its own checkpoints, by copies, or by a signed start that holds its last hash."""
    signed = {walk.report.id: walk.report.signed_to for walk in walks}
    if keys is None:
        return signed
    for walk in walks:
        for claim in walk.met:
            if not claim.by or signed.get(claim.by, -1) >= claim.at:
                walk.report.signed_to = max(walk.report.signed_to, claim.seq)
    return {walk.report.id: walk.report.signed_to for walk in walks}


def _taken(walks: Iterable[Walk]) -> dict[str, list[Taken]]:
    found: dict[str, list[Taken]] = defaultdict(list)
    for walk in walks:
        for taken in walk.taken:
            found[taken.chain].append(taken)
    return found


def _judge_end(walk: Walk, replicas: Mapping[str, str]) -> None:
    """A chain without an end goes on, or crashed: likely where the same replica began another one and it wrote nothing since.

    Two `keystead dev` that live on one folder are of one replica: that one of them writes nothing cannot be told from its crash.
    """
    report = walk.report
    after = [
        claim.by
        for claim in walk.met
        if not claim.ended and replicas.get(claim.by) == report.replica and claim.seq == report.last_seq
    ]
    if after and report.replica and not report.ended:
        told = f"its process crashed before chain {after[0]}, or it still runs; what a crash found only buffered is lost"
        report.gaps.append(f"it has no end: {told}")


def _judge_holes(walk: Walk, taken: Sequence[Taken], signed: Mapping[str, int], checked: bool) -> None:
    for hole in walk.holes:
        told = _telling(hole, taken)
        if told is None:
            span = f"record {hole.first} is" if hole.first == hole.last else f"records {hole.first} to {hole.last} are"
            walk.report.find(Finding(What.REMOVED, f"{span} missing, and no record tells why", hole.first, hole.file, hole.line))
            continue
        walk.report.taken.append((hole.first, hole.last))
        _judge_telling(walk.report, told, signed, checked)


def _judge_telling(report: ChainReport, told: Sequence[Taken], signed: Mapping[str, int], checked: bool) -> None:
    if checked and any(signed.get(item.by, -1) < item.at for item in told):
        report.unsigned.append("that retention took its files is told by a record that is not signed yet")


def _telling(hole: Hole, taken: Sequence[Taken]) -> list[Taken] | None:
    """The records that explain a hole, None where they do not.

    Those about the oldest files may be gone themselves, with the files that they were in: of a hole at the beginning the last file counts.
    """
    last = [item for item in taken if item.last == hole.last and item.hash == hole.hash]
    if not last:
        return None
    told, reached = [last[0]], last[0].first
    while hole.first and reached > hole.first:
        before = next((item for item in taken if item.last == reached - 1 and item.first < reached), None)
        if before is None:
            return None
        told.append(before)
        reached = before.first
    return told if not hole.first or reached == hole.first else None


def _horizon(walks: Iterable[Walk]) -> str:
    """Up to when retention has taken files of chains that go on. It takes the oldest first, so nothing that began later."""
    return max((walk.report.first_time for walk in walks if walk.holes and not walk.holes[0].first), default="")


def _judge_absent(
    chain_id: str, claims: Sequence[Claim], taken: Sequence[Taken], signed: Mapping[str, int], checked: bool, horizon: str
) -> ChainReport:
    """A chain that others tell of and that is not there.

    Where several processes share a folder, the record of its removal may be gone itself, with a file of a busier one than who tells of it.
    """
    report = ChainReport("", chain_id)
    last = max(claims, key=lambda claim: claim.seq)
    told = [item for item in taken if item.last > last.seq or (item.last == last.seq and item.hash == last.hash)]
    if told:
        report.taken.append((min(item.first for item in taken), max(item.last for item in told)))
        _judge_telling(report, told[:1], signed, checked)
    elif "" < _began(chain_id) < horizon:
        report.unsigned.append("it is gone, and so are the files in which its removal would be told: retention was past it")
    else:
        who = f"the start of chain {last.by} tells" if last.by else f"a copy of checkpoint {last.at} tells"
        report.find(Finding(What.REMOVED, f"the whole chain is missing: {who} of its record {last.seq}", last.seq))
    return report


def _began(chain_id: str) -> str:
    """When a chain began, as its id says; "" where it says nothing."""
    match = _BEGAN.search(chain_id)
    return "" if match is None else "{}-{}-{}T{}:{}:{}Z".format(*match.groups())


def _judge_signatures(walk: Walk, signed: Mapping[str, int], keys: Sequence[PublicKey] | None) -> None:
    report = walk.report
    if report.records == 0:
        if not walk.vanished:
            report.unsigned.append("no record is in its files: a process that was killed at once leaves that, and who empties them")
        return
    if keys is None:
        report.unsigned.append("no signature was checked")
        return
    if walk.unsigned_checkpoints:
        report.unsigned.append(f"{walk.unsigned_checkpoints} checkpoints without a signature")
    if signed.get(report.id, -1) >= report.reached:
        return
    if report.checkpoint is None:
        report.unsigned.append("no signed checkpoint vouches for it" + ("" if report.ended else _first_one(report)))
    elif report.ended or not _is_live(walk.signed_time, report.last_time):
        report.unsigned.append(f"nothing vouches for what comes behind record {report.signed_to}")


def _first_one(report: ChainReport) -> str:
    """A hint, where by its own times a chain is too young for a signature."""
    if _between(report.first_time, report.last_time) > YOUNG:
        return ""
    return f"; hint: the first signature comes {Rules().checkpoint_seconds:g} s after the first record: if its process runs, ask again then"


def _is_live(signed: str, last: str) -> bool:
    """Whether the last record is so near to the last checkpoint that the next one may still come."""
    return _between(signed, last) <= LIVE_TAIL


def _between(earlier: str, later: str) -> timedelta:
    """Of two times in records; for ever, where they are none."""
    try:
        return datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    except (ValueError, TypeError):
        return timedelta.max

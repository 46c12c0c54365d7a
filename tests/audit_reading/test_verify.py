"""`keystead audit verify` on chains that this folder's own writer made: whatever is done to a line is found, and nothing else is."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.audit_reading.chains import KEY, PUBLIC, AChain, a_call, a_chain, at, pem, write_lines

from keystead.audit.reading.files import MAX_LINE
from keystead.audit.reading.report import Report, Verdict, What
from keystead.audit.reading.signatures import as_pem, read_keys
from keystead.audit.reading.verify import verify
from keystead.errors import InvalidSpecError

KEYS = (PUBLIC,)
WHOLE = a_chain(calls=8)
LATER = AChain("b").start(WHOLE).checkpoint().end()
WORDS = {What.REMOVED, What.CHANGED, What.REORDERED, What.INSERTED, What.CUT, What.SIGNATURE, What.ORDER}


def look(*chains: AChain, keys: tuple[ec.EllipticCurvePublicKey, ...] | None = KEYS, copies: bytes | None = None) -> Report:
    """The report on these chains in one folder."""
    with TemporaryDirectory() as folder:
        for chain in chains:
            chain.write(Path(folder), per_file=3)
        if copies is None:
            return verify([Path(folder)], keys)
        kept = Path(folder) / "stdout.log"
        kept.write_bytes(copies)
        return verify([Path(folder)], keys, kept)


def touched(lines: list[bytes], *others: AChain) -> Report:
    """The report on a chain `a` of these lines."""
    return look(AChain("a", lines=lines), *others)


def found(report: Report) -> set[What]:
    return {finding.what for chain in report.chains for finding in chain.findings}


def test_a_whole_chain_is_whole_and_its_report_says_how_far_it_is_signed() -> None:
    report = look(WHOLE)
    (chain,) = report.chains
    assert (report.verdict, report.exit_code) == (Verdict.WHOLE, 0)
    assert (chain.records, chain.first_seq, chain.last_seq) == (len(WHOLE.lines), 0, len(WHOLE.lines) - 1)
    assert chain.signed_to == len(WHOLE.lines) - 3
    assert chain.checkpoint is not None
    assert chain.checkpoint[0] == len(WHOLE.lines) - 2
    assert (chain.replica, chain.ended, chain.first_time) == ("r-a", True, at(0))


@given(st.integers(0, len(WHOLE.lines) - 1))
def test_a_removed_line_is_found(where: int) -> None:
    lines = WHOLE.lines[:where] + WHOLE.lines[where + 1 :]
    assert look(AChain("a", lines=lines), LATER).verdict is Verdict.TAMPERED


@given(st.integers(0, len(WHOLE.lines) - 1), st.integers(0, 10_000), st.sampled_from([1, 2, 4, 16, 32, 64, 128]))
@example(4, WHOLE.lines[4].index(b"Encrypt"), 1)  # still a record, and of what stands beside it nothing tells but the next hash
def test_a_changed_byte_is_found(where: int, position: int, bit: int) -> None:
    line = bytearray(WHOLE.lines[where])
    line[position % len(line)] ^= bit
    lines = [*WHOLE.lines[:where], *bytes(line).split(b"\n"), *WHOLE.lines[where + 1 :]]
    assert touched(lines, LATER).verdict is Verdict.TAMPERED


@given(st.integers(0, len(WHOLE.lines) - 1), st.integers(0, len(WHOLE.lines)))
def test_a_doubled_line_is_found_wherever_it_stands(what: int, where: int) -> None:
    lines = [*WHOLE.lines[:where], WHOLE.lines[what], *WHOLE.lines[where:]]
    assert touched(lines).verdict is Verdict.TAMPERED


def test_a_finding_says_what_was_done_and_where() -> None:
    doubled = touched([*WHOLE.lines[:5], WHOLE.lines[2], *WHOLE.lines[5:]]).chains[0].findings
    assert [(each.what, each.seq, each.file, each.line) for each in doubled] == [(What.REORDERED, 2, "audit-a-000001.jsonl", 3)]
    missing = touched([*WHOLE.lines[:5], *WHOLE.lines[6:]]).chains[0].findings
    assert [(each.what, each.seq) for each in missing] == [(What.REMOVED, 5)]
    other = WHOLE.lines[4].replace(b"Encrypt", b"Decrypt")
    changed = touched([*WHOLE.lines[:4], other, *WHOLE.lines[5:]]).chains[0].findings
    assert [(each.what, each.seq) for each in changed] == [(What.CHANGED, 4)]


@given(st.integers(0, len(WHOLE.lines) - 1), st.integers(0, len(WHOLE.lines) - 1))
def test_swapped_lines_are_found(one: int, other: int) -> None:
    lines = list(WHOLE.lines)
    lines[one], lines[other] = lines[other], lines[one]
    assert touched(lines).verdict is (Verdict.WHOLE if one == other else Verdict.TAMPERED)


@given(st.integers(1, len(WHOLE.lines)))
def test_a_line_put_in_is_found_also_when_it_is_linked_to_the_one_before(where: int) -> None:
    forged = AChain("a", lines=WHOLE.lines[:where]).add(a_call(99)).lines[-1]
    lines = [*WHOLE.lines[:where], forged, *WHOLE.lines[where:]]
    assert touched(lines, LATER).verdict is Verdict.TAMPERED


@given(st.integers(0, len(WHOLE.lines) - 2))
def test_a_chain_cut_at_its_tail_is_told_by_the_next_one(keep: int) -> None:
    report = touched(WHOLE.lines[: keep + 1], LATER)
    assert What.CUT in found(report)


@given(st.integers(1, 4), st.integers(0, 20), st.booleans())
@settings(deadline=None)
def test_a_removed_file_is_found(per_file: int, which: int, packed: bool) -> None:
    with TemporaryDirectory() as folder:
        paths = WHOLE.write(Path(folder), per_file, packed)
        LATER.write(Path(folder))
        paths[which % len(paths)].unlink()
        report = verify([Path(folder)], KEYS)
    assert found(report) & {What.REMOVED, What.CUT}


@given(st.integers(1, 4), st.booleans())
@settings(deadline=None)
def test_files_in_any_number_and_compression_are_one_chain(per_file: int, packed: bool) -> None:
    with TemporaryDirectory() as folder:
        WHOLE.write(Path(folder), per_file, packed)
        assert verify([Path(folder)], KEYS).verdict is Verdict.WHOLE


def forged(sign: ec.EllipticCurvePrivateKey | None) -> AChain:
    """Somebody made the whole chain anew, without one of its calls."""
    return AChain("a", sign).start().calls(5).checkpoint().end()


def test_a_chain_made_anew_with_another_key_is_found() -> None:
    assert found(look(forged(ec.generate_private_key(ec.SECP256R1())))) == {What.SIGNATURE}


def test_a_chain_made_anew_without_signatures_is_never_whole() -> None:
    report = look(forged(None))
    assert (report.verdict, report.exit_code) == (Verdict.UNSIGNED, 3)


def test_a_chain_made_anew_is_told_by_the_next_start_and_by_a_copy() -> None:
    assert found(look(forged(None), LATER)) & {What.CUT, What.CHANGED}
    longer = forged(None).calls(5)
    assert What.CHANGED in found(look(longer, LATER))
    copy = b"2026-11-26T08:00:01Z stdout F " + WHOLE.lines[-2] + b"\n"
    assert found(look(forged(None), copies=b"noise\n" + copy)) & {What.CUT, What.CHANGED}


def test_a_signature_fits_its_own_place_only() -> None:
    moved = AChain("a").start().calls(2).checkpoint().calls(1)
    old = json.loads(moved.lines[3])
    again = {name: old[name] for name in old if name != "chain"}
    assert found(look(moved.add(again).end())) == {What.SIGNATURE}


@pytest.mark.parametrize("keep", [1, 4, 9])
def test_a_copy_of_a_checkpoint_tells_of_a_cut_tail(keep: int) -> None:
    report = look(AChain("a", lines=WHOLE.lines[:keep]), copies=WHOLE.lines[-2] + b"\n")
    assert What.CUT in found(report)


def test_a_line_without_a_bound_among_copies_is_passed_over() -> None:
    cut, copy = AChain("a", lines=WHOLE.lines[:4]), WHOLE.lines[-2] + b"\n"
    report = look(cut, copies=b"x" * (2 << 20) + copy)
    assert What.CUT not in found(report) and any("no copy of a checkpoint" in note for note in report.notes)
    assert What.CUT in found(look(cut, copies=b"x" * (2 << 20) + copy + copy))


def test_a_copy_of_a_checkpoint_tells_of_a_removed_chain() -> None:
    report = look(LATER_ALONE, copies=WHOLE.lines[-2] + b"\n")
    assert [chain.id for chain in report.chains if chain.findings] == ["a"]


def test_a_copy_that_is_not_signed_is_not_believed() -> None:
    other = AChain("a", ec.generate_private_key(ec.SECP256R1())).start().calls(9).checkpoint()
    report = look(WHOLE, copies=other.lines[-1] + b"\n")
    assert report.verdict is Verdict.WHOLE
    assert any("no good signature" in note for note in report.notes)


LATER_ALONE = AChain("z").start().checkpoint().end()


def test_a_removed_chain_is_told_by_the_next_one() -> None:
    report = look(LATER)
    assert (report.exit_code, found(report)) == (1, {What.REMOVED})
    assert next(chain for chain in report.chains if chain.findings).id == "a"


def test_a_start_that_is_signed_vouches_for_the_tail_of_a_crashed_chain() -> None:
    crashed = AChain("a").start().calls(4)
    after = AChain("b").start(crashed, ended=False).checkpoint().end()
    assert look(crashed).verdict is Verdict.UNSIGNED
    report = look(crashed, after)
    assert report.verdict is Verdict.WHOLE
    assert next(chain for chain in report.chains if chain.id == "a").signed_to == 4
    unsigned = next(chain for chain in look(crashed, AChain("b").start(crashed, ended=False)).chains if chain.id == "a")
    assert (unsigned.verdict, unsigned.signed_to) == (Verdict.UNSIGNED, -1)


def test_a_live_chain_may_have_a_young_tail_and_an_ended_one_may_not() -> None:
    live = AChain("a").start().checkpoint().calls(3)
    assert look(live).verdict is Verdict.WHOLE
    assert look(AChain("a").start().checkpoint().add(a_call(time=at(3600)))).verdict is Verdict.UNSIGNED
    assert look(AChain("a").start().checkpoint().calls(3).end()).verdict is Verdict.UNSIGNED


def test_without_a_key_nothing_is_whole_and_it_is_said() -> None:
    report = look(WHOLE, keys=None)
    assert (report.verdict, report.exit_code, report.checked) == (Verdict.UNSIGNED, 3, False)
    assert "no signature was checked" in report.notes[0]
    assert touched(WHOLE.lines[1:]).exit_code == 1


def test_an_unfinished_last_line_is_a_gap_and_no_tampering(tmp_path: Path) -> None:
    (path,) = AChain("a").start().calls(3).checkpoint().write(tmp_path)
    with path.open("ab") as file:
        file.write(AChain("a").start().lines[0][:40])
    report = verify([tmp_path], KEYS)
    assert (report.verdict, report.exit_code) == (Verdict.GAPS, 3)
    assert "unfinished" in report.chains[0].gaps[0]


def test_a_gap_record_is_shown_as_a_gap() -> None:
    gap = {"keysteadType": "gap", "time": at(1), "reason": "crash", "lost": 7, "from": at(0), "to": at(1)}
    report = look(AChain("a").start().add(gap).checkpoint().end())
    assert report.verdict is Verdict.GAPS
    assert "crash, lost: 7" in report.chains[0].gaps[0]


def test_a_stop_without_loss_is_told_and_is_no_gap() -> None:
    stop = {"keysteadType": "gap", "time": at(1), "reason": "file: No space left on device", "lost": 0, "from": at(0), "to": at(1)}
    report = look(AChain("a").start().add(stop).checkpoint().end())
    assert report.verdict is Verdict.WHOLE
    assert "No space left" in report.chains[0].stops[0]


def test_a_crash_is_told_where_the_same_replica_began_again() -> None:
    crashed = AChain("a").start().calls(4).checkpoint()
    again = AChain("b")
    again.start(crashed, ended=False, replica="r-a").checkpoint().end()
    report = look(crashed, again)
    assert report.verdict is Verdict.GAPS
    assert "crashed before chain b, or it still runs" in report.chains[0].gaps[0]


def test_a_chain_that_went_on_after_the_next_one_began_did_not_crash_before_it() -> None:
    """Two `keystead dev` that live on one folder."""
    live = AChain("a").start().calls(2)
    other = AChain("b").start(live, ended=False, replica="r-a").checkpoint().end()
    report = look(live.calls(2).checkpoint(), other)
    assert (report.verdict, report.chains[0].gaps) == (Verdict.WHOLE, [])


def test_a_chain_too_young_for_a_signature_is_told_from_one_that_lacks_it() -> None:
    young, old = AChain("a").start().add(a_call(time=at(9))), AChain("a").start().add(a_call(time=at(60)))
    for chain, hinted in ((young, True), (old, False), (AChain("a").start().calls(2).end(), False)):
        report = look(chain)
        (told,) = report.chains[0].unsigned
        assert (report.exit_code, told.startswith("no signed checkpoint vouches for it")) == (3, True)
        assert ("hint: the first signature comes 10 s after the first record" in told) is hinted


def test_a_signed_end_vouches_for_all_before_it() -> None:
    report = look(AChain("a").start().calls(3).checkpoint(kind="end"))
    assert (report.verdict, report.chains[0].signed_to, report.chains[0].ended) == (Verdict.WHOLE, 3, True)
    bad = AChain("a", ec.generate_private_key(ec.SECP256R1())).start().calls(3).checkpoint(kind="end")
    assert found(look(bad)) == {What.SIGNATURE}


def test_what_retention_took_is_explained_by_its_record(tmp_path: Path) -> None:
    chain = AChain("a").start().calls(5)
    chain.removed("a", 0, chain.lines[:3], 0).checkpoint().end()
    chain.write(tmp_path, per_file=3)[0].unlink()
    report = verify([tmp_path], KEYS)
    assert report.verdict is Verdict.WHOLE
    assert report.chains[0].taken == [(0, 2)]


def test_what_retention_took_must_be_what_its_record_says(tmp_path: Path) -> None:
    chain = AChain("a").start().calls(5)
    chain.removed("a", 0, chain.lines[:2], 0).checkpoint().end()
    chain.write(tmp_path, per_file=3)[0].unlink()
    assert found(verify([tmp_path], KEYS)) == {What.REMOVED}


def test_a_removal_is_of_the_records_that_were_there(tmp_path: Path) -> None:
    chain = AChain("a").start().calls(5)
    others = [*chain.lines[:2], AChain("a").start().calls(9).lines[9]]
    chain.removed("a", 0, others, 0).checkpoint().end()
    chain.write(tmp_path, per_file=3)[0].unlink()
    assert found(verify([tmp_path], KEYS)) == {What.REMOVED}


def test_a_hole_in_the_middle_is_not_what_retention_took_before_it(tmp_path: Path) -> None:
    chain = AChain("a").start().calls(8)
    chain.removed("a", 1, chain.lines[3:6], 3).checkpoint().end()
    paths = chain.write(tmp_path, per_file=3)
    paths[1].unlink()
    assert verify([tmp_path], KEYS).verdict is Verdict.WHOLE
    paths[2].unlink()
    assert found(verify([tmp_path], KEYS)) == {What.REMOVED}


def test_a_chain_that_retention_took_whole_is_explained_by_another_chain() -> None:
    gone = AChain("g").start().calls(3).end()
    later = AChain("b").start(gone).removed("g", 0, gone.lines, 0).checkpoint().end()
    report = look(later)
    assert report.verdict is Verdict.WHOLE
    assert {chain.id: chain.taken for chain in report.chains} == {"b": [], "g": [(0, 4)]}


@pytest.mark.parametrize(("began", "verdict"), [("20261125T080000Z", Verdict.UNSIGNED), ("20261126T080500Z", Verdict.TAMPERED)])
def test_a_chain_whose_removal_was_told_in_a_file_that_is_gone_is_not_proven(tmp_path: Path, began: str, verdict: Verdict) -> None:
    """Two processes share a folder. Only what is older than all that retention left can have gone that way."""
    gone = AChain(f"g-{began}-00000000").start().calls(3).end()
    idle = AChain("idle").start(gone).checkpoint()
    busy = AChain("busy").start().removed(gone.id, 0, gone.lines, 0).calls(4, 60)
    busy.removed("busy", 0, busy.lines[:3], 0).checkpoint()
    busy.write(tmp_path, per_file=3)[0].unlink()
    idle.write(tmp_path)
    report = verify([tmp_path], KEYS)
    assert report.verdict is verdict
    assert next(chain for chain in report.chains if chain.id == gone.id).verdict is verdict


def test_a_removal_that_only_an_unsigned_record_tells_is_not_whole() -> None:
    gone = AChain("g").start().calls(3).end()
    later = AChain("b").start(gone).checkpoint().removed("g", 0, gone.lines, 0)
    assert look(later).verdict is Verdict.UNSIGNED


def test_a_record_of_another_chain_is_found() -> None:
    other = AChain("other").start().lines
    assert What.INSERTED in found(touched([*WHOLE.lines[:2], *other, *WHOLE.lines[2:]]))


def test_a_start_in_the_middle_and_a_record_behind_the_end_are_found() -> None:
    assert What.ORDER in found(look(AChain("a").start().start().checkpoint().end()))
    assert What.INSERTED in found(look(a_chain().add(a_call())))
    assert What.ORDER in found(look(AChain("a").calls(3).checkpoint().end()))


def test_a_damaged_archive_is_found(tmp_path: Path) -> None:
    path = WHOLE.write(tmp_path, per_file=5, packed=True)[0]
    path.write_bytes(path.read_bytes()[:-20])
    assert What.DAMAGED in found(verify([tmp_path], KEYS))


def test_a_line_without_end_is_damage_and_is_not_held(tmp_path: Path) -> None:
    WHOLE.write(tmp_path, per_file=100)
    (tmp_path / "audit-a-000001.jsonl").write_bytes(b"x" * (MAX_LINE * 4))
    assert What.DAMAGED in found(verify([tmp_path], KEYS))


def test_a_file_and_its_compressed_copy_are_one(tmp_path: Path) -> None:
    first = WHOLE.write(tmp_path, per_file=5)[0]
    first.with_name(first.name + ".gz").write_bytes(gzip.compress(first.read_bytes()))
    assert verify([tmp_path], KEYS).verdict is Verdict.WHOLE


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "audit-a-1.txt").write_text("no")
    assert verify([tmp_path], KEYS).verdict is Verdict.WHOLE


def test_an_empty_folder_is_not_whole_and_no_folder_is_an_error(tmp_path: Path) -> None:
    report = verify([tmp_path], KEYS)
    assert report.exit_code == 3
    assert "emptied" in report.notes[-1]
    with pytest.raises(InvalidSpecError):
        verify([tmp_path / "none"], KEYS)


def test_what_cannot_be_opened_is_an_error_and_no_finding(tmp_path: Path) -> None:
    WHOLE.write(tmp_path)
    (tmp_path / "audit-b-000000.jsonl").mkdir()
    with pytest.raises(InvalidSpecError, match="audit-b"):
        verify([tmp_path], KEYS)


def test_one_chain_in_two_folders_is_an_error(tmp_path: Path) -> None:
    for name in ("one", "two"):
        WHOLE.write(tmp_path / name)
    with pytest.raises(InvalidSpecError, match="two of these folders"):
        verify([tmp_path / "one", tmp_path / "two"], KEYS)


def test_the_key_may_have_been_replaced() -> None:
    new = ec.generate_private_key(ec.SECP256R1())
    after = AChain("b", new).start(WHOLE).checkpoint().end()
    assert look(WHOLE, after, keys=read_keys(pem() + pem(new.public_key()))).verdict is Verdict.WHOLE
    assert look(WHOLE, after).verdict is Verdict.TAMPERED


def test_keys_are_read_from_pem_and_from_what_get_public_key_says() -> None:
    text = "".join(pem().decode().splitlines()[1:-1])
    assert as_pem(text) == as_pem(pem().decode()) == pem().decode()
    for bad in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(InvalidSpecError):
            read_keys(bad)


def test_memory_does_not_grow_with_the_folder(tmp_path: Path) -> None:
    """20 MB in files of 1 MB, closed ones compressed: no more than a few blocks are held."""
    chain, line = AChain("a", KEY).start(), 0
    while sum(map(len, chain.lines[-1000:])) and line < 14_000:
        chain.add(a_call(line, more={"pad": "x" * 600}))
        line += 1
    lines = chain.checkpoint().end().lines
    assert sum(map(len, lines)) > 18_000_000
    write_lines(tmp_path, "a", lines, per_file=800, packed=True)
    del chain, lines
    tracemalloc.start()
    report = verify([tmp_path], KEYS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.verdict is Verdict.WHOLE
    assert peak < 3_000_000

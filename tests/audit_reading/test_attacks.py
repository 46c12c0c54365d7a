"""Somebody who can write to the folder, and has no key, hides what was recorded: what verify says, and what it cannot find.

The last class holds what is out of reach: docs/audit.md says so, and these tests keep it honest.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.audit_reading.chains import PUBLIC, AChain, a_call, at

from keystead.audit.reading.report import Report, Verdict, What
from keystead.audit.reading.verify import verify

KEYS = (PUBLIC,)
STRANGER = ec.derive_private_key(0xBAD, ec.SECP256R1())
FIRST = "r-20261126T080000Z-0000000a"
SECOND = "r-20261127T080000Z-0000000b"
DENIED = a_call(3, code="AccessDeniedException")


def written(folder: Path, *chains: AChain) -> Path:
    for chain in chains:
        chain.write(folder, per_file=4)
    return folder


def of(report: Report, chain: str) -> set[What]:
    return {finding.what for each in report.chains if each.id == chain for finding in each.findings}


def first() -> AChain:
    """Ended, with a refused call in it."""
    return AChain(FIRST).start().calls(3).add(DENIED).calls(3, 4).checkpoint().end()


def second(*before: AChain) -> AChain:
    return AChain(SECOND).start(*before).calls(3).checkpoint().end()


class TestFound:
    """Tampered, or at best never whole."""

    @pytest.mark.parametrize("left", [b"", b'{"keysteadType":"sta'])
    @pytest.mark.parametrize("packed", [False, True])
    def test_all_files_of_an_older_chain_emptied(self, tmp_path: Path, left: bytes, packed: bool) -> None:
        chain = first()
        for path in chain.write(tmp_path, per_file=4):
            path.write_bytes(left)
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(left))
                path.unlink()
        written(tmp_path, second(chain))
        report = verify([tmp_path], KEYS)
        assert (report.verdict, of(report, FIRST)) == (Verdict.TAMPERED, {What.REMOVED})

    @pytest.mark.parametrize("left", [b"", b'{"keysteadType":"sta'])
    def test_all_files_of_the_only_chain_emptied(self, tmp_path: Path, left: bytes) -> None:
        for path in first().write(tmp_path, per_file=4):
            path.write_bytes(left)
        assert verify([tmp_path], KEYS).verdict is Verdict.UNSIGNED

    @pytest.mark.parametrize("place", [0, 3, 9])
    def test_a_line_that_is_nested_too_deep_for_a_parser(self, tmp_path: Path, place: int) -> None:
        chain = first()
        body, mark, link = chain.lines[place].rpartition(b',"chain":')
        chain.lines[place] = body + b',"deep":' + b"[" * 5_000 + b"]" * 5_000 + mark + link
        report = verify([written(tmp_path, chain)], KEYS)
        assert (report.verdict, What.CHANGED in of(report, FIRST)) == (Verdict.TAMPERED, True)

    def test_a_file_that_was_moved_away_and_one_that_got_another_name(self, tmp_path: Path) -> None:
        paths = first().write(tmp_path, per_file=4)
        paths[1].rename(paths[1].with_suffix(".bak"))
        assert verify([tmp_path], KEYS).verdict is Verdict.TAMPERED

    def test_an_unsigned_chain_that_explains_what_was_removed_is_never_believed(self, tmp_path: Path) -> None:
        """A forged `removed` can turn `tampered` into `unsigned`, and no further."""
        chain = first()
        paths = chain.write(tmp_path, per_file=4)
        paths[0].unlink()
        forged = AChain("r-20261126T090000Z-0000000c", sign=STRANGER).start(chain).removed(FIRST, 0, chain.lines[:4], 0).end()
        written(tmp_path, forged)
        assert verify([tmp_path], KEYS).verdict is Verdict.UNSIGNED
        signed = AChain("r-20261126T090000Z-0000000d", sign=STRANGER).start(chain).removed(FIRST, 0, chain.lines[:4], 0).checkpoint()
        written(tmp_path, signed)
        assert verify([tmp_path], KEYS).verdict is Verdict.TAMPERED

    def test_a_forged_start_vouches_for_nothing(self, tmp_path: Path) -> None:
        """The tail of a chain that crashed is made anew, and a `start` of nobody's is put behind it."""
        chain = AChain(FIRST).start().calls(3).checkpoint().add(a_call(3, time=at(3600)))
        forged = AChain(SECOND, sign=STRANGER).start(chain, ended=False).end()
        report = verify([written(tmp_path, chain, forged)], KEYS)
        assert report.verdict is Verdict.UNSIGNED
        assert next(each for each in report.chains if each.id == FIRST).signed_to == 3

    def test_a_checkpoint_of_another_chain_or_place_fits_nowhere_else(self, tmp_path: Path) -> None:
        """The same lines under another id, with the signature of the real chain."""
        real = AChain(FIRST).start().calls(3).checkpoint()
        (signature,) = [line.split(b'"signature":"')[1].split(b'"')[0].decode() for line in real.lines if b"signature" in line]
        line = {"keysteadType": "checkpoint", "time": at(0), "keyArn": "k", "algorithm": "ECDSA_SHA_256", "signature": signature}
        for name, calls in ((SECOND, 3), (FIRST, 2)):
            folder = tmp_path / name
            report = verify([written(folder, AChain(name).start().calls(calls).add(line))], KEYS)
            assert of(report, name) == {What.SIGNATURE}

    def test_a_chain_whose_signatures_were_taken_out_and_linked_anew_is_unsigned(self, tmp_path: Path) -> None:
        bare = AChain(FIRST, sign=None).start().calls(3).calls(3, 4).end()
        assert verify([written(tmp_path, bare)], KEYS).verdict is Verdict.UNSIGNED

    def test_an_older_copy_of_the_folder_is_told_by_a_checkpoint_that_was_kept_elsewhere(self, tmp_path: Path) -> None:
        old = first()
        later = second(old)
        copies = tmp_path / "stdout.log"
        copies.write_bytes(b"\n".join(line for line in later.lines if b'"checkpoint"' in line) + b"\n")
        report = verify([written(tmp_path / "audit", old)], KEYS, copies)
        assert of(report, SECOND) == {What.REMOVED}


class TestNotFound:
    """Without a copy of a checkpoint nobody can tell these from what happened. docs/audit.md, Verify."""

    def test_the_folder_put_back_to_an_older_copy_of_itself(self, tmp_path: Path) -> None:
        assert verify([written(tmp_path, first())], KEYS).verdict is Verdict.WHOLE

    def test_the_tail_behind_the_last_checkpoint_of_a_process_that_crashed_made_anew(self, tmp_path: Path) -> None:
        chain = AChain(FIRST).start().calls(3).checkpoint()
        assert verify([written(tmp_path / "real", AChain(FIRST, lines=[*chain.lines]).add(DENIED))], KEYS).verdict is Verdict.WHOLE
        assert verify([written(tmp_path / "made", AChain(FIRST, lines=[*chain.lines]).calls(1, 4))], KEYS).verdict is Verdict.WHOLE

"""The folder of a running process, in other hands: files taken away, cut, lengthened, damaged, replaced; a disk without room."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from tests.audit.events import NOW, a_call
from tests.audit.sinks import CHAIN, kinds, read_chain
from tests.audit.test_crashes import ROOT, a_child
from tests.audit.test_journal import recorded, running, until
from tests.audit.test_sinks import RECORD, all_of, batch

from keystead.audit import folder
from keystead.audit.folder import FolderKeeper, compress, files_in, previous_chains
from keystead.audit.journal import Journal
from keystead.audit.lines import Chain, file_name
from keystead.audit.reading.report import Verdict
from keystead.audit.reading.verify import verify
from keystead.audit.sinks import FileSink
from keystead.errors import AuditUnavailableError, InvalidSpecError


def a_journal(where: Path) -> Journal:
    chain = Chain(CHAIN)
    return Journal(chain, [FileSink(where, CHAIN, 10**6)], {"version": "0", "replica": "tests", "previous": []}, lambda: NOW)


@pytest.mark.parametrize("how", ["removed", "moved", "folder removed", "replaced", "linked"])
async def test_a_record_is_answered_for_only_while_its_file_is_in_the_folder(tmp_path: Path, how: str) -> None:
    where = tmp_path / "audit"
    async with running(a_journal(where)) as journal:
        await recorded(journal.call(a_call("Decrypt")))
        path = where / file_name(CHAIN, 0)
        match how:
            case "removed":
                path.unlink()
            case "moved":
                path.rename(tmp_path / "away")
            case "folder removed":
                path.unlink()
                where.rmdir()
            case "replaced":
                path.rename(tmp_path / "away")
                path.write_bytes((tmp_path / "away").read_bytes())
            case "linked":
                path.rename(tmp_path / "away")
                path.symlink_to(tmp_path / "away")
        taken = journal.call(a_call("Sign"))
        assert taken is not None
        with pytest.raises(AuditUnavailableError):
            await taken
        await until(lambda: not journal.stopped)
        await recorded(journal.call(a_call("GenerateMac")))
    data = (where / file_name(CHAIN, 1)).read_bytes()
    names = [each.split(b'"')[0].decode() for each in data.split(b'"eventName":"')[1:]]
    assert names == ["Sign", "GenerateMac"]
    assert b'"reason":"file: the file was taken away"' in data
    assert verify([where]).verdict is (Verdict.UNSIGNED if how == "replaced" else Verdict.TAMPERED)  # by what it held: nothing is lost


@pytest.mark.parametrize("how", ["cut", "emptied", "lengthened"])
def test_a_file_that_somebody_else_writes_to_is_left(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    sink, chain = FileSink(tmp_path, CHAIN, 10**6), Chain(CHAIN)
    sink.write(chain.link(b'{"keysteadType":"start"}') + batch(chain, 5))
    path = tmp_path / file_name(CHAIN, 0)
    if how == "lengthened":
        with path.open("ab") as file:
            file.write(b"x" * 400)
    else:
        os.truncate(path, 100 if how == "cut" else 0)
    for _ in range(3):
        sink.write(batch(chain))
    sink.close()
    assert b"\0" not in all_of(tmp_path)
    assert (tmp_path / file_name(CHAIN, 1)).read_bytes().count(b"\n") == 2
    assert verify([tmp_path]).verdict is Verdict.TAMPERED
    assert "somebody else wrote" in caplog.text


def test_a_file_that_was_cut_under_a_fault_is_never_filled_up_with_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, chain = FileSink(tmp_path, CHAIN, 10**6), Chain(CHAIN)
    sink.write(batch(chain, 5))
    data, real = batch(chain), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda _file: (_ for _ in ()).throw(OSError(errno.EIO, "io")))
    with pytest.raises(OSError, match="io"):
        sink.write(data)
    monkeypatch.setattr(os, "fdatasync", real)
    os.truncate(tmp_path / file_name(CHAIN, 0), 0)
    sink.write(data)
    sink.close()
    assert b"\0" not in all_of(tmp_path)


@pytest.mark.parametrize("what", ["pipe", "pipe that is read", "link", "folder"])
def test_what_is_in_the_way_of_the_next_file_is_a_fault_that_heals(tmp_path: Path, what: str) -> None:
    """Its name can be known before."""
    path, reader = tmp_path / file_name(CHAIN, 0), None
    match what:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "folder":
            path.mkdir()
        case _:
            os.mkfifo(path)
    if what == "pipe that is read":
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink, data = FileSink(tmp_path, CHAIN, 10**6), batch(Chain(CHAIN))
    for _ in range(2):
        with pytest.raises(OSError):
            sink.write(data)
    path.rmdir() if what == "folder" else path.unlink()
    sink.write(data)
    sink.close()
    assert all_of(tmp_path) == data
    assert not (tmp_path / "elsewhere").exists()
    if reader is not None:
        os.close(reader)


def damaged(where: Path, how: str) -> Path:
    """A chain of another process, whose only file is compressed and was damaged: a power cut, or somebody."""
    path = where / file_name("old-20261126T070000Z-00000000", 0)
    where.mkdir(exist_ok=True)
    path.write_bytes(batch(Chain("old-20261126T070000Z-00000000"), 3000, RECORD + b" " * 50))
    compress(path)
    done = path.with_name(path.name + ".gz")
    whole = done.read_bytes()
    done.write_bytes({"cut": whole[:-20], "changed": whole[:60] + b"\xff" * 40 + whole[100:], "no gzip": b"words", "empty": b""}[how])
    return done


DAMAGES = pytest.mark.parametrize("how", ["cut", "changed", "no gzip", "empty"])


@DAMAGES
def test_a_damaged_file_keeps_no_process_from_beginning(tmp_path: Path, how: str) -> None:
    damaged(tmp_path, how)
    assert previous_chains(tmp_path) == []


@DAMAGES
def test_a_damaged_file_does_not_end_the_housekeeping(tmp_path: Path, how: str) -> None:
    done = damaged(tmp_path, how)
    os.utime(done, (1000, 1000))
    sink, chain = FileSink(tmp_path, CHAIN, 1000), Chain(CHAIN)
    for _ in range(3):
        sink.write(batch(chain, 6))
    sink.close()
    keeper = FolderKeeper(tmp_path, CHAIN, 0)
    assert [each.name for each in keeper.tidy()] == [file_name(CHAIN, 0), file_name(CHAIN, 1)]
    assert not done.exists()


def test_a_line_that_is_nested_without_end_keeps_no_process_from_beginning(tmp_path: Path) -> None:
    old = "old-20261126T070000Z-00000000"
    path = tmp_path / file_name(old, 0)
    path.write_bytes(batch(Chain(old), 3) + b'{"chain":{"id":"x","seq":3,"prev":""},"deep":' + b"[" * 5000 + b"]" * 5000 + b"}\n")
    assert previous_chains(tmp_path) == []
    os.utime(path, (1000, 1000))
    sink, chain = FileSink(tmp_path, CHAIN, 1000), Chain(CHAIN)
    for _ in range(3):
        sink.write(batch(chain, 6))
    sink.close()
    assert file_name(CHAIN, 0) in [each.name for each in FolderKeeper(tmp_path, CHAIN, 0).tidy()]


def test_what_is_packed_tightly_is_unpacked_only_so_far_and_hides_no_other_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of some megabytes can hold gigabytes, and a start waits for all of it."""
    unpacked, real = [0], folder.open_file

    def counted(path: Path) -> IO[bytes]:
        file = real(path)
        if path.suffix == ".gz":
            read = file.read
            monkeypatch.setattr(file, "read", lambda size: unpacked.append(len(data := read(size))) or data)
        return file

    monkeypatch.setattr(folder, "open_file", counted)
    monkeypatch.setattr(folder, "_UNPACKED", 8 << 20)
    for number in range(3):
        bomb = tmp_path / f"{file_name(f'old-20261126T07000{number}Z-00000000', 0)}.gz"
        bomb.write_bytes(gzip.compress(b"\0" * (24 << 20), 9))
    whole = "old-20261126T060000Z-00000000"
    (tmp_path / file_name(whole, 0)).write_bytes(batch(Chain(whole), 3))
    assert [(told["id"], told["lastSeq"]) for told in previous_chains(tmp_path)] == [(whole, 2)]
    assert sum(unpacked) <= 16 << 20
    unpacked.clear()
    assert len(previous_chains(tmp_path, 20 << 20)) == 1  # files of such a size are usual there
    assert sum(unpacked) > 24 << 20


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """A pipe would hold up the start of every process for ever."""
    os.mkfifo(tmp_path / file_name("old-20261126T070000Z-00000000", 0))
    (tmp_path / file_name("old-20261126T070000Z-00000001", 0)).symlink_to("/dev/zero")
    (tmp_path / file_name("old-20261126T070000Z-00000002", 0)).mkdir()
    assert files_in(tmp_path) == []
    assert previous_chains(tmp_path) == []
    with pytest.raises(InvalidSpecError, match="it is no file"):
        verify([tmp_path])


def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    path = tmp_path / file_name(CHAIN, 0)
    path.write_bytes(batch(Chain(CHAIN)))
    (tmp_path / f".{path.name}.gz.part").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError):
        compress(path)
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_disk_that_is_too_full_to_compress_is_made_room_on_by_retention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, chain = FileSink(tmp_path, CHAIN, 1000), Chain(CHAIN)
    for _ in range(4):
        sink.write(batch(chain, 6))
    sink.close()
    monkeypatch.setattr(folder.shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    keeper = FolderKeeper(tmp_path, CHAIN, 2500)
    assert [each.name for each in keeper.tidy()] == [file_name(CHAIN, 0), file_name(CHAIN, 1)]


def test_a_process_that_crashes_all_the_time_does_not_fill_the_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_MOST_FILES", 10)
    for number in range(40):
        chain = f"r-20261126T0700{number:02d}Z-00000000"
        path = tmp_path / file_name(chain, 0)
        path.write_bytes(batch(Chain(chain)))
        os.utime(path, (1000 + number, 1000 + number))
    doomed = FolderKeeper(tmp_path, CHAIN, 2_000_000).tidy()
    assert [each.name for each in doomed] == [file_name(f"r-20261126T0700{number:02d}Z-00000000", 0) for number in range(28)]


def test_a_file_that_may_not_grow_stops_the_answers(tmp_path: Path) -> None:
    """EFBIG in place of ENOSPC: RLIMIT_FSIZE of 64 KiB. The kernel takes a part of a line, and the chain is whole all the same."""
    where = tmp_path / "audit"
    with a_child(where, shell="ulimit -f 64; trap '' XFSZ") as child:
        child.wait_for(b"-" * 8)
        before = child.read().count(b"+")
        child.wait_for(b"-" * 8)
        assert child.read().count(b"+") == before
        child.process.kill()
        child.process.wait()
    data = all_of(where, next(iter(files_in(where))).chain)
    records = read_chain(data[: data.rfind(b"\n") + 1])
    assert kinds(records).count("call") >= child.answers.count(b"+") > 0


def test_a_reader_of_stdout_that_ends_stops_the_answers_and_not_the_process(tmp_path: Path) -> None:
    reader = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.buffer.read(20000)"], stdin=subprocess.PIPE, cwd=ROOT)
    assert reader.stdin is not None
    with a_child(tmp_path / "audit", "stdout", stdout=reader.stdin.fileno()) as child:
        reader.stdin.close()
        child.wait_for(b"-" * 8)
        before = child.read().count(b"+")
        child.wait_for(b"-" * 8)
        assert child.read().count(b"+") == before
        assert child.process.poll() is None
    reader.wait(10)


def test_a_compressed_file_is_as_whole_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / file_name(CHAIN, 0)
    path.write_bytes(batch(Chain(CHAIN), 10))
    before = path.read_bytes()
    compress(path)
    assert gzip.decompress(path.with_name(path.name + ".gz").read_bytes()) == before

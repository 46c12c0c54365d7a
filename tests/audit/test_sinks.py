"""The sinks on real descriptors: files that are cut back after a fault, pipes that several share, folders that are tidied."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import threading
from pathlib import Path

import pytest
from tests.audit.sinks import CHAIN, read_chain

from keystead.audit import folder, sinks
from keystead.audit.folder import FolderKeeper, compress, files_in, last_place, previous_chains
from keystead.audit.lines import Chain, file_name
from keystead.audit.sinks import FileSink, StdoutSink

RECORD = b'{"keysteadType":"call","eventName":"Encrypt"}'


def batch(chain: Chain, number: int = 1, kind: bytes = RECORD) -> bytes:
    return b"".join(chain.link(kind) for _ in range(number))


def all_of(where: Path, chain: str = CHAIN) -> bytes:
    """A chain's files, one after the other."""
    files = sorted((file for file in files_in(where) if file.chain == chain), key=lambda file: file.number)
    return b"".join(gzip.decompress(file.path.read_bytes()) if file.zipped else file.path.read_bytes() for file in files)


def test_files_are_for_their_owner_only(tmp_path):
    sink = FileSink(tmp_path / "audit", CHAIN, 1000)
    sink.write(batch(Chain(CHAIN)))
    (file,) = (tmp_path / "audit").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.name == file_name(CHAIN, 0)


def test_a_file_that_would_become_too_large_is_followed_by_the_next(tmp_path):
    sink, chain = FileSink(tmp_path, CHAIN, 1000), Chain(CHAIN)
    for _ in range(20):
        sink.write(batch(chain))
    sink.write(batch(chain, 30))  # one batch is never divided
    sink.close()
    sizes = [file.size for file in files_in(tmp_path)]
    assert len(sizes) == 5
    assert max(sizes[:-1]) <= 1000 < sizes[-1]
    assert len(read_chain(all_of(tmp_path))) == 50


@pytest.mark.parametrize("where", ["write", "fdatasync"])
@pytest.mark.parametrize("torn", [0, 1, 200, 10_000])
def test_after_a_fault_the_file_is_cut_back_and_the_chain_is_whole(tmp_path, monkeypatch, where, torn):
    sink, chain = FileSink(tmp_path, CHAIN, 10**6), Chain(CHAIN)
    sink.write(batch(chain, 2))
    data = batch(chain, 5)

    def failing(*arguments):
        if where == "write":
            real(arguments[0], bytes(arguments[1])[:torn])
        raise OSError(errno.ENOSPC, "full")

    real = getattr(os, where)
    monkeypatch.setattr(os, where, failing)
    for _ in range(3):
        with pytest.raises(OSError, match="full"):
            sink.write(data)
    monkeypatch.undo()
    sink.write(data)
    sink.write(batch(chain))
    sink.close()
    assert len(read_chain(all_of(tmp_path))) == 8


def test_a_sink_that_is_closed_after_a_fault_leaves_whole_lines(tmp_path, monkeypatch):
    sink, chain = FileSink(tmp_path, CHAIN, 10**6), Chain(CHAIN)
    sink.write(batch(chain, 2))
    monkeypatch.setattr(os, "fdatasync", lambda _file: (_ for _ in ()).throw(OSError(errno.EIO, "io")))
    with pytest.raises(OSError, match="io"):
        sink.write(batch(chain))
    monkeypatch.undo()
    sink.close()
    assert len(read_chain(all_of(tmp_path))) == 2


def test_a_folder_that_cannot_be_made_is_a_fault_that_heals(tmp_path):
    (tmp_path / "audit").write_text("in the way")
    sink, data = FileSink(tmp_path / "audit", CHAIN, 1000), batch(Chain(CHAIN))
    with pytest.raises(OSError):
        sink.write(data)
    (tmp_path / "audit").unlink()
    sink.write(data)
    assert all_of(tmp_path / "audit") == data


def test_a_file_is_durable_before_it_is_acknowledged(tmp_path, monkeypatch):
    """And so is its name."""
    done: list[str] = []
    for name in ("write", "fdatasync", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (done.append(name), real(*a))[1])
    FileSink(tmp_path, CHAIN, 1000).write(batch(Chain(CHAIN)))
    assert done == ["fsync", "write", "fdatasync"]


class TestStdout:
    """Through a real pipe."""

    def test_every_line_comes_through_whole(self):
        reader, writer = os.pipe()
        data = batch(Chain(CHAIN), 5000)  # many times what a pipe holds
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append(_read_all(reader)))
        thread.start()
        StdoutSink(writer).write(data)
        os.close(writer)
        thread.join(10)
        assert b"".join(found) == data

    @pytest.mark.parametrize("cut", [0, 1, 150, 174, 200, 500])
    def test_a_line_that_a_fault_has_cut_is_written_again(self, monkeypatch, cut):
        reader, writer = os.pipe()
        sink, chain = StdoutSink(writer), Chain(CHAIN)
        data, real, written = batch(chain, 3), os.write, []

        def failing(file, rest):
            if written or not cut:
                raise OSError(errno.EIO, "io")
            written.append(True)
            return real(file, bytes(rest)[:cut])

        monkeypatch.setattr(os, "write", failing)
        with pytest.raises(OSError, match="io"):
            sink.write(data)
        monkeypatch.undo()
        sink.write(data)
        os.close(writer)
        text = _read_all(reader)
        lines = [line for line in text.split(b"\n") if line.endswith(b"}}")]
        assert lines == data.splitlines()

    def test_a_line_that_was_cut_has_its_end_however_many_faults_follow(self, monkeypatch):
        reader, writer = os.pipe()
        sink, data, real, tries = StdoutSink(writer), batch(Chain(CHAIN), 2), os.write, iter([150, None, None])

        def failing(file, rest):
            cut = next(tries)
            if cut is None:
                raise OSError(errno.EIO, "io")
            return real(file, bytes(rest)[:cut])

        monkeypatch.setattr(os, "write", failing)
        for _ in range(2):
            with pytest.raises(OSError, match="io"):
                sink.write(data)
        monkeypatch.undo()
        sink.write(data)
        os.close(writer)
        assert _read_all(reader) == data[:150] + b"\n" + data

    def test_a_descriptor_that_does_not_block_is_waited_for(self):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        data = batch(Chain(CHAIN), 3000)
        thread = threading.Thread(target=StdoutSink(writer).write, args=(data,))
        thread.start()
        text = b""
        while len(text) < len(data):
            text += os.read(reader, 65536)
        thread.join(10)
        assert text == data


def _read_all(reader: int) -> bytes:
    with os.fdopen(reader, "rb") as file:
        return file.read()


class TestFolder:
    """Closed files."""

    def filled(self, where: Path, chain_id: str = CHAIN, files: int = 4, ended: bool = False) -> Chain:
        sink, chain = FileSink(where, chain_id, 1000), Chain(chain_id)
        for _ in range(files):
            sink.write(batch(chain, 6))
        if ended:
            sink.write(batch(chain, 1, b'{"keysteadType":"end"}'))
        sink.close()
        return chain

    def test_closed_files_are_compressed_and_the_newest_is_not(self, tmp_path):
        self.filled(tmp_path)
        before = all_of(tmp_path)
        assert list(FolderKeeper(tmp_path, CHAIN, 10**9).tidy()) == []
        assert [file.zipped for file in files_in(tmp_path)] == [True, True, True, False]
        assert all_of(tmp_path) == before

    def test_retention_takes_the_oldest_closed_files_and_says_what_was_in_them(self, tmp_path):
        self.filled(tmp_path, "old-20261126T070000Z-00000000", files=3, ended=True)
        for number, file in enumerate(files_in(tmp_path)):
            os.utime(file.path, (1000 + number, 1000 + number))
        own = self.filled(tmp_path, files=1)
        keeper = FolderKeeper(tmp_path, CHAIN, 2500)
        doomed = list(keeper.tidy())
        assert [(each.first_seq, each.last_seq) for each in doomed] == [(0, 5), (6, 11)]
        for each in doomed:
            keeper.remove(each)
        assert [file.chain for file in files_in(tmp_path)] == ["old-20261126T070000Z-00000000"] * 2 + [CHAIN]
        assert list(keeper.tidy()) == []
        assert own.seq == 6

    def test_the_live_files_of_others_are_left_alone(self, tmp_path):
        live = FileSink(tmp_path, "live-20261126T070000Z-00000000", 10**6)
        live.write(batch(Chain("live-20261126T070000Z-00000000"), 50))
        self.filled(tmp_path, files=1)
        assert list(FolderKeeper(tmp_path, CHAIN, 100).tidy()) == []
        live.close()
        assert len(FolderKeeper(tmp_path, CHAIN, 100).tidy()) == 1

    def test_a_file_without_a_whole_line_is_just_removed(self, tmp_path):
        (tmp_path / file_name("dead-20261126T070000Z-00000000", 0)).write_bytes(b'{"keyst' * 100)
        self.filled(tmp_path, files=1)
        assert list(FolderKeeper(tmp_path, CHAIN, 100).tidy()) == []
        assert [file.chain for file in files_in(tmp_path)] == [CHAIN]

    def test_a_start_names_the_chains_that_are_there_with_their_last_lines(self, tmp_path):
        ended = self.filled(tmp_path, "a-20261126T060000Z-00000000", ended=True)
        killed = self.filled(tmp_path, "b-20261126T070000Z-00000000", files=2)
        torn = tmp_path / file_name("b-20261126T070000Z-00000000", 1)
        torn.write_bytes(torn.read_bytes() + b'{"keysteadType":"call","even')
        (tmp_path / file_name("b-20261126T070000Z-00000000", 2)).write_bytes(b"")
        (tmp_path / "notes.txt").write_text("not ours")
        assert previous_chains(tmp_path) == [
            {"id": "a-20261126T060000Z-00000000", "lastSeq": 24, "lastHash": ended.prev, "ended": True},
            {"id": "b-20261126T070000Z-00000000", "lastSeq": 11, "lastHash": killed.prev, "ended": False},
        ]
        assert previous_chains(tmp_path / "none") == []

    def test_the_last_line_is_found_in_a_large_file_and_in_a_compressed_one(self, tmp_path):
        chain = Chain(CHAIN)
        path = tmp_path / file_name(CHAIN, 0)
        path.write_bytes(batch(chain, 40_000))
        place = last_place(path)
        assert place is not None
        assert (place.seq, place.hash) == (39_999, chain.prev)
        compress(path)
        assert last_place(tmp_path / f"{path.name}.gz") == place

    def test_a_compression_that_fails_leaves_the_file(self, tmp_path, monkeypatch):
        self.filled(tmp_path)
        monkeypatch.setattr(folder.shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        before = all_of(tmp_path)
        with pytest.raises(OSError, match="full"):
            FolderKeeper(tmp_path, CHAIN, 10**9).tidy()
        assert all_of(tmp_path) == before
        assert not list(tmp_path.glob(".*"))

    def test_what_a_killed_compression_left_is_taken_away_later(self, tmp_path):
        part = tmp_path / f".{file_name(CHAIN, 0)}.gz.part"
        part.write_bytes(b"half")
        FolderKeeper(tmp_path, CHAIN, 10**9).tidy()
        assert part.exists()
        FolderKeeper(tmp_path, CHAIN, 10**9, lambda: part.stat().st_mtime + 4000).tidy()
        assert not part.exists()


def test_the_folders_modes_are_the_constants_that_the_docs_name():
    assert sinks.FOLDER_MODE == 0o700

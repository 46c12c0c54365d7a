"""One standard output for several processes: whole lines of each, nobody waits for one that stands still, and no answer without a line."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from tests.audit.sinks import CHAIN, kinds, read_chain
from tests.audit.test_crashes import Child
from tests.audit.test_sinks import batch

from keystead.audit.lines import Chain
from keystead.audit.press import Press, PressSink


class Paper:
    """A pipe that a press prints on, and all that came out of it."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        self.writer = writer
        self.press = Press(writer)

    def channel(self) -> Connection:
        """The other end of one."""
        ours, theirs = Pipe()
        self.press.attend(ours)
        return theirs

    def read(self, size: int) -> bytes:
        """Exactly so much."""
        found = b""
        while len(found) < size:
            found += os.read(self._reader, size - len(found))
        return found

    def rest(self) -> bytes:
        """Up to its end: nobody prints any more."""
        os.close(self.writer)
        with os.fdopen(self._reader, "rb") as file:
            return file.read()


def message(data: bytes) -> bytes:
    """As multiprocessing sends it."""
    return struct.pack("!i", len(data)) + data


def in_thread(sink: PressSink, data: bytes) -> threading.Thread:
    """A write that may wait."""
    thread = threading.Thread(target=sink.write, args=(data,), daemon=True)
    thread.start()
    return thread


def test_a_batch_is_out_when_the_write_returns() -> None:
    paper = Paper()
    sink, chain = PressSink(paper.channel()), Chain(CHAIN)
    told = b""
    for _ in range(3):
        data = batch(chain, 10)
        sink.write(data)
        assert paper.read(len(data)) == data
        told += data
    assert len(read_chain(told)) == 30


def test_batches_of_many_times_what_a_pipe_holds_are_never_mixed() -> None:
    paper, texts = Paper(), [batch(Chain(f"w{n}-20261126T080000Z-0000000{n}"), 3000) for n in range(3)]
    threads = [in_thread(PressSink(paper.channel()), text) for text in texts]
    found = paper.read(sum(map(len, texts)))
    for thread in threads:
        thread.join(10)
    assert sorted(found.splitlines(keepends=True)) == sorted(line for text in texts for line in text.splitlines(keepends=True))
    assert all(text in found for text in texts)


@pytest.mark.parametrize("part", [1, 3, 4, 5, 1000])
def test_who_stands_still_in_the_middle_of_a_batch_keeps_nobody_waiting_and_leaves_nothing(part: int) -> None:
    paper, data, half = Paper(), batch(Chain(CHAIN), 5), message(batch(Chain("half-20261126T080000Z-00000000"), 20))
    still = paper.channel()
    os.write(still.fileno(), half[:part])
    PressSink(paper.channel()).write(data)
    still.close()  # and then it is killed
    PressSink(paper.channel()).write(data)
    assert paper.rest() == data * 2


def test_who_does_not_take_its_answer_keeps_nobody_waiting() -> None:
    paper, data = Paper(), batch(Chain(CHAIN), 5)
    still = paper.channel()
    still.send_bytes(data)
    assert paper.read(len(data)) == data
    PressSink(paper.channel()).write(data)
    assert paper.read(len(data)) == data


def test_a_reader_that_stops_is_waited_for() -> None:
    paper, data = Paper(), batch(Chain(CHAIN), 2000)
    waiting = [in_thread(PressSink(paper.channel()), text) for text in (data, data)]
    waiting[0].join(0.1)
    assert all(thread.is_alive() for thread in waiting)
    assert paper.read(2 * len(data)) == data * 2
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()


def test_a_fault_is_told_with_its_number_and_the_cut_line_gets_an_end_before_anybody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    paper, chains = Paper(), [Chain(CHAIN), Chain("other-20261126T080000Z-00000000")]
    cut, other = (batch(chain, 3) for chain in chains)
    one, two = PressSink(paper.channel()), PressSink(paper.channel())
    line = len(cut.splitlines(keepends=True)[0])
    real, sizes = os.write, iter([line + 20, None])

    def failing(file: int, rest: bytes) -> int:
        if file != paper.writer:
            return real(file, rest)
        size = next(sizes)
        if size is None:
            raise OSError(errno.ENOSPC, "full")
        return real(file, bytes(rest)[:size])

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(OSError, match="No space left") as caught:
        one.write(cut)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    two.write(other)
    one.write(cut)  # the same again
    assert paper.rest() == cut[: line + 20] + b"\n" + other + cut[line:]


def test_without_a_press_nothing_is_durable() -> None:
    ours, theirs = Pipe()
    sink = PressSink(theirs)
    ours.close()
    with pytest.raises(OSError, match="Broken pipe"):
        sink.write(batch(Chain(CHAIN)))
    ours, theirs = Pipe()
    sink = PressSink(theirs)

    def take() -> None:
        ours.recv_bytes()
        ours.close()

    threading.Thread(target=take).start()
    with pytest.raises(OSError, match="Broken pipe"):
        sink.write(batch(Chain(CHAIN)))


@contextmanager
def two_processes(folder: Path) -> Iterator[tuple[Child, Child, subprocess.Popen[bytes], Path]]:
    """They record without end, by way of one press, which prints through `cat` into a file."""
    out = folder / "read"
    with out.open("wb") as file, ExitStack() as stack:
        reader = stack.enter_context(subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file))
        assert reader.stdin is not None
        press, made = Press(reader.stdin.fileno()), []
        for name in ("a", "b"):
            ours, theirs = Pipe()
            press.attend(ours)
            made.append(Child(folder / name, press=theirs.fileno()))
            stack.callback(made[-1].process.wait)
            stack.callback(made[-1].process.kill)
            theirs.close()
        stack.callback(reader.send_signal, signal.SIGCONT)
        for child in made:
            child.wait_for(b"+" * 20)
        yield made[0], made[1], reader, out
        reader.stdin.close()
        assert reader.wait(10) == 0


def chains_of(text: bytes) -> list[list[dict[str, object]]]:
    lines = text.splitlines(keepends=True)
    ids = {line.rpartition(b'"chain":{"id":"')[2][:37] for line in lines}
    return [read_chain(b"".join(line for line in lines if chain in line)) for chain in sorted(ids)]


def test_a_process_that_is_stopped_with_its_records_under_way_keeps_its_sibling_from_nothing(tmp_path: Path) -> None:
    """Its batch is under way for sure while the reader reads nothing; a lock between the two would be one of theirs."""
    with two_processes(tmp_path) as (one, two, reader, out):
        for still, other in ((one, two), (two, one)):
            reader.send_signal(signal.SIGSTOP)
            for child in (one, two):
                child.wait_for(b"-" * 8)
            still.process.send_signal(signal.SIGSTOP)
            reader.send_signal(signal.SIGCONT)
            other.wait_for(b"+" * 100)
            still.process.send_signal(signal.SIGCONT)
            still.wait_for(b"+" * 100)
        assert (one.end(), two.end()) == (0, 0)
    made = chains_of(out.read_bytes())
    assert [kinds(chain)[-1] for chain in made] == ["end", "end"]
    assert sum(kinds(chain).count("call") for chain in made) >= (one.answers + two.answers).count(b"+")


def test_a_process_that_is_killed_leaves_whole_lines_and_all_that_it_answered_for(tmp_path: Path) -> None:
    with two_processes(tmp_path) as (killed, other, _, out):
        killed.wait_for(b"+" * 50)
        killed.end(signal.SIGKILL)
        other.wait_for(b"+" * 50)
        assert other.end() == 0
    made = chains_of(out.read_bytes())
    assert len(made) == 2
    ended = [kinds(chain)[-1] == "end" for chain in made]
    assert sorted(ended) == [False, True]
    left = made[ended.index(False)]
    assert kinds(left).count("call") >= killed.answers.count(b"+") > 0

"""Never more answers than durable records (SECURITY 7): a process that is killed, a disk that is full, a reader that stops."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.audit.child import HELD
from tests.audit.sinks import kinds, read_chain
from tests.audit.test_sinks import all_of

from keystead.audit import reserve
from keystead.audit.folder import files_in
from keystead.audit.reading.verify import verify

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A process of tests.audit.child. `answers`: what it answered so far, read without waiting for more. beside: whose disks it sees."""

    def __init__(
        self, *arguments: object, stdout: int | None = None, shell: str = "", press: int | None = None, beside: int | None = None
    ) -> None:
        reader, writer = os.pipe()
        handed = [] if press is None else [press]
        command = [sys.executable, "-m", "tests.audit.child", *map(str, arguments), *(f"press={each}" for each in handed)]
        if shell:
            own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
            command = [*own, "bash", "-c", f'{shell}; exec "$@"', "bash", *command]
        if beside is not None:
            command = ["nsenter", "-t", str(beside), "-m", f"--wd={ROOT}", *command]
        hand_over = ["bash", "-c", f'exec 3>&{writer} {writer}>&-; exec "$@"', "bash", *command]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"}
        self.process = subprocess.Popen(hand_over, cwd=ROOT, env=environment, stdout=stdout, pass_fds=[writer, *handed])
        os.close(writer)
        self._reader = reader
        os.set_blocking(reader, False)
        self.answers = b""

    def read(self) -> bytes:
        """All answers so far."""
        try:
            while data := os.read(self._reader, 65536):
                self.answers += data
        except BlockingIOError:
            pass
        return self.answers

    def wait_for(self, answers: bytes, seconds: float = 20.0) -> float:
        """Until these have come after what was read before; the seconds that it took."""
        began, before = time.monotonic(), len(self.read())
        while answers not in self.read()[before:]:
            assert time.monotonic() - began < seconds, f"only {self.answers[before:][-40:]!r} came"
            assert self.process.poll() is None
            os.sched_yield()
        return time.monotonic() - began

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.read()
        return code


@contextmanager
def a_child(*arguments: object, **changes: object) -> Iterator[Child]:
    child = Child(*arguments, **changes)  # type: ignore[arg-type]
    try:
        yield child
    finally:
        child.process.kill()
        child.process.wait()


@pytest.mark.parametrize("seed", range(3))
def test_a_process_that_is_killed_never_answered_more_than_is_on_the_disk(tmp_path: Path, seed: int) -> None:
    with a_child(tmp_path / "audit") as child:
        child.wait_for(b"+" * random.Random(seed).randrange(1, 400))
        child.end(signal.SIGKILL)
    (chain,) = {file.chain for file in files_in(tmp_path / "audit")}
    data = all_of(tmp_path / "audit", chain)
    whole = read_chain(data[: data.rfind(b"\n") + 1])
    assert kinds(whole)[0] == "start"
    assert set(child.answers) == set(b"+")
    assert kinds(whole).count("call") >= len(child.answers) > 0
    assert "end" not in kinds(whole)
    assert [finding for each in verify([tmp_path / "audit"]).chains for finding in each.findings] == []


def test_processes_that_are_killed_while_they_compress_and_remove_leave_a_trail_that_explains_itself(tmp_path: Path) -> None:
    """One after the other in one folder: crashes, and never a finding."""
    chance = random.Random(4)
    for _ in range(5):
        with a_child(tmp_path / "audit", "keep") as child:
            child.wait_for(b"+" * chance.randrange(100, 400))
            child.end(signal.SIGKILL)
    with a_child(tmp_path / "audit", "keep") as child:
        child.wait_for(b"+" * 10)
        assert child.end() == 0
    report = verify([tmp_path / "audit"])
    assert [finding for chain in report.chains for finding in chain.findings] == []
    assert any(chain.taken for chain in report.chains)


def test_the_next_start_names_the_chain_that_was_cut_off_and_where(tmp_path: Path) -> None:
    with a_child(tmp_path / "audit") as child:
        child.wait_for(b"+")
        child.end(signal.SIGKILL)
    (killed,) = {file.chain for file in files_in(tmp_path / "audit")}
    with a_child(tmp_path / "audit") as child:
        child.wait_for(b"+")
        assert child.end() == 0
    (ended,) = {file.chain for file in files_in(tmp_path / "audit")} - {killed}
    records = read_chain(all_of(tmp_path / "audit", ended))
    data = all_of(tmp_path / "audit", killed)
    last = read_chain(data[: data.rfind(b"\n") + 1])[-1]
    assert kinds(records)[-1] == "end"
    (told,) = records[0]["previous"]
    assert (told["id"], told["lastSeq"], told["ended"]) == (killed, last["chain"]["seq"], False)


def test_a_full_disk_stops_the_answers_within_a_second_and_heals(tmp_path: Path) -> None:
    """A tmpfs of 64 KiB, in a mount namespace of its own: the child sees it, and so do we by /proc."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with a_child(folder, shell=f'mount -t tmpfs -o size=64k tmpfs "{folder}"') as child:
        child.wait_for(b"-")
        full = child.read()
        assert set(full.partition(b"-")[0]) == set(b"+")
        inside = Path(f"/proc/{child.process.pid}/root{folder}")
        assert child.wait_for(b"-" * 8) < 1.0  # and nothing but refusals comes
        before = child.read().count(b"+")
        assert child.wait_for(b"-" * 8) < 1.0
        assert child.read().count(b"+") == before
        (path,) = [file.path for file in files_in(inside)]
        data = path.read_bytes()
        assert read_chain(data[: data.rfind(b"\n") + 1])
        subprocess.run(
            ["nsenter", "-t", str(child.process.pid), "-m", "mount", "-o", "remount,size=4m", str(folder)], check=True
        )
        child.wait_for(b"+" * 20)
        os.kill(child.process.pid, signal.SIGSTOP)  # the disk is gone with the process: it is read before
        child.read()
        data = path.read_bytes()
        os.kill(child.process.pid, signal.SIGCONT)
    records = read_chain(data[: data.rfind(b"\n") + 1])
    assert kinds(records).count("call") >= child.answers.count(b"+")
    gap = next(record for record in records if record["keysteadType"] == "gap")
    assert "No space left on device" in gap["reason"]


@contextmanager
def a_small_disk(folder: Path, size: str) -> Iterator[int]:
    """A tmpfs that outlives the processes which write to it: the process that has it, in a mount namespace of its own."""
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    folder.mkdir()
    script = f'mount -t tmpfs -o size={size} tmpfs "{folder}" && echo mounted && exec sleep 300'
    with subprocess.Popen([*own, "bash", "-c", script], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"mounted\n"
            yield holder.pid
        finally:
            holder.kill()


def fill(path: Path) -> None:
    """Until not a byte is left."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_disk_that_is_full_to_its_last_byte_is_cured_by_retaining_less(tmp_path: Path) -> None:
    """The process that filled it is gone; a new one can write its first line only with what was held back, and so it says what it takes."""
    folder = tmp_path / "disk"
    with a_small_disk(folder, "512k") as holder:
        inside = Path(f"/proc/{holder}/root{folder}")
        with a_child(folder, f"keep={10**9}", beside=holder) as child:
            child.wait_for(b"-" * 8)
            child.end(signal.SIGKILL)
        fill(inside / "of somebody else")
        assert (inside / reserve.NAME).stat().st_size == HELD
        (filled,) = {file.chain for file in files_in(inside)}
        data = all_of(inside, filled)
        assert kinds(read_chain(data[: data.rfind(b"\n") + 1])).count("call") >= child.answers.count(b"+") > 0
        with a_child(folder, "keep=100000", beside=holder) as child:
            child.wait_for(b"+" * 20)
            while sum(file.size for file in files_in(inside)) > 250_000:
                child.wait_for(b"+" * 20)
            assert child.end() == 0
        report = verify([inside])
    assert [finding for chain in report.chains for finding in chain.findings] == []
    after = {chain.id: chain for chain in report.chains}
    assert after[filled].taken
    (cured,) = after.keys() - {filled}
    assert after[cured].ended and after[cured].last_seq > child.answers.count(b"+")  # its numbers have no hole


def test_a_reader_of_stdout_that_stops_stops_the_answers_and_they_go_on_with_it(tmp_path: Path) -> None:
    out = tmp_path / "read"
    with out.open("wb") as file:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
    assert reader.stdin is not None
    with a_child(tmp_path / "audit", "stdout", stdout=reader.stdin.fileno()) as child:
        reader.stdin.close()
        child.wait_for(b"+" * 8)
        reader.send_signal(signal.SIGSTOP)
        try:
            child.wait_for(b"-" * 8)
            before = child.read().count(b"+")
            child.wait_for(b"-" * 8)
            assert child.read().count(b"+") == before
        finally:
            reader.send_signal(signal.SIGCONT)
        child.wait_for(b"+" * 8)
        assert child.end() == 0
    assert reader.wait(10) == 0
    records = read_chain(out.read_bytes())
    assert kinds(records)[-1] == "end"
    assert kinds(records).count("call") >= child.answers.count(b"+")
    assert any("acknowledged" in record["reason"] for record in records if record["keysteadType"] == "gap")

"""The supervisor of workers, with real processes: all ready or why not, a dead one anew, an end in order, and no life after its own."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.app.worker_child import supervisor
from tests.operator.harness import ROOT, wait_for

from keystead.app.server.podmetrics import merged_page
from keystead.app.workers import Supervisor, private_folder
from keystead.audit.press import Press
from keystead.errors import InvalidSpecError

LONG = 30.0


@asynccontextmanager
async def running(
    count: int = 2, grace: float = 5.0, *, stagger: bool = False, press: Press | None = None, **how: str
) -> AsyncIterator[tuple[Supervisor, asyncio.Event, asyncio.Task[int]]]:
    with private_folder() as folder:
        made, stop = supervisor(folder, count, grace, stagger=stagger, press=press, **how), asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        try:
            yield made, stop, task
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)
        assert not any(alive(pid) for pid in made.pids if pid is not None)


def alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(LONG):
        while not check():
            await asyncio.sleep(0.02)


async def test_it_is_ready_when_all_are() -> None:
    async with running() as (made, stop, task):
        assert made.missing == "worker 0: it is starting"
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        assert made.missing is None
        assert len({*made.pids}) == 2
        stop.set()
        assert await task == 0
        assert made.missing == "server: it is stopping"


async def test_readiness_says_what_the_first_one_lacks() -> None:
    async with running(**{"1": "waits"}) as (made, _, _task):
        await until(lambda: made.missing == "worker 1: records: not listed yet")
        assert not made.all_ready.is_set()


async def test_a_killed_worker_is_started_anew_and_the_others_go_on() -> None:
    async with running() as (made, _, _task):
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        first, second = made.pids
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: made.missing is not None)
        await until(lambda: made.missing is None)
        assert made.pids[0] != first
        assert made.pids[1] == second


async def test_workers_print_by_way_of_the_supervisor_and_so_does_one_that_is_started_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file:
        async with running(press=Press(file.fileno())) as (made, _, _task):
            await asyncio.wait_for(made.all_ready.wait(), LONG)
            first = made.pids
            os.kill(first[0] or 0, signal.SIGKILL)
            await until(lambda: made.missing is not None)
            await until(lambda: made.missing is None)
            printed = [*enumerate(first), (0, made.pids[0])]
    assert sorted(out.read_text().splitlines()) == sorted(f"worker {index} is {pid}" for index, pid in printed)


async def test_ctrl_c_reaches_no_worker_not_even_one_that_is_only_starting(capfd: pytest.CaptureFixture[str]) -> None:
    """A terminal signals them too: they end by the supervisor's word."""
    async with running() as (made, stop, task):
        await until(lambda: None not in made.pids)
        pids = made.pids
        for pid in pids:
            assert pid is not None
            os.kill(pid, signal.SIGINT)
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        assert made.pids == pids
        stop.set()
        assert await task == 0
    assert "KeyboardInterrupt" not in capfd.readouterr().err


async def test_a_worker_that_fails_after_it_was_ready_is_tried_again_and_again() -> None:
    async with running(count=1, all="fails later") as (made, _, task):
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        seen = {made.pids[0]}
        os.kill(made.pids[0] or 0, signal.SIGKILL)
        await until(lambda: seen.add(made.pids[0]) or len(seen) > 3)
        assert not task.done()


async def test_a_worker_that_cannot_start_at_all_ends_everything() -> None:
    async with running(**{"1": "fails"}) as (_, _stop, task):
        assert await asyncio.wait_for(task, LONG) == 1


async def test_what_a_worker_refuses_at_its_start_is_the_supervisors_error() -> None:
    async with running(**{"1": "refuses"}) as (_, _stop, task):
        with pytest.raises(InvalidSpecError) as refused:
            await asyncio.wait_for(task, LONG)
    assert (refused.value.field, refused.value.message) == ("--listen", "no such place")


async def test_a_worker_that_does_not_end_is_killed() -> None:
    async with running(grace=0.3, **{"0": "never ends"}) as (made, stop, task):
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        stop.set()
        assert await asyncio.wait_for(task, LONG) == 0


async def test_a_worker_that_stands_still_is_told_and_in_the_end_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystead.app.workers._STUCK_SECONDS", 2.0)
    monkeypatch.setattr("keystead.app.workers._ASK_SECONDS", 0.2)
    async with running() as (made, _, _task):
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        stopped = made.pids[1]
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        await until(lambda: made.missing == "worker 1: it does not answer")
        await until(lambda: made.missing is None)
        assert made.pids[1] != stopped


async def test_a_wrong_pin_is_tried_by_one_worker_only() -> None:
    async with running(count=3, stagger=True, **{"0": "no token"}) as (made, _, _task):
        await until(lambda: made.missing == "worker 0: hsm: the token refused the PIN")
        assert made.pids[1:] == (None, None)
    async with running(count=3, stagger=True) as (made, _, _task):
        await asyncio.wait_for(made.all_ready.wait(), LONG)


async def test_metrics_of_all_workers_keep_their_own_series() -> None:
    async with running() as (made, _, _task):
        await asyncio.wait_for(made.all_ready.wait(), LONG)
        page = (await made.metrics()).decode()
    samples = {
        (sample.name, sample.labels["worker"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    calls, records = "keystead_server_requests_total", "keystead_server_records"
    assert samples == {(calls, "0"): 1, (calls, "1"): 2, (records, "0"): 0, (records, "1"): 10}
    assert page.count(f"# TYPE {calls} counter") == 1
    assert 'code="OK",operation="Encrypt",worker="1"' in page


def test_a_worker_that_gives_no_page_takes_none_from_the_others() -> None:
    page = merged_page({"0": "", "1": "# HELP a A.\n# TYPE a gauge\na 1.0\n"}).decode()
    assert page == '# HELP a A.\n# TYPE a gauge\na{worker="1"} 1.0\n'
    assert merged_page({"0": ""}) == b""


def test_the_folder_is_private_and_goes() -> None:
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_workers_end_with_a_supervisor_that_is_killed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.app.worker_child"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        *pids, folder = process.stdout.readline().split()
        assert len(pids) == 2
        process.kill()
        process.wait()
        wait_for("the workers' end", lambda: not any(alive(int(pid)) for pid in pids), seconds=60)
    for left in Path(folder).iterdir():
        left.unlink()
    Path(folder).rmdir()

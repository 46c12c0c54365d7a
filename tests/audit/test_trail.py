"""The trail of a process as its settings say: where records go, when it is ready, what it counts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.audit.events import NOW, a_call, a_service_event
from tests.audit.sinks import kinds, read_chain
from tests.audit.test_sinks import all_of

from keystead.app.auditing import Trail
from keystead.audit.folder import files_in
from keystead.audit.ports import NoSigner
from keystead.errors import AuditUnavailableError, InvalidSpecError
from keystead.operations.trail import NoAudit
from keystead.resources.metrics import AUDIT, METRICS, Metric
from keystead.settings import AuditMode, AuditSettings, from_environment


def a_trail(registry: CollectorRegistry | None = None, **settings: Any) -> Trail:
    return Trail(AuditSettings(**{"stdout": False, **settings}), "replica-1", lambda: NOW, NoSigner(), registry)


def records(folder: Path) -> list[dict[str, Any]]:
    (chain,) = {file.chain for file in files_in(folder)}
    return read_chain(all_of(folder, chain))


async def through(trail: Trail, work: Callable[[Trail], Any]) -> None:
    running = asyncio.create_task(trail.run())
    await asyncio.wait_for(trail.opened(), 5)
    recorded = work(trail)
    if recorded is not None:
        await recorded
    await trail.close(running)


async def test_records_go_to_files_of_a_chain_of_the_replica(tmp_path: Path) -> None:
    await through(a_trail(folder=tmp_path), lambda trail: trail.service(a_service_event()))
    found = records(tmp_path)
    assert kinds(found) == ["start", "service", "end"]
    assert found[0]["replica"] == "replica-1"
    assert found[0]["chain"]["id"].startswith("replica-1-20261126T080000Z-")


async def test_the_next_one_names_the_one_before(tmp_path: Path) -> None:
    for _ in range(2):
        await through(a_trail(folder=tmp_path), lambda _trail: None)
    told = []
    for chain in sorted({file.chain for file in files_in(tmp_path)}):
        told += [read_chain(all_of(tmp_path, chain))[0]["previous"]]
    assert sorted(len(each) for each in told) == [0, 1]
    (previous,) = next(each for each in told if each)
    assert (previous["lastSeq"], previous["ended"]) == (1, True)


async def test_in_mode_off_nothing_is_kept_and_nothing_is_missing(tmp_path: Path) -> None:
    trail = a_trail(mode=AuditMode.OFF, folder=tmp_path)
    assert (trail.stopped, trail.missing) == (False, None)
    assert isinstance(trail.audit, NoAudit)
    await through(trail, lambda trail: trail.call(a_call("Decrypt")))
    assert list(tmp_path.iterdir()) == []


async def test_until_it_is_open_it_is_stopped_and_readiness_says_so(tmp_path: Path) -> None:
    trail = a_trail(folder=tmp_path)
    assert (trail.stopped, trail.missing) == (True, "audit: it is not open yet")
    with pytest.raises(AuditUnavailableError):
        trail.call(a_call("Decrypt"))
    await through(trail, lambda trail: None)
    assert trail.missing == "audit: it has ended"


async def test_a_folder_that_cannot_be_made_is_what_readiness_lacks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trail = a_trail(folder=tmp_path / "file" / "audit")
    running = asyncio.create_task(trail.run())
    opened = asyncio.create_task(trail.opened())
    async with asyncio.timeout(60):
        while trail.missing != f"audit: file: {os.strerror(20)}":
            await asyncio.sleep(0.005)
    assert not opened.done()
    opened.cancel()
    await trail.close(running)


async def test_its_metrics_are_those_of_the_table(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    trail = a_trail(registry, folder=tmp_path)
    assert f"{Metric.AUDIT_STOPPED.value} 1.0" in generate_latest(registry).decode()
    running = asyncio.create_task(trail.run())
    await trail.opened()
    await trail.call(a_call("Decrypt"))  # type: ignore[misc]
    trail.call(a_call("Encrypt"))
    page = generate_latest(registry).decode()
    assert f"{Metric.AUDIT_STOPPED.value} 0.0" in page
    waiting = next(line for line in page.splitlines() if line.startswith(f"{Metric.AUDIT_WAITING.value} "))
    assert float(waiting.split()[1]) > 1000
    await trail.close(running)
    page = generate_latest(registry).decode()
    for durability in ("sync", "buffered"):
        assert f'{Metric.AUDIT_RECORDS.value}{{durability="{durability}"}} 1.0' in page
    for metric in AUDIT:
        name = metric.value.removesuffix("_total") if METRICS[metric].type.value == "counter" else metric.value
        assert f"# HELP {metric.value} {METRICS[metric].meaning}" in page or f"# HELP {name}_total {METRICS[metric].meaning}" in page


def test_settings_come_from_the_environment() -> None:
    found = from_environment(
        {
            "KEYSTEAD_AUDIT_MODE": "buffered",
            "KEYSTEAD_AUDIT_STDOUT": "false",
            "KEYSTEAD_AUDIT_FOLDER": "/var/lib/keystead/audit",
            "KEYSTEAD_AUDIT_FILE_BYTES": "1048576",
            "KEYSTEAD_AUDIT_RETAIN_BYTES": "10485760",
            "KEYSTEAD_AUDIT_BUFFER_SECONDS": "0.5",
            "KEYSTEAD_AUDIT_PEERS": "keystead-server-peers.keystead-system.svc:8443,10.0.0.7:1",
        }
    ).audit
    assert found == AuditSettings(
        mode=AuditMode.BUFFERED,
        stdout=False,
        folder=Path("/var/lib/keystead/audit"),
        file_bytes=1048576,
        retain_bytes=10485760,
        buffer_seconds=0.5,
        peers=(("keystead-server-peers.keystead-system.svc", 8443), ("10.0.0.7", 1)),
    )
    assert from_environment({}).audit == AuditSettings(mode=AuditMode.SYNC, stdout=True)


@pytest.mark.parametrize(
    ("environment", "field"),
    [
        ({"KEYSTEAD_AUDIT_STDOUT": "false"}, "KEYSTEAD_AUDIT_FOLDER"),
        ({"KEYSTEAD_AUDIT_STDOUT": "yes"}, "KEYSTEAD_AUDIT_STDOUT"),
        ({"KEYSTEAD_AUDIT_MODE": "on"}, "KEYSTEAD_AUDIT_MODE"),
        ({"KEYSTEAD_AUDIT_FILE_BYTES": "10"}, "KEYSTEAD_AUDIT_FILE_BYTES"),
        *(
            ({"KEYSTEAD_AUDIT_PEERS": text}, "KEYSTEAD_AUDIT_PEERS")
            for text in ("peers", "peers:", ":1", "peers:0", "peers:65536", "peers:x", "https://peers:1", "a:1,,b", "peers/x:1", "-a:1")
        ),
    ],
)
def test_settings_that_keep_nothing_or_make_no_sense_are_refused(environment: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        from_environment(environment)
    assert caught.value.field == field


def test_without_a_trail_nothing_need_be_kept() -> None:
    assert from_environment({"KEYSTEAD_AUDIT_MODE": "off", "KEYSTEAD_AUDIT_STDOUT": "false"}).audit.mode is AuditMode.OFF

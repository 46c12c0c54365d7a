"""kill -9 at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.store.sqlite_child import content

from keystead.reconciler.ports import Kind
from keystead.store.sqlite.database import FILE
from keystead.store.sqlite.store import SqliteStore

KILLS = 10


def killed(folder: Path, after: int) -> list[str]:
    """The writes that a process printed as acknowledged before it was killed: at least `after`, and then at any point."""
    command = [sys.executable, "-m", "tests.store.sqlite_child", "endless", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    folder, acknowledged = tmp_path / "state", []
    chance = random.Random(5)
    for number in range(KILLS):
        acknowledged += killed(folder, chance.randrange(4, 80))
        connection = sqlite3.connect(folder / FILE)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        store = SqliteStore(folder)
        there = {item.sealed.name: item for item in store.records.list_all()}
        objects = {body["metadata"]["name"]: body for body in store.objects.list_all(Kind.KEY)}
        for line in acknowledged:
            name, version = line.split(" ")
            assert there[name].sealed.record == content(name)
            assert (there[name].sealed.seal, there[name].resource_version) == (b"2", version)
            assert objects[name]["spec"]["description"] == name
        assert store.lead.acquire() == 2 * number + 2  # the child's lock went with it, and it was counted
        store.close()
    assert len(acknowledged) >= 4 * KILLS

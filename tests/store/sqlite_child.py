"""Processes that write into a state folder, for tests: `python -m tests.store.sqlite_child (endless|some) FOLDER`.

endless   leads, and prints each write when it was acknowledged, until it is killed
some      waits for a line on stdin, then makes, changes and deletes a few things beside another process, and ends
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from itertools import count
from pathlib import Path

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import SealedRecord
from keystead.operations.writes import CreateObject, DeleteObject, SetFields, Target
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.store.sqlite.store import SqliteStore


def content(text: str) -> bytes:
    """Bytes that a test can make again from a name."""
    return hashlib.sha512(text.encode()).digest() * 20


async def _writer(store: SqliteStore, lane: str) -> None:
    start = max((int(item.sealed.name.split("-")[2]) for item in store.records.list_all() if f"-{lane}-" in item.sealed.name), default=-1)
    for number in count(start + 1):
        name = f"key-{lane}-{number}"
        await store.writer.write(CreateObject(Kind.KEY, "default", name, {"description": name}))
        made = await store.records.create(RecordKind.KEY, SealedRecord(name, content(name), b"1"))
        second = await store.records.replace(RecordKind.KEY, SealedRecord(name, content(name), b"2"), made.resource_version)
        print(f"{name} {second.resource_version}", flush=True)


async def endless(folder: Path) -> None:
    store = SqliteStore(folder)
    store.lead.acquire()
    await store.objects.ensure_namespace("default")
    await asyncio.gather(*(_writer(store, lane) for lane in "abcd"))


async def some(folder: Path) -> None:
    store = SqliteStore(folder)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.writer.write(CreateObject(Kind.KEY, "default", "kept", {}))
    await store.writer.write(CreateObject(Kind.KEY, "default", "dropped", {}))
    uids = {}
    for name in ("kept", "dropped"):
        body = await store.objects.get(ObjectRef(Kind.KEY, "default", name))
        assert body is not None
        uids[name] = body["metadata"]["uid"]
    await store.writer.write(SetFields(Target(Kind.KEY, "default", "kept", uids["kept"]), {"description": "changed"}))
    await store.writer.write(DeleteObject(Target(Kind.KEY, "default", "dropped", uids["dropped"])))
    record = await store.records.create(RecordKind.GRANT, SealedRecord("grant-1", b"r", b"s"))
    await store.records.delete("grant-1", record.resource_version)
    await store.records.create(RecordKind.KEY, SealedRecord("key-1", b"r", b"s"))
    print("done", flush=True)
    store.close()


if __name__ == "__main__":
    asyncio.run({"endless": endless, "some": some}[sys.argv[1]](Path(sys.argv[2])))

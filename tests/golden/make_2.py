"""Made tests/golden/release-2, once: `python -m tests.golden.make_2 FOLDER`. It refuses a folder that exists.

What the second release writes and the first did not: records as the reconciler itself makes them over a life of all four kinds, in the
domain of release 1 (its backup and recovery key open them): a tombstone with its time, a record set aside, a new key under an old name, a
running window, a hold, an alias that moved, a data key whose versions are under two keys, an adopted namespace. And its example manifests.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.docs.pages import ROOT
from tests.golden.make import b64
from tests.golden.port import RELEASE_1, restored
from tests.reconciler.fakes import FakeEngine, World

from keystead.engine.identifiers import RecordKind
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.operations import drive
from keystead.operations.encryption import EncryptRequest, encrypt
from keystead.operations.world import World as Call
from keystead.policy import root_caller
from keystead.reconciler.pipeline import NoNewKeys, OneKey
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names

SPACE = "team-a"
PLAINTEXT = b"keystead golden message, release 2"
CONTEXT = {"app": "orders", "purpose": "golden: é"}


def ref(kind: Kind, name: str) -> ObjectRef:
    return ObjectRef(kind, SPACE, name)


async def applied(world: World, kind: Kind, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    world.apply(ref(kind, name), annotations=annotations, **spec)
    await world.reconcile(ref(kind, name))


def blob(world: World, name: str) -> dict[str, Any]:
    """A ciphertext under the key of this name, before anything happens to it."""
    record = world.record(ref(Kind.KEY, name), KeyRecord)
    hsm = world.engine.hsm
    call = Call(
        domain=hsm,
        fast=hsm,
        capabilities=NoNewKeys(),
        keys=OneKey(record, record.namespace_uid),
        region=record.region,
        now=world.clock.now(),
        entropy=hsm.entropy,
    )
    request = EncryptRequest(key_id=record.key_id, plaintext=PLAINTEXT, encryption_context=CONTEXT)
    made = drive(encrypt(call, root_caller(record.account, record.namespace), request), lambda _: False, hsm.slow)
    return {"keyId": record.key_id, "blob": b64(made.ciphertext_blob), "plaintext": b64(PLAINTEXT), "context": CONTEXT}


async def ended(world: World, name: str) -> None:
    """A key to the end of its window."""
    await applied(world, Kind.KEY, name, scheduledDeletion={"pendingWindowInDays": 7})
    for delta in ({"days": 8}, {"minutes": 11}):
        world.clock.advance(**delta)
        await world.reconcile(ref(Kind.KEY, name))


async def story(world: World) -> list[dict[str, Any]]:
    """A life of all four kinds; the blobs that must open after it."""
    for name in ("plain", "held", "ends", "remade", "moved-to"):
        await applied(world, Kind.KEY, name)
    await applied(world, Kind.KEY, "window", deletionPolicy="ScheduleDeletion", pendingWindowInDays=7)
    blobs = [blob(world, name) for name in ("plain", "held", "window", "moved-to")]
    await applied(world, Kind.KEY, "plain", {names.ROTATE_REQUESTED_AT: "1"})
    blobs.append(blob(world, "plain"))
    await applied(world, Kind.KEY, "held", {names.HOLD: "INC-42"})
    await applied(world, Kind.ALIAS, "main", aliasName="alias/main", keyRef={"name": "plain"})
    await applied(world, Kind.GRANT, "job", **GRANT)
    data: dict[str, Any] = {"aliasRef": {"name": "main"}, "target": {"secretName": "s"}, "encryptionContext": CONTEXT}
    await applied(world, Kind.DATA_KEY, "data", **data)
    await applied(world, Kind.ALIAS, "main", aliasName="alias/main", keyRef={"name": "moved-to"})
    await applied(world, Kind.DATA_KEY, "data", {names.ROTATE_REQUESTED_AT: "1"}, **data)
    await ended(world, "ends")
    await ended(world, "remade")
    destroyed = world.record(ref(Kind.KEY, "remade"), KeyRecord).key_id
    await applied(world, Kind.KEY, "remade", {names.NEW_KEY_AFTER_DESTRUCTION: destroyed})
    blobs.append(blob(world, "remade"))
    world.delete(ref(Kind.KEY, "window"))
    await world.reconcile(ref(Kind.KEY, "window"))
    world.objects.namespaces[SPACE] = NamespaceFacts("0a4c2d3e-0000-4000-8000-00000000000b")
    await applied(world, Kind.KEY, "plain", {names.ADOPT: names.ADOPT_TRUE})
    await applied(world, Kind.KEY, "moved-to", {names.ADOPT: names.ADOPT_AS_NEW})
    return blobs


GRANT: dict[str, Any] = {
    "keyRef": {"name": "plain"},
    "granteePrincipal": "arn:aws:sts::111122223333:assumed-role/job/session-1",
    "operations": ["Encrypt", "Decrypt"],
    "constraints": {"encryptionContextSubset": {"app": "orders"}},
    "ttl": "8h",
}


def record_rows(world: World) -> list[dict[str, str]]:
    """Every sealed record as it lies in the store."""
    rows = []
    for name, stored in sorted(world.records.stored.items()):
        kind = "key" if name.startswith("orphan-") else RecordKind(name.split("-", maxsplit=1)[0]).value
        rows.append({"kind": kind, "name": name, "record": stored.sealed.record.decode(), "seal": stored.sealed.seal.hex()})
    return rows


def make(folder: Path) -> None:
    folder.mkdir()
    world = World(FakeEngine(restored(RELEASE_1)))
    blobs = asyncio.run(story(world))
    versions = world.record(ref(Kind.DATA_KEY, "data"), DataKeyRecord).versions
    assert len({version.key_arn for version in versions}) == 2
    for name, rows in (("records", record_rows(world)), ("blobs", blobs)):
        (folder / f"{name}.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        shutil.copy(path, folder / f"example-{path.name}")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    make(Path(sys.argv[1]))

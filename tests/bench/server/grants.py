"""What grants cost a decision, in process: `admit` of an Encrypt over the real read model, RBAC saying no. Called by measure.py.

    others    so many grants of the key, to so many other principals, and one that allows
    own       so many grants of the caller itself, each under an encryption context of its own: what a controller of volumes makes

`python -m tests.bench.server.grants` prints the table alone.
"""

from __future__ import annotations

import time
from typing import Any

from tests.bench.rows import Row, render
from tests.builders import NAMESPACES, NOW, REGION, Entropy, a_grant, a_key, an_app
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import RecordKind, record_name, role_arn
from keystead.engine.record import GrantRecord, KeyRecord, SealedRecord, seal_record
from keystead.operations import drive
from keystead.operations.encryption import EncryptRequest
from keystead.operations.pipeline import Asked, admit
from keystead.operations.rules import RULES
from keystead.operations.world import World
from keystead.policy import Action
from keystead.reconciler.ports import StoredRecord
from keystead.resources.vocabulary import GrantOperation
from keystead.store.model import RecordModel
from keystead.store.view import View

COUNTS = (1, 100, 5_000)
ROUNDS, CALLS = 30, 300
MOST = 1.2
"""The issue: "5,000 grants on one key change a call by less than 20 %"."""


def decisions() -> dict[tuple[str, int], float]:
    """Microseconds of processor time of one decision, by kind and count; the quietest round."""
    hsm = FakeHsm()
    calls = {(kind, count): _call(hsm, kind, count) for kind in ("others", "own") for count in COUNTS}
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(CALLS):
                call()
            least[name] = min(least[name], (time.process_time() - start) / CALLS * 1e6)
    return least


def _call(hsm: FakeHsm, kind: str, count: int) -> Any:
    key = a_key(hsm)
    model = RecordModel()
    _take(model, hsm, key)
    for n in range(count):
        _take(model, hsm, _others(key, n) if kind == "others" else _own(key, n))
    world = World(
        domain=hsm.domain, fast=hsm.fast, capabilities=hsm.capabilities, keys=View(model, NAMESPACES), region=REGION, now=NOW,
        entropy=Entropy(),
    )  # fmt: skip
    context = {"volume": f"v-{count // 2}", "app": "volumes"}
    request = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_context=context)
    asked, caller = Asked(request, context), an_app()

    def call() -> None:
        world.trail.clear()
        drive(admit(world, caller, RULES[Action.ENCRYPT], key.key_id, asked), lambda _: False, hsm.slow)

    call()
    return call


def _others(key: KeyRecord, n: int) -> GrantRecord:
    """The first one is the caller's."""
    to = {} if n == 0 else {"to": role_arn(key.account, f"role-{n}")}
    return a_grant(key, GrantOperation.ENCRYPT, name=f"g{n}", grant_id=f"{n:064x}", **to)


def _own(key: KeyRecord, n: int) -> GrantRecord:
    held = {"app": "volumes", "volume": f"v-{n}"}
    return a_grant(key, GrantOperation.ENCRYPT, GrantOperation.DECRYPT, name=f"g{n}", grant_id=f"{n:064x}", subset=held)


def _take(model: RecordModel, hsm: FakeHsm, record: KeyRecord | GrantRecord) -> None:
    kind = RecordKind.KEY if isinstance(record, KeyRecord) else RecordKind.GRANT
    sealed: SealedRecord = seal_record(hsm, record_name(kind, record.namespace, record.name), record)
    model.take(hsm, StoredRecord(sealed, "1"))


def grant_rows() -> list[Row]:
    """Against the decision with one grant. The whole call, of which a decision is a part, changes by less."""
    found, rows = decisions(), []
    for kind, words in (("others", "to others"), ("own", "to the caller, a context each")):
        alone = found[kind, COUNTS[0]]
        for count in COUNTS:
            name = f"decision of an Encrypt with {count:,} grant{'s' * (count > 1)} on the key, {words}"
            ratio = found[kind, count] / alone
            bound = ("<= 1.2 of that with one", ratio <= MOST) if count > 1 else ("", None)
            rows.append(Row(name, f"{found[kind, count]:.1f} us, x {ratio:.2f}", *bound))
    return rows


if __name__ == "__main__":
    print(render(grant_rows()))

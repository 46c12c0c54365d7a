"""Any order of what people, time and faults do, over all kinds, against a model of what must be readable.

The model knows every ciphertext that was ever answered and every data key version that was ever issued. Whatever happens, each of them
opens, unless its key was destroyed at the end of a window that ran for its whole length; a name has one key id until an administrator says
otherwise; a hold is lifted by nobody but `released`; no alias name and no record is held twice.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import UNSET
from tests.reconciler.fakes import World
from tests.reconciler.sqlite_world import SqliteWorld

from keystead.engine.clock import parse_time
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import DataKeyRecord, KeyRecord, open_sealed
from keystead.errors import ConflictError, FencedError, KmsError, StoreError, StoreUnavailableError
from keystead.operations import drive
from keystead.operations.encryption import DecryptRequest, EncryptRequest, decrypt, encrypt
from keystead.operations.world import World as Call
from keystead.policy import root_caller
from keystead.reconciler.pipeline import NoNewKeys
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import KeyState
from keystead.store.snapshot import Snapshot

SPACE = "team-a"
KEYS = [ObjectRef(Kind.KEY, SPACE, name) for name in ("k1", "k2")]
ALIASES = [ObjectRef(Kind.ALIAS, SPACE, name) for name in ("a1", "a2")]
GRANTS = [ObjectRef(Kind.GRANT, SPACE, "g1")]
DATA_KEYS = [ObjectRef(Kind.DATA_KEY, SPACE, name) for name in ("d1", "d2")]
ALL = [*KEYS, *ALIASES, *GRANTS, *DATA_KEYS]
WINDOW = 7
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "100"))


@dataclass(frozen=True)
class Written:
    """A ciphertext that was answered."""

    key_id: str
    blob: bytes
    plaintext: bytes


class Cluster(RuleBasedStateMachine):
    """One namespace of one cluster, made again now and then."""

    world_type: type[World] = World

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = self.world_type()
        self.written: list[Written] = []
        self.issued: dict[tuple[str, int], str] = {}
        self.pending_since: dict[str, datetime] = {}
        self.held: set[str] = set()
        self.released: set[str] = set()
        self.ids: dict[str, str] = {}
        self.destroyed: set[str] = set()
        self.made = 0

    def teardown(self) -> None:
        self.loop.close()

    # What people do

    @rule(
        ref=st.sampled_from(KEYS),
        enabled=st.sampled_from([None, True, False]),
        policy=st.sampled_from(["Retain", "ScheduleDeletion"]),
        scheduled=st.booleans(),
        note=st.sampled_from([{}, {names.CANCEL_DELETION: "true"}, {names.HOLD: "INC-7"}, {names.HOLD: "released"}]),
        rotate=st.booleans(),
    )
    def apply_key(self, ref: ObjectRef, enabled: bool | None, policy: str, scheduled: bool, note: dict[str, str], rotate: bool) -> None:
        spec: dict[str, Any] = {"deletionPolicy": policy, "pendingWindowInDays": WINDOW}
        if enabled is not None:
            spec["enabled"] = enabled
        if scheduled:
            spec["scheduledDeletion"] = {}
        if rotate:
            self.made += 1
            note = {**note, names.ROTATE_REQUESTED_AT: str(self.made)}
        self.world.apply(ref, annotations=note, **spec)
        record = self._key(ref)
        if note.get(names.HOLD) == "released" and record is not None:
            self.released.add(record.key_id)
        self._settle()
        if note.get(names.HOLD) == "INC-7" and self.world.ready(ref) not in ("AdoptionRequired", "KeyDestroyed"):
            assert self._known(ref).hold is not UNSET

    @rule(ref=st.sampled_from(ALIASES), key=st.sampled_from(KEYS), alias=st.sampled_from(["alias/x", "alias/y"]))
    def apply_alias(self, ref: ObjectRef, key: ObjectRef, alias: str) -> None:
        body = self.world.objects.bodies.get(ref)
        name = body["spec"]["aliasName"] if body else alias  # immutable
        self.world.apply(ref, aliasName=name, keyRef={"name": key.name})
        self._settle()

    @rule(ref=st.sampled_from(GRANTS), key=st.sampled_from(KEYS), ttl=st.sampled_from(["1m", "8h"]))
    def apply_grant(self, ref: ObjectRef, key: ObjectRef, ttl: str) -> None:
        if ref not in self.world.objects.bodies:
            self.world.apply(ref, keyRef={"name": key.name}, serviceAccountRef={"name": "sa"}, operations=["Decrypt"], ttl=ttl)
        self._settle()

    @rule(ref=st.sampled_from(DATA_KEYS), how=st.sampled_from(["k1", "k2", "a1"]), rotate=st.booleans())
    def apply_data_key(self, ref: ObjectRef, how: str, rotate: bool) -> None:
        body = self.world.objects.bodies.get(ref)
        named = {"aliasRef": {"name": how}} if how == "a1" else {"keyRef": {"name": how}}
        spec = dict(body["spec"]) if body else {**named, "target": {"secretName": f"s-{ref.name}"}}
        self.made += 1
        note = {names.ROTATE_REQUESTED_AT: str(self.made)} if rotate else {}
        self.world.apply(ref, annotations=note, **spec)
        self._settle()

    @rule(ref=st.sampled_from(ALL))
    def delete(self, ref: ObjectRef) -> None:
        if ref in self.world.objects.bodies:
            self.world.delete(ref)
        self._settle()

    @rule()
    def tear_the_finalizers_off(self) -> None:
        for ref in KEYS:
            body = self.world.objects.bodies.get(ref)
            if body is not None and body["metadata"].get("finalizers"):
                body["metadata"]["finalizers"] = []
                if "deletionTimestamp" in body["metadata"]:
                    del self.world.objects.bodies[ref]
        self._settle()

    @rule(back=st.booleans())
    def remake_the_namespace(self, back: bool) -> None:
        self.made += 1
        old = self.world.objects.namespaces[SPACE]
        for ref in ALL:
            self.world.objects.bodies.pop(ref, None)
        self.world.objects.namespaces[SPACE] = NamespaceFacts(f"namespace-{self.made}")
        self._settle()
        if back:
            self.world.objects.namespaces[SPACE] = old
            self._settle()

    @rule(ref=st.sampled_from(ALL))
    def adopt(self, ref: ObjectRef) -> None:
        body = self.world.objects.bodies.get(ref)
        if body is not None and self.world.ready(ref) == "AdoptionRequired":
            self.world.apply(ref, annotations={names.ADOPT: "true"}, **body["spec"])
        self._settle()

    @rule(ref=st.sampled_from(KEYS), after=st.booleans())
    def ask_for_a_new_key_under_the_name(self, ref: ObjectRef, after: bool) -> None:
        """After a destruction, or instead of an earlier tenant's: the only two ways to another key id."""
        body, record = self.world.objects.bodies.get(ref), self._key(ref)
        if body is None or record is None:
            return
        asked = self.world.ready(ref)
        if after and asked == "KeyDestroyed":
            note = {names.NEW_KEY_AFTER_DESTRUCTION: record.key_id}
        elif not after and asked == "AdoptionRequired":
            note = {names.ADOPT: "as-new"}
        else:
            return
        self.ids.pop(ref.name)
        self.world.apply(ref, annotations=note, **body["spec"])
        self._settle()
        assert self._known(ref).key_id != record.key_id

    @rule(kind=st.sampled_from(list(Kind)))
    def remake_a_crd(self, kind: Kind) -> None:
        self.made += 1
        for ref in ALL:
            if ref.kind is kind:
                self.world.objects.bodies.pop(ref, None)
        del self.world.objects.crds[kind]
        self._settle()
        self.world.objects.crds[kind] = CrdFacts(f"crd-{kind}-{self.made}")
        self._settle()

    # What time and faults do

    @rule(delta=st.sampled_from([{"minutes": 11}, {"hours": 9}, {"days": 3}, {"days": 8}]))
    def time_passes(self, delta: dict[str, float]) -> None:
        self.world.clock.advance(**delta)
        self._settle()

    @rule()
    def a_window_ends(self) -> None:
        for delta in ({"days": WINDOW, "minutes": 1}, {"minutes": 11}):
            self.world.clock.advance(**delta)
            self._settle()

    @rule(days=st.sampled_from([-2, 30]))
    def the_clock_jumps_and_comes_back(self, days: int) -> None:
        self.world.clock.step(days=days)
        self._settle()
        self.world.clock.step(days=-days)
        self._settle()

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.world.leadership.transition += 1
        self._settle()

    @rule(
        method=st.sampled_from(["create", "replace", "lose_reply", "delete"]),
        error=st.sampled_from([ConflictError, StoreUnavailableError]),
    )
    def a_write_will_fail(self, method: str, error: type[StoreError]) -> None:
        self.world.records.fail(method, error("injected"))

    # What is used

    @rule(ref=st.sampled_from(KEYS), plaintext=st.binary(min_size=1, max_size=8))
    def encrypt(self, ref: ObjectRef, plaintext: bytes) -> None:
        record = self._key(ref)
        if record is None:
            return
        request = EncryptRequest(key_id=record.key_id, plaintext=plaintext)
        try:
            answer = drive(encrypt(self._call(), self._root(record), request), lambda _: False, self.world.engine.hsm.slow)
        except KmsError:
            assert not self._usable(record)
            return
        assert self._usable(record)
        self.written.append(Written(record.key_id, answer.ciphertext_blob, plaintext))

    # What holds

    @invariant()
    def everything_ever_written_opens(self) -> None:
        records = self._by_id()
        for item in self.written:
            record = records[item.key_id]
            if record.state is KeyState.DESTROYED:
                continue
            usable = record.state is KeyState.ENABLED and record.hold is UNSET
            request = DecryptRequest(ciphertext_blob=item.blob)
            try:
                answer = drive(decrypt(self._call(), self._root(record), request), lambda _: False, self.world.engine.hsm.slow)
            except KmsError:
                assert not usable or self._elsewhere(record)
            else:
                assert usable
                assert answer.plaintext == item.plaintext
            assert all(version.wrapped is not UNSET for version in record.versions)

    @invariant()
    def no_issued_version_is_lost(self) -> None:
        now = self._versions()
        for place, key_id in self.issued.items():
            assert now[place] == key_id
        self.issued = now

    @invariant()
    def a_key_is_destroyed_at_the_end_of_its_window_only(self) -> None:
        now = self.world.clock.now()
        for key_id, record in self._by_id().items():
            if record.state is KeyState.DESTROYED:
                if key_id not in self.destroyed:
                    assert now - self.pending_since[key_id] >= timedelta(days=WINDOW)
                    self.destroyed.add(key_id)
            elif record.state is KeyState.PENDING_DELETION:
                assert record.deletion_date is not UNSET
                began = parse_time(record.deletion_date) - timedelta(days=WINDOW)
                self.pending_since.setdefault(key_id, max(began, now) if key_id not in self.pending_since else began)
            else:
                self.pending_since.pop(key_id, None)
            assert key_id not in self.destroyed or record.state is KeyState.DESTROYED

    @invariant()
    def a_name_keeps_its_key(self) -> None:
        for ref in KEYS:
            record = self._key(ref)
            if record is not None:
                assert self.ids.setdefault(ref.name, record.key_id) == record.key_id

    @invariant()
    def a_hold_stays(self) -> None:
        held = {record.key_id for record in self._by_id().values() if record.hold is not UNSET}
        assert self.held - held <= self.released
        self.held, self.released = held, set()

    @invariant()
    def nothing_is_terminating_for_nothing(self) -> None:
        for ref in KEYS:
            body, record = self.world.objects.bodies.get(ref), self._key(ref)
            if body is not None and "deletionTimestamp" in body["metadata"] and record is not None and self.world.ready(ref) == "InUse":
                assert self.world.index.dependants(record.key_id, SPACE)

    # How it is looked at

    def _settle(self) -> None:
        """Passes until nothing changes, as the queue would make them; faults are met by trying again."""
        for _ in range(12):
            before = len(self.world.records.writes), len(self.world.objects.statuses), len(self.world.objects.bodies)
            failed = [ref for ref in ALL if not self.loop.run_until_complete(self._pass(ref))]
            if not failed and before == (len(self.world.records.writes), len(self.world.objects.statuses), len(self.world.objects.bodies)):
                return
        raise AssertionError("the passes do not come to rest")

    async def _pass(self, ref: ObjectRef) -> bool:
        try:
            await self.world.reconcile(ref)
        except (StoreError, FencedError):
            return False
        return True

    def _open(self, form: type[Any], prefixes: tuple[str, ...]) -> list[tuple[str, Any]]:
        stored = self.world.records.stored.items()
        return [(name, open_sealed(self.world.engine.hsm, item.sealed, form)) for name, item in stored if name.split("-")[0] in prefixes]

    def _by_id(self) -> dict[str, KeyRecord]:
        found: dict[str, KeyRecord] = {}
        for _, record in self._open(KeyRecord, ("key", "orphan")):
            if record.key_id not in found or found[record.key_id].seq < record.seq:
                found[record.key_id] = record
        return found

    def _versions(self) -> dict[tuple[str, int], str]:
        records = self._open(DataKeyRecord, ("datakey",))
        return {(name, v.n): v.key_arn.rpartition("/")[2] for name, record in records for v in record.versions}

    def _key(self, ref: ObjectRef) -> KeyRecord | None:
        return self.world.record(ref, KeyRecord) if self.world.has_record(ref) else None

    def _known(self, ref: ObjectRef) -> KeyRecord:
        record = self._key(ref)
        assert record is not None
        return record

    def _elsewhere(self, record: KeyRecord) -> bool:
        return self.world.objects.namespaces[SPACE].uid != record.namespace_uid

    def _usable(self, record: KeyRecord) -> bool:
        fit = record.state is KeyState.ENABLED and record.hold is UNSET and record.bound
        return fit and not self._elsewhere(record)

    def _root(self, record: KeyRecord) -> Any:
        return root_caller(record.account, record.namespace)

    def _call(self) -> Call:
        snapshot = Snapshot({SPACE: self.world.objects.namespaces[SPACE].uid})
        for stored in self.world.records.stored.values():
            snapshot.add(self.world.engine.hsm, stored)
        assert not snapshot.refused
        hsm = self.world.engine.hsm
        return Call(
            domain=hsm,
            fast=hsm,
            capabilities=NoNewKeys(),
            keys=snapshot,
            region="cluster-1",
            now=self.world.clock.now(),
            entropy=hsm.entropy,
        )


class ClusterOnSqlite(Cluster):
    """The same over the store of `keystead dev`."""

    world_type = SqliteWorld

    def teardown(self) -> None:
        self.world.sqlite.close()
        super().teardown()


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestClusterOnSqlite = ClusterOnSqlite.TestCase
TestClusterOnSqlite.settings = settings(TestCluster.settings, max_examples=max(EXAMPLES // 4, 1))

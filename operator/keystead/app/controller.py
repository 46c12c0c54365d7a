"""The controller of one process: queue, feed, index, reconcilers, over the reconciler's ports. Operator and `keystead dev` run the same.

It knows neither the API server nor SQLite: app/operator.py and app/dev/main.py bring the ports, and what feeds it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keystead.engine.bounds import KEYS_PER_NAMESPACE
from keystead.engine.freshness import Memory
from keystead.engine.identifiers import AccountId, orphan_name
from keystead.operations.trail import Audit, NoAudit
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.alias import AliasLife
from keystead.reconciler.aside import KeysAndAside, aside_ref
from keystead.reconciler.book import RecordBook
from keystead.reconciler.chronicle import Chronicle
from keystead.reconciler.context import Context
from keystead.reconciler.data_key import DataKeyLife
from keystead.reconciler.driver import Driver
from keystead.reconciler.feed import Feed
from keystead.reconciler.grant import GrantLife
from keystead.reconciler.index import Entry, RecordIndex
from keystead.reconciler.key import KeyLife
from keystead.reconciler.own import OwnKeys
from keystead.reconciler.ports import Clock, Engine, Kind, Leadership, ObjectRef, Objects, Records, Secrets, Seed
from keystead.reconciler.queue import Class, WorkQueue
from keystead.reconciler.windows import Windows
from keystead.reconciler.workers import Observer, Reconciler, Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a controller stands on.

    accounts   account ids that are given, by namespace (dev); all others are derived
    seeds      what is given of a key before it is made (dev); of all others nothing is
    strict_policies   a key whose spec says no policy is born with the strict one
    """

    records: Records
    objects: Objects
    secrets: Secrets
    leadership: Leadership
    clock: Clock
    engine: Callable[[], Engine]
    region: str
    refresh_period: float
    accounts: Mapping[str, AccountId] | None = None
    seeds: Callable[[ObjectRef], Seed | None] = lambda _ref: None
    monotonic: Callable[[], float] = time.monotonic
    keys_per_namespace: int = KEYS_PER_NAMESPACE
    strict_policies: bool = False
    audit: Audit = field(default_factory=NoAudit)


class Controller:
    """Made once a process. `forget` is told of objects whose record has none any more (metrics)."""

    def __init__(self, workers: int, namespaces: tuple[str, ...], forget: Callable[[ObjectRef], None]) -> None:
        self.queue = WorkQueue(refreshes=max(1, workers // 4))
        self.feed = Feed(self.queue, namespaces)
        self.memory = Memory()
        self.index = RecordIndex(self.memory, self._record_changed)
        self.own_keys: OwnKeys | None = None
        self._forget = forget

    def workers(self, ports: Ports, observer: Observer) -> Workers:
        """The workers, over these ports."""
        chronicle = Chronicle(ports.audit, ports.clock.now, os.urandom)
        context = Context(
            book=RecordBook(ports.records, ports.leadership, self.memory, self.index, chronicle),
            index=self.index,
            windows=Windows(ports.monotonic),
            objects=ports.objects,
            secrets=ports.secrets,
            leadership=ports.leadership,
            clock=ports.clock,
            engine=ports.engine,
            entropy=os.urandom,
            announce=self.feed.will_write,
            region=ports.region,
            refresh_period=ports.refresh_period,
            seeds=ports.seeds,
            keys_per_namespace=ports.keys_per_namespace,
            strict_policies=ports.strict_policies,
        )
        accounts = Accounts(context.book, ports.accounts)
        self.own_keys = OwnKeys(context, accounts)
        keys = Driver(context, KeyLife(context, accounts))
        reconcilers: dict[Kind, Reconciler] = {
            Kind.KEY: KeysAndAside(context, keys),
            Kind.ALIAS: Driver(context, AliasLife(context)),
            Kind.GRANT: Driver(context, GrantLife(context)),
            Kind.DATA_KEY: Driver(context, DataKeyLife(context, accounts)),
        }
        return Workers(self.queue, reconcilers, ports.leadership, observer, random.random)

    def _record_changed(self, entry: Entry) -> None:
        """A record is new, different or gone: wake what it concerns."""
        ref = entry.ref
        if entry.aside:
            if entry.ends is not None:
                self.queue.add(aside_ref(orphan_name(entry.keys[0])), Class.REFRESH)
            return
        if entry.bound or entry.waits:
            self.feed.refresh(ref)
        if not entry.bound:
            self._forget(ref)
        if ref.kind is Kind.KEY:
            self.feed.record_changed(ref, self.index.bound_to(entry.keys[0]))
            return
        for key_id in entry.keys:
            key = self.index.object_of(key_id)
            if key is not None:
                self.feed.dependants_changed(key)
                if entry.serves_controllers or (ref.kind is Kind.ALIAS and self.index.asks_aliases(key_id)):
                    # A data key may have waited for just this grant; a data key, a grant or an alias for this alias of its key.
                    self.feed.record_changed(key, self.index.bound_to(key_id))
        if ref.kind is Kind.ALIAS:
            self.feed.record_changed(ref)
            if not entry.bound:
                self.feed.alias_freed(ref.namespace)

"""Replicas of the route /audit, for tests: fakes of its ports over real folders; several of them reach each other without a network."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.audit_reading.chains import a_call
from tests.builders import (
    ACCOUNT,
    NAMESPACE,
    NAMESPACES,
    REGION,
    UID,
    Records,
    a_key,
    another_tenants_key,
)
from tests.hsm.fake import FakeHsm

from keystead.audit.reading.tenant import TenantRecords
from keystead.engine.identifiers import RECORDS_NAMESPACE
from keystead.errors import AuditUnavailableError, IdentityTokenError, StoreUnavailableError
from keystead.operations.trail import Actor, CallEvent, ServiceEvent
from keystead.policy import SubjectAccessReview, service_account_caller
from keystead.server.auditpeers import Address, Found
from keystead.server.auditquery import SHARE
from keystead.server.auditroute import AuditRoute, Reading
from keystead.server.auditwhole import Peers
from keystead.server.message import Asked, Reply
from keystead.server.quota import Quota, Unlimited

HSM = FakeHsm(b"audit-route")
KEY = a_key(HSM, name="orders")
OTHER_KEY = a_key(HSM, n=2, name="users")
FOREIGN = another_tenants_key(HSM)
OWN = a_key(HSM, n=5, namespace=RECORDS_NAMESPACE, namespace_uid="uid-r", name="audit-signing")
NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
READER = service_account_caller(ACCOUNT, NAMESPACE, "auditor", uid="sa-1")


@dataclass
class Rbac:
    """`auditroute.Facts`. allowed: (namespace, name) on which the verb audit is given."""

    allowed: set[tuple[str, str]] = field(default_factory=lambda: {(NAMESPACE, "orders")})
    uids: dict[str, str] = field(default_factory=lambda: {**NAMESPACES, RECORDS_NAMESPACE: "uid-r"})
    asked: list[SubjectAccessReview] = field(default_factory=list)
    away: bool = False

    async def ask(self, review: SubjectAccessReview) -> bool:
        self.asked.append(review)
        if self.away:
            raise StoreUnavailableError("no answer")
        return review.verb == "audit" and (review.namespace, review.name) in self.allowed

    async def namespace(self, namespace: str) -> str | None:
        return self.uids.get(namespace)


@dataclass
class Kept:
    """`trail.Audit`."""

    stopped: bool = False
    fails: bool = False
    events: list[ServiceEvent] = field(default_factory=list)

    def call(self, event: CallEvent) -> Awaitable[None] | None:
        raise AssertionError(event.operation)

    def service(self, event: ServiceEvent) -> Awaitable[None] | None:
        if self.fails:
            raise AuditUnavailableError
        self.events.append(event)
        return None


class House:
    """A route over a folder."""

    def __init__(self, folder: Path) -> None:
        self.rbac, self.kept, self.records = Rbac(), Kept(), Records()
        self.ids = itertools.count(1)
        self.trail: Any = TenantRecords(folder)
        self.stale: str | None = None
        self.replica, self.reader = "server-0", READER
        self.quota: Quota = Unlimited()
        self.peers: Peers | None = None
        for key in (KEY, OTHER_KEY, FOREIGN, OWN):
            self.records.add(key)

    async def recognise(self, token: str) -> tuple[Actor, str]:
        if token != "good":
            raise IdentityTokenError("nobody's")
        return Actor(self.reader, pod_name="pod-1"), UID

    def route(self) -> AuditRoute:
        return AuditRoute(
            Reading(
                recognise=self.recognise,
                region=REGION,
                facts=self.rbac,
                model=self.records,
                trail=self.trail,
                audit=self.kept,
                domain=lambda: HSM.domain,
                stale=lambda: self.stale,
                now=lambda: NOW,
                new_id=lambda: f"id-{next(self.ids)}",
                replica=self.replica,
                trail_id="folder",
                quota=self.quota,
                peers=self.peers,
            )
        )

    async def get(self, token: str = "good", secure: bool = True, method: bytes = b"GET", share: bytes = b"", **query: str) -> Reply:
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        headers += [(SHARE, share)] if share else []
        return await self.route()(Asked(method, b"/audit?" + urlencode(query).encode(), headers, b"", "10.0.0.1", secure))

    async def read(self, **query: Any) -> dict[str, Any]:
        reply = await self.get(**query)
        assert reply.status == 200, reply.body
        told: dict[str, Any] = json.loads(reply.body)
        return told


@dataclass
class Street:
    """Houses that reach each other: implements `auditwhole.Peers` for each, in place of the network only.

    down: addresses where nobody listens; instead: what comes from an address in place of its house's answer.
    """

    houses: dict[Address, House] = field(default_factory=dict)
    down: set[Address] = field(default_factory=set)
    instead: dict[Address, tuple[int, bytes]] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()
    asked: list[tuple[Address, bytes, bytes, int]] = field(default_factory=list)

    def add(self, number: int, house: House) -> House:
        """At an address of its own."""
        house.replica = f"server-{number}"
        address = Address(f"10.0.0.{number}", 8443)
        self.houses[address] = house
        house.peers = Door(self, address)
        return house


@dataclass
class Door:
    """What one house sees of the street."""

    street: Street
    own: Address

    async def find(self) -> Found:
        others = tuple(address for address in self.street.houses if address != self.own)
        return Found(others, str(self.own), self.street.unresolved)

    async def ask(self, address: Address, target: bytes, authorization: bytes, share: int) -> tuple[int, bytes]:
        self.street.asked.append((address, target, authorization, share))
        if address in self.street.down:
            raise ConnectionRefusedError
        if address in self.street.instead:
            return self.street.instead[address]
        headers = [(b"authorization", authorization), (SHARE, b"%d" % share)]
        reply = await self.street.houses[address].route()(Asked(b"GET", target, headers, b"", "10.0.0.9", True))
        return reply.status, reply.body


def mine(number: int, **changes: Any) -> dict[str, Any]:
    """A record about KEY."""
    return a_call(number, **({"key": KEY.key_id, "account": ACCOUNT, "caller_account": ACCOUNT} | changes))


def events(told: dict[str, Any]) -> list[str]:
    """Ids of its records."""
    return [record["eventID"] for record in told["records"]]

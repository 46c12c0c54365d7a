"""The door of one worker, put together. `keystead server` and `keystead dev` serve through the same: they differ in what they bring."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from keystead.engine.bounds import KEYS_PER_NAMESPACE
from keystead.engine.ports import Domain
from keystead.operations.control.registry import CONTROL
from keystead.operations.registry import OPERATIONS
from keystead.operations.trail import Audit, NoAudit
from keystead.server.codec import Codec
from keystead.server.door import AwsDoor, Parts, Stream
from keystead.server.driver import Driver, Engine, Facts, Siblings, Writer
from keystead.server.identity import Alive, Identify, Identities, Identity, Recognise, StaticKey, actor_of
from keystead.server.message import Asked, Reply
from keystead.server.quota import Quota, Unlimited
from keystead.server.sts import StsEndpoint
from keystead.server.usage import Uses
from keystead.store.model import RecordModel
from keystead.store.view import View

SERVED = {**OPERATIONS, **CONTROL}
"""Every operation of the endpoint."""
# A view is the same for all calls of a namespace: made once.
_VIEWS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What a worker brings.

    region     of the signature's scope; None: any
    identify   whose web identity token it is
    recognise  whose Bearer token it is; None: they are refused
    """

    region: str | None
    model: RecordModel
    engine: Callable[[], Engine]
    facts: Facts
    writer: Writer
    siblings: Siblings
    stream: Stream
    alive: Alive
    identify: Identify
    recognise: Recognise | None
    now: Callable[[], datetime]
    uses: Uses = field(default_factory=Uses)
    audit: Audit = field(default_factory=NoAudit)
    quota: Quota = field(default_factory=Unlimited)
    keys_per_namespace: int = KEYS_PER_NAMESPACE
    static: Mapping[str, StaticKey] = field(default_factory=dict)
    served: Callable[[str, str], None] = lambda _operation, _code: None
    routes: Mapping[bytes, Callable[[Asked], Awaitable[Reply]]] = field(default_factory=dict)


def make_door(house: House) -> AwsDoor:
    """The door of a house."""
    house.uses.begin(house.now())

    def domain() -> Domain:
        return house.engine().domain

    def identities(service: str, recognise: Recognise | None) -> Identities:
        return Identities(
            service=service,
            region=house.region,
            static=house.static,
            domain=domain,
            alive=house.alive,
            recognise=recognise,
        )

    given = {key.namespace: key.account for key in house.static.values()}

    @lru_cache(maxsize=_VIEWS)
    def view(namespace: str, uid: str) -> View:
        return View(house.model, {namespace: uid}, house.uses.last_use, given)

    def keys(identity: Identity) -> View:
        return view(identity.caller.namespace, identity.namespace_uid)

    sts_identities = identities("sts", None)
    sts = StsEndpoint(
        identify=house.identify,
        authenticate=lambda asked, now: actor_of(sts_identities, asked, now),
        domain=domain,
        now=house.now,
        entropy=os.urandom,
        audit=house.audit,
        region=house.region,
    )
    driver = Driver(
        facts=house.facts, model=house.model, writer=house.writer, engine=house.engine, siblings=house.siblings, waiters=Counter()
    )
    return AwsDoor(
        Parts(
            authenticator=identities("kms", house.recognise),
            wire=Codec(SERVED),
            driver=driver,
            token=house.engine,
            keys=keys,
            stream=house.stream,
            sts=sts,
            now=house.now,
            tracking_since=lambda: house.uses.tracking_since,
            served=house.served,
            used=house.uses.used,
            calls=house.uses.calls,
            audit=house.audit,
            quota=house.quota,
            keys_per_namespace=house.keys_per_namespace,
            routes=house.routes,
        )
    )

"""The route by which tenants read records about their own keys, over this process's folder of records; without a folder there is none."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

from keystead.audit.reading.tenant import TenantRecords
from keystead.engine.ports import Domain
from keystead.operations.trail import Audit
from keystead.server.auditroute import BURST, NAME, PATH, RATE, AuditRoute, Facts, Model, Reading
from keystead.server.auditwhole import Peers
from keystead.server.door import new_id
from keystead.server.identity import Recognise
from keystead.server.message import Asked, Reply
from keystead.server.quota import OwnBuckets


def audit_routes(
    folder: Path | None,
    *,
    recognise: Recognise,
    region: str,
    facts: Facts,
    model: Model,
    audit: Audit,
    domain: Callable[[], Domain],
    stale: Callable[[], str | None],
    now: Callable[[], datetime],
    replica: str,
    throttled: Callable[[str], None],
    peers: Peers | None,
) -> Mapping[bytes, Callable[[Asked], Awaitable[Reply]]]:
    """For `House.routes`."""
    if folder is None:
        return {}
    reading = Reading(
        recognise=recognise,
        region=region,
        facts=facts,
        model=model,
        trail=TenantRecords(folder),
        audit=audit,
        domain=domain,
        stale=stale,
        now=now,
        new_id=new_id,
        replica=replica,
        trail_id=str(folder),
        quota=OwnBuckets(NAME, RATE, BURST, time.monotonic_ns, throttled),
        peers=peers,
    )
    return {PATH: AuditRoute(reading)}

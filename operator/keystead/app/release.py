"""`keystead release-finalizers`: no operator leads any more, and no KmsKey has our finalizer. The chart's pre-delete hook runs it.

Helm runs a pre-delete hook while the Deployment still stands, and a leader would put the finalizer back. So the Lease is taken first,
without asking, and kept until the keys are done; what follows within the Lease's duration is Helm's deletion of the Deployment. Nothing
of the records changes: a key that goes because its finalizer went is for the next install what any deleted object is.
"""

from __future__ import annotations

import asyncio
import os
import socket

from keystead.settings import Settings
from keystead.store.finalizers import release_in_use
from keystead.store.kube import Kube
from keystead.store.lease import LeaseElector


async def release_finalizers(settings: Settings, kube: Kube) -> tuple[int, int]:
    """(keys looked at, finalizers removed)."""
    await kube.request("GET", "/version")  # the API server's time goes into the Lease
    cluster = settings.cluster
    identity = f"keystead-uninstall-{socket.gethostname()}-{os.getpid()}"
    lease = LeaseElector(kube, cluster.namespace, identity, settings.operator, lambda: 0)
    held = await lease.seize()
    if not lease.leading:  # there is no Lease: no operator ever led here
        return await release_in_use(kube, cluster.watch_namespaces, lambda: None)
    holding = asyncio.create_task(lease.hold())
    try:
        if held:
            # A leader that cannot reach the API server stops by itself only then; its last write may be on its way.
            await asyncio.sleep(settings.operator.renew_deadline)
        return await release_in_use(kube, cluster.watch_namespaces, lease.check)
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)

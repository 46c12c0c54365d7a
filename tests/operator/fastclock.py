"""The operator with a fast clock in one place: `python -m tests.operator.fastclock`, with the environment of an installation.

Key material is destroyed only when the end of its window was seen twice, ten minutes apart by the API server's time and by the process's
monotonic clock (reconciler/windows.py). A test steps the first one (chaos.ChaosProxy.shift_date); this runs the second one 600 times as
fast, for the windows alone: Lease, queue and watches have the true one. The product has no knob for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

from keystead.app.operator import Operator
from keystead.errors import StoreError
from keystead.settings import Settings, from_environment
from keystead.store.kube import connect

PROGRAM = ("tests.operator.fastclock",)
FASTER = 600


async def main(settings: Settings) -> int:
    """What `keystead operator` does."""
    kube = await connect(settings.cluster.kubeconfig, settings.operator.identity)
    for _ in range(100):
        try:
            await kube.request("GET", "/version")
            break
        except StoreError:
            await asyncio.sleep(0.1)
    return await Operator(settings, kube, lambda: FASTER * time.monotonic()).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    found = from_environment()
    os.environ["KUBECONFIG"] = str(found.cluster.kubeconfig)
    sys.exit(asyncio.run(main(found)))

"""Kopf as the watcher (ARCHITECTURE 8): `on.event` handlers and nothing that writes.

No change-detecting handlers (they copy spec into an annotation), no timers, no daemons, no peering, no event posting. The finalizer name
that is configured is never used: Kopf strips a finalizer that carries its own name.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import kopf

from keystead.reconciler.ports import Kind
from keystead.resources import names

Seen = Callable[[Kind, str | None, Mapping[str, Any]], None]
"""(kind, event, body): one event of the watch, as `reconciler.feed.Feed.seen` takes it."""

# Kopf's own grow to 21 s: after an outage of the API server objects would wait that long. About a minute in all, then the
# process ends (an API server that never lets us watch is no working operator), like Kopf's own.
ERROR_BACKOFFS: Final = (0.5, *(1.0,) * 10, *(2.0,) * 25)


def make_registry(seen: Seen, kinds: tuple[Kind, ...], kubeconfig: Path | None) -> kopf.OperatorRegistry:
    """A private registry: one event handler a kind, and a login (a private one has none).

    With a kubeconfig Kopf reads the file that the variable KUBECONFIG names: app sets it.
    """
    registry = kopf.OperatorRegistry()
    for kind in kinds:
        kopf.on.event(names.GROUP, names.VERSION, kind.plural, registry=registry, id=f"seen-{kind.plural}")(
            _handler(seen, kind)
        )

    login = kopf.login_with_kubeconfig if kubeconfig is not None else kopf.login_with_service_account
    kopf.on.login(registry=registry)(login)
    return registry


def _handler(seen: Seen, kind: Kind) -> Callable[..., Any]:
    async def handle(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401 - kopf's own kwargs
        seen(kind, event["type"], event["object"])

    return handle


def make_settings() -> kopf.OperatorSettings:
    """Kopf's settings, each with its reason."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # framework messages are no events of ours
    settings.persistence.finalizer = f"{names.GROUP}/kopf-never-used"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP, v1=False)
    settings.peering.standalone = True
    settings.scanning.disabled = True  # no rights on CRDs and namespaces at large are needed
    settings.queueing.worker_limit = 200  # never without a short idle_timeout: slots stay taken (KUBERNETES.md)
    settings.queueing.idle_timeout = 0.05
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70  # a watch that stalls without a FIN: bookmarks come every 60 s
    settings.networking.error_backoffs = ERROR_BACKOFFS
    return settings


async def watch(
    seen: Seen,
    kinds: tuple[Kind, ...],
    namespaces: tuple[str, ...],
    kubeconfig: Path | None,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Watch until `stop` is set. Own tasks must be born before this runs: kopf cancels the younger ones when it ends.

    What kopf.operator() does, but for the signals: Kopf takes them over, and would let the workers go on for 5 s before it ends
    with the Lease still held. They belong to `stop`, which ends the work and releases the Lease at once.
    """
    existing = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=make_registry(seen, kinds, kubeconfig),
        settings=make_settings(),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        standalone=True,
        ready_flag=ready,
        stop_flag=stop,
    )
    stop_on_signals(stop)
    await kopf.run_tasks(tasks, ignored=existing)


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set `stop`, whoever had them before."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

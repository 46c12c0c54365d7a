"""Takes the finalizer kms.keystead.io/in-use from every KmsKey, and nothing else: what an uninstall must not leave behind.

Used by `keystead release-finalizers` (the chart's pre-delete hook). Rights: list, get, patch on kmskeys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from keystead.errors import ConflictError, NotFoundError, RefusedError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.store.kube import JSON_PATCH, Kube
from keystead.store.objects import KubeObjects, path_of

# Patches at once: an API server answers several as fast as one (KUBERNETES.md), and the page is the bound of memory.
AT_ONCE: Final = 8
# A key that changed between look and patch is looked at again this often.
TRIES: Final = 10


async def release_in_use(kube: Kube, namespaces: tuple[str, ...], may_write: Callable[[], None]) -> tuple[int, int]:
    """(keys looked at, finalizers removed), in these namespaces or in all. `may_write` raises where the Lease is lost."""
    looked = released = 0
    try:
        async for page in KubeObjects(kube).pages(Kind.KEY, namespaces):
            may_write()
            looked += len(page)
            released += await _release(kube, [key for key in page if _index(key) is not None])
    except NotFoundError:  # the CRD is absent
        pass
    return looked, released


async def _release(kube: Kube, keys: list[dict[str, Any]]) -> int:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(key: dict[str, Any]) -> bool:
        async with gate:
            return await _release_one(kube, key)

    return sum(await asyncio.gather(*(one(key) for key in keys)))


async def _release_one(kube: Kube, key: dict[str, Any]) -> bool:
    """Whether our finalizer was removed. A key that is gone, or another one by now, has none of ours."""
    meta = key["metadata"]
    path = path_of(ObjectRef(Kind.KEY, meta["namespace"], meta["name"]))
    live: dict[str, Any] = key
    for _ in range(TRIES):
        index = _index(live)
        if index is None or live["metadata"]["uid"] != meta["uid"]:
            return False
        try:
            await kube.request("PATCH", path, body=_patch(meta["uid"], index), content_type=JSON_PATCH)
        except NotFoundError:
            return False
        except (ConflictError, RefusedError) as error:  # 422: a test of the patch failed
            refused = error
        else:
            return True
        try:
            live = await kube.request("GET", path)
        except NotFoundError:
            return False
    raise refused


def _index(key: dict[str, Any]) -> int | None:
    held = key["metadata"].get("finalizers") or []
    return held.index(names.IN_USE) if names.IN_USE in held else None


def _patch(uid: str, index: int) -> list[dict[str, Any]]:
    place = f"/metadata/finalizers/{index}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": place, "value": names.IN_USE},
        {"op": "remove", "path": place},
    ]

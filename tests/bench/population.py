"""Very many objects of all kinds: how they are made, and how many bytes each of them takes in the API and in etcd."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.bench.api import GROUP, Api, ReadyWatch, in_parallel
from tests.cluster.cluster import Cluster
from tests.operator.harness import RECORDS, data_key, key

API_VERSION = "kms.keystead.io/v1alpha1"
NAMESPACES = tuple(f"bench-{number}" for number in range(10))
SAMPLE = 200  # objects of a kind whose JSON is weighed


@dataclass(frozen=True)
class Kind:
    """One kind: the resource's name, its record's name, and the manifest of the number-th object."""

    plural: str
    record: str
    manifest: Callable[[int], dict[str, Any]]


def place(number: int) -> str:
    """The namespace of the number-th object of a kind."""
    return NAMESPACES[number % len(NAMESPACES)]


def _alias(number: int) -> dict[str, Any]:
    spec = {"aliasName": f"alias/bench-{number}", "keyRef": {"name": f"k-{number}"}}
    return _object("KmsAlias", number, spec)


def _grant(number: int) -> dict[str, Any]:
    account = {"name": f"service-{number}"}
    spec = {
        "keyRef": {"name": f"k-{number}"},
        "serviceAccountRef": account,
        "operations": ["Decrypt", "GenerateDataKey"],
    }
    return _object("KmsGrant", number, spec)


def _data_key(number: int) -> dict[str, Any]:
    context = {"app": "bench", "number": str(number)}
    return data_key(place(number), f"o-{number}", f"k-{number}", f"data-key-{number}", encryptionContext=context)


def _object(kind: str, number: int, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": place(number), "name": f"o-{number}"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


KINDS = {
    "keys": Kind(
        "kmskeys", "key", lambda number: key(place(number), f"k-{number}", description="made by the benchmark")
    ),
    "aliases": Kind("kmsaliases", "alias", _alias),
    "grants": Kind("kmsgrants", "grant", _grant),
    "data_keys": Kind("kmsdatakeys", "datakey", _data_key),
}


async def populate(api: Api, kind: Kind, count: int) -> list[float]:
    """Send `count` objects and wait until the operator has made all of them Ready; seconds of each since the first was sent."""
    bodies = [kind.manifest(number) for number in range(count)]
    names = [(body["metadata"]["namespace"], body["metadata"]["name"]) for body in bodies]
    path = f"{GROUP}/namespaces/{{}}/{kind.plural}"
    async with ReadyWatch(api, kind.plural) as ready:
        start = time.perf_counter()
        sends = (
            lambda body=body: api.request("POST", path.format(body["metadata"]["namespace"]), body) for body in bodies
        )
        await in_parallel(sends)
        await ready.all_ready(names, 60 + count / 5)
        return [ready.times[name] - start for name in names]


@dataclass(frozen=True)
class Weight:
    """Mean bytes of one object of a kind: as the API server gives it, and as etcd keeps it with its key."""

    what: str
    json: float
    etcd: float
    count: int


async def weights(api: Api, cluster: Cluster) -> list[Weight]:
    """Of each kind that has objects: the custom resource, its record, and the Secret that a data key writes."""
    stored = _etcd_sizes(cluster)
    rows = []
    for kind in KINDS.values():
        rows.append(await _weigh(api, f"{kind.plural} object", f"{GROUP}/{kind.plural}", stored[kind.plural]))
        selected = f"/api/v1/namespaces/{RECORDS}/secrets?labelSelector=kms.keystead.io/record={kind.record}"
        rows.append(await _weigh(api, f"{kind.plural} record", selected, stored[f"{kind.record}-"]))
    target = f"/api/v1/namespaces/{NAMESPACES[0]}/secrets?fieldSelector=type=kms.keystead.io/data-key"
    rows.append(await _weigh(api, "Secret with a data key", target, stored["target"]))
    rows.append(await _weigh(api, "Event", f"/api/v1/namespaces/{NAMESPACES[0]}/events?", stored["event"]))
    return [row for row in rows if row.count]


async def _weigh(api: Api, what: str, path: str, stored: list[int]) -> Weight:
    joined = f"{path}{'&' if '?' in path else '?'}limit={SAMPLE}"
    items = (await api.request("GET", joined))["items"]
    sizes = [len(json.dumps(item, separators=(",", ":"))) for item in items]
    return Weight(what, _mean(sizes), _mean(stored), len(stored))


def _mean(values: Iterable[int]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else 0.0


def _etcd_sizes(cluster: Cluster) -> dict[str, list[int]]:
    """Bytes of key and value of each entry, by what it is."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for name, value in cluster.control.plane.etcd_entries():  # type: ignore[union-attr]
        what = _kind_of(name.decode())
        if what is not None:
            sizes[what].append(len(name) + len(value))
    return sizes


def _kind_of(name: str) -> str | None:
    parts = name.split("/")[2:]  # /registry/GROUP/PLURAL/NAMESPACE/NAME, and without GROUP for the core
    match parts:
        case ["kms.keystead.io", plural, *_]:
            return plural
        case ["secrets", space, secret] if space == RECORDS:
            return f"{secret.partition('-')[0]}-"
        case ["secrets", space, secret] if space in NAMESPACES and secret.startswith("data-key-"):
            return "target"
        case ["events", space, _] if space in NAMESPACES:
            return "event"
    return None

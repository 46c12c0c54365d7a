"""The series of each KmsKey: ready, next rotation, end of the waiting window. A view of what the watch shows; nothing is decided by it.

A series vanishes with its object. What remains of a key whose object is gone is the window that runs on in its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.conditions import ConditionStatus, ConditionType
from keystead.resources.metrics import METRICS, Metric
from keystead.resources.vocabulary import KeyState

Windows = Callable[[], Iterable[tuple[ObjectRef, datetime]]]
"""Keys without an object whose waiting window runs, and when it ends: from the records (store/readmodel.py)."""

SERIES: Final = (Metric.KEY_READY, Metric.KEY_NEXT_ROTATION, Metric.KEY_DELETION)


class Figures(NamedTuple):
    """What is shown of one key; times in Unix seconds."""

    ready: float
    next_rotation: float | None
    deletion: float | None


class KeySeries(Collector):
    """Some 400 bytes a key: numbers, never a body."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._keys: dict[ObjectRef, Figures] = {}

    def seen(self, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        """One event of the watch, as `reconciler.feed.Feed.seen` gets it."""
        if kind is not Kind.KEY:
            return
        ref = ObjectRef(kind, body["metadata"]["namespace"], body["metadata"]["name"])
        if event == "DELETED":
            self.forget(ref)
        else:
            self._keys[ref] = _figures(body.get("status") or {})

    def forget(self, ref: ObjectRef) -> None:
        """There is no object of this name: its record says so, where the watch missed it."""
        self._keys.pop(ref, None)

    def collect(self) -> Iterable[Family]:
        """Called by the registry at each scrape."""
        ready, rotation, deletion = (_family(metric) for metric in SERIES)
        ends = {ref: moment.timestamp() for ref, moment in self._windows()}
        for ref, figures in self._keys.items():
            labels = (ref.namespace, ref.name)
            ready.add_metric(labels, figures.ready)
            if figures.next_rotation is not None:
                rotation.add_metric(labels, figures.next_rotation)
            if figures.deletion is not None:
                ends[ref] = figures.deletion
        for ref, moment in ends.items():
            deletion.add_metric((ref.namespace, ref.name), moment)
        return ready, rotation, deletion


def _family(metric: Metric) -> GaugeMetricFamily:
    row = METRICS[metric]
    return GaugeMetricFamily(metric.value, row.meaning, labels=row.labels)


def _figures(status: Mapping[str, Any]) -> Figures:
    ready = any(
        condition.get("type") == ConditionType.READY and condition.get("status") == ConditionStatus.TRUE
        for condition in status.get("conditions") or ()
    )
    pending = status.get("keyState") == KeyState.PENDING_DELETION
    return Figures(float(ready), _unix(status.get("nextRotationTime")), _unix(status.get("deletionTime")) if pending else None)


def _unix(text: object) -> float | None:
    """A time that cannot be read is left out: whoever may write status must not break the scrape."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text is not None else None
    except (ValueError, OverflowError):
        return None

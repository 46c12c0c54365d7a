"""The one table of metrics: names, types, labels, meanings. app/metrics.py makes the registry from it, and the reference page too.

No label ever holds a secret, a blob or an id of a key: a key is named by its namespace and name, as everybody who may look sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class MetricType(StrEnum):
    """Prometheus's."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(StrEnum):
    """Names as a query says them. Every member has a row in METRICS (a test holds it total)."""

    KEY_READY = "keystead_key_ready"
    KEY_NEXT_ROTATION = "keystead_key_next_rotation_timestamp_seconds"
    KEY_DELETION = "keystead_key_deletion_timestamp_seconds"
    RECONCILE_DURATION = "keystead_reconcile_duration_seconds"
    QUEUE_DEPTH = "keystead_queue_depth"
    ENGINE_REQUESTS = "keystead_engine_requests_total"
    HSM_SESSIONS = "keystead_hsm_sessions"
    RECORDS_ORPHANED = "keystead_records_orphaned"
    CRD_ABSENT = "keystead_crd_absent"
    LEASE_AGE = "keystead_lease_age_seconds"
    LEADER = "keystead_leader"
    SERVER_REQUESTS = "keystead_server_requests_total"
    SERVER_STREAM_AGE = "keystead_server_stream_age_seconds"
    SERVER_RECORDS = "keystead_server_records"
    SERVER_RECORDS_REFUSED = "keystead_server_records_refused"
    QUOTA_THROTTLED = "keystead_quota_throttled_total"
    CALLS = "keystead_calls_total"
    AUDIT_RECORDS = "keystead_audit_records_total"
    AUDIT_STOPPED = "keystead_audit_stopped"
    AUDIT_WAITING = "keystead_audit_waiting_bytes"
    AUDIT_FLUSH = "keystead_audit_flush_seconds"


class MetricRow(NamedTuple):
    """One row. `labels` in the order in which values are given."""

    type: MetricType
    labels: tuple[str, ...]
    meaning: str


_G: Final = MetricType.GAUGE
_KEY: Final = ("namespace", "name")

METRICS: Final[Mapping[Metric, MetricRow]] = MappingProxyType(
    {
        Metric.KEY_READY: MetricRow(_G, _KEY, "1 while the KmsKey's condition Ready is True, else 0."),
        Metric.KEY_NEXT_ROTATION: MetricRow(
            _G, _KEY, "When the key's next rotation is due, Unix time. Absent where none is."
        ),
        Metric.KEY_DELETION: MetricRow(
            _G,
            _KEY,
            "When the waiting window ends and the material is destroyed, Unix time. Absent where no window runs; also for "
            "a key whose object is gone.",
        ),
        Metric.RECONCILE_DURATION: MetricRow(
            MetricType.HISTOGRAM,
            ("kind", "result"),
            "Time of one reconcile. result: ok, obstacle (a condition says why), conflict (somebody else wrote first), error.",
        ),
        Metric.QUEUE_DEPTH: MetricRow(
            _G, ("class",), "Objects that wait for a worker. class: new (a change that no pass has seen), refresh."
        ),
        Metric.ENGINE_REQUESTS: MetricRow(
            MetricType.COUNTER,
            ("operation", "result"),
            "Calls of the engine. operation: derive, generate_mac, verify_mac (inline), generate, import, make_pair, sign_digest, "
            "decrypt_rsa, agree (slow lanes). result: ok, data (this input was refused), session (lost), unavailable, auth, setup, "
            "unsupported, throttled, error.",
        ),
        Metric.HSM_SESSIONS: MetricRow(
            _G, (), "Sessions with the token: this process's, and one for each slow lane that runs. 0: the token is away."
        ),
        Metric.RECORDS_ORPHANED: MetricRow(_G, (), "Key records without an object: `keystead records list` shows them."),
        Metric.CRD_ABSENT: MetricRow(
            _G, ("kind",), "1 while the kind's CRD is absent or being deleted: nothing counts as gone, no window starts."
        ),
        Metric.LEASE_AGE: MetricRow(
            _G, (), "Seconds since the Lease was renewed, as this replica saw it. Over 30: nobody leads, nothing is carried out."
        ),
        Metric.LEADER: MetricRow(_G, (), "1 while this process holds the Lease, else 0."),
        Metric.SERVER_REQUESTS: MetricRow(
            MetricType.COUNTER,
            ("operation", "code"),
            "Calls of the KMS API that were answered. code: OK, or AWS's name of the error. operation: empty where none was named.",
        ),
        Metric.SERVER_STREAM_AGE: MetricRow(
            _G, (), "Seconds since the stream of records showed a sign of life. Over 3: the worker is unready."
        ),
        Metric.SERVER_RECORDS: MetricRow(_G, (), "Records in the read model."),
        Metric.SERVER_RECORDS_REFUSED: MetricRow(
            _G, (), "Records that do not verify, or are older than what was seen: they are left out, and the log names them."
        ),
        Metric.QUOTA_THROTTLED: MetricRow(
            MetricType.COUNTER,
            ("class",),
            "Calls that were refused as too many for their account, by class of call (docs/quotas.md). The audit trail says whose.",
        ),
        Metric.CALLS: MetricRow(
            MetricType.COUNTER,
            ("namespace", "class"),
            "Authenticated calls of the KMS API by the namespace of the caller and AWS's price class (docs/usage.md). namespace: the "
            "first 1,000 that call a worker, then `other`. class: requests, rsa-2048, asymmetric, ecc-data-key-pairs, rsa-data-key-pairs, "
            "refused.",
        ),
        Metric.AUDIT_RECORDS: MetricRow(
            MetricType.COUNTER,
            ("durability",),
            "Records that every sink has acknowledged. durability: sync (the answer waited), buffered.",
        ),
        Metric.AUDIT_STOPPED: MetricRow(
            _G, (), "1 while no record can be kept, and so nothing is answered; 0 else, and where none is to be kept."
        ),
        Metric.AUDIT_WAITING: MetricRow(_G, (), "Bytes of records that no sink has acknowledged yet."),
        Metric.AUDIT_FLUSH: MetricRow(
            MetricType.HISTOGRAM, (), "Time until all sinks had one batch of records: what an answer in mode sync waits for."
        ),
    }
)
"""Metric -> type, labels, meaning. The registry and the reference page are made from it."""

AUDIT: Final = frozenset({Metric.AUDIT_RECORDS, Metric.AUDIT_STOPPED, Metric.AUDIT_WAITING, Metric.AUDIT_FLUSH})
"""What every process with an audit trail tells."""
SERVER: Final = frozenset(
    {
        Metric.ENGINE_REQUESTS,
        Metric.HSM_SESSIONS,
        Metric.SERVER_REQUESTS,
        Metric.SERVER_STREAM_AGE,
        Metric.SERVER_RECORDS,
        Metric.SERVER_RECORDS_REFUSED,
        Metric.QUOTA_THROTTLED,
        Metric.CALLS,
        *AUDIT,
    }
)
"""What `keystead server` tells."""
OPERATOR: Final = frozenset(METRICS) - SERVER | AUDIT | {Metric.ENGINE_REQUESTS, Metric.HSM_SESSIONS}
"""What `keystead operator` tells."""

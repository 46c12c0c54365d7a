"""The members that the status of all four kinds has."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from keystead.resources.conditions import Condition
from keystead.resources.model import Digest, Model, doc


class CommonStatus(Model, frozen=True, kw_only=True):
    """What a waiting tool and the record check need. A status authorises nothing and can be rebuilt."""

    observed_generation: Annotated[
        int, doc("metadata.generation of the last pass; -1 before the first.", schema_default=-1)
    ] = -1
    last_handled_reconcile_at: (
        Annotated[str, doc("Value of the annotation reconcile-requested-at that was last answered.", max_length=256)]
        | UnsetType
    ) = UNSET
    conditions: Annotated[
        tuple[Condition, ...],
        doc(
            "Ready, Reconciling, Stalled and the domain's own.",
            max_length=32,
            x_kubernetes_list_type="map",
            x_kubernetes_list_map_keys=["type"],
        ),
    ] = ()
    record_seq: Annotated[int, doc("Sequence number of the record that this status shows.", ge=0)] | UnsetType = UNSET
    record_digest: Annotated[Digest, doc("SHA-256 of that record, hex.")] | UnsetType = UNSET

"""The cluster's PIN marker: ConfigMap keystead-pin-refused names the PIN Secret's resourceVersion that the token refused.

Every replica reads it BEFORE it logs in; nobody tries that version again (HSM.md (c) 6). The Secret is read for its resourceVersion only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keystead.errors import NotFoundError
from keystead.store.kube import MERGE_PATCH, Kube

MARKER: Final = "keystead-pin-refused"


@dataclass(slots=True)
class ClusterMarker:
    """Implements `hsm.pin.PinMarker` on facts read before; `was_refused` tells the caller to write them back."""

    pin_version: str
    refused_version: str
    was_refused: bool = False

    def refused(self) -> str | None:
        """The reason, where this version of the PIN was refused before."""
        if not self.pin_version or self.pin_version != self.refused_version:
            return None
        return (
            f"the token refused the PIN of resourceVersion {self.pin_version} before (ConfigMap {MARKER}); "
            "hint: put the right PIN into its Secret"
        )

    def refuse(self) -> None:
        """Remember it in this process; `save` tells the others."""
        self.was_refused = True


async def read_marker(kube: Kube, namespace: str, pin_secret: str) -> ClusterMarker:
    """The state of PIN and marker now. Without a PIN Secret (a PIN from elsewhere) nothing stands against a login."""
    refused = ""
    try:
        secret = await kube.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{pin_secret}")
        version = str(secret["metadata"]["resourceVersion"])
    except NotFoundError:
        version = ""
    try:
        marker = await kube.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{MARKER}")
        refused = str((marker.get("data") or {}).get("pinSecretResourceVersion", ""))
    except NotFoundError:
        refused = ""
    return ClusterMarker(version, refused)


async def save_marker(kube: Kube, namespace: str, marker: ClusterMarker) -> None:
    """Write the refusal, so that no other replica tries."""
    body = {"data": {"pinSecretResourceVersion": marker.pin_version}}
    path = f"/api/v1/namespaces/{namespace}/configmaps/{MARKER}"
    await kube.request("PATCH", path, body=body, content_type=MERGE_PATCH)

"""Reads and writes kubeconfig files that hold all they need, so that they can be moved.

Called by controlplane.py (the administrator's) and cluster.py (a service account's).
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml
from tests.cluster import certificates


def encode(content: bytes) -> str:
    """The form that kubeconfig's `*-data` fields have."""
    return base64.b64encode(content).decode("ascii")


def write(path: Path, cluster: dict[str, Any], user: dict[str, Any], namespace: str = "default") -> Path:
    """One cluster, one user, one context; mode 0600."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "keystead", "cluster": cluster}],
        "users": [{"name": "keystead", "user": user}],
        "contexts": [
            {"name": "keystead", "context": {"cluster": "keystead", "user": "keystead", "namespace": namespace}}
        ],
        "current-context": "keystead",
    }
    certificates.write_private(path, yaml.safe_dump(content, sort_keys=False).encode())
    return path

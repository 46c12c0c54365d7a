"""Which kubeconfig a person's command uses, and the namespace of its context, as kubectl finds them.

Called by app/kms/. What may never enter an error here: the content of a kubeconfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kubernetes.aio import config

from keystead.errors import StoreError

_IN_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT: Final = "default"


def chosen(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """--kubeconfig, else $KUBECONFIG (several, with colons), else ~/.kube/config; None: the Pod's own ServiceAccount."""
    if given is not None:
        if not given.is_file():
            raise StoreError(f"there is no file {given}; hint: give --kubeconfig a file")
        return given
    named = environ.get("KUBECONFIG")
    if named:
        return Path(named)
    usual = Path(environ.get("HOME") or "~").expanduser() / ".kube/config"
    return usual if usual.is_file() or not _IN_POD.is_file() else None


def namespace_of(kubeconfig: Path | None, context: str) -> str:
    """The namespace of a context, "" for the current one. StoreError where there is no such context."""
    if kubeconfig is None:
        return _IN_POD.read_text().strip() or _DEFAULT
    try:
        contexts, current = config.list_kube_config_contexts(str(kubeconfig))
    except (config.ConfigException, OSError, ValueError, TypeError) as error:
        raise StoreError(f"no access to an API server: {error}; hint: set KUBECONFIG, or give --kubeconfig") from None
    if not context:
        return str((current or {}).get("context", {}).get("namespace") or _DEFAULT)
    for found in contexts:
        if found["name"] == context:
            return str(found["context"].get("namespace") or _DEFAULT)
    raise StoreError(f"the kubeconfig has no context {context}; hint: kubectl config get-contexts")

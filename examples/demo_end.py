"""What the demo prints at its end: what was seen, and commands for the cluster, the endpoint and the audit trail that it leaves up.

tests/e2e/test_demo.py runs each of them as it is printed. No token is printed: one of them writes it to a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from examples.demo_serve import AUDITOR, CLIENT, NAMESPACE
from rich.table import Table
from tests.serving.harness import REGION

if TYPE_CHECKING:
    from examples.demo import Demo

_DESCRIBE = 'import boto3; print(boto3.client("kms").describe_key(KeyId="alias/reports")["KeyMetadata"]["Arn"])'


def table(rows: Iterable[tuple[str, str, float]]) -> Table:
    """What was done, and how long each took."""
    made = Table("step", "what was seen", "seconds", title="\nKeystead demo: done")
    for title, found, seconds in rows:
        made.add_row(title, found, f"{seconds:.1f}")
    return made


def show_commands(demo: Demo) -> None:
    """Commands are indented; in one shell, in this order, each works."""
    print("Cluster, operator and server stay up, the last two as processes (there is no node: Pods stay Pending). Ready to copy:")
    for title, commands in _commands(demo):
        print(f"\n{title}:")
        for command in commands:
            print(f"  {command}")
    print(f"\nEnd them: {ending()}. The next `make demo` ends them too, with all that you made.")


def ending() -> str:
    """The command that ends this demo."""
    where = os.environ.get("KEYSTEAD_DEMO_STATE")
    return f"KEYSTEAD_DEMO_STATE={quote(where)} make demo-down" if where else "make demo-down"


def _commands(demo: Demo) -> Iterator[tuple[str, list[str]]]:
    yield "The cluster, and who may use which key there", _of_cluster(demo)
    yield f"The endpoint, as ServiceAccount {CLIENT}; every AWS client takes these variables, the aws CLI too", _of_endpoint(demo)
    yield "The audit trail of operator, server and `keystead crypt`, and a tenant's own view of it", _of_trail(demo)


def _of_cluster(demo: Demo) -> list[str]:
    python, kubectl = Path(sys.executable).parent, demo.cluster.binaries["kubectl"].parent
    return [
        f"export KUBECONFIG={quote(str(demo.cluster.kubeconfig))} PATH={quote(str(kubectl))}:{quote(str(python))}:$PATH",
        "kubectl get kms -A",
        f"kubectl kms who-can decrypt orders -n {NAMESPACE}",
        f"kubectl kms why decrypt orders --as visitor -n {NAMESPACE}",
    ]


def _of_endpoint(demo: Demo) -> list[str]:
    url, bundle = demo.served.process.url, quote(str(demo.served.authority.bundle))
    token = quote(str(demo.made.folder / f"{CLIENT}.token"))
    return [
        f"export AWS_ENDPOINT_URL_KMS={url} AWS_ENDPOINT_URL_STS={url} AWS_CA_BUNDLE={bundle}",
        f"export AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}",
        f"kubectl create token {CLIENT} -n {NAMESPACE} --audience=keystead --duration=8h > {token}",
        f"export AWS_ROLE_ARN=arn:aws:iam::{demo.account()}:role/{CLIENT} AWS_WEB_IDENTITY_TOKEN_FILE={token}",
        f"{Path(sys.executable).name} -c {quote(_DESCRIBE)}",
    ]


def _of_trail(demo: Demo) -> list[str]:
    folder, key = quote(str(demo.served.trail)), quote(str(demo.served.public_key))
    return [
        f"keystead audit verify {folder} --public-key {key}",
        f"keystead audit summary {folder} --ask-cluster",
        f"keystead audit search {folder} --denied",
        f"kubectl kms audit orders -n {NAMESPACE} --as-serviceaccount {AUDITOR}",
    ]

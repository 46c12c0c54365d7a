"""Removes what an uninstall keeps: CRDs, admission policies, the records' namespace. Used by the chart's cluster tests."""

from __future__ import annotations

from tests.chart import rights
from tests.cluster.cluster import Cluster

ALLOWED = "kms.keystead.io/allow-deletion=true"
POLICIES = "validatingadmissionpolicybindings,validatingadmissionpolicies"


def delete_namespaces(cluster: Cluster, *names: str) -> None:
    """Until they are gone. The records' namespace is deleted only where somebody says so (policy-records.yaml)."""
    if rights.RECORDS in names and cluster.kubectl("get", "namespace", rights.RECORDS, "--ignore-not-found", "-o", "name"):
        cluster.kubectl("annotate", "--overwrite", "namespace", rights.RECORDS, ALLOWED)
    cluster.kubectl("delete", "namespace", "--ignore-not-found", "--wait", *names)


def remove_kept(cluster: Cluster, *namespaces: str) -> None:
    """Everything of the chart, after its uninstall, and these namespaces."""
    # Namespaces first: their controller stumbles over kinds that vanish while it looks.
    delete_namespaces(cluster, rights.RELEASE, rights.RECORDS, *namespaces)
    cluster.kubectl("delete", "--ignore-not-found", "--wait", POLICIES, "-l", "app.kubernetes.io/name=keystead")
    crds = [f"customresourcedefinition/{kind}.{rights.KMS}" for kind in rights.KINDS]
    cluster.kubectl("delete", "--ignore-not-found", "--wait", *crds)

"""The suite of manifests on a real API server: it and the Python rules must agree on every row."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import Cluster, CommandError
from tests.resources.manifests import ROWS, SPECS, STRICT_ROWS, Row, manifest
from tests.resources.test_rules import plain

from keystead.resources.crd import KINDS
from keystead.resources.names import GROUP
from keystead.resources.rules import RULES

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "test-resources"

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]
Kubectl = Callable[..., str]
_numbers = count()


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    """kubectl in a namespace of its own, with the CRDs established."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--warnings-as-errors", "-f", str(CRDS))
    for kind in KINDS:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{kind.crd_name}", "--timeout=30s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield lambda *arguments, **options: cluster.kubectl("--namespace", NAMESPACE, *arguments, **options)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def name_of(given: str) -> str:
    return given or f"m{next(_numbers)}"


def send(kubectl: Kubectl, verb: str, kind: str, name: str, spec: dict[str, Any]) -> str:
    return kubectl(verb, "-f", "-", stdin=json.dumps(manifest(kind, name, spec)))


def attempt(kubectl: Kubectl, row: Row, name: str, spec: dict[str, Any]) -> None:
    if row.old is None:
        send(kubectl, "create", row.kind, name, spec)
        return
    send(kubectl, "create", row.kind, name, row.old)
    send(kubectl, "replace", row.kind, name, spec)


@pytest.mark.parametrize("row", (*ROWS, *STRICT_ROWS), ids=str)
def test_good_manifest_is_accepted(kubectl: Kubectl, row: Row) -> None:
    attempt(kubectl, row, name_of(row.good_name), row.good)


@pytest.mark.parametrize("row", (*ROWS, *STRICT_ROWS), ids=str)
def test_bad_manifest_is_refused_and_the_field_named(kubectl: Kubectl, row: Row) -> None:
    with pytest.raises(CommandError) as error:
        attempt(kubectl, row, name_of(row.bad_name), row.bad)
    said = error.value.stderr
    assert re.search(rf"(^|[\s*]){re.escape(row.field)}: ", plain(said)) or f'"{row.field}"' in said, said
    messages = [rule.message for rule in RULES if (rule.kind, rule.name) == (row.kind, row.rule)]
    assert all(message in said or message == "keyUsage does not fit keySpec" for message in messages), said


def test_matrix_message_is_that_of_the_python_rule(kubectl: Kubectl) -> None:
    spec = {"keySpec": "ECC_NIST_EDWARDS25519", "keyUsage": "KEY_AGREEMENT"}
    with pytest.raises(CommandError) as error:
        send(kubectl, "create", "KmsKey", "matrix", spec)
    assert "spec.keyUsage: Invalid value" in error.value.stderr
    assert "keyUsage KEY_AGREEMENT does not fit keySpec ECC_NIST_EDWARDS25519" in error.value.stderr


def test_object_without_spec_is_refused(kubectl: Kubectl) -> None:
    for kind in KINDS:
        body = {name: value for name, value in manifest(kind.kind, "empty", {}).items() if name != "spec"}
        with pytest.raises(CommandError, match="spec: Required value"):
            kubectl("create", "-f", "-", stdin=json.dumps(body))


def test_new_key_has_the_defaults_and_no_other(kubectl: Kubectl) -> None:
    send(kubectl, "create", "KmsKey", "defaults", {})
    body = json.loads(kubectl("get", "kk", "defaults", "-o", "json"))
    assert body["status"] == {"observedGeneration": -1}
    assert body["spec"] == {
        "keySpec": "SYMMETRIC_DEFAULT",
        "keyUsage": "ENCRYPT_DECRYPT",
        "origin": "AWS_KMS",
        "deletionPolicy": "Retain",
        "pendingWindowInDays": 30,
    }


def test_policy_keeps_what_no_schema_knows(kubectl: Kubectl) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "x", "Condition": {"Bool": {"a:b": True}}}]}
    send(kubectl, "create", "KmsKey", "policy", {"policy": policy})
    assert json.loads(kubectl("get", "kk", "policy", "-o", "json"))["spec"]["policy"] == policy


def test_everything_shows_in_the_category(kubectl: Kubectl) -> None:
    for kind in KINDS:
        send(kubectl, "create", kind.kind, "in-category", SPECS[kind.kind])
    listed = kubectl("get", "kms", "--output", "name").split()
    assert {f"{kind.singular}.{GROUP}/in-category" for kind in KINDS} <= set(listed)


def test_times_to_come_show_as_times(kubectl: Kubectl) -> None:
    send(kubectl, "create", "KmsKey", "times", {})
    status = {"status": {"nextRotationTime": "2999-01-01T00:00:00Z", "observedGeneration": 1}}
    kubectl("patch", "kk", "times", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    assert "2999-01-01T00:00:00Z" in kubectl("get", "kk", "times")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_selectable_fields_select(kubectl: Kubectl, kind: Any) -> None:
    deadline = time.monotonic() + 20  # a new field selector is served a moment after Established
    selector = ",".join(f"{path.removeprefix('.')}=none" for path in kind.selectable)
    while True:
        try:
            assert kubectl("get", kind.plural, "--field-selector", selector, "-o", "name") == ""
        except CommandError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return

"""A Deny of kms:CreateAlias and kms:UpdateAlias: what of docs/policies.md, "kubectl, and the key's policy", holds for KmsAliases.

The API asks it of the caller, and the operator of the namespace's root, for objects that somebody else wrote. It looks again by itself
after 240 s at the earliest, and no test waits that long (harness.DEADLINE): what heals here was woken by the policy.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.cluster.cluster import CommandError
from tests.operator.harness import condition, wait_for
from tests.serving.desk import ALIAS, KEY, Desk, Worker, code_of
from tests.serving.harness import REGION

from keystead.engine.identifiers import root_arn
from keystead.operations.control.aliases import alias_object_name
from keystead.resources.names import API_VERSION, CREATED_BY, CREATED_BY_API

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-grants"
VERBS = ("get", "create", "patch", "createalias", "updatealias", "describekey")
BOTH = ["kms:CreateAlias", "kms:UpdateAlias"]
OF_API = {"labels": {CREATED_BY: CREATED_BY_API}}


class Author:
    """A ServiceAccount that writes with kubectl. CommandError where it is refused."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._cluster = worker, worker.desk.installation.cluster
        self._kubeconfig = self._cluster.service_account_kubeconfig(worker.namespace, worker.name)

    def apply(self, name: str, key: str, **metadata: Any) -> None:
        """A KmsAlias."""
        metadata |= {"namespace": self._worker.namespace, "name": name}
        spec = {"aliasName": f"alias/{name}", "keyRef": {"name": key}}
        document = {"apiVersion": API_VERSION, "kind": ALIAS, "metadata": metadata, "spec": spec}
        self._cluster.apply(document, kubeconfig=self._kubeconfig)

    def patch(self, name: str, key: str, **metadata: Any) -> None:
        """The same of one that is there, whoever owns its fields."""
        body = json.dumps({"metadata": metadata, "spec": {"keyRef": {"name": key}}})
        self._cluster.kubectl(
            "patch", ALIAS, name, "--namespace", self._worker.namespace, "--type=merge", "-p", body, kubeconfig=self._kubeconfig
        )


def key(desk: Desk, name: str, *denied: str, **condition: Any) -> str:
    """A key whose policy lets the account do everything but this; its id."""
    arn = (desk.object(KEY, NAMESPACE, name) or desk.apply(KEY, NAMESPACE, name))["status"]["keyArn"]
    every = {"Effect": "Allow", "Principal": {"AWS": root_arn(arn.split(":")[4])}, "Action": "kms:*", "Resource": "*"}
    no = {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": [*denied], "Resource": "*"} | condition
    policy = {"Version": "2012-10-17", "Statement": [every, no] if denied else [every]}
    wanted = desk.apply(KEY, NAMESPACE, name, policy=policy)["metadata"]["generation"]
    found = wait_for(f"the policy of {name}", lambda: _observed(desk, name, wanted))
    return str(found["status"]["keyId"])


def _observed(desk: Desk, name: str, generation: int) -> Any:
    found = desk.object(KEY, NAMESPACE, name)
    return found if found["status"].get("observedGeneration") == generation else None


def says(desk: Desk, alias: str, reason: str, key_id: str | None) -> str:
    """The alias has come to say this, and to name this key; the message."""

    def look() -> str | None:
        body = desk.object(ALIAS, NAMESPACE, alias)
        said, status = condition(body), body.get("status") or {}
        seen = status.get("observedGeneration") == body["metadata"]["generation"]
        fits = seen and said is not None and said["reason"] == reason and status.get("targetKeyId") == key_id
        return str(said["message"]) if fits and said is not None else None

    return str(wait_for(f"{alias} is {reason} and names {key_id}", look))


def test_it_stops_the_api_and_the_object_until_the_policy_lets_it(desk: Desk) -> None:
    worker = desk.worker(NAMESPACE, "alias-both", *VERBS)
    kms, author = worker.kms(attempts=5), Author(worker)
    one, two = key(desk, "denied-one", *BOTH), key(desk, "denied-two")
    assert code_of(kms.create_alias, AliasName="alias/denied", TargetKeyId=one) == "AccessDeniedException"
    author.apply("denied", "denied-one")
    assert "KmsKey denied-one does not let this namespace do kms:CreateAlias" in says(desk, "denied", "AccessDenied", None)
    assert code_of(kms.describe_key, KeyId="alias/denied") == "NotFoundException"
    key(desk, "denied-one", "kms:UpdateAlias")
    says(desk, "denied", "Available", one)
    assert code_of(kms.update_alias, AliasName="alias/denied", TargetKeyId=two) == "AccessDeniedException"
    author.apply("denied", "denied-two")
    assert "KmsKey denied-one does not let this namespace do kms:UpdateAlias" in says(desk, "denied", "AccessDenied", one)
    assert kms.describe_key(KeyId="alias/denied")["KeyMetadata"]["KeyId"] == one
    key(desk, "denied-one")  # the alias's spec does not name this one any more
    says(desk, "denied", "Available", two)
    assert kms.describe_key(KeyId="alias/denied")["KeyMetadata"]["KeyId"] == two


def test_one_that_the_api_made_is_moved_by_others_past_a_deny_with_putkeypolicy_only(desk: Desk) -> None:
    worker = desk.worker(NAMESPACE, "alias-spared", *VERBS)
    kms, author = worker.kms(attempts=5), Author(worker)
    spared = {"StringNotEquals": {"aws:PrincipalArn": worker.role}}
    one, two = (key(desk, f"spared-{name}", *BOTH, Condition=spared) for name in ("one", "two"))
    name = alias_object_name(REGION, "alias/spared")
    kms.create_alias(AliasName="alias/spared", TargetKeyId=one)
    kms.update_alias(AliasName="alias/spared", TargetKeyId=two)
    says(desk, name, "Available", two)
    with pytest.raises(CommandError, match=f"label {CREATED_BY}=api .* putkeypolicy on kmskeys/spared-one .* take the label away"):
        author.patch(name, "spared-one")
    with pytest.raises(CommandError, match="putkeypolicy on kmskeys/spared-one"):
        author.apply("forged", "spared-one", **OF_API)
    assert desk.object(ALIAS, NAMESPACE, "forged") is None
    author.patch(name, "spared-one", labels={CREATED_BY: None})
    says(desk, name, "AccessDenied", two)
    worker.may("putkeypolicy")
    author.patch(name, "spared-one", **OF_API)
    says(desk, name, "AccessDenied", two)  # only a change of the spec or the key is seen
    key(desk, "spared-two", "kms:UpdateAlias", Condition=spared | {"Bool": {"aws:SecureTransport": "true"}})
    says(desk, name, "Available", one)


def test_the_api_does_not_write_what_the_operator_would_leave_undone(desk: Desk) -> None:
    worker = desk.worker(NAMESPACE, "alias-hand", *VERBS)
    kms = worker.kms(attempts=5)
    spared = {"StringNotEquals": {"aws:PrincipalArn": worker.role}}
    one, two = key(desk, "hand-one"), key(desk, "hand-two", *BOTH, Condition=spared)
    Author(worker).apply("by-hand", "hand-one")
    says(desk, "by-hand", "Available", one)
    before = desk.object(ALIAS, NAMESPACE, "by-hand")
    assert code_of(kms.update_alias, AliasName="alias/by-hand", TargetKeyId=two) == "AccessDeniedException"
    assert desk.object(ALIAS, NAMESPACE, "by-hand") == before


def test_rbac_is_asked_for_the_object_all_the_same(desk: Desk) -> None:
    key(desk, "denied-one")
    with pytest.raises(CommandError, match="createalias"):
        Author(desk.worker(NAMESPACE, "alias-writes-only", "get", "create", "patch")).apply("refused", "denied-one")
    assert desk.object(ALIAS, NAMESPACE, "refused") is None

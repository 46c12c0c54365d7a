"""The server's rights, from the API server's audit log: none was missing, none is unused without a reason, nothing was relied on besides.

Last by its name: it judges everything that the modules before it did in this session, and does the little that it needs itself.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart import rights
from tests.chart.rights import KMS, RELEASE
from tests.operator.harness import RECORDS, SYSTEM, Installation
from tests.serving.desk import Desk
from tests.serving.harness import SERVER_ACCOUNT

pytestmark = [pytest.mark.cluster, pytest.mark.powers("audit")]
NAMESPACE = "serve-a"
USER = f"system:serviceaccount:{SYSTEM}:{SERVER_ACCOUNT}"
Event = dict[str, Any]
UNUSED = {
    **{(KMS, kind, "list"): "RECORDS, Rights; nothing lists objects yet" for kind in rights.API_MADE_KINDS},
    (KMS, "kmskeys", "delete"): "no call of the API deletes a key's object; an admission policy refuses it",
    (KMS, "kmsgrants", "patch"): "a grant is immutable; one rule names the three kinds",
    ("", "configmaps", "patch"): "a refused PIN is marked, which the operator's tests provoke",
    **{
        ("", "configmaps", verb): "the last use of keys is written once a minute: not in the life of a short session"
        for verb in ("list", "create", "update")
    },
}
"""Rights that these tests need not use, by group, resource and verb, each with its reason."""


@pytest.fixture(scope="module")
def audit(desk: Desk, installation: Installation) -> list[Event]:
    """Every request of the server's account so far, after a flow that takes each way once."""
    app = desk.worker(NAMESPACE, "rights", "*")
    kms = app.kms()
    assert app.raw().call("ListKeys").status == 200
    one, two = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.disable_key(KeyId=one)
    kms.create_alias(AliasName="alias/rights", TargetKeyId=one)
    kms.update_alias(AliasName="alias/rights", TargetKeyId=two)
    kms.delete_alias(AliasName="alias/rights")
    grant = kms.create_grant(KeyId=two, GranteePrincipal=f"{app.role}-x", Operations=["Decrypt"])["GrantId"]
    kms.revoke_grant(KeyId=two, GrantId=grant)
    return [event for event in installation.cluster.audit_events() if event["user"].get("username") == USER]


def allowed(event: Event) -> bool:
    return event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"


def what(event: Event) -> str:
    ref = event.get("objectRef") or {}
    return f"{event['verb']} {ref.get('namespace', '')}/{ref.get('resource', event.get('requestURI'))}/{ref.get('name', '')}"


def resource(event: Event) -> str:
    return str((event.get("objectRef") or {}).get("resource", ""))


def test_every_right_is_used_or_has_a_reason(audit: list[Event]) -> None:
    granted = rights.grants(rights.SERVER)
    used = {grant for event in audit if allowed(event) for grant in rights.used_by(granted, event)}
    unused = {(grant.group, grant.resource, grant.verb) for grant in granted - used}
    assert unused - UNUSED.keys() == set()
    assert UNUSED.keys() <= {(grant.group, grant.resource, grant.verb) for grant in granted}


def test_nothing_was_ever_refused(audit: list[Event]) -> None:
    assert [what(event) for event in audit if not allowed(event)] == []


def test_every_request_for_a_resource_is_covered_by_a_right(audit: list[Event]) -> None:
    """What some other role happens to allow is not relied on. (Discovery and /version name no resource.)"""
    granted = rights.grants(rights.SERVER)
    asked = [event for event in audit if allowed(event) and "objectRef" in event]
    assert {what(event) for event in asked if not rights.used_by(granted, event)} == set()


def test_secrets_are_read_in_two_places_and_one_alone_is_written(audit: list[Event]) -> None:
    secrets = [event for event in audit if resource(event) == "secrets"]
    read = {(event["verb"], event["objectRef"].get("namespace")) for event in secrets if event["verb"] in ("get", "list", "watch")}
    assert read == {("get", RELEASE), ("get", RECORDS), ("list", RECORDS), ("watch", RECORDS)}
    assert {what(event) for event in secrets if event["verb"] not in ("get", "list", "watch")} == {f"update {RECORDS}/secrets/heartbeat"}


def test_no_status_is_written(audit: list[Event]) -> None:
    assert [what(event) for event in audit if (event.get("objectRef") or {}).get("subresource")] == []


def test_nobody_is_impersonated(audit: list[Event]) -> None:
    assert [what(event) for event in audit if "impersonatedUser" in event] == []

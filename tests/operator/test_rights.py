"""The operator's rights, from the API server's audit log: each one was used, none was missing, and no Secret abroad was listed.

Last by its name: it judges everything that the modules before it did in this session, and does the little that it needs itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chart import rights
from tests.chart.rights import ANY, Grant, Where
from tests.operator.desk import DATA_KEY, KEY, Desk, desk
from tests.operator.harness import RECORDS, SERVICE_ACCOUNT, SYSTEM, Installation, wait_for

from keystead.resources import names

pytestmark = [pytest.mark.cluster, pytest.mark.powers("audit")]
USER = f"system:serviceaccount:{SYSTEM}:{SERVICE_ACCOUNT}"
Event = dict[str, Any]
# Objects that the API made go when their key is destroyed, which two looks ten minutes apart must agree on: too long for here.
AFTER_DESTRUCTION = {Grant(rights.KMS, kind, "delete", ANY, ANY) for kind in rights.API_MADE_KINDS}


@pytest.fixture(scope="module")
def audit(installation: Installation) -> list[Event]:
    """Every request of the operator's account so far, after a flow that takes each way once."""
    with desk(installation, "data-keys") as at:
        at.key("rights")
        at.ready(KEY, "rights")
        at.secret("rights-foreign", password=b"p")
        at.data_key("rights", "rights")
        at.data_key("rights-foreign", "rights")
        for name in ("rights", "rights-foreign"):
            at.ready(DATA_KEY, name)
        _alias_and_grant(at)
    if not _used(_events(installation), "configmaps", "patch"):
        _refuse_a_pin(installation)
    return _events(installation)


def _alias_and_grant(at: Desk) -> None:
    """Their records end with their objects; and they hold a key's object with the finalizer while they are there."""
    at.key("rights-held", deletionPolicy="ScheduleDeletion")
    at.ready(KEY, "rights-held")
    specs = {
        "KmsAlias": {"aliasName": "alias/rights"},
        "KmsGrant": {"granteePrincipal": "arn:aws:iam::111122223333:role/rights", "operations": ["Decrypt"]},
    }
    for kind, spec in specs.items():
        metadata = {"namespace": at.namespace, "name": "rights"}
        body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata}
        at.apply(body | {"spec": {"keyRef": {"name": "rights-held"}, **spec}})
        at.ready(kind, "rights")
    at.until("the finalizer", lambda: names.IN_USE in at.get(KEY, "rights-held")["metadata"].get("finalizers", []))
    for kind in specs:
        at.delete(kind, "rights")
    at.until("no finalizer", lambda: not at.get(KEY, "rights-held")["metadata"].get("finalizers"))


def _events(installation: Installation) -> list[Event]:
    return [event for event in installation.cluster.audit_events() if event["user"].get("username") == USER]


def _used(events: list[Event], resource: str, verb: str) -> bool:
    return any(event["verb"] == verb and (event.get("objectRef") or {}).get("resource") == resource for event in events)


def _refuse_a_pin(installation: Installation) -> None:
    """What test_pin.py tests; alone this module must do it itself."""
    wrong = Path(installation.folder) / "wrong-pin"
    wrong.write_text("0" * 32)
    with installation.operator("wrong-pin", hsm_pin_file=str(wrong)):
        wait_for("the refusal", lambda: _used(_events(installation), "configmaps", "patch"))
    installation.cluster.kubectl("annotate", "--overwrite", "secret", "keystead-pin", "-n", SYSTEM, "example.com/looked-at=rights")


def _ours(installation: Installation) -> set[Grant]:
    """One Grant a right: the namespaces of data keys are one."""
    return rights.grants(rights.OPERATOR, data_keys=installation.namespaces)


def _allowed(event: Event) -> bool:
    return event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"


def _what(event: Event) -> str:
    ref = event.get("objectRef") or {}
    return f"{event['verb']} {ref.get('namespace', '')}/{ref.get('resource', event.get('requestURI'))}/{ref.get('name', '')}"


def test_every_right_is_used(installation: Installation, audit: list[Event]) -> None:
    granted = _ours(installation)
    used = {grant for event in audit if _allowed(event) for grant in rights.used_by(granted, event)}
    per_namespace = {(right.group, right.resource, right.verb) for right in rights.OPERATOR if right.where is Where.DATAKEYS}
    seen = {(grant.group, grant.resource, grant.verb) for grant in used if grant.namespace in installation.namespaces}
    unused = {
        grant
        for grant in granted - used
        if not (grant.namespace in installation.namespaces and (grant.group, grant.resource, grant.verb) in per_namespace & seen)
    }
    assert unused - AFTER_DESTRUCTION == set()


def test_nothing_was_ever_refused(audit: list[Event]) -> None:
    """But for Secrets in a namespace that the installer bound no rights in (test_data_keys.py provokes that)."""
    refused = [event for event in audit if not _allowed(event)]
    expected = [event for event in refused if _what(event).startswith("get no-rights/secrets/")]
    assert [_what(event) for event in refused if event not in expected] == []


def test_every_request_for_a_resource_is_covered_by_a_right(installation: Installation, audit: list[Event]) -> None:
    """What some other role happens to allow is not relied on. (Discovery and /version name no resource.)"""
    granted = _ours(installation)
    asked = [event for event in audit if _allowed(event) and "objectRef" in event]
    assert {_what(event) for event in asked if not rights.used_by(granted, event)} == set()


def test_secrets_are_listed_and_watched_in_the_records_alone(audit: list[Event]) -> None:
    looked = [event for event in audit if event["verb"] in ("list", "watch") and _resource(event) == "secrets"]
    assert looked
    assert {event["objectRef"].get("namespace") for event in looked} == {RECORDS}


def test_no_secret_is_updated_or_deleted_outside_the_records(audit: list[Event]) -> None:
    """Which records may go, the admission policies say."""
    changed = [event for event in audit if _resource(event) == "secrets" and event["verb"] in ("update", "delete", "deletecollection")]
    assert {(event["verb"], event["objectRef"].get("namespace")) for event in changed} <= {("update", RECORDS), ("delete", RECORDS)}


def test_no_custom_resource_but_its_status_and_a_keys_finalizer_is_written(audit: list[Event]) -> None:
    """No spec but that of a key of its own: GitOps sees no drift. (Policy keystead-operator-objects lets it change no more of a key.)"""
    group = [event for event in audit if (event.get("objectRef") or {}).get("apiGroup") == rights.KMS]
    writes = [event for event in group if event["verb"] not in ("get", "list", "watch", "delete")]
    beside = [event for event in writes if event["objectRef"].get("subresource") != "status"]
    assert beside
    assert {(event["verb"], _resource(event)) for event in beside} == {("patch", "kmskeys"), ("create", "kmskeys")}


def _resource(event: Event) -> str:
    return str((event.get("objectRef") or {}).get("resource", ""))


def test_the_table_names_no_wildcard() -> None:
    assert all(ANY not in (right.verb, right.resource, right.group) for right in rights.OPERATOR)

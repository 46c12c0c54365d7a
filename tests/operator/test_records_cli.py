"""`keystead records hold`, `rotate` and `schedule-deletion` on a cluster: whose rights they need, what they write, and how they refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.operator.desk import KEY, Desk, desk
from tests.operator.harness import Installation, key

from keystead.resources import names
from keystead.resources.vocabulary import KeyState

pytestmark = pytest.mark.cluster
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    with desk(installation, "records-cli") as made:
        yield made


def records(at: Desk, *arguments: str) -> dict[str, Any]:
    """A command that does what it is asked; its facts."""
    found: dict[str, Any] = json.loads(at.installation.keystead("records", *arguments, "-o", "json").stdout)
    return found


def refused(at: Desk, code: int, *arguments: str) -> str:
    """A command that refuses with this exit code; what it says."""
    done = at.installation.keystead("records", *arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: ")
    return done.stderr


def orphaned(at: Desk, name: str, **spec: Any) -> Any:
    """A key whose object is gone; its record."""
    at.key(name, **spec)
    at.until("a key", lambda: at.key_record(name))
    at.delete(KEY, name)
    return at.until("an orphan", lambda: (record := at.key_record(name)) and not record.bound and record)


@pytest.fixture(scope="module")
def responder(at: Desk) -> Path:
    """A kubeconfig that may hold one key, and read nothing but it: no record, no token, no PIN."""
    cluster, space = at.installation.cluster, at.namespace
    metadata = {"namespace": space, "name": "responder"}
    rules = [{"apiGroups": [names.GROUP], "resources": ["kmskeys"], "resourceNames": ["watched"], "verbs": ["get", "patch", "hold"]}]
    ref = {"apiGroup": RBAC, "kind": "Role", "name": "responder"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": ref,
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
    )
    return cluster.service_account_kubeconfig(space, "responder")


def test_a_responder_needs_one_verb_and_neither_token_nor_records(at: Desk, responder: Path) -> None:
    at.key("watched")
    at.ready(KEY, "watched")
    elsewhere = replace(at.installation, token=Path("/nonexistent"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return elsewhere.keystead("records", *arguments, kubeconfig=responder, check=False)

    held = run("hold", at.namespace, "watched", "--reason", "incident 7", "--wait")
    assert held.returncode == 0, held.stderr
    assert at.key_record("watched").hold.by == "incident 7"
    rotated = run("rotate", at.namespace, "watched")
    assert rotated.returncode == 14
    assert "needs the verb rotatekeyondemand" in rotated.stderr
    released = run("hold", at.namespace, "watched", "--release", "--wait")
    assert released.returncode == 0, released.stderr
    at.ready(KEY, "watched")


def test_a_hold_on_an_orphan_changes_nothing_else(at: Desk) -> None:
    before = orphaned(at, "closed", enabled=False, description="d", pendingWindowInDays=9, deletionPolicy="ScheduleDeletion")
    facts = records(at, "hold", "--key-id", before.key_id, "--reason", "why", "--wait")
    assert facts["object"] == "written from its record"
    after = at.key_record("closed")
    assert after.hold.by == "why"
    for member in ("key_id", "state", "deletion_date", "enabled", "description", "pending_window_in_days", "deletion_policy"):
        assert getattr(after, member) == getattr(before, member), member
    assert "deletionProtection" in facts["note"]
    # No field of which its author would need a right of his own, but for those whose absence says something.
    asks = {"description", "tags", "policy", "enabled", "rotation"}
    spec = at.get(KEY, "closed")["spec"]
    assert not asks & spec.keys()
    # The fields stay, and are nobody's: the manifest of whoever has the key is applied without a conflict, whatever it says.
    at.apply(key(at.namespace, "closed", deletionPolicy="Retain"), manager="flux", force="false")
    assert at.get(KEY, "closed")["spec"] == {**spec, "deletionPolicy": "Retain"}


def test_a_rotation_is_answered_or_its_refusal_is_told(at: Desk) -> None:
    at.key("turns")
    at.ready(KEY, "turns")
    assert records(at, "rotate", at.namespace, "turns", "--wait")["versions"] == 2
    assert at.key_record("turns").n_versions == 2
    at.merge(KEY, "turns", spec={"enabled": False})
    at.reason(KEY, "turns", "Disabled")
    said = refused(at, 15, "rotate", at.namespace, "turns", "--wait")
    assert said.startswith(f"error: KmsKey {at.namespace}/turns (Disabled) was not rotated: ")
    assert "waits until the key is enabled" in said
    assert said.strip().endswith(f"kubectl annotate kmskey turns -n {at.namespace} {names.ROTATE_REQUESTED_AT}-")
    at.merge(KEY, "turns", spec={"enabled": True})
    at.until("the request's answer", lambda: at.key_record("turns").n_versions == 3)  # it stayed on the object
    at.key("signs", keySpec="ECC_NIST_P256", keyUsage="SIGN_VERIFY")
    at.ready(KEY, "signs")
    assert "only SYMMETRIC_DEFAULT keys rotate" in refused(at, 15, "rotate", at.namespace, "signs", "--wait")
    assert "there is no key record" in refused(at, 12, "rotate", at.namespace, "nobody")


def test_a_deletion_is_scheduled_and_cancelled_by_a_field_of_its_own(at: Desk) -> None:
    at.key("ends")
    at.ready(KEY, "ends")
    assert records(at, "schedule-deletion", at.namespace, "ends", "--days", "7", "--wait")["keyState"] == "PendingDeletion"
    owners = [entry["manager"] for entry in at.get(KEY, "ends")["metadata"]["managedFields"] if "scheduledDeletion" in json.dumps(entry)]
    assert owners == ["keystead-cli.scheduledDeletion"]
    end = at.key_record("ends").deletion_date
    records(at, "schedule-deletion", at.namespace, "ends", "--days", "30", "--wait")
    assert at.key_record("ends").deletion_date == end
    assert records(at, "schedule-deletion", at.namespace, "ends", "--cancel", "--wait")["keyState"] == "Disabled"
    assert "no deletion is scheduled" in refused(at, 15, "schedule-deletion", at.namespace, "ends", "--cancel")


def test_a_field_that_a_manifest_owns_is_left_to_it(at: Desk) -> None:
    at.key("managed", scheduledDeletion={"pendingWindowInDays": 8})
    at.reason(KEY, "managed", "PendingDeletion")
    for arguments in (("--days", "7"), ("--cancel",)):
        said = refused(at, 13, "schedule-deletion", at.namespace, "managed", *arguments)
        assert "field manager kubectl" in said
        assert f"kubectl patch kmskey managed -n {at.namespace}" in said
    assert at.get(KEY, "managed")["spec"]["scheduledDeletion"] == {"pendingWindowInDays": 8}


def test_an_orphan_is_scheduled_and_taken_back(at: Desk) -> None:
    before = orphaned(at, "leaves")
    assert "there is no KmsKey" in refused(at, 12, "rotate", at.namespace, "leaves")
    assert records(at, "schedule-deletion", at.namespace, "leaves", "--days", "7", "--wait")["keyState"] == "PendingDeletion"
    at.delete(KEY, "leaves")
    pending = at.until("an orphan", lambda: (record := at.key_record("leaves")) and not record.bound and record)
    assert pending.state is KeyState.PENDING_DELETION
    assert records(at, "schedule-deletion", at.namespace, "leaves", "--cancel", "--wait")["keyState"] == "Disabled"
    assert at.key_record("leaves").key_id == before.key_id

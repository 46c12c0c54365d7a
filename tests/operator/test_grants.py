"""KmsGrant on a real API server: who may do what with it, its end, its record, made again, and in a namespace that went."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import CommandError
from tests.operator.caller import Caller, RefusedError, caller
from tests.operator.desk import ALIAS, GRANT, KEY, Desk, desk
from tests.operator.direct import CallError, decoded
from tests.operator.harness import Installation, condition

from keystead.engine.clock import format_time
from keystead.engine.identifiers import role_arn, root_arn
from keystead.engine.record import AliasRecord, GrantRecord

pytestmark = pytest.mark.cluster
GOING = "grants-going"
AWAY = "AccessDenied"


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for all tests of this module, namespace `grants`, and the key `main`."""
    with desk(installation, "grants") as made:
        made.key("main")
        made.ready(KEY, "main")
        yield made


@pytest.fixture(scope="module")
def kms(installation: Installation) -> Iterator[Caller]:
    with caller(installation) as made:
        yield made


def account(at: Desk, key: str = "main") -> str:
    return str(at.get(KEY, key)["status"]["keyArn"].split(":")[4])


def role(at: Desk, name: str) -> str:
    """The principal of a ServiceAccount. RBAC gives none of them anything here."""
    return role_arn(account(at), name)


def sealed(at: Desk, kms: Caller, plaintext: bytes = b"secret", **more: Any) -> bytes:
    """A blob under the key `main`, made by the namespace's root."""
    return kms.encrypt(root_arn(account(at)), at.get(KEY, "main")["status"]["keyId"], plaintext, **more)


def grant(at: Desk, name: str, **spec: Any) -> str:
    """A grant on `main` that is made; its id. To the ServiceAccount of its own name, of Decrypt, unless said otherwise."""
    whole = {"keyRef": {"name": "main"}, "operations": ["Decrypt"], **spec}
    if "granteePrincipal" not in spec:
        whole.setdefault("serviceAccountRef", {"name": name})
    at.named(GRANT, name, **whole)
    return str(at.ready(GRANT, name)["status"]["grantId"])


def manifest(at: Desk, name: str, path: Path, **spec: Any) -> str:
    """A file for kubectl."""
    whole = {"keyRef": {"name": "main"}, "operations": ["Decrypt"], "serviceAccountRef": {"name": name}, **spec}
    metadata = {"namespace": at.namespace, "name": name}
    file = path / f"{name}.json"
    file.write_text(json.dumps({"apiVersion": "kms.keystead.io/v1alpha1", "kind": GRANT, "metadata": metadata, "spec": whole}))
    return str(file)


def in_seconds(seconds: float) -> str:
    """A moment of the API server's clock, which is this machine's."""
    return format_time(datetime.now(UTC) + timedelta(seconds=seconds))


# Who may do what


def test_a_grant_lets_its_principal_do_its_operations_and_nobody_else_anything(at: Desk, kms: Caller) -> None:
    blob, app = sealed(at, kms), role(at, "app")
    with pytest.raises(RefusedError, match=AWAY):
        kms.decrypt(app, blob)
    grant_id = grant(at, "app", operations=["Decrypt", "DescribeKey"])
    assert kms.decrypt(app, blob) == b"secret"
    assert kms.decrypt(app, blob, grant=grant_id) == b"secret"
    other = grant(at, "another", operations=["Decrypt"])
    key = at.get(KEY, "main")["status"]["keyId"]
    for refused in (
        lambda: kms.decrypt(role(at, "stranger"), blob, grant=grant_id),
        lambda: kms.decrypt(app, blob, grant=other),
        lambda: kms.decrypt(app, blob, grant="ab" * 32),
        lambda: kms.encrypt(app, key, b"x", grant=grant_id),
        lambda: kms.encrypt(app, key, b"x"),
    ):
        with pytest.raises(RefusedError, match=AWAY):
            refused()


def test_the_command_line_uses_a_grant(at: Desk, kms: Caller) -> None:
    blob, app = sealed(at, kms), role(at, "typed")
    grant_id = grant(at, "typed")
    arguments = ("crypt", "decrypt", "--as", app, "--ciphertext-blob", f"base64:{base64.b64encode(blob).decode()}", "-o", "json")
    told = at.installation.keystead(*arguments, "--grant", grant_id)
    assert base64.b64decode(json.loads(told.stdout)["Plaintext"]) == b"secret"
    refused = at.installation.keystead(*arguments, "--grant", "ab" * 32, check=False)
    assert refused.returncode != 0
    assert AWAY in refused.stderr


def test_a_constraint_asks_for_the_encryption_context(at: Desk, kms: Caller) -> None:
    context = {"app": "orders", "row": "7"}
    blob, other = sealed(at, kms, encryption_context=context), sealed(at, kms, encryption_context={"row": "7"})
    grant(at, "subset", constraints={"encryptionContextSubset": {"app": "orders"}})
    grant(at, "equals", constraints={"encryptionContextEquals": {"app": "orders"}})
    assert kms.decrypt(role(at, "subset"), blob, encryption_context=context) == b"secret"
    for name, sealed_blob, given in (("subset", other, {"row": "7"}), ("equals", blob, context)):
        with pytest.raises(RefusedError, match=AWAY):
            kms.decrypt(role(at, name), sealed_blob, encryption_context=given)


def test_a_session_is_granted_as_its_role(at: Desk, kms: Caller) -> None:
    session = f"arn:aws:sts::{account(at)}:assumed-role/worker/run-1"
    grant(at, "session", granteePrincipal=session)
    status = at.get(GRANT, "session")["status"]
    assert status["granteePrincipal"] == role(at, "worker")
    another = f"arn:aws:sts::{account(at)}:assumed-role/worker/run-2"
    assert kms.decrypt(another, sealed(at, kms)) == b"secret"


def test_a_grant_is_shown_and_its_token_is_not(at: Desk) -> None:
    grant(at, "shown", expiresAt=in_seconds(3600))
    row = at.installation.cluster.kubectl("get", "kg", "shown", "-n", at.namespace, "--no-headers").split()
    assert row[:4] == ["shown", "True", "main", role(at, "shown")]
    assert "oken" not in json.dumps(at.get(GRANT, "shown")["status"])
    assert at.direct.events(at.namespace, at.get(GRANT, "shown")["metadata"]["uid"]) == ["Created"]


# What is refused


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"operations": []}, "operations"),
        ({"operations": ["Everything"]}, "operations"),
        ({"granteePrincipal": "arn:aws:iam::111122223333:role/app"}, "granteePrincipal"),
        ({"ttl": "59s"}, "ttl"),
        ({"ttl": "1h", "expiresAt": "2038-01-01T00:00:00Z"}, "ttl"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_by_the_api_server(at: Desk, change: dict[str, Any], field: str) -> None:
    spec = {"keyRef": {"name": "main"}, "operations": ["Decrypt"], "serviceAccountRef": {"name": "x"}, **change}
    with pytest.raises(CallError, match=field):
        at.named(GRANT, "refused", **spec)


def test_a_grant_never_changes(at: Desk) -> None:
    grant(at, "fixed")
    for patch in ({"operations": ["Decrypt", "Encrypt"]}, {"ttl": "1h"}, {"keyRef": {"name": "other"}}):
        with pytest.raises(CommandError, match="immutable"):
            at.installation.cluster.kubectl(
                "patch", "kmsgrant", "fixed", "-n", at.namespace, "--type=merge", "-p", json.dumps({"spec": patch})
            )


def test_a_stopped_key_grants_nothing_new_until_it_is_started(at: Desk) -> None:
    at.key("stopped", enabled=False)
    at.reason(KEY, "stopped", "Disabled")
    at.named(GRANT, "patient", keyRef={"name": "stopped"}, operations=["Decrypt"], serviceAccountRef={"name": "x"})
    at.reason(GRANT, "patient", "DependencyNotReady")
    assert at.grant_record("patient") is None
    at.merge(KEY, "stopped", spec={"enabled": True})
    at.ready(GRANT, "patient")  # woken by the key's record


# Its end


def test_an_expired_grant_allows_nothing_and_says_so_at_its_moment(at: Desk, kms: Caller) -> None:
    blob, app = sealed(at, kms), role(at, "brief")
    end = in_seconds(5)
    grant_id = grant(at, "brief", expiresAt=end)
    assert kms.decrypt(app, blob, grant=grant_id) == b"secret"
    body = at.reason(GRANT, "brief", "GrantExpired")  # told by time alone
    assert (condition(body, "Stalled") or {})["status"] == "True"
    assert (body["status"]["grantId"], body["status"]["expirationTime"]) == (grant_id, end)
    for given in (None, grant_id):
        with pytest.raises(RefusedError, match=AWAY):
            kms.decrypt(app, blob, grant=given)
    record = at.grant_record("brief")
    assert record is not None
    assert record.grant_id == grant_id
    at.look(GRANT, "brief")
    assert at.direct.events(at.namespace, body["metadata"]["uid"]) == ["Created", "Expired"]
    at.delete(GRANT, "brief")
    at.until("its record goes with it", lambda: at.grant_record("brief") is None)


def test_a_ttl_ends_by_the_servers_time_and_counts_anew_in_a_new_grant(at: Desk, kms: Caller, tmp_path: Path) -> None:
    cluster, file = at.installation.cluster, manifest(at, "renewed", tmp_path, ttl="1m")
    cluster.kubectl("apply", "-f", file)
    first = at.ready(GRANT, "renewed")["status"]
    at.proxy.shift_date(90)
    at.look(GRANT, "renewed")
    at.reason(GRANT, "renewed", "GrantExpired")
    cluster.kubectl("replace", "--force", "-f", file)
    second = at.ready(GRANT, "renewed")["status"]
    at.proxy.shift_date(0)
    assert second["grantId"] != first["grantId"]
    born, end = (datetime.fromisoformat(second[name]) for name in ("creationTime", "expirationTime"))
    assert end - born == timedelta(minutes=1)
    assert end > datetime.fromisoformat(first["expirationTime"])
    blob = sealed(at, kms)
    assert kms.decrypt(role(at, "renewed"), blob, grant=second["grantId"]) == b"secret"
    with pytest.raises(RefusedError, match=AWAY):
        kms.decrypt(role(at, "renewed"), blob, grant=first["grantId"])


def test_a_grant_that_was_over_before_it_was_made_has_no_record(at: Desk) -> None:
    at.named(GRANT, "late", keyRef={"name": "main"}, operations=["Decrypt"], serviceAccountRef={"name": "late"}, expiresAt=in_seconds(-60))
    body = at.reason(GRANT, "late", "GrantExpired")
    assert "grantId" not in body["status"]
    assert at.grant_record("late") is None


def test_a_deleted_grant_allows_nothing_and_its_record_goes_with_it(at: Desk, kms: Caller) -> None:
    blob = sealed(at, kms)
    grant(at, "revoked")
    assert kms.decrypt(role(at, "revoked"), blob) == b"secret"
    at.installation.cluster.kubectl("delete", "kmsgrant", "revoked", "-n", at.namespace)
    at.until("the record is gone", lambda: at.grant_record("revoked") is None)
    with pytest.raises(RefusedError, match=AWAY):
        kms.decrypt(role(at, "revoked"), blob)


def test_a_grant_that_was_replaced_is_another_one_at_once(at: Desk, tmp_path: Path) -> None:
    first = grant(at, "replaced")
    at.installation.cluster.kubectl("replace", "--force", "-f", manifest(at, "replaced", tmp_path, operations=["Encrypt"]))
    second = at.ready(GRANT, "replaced")["status"]["grantId"]
    record = at.grant_record("replaced")
    assert record is not None
    assert (record.grant_id, record.seq, record.operations) == (second, 1, ["Encrypt"])
    assert second != first


# A namespace that went. Last of this module: it takes its time


def test_a_namespace_made_again_inherits_neither_alias_nor_grant(at: Desk, kms: Caller) -> None:
    going = Desk(at.installation, at.direct, at.proxy, at.operator, GOING)
    at.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GOING}})
    going.key("main")
    going.ready(KEY, "main")
    going.named(ALIAS, "name", aliasName="alias/name", keyRef={"name": "main"})
    going.ready(ALIAS, "name")
    grant(going, "app")
    status = going.get(KEY, "main")["status"]
    app = role_arn(account(going), "app")
    blob = kms.encrypt(root_arn(account(going)), "alias/name", b"tenant a")
    assert kms.decrypt(app, blob) == b"tenant a"

    at.installation.cluster.kubectl("delete", "namespace", GOING, "--timeout=60s")
    at.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GOING}})
    going.key("own")
    own = root_arn(going.ready(KEY, "own")["status"]["keyArn"].split(":")[4])
    going.named(ALIAS, "name", aliasName="alias/name", keyRef={"name": "main"})
    going.named(GRANT, "app", keyRef={"name": "main"}, operations=["Decrypt"], serviceAccountRef={"name": "app"})
    going.key("main")
    for kind, name in ((KEY, "main"), (ALIAS, "name"), (GRANT, "app")):
        body = going.reason(kind, name, "AdoptionRequired")
        assert all(secret not in json.dumps(body["status"]) for secret in (status["keyId"], account_in(status)))
    for principal in (own, role_arn(own.split(":")[4], "app")):
        with pytest.raises(RefusedError):
            kms.decrypt(principal, blob)
        with pytest.raises(RefusedError):
            kms.encrypt(principal, "alias/name", b"x")
    kept = [record for secret in at.direct.records() if isinstance(record := decoded(secret), AliasRecord | GrantRecord)]
    assert sorted(record.name for record in kept if record.namespace == GOING) == ["app", "name"]
    going.clean()


def account_in(status: dict[str, Any]) -> str:
    return str(status["keyArn"].split(":")[4])

"""Custom resources and API are one: what one of them does the other shows, and neither takes from the other what it owns."""

from __future__ import annotations

import hashlib
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.operator.desk import GRANT, HOLD
from tests.operator.direct import path_of
from tests.operator.harness import wait_for
from tests.serving.desk import ALIAS, KEY, Desk, Worker, code_of
from tests.serving.harness import REGION

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-grants"
CREATED_BY = {"kms.keystead.io/created-by": "api"}
INVALID = "KMSInvalidStateException"


@pytest.fixture(scope="module")
def app(desk: Desk) -> Worker:
    return desk.worker(NAMESPACE, "app", "*")


@pytest.fixture(scope="module")
def kms(app: Worker) -> Any:
    return app.kms()


@pytest.fixture
def key(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["KeyId"])


def spec(desk: Desk, key: str) -> dict[str, Any]:
    found: dict[str, Any] = desk.named(NAMESPACE, key)["spec"]
    return found


def by_name(items: Any) -> dict[str, str]:
    return {item["key"]: item["value"] for item in items}


def tags(kms: Any, key: str) -> dict[str, str]:
    return {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key)["Tags"]}


# -- what the API does, kubectl shows


def test_a_key_of_the_api_is_a_kms_key(desk: Desk, kms: Any) -> None:
    made = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC", Description="d", Tags=[{"TagKey": "t", "TagValue": "v"}])
    found = desk.named(NAMESPACE, made["KeyMetadata"]["KeyId"])
    assert re.fullmatch("key-[0-9a-f]{20}", found["metadata"]["name"])
    assert found["metadata"]["labels"] == CREATED_BY
    assert {entry["manager"] for entry in found["metadata"]["managedFields"]} == {"keystead-api", "keystead-operator"}
    assert found["spec"] == {
        "region": REGION,
        "keySpec": "HMAC_256",
        "keyUsage": "GENERATE_VERIFY_MAC",
        "description": "d",
        "tags": [{"key": "t", "value": "v"}],
        "deletionPolicy": found["spec"]["deletionPolicy"],
        **{name: found["spec"][name] for name in ("origin", "pendingWindowInDays", "multiRegion") if name in found["spec"]},
    }
    assert found["status"]["keyArn"] == made["KeyMetadata"]["Arn"]


def test_an_alias_of_the_api_is_a_kms_alias(desk: Desk, kms: Any, key: str) -> None:
    kms.create_alias(AliasName="alias/shown", TargetKeyId=key)
    name = f"alias-{hashlib.sha256(REGION.encode() + bytes(1) + b'alias/shown').hexdigest()[:20]}"
    found = desk.object(ALIAS, NAMESPACE, name)
    assert found["metadata"]["labels"] == CREATED_BY
    assert found["spec"] == {"aliasName": "alias/shown", "keyRef": {"name": desk.named(NAMESPACE, key)["metadata"]["name"]}}
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName="alias/shown", TargetKeyId=other)
    moved = desk.object(ALIAS, NAMESPACE, name)
    assert moved["metadata"]["uid"] == found["metadata"]["uid"]
    assert moved["spec"]["keyRef"] == {"name": desk.named(NAMESPACE, other)["metadata"]["name"]}
    assert kms.describe_key(KeyId="alias/shown")["KeyMetadata"]["KeyId"] == other
    kms.delete_alias(AliasName="alias/shown")
    assert desk.object(ALIAS, NAMESPACE, name) is None


def test_a_grant_of_the_api_is_a_kms_grant(desk: Desk, app: Worker, kms: Any, key: str) -> None:
    grantee = app.role.replace("/app", "/grantee")
    context = {"EncryptionContextSubset": {"a": "b"}}
    made = kms.create_grant(KeyId=key, GranteePrincipal=grantee, Operations=["Decrypt"], Constraints=context, RetiringPrincipal=app.role)
    path = path_of(GRANT, NAMESPACE)

    def shown() -> Any:
        items = desk.direct.get(path)["items"]
        return next((item for item in items if (item.get("status") or {}).get("grantId") == made["GrantId"]), None)

    found = wait_for("the grant's object", shown, 5, 0.02)
    assert re.fullmatch("grant-[0-9a-f]{20}", found["metadata"]["name"])
    assert found["metadata"]["labels"] == CREATED_BY
    assert made["GrantToken"] not in str(found)
    assert (found["spec"]["granteePrincipal"], found["spec"]["operations"]) == (grantee, ["Decrypt"])
    kms.retire_grant(KeyId=key, GrantId=made["GrantId"])
    assert desk.object(GRANT, NAMESPACE, found["metadata"]["name"]) is None
    assert kms.list_grants(KeyId=key)["Grants"] == []


def test_each_change_of_the_api_is_in_the_spec(desk: Desk, kms: Any, key: str) -> None:
    kms.update_key_description(KeyId=key, Description="new")
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "1"}, {"TagKey": "b", "TagValue": "2"}])
    kms.untag_resource(KeyId=key, TagKeys=["a", "never there"])
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=200)
    kms.disable_key(KeyId=key)
    found = spec(desk, key)
    assert (found["description"], found["enabled"], by_name(found["tags"])) == ("new", False, {"b": "2"})
    assert found["rotation"] == {"enabled": True, "periodInDays": 200}
    kms.enable_key(KeyId=key)
    kms.disable_key_rotation(KeyId=key)
    found = spec(desk, key)
    assert (found["enabled"], found["rotation"]["enabled"]) == (True, False)
    kms.rotate_key_on_demand(KeyId=key)
    assert "kms.keystead.io/rotate-requested-at" in desk.named(NAMESPACE, key)["metadata"]["annotations"]


def test_a_deletion_that_the_api_schedules_and_cancels_is_in_the_spec(desk: Desk, kms: Any, key: str) -> None:
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    found = desk.named(NAMESPACE, key)
    assert found["spec"]["scheduledDeletion"] == {"pendingWindowInDays": 7}
    shown = wait_for("the state is shown", lambda: _pending(desk.named(NAMESPACE, key)))
    assert shown["deletionTime"] == answer["DeletionDate"].strftime("%Y-%m-%dT%H:%M:%SZ")
    kms.cancel_key_deletion(KeyId=key)
    found = desk.named(NAMESPACE, key)
    assert ("scheduledDeletion" in found["spec"], found["spec"]["enabled"]) == (False, False)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


def _pending(found: Any) -> Any:
    return found["status"] if found["status"]["keyState"] == "PendingDeletion" else None


# -- what kubectl does, the API shows


def test_what_kubectl_changes_the_api_shows(desk: Desk, kms: Any) -> None:
    made = {"description": "one", "tags": [{"key": "a", "value": "1"}]}
    key = desk.apply(KEY, NAMESPACE, "by-hand", **made)["status"]["keyId"]
    desk.apply(ALIAS, NAMESPACE, "by-hand", aliasName="alias/by-hand", keyRef={"name": "by-hand"})
    described = lambda: kms.describe_key(KeyId="alias/by-hand")["KeyMetadata"]  # noqa: E731
    assert (described()["Description"], tags(kms, key)) == ("one", {"a": "1"})
    assert [alias["AliasName"] for alias in kms.list_aliases(KeyId=key)["Aliases"]] == ["alias/by-hand"]
    desk.apply(KEY, NAMESPACE, "by-hand", description="two", enabled=False, tags=[{"key": "b", "value": "2"}])
    wait_for("the record follows", lambda: described()["Description"] == "two", 5)
    assert (described()["KeyState"], tags(kms, key)) == ("Disabled", {"b": "2"})
    desk.delete(ALIAS, NAMESPACE, "by-hand")
    wait_for("the alias is gone", lambda: kms.list_aliases(KeyId=key)["Aliases"] == [], 5)


def test_a_grant_by_kubectl_is_one_of_the_api(desk: Desk, kms: Any) -> None:
    key = desk.apply(KEY, NAMESPACE, "granted")["status"]["keyId"]
    friend = desk.worker(NAMESPACE, "friend")
    client = friend.kms()
    assert code_of(client.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"
    grantee = {"serviceAccountRef": {"name": "friend"}, "operations": ["Encrypt"]}
    made = desk.apply(GRANT, NAMESPACE, "granted", keyRef={"name": "granted"}, **grantee)
    (shown,) = kms.list_grants(KeyId=key)["Grants"]
    assert (shown["GrantId"], shown["GranteePrincipal"]) == (made["status"]["grantId"], friend.role)
    assert client.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.revoke_grant(KeyId=key, GrantId=shown["GrantId"])
    assert desk.object(GRANT, NAMESPACE, "granted") is None
    assert code_of(client.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"


def test_a_hold_by_annotation_is_disabled_on_the_wire_and_named_by_enable_key(desk: Desk, kms: Any, key: str) -> None:
    name = desk.named(NAMESPACE, key)["metadata"]["name"]
    desk.direct.annotate(KEY, NAMESPACE, name, HOLD, "case 4711")
    wait_for("it is held", lambda: code_of(kms.encrypt, KeyId=key, Plaintext=b"x") == "DisabledException", 5)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    with pytest.raises(ClientError, match=f"{INVALID}.* is held since .*case 4711"):
        kms.enable_key(KeyId=key)
    desk.direct.annotate(KEY, NAMESPACE, name, HOLD, "released")
    wait_for("it is released", lambda: code_of(kms.encrypt, KeyId=key, Plaintext=b"x") == "", 5)


# -- who owns what


@pytest.fixture(scope="module")
def flux(desk: Desk) -> str:
    """A key whose every field belongs to Flux."""
    owned = {"description": "flux's", "enabled": True, "rotation": {"enabled": True}, "tags": [{"key": "team", "value": "flux"}]}
    return str(desk.apply(KEY, NAMESPACE, "flux-key", "flux", **owned)["status"]["keyId"])


OWNED = {
    "update_key_description": {"Description": "mine"},
    "disable_key": {},
    "disable_key_rotation": {},
    "enable_key_rotation": {"RotationPeriodInDays": 100},
    "tag_resource": {"Tags": [{"TagKey": "team", "TagValue": "mine"}]},
    "untag_resource": {"TagKeys": ["team"]},
}


@pytest.mark.parametrize("call", OWNED)
def test_what_flux_owns_is_not_changed_and_flux_is_named(desk: Desk, kms: Any, flux: str, call: str) -> None:
    before = desk.object(KEY, NAMESPACE, "flux-key")
    with pytest.raises(ClientError, match=rf"{INVALID}.*spec\.\S+ belongs to field manager flux"):
        getattr(kms, call)(KeyId=flux, **OWNED[call])
    after = desk.object(KEY, NAMESPACE, "flux-key")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])


def test_beside_what_flux_owns_everything_goes(desk: Desk, kms: Any, flux: str) -> None:
    kms.tag_resource(KeyId=flux, Tags=[{"TagKey": "mine", "TagValue": "1"}, {"TagKey": "team", "TagValue": "flux"}])
    kms.schedule_key_deletion(KeyId=flux)
    assert by_name(desk.object(KEY, NAMESPACE, "flux-key")["spec"]["tags"]) == {"team": "flux", "mine": "1"}
    # Cancelling would say enabled: false, which is Flux's.
    with pytest.raises(ClientError, match=r"spec\.enabled belongs to field manager flux"):
        kms.cancel_key_deletion(KeyId=flux)
    assert kms.describe_key(KeyId=flux)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_tags_of_parallel_calls_all_survive(app: Worker, kms: Any, key: str) -> None:
    clients = [app.kms(attempts=4) for _ in range(4)]

    def put(number: int) -> None:
        clients[number].tag_resource(KeyId=key, Tags=[{"TagKey": f"k{number}", "TagValue": "v"}])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(4)))
    assert tags(kms, key) == {f"k{number}": "v" for number in range(4)}


def test_tags_that_only_the_record_has_survive_a_tag(desk: Desk, kms: Any) -> None:
    key = desk.apply(KEY, NAMESPACE, "bare", tags=[{"key": "old", "value": "1"}])["status"]["keyId"]
    desk.delete(KEY, NAMESPACE, "bare")
    wait_for("it is an orphan", lambda: code_of(kms.encrypt, KeyId=key, Plaintext=b"x") == INVALID, 5)
    assert desk.apply(KEY, NAMESPACE, "bare")["status"]["keyId"] == key
    assert (tags(kms, key), "tags" in spec(desk, key)) == ({"old": "1"}, False)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "new", "TagValue": "2"}])
    assert tags(kms, key) == {"old": "1", "new": "2"}
    kms.untag_resource(KeyId=key, TagKeys=["old"])
    assert tags(kms, key) == {"new": "2"}


def test_a_create_with_a_name_that_somebody_took_is_refused(desk: Desk, kms: Any, key: str) -> None:
    kms.create_alias(AliasName="alias/once", TargetKeyId=key)
    with pytest.raises(ClientError, match="AlreadyExistsException"):
        kms.create_alias(AliasName="alias/once", TargetKeyId=key)
    name = f"alias/{uuid.uuid4().hex}"
    desk.apply(ALIAS, NAMESPACE, "foreign-claim", aliasName=name, keyRef={"name": desk.named(NAMESPACE, key)["metadata"]["name"]})
    with pytest.raises(ClientError, match="AlreadyExistsException"):
        kms.create_alias(AliasName=name, TargetKeyId=key)

"""The AWS managed key before real clients: an application with every right of RBAC reads what it is, and neither uses nor changes it."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.operator.desk import DATA_KEY
from tests.operator.direct import path_of
from tests.operator.harness import RECORDS, condition, wait_for
from tests.serving.desk import KEY, Desk

from keystead.engine.managed import AUDIT_KEY, MANAGED_ALIAS
from keystead.resources import names

pytestmark = pytest.mark.cluster
NAMESPACE, MANAGED = "managed", "aws-keystead"


@pytest.fixture(scope="module")
def blob(desk: Desk) -> bytes:
    """A data key that names no key, as its Secret has it."""
    metadata = {"namespace": NAMESPACE, "name": "served"}
    body = {"apiVersion": names.API_VERSION, "kind": DATA_KEY, "metadata": metadata, "spec": {"target": {"secretName": "served"}}}
    path = path_of(DATA_KEY, NAMESPACE, "served")
    desk.direct.call("PATCH", f"{path}?fieldManager=tests&force=true", body, "application/apply-patch+yaml")

    def ready() -> bool:
        found = condition(desk.direct.object(DATA_KEY, NAMESPACE, "served"))
        return found is not None and found["reason"] == "Available"

    wait_for("the data key", ready)
    return base64.b64decode(desk.direct.object("Secret", NAMESPACE, "served")["data"]["ciphertext"])


@pytest.fixture(scope="module")
def kms(desk: Desk, blob: bytes) -> Any:
    """A boto3 client of a ServiceAccount that may do everything."""
    return desk.client("kms", **desk.worker(NAMESPACE, "managed-app", "*").session())


def arn_of(desk: Desk) -> str:
    return str(desk.direct.object(KEY, NAMESPACE, MANAGED)["status"]["keyArn"])


def test_it_is_listed_described_and_its_policy_is_shown(desk: Desk, kms: Any) -> None:
    arn = arn_of(desk)
    assert arn in {each["KeyArn"] for each in kms.list_keys()["Keys"]}
    shown = kms.describe_key(KeyId=MANAGED_ALIAS)["KeyMetadata"]
    assert (shown["Arn"], shown["KeyManager"], shown["Enabled"]) == (arn, "AWS", True)
    aliases = kms.list_aliases()["Aliases"]
    assert [each["TargetKeyId"] for each in aliases if each["AliasName"] == MANAGED_ALIAS] == [arn.rpartition("/")[2]]
    policy = json.loads(kms.get_key_policy(KeyId=arn)["Policy"])
    assert policy == desk.direct.object(KEY, NAMESPACE, MANAGED)["spec"]["policy"]
    assert kms.get_key_rotation_status(KeyId=arn)["KeyRotationEnabled"] is True


def test_every_right_of_rbac_neither_uses_nor_changes_it(desk: Desk, kms: Any, blob: bytes) -> None:
    arn = arn_of(desk)
    calls = [
        lambda: kms.decrypt(CiphertextBlob=blob),
        lambda: kms.encrypt(KeyId=MANAGED_ALIAS, Plaintext=b"x"),
        lambda: kms.generate_data_key(KeyId=arn, KeySpec="AES_256"),
        lambda: kms.disable_key(KeyId=arn),
        lambda: kms.schedule_key_deletion(KeyId=arn),
        lambda: kms.put_key_policy(KeyId=arn, Policy="{}", BypassPolicyLockoutSafetyCheck=True),
        lambda: kms.create_grant(KeyId=arn, GranteePrincipal=f"arn:aws:iam::{arn.split(':')[4]}:role/managed-app", Operations=["Decrypt"]),
        lambda: kms.rotate_key_on_demand(KeyId=arn),
        lambda: kms.create_alias(AliasName="alias/mine", TargetKeyId=arn),
    ]
    for call in calls:
        with pytest.raises(ClientError, match=r"\(AccessDeniedException\)"):
            call()
    with pytest.raises(ClientError, match=r"\(NotAuthorizedException\)"):
        kms.delete_alias(AliasName=MANAGED_ALIAS)


def test_keysteads_own_key_is_not_there_for_a_tenant(desk: Desk, kms: Any) -> None:
    arn = wait_for("the audit key", lambda: desk.direct.object(KEY, RECORDS, AUDIT_KEY)["status"].get("keyArn"))
    told = set()
    for key_id in (arn, arn.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"):
        with pytest.raises(ClientError, match=r"\(AccessDeniedException\)") as caught:
            kms.describe_key(KeyId=key_id)
        told.add(caught.value.response["Error"]["Message"])
    assert len(told) == 1


def test_two_operators_and_two_data_keys_at_once_make_one_key(desk: Desk) -> None:
    namespace, made = "serve-people", ("first", "second")
    with desk.installation.operator("second-operator") as second:
        second.wait_ready()
        with ThreadPoolExecutor(len(made)) as pool:
            list(pool.map(lambda name: desk.apply(DATA_KEY, namespace, name, target={"secretName": name}), made))

        def arns() -> set[str] | None:
            found = [desk.object(DATA_KEY, namespace, name)["status"].get("keyArn") for name in made]
            return set(found) if all(found) else None

        one = wait_for("both have a key", arns)
    keys = [each for each in desk.direct.get(path_of(KEY, namespace))["items"] if each["metadata"]["name"].startswith("aws-")]
    assert [each["metadata"]["name"] for each in keys] == [MANAGED]
    assert {each["status"]["keyArn"] for each in keys} == one

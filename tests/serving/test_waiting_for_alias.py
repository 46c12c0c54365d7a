"""KmsDataKeys that wait for an alias, and CreateAlias and UpdateAlias of the API: they go on at once, not when they are looked at again.

The operator looks again after 240 s at the earliest, and no test waits that long (harness.DEADLINE).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.operator.desk import DATA_KEY
from tests.operator.harness import condition, wait_for
from tests.serving.desk import Desk
from tests.serving.harness import REGION

from keystead.engine.identifiers import root_arn
from keystead.operations.control.aliases import alias_object_name

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-grants"


@pytest.fixture(scope="module")
def kms(desk: Desk) -> Any:
    return desk.worker(NAMESPACE, "alias-admin", "*").kms(attempts=5)


def until(desk: Desk, name: str, reason: str) -> Any:
    """The data key, once its Ready condition says this."""

    def look() -> Any:
        body = desk.object(DATA_KEY, NAMESPACE, name)
        found = condition(body)
        return body if found is not None and found["reason"] == reason else None

    return wait_for(f"{DATA_KEY} {name} is {reason}", look)


def waits(desk: Desk, name: str, reason: str, **spec: Any) -> None:
    desk.apply(DATA_KEY, NAMESPACE, name, **spec, target={"secretName": name})
    until(desk, name, reason)


def test_it_is_made_when_the_api_makes_its_alias_and_when_that_moves_to_a_usable_key(desk: Desk, kms: Any) -> None:
    """aliasRef names the object that CreateAlias is going to make."""
    asleep, awake = (kms.create_key()["KeyMetadata"] for _ in range(2))
    made, moved = ({"aliasRef": {"name": alias_object_name(REGION, f"alias/{name}")}} for name in ("made", "moved"))
    waits(desk, "alias-made", "DependencyNotFound", **made)
    kms.create_alias(AliasName="alias/made", TargetKeyId=awake["KeyId"])
    assert until(desk, "alias-made", "Available")["status"]["keyArn"] == awake["Arn"]
    kms.disable_key(KeyId=asleep["KeyId"])
    kms.create_alias(AliasName="alias/moved", TargetKeyId=asleep["KeyId"])
    waits(desk, "alias-moved", "DependencyNotReady", **moved)
    kms.update_alias(AliasName="alias/moved", TargetKeyId=awake["KeyId"])
    assert until(desk, "alias-moved", "Available")["status"]["keyArn"] == awake["Arn"]


def test_it_is_made_when_the_api_gives_its_key_the_alias_that_the_keys_policy_asks_for(desk: Desk, kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    account = {"Effect": "Allow", "Principal": {"AWS": root_arn(arn.split(":")[4])}, "Resource": "*"}
    asked = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/asked-for"}}
    rest = {**account, "NotAction": "kms:GenerateDataKeyWithoutPlaintext"}
    policy = {"Version": "2012-10-17", "Statement": [rest, {**account, "Action": "kms:*", "Condition": asked}]}
    kms.put_key_policy(KeyId=arn, Policy=json.dumps(policy))
    key = desk.named(NAMESPACE, arn.rpartition("/")[2])["metadata"]["name"]
    waits(desk, "alias-asked", "AccessDenied", keyRef={"name": key})
    kms.create_alias(AliasName="alias/asked-for", TargetKeyId=arn)
    assert until(desk, "alias-asked", "Available")["status"]["keyArn"] == arn

"""policies.namespaceDefaultPolicy: strict, on a real API server and token: two operators one after the other, before it and under it."""

from __future__ import annotations

import json

import pytest
from tests.operator.desk import DATA_KEY, GRANT, KEY, desk
from tests.operator.harness import Installation

from keystead.engine.identifiers import data_key_arn
from keystead.engine.plan.key_settings import strict_policy

pytestmark = pytest.mark.cluster
SERVICE = "datakeys.kms.keystead.io"


def test_under_strict_new_keys_are_for_whom_is_named_and_old_ones_stay_as_they_are(installation: Installation) -> None:
    with desk(installation, "key-policies-strict") as before:
        before.key("born-before")
        arn = before.ready(KEY, "born-before")["status"]["keyArn"]
    account = arn.split(":")[4]
    with desk(installation, "key-policies-strict", namespace_default_policy="strict", refresh_period="3600") as at:
        for name in ("born-before", "born-strict"):
            at.key(name)
        assert "policy" not in at.ready(KEY, "born-before")["status"]
        assert at.ready(KEY, "born-strict")["status"]["policy"] == strict_policy(account)
        assert json.loads(at.key_record("born-strict").policy) == strict_policy(account)
        at.data_key("open", "born-before")
        at.ready(DATA_KEY, "open")
        at.data_key("named", "born-strict")
        at.reason(DATA_KEY, "named", "AccessDenied")
        source = data_key_arn(arn.split(":")[3], account, "named")
        grantee = {"granteeServicePrincipal": SERVICE, "constraints": {"sourceArn": source}}
        at.named(GRANT, "to-service", keyRef={"name": "born-strict"}, operations=["GenerateDataKeyWithoutPlaintext"], **grantee)
        at.ready(DATA_KEY, "named")

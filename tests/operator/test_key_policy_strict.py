"""policies.namespaceDefaultPolicy: strict, on a real API server and token: two operators one after the other, before it and under it; and
what boto3 is told by a server beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.operator.desk import DATA_KEY, GRANT, KEY, Desk, desk
from tests.operator.harness import Installation
from tests.serving.desk import Desk as Clients
from tests.serving.desk import code_of
from tests.serving.harness import make_authority, server

from keystead.engine.identifiers import data_key_arn
from keystead.engine.plan.key_settings import strict_policy

pytestmark = pytest.mark.cluster
NAMESPACE, DENIED = "key-policies-strict", "AccessDeniedException"
SERVICE = "datakeys.kms.keystead.io"


def test_under_strict_new_keys_are_for_whom_is_named_and_old_ones_stay_as_they_are(installation: Installation, tmp_path: Path) -> None:
    with desk(installation, NAMESPACE) as before:
        before.key("born-before")
        arn = before.ready(KEY, "born-before")["status"]["keyArn"]
    account = arn.split(":")[4]
    with desk(installation, NAMESPACE, namespace_default_policy="strict", refresh_period="3600") as at:
        for name in ("born-before", "born-strict"):
            at.key(name)
        assert "policy" not in at.ready(KEY, "born-before")["status"]
        assert at.ready(KEY, "born-strict")["status"]["policy"] == strict_policy(account)
        record = at.key_record("born-strict")
        assert record is not None
        assert json.loads(bytes(record.policy)) == strict_policy(account)
        at.data_key("open", "born-before")
        at.ready(DATA_KEY, "open")
        at.data_key("named", "born-strict")
        at.reason(DATA_KEY, "named", "AccessDenied")
        source = data_key_arn(arn.split(":")[3], account, "named")
        grantee = {"granteeServicePrincipal": SERVICE, "constraints": {"sourceArn": source}}
        at.named(GRANT, "to-service", keyRef={"name": "born-strict"}, operations=["GenerateDataKeyWithoutPlaintext"], **grantee)
        at.ready(DATA_KEY, "named")
        _rbac_administers_and_gives_no_use(installation, at, tmp_path)


def _rbac_administers_and_gives_no_use(installation: Installation, at: Desk, folder: Path) -> None:
    """A ServiceAccount with every verb of RBAC, by boto3."""
    authority = make_authority(folder / "tls")
    with server(installation, authority, "strict") as process:
        process.wait_ready()
        worker = Clients(installation, at.direct, authority, process).worker(NAMESPACE, "strict-app", "*")
        kms = worker.kms()
        old, new = (at.get(KEY, name)["status"]["keyArn"] for name in ("born-before", "born-strict"))
        assert code_of(kms.encrypt, KeyId=old, Plaintext=b"x") == ""
        made = kms.create_key()["KeyMetadata"]["Arn"]
        for key in (new, made):
            assert json.loads(kms.get_key_policy(KeyId=key)["Policy"]) == strict_policy(key.split(":")[4])
            assert _uses(kms, key) == {DENIED}
            assert code_of(kms.describe_key, KeyId=key) == code_of(kms.disable_key, KeyId=key) == code_of(kms.enable_key, KeyId=key) == ""
        kms.create_grant(KeyId=made, GranteePrincipal=worker.role, Operations=["Encrypt"])
        assert code_of(kms.encrypt, KeyId=made, Plaintext=b"x") == ""
        assert code_of(kms.generate_data_key, KeyId=made, KeySpec="AES_256") == DENIED


def _uses(kms: Any, key: str) -> set[str]:
    return {code_of(kms.encrypt, KeyId=key, Plaintext=b"x"), code_of(kms.generate_data_key, KeyId=key, KeySpec="AES_256")}

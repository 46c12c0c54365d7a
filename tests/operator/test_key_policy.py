"""Key policies on a real API server and token: what spec.policy may say, the operator's own use of keys, grants, the policy at birth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.operator.desk import ALIAS, DATA_KEY, GRANT, KEY, ROTATE, SECRET, Desk, desk
from tests.operator.harness import Installation

from keystead.engine.identifiers import root_arn
from keystead.resources.names import BYPASS_LOCKOUT_CHECK

pytestmark = pytest.mark.cluster
SERVICE = "datakeys.kms.keystead.io"
GENERATE = "kms:GenerateDataKeyWithoutPlaintext"
VIA = {"StringEquals": {"kms:ViaService": SERVICE}}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """One operator for the tests of this module, and namespace `key-policies`. No test waits for a refresh."""
    with desk(installation, "key-policies", refresh_period="3600") as made:
        yield made


@pytest.fixture(scope="module")
def account(at: Desk) -> str:
    at.key("first")
    return str(at.ready(KEY, "first")["status"]["keyArn"].split(":")[4])


def allow(account: str, *actions: str, **members: Any) -> Document:
    return {"Effect": "Allow", "Principal": {"AWS": root_arn(account)}, "Action": list(actions), "Resource": "*", **members}


def policy(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def denying(account: str, *actions: str) -> Document:
    no = {"Sid": "NoDataKeys", "Effect": "Deny", "Principal": "*", "Action": list(actions), "Resource": "*"}
    return policy(allow(account, "kms:*"), no)


def administered(account: str, *statements: Document) -> Document:
    return policy(allow(account, "kms:PutKeyPolicy", "kms:CreateGrant"), *statements)


def recorded(at: Desk, name: str) -> Document:
    record = at.key_record(name)
    assert record is not None
    assert isinstance(record.policy, bytes)
    found: Document = json.loads(record.policy)
    return found


def test_a_bad_policy_is_told_with_its_place_and_the_old_one_stays(at: Desk, account: str) -> None:
    good = administered(account, allow(account, GENERATE))
    at.key("judged", policy=good)
    at.ready(KEY, "judged")
    bad = {"StringEquals": {"aws:SourceVpce": "vpce-1"}}
    at.merge(KEY, "judged", spec={"policy": policy(allow(account, "kms:*"), allow(account, GENERATE, Condition=bad)), "description": "new"})
    status = at.reason(KEY, "judged", "InvalidSpec")["status"]
    message = at.message(KEY, "judged")
    assert "spec.policy.Statement[1].Condition.StringEquals" in message
    assert "aws:SourceVpce" in message
    assert (recorded(at, "judged"), status["policy"]) == (good, good)
    assert at.key_record("judged").description == "new"
    at.data_key("under-the-old-one", "judged")
    at.ready(DATA_KEY, "under-the-old-one")
    at.merge(KEY, "judged", spec={"policy": good})
    assert "policy" not in at.ready(KEY, "judged")["status"]


def test_a_policy_that_nobody_could_replace_needs_the_annotation(at: Desk, account: str) -> None:
    foreign = policy(allow("111122223333", "kms:*"))
    at.key("from-aws", policy=foreign)
    at.reason(KEY, "from-aws", "InvalidSpec")
    assert f"nobody in this namespace's account {account} could replace this policy" in at.message(KEY, "from-aws")
    assert at.key_record("from-aws") is None
    at.annotate(KEY, "from-aws", BYPASS_LOCKOUT_CHECK, "true")
    at.ready(KEY, "from-aws")
    assert recorded(at, "from-aws") == foreign


def test_a_data_key_is_made_and_denied_by_the_keys_own_policy(at: Desk, account: str) -> None:
    at.key("own", policy=administered(account))
    at.data_key("app", "own")
    at.reason(DATA_KEY, "app", "AccessDenied")
    assert all(word in at.message(DATA_KEY, "app") for word in (GENERATE, root_arn(account), SERVICE))
    assert (at.data_key_record("app"), at.get(SECRET, "app")) == (None, None)
    at.merge(KEY, "own", spec={"policy": administered(account, allow(account, GENERATE, Condition=VIA))})
    at.ready(DATA_KEY, "app")
    before, record = at.data("app"), at.data_key_record("app")
    at.merge(KEY, "own", spec={"policy": denying(account, GENERATE)})
    at.until("the policy is recorded", lambda: recorded(at, "own") == denying(account, GENERATE))
    at.rotate_later(DATA_KEY, "app")
    at.reason(DATA_KEY, "app", "AccessDenied")
    assert 'statement "NoDataKeys" of the key policy denies it' in at.message(DATA_KEY, "app")
    at.delete(SECRET, "app")
    at.look(DATA_KEY, "app")
    assert at.data("app") == before
    assert at.data_key_record("app").versions == record.versions
    at.merge(KEY, "own", spec={"policy": policy(allow(account, "kms:*"))})
    assert at.ready(DATA_KEY, "app")["status"]["version"] == 2


def test_a_rewrap_that_is_denied_is_told_and_the_old_blob_stays(at: Desk, account: str) -> None:
    at.key("rewrapped", policy=policy(allow(account, "kms:*")))
    at.data_key("old-blob", "rewrapped")
    at.ready(DATA_KEY, "old-blob")
    before, plain = at.data("old-blob")["ciphertext"], at.plaintexts()["old-blob"]
    at.merge(KEY, "rewrapped", spec={"policy": denying(account, "kms:ReEncrypt*")})
    at.until("the policy is recorded", lambda: recorded(at, "rewrapped") == denying(account, "kms:ReEncrypt*"))
    at.rotate(KEY, "rewrapped")
    at.reason(DATA_KEY, "old-blob", "AccessDenied")
    assert "kms:ReEncryptFrom" in at.message(DATA_KEY, "old-blob")
    assert at.data("old-blob")["ciphertext"] == before
    at.merge(KEY, "rewrapped", spec={"policy": policy(allow(account, "kms:*"))})
    at.ready(DATA_KEY, "old-blob")
    assert at.data("old-blob")["ciphertext"] != before
    assert at.plaintexts()["old-blob"] == plain


def test_a_grant_lets_a_waiting_data_key_go_on_at_once(at: Desk, account: str) -> None:
    at.key("granted", policy=administered(account))
    at.data_key("waiting", "granted")
    at.reason(DATA_KEY, "waiting", "AccessDenied")
    at.named(GRANT, "to-root", keyRef={"name": "granted"}, granteePrincipal=root_arn(account), operations=[GENERATE.removeprefix("kms:")])
    at.ready(GRANT, "to-root")
    at.ready(DATA_KEY, "waiting")


def test_an_alias_lets_what_its_keys_policy_kept_waiting_go_on_at_once(at: Desk, account: str) -> None:
    """The policy asks for kms:ResourceAliases: an alias that comes or moves changes what it says, without a change of the key."""
    named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/wanted"}}
    unnamed = {"Sid": "Unnamed", "Effect": "Deny", "Principal": "*", "Action": "kms:CreateGrant", "Resource": "*"}
    unnamed["Condition"] = {"ForAllValues:StringNotEquals": {"kms:ResourceAliases": "alias/wanted"}}
    for name in ("comes", "moves"):
        at.key(name, policy=administered(account, allow(account, GENERATE, Condition=named), unnamed))
        at.data_key(f"waits-{name}", name)
        at.named(GRANT, f"waits-{name}", keyRef={"name": name}, serviceAccountRef={"name": "app"}, operations=["Decrypt"])
        at.reason(DATA_KEY, f"waits-{name}", "AccessDenied")
        at.reason(GRANT, f"waits-{name}", "AccessDenied")
    for name in ("comes", "moves"):
        at.named(ALIAS, "wanted", aliasName="alias/wanted", keyRef={"name": name})
        at.ready(DATA_KEY, f"waits-{name}")
        at.ready(GRANT, f"waits-{name}")
    at.annotate(DATA_KEY, "waits-comes", ROTATE, "1")
    at.reason(DATA_KEY, "waits-comes", "AccessDenied")  # its key has lost the alias
    at.delete(ALIAS, "wanted")
    at.named(ALIAS, "again", aliasName="alias/wanted", keyRef={"name": "comes"})
    at.ready(DATA_KEY, "waits-comes")


def test_a_grant_that_a_statement_denies_is_not_made(at: Desk, account: str) -> None:
    at.key("ungranted", policy=denying(account, "kms:CreateGrant"))
    at.ready(KEY, "ungranted")
    at.named(GRANT, "denied", keyRef={"name": "ungranted"}, serviceAccountRef={"name": "app"}, operations=["Decrypt"])
    at.reason(GRANT, "denied", "AccessDenied")
    assert at.grant_record("denied") is None
    at.merge(KEY, "ungranted", spec={"policy": policy(allow(account, "kms:*"))})
    at.ready(GRANT, "denied")

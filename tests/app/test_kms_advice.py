"""What `kubectl kms why` advises, over a cluster in memory: nothing that would be refused, and nothing that is there already.

That the advice works on a real API server: tests/serving/test_kubectl_kms_why.py.
"""

from __future__ import annotations

import asyncio
import copy
import json
import shlex
from typing import Any

import pytest
from tests.app.kms_cluster import FakeKube, account, rule
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT

from keystead.app.kms.keys import find
from keystead.app.kms.why import why
from keystead.cli.kms_services import Question, Subject, Verdict, WhyAnswer
from keystead.engine.managed import managed_policy
from keystead.errors import NotFoundError
from keystead.reconciler.keypolicy import fault_of
from keystead.resources.kms_key import parse_key

ALLOWED, DENIED = Verdict.ALLOWED, Verdict.DENIED
ROOT = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Resource": "*", **statement} for statement in statements]}


def role(name: str) -> dict[str, str]:
    return {"AWS": f"arn:aws:iam::{ACCOUNT}:role/{name}"}


LOCKED = policy({"Effect": "Allow", "Principal": {"AWS": OTHER_ACCOUNT}, "Action": "kms:*"})
BYPASS = "kms.keystead.io/bypass-policy-lockout-safety-check"


@pytest.fixture
def kube() -> FakeKube:
    made = FakeKube()
    made.key()
    return made


def ask(kube: FakeKube, action: str = "decrypt", key: str = "app", who: str = "app", **how: Any) -> WhyAnswer:
    subject = Subject(name=who, groups=how.get("groups", ()))
    question = Question(action=action, key=key, facts=how.get("facts", {}))
    return asyncio.run(why(kube.view(), how.get("namespace", NAMESPACE), subject, question))


def test_a_serviceaccount_learns_that_it_can_write_the_object(kube: FakeKube) -> None:
    kube.key(policy=LOCKED)
    kube.bind("admins", rule("putkeypolicy", names=("app",)), account("app"))
    told = ask(kube, "put-key-policy")
    assert told.verdict is DENIED
    words = "by kubectl, writing the object, it may: admission asks RBAC for putkeypolicy kmskeys/app in team-a"
    assert words in told.notes
    assert told.reviews[0].rules[0].binding == "RoleBinding admins in team-a"
    kube.key()  # allowed already: nothing to add
    told = ask(kube, "put-key-policy")
    assert told.verdict is ALLOWED and not any("by kubectl" in note for note in told.notes)
    assert not any("by kubectl" in note for note in ask(kube, "put-key-policy", who="other").notes)  # RBAC said it already


def test_an_object_that_the_policy_stops_is_said_to_be_stopped(kube: FakeKube) -> None:
    deny = {"Sid": "Nobody", "Effect": "Deny", "Principal": "*", "Action": "kms:CreateGrant"}
    kube.key(policy=policy(ROOT, deny))
    kube.bind("admins", rule("creategrant"), account("app"))
    (note,) = [note for note in ask(kube, "create-grant").notes if note.startswith("by kubectl")]
    assert "it may: admission asks RBAC" in note and "the key's policy stops what is written, whoever writes it: " in note
    assert "Nobody" in note


def advised(kube: FakeKube, line: str) -> str:
    """The policy in a line of advice, put as the operator would: what it says against it."""
    words = shlex.split(line[line.index("kubectl ") :])
    body = copy.deepcopy(next(each for path, each in kube.objects.items() if path.endswith(f"{NAMESPACE}/kmskeys/app")))
    record = asyncio.run(find(kube.view(), NAMESPACE, "app")).record
    body["spec"] |= json.loads(words[words.index("-p") + 1])["spec"]
    if words[1] == "annotate":
        body["metadata"]["annotations"] = dict([words[words.index("--overwrite") + 1].split("=")])
    return fault_of(parse_key(body), record)


def test_the_policy_that_is_advised_is_one_that_the_operator_takes(kube: FakeKube) -> None:
    kube.key(policy=LOCKED)
    line = ask(kube, who="visitor").changes[0]
    assert line.startswith("allow it in the key's policy, and kms:PutKeyPolicy to its account, without which it is refused")
    assert f"{BYPASS}=true" in line
    assert advised(kube, line) == ""
    assert f'"arn:aws:iam::{ACCOUNT}:root"' in line and '"kms:PutKeyPolicy"' in line


def test_where_a_deny_closes_the_key_the_advice_names_the_annotation(kube: FakeKube) -> None:
    deny = {"Sid": "Closed", "Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy"}
    kube.key(policy=policy(deny))
    line = ask(kube, who="visitor").changes[0]
    assert f"kubectl annotate kmskey app -n team-a --overwrite {BYPASS}=true && kubectl patch" in line
    assert advised(kube, line) == ""


@pytest.mark.parametrize("members", [{}, {"annotations": {BYPASS: "true"}}])
def test_a_policy_that_passes_is_advised_with_the_one_right_only(kube: FakeKube, members: Any) -> None:
    named = {"Effect": "Allow", "Principal": role("named"), "Action": "kms:*"}
    kube.key(policy=LOCKED if members else policy(named))["metadata"] |= members
    line = ask(kube, who="visitor").changes[0]
    assert line.startswith("allow it in the key's policy: kubectl patch") and "root" not in line.replace(f"{OTHER_ACCOUNT}:root", "")
    assert advised(kube, line) == ""


def test_advice_that_is_followed_for_one_after_the_other_is_taken_each_time(kube: FakeKube) -> None:
    """The ids of a policy's statements are unique: each next one has another."""
    body = kube.key(policy=LOCKED)
    for who in ("one", "two", "three"):
        line = ask(kube, who=who).changes[0]
        assert line.startswith("allow it in the key's policy") and advised(kube, line) == ""
        words = shlex.split(line[line.index("kubectl ") :])
        body = kube.key(policy=json.loads(words[words.index("-p") + 1])["spec"]["policy"])
        assert ask(kube, who=who).verdict is ALLOWED
    sids = [each.get("Sid") for each in body["spec"]["policy"]["Statement"]]
    assert sids == [None, "AllowDecrypt", "ReplaceThisPolicy", "AllowDecrypt2", "AllowDecrypt3"]


def test_a_policy_with_somebody_who_cannot_be_is_to_be_mended_first(kube: FakeKube) -> None:
    kube.key(policy=policy({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Nobody"}, "Action": "kms:*"}))
    line = ask(kube, who="visitor").changes[0]
    assert line.startswith("mend the key's policy, which would be refused (spec.policy.Statement[0].Principal") and "kubectl edit" in line


def test_keysteads_own_keys_are_never_advised_to_be_changed(kube: FakeKube) -> None:
    kube.key("aws-keystead", policy=managed_policy(ACCOUNT))
    told = ask(kube, "decrypt", "aws-keystead", facts={"kms:ViaService": ("none",)})
    assert told.verdict is DENIED
    assert len(told.changes) == 2 and told.changes[1].startswith("nothing: it is one of Keystead's own keys")


def test_what_the_callers_side_has_is_not_advised(kube: FakeKube) -> None:
    people = "keystead-records"
    kube.key("people", people, OTHER_ACCOUNT)
    told = ask(kube, who="user:root", groups=("system:masters",))
    assert told.verdict is DENIED and told.changes[-1].startswith("and, on the caller's side: kubectl create role")
    kube.bind("all", rule("*", group="*", resource="*"), {"kind": "Group", "name": "system:masters"}, namespace="")
    told = ask(kube, who="user:root", groups=("system:masters",))
    assert told.verdict is DENIED and told.changes
    assert not any("on the caller's side" in line for line in told.changes)
    arn = kube.key()["status"]["keyArn"]
    assert (told.reviews[0].asked, told.reviews[0].allowed) == (f"decrypt kmskeys/{arn} in {people}", True)
    kube.forbidden |= {"localsubjectaccessreviews", "/subjectaccessreviews"}  # not known: it may be needed
    assert ask(kube, who="user:root", groups=("system:masters",)).changes[-1].startswith("and, on the caller's side: ")


def test_a_key_that_is_not_in_the_namespace_is_told_with_the_option_that_names_another(kube: FakeKube) -> None:
    with pytest.raises(NotFoundError, match=r"there is no KmsKey default/app; hint: say its namespace with -n "):
        ask(kube, namespace="default", who="team-a:app")

"""`kubectl kms why` says of a call what the server decides about that very call, and its advice works."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.operator.direct import path_of
from tests.operator.harness import condition, wait_for
from tests.serving.desk import GRANT, KEY, Desk, Raw, Worker
from tests.serving.kubectl import Plugin

pytestmark = pytest.mark.cluster
HOME, ABROAD = "kms-why", "kms-abroad"
DENIED = "AccessDeniedException"
PLAIN = b"hello"
TLS = ("--secure",)
HERE = ("--source-ip", "127.0.0.1", "--secure")


@dataclass
class Stage:
    """Keys with policies, and who calls."""

    desk: Desk
    plugin: Plugin
    account: str
    keys: dict[str, Any] = field(default_factory=dict)
    people: dict[str, Worker] = field(default_factory=dict)
    clients: dict[str, Raw] = field(default_factory=dict)

    def key(self, name: str, *statements: dict[str, Any], **spec: Any) -> None:
        """A key with a policy whose first statement leaves the rest to the account."""
        root = {"Sid": "Account", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{self.account}:root"}, "Action": "kms:*"}
        made = [{**statement, "Resource": "*"} for statement in (root, *statements)]
        policy = {"policy": {"Version": "2012-10-17", "Statement": made}} if statements else {}
        self.keys[name] = self.desk.apply(KEY, HOME, name, **policy, **spec)

    def role(self, name: str) -> str:
        worker = self.people[name]
        return f"arn:aws:iam::{self.account if worker.namespace == HOME else worker.account}:role/{worker.name}"

    def arn(self, key: str) -> str:
        return str(self.keys[key]["status"]["keyArn"])

    def why(self, who: str, action: str, key: str, *facts: str) -> Any:
        """The plugin's answer, with its exit code."""
        worker = self.people[who]
        asked = (action, key, "--as", f"{worker.namespace}:{worker.name}", "-n", HOME, *facts)
        done = self.plugin.here("why", *asked, "-o", "json")
        assert done.code in (0, 1, 2) and done.out, done.err
        return {**done.json, "code": done.code}


def statement(principal: Any, action: str | list[str], effect: str = "Allow", **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": {"AWS": principal} if principal != "*" else "*", "Action": action, **members}


@pytest.fixture(scope="module")
def plugin(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return Plugin.install(desk.installation.cluster, Path(tmp_path_factory.mktemp("bin")))


@pytest.fixture(scope="module")
def stage(desk: Desk, plugin: Plugin) -> Iterator[Stage]:
    plain = desk.apply(KEY, HOME, "plain")
    stage = Stage(desk, plugin, str(plain["status"]["keyArn"]).split(":")[4], {"plain": plain})
    desk.apply(KEY, ABROAD, "theirs")
    people = {
        "rbac": desk.worker(HOME, "rbac", "encrypt", "describekey", "generatedatakey"),
        "none": desk.worker(HOME, "none"),
        "named": desk.worker(HOME, "named"),
        "granted": desk.worker(HOME, "granted"),
        "far": desk.worker(ABROAD, "far"),
        "near": desk.worker(ABROAD, "near"),
        "scoped": desk.worker(HOME, "scoped"),
    }
    stage.people.update(people)
    stage.key("policed", *policed(stage))
    people["near"].may("encrypt", names=(stage.arn("policed"),), resources=("kmskeys",))
    people["scoped"].may("encrypt", names=("plain",), resources=("kmskeys",))
    stage.key("off", enabled=False)
    desk.apply("KmsAlias", HOME, "why-alias", aliasName="alias/why", keyRef={"name": "policed"})
    terms = {"encryptionContextSubset": {"team": "blue"}}
    grantee = {"keyRef": {"name": "plain"}, "serviceAccountRef": {"name": "granted"}}
    desk.apply(GRANT, HOME, "blue", **grantee, operations=["Encrypt"], constraints=terms)
    stage.clients.update({name: worker.raw(keep=True) for name, worker in people.items()})
    yield stage
    for client in stage.clients.values():
        client.close()


def policed(stage: Stage) -> list[dict[str, Any]]:
    named, far, near = (stage.role(name) for name in ("named", "far", "near"))
    context = {"StringEquals": {"kms:EncryptionContext:team": "red"}}
    away = {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]}}
    alias = {"StringEquals": {"kms:RequestAlias": "alias/why"}}
    return [
        statement(named, "kms:Encrypt", Sid="Red", Condition=context),
        statement([far, near], "kms:Encrypt", Sid="Neighbours"),
        statement(stage.role("rbac"), "kms:GenerateDataKey", "Deny", Sid="NoDataKeys"),
        statement("*", "kms:DescribeKey", "Deny", Sid="OnlyHere", Condition=away),
        statement("*", "kms:*", "Deny", Sid="OnlyTls", Condition={"Bool": {"aws:SecureTransport": "false"}}),
        statement(named, "kms:DescribeKey", Sid="ByAlias", Condition=alias),
    ]


RED, BLUE = ({"EncryptionContext": {"team": colour}} for colour in ("red", "blue"))
MORE = {"EncryptionContext": {"team": "blue", "a": "b"}}
SAYS_RED, SAYS_BLUE = (("--encryption-context", f"team={colour}") for colour in ("red", "blue"))
ENCRYPT, DESCRIBE, GENERATE = ("Encrypt", {"Plaintext": PLAIN}), ("DescribeKey", {}), ("GenerateDataKey", {"KeySpec": "AES_256"})
# who, operation, key, more of the request, what is said of it, allowed, what decided
CASES = [
    ("rbac", ENCRYPT, "plain", {}, (), True, r"RoleBinding rbac-\w+ in kms-why of Role rbac-\w+ \(encrypt and 2 more on "),
    ("none", ENCRYPT, "plain", {}, ("--encryption-context", "none"), False, "rbac"),
    ("scoped", ENCRYPT, "plain", {}, (), True, r"\(encrypt on kmskeys/plain\)"),
    ("scoped", ENCRYPT, "policed", {}, TLS, False, "rbac"),
    ("rbac", DESCRIBE, "policed", {}, HERE, True, "RoleBinding"),
    ("rbac", GENERATE, "policed", {}, TLS, False, 'statement "NoDataKeys"'),
    ("named", ENCRYPT, "policed", RED, (*TLS, *SAYS_RED), True, 'statement "Red"'),
    ("named", ENCRYPT, "policed", BLUE, (*TLS, *SAYS_BLUE), False, "rbac"),
    ("named", ENCRYPT, "plain", {}, (), False, "rbac"),
    ("named", DESCRIBE, "alias/why", {}, HERE, True, 'statement "ByAlias"'),
    ("named", DESCRIBE, "policed", {}, HERE, False, "rbac"),
    ("granted", ENCRYPT, "plain", MORE, (*SAYS_BLUE, "--encryption-context", "a=b"), True, "KmsGrant blue"),
    ("granted", ENCRYPT, "plain", RED, SAYS_RED, False, "rbac"),
    ("granted", GENERATE, "plain", BLUE, SAYS_BLUE, False, "rbac"),
    ("far", ENCRYPT, "policed", {}, TLS, False, "rbac"),
    ("near", ENCRYPT, "policed", {}, TLS, True, r"\(encrypt on kmskeys/arn:aws:kms:"),
    ("near", DESCRIBE, "policed", {}, HERE, False, "nothing"),
    ("near", ENCRYPT, "plain", {}, (), False, "nothing"),
]


@pytest.mark.parametrize(("who", "call", "key", "more", "facts", "allowed", "by"), CASES, ids=lambda value: str(value)[:20])
def test_why_says_what_the_server_decides(
    stage: Stage, who: str, call: tuple[str, dict[str, Any]], key: str, more: Any, facts: Any, allowed: bool, by: str
) -> None:
    operation, members = call
    named = key if key.startswith("alias/") else stage.arn(key)
    answer = stage.clients[who].call(operation, KeyId=named, **members, **more)
    assert (answer.code != DENIED) is allowed, answer.text
    told = stage.why(who, operation, named if key == "policed" else key, *facts)
    assert (told["verdict"], told["code"]) == (("allowed", 0) if allowed else ("denied", 1)), told
    assert re.search(by, told["decidedBy"]), told["decidedBy"]


def test_a_disabled_key_is_allowed_and_its_state_refuses(stage: Stage) -> None:
    answer = stage.clients["rbac"].call("Encrypt", KeyId=stage.arn("off"), Plaintext=PLAIN)
    told = stage.why("rbac", "encrypt", "off")
    assert answer.code == "DisabledException"
    assert told["verdict"] == "allowed" and "DisabledException" in told["obstacles"][0]


def test_what_was_not_said_is_named_and_nothing_is_guessed(stage: Stage) -> None:
    told = stage.why("named", "encrypt", "policed")
    assert (told["verdict"], told["code"]) == ("undecided", 2)
    assert told["dependsOn"] == ["kms:EncryptionContext:team", "aws:SecureTransport"]
    assert told["changes"] == ["say --encryption-context KEY=VALUE|none", "say --secure or --insecure"]


def test_every_statement_is_told_with_what_it_came_to(stage: Stage) -> None:
    told = stage.why("named", "encrypt", "policed", *TLS, *SAYS_BLUE)
    came = {item["name"]: (item["cameTo"], item["why"]) for item in told["statements"]}
    assert came["Account" if "Account" in came else "Statement[0]"][0] == "leaves it to the account"
    assert came["Red"] == ("condition does not hold", 'StringEquals kms:EncryptionContext:team "red" does not hold: the request has "blue"')
    assert came["Neighbours"][0] == "another principal"
    assert came["NoDataKeys"] == ("another action", "it is not about kms:Encrypt")
    assert came["OnlyTls"][0] == "condition does not hold"


@pytest.mark.parametrize("advice", [0, 1])
def test_the_advice_after_a_no_makes_it_a_yes(stage: Stage, advice: int) -> None:
    name = f"advised-{advice}"
    stage.people[name] = stage.desk.worker(HOME, name)
    told = stage.why(name, "generate-mac", "plain")
    run(stage, told["changes"][advice])
    assert stage.why(name, "generate-mac", "plain")["verdict"] == "allowed"


@pytest.mark.parametrize("advice", [0, 1])
def test_the_advice_where_no_policy_allows_makes_it_a_yes(stage: Stage, advice: int) -> None:
    worker = stage.people["outsider"] = stage.people.get("outsider") or stage.desk.worker(ABROAD, "outsider")
    name = f"closed-{advice}"
    stage.key(name)
    *policy, own = stage.why("outsider", "encrypt", stage.arn(name), "--encryption-context", "none")["changes"]
    for command in (policy[advice], own.removeprefix("and, on the caller's side: ")):
        run(stage, command)
    stage.desk.apply(KEY, HOME, name, manager="nobody")
    told = stage.why("outsider", "encrypt", stage.arn(name), "--encryption-context", "none")
    assert told["verdict"] == "allowed", told
    assert worker.namespace == ABROAD


LOCKED, BYPASS = "locked", "kms.keystead.io/bypass-policy-lockout-safety-check"


@pytest.fixture(scope="module")
def locked(stage: Stage) -> Stage:
    """A key that only another account may use, and who has the chart's role of administrators."""
    desk, elsewhere = stage.desk, statement("arn:aws:iam::444455556666:root", "kms:*")
    metadata = {"name": LOCKED, "namespace": HOME, "annotations": {BYPASS: "true"}}
    spec = {"policy": {"Version": "2012-10-17", "Statement": [{**elsewhere, "Resource": "*"}]}}
    desk.direct.create({"apiVersion": "kms.keystead.io/v1alpha1", "kind": KEY, "metadata": metadata, "spec": spec})
    stage.keys[LOCKED] = wait_for("the locked key", lambda: ready(stage))
    desk.direct.merge(path_of(KEY, HOME, LOCKED), {"metadata": {"annotations": {BYPASS: None}}})
    stage.people |= {name: desk.worker(HOME, name) for name in ("keyadm", "visitor")}
    stage.plugin.cluster.kubectl(
        "create", "rolebinding", "keyadm", "-n", HOME, "--clusterrole=keystead-key-admin", f"--serviceaccount={HOME}:keyadm"
    )
    return stage


def ready(stage: Stage) -> Any:
    found = stage.desk.object(KEY, HOME, LOCKED)
    said = condition(found)
    is_new = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
    return found if said is not None and said["status"] == "True" and is_new else None


def test_the_policy_that_is_advised_for_a_locked_key_is_taken(locked: Stage) -> None:
    denied = locked.why("visitor", "decrypt", LOCKED)
    assert denied["verdict"] == "denied"
    run(locked, denied["changes"][0])
    wait_for("the advised policy is in force", lambda: ready(locked))
    assert locked.why("visitor", "decrypt", LOCKED)["verdict"] == "allowed"
    again = {"metadata": {"annotations": {BYPASS: "true"}}, "spec": locked.keys[LOCKED]["spec"]}
    locked.desk.direct.merge(path_of(KEY, HOME, LOCKED), again)
    wait_for("the key is locked again", lambda: ready(locked))


def test_who_can_rescue_a_locked_key_is_told_and_can(locked: Stage) -> None:
    told = locked.plugin.here("who-can", "put-key-policy", LOCKED, "-n", HOME, "-o", "json").json
    rows = {row["who"]: row for row in told["holders"]}
    assert rows["account 444455556666"]["note"] == "the key belongs to another account, which no policy can let do PutKeyPolicy"
    assert rows[f"ServiceAccount {HOME}/keyadm"]["may"] == "kubectl"
    assert rows["group system:masters"]["may"] == "kubectl"
    told = locked.why("keyadm", "put-key-policy", LOCKED)
    assert told["verdict"] == "denied"
    assert f"by kubectl, writing the object, it may: admission asks RBAC for putkeypolicy kmskeys/{LOCKED} in {HOME}" in told["notes"]
    default = {"policy": {"Version": "2012-10-17", "Statement": [{**statement(locked.account, "kms:*"), "Resource": "*"}]}}
    as_keyadm = ("--as", f"system:serviceaccount:{HOME}:keyadm")
    locked.plugin.cluster.kubectl(
        *as_keyadm, "patch", "kmskey", LOCKED, "-n", HOME, "--type=merge", "-p", json.dumps({"spec": default})
    )
    wait_for("the key is open", lambda: ready(locked))
    assert locked.why("keyadm", "put-key-policy", LOCKED)["verdict"] == "allowed"


def test_what_a_persons_side_has_is_not_advised(stage: Stage) -> None:
    """cluster-admin may decrypt every ARN at home: the key's side alone is missing."""
    told = stage.plugin.here("why", "decrypt", "plain", "-n", HOME, "-o", "json").json
    assert told["verdict"] == "denied" and told["changes"]
    assert not any("on the caller's side" in line for line in told["changes"])
    home = f"decrypt kmskeys/{stage.arn('plain')} in keystead-records"
    assert [review["allowed"] for review in told["reviews"] if review["asked"] == home] == [True]


def run(stage: Stage, advice: str) -> None:
    """A line of advice in a shell: what stands behind the last `: ` before kubectl."""
    cluster = stage.plugin.cluster
    command = advice[advice.index("kubectl ") :]
    environment = cluster.environment | {"PATH": f"{cluster.binaries['kubectl'].parent}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)


def test_a_person_learns_about_himself_without_other_rights(stage: Stage) -> None:
    """A ServiceAccount that may read keys, and not review others."""
    worker = stage.desk.worker(HOME, "selfish", "get", "list", "encrypt")
    mine = stage.plugin.of(stage.plugin.cluster.service_account_kubeconfig(HOME, worker.name))
    done = mine("why", "encrypt", "plain", "-o", "json")
    told = json.loads(done.out)
    assert (done.code, told["verdict"], told["who"]) == (0, "allowed", f"ServiceAccount {HOME}/selfish")
    assert "you may not list rolebindings in kms-why" in told["unread"]
    other = mine("why", "encrypt", "plain", "--as", "rbac")
    assert other.code == 2 and other.out.startswith("undecided")
    assert "you may not create subjectaccessreviews in kms-why" in other.out


def test_what_may_not_be_read_is_an_error_and_no_answer(stage: Stage) -> None:
    worker = stage.desk.worker(HOME, "blind")
    done = stage.plugin.of(stage.plugin.cluster.service_account_kubeconfig(HOME, worker.name))("why", "encrypt", "plain")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: you may not get kmskeys/plain in kms-why\nhint: ")


def test_who_has_no_account_yet_is_told_so_and_is_refused(stage: Stage) -> None:
    desk, late = stage.desk, "kms-late"
    desk.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": late}})
    stage.people["late"] = worker = desk.worker(late, "late")
    stage.key("lent", statement(worker.role, "kms:Encrypt"))
    worker.may("encrypt", names=(stage.arn("lent"),))
    client = worker.raw()
    for expected in (DENIED, ""):
        assert client.call("Encrypt", KeyId=stage.arn("lent"), Plaintext=PLAIN).code == expected
        told = stage.why("late", "encrypt", stage.arn("lent"), "--encryption-context", "none")
        assert told["verdict"] == ("undecided" if expected else "allowed")
        assert any("has no key that shows its account" in note for note in told["notes"]) is bool(expected)
        desk.apply(KEY, late, "first")
    desk.direct.call("DELETE", f"/api/v1/namespaces/{late}")

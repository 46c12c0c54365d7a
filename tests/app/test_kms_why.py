"""`kubectl kms why` over a cluster in memory: what is read, what is said, and what is left open where something may not be read."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from tests.app.kms_cluster import FakeKube, account, rule
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT, OTHER_NAMESPACE, REGION, a_key_id

from keystead.app.kms.changes import ADMINISTER, USE
from keystead.app.kms.people import named
from keystead.app.kms.why import why
from keystead.cli.kms_services import Question, Subject, Verdict, WhyAnswer
from keystead.errors import ForbiddenError, InvalidSpecError, NotFoundError
from keystead.policy.actions import ACTIONS
from keystead.policy.caller import CallerKind

ALLOWED, DENIED, UNDECIDED = Verdict.ALLOWED, Verdict.DENIED, Verdict.UNDECIDED
ROOT = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
CHART = Path(__file__).resolve().parents[2] / "charts/keystead/templates/rbac-people.yaml"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Resource": "*", **statement} for statement in statements]}


def role(name: str, number: str = ACCOUNT) -> dict[str, str]:
    return {"AWS": f"arn:aws:iam::{number}:role/{name}"}


def ask(kube: FakeKube, action: str = "decrypt", key: str = "app", who: str | None = "app", **how: Any) -> WhyAnswer:
    facts = how.pop("facts", {})
    subject = Subject(name=who, groups=how.pop("groups", ()), install_account=how.pop("install_account", None))
    return asyncio.run(why(kube.view(), how.pop("namespace", NAMESPACE), subject, Question(action=action, key=key, facts=facts)))


@pytest.fixture
def kube() -> FakeKube:
    """A key with the default policy; `app` may decrypt, `far` is of another namespace, which has an account."""
    made = FakeKube()
    made.key()
    made.key("theirs", OTHER_NAMESPACE, OTHER_ACCOUNT)
    for name, namespace in (("app", NAMESPACE), ("far", OTHER_NAMESPACE)):
        made.put("ServiceAccount", name, namespace)
    made.bind("users", rule("decrypt", names=("app",)), account("app"))
    return made


def test_rbac_is_told_with_binding_and_rule(kube: FakeKube) -> None:
    told = ask(kube)
    assert (told.verdict, told.decided_by) == (ALLOWED, "RoleBinding users in team-a of Role users (decrypt on kmskeys/app)")
    assert told.principal == f"arn:aws:iam::{ACCOUNT}:role/app"
    assert told.changes[0].startswith("to take it away: kubectl delete rolebinding users -n team-a")


def test_what_is_missing_is_told_as_a_command_for_the_one_right(kube: FakeKube) -> None:
    told = ask(kube, "sign")
    assert told.verdict is DENIED
    assert told.changes[0] == (
        "kubectl create role app-sign-app -n team-a --verb=sign --resource=kmskeys.kms.keystead.io --resource-name=app && "
        "kubectl create rolebinding app-sign-app -n team-a --role=app-sign-app --serviceaccount=team-a:app"
    )
    assert told.changes[1].endswith("--clusterrole=keystead-key-user --serviceaccount=team-a:app")


ID = a_key_id(1, "app", NAMESPACE)


@pytest.mark.parametrize("name", ["app", "alias/app", ID, f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{ID}"])
def test_a_key_is_found_by_each_of_its_names(kube: FakeKube, name: str) -> None:
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/app"
    status = {"targetKeyId": a_key_id(1, "app", NAMESPACE), "aliasArn": arn}
    kube.put("KmsAlias", "an-alias", spec={"aliasName": "alias/app", "keyRef": {"name": "app"}}, status=status)
    assert ask(kube, key=name).key == "team-a/app"
    assert ask(kube, key=arn, namespace=OTHER_NAMESPACE, who="team-a:app").verdict is ALLOWED


def test_a_name_is_known_to_conditions_only_where_a_request_could_have_it(kube: FakeKube) -> None:
    condition = {"StringEquals": {"kms:RequestAlias": "alias/app"}}
    kube.key(policy=policy({"Effect": "Allow", "Principal": role("app"), "Action": "kms:Decrypt", "Condition": condition}))
    status = {"targetKeyId": a_key_id(1, "app", NAMESPACE)}
    kube.put("KmsAlias", "an-alias", spec={"aliasName": "alias/app", "keyRef": {"name": "app"}}, status=status)
    verdicts = [ask(kube, key=name).verdict for name in ("app", "alias/app", a_key_id(1, "app", NAMESPACE))]
    assert verdicts == [UNDECIDED, ALLOWED, DENIED]


def test_the_policy_that_status_shows_is_the_one_that_counts(kube: FakeKube) -> None:
    body = kube.key(policy=policy({**ROOT, "Action": "kms:Fly"}))
    body["status"]["policy"] = policy({"Effect": "Allow", "Principal": role("named"), "Action": "kms:*"})
    assert (ask(kube).verdict, ask(kube, who="named").verdict) == (DENIED, ALLOWED)


def test_a_change_that_is_not_taken_up_yet_is_noted(kube: FakeKube) -> None:
    kube.key()["metadata"]["generation"] = 2
    assert any("has not taken up the last change" in note for note in ask(kube).notes)


def grant(kube: FakeKube, name: str = "given", **spec: Any) -> None:
    members = {"keyRef": {"name": "app"}, "serviceAccountRef": {"name": "app"}, "operations": ["Encrypt"], **spec}
    kube.put("KmsGrant", name, spec=members, status={"grantId": "ab" * 32, "keyId": a_key_id(1, "app", NAMESPACE)})


def test_a_grant_is_told_with_its_object(kube: FakeKube) -> None:
    grant(kube)
    told = ask(kube, "encrypt")
    assert (told.verdict, told.decided_by) == (ALLOWED, f"grant {'ab' * 32} (KmsGrant given)")
    assert told.changes == ("to take it away: kubectl delete kmsgrant given -n team-a",)


def test_a_grant_with_a_constraint_hangs_on_the_context(kube: FakeKube) -> None:
    grant(kube, constraints={"encryptionContextEquals": {"a": "b"}})
    assert ask(kube, "encrypt").verdict is UNDECIDED
    assert ask(kube, "encrypt").depends_on == ("kms:EncryptionContext",)
    given = {"kms:EncryptionContext:a": ("b",)}
    assert ask(kube, "encrypt", facts=given).verdict is ALLOWED
    assert ask(kube, "encrypt", facts={"kms:EncryptionContext:a": ("c",)}).verdict is DENIED


def test_an_expired_grant_gives_nothing(kube: FakeKube) -> None:
    grant(kube)
    kube.objects[next(path for path in kube.objects if "kmsgrants" in path)]["status"]["expirationTime"] = "2026-01-01T00:00:00Z"
    told = ask(kube, "encrypt")
    assert told.verdict is DENIED
    assert told.grants[0].why == "it ended at 2026-01-01T00:00:00Z"


def test_grants_that_may_not_be_read_leave_a_no_open_but_not_a_yes(kube: FakeKube) -> None:
    kube.forbidden.add("kmsgrants")
    assert ask(kube).verdict is ALLOWED
    told = ask(kube, "encrypt")
    assert told.verdict is UNDECIDED
    assert told.depends_on == ("the grants of the key, which you may not read",)
    assert "you may not list kmsgrants in team-a" in told.unread


def test_an_explicit_deny_needs_no_grants_to_be_known(kube: FakeKube) -> None:
    kube.key(policy=policy(ROOT, {"Sid": "No", "Effect": "Deny", "Principal": role("app"), "Action": "kms:*"}))
    kube.forbidden.add("kmsgrants")
    told = ask(kube)
    assert (told.verdict, told.decided_by) == (DENIED, 'statement "No"')


def test_a_review_that_may_not_be_made_is_no_answer(kube: FakeKube) -> None:
    kube.forbidden |= {"localsubjectaccessreviews", "/subjectaccessreviews"}
    told = ask(kube)
    assert told.verdict is UNDECIDED
    assert told.reviews[0].allowed is None
    assert "you may not create subjectaccessreviews" in told.reviews[0].reason


def test_one_kind_of_review_is_enough(kube: FakeKube) -> None:
    kube.forbidden.add("localsubjectaccessreviews")
    assert ask(kube).verdict is ALLOWED


def test_roles_that_may_not_be_read_are_said_and_the_answer_stands(kube: FakeKube) -> None:
    kube.forbidden |= {"roles", "rolebindings"}
    told = ask(kube)
    assert (told.verdict, told.reviews[0].rules) == (ALLOWED, ())
    assert told.reviews[0].reason == "RBAC: allowed by RoleBinding users in team-a"
    assert {"you may not list roles in team-a", "you may not list clusterrolebindings"} <= set(told.unread)


def test_a_key_that_may_not_be_read_is_an_error(kube: FakeKube) -> None:
    kube.forbidden.add("kmskeys")
    with pytest.raises(ForbiddenError, match="you may not get kmskeys/app in team-a"):
        ask(kube)


@pytest.mark.parametrize("name", ["nobody", "alias/nobody", a_key_id(77)])
def test_a_key_that_is_not_there_is_an_error(kube: FakeKube, name: str) -> None:
    with pytest.raises(NotFoundError):
        ask(kube, key=name)


def test_another_namespace_needs_both_sides(kube: FakeKube) -> None:
    arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{a_key_id(1, 'app', NAMESPACE)}"
    kube.key(policy=policy(ROOT, {"Effect": "Allow", "Principal": role("far", OTHER_ACCOUNT), "Action": "kms:Decrypt"}))
    told = ask(kube, key=arn, who="team-b:far")
    assert told.verdict is DENIED
    assert f"--resource-name={arn}" in told.changes[0] and "-n team-b" in told.changes[0]
    kube.bind("abroad", rule("decrypt", names=(arn,)), account("far", OTHER_NAMESPACE), namespace=OTHER_NAMESPACE)
    assert ask(kube, key=arn, who="team-b:far").verdict is ALLOWED


def test_an_account_that_is_not_known_is_not_assumed(kube: FakeKube) -> None:
    kube.key(policy=policy(ROOT, {"Effect": "Allow", "Principal": role("new", "777788889999"), "Action": "kms:Decrypt"}))
    kube.bind("new", rule("decrypt"), account("new", "team-c"), namespace="team-c")
    told = ask(kube, who="team-c:new")
    assert told.verdict is UNDECIDED
    assert told.principal == "" and "the account of the caller" in told.depends_on
    assert ask(kube, who="team-c:other").verdict is DENIED


def test_a_namespace_without_a_key_is_said_to_have_perhaps_no_account_yet(kube: FakeKube) -> None:
    kube.key(policy=policy(ROOT, {"Effect": "Allow", "Principal": role("new", "777788889999"), "Action": "kms:Decrypt"}))
    kube.bind("new", rule("decrypt"), account("new", "team-c"), namespace="team-c")
    words = "team-c has no key that shows its account"
    told = ask(kube, who="team-c:new")
    assert told.verdict is UNDECIDED and any(note.startswith(words) for note in told.notes)
    kube.key("own", "team-c", "777788889999")
    told = ask(kube, who="team-c:new")
    assert told.verdict is ALLOWED and not any(note.startswith(words) for note in told.notes)
    kube.forbidden.add("team-c/kmskeys")  # what may not be read is not told as none
    assert not any(note.startswith(words) for note in ask(kube, who="team-c:new").notes)


def test_a_person_is_of_the_installs_account(kube: FakeKube) -> None:
    person = {"AWS": "arn:aws:iam::999900001111:user/jane"}
    kube.key(policy=policy(ROOT, {"Effect": "Allow", "Principal": person, "Action": "kms:Decrypt"}))
    cluster_wide = {"kind": "User", "name": "jane"}
    kube.bind("jane", rule("decrypt"), cluster_wide, namespace="")
    assert ask(kube, who="user:jane").verdict is UNDECIDED
    assert ask(kube, who="user:jane", install_account="999900001111").verdict is ALLOWED
    assert ask(kube, who="user:joe").verdict is DENIED


def test_without_a_name_it_is_about_who_asks(kube: FakeKube) -> None:
    kube.me = {"username": "system:serviceaccount:team-a:app", "groups": ["system:serviceaccounts"], "uid": "u"}
    kube.forbidden |= {"localsubjectaccessreviews", "/subjectaccessreviews"}
    told = ask(kube, who=None)
    assert (told.verdict, told.who) == (ALLOWED, "ServiceAccount team-a/app")


def test_an_action_without_a_key_asks_rbac_alone(kube: FakeKube) -> None:
    assert ask(kube, "create-key", "").verdict is DENIED
    kube.bind("makers", rule("createkey"), account("app"))
    assert ask(kube, "create-key", "").verdict is ALLOWED


def test_an_action_on_a_key_needs_one(kube: FakeKube) -> None:
    with pytest.raises(InvalidSpecError, match="KEY: Decrypt is about a key"):
        ask(kube, key="")


def test_the_alias_has_its_own_side(kube: FakeKube) -> None:
    kube.bind("keys", rule("createalias"), account("app"))
    assert ask(kube, "create-alias").verdict is DENIED
    kube.bind("aliases", rule("createalias", resource="kmsaliases"), account("app"))
    assert ask(kube, "create-alias").verdict is ALLOWED


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        ("Disabled", "decrypt", "DisabledException; hint: kubectl patch kmskey app -n team-a --type=merge"),
        ("PendingDeletion", "decrypt", "KMSInvalidStateException; hint: kubectl patch"),
        ("Destroyed", "decrypt", "the key is destroyed"),
    ],
)
def test_what_the_state_refuses_is_told_beside_the_answer(kube: FakeKube, state: str, action: str, words: str) -> None:
    kube.key(state=state)
    told = ask(kube, action)
    assert told.verdict is ALLOWED
    assert words in told.obstacles[0]


def test_a_hold_is_told_with_the_one_way_out(kube: FakeKube) -> None:
    body = kube.key(state="Disabled")
    body["status"]["conditions"] = [ready("Held")]
    assert ask(kube).obstacles[0].endswith("hint: keystead records hold team-a app --release")


def ready(reason: str) -> dict[str, Any]:
    when = "2026-11-01T00:00:00Z"
    return {"type": "Ready", "status": "False", "reason": reason, "message": "m", "lastTransitionTime": when, "observedGeneration": 1}


def test_a_key_of_another_usage_is_told(kube: FakeKube) -> None:
    kube.bind("signers", rule("sign"), account("app"))
    told = ask(kube, "sign")
    assert told.obstacles == ("Sign needs a key for SIGN_VERIFY, and this one is for ENCRYPT_DECRYPT: InvalidKeyUsageException",)


@pytest.mark.parametrize(
    ("text", "groups", "kind", "name", "namespace"),
    [
        ("app", (), CallerKind.SERVICE_ACCOUNT, "app", NAMESPACE),
        ("team-b:app", (), CallerKind.SERVICE_ACCOUNT, "app", "team-b"),
        ("system:serviceaccount:team-b:app", (), CallerKind.SERVICE_ACCOUNT, "app", "team-b"),
        ("user:app", (), CallerKind.USER, "app", ""),
        ("user:oidc:jane", (), CallerKind.USER, "oidc:jane", ""),
        ("jane@example.com", (), CallerKind.USER, "jane@example.com", ""),
        ("jane", ("ops",), CallerKind.USER, "jane", ""),
        ("service:datakeys.kms.keystead.io", (), CallerKind.SERVICE, "datakeys.kms.keystead.io", ""),
    ],
)
def test_who_is_meant(text: str, groups: tuple[str, ...], kind: CallerKind, name: str, namespace: str) -> None:
    found = named(text, groups, NAMESPACE)
    assert (found.kind, found.name, found.namespace) == (kind, name, namespace)


def test_a_name_that_no_serviceaccount_can_have_is_said_to_be_taken_for_a_person(kube: FakeKube) -> None:
    told = ask(kube, who="ExampleRole")
    assert "user ExampleRole: no ServiceAccount can have this name; write user:ExampleRole if a person is meant" in told.notes
    for who in ("user:ExampleRole", "jane@example.com", "app"):
        assert not any("no ServiceAccount can have" in note for note in ask(kube, who=who).notes)


@pytest.mark.parametrize("text", ["user:", "system:serviceaccount:app", "system:serviceaccount:a:b:c"])
def test_nobody_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        named(text, (), NAMESPACE)


def test_the_roles_that_are_advised_are_the_charts() -> None:
    lists = dict(re.findall(r"\$(\w+) := list ([^}]+?) }}", CHART.read_text()))
    verbs = {name: set(re.findall(r'"(\w+)"', text)) for name, text in lists.items()}
    assert {ACTIONS[action].verb for action in USE} == verbs["use"]
    given = verbs["edit"] | verbs["admin"] | verbs["look"]
    assert {ACTIONS[action].verb for action in ADMINISTER} <= given


def test_the_grant_that_would_help_a_person_has_a_name_that_kubernetes_takes(kube: FakeKube) -> None:
    kube.key("people", "keystead-records", OTHER_ACCOUNT)
    told = ask(kube, "encrypt", who="user:Jane.Doe@Example.com")
    (grant_line,) = [line for line in told.changes if line.startswith("or grant it")]
    assert '"name": "jane.doe-example.com-encrypt-app"' in grant_line


def test_whom_a_policy_names_that_nobody_can_be_is_noted(kube: FakeKube) -> None:
    admin = {"Sid": "admin", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/KeyAdmin"}, "Action": "kms:*"}
    kube.key(policy=policy(ROOT, admin))
    assert not any("KeyAdmin" in note for note in ask(kube).notes)  # whose people are is not known
    kube.key("people", "keystead-records", OTHER_ACCOUNT)
    words = f'statement "admin" names arn:aws:iam::{ACCOUNT}:user/KeyAdmin, who is nobody: people and groups are of account {OTHER_ACCOUNT}'
    assert words in ask(kube).notes

"""People: ID tokens of a real OpenID Connect issuer that the API server trusts, key policies that name `user/` and `group/`, and RBAC.

Nothing stands between: the tokens are signed by tests/cluster/issuer.py, the API server checks them by its `--authentication-config`.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.cluster.issuer import OFFICE, Issuer
from tests.operator.harness import wait_for
from tests.serving.desk import RBAC, Answer, Desk, Raw, Worker
from tests.serving.kubectl import Plugin
from tests.serving.test_audit import records

pytestmark = [pytest.mark.cluster, pytest.mark.powers("people")]
DENIED, NOBODY, EXPIRED = "AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"
NAMESPACE, RECORDS = "people", "keystead-records"
GROUP = "rbac.authorization.k8s.io"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ALICE = "alice@example.com"
# Who there is, and whose groups. All may encrypt by RBAC in keystead-records: only the key's policy tells them apart.
WHO: dict[str, tuple[str, ...]] = {
    ALICE: ("oidc:security", "team/a:b"),
    "bob@example.com": ("team/a:b",),
    "idp:eu/alice": (),
    "oidc:security": (),
    "joe": (ALICE, "OIDC:security"),
    "Alice@example.com": ("alice",),
    "alice%40example.com": ("oidc%3Asecurity", "team%2Fa%3Ab"),
}
# The principal in the policy, whom it lets.
NAMED: list[tuple[str, set[str]]] = [
    ("user/alice@example.com", {ALICE}),
    ("user/alice%40example.com", {ALICE}),
    ("group/oidc%3Asecurity", {ALICE}),
    ("group/oidc%3asecurity", {ALICE}),
    ("group/team%2Fa%3Ab", {ALICE, "bob@example.com"}),
    ("user/idp%3Aeu%2Falice", {"idp:eu/alice"}),
    ("user/oidc%3Asecurity", {"oidc:security"}),
    ("group/alice%40example.com", {"joe"}),
    ("user/alice%2540example.com", {"alice%40example.com"}),
    ("group/oidc%253Asecurity", {"alice%40example.com"}),
    ("group/system%3Amasters", set()),
]


@dataclass
class People:
    """A tenant's keys, and people of the install's own account."""

    desk: Desk
    issuer: Issuer
    owner: Worker
    install: str
    clients: dict[str, Raw] = field(repr=False)
    admin: Raw = field(repr=False)

    def key(self, *statements: dict[str, Any]) -> str:
        """ARN of a new key, which its own account administers."""
        given = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": statements})} if statements else {}
        made = self.admin.call("CreateKey", **given, BypassPolicyLockoutSafetyCheck=True)
        assert made.status == 200, made.text
        return str(made.json["KeyMetadata"]["Arn"])

    def says(self, *principals: str, effect: str = "Allow", action: str = "kms:*") -> dict[str, Any]:
        """A statement. principals: what stands behind the account in an ARN."""
        arns = [f"arn:aws:iam::{self.install}:{principal}" for principal in principals]
        return {"Effect": effect, "Principal": {"AWS": arns}, "Action": action, "Resource": "*"}

    def encrypt(self, who: str, key: str) -> Answer:
        return self.clients[who].call("Encrypt", KeyId=key, Plaintext=b"x")

    def why(self, who: str, key: str, member_of: tuple[str, ...] | None = None) -> str:
        """What `kubectl kms why` says of that call, to an administrator."""
        self.desk.named(NAMESPACE, key.rpartition("/")[2])
        groups = [part for group in (WHO[who] if member_of is None else member_of) for part in ("--as-group", group)]
        asked = ("why", "encrypt", key, "--as", f"user:{who}", *groups, "--encryption-context", "none", "-n", NAMESPACE)
        done = _plugin(self.desk).here(*asked, "-o", "json")
        assert done.out, done.err
        return str(done.json["verdict"])


def _plugin(desk: Desk) -> Plugin:
    cluster = desk.installation.cluster
    return Plugin(cluster, cluster.scratch, cluster.kubeconfig)


def subject(kind: str, name: str) -> dict[str, str]:
    return {"kind": kind, "name": name, "apiGroup": GROUP}


def bind(desk: Desk, namespace: str, name: str, verbs: tuple[str, ...], *subjects: dict[str, str]) -> None:
    """A Role with these verbs on keys, and its binding."""
    base = {"apiVersion": f"{GROUP}/v1", "metadata": {"name": name, "namespace": namespace}}
    rule = {"apiGroups": ["kms.keystead.io"], "resources": ["kmskeys"], "verbs": list(verbs)}
    desk.direct.call("POST", f"{RBAC}/{namespace}/roles", {**base, "kind": "Role", "rules": [rule]})
    ref = {"apiGroup": GROUP, "kind": "Role", "name": name}
    body = {**base, "kind": "RoleBinding", "roleRef": ref, "subjects": list(subjects)}
    desk.direct.call("POST", f"{RBAC}/{namespace}/rolebindings", body)


@pytest.fixture(scope="module")
def people(desk: Desk) -> Iterator[People]:
    issuer = desk.installation.cluster.people
    desk.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    bind(desk, RECORDS, "people-encrypt", ("encrypt",), *(subject("User", name) for name in WHO))
    bind(desk, RECORDS, "people-describe", ("describekey",), subject("Group", "team/a:b"))
    clients = {name: desk.raw(issuer.token(name, *groups, office="Bern/3"), keep=True) for name, groups in WHO.items()}
    refused = clients[ALICE].call("DescribeKey", KeyId=f"arn:aws:kms:cluster-1:111122223333:key/{uuid.uuid4()}")
    assert refused.code == DENIED, refused.text
    owner = desk.worker(NAMESPACE, "app", "*")
    made = People(desk, issuer, owner, refused.json["message"].split(":")[5], clients, owner.raw(keep=True))
    yield made
    for client in (*clients.values(), made.admin):
        client.close()
    for name in ("people-encrypt", "people-describe"):
        for kind in ("rolebindings", "roles"):
            desk.direct.call("DELETE", f"{RBAC}/{RECORDS}/{kind}/{name}")
    desk.direct.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


# -- key policies


@pytest.mark.parametrize(("principal", "lets"), NAMED, ids=[principal for principal, _ in NAMED])
def test_a_policy_lets_whom_it_names_and_nobody_else(people: People, principal: str, lets: set[str]) -> None:
    key = people.key(people.says(principal))
    assert {who: people.encrypt(who, key).code for who in WHO} == {who: "" if who in lets else DENIED for who in WHO}
    for who in {ALICE, *lets}:
        assert people.why(who, key) == ("allowed" if who in lets else "denied")


def test_a_refusal_names_her_as_policies_do(people: People) -> None:
    answer = people.encrypt("idp:eu/alice", people.key(people.says("user/nobody")))
    arn = f"arn:aws:iam::{people.install}:user/idp%3Aeu%2Falice"
    assert answer.json["message"].startswith(f"User: {arn} is not authorized to perform: kms:Encrypt")


def test_a_deny_of_her_group_wins(people: People) -> None:
    deny = {**people.says("group/oidc%3Asecurity", effect="Deny", action="kms:Encrypt"), "Sid": "NotSecurity"}
    key = people.key(people.says("user/alice%40example.com", "group/team%2Fa%3Ab"), deny)
    answer = people.encrypt(ALICE, key)
    assert (answer.code, people.encrypt("bob@example.com", key).code) == (DENIED, "")
    assert answer.json["message"] == people.encrypt(ALICE, f"{key[:-36]}{uuid.uuid4()}").json["message"]  # of abroad, she is told no more
    (record,) = on_record(people, answer)
    assert record["userIdentity"]["userName"] == ALICE and "NotSecurity" not in str(record["additionalEventData"])
    (decision,) = record["operatorOnly"]["decisions"]
    assert decision["allowed"] is False and 'statement "NotSecurity"' in str(decision), decision
    assert people.clients[ALICE].call("DescribeKey", KeyId=key).code == ""
    assert people.why(ALICE, key) == "denied"


# -- RBAC


def test_rbac_by_her_group_decides_where_the_policy_leaves_it_to_peoples_account(people: People) -> None:
    key = people.key(people.says("root"))
    codes = {who: people.clients[who].call("DescribeKey", KeyId=key).code for who in (ALICE, "bob@example.com", "joe")}
    assert codes == {ALICE: "", "bob@example.com": "", "joe": DENIED}


def test_whom_a_policy_names_needs_rbac_in_the_installs_namespace_too(people: People) -> None:
    kim, groups = "kim@example.com", ("team/a:b",)  # may describe keys, by her group, and not encrypt
    client = people.desk.raw(people.issuer.token(kim, *groups))
    for principal in (f"user/{kim}", "group/team%2Fa%3Ab", "root"):
        key = people.key(people.says(principal))
        codes = (client.call("Encrypt", KeyId=key, Plaintext=b"x").code, client.call("DescribeKey", KeyId=key).code)
        assert (codes, people.encrypt("bob@example.com", key).code) == ((DENIED, ""), DENIED if "kim" in principal else "")
        assert people.why(kim, key, groups) == "denied"


def test_under_the_default_policy_no_right_in_the_keys_namespace_lets_her(people: People) -> None:
    bind(people.desk, NAMESPACE, "of-the-group", ("*",), subject("Group", "oidc:security"), subject("User", ALICE))
    key = people.key()
    assert people.encrypt(ALICE, key).code == DENIED
    assert people.why(ALICE, key) == "denied"


@pytest.mark.powers("audit")
def test_the_api_server_is_told_all_that_it_said_of_her(people: People) -> None:
    cluster = people.desk.installation.cluster
    start, key = cluster.audit_end(), people.key(people.says("user/alice%40example.com"))
    assert people.encrypt(ALICE, key).code == ""

    def review() -> Any:
        for event in cluster.audit_since(start)[0]:
            spec = (event.get("requestObject") or {}).get("spec") or {}
            if spec.get("resourceAttributes", {}).get("name") == key:
                return spec
        return None

    asked = wait_for("the SubjectAccessReview in the API server's log", review)
    assert (asked["user"], asked["uid"]) == (ALICE, f"sub-{ALICE}")
    assert set(asked["groups"]) == {*WHO[ALICE], "system:authenticated"}
    assert asked["extra"] == {OFFICE: ["Bern/3"]}
    where = {name: asked["resourceAttributes"][name] for name in ("namespace", "verb", "resource", "group")}
    assert where == {"namespace": RECORDS, "verb": "encrypt", "resource": "kmskeys", "group": "kms.keystead.io"}


# -- tokens


def changed(token: str, **claims: Any) -> str:
    """The token with other claims, under the signature of the old ones."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return ".".join((head, base64.urlsafe_b64encode(json.dumps(told | claims).encode()).decode().rstrip("="), signature))


def answered(people: People, token: str, key: str) -> Answer:
    return people.desk.raw(token).call("Encrypt", KeyId=key, Plaintext=b"x")


@pytest.fixture(scope="module")
def hers(people: People) -> str:
    """A key that lets Alice."""
    return people.key(people.says("user/alice%40example.com"))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("audience", ["keystead", ["kubernetes", "keystead"]], ids=str)
def test_a_token_for_us_is_hers(people: People, hers: str, algorithm: str, audience: Any) -> None:
    assert answered(people, people.issuer.token(ALICE, algorithm=algorithm, aud=audience), hers).code == ""


def test_every_token_that_is_not_hers_and_for_us_is_refused_with_the_same_words(people: People, hers: str) -> None:
    issuer = people.issuer
    good = issuer.token(ALICE)
    refused = [
        issuer.token(ALICE, aud="kubernetes"),
        issuer.token(ALICE, aud=["kubernetes", "keystead.example.com"]),
        issuer.token(ALICE, aud="vault"),
        issuer.token(ALICE, aud=[]),
        issuer.token(ALICE, iss="https://127.0.0.1:1"),
        issuer.token(ALICE, iss=f"{issuer.url}/"),
        issuer.token(ALICE, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", algorithm="none"),
        changed(good, email="bob@example.com"),
        changed(issuer.token(ALICE, aud="kubernetes"), aud="keystead"),
        good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB"),
        issuer.token(""),
    ]
    answers = {(answer.status, answer.text) for answer in (answered(people, token, hers) for token in refused)}
    assert {status for status, _ in answers} == {400}
    ((_, text),) = answers
    assert json.loads(text)["__type"] == NOBODY


def test_a_token_whose_time_is_over_is_told_so_and_nothing_else_is(people: People, hers: str) -> None:
    issuer, now = people.issuer, int(time.time())
    ended = answered(people, issuer.token(ALICE, iat=now - 900, exp=now - 60), hers)
    assert ended.code == EXPIRED
    assert ended.json["message"] == "The security token included in the request is expired"
    assert answered(people, issuer.token(ALICE, iat=now - 900, exp=now - 60, aud="kubernetes"), hers).code == NOBODY


def test_nobody_is_a_service_account_by_a_persons_token(people: People, hers: str) -> None:
    """The issuer's names have no prefix: one that gives such a name is believed by the API server, and here it is nobody."""
    owner = people.owner
    name = f"system:serviceaccount:{owner.namespace}:{owner.name}"
    token = people.issuer.token(name, "system:serviceaccounts", sub=owner.uid)
    assert review(people, token)["user"]["username"] == name
    assert answered(people, token, hers).code == NOBODY


def review(people: People, token: str, *audiences: str) -> dict[str, Any]:
    """The API server's own words."""
    spec = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    return dict(people.desk.direct.call("POST", REVIEWS, body)["status"])


def test_the_api_server_knows_no_audience_of_a_persons_token_but_its_own(people: People) -> None:
    """Why it is asked twice, and why the token's own `aud` is looked at (store/reviews.py)."""
    for audience in ("keystead", "kubernetes"):
        token = people.issuer.token(ALICE, aud=audience)
        assert not review(people, token, "keystead").get("authenticated")
        assert review(people, token)["authenticated"] is True
    app = people.owner.token("keystead")
    assert review(people, app, "keystead")["audiences"] == ["keystead"]
    assert not review(people, app).get("authenticated")


def test_her_token_is_no_web_identity(people: People) -> None:
    asked = {"RoleArn": people.owner.role, "RoleSessionName": "tests", "WebIdentityToken": people.issuer.token(ALICE)}
    answer = people.desk.raw().form(Action="AssumeRoleWithWebIdentity", **asked)
    assert (answer.status, "<Code>InvalidIdentityToken</Code>" in answer.text) == (400, True)


# -- what is told of her


def on_record(people: People, answer: Answer) -> list[dict[str, Any]]:
    """The records of a call, the caller's first. A refusal is answered before."""
    request_id = answer.headers["x-amzn-RequestId"]

    def look() -> list[dict[str, Any]]:
        return [record for record in records(people.desk.server.text) if record.get("requestID") == request_id]

    return wait_for(f"the record of {request_id}", lambda: look() or None)


def test_she_is_on_record_as_cloudtrail_names_a_user(people: People, hers: str) -> None:
    token = people.issuer.token(ALICE, *WHO[ALICE])
    mine, owners = on_record(people, answered(people, token, hers))
    arn = f"arn:aws:iam::{people.install}:user/{quote(ALICE, safe='@')}"
    who = {"arn": arn, "accountId": people.install, "principalId": mine["userIdentity"]["principalId"]}
    assert mine["userIdentity"] == {"type": "IAMUser", "userName": ALICE, **who}
    assert owners["userIdentity"] == {"type": "AWSAccount", **who}  # as CloudTrail tells the account of a key that is used from abroad
    assert re.fullmatch("AIDA[A-Z2-7]{17}", who["principalId"])
    assert (mine["recipientAccountId"], owners["recipientAccountId"]) == (people.install, people.owner.account)
    assert mine["additionalEventData"]["decision"]["by"] == "rbac"
    assert owners["additionalEventData"]["decision"]["reason"] == 'statement "Statement[0]" of the key policy allows it'
    text = people.desk.server.text
    assert token not in text and token.rsplit(".", 1)[1] not in text


def test_she_learns_about_herself_with_her_own_token(people: People, hers: str) -> None:
    """A kubeconfig as she has it: with a token for the API server. Without `--as`, the API server says who she is."""
    ref = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"}
    base = {"apiVersion": f"{GROUP}/v1", "kind": "RoleBinding", "metadata": {"name": "readers", "namespace": NAMESPACE}}
    body = {**base, "roleRef": ref, "subjects": [subject("Group", "oidc:security")]}
    people.desk.direct.call("POST", f"{RBAC}/{NAMESPACE}/rolebindings", body)
    token = people.issuer.token(ALICE, *WHO[ALICE], aud="kubernetes")
    mine = _plugin(people.desk).of(people.desk.installation.cluster.person_kubeconfig(token, "alice"))
    asked = ("-n", NAMESPACE, "--install-account", people.install, "--encryption-context", "none", "-o", "json")
    told = {action: mine.here("why", action, hers, *asked).json for action in ("encrypt", "describe-key", "decrypt")}
    assert {action: (each["who"], each["verdict"]) for action, each in told.items()} == {
        "encrypt": (f"user {ALICE}", "allowed"),
        "describe-key": (f"user {ALICE}", "allowed"),
        "decrypt": (f"user {ALICE}", "denied"),
    }

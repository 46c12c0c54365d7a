"""Keys of other accounts over HTTPS: every operation, three tenants, real RBAC, and a namespace that was made again under a trusted name.

The whole table of consents, reference fields and callers is in tests/operations/test_abroad.py; here is that nothing of it is lost on the
way: ServiceAccounts with boto3 sessions of their own, the read model, the facts that the API server tells.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError
from tests.operator.harness import wait_for
from tests.serving.abroad import ENDS, GRANTED, NAMED, Named, Way, ghosts, ways
from tests.serving.desk import Desk, Worker, code_of
from tests.serving.test_rbac import CALLS, MACED, MESSAGE, SIGNED, THREADS, Stage

from keystead.app.frontdoor import SERVED
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY

pytestmark = pytest.mark.cluster
DENIED = "AccessDeniedException"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"
SPACES = ("abroad-a", "abroad-b", "abroad-c", "abroad-d", "abroad-again")


def namespace(desk: Desk, name: str) -> None:
    desk.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def policy(own: str, *statements: dict[str, Any]) -> str:
    root = {"Effect": "Allow", "Principal": {"AWS": own}, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [root, *statements]})


def says(principal: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Principal": {"AWS": principal}, "Action": "kms:*", "Resource": "*"}


def by_name(client: Any, operation: str) -> Callable[..., Any]:
    """The method of a boto3 client for an operation of AWS's."""
    return getattr(client, next(method for method, name in client.meta.method_to_api_mapping.items() if name == operation))  # type: ignore[no-any-return]


@dataclass
class World:
    """Tenants: `a`, whom C trusts, with an account that does everything, one without rights, and one for a single key; `b`; and `c`."""

    desk: Desk
    a: Worker
    weak: Worker
    narrow: Worker
    b: Worker
    c: Worker
    clients: dict[str, Any]
    kms: Any
    stage: Stage

    def key(self, *statements: dict[str, Any], **members: Any) -> str:
        """ARN of a new key of C."""
        return str(self.kms.create_key(**members, Policy=policy(f"arn:aws:iam::{self.c.account}:root", *statements))["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def world(desk: Desk) -> Iterator[World]:
    for name in SPACES[:3]:
        namespace(desk, name)
    a, b, c = (desk.worker(name, "app", "*") for name in SPACES[:3])
    weak, narrow = desk.worker(SPACES[0], "weak"), desk.worker(SPACES[0], "narrow")
    kms = c.kms()
    for worker in (a, b):
        worker.kms().create_key()  # an account is claimed by a first key
    made = World(desk, a, weak, narrow, b, c, {}, kms, _empty())
    made.stage = _stage(made, says(f"arn:aws:iam::{a.account}:root"))
    narrow.may("encrypt", names=(made.stage.sym,))
    kms.create_alias(AliasName="alias/lent", TargetKeyId=made.stage.sym.rpartition("/")[2])
    made.clients = {name: worker.kms() for name, worker in {"a": a, "weak": weak, "narrow": narrow, "b": b}.items()}
    yield made
    for name in SPACES[:3]:
        desk.direct.call("DELETE", f"/api/v1/namespaces/{name}")


def _empty() -> Stage:
    return Stage(**{each.name: "" for each in fields(Stage)})


def _stage(world: World, *trust: dict[str, Any]) -> Stage:
    """C's keys, whose policies say this, too; all named by their ARNs. What nobody abroad may do has one key for all of it."""
    sym, other = (world.key(*trust) for _ in range(2))
    enabled = disabled = doomed = saved = other
    sign = world.key(*trust, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    mac = world.key(*trust, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    agree = world.key(*trust, KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
    kms, grantee = world.kms, {"KeyId": sym, "GranteePrincipal": f"arn:aws:iam::{world.c.account}:role/nobody"}
    revoked, retired = (kms.create_grant(**grantee, Operations=[name])["GrantId"] for name in ("Encrypt", "Decrypt"))
    return Stage(
        account=world.c.account, sym=sym, other=other, sign=sign, mac=mac, agree=agree, enabled=enabled, disabled=disabled,
        doomed=doomed, saved=saved, revoked=revoked, retired=retired,
        blob=kms.encrypt(KeyId=sym, Plaintext=MESSAGE)["CiphertextBlob"],
        tag=kms.generate_mac(KeyId=mac, **MACED)["Mac"],
        signature=kms.sign(KeyId=sign, **SIGNED)["Signature"],
        public=kms.get_public_key(KeyId=agree)["PublicKey"],
    )  # fmt: skip


def answer(client: Any, operation: str, members: dict[str, Any]) -> tuple[str, str]:
    """Code and text of an error, both "" for none."""
    try:
        by_name(client, operation)(**members)
    except ClientError as error:
        return str(error.response["Error"]["Code"]), str(error.response["Error"]["Message"])
    return "", ""


def answers(client: Any, asked: dict[str, Way]) -> dict[str, tuple[str, str]]:
    """Answers to calls that know nothing of each other, several at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(asked, pool.map(lambda way: answer(client, *way), asked.values()), strict=True))


def codes(client: Any, asked: dict[str, Way]) -> dict[str, str]:
    return {name: code for name, (code, _) in answers(client, asked).items()}


def members_of(operation: str, stage: Stage) -> dict[str, Any]:
    """Of test_rbac's table, with every key named by its ARN. The blobs name C's key by themselves."""
    return CALLS[operation](stage)


@pytest.mark.parametrize("operation", NAMED)
def test_both_sides_must_allow_it_and_only_what_aws_lets_other_accounts_do(world: World, operation: str) -> None:
    members = members_of(operation, world.stage)
    codes = {name: answer(client, operation, members)[0] for name, client in world.clients.items() if name != "narrow"}
    lent = set(SERVED[operation].actions) <= ABROAD - BY_GRANT_ONLY  # a policy does not lend RetireGrant
    assert codes == {"a": "" if lent else DENIED, "weak": DENIED, "b": DENIED}


@pytest.mark.parametrize("operation", NAMED)
def test_a_key_that_exists_and_one_that_does_not_are_refused_in_the_same_words(world: World, operation: str) -> None:
    there, nowhere = (members_of(operation, stage) for stage in (world.stage, ghosts(world.stage)))
    for name in ("weak", "b"):
        told = answer(world.clients[name], operation, there)
        assert told[0] == DENIED
        if there != nowhere:  # a blob is what it is
            assert told == answer(world.clients[name], operation, nowhere)


class Lent(NamedTuple):
    """Stages of C's that know one ServiceAccount of A's, by its role or by grants, and who calls."""

    stages: dict[str, Stage]
    clients: dict[str, Any]


@pytest.fixture(scope="module")
def lent(world: World) -> Lent:
    by_grant = _stage(world)
    _, ends = _granted(world, by_grant, world.a.role)
    other = world.desk.worker(SPACES[0], "neighbour", "*").kms()
    stages = {"role": _stage(world, says(world.a.role)), "grant": replace(by_grant, retired=ends)}
    return Lent(stages, {"other": other, **{name: world.clients[name] for name in ("a", "weak", "b")}})


def _granted(world: World, stage: Stage, role: str) -> tuple[str, str]:
    """Grants of all that can be granted; the token of the first, and the id of one that its grantee may retire."""
    made = [world.kms.create_grant(KeyId=getattr(stage, key), GranteePrincipal=role, Operations=given) for key, given in GRANTED.items()]
    ends = world.kms.create_grant(KeyId=stage.sym, GranteePrincipal=role, Operations=["DescribeKey", *ENDS], Name="ends")
    return str(made[0]["GrantToken"]), str(ends["GrantId"])


@pytest.mark.parametrize("operation", NAMED)
def test_a_role_or_a_grant_lends_to_that_one_alone_what_it_can(lent: Lent, operation: str) -> None:
    actions = set(SERVED[operation].actions)
    lets = {"role": actions <= ABROAD - BY_GRANT_ONLY, "grant": all(ACTIONS[action].grantable is not None for action in actions)}
    asked = [(consent, name) for consent in lent.stages for name in lent.clients]
    with ThreadPoolExecutor(THREADS) as pool:
        said = pool.map(lambda each: answer(lent.clients[each[1]], operation, members_of(operation, lent.stages[each[0]]))[0], asked)
        found = dict(zip(asked, said, strict=True))
    assert found == {(consent, name): "" if name == "a" and lets[consent] else DENIED for consent, name in asked}


def test_a_right_for_one_arn_is_a_right_on_that_key_alone(world: World) -> None:
    kms = world.clients["narrow"]
    kms.encrypt(KeyId=world.stage.sym, Plaintext=b"x")
    assert code_of(kms.encrypt, KeyId=world.stage.other, Plaintext=b"x") == DENIED
    assert code_of(kms.describe_key, KeyId=world.stage.sym) == DENIED


def test_every_field_that_can_name_a_key_can_name_one_abroad(world: World) -> None:
    kms, stage = world.clients["a"], world.stage
    alias = f"{stage.sym.rpartition(':')[0]}:alias/lent"
    own = kms.create_key()["KeyMetadata"]["KeyId"]
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"] == stage.sym
    for named in (stage.sym, alias):
        blob = kms.encrypt(KeyId=named, Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, KeyId=named, EncryptionContext={"a": "b"})["Plaintext"] == b"x"
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["KeyId"] == stage.sym
        context = {"SourceEncryptionContext": {"a": "b"}}
        for source in ({"SourceKeyId": named}, {}):
            here = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=own, **source, **context)
            assert here["SourceKeyId"] == stage.sym
        back = kms.re_encrypt(CiphertextBlob=here["CiphertextBlob"], DestinationKeyId=named)
        assert kms.decrypt(CiphertextBlob=back["CiphertextBlob"])["KeyId"] == stage.sym
    bare = stage.sym.rpartition("/")[2]
    assert code_of(kms.describe_key, KeyId=bare) == "NotFoundException"  # a bare id is of one's own account


@pytest.mark.parametrize("consent", ["default", "account", "role", "grant", "deny"])
def test_the_keys_side_consents_by_account_by_role_or_by_grant(world: World, consent: str) -> None:
    account, role = f"arn:aws:iam::{world.a.account}:root", world.a.role
    statements = {"account": [says(account)], "role": [says(role)], "deny": [says(account), says(account, "Deny")]}
    key = world.key(*statements.get(consent, []))
    token: dict[str, Any] = {}
    if consent == "grant":
        token = {"GrantTokens": [world.kms.create_grant(KeyId=key, GranteePrincipal=role, Operations=["Encrypt"])["GrantToken"]]}
    asked = {"KeyId": key, "Plaintext": b"x"}
    other = world.desk.worker(SPACES[0], f"other-{consent}", "*").kms()
    codes = [code_of(client.encrypt, **asked, **token) for client in (world.clients["a"], other, world.clients["b"], world.clients["weak"])]
    lets = "" if consent in ("account", "role", "grant") else DENIED
    assert codes == [lets, "" if consent == "account" else DENIED, DENIED, DENIED]


def test_a_grant_made_from_abroad_lives_with_the_key_and_ends_from_abroad(world: World) -> None:
    kms, stage = world.clients["a"], world.stage
    grantee, retiring = world.b.role, world.a.role
    asked = {"KeyId": stage.sym, "GranteePrincipal": grantee, "Operations": ["Encrypt", "RetireGrant"], "RetiringPrincipal": retiring}
    made = kms.create_grant(**asked, Name="from-abroad")
    assert kms.create_grant(**asked, Name="from-abroad")["GrantId"] == made["GrantId"]
    objects = world.desk.direct.get(f"/apis/kms.keystead.io/v1alpha1/namespaces/{SPACES[2]}/kmsgrants")["items"]
    assert [each for each in objects if each["spec"].get("granteePrincipal") == grantee]
    assert made["GrantId"] in [each["GrantId"] for each in kms.list_grants(KeyId=stage.sym)["Grants"]]
    listed = kms.list_retirable_grants(RetiringPrincipal=retiring)["Grants"]
    assert [(each["GrantId"], each["KeyId"]) for each in listed] == [(made["GrantId"], stage.sym)]
    b = world.clients["b"]
    b.encrypt(KeyId=stage.sym, Plaintext=b"x", GrantTokens=[made["GrantToken"]])
    assert code_of(b.decrypt, CiphertextBlob=stage.blob) == DENIED
    kms.retire_grant(KeyId=stage.sym, GrantId=made["GrantId"])
    assert code_of(b.encrypt, KeyId=stage.sym, Plaintext=b"x") == DENIED
    again = kms.create_grant(**asked)
    b.retire_grant(GrantToken=again["GrantToken"])
    assert kms.list_retirable_grants(RetiringPrincipal=retiring)["Grants"] == []


def test_the_state_of_a_key_is_told_to_whom_both_sides_allow_it(world: World) -> None:
    key = world.key(says(f"arn:aws:iam::{world.a.account}:root"))
    world.kms.disable_key(KeyId=key)
    codes = {name: code_of(client.encrypt, KeyId=key, Plaintext=b"x") for name, client in world.clients.items()}
    assert codes == {"a": "DisabledException", "weak": DENIED, "narrow": DENIED, "b": DENIED}


# -- what a name was trusted with


def test_a_namespace_without_an_account_of_its_own_is_lent_nothing(world: World) -> None:
    namespace(world.desk, SPACES[3])
    late = world.desk.worker(SPACES[3], "app", "*")
    key = world.key(says(f"arn:aws:iam::{late.account}:root"))
    kms = late.kms()
    assert code_of(kms.encrypt, KeyId=key, Plaintext=b"x") == DENIED
    kms.create_key()
    assert code_of(kms.encrypt, KeyId=key, Plaintext=b"x") == ""
    world.desk.direct.call("DELETE", f"/api/v1/namespaces/{SPACES[3]}")


def test_who_makes_a_trusted_namespace_again_is_not_trusted_and_its_keys_serve_nobody_abroad(world: World) -> None:
    desk, again = world.desk, SPACES[4]
    namespace(desk, again)
    before = desk.worker(again, "app", "*")
    kms = before.kms()
    trusting = policy(f"arn:aws:iam::{before.account}:root", says(f"arn:aws:iam::{world.a.account}:root"))
    lent = kms.create_key(Policy=trusting)["KeyMetadata"]["Arn"]
    trusted, a = _trusting(world, before), world.clients["a"]
    assert code_of(a.encrypt, KeyId=lent, Plaintext=b"x") == ""
    served = codes(kms, {name: way for name, way in ways(trusted).items() if way[0] not in ("RetireGrant", "RevokeGrant")})
    assert {name for name, code in served.items() if code == ""} == {name for name in served if _can_be_lent(name.split()[0])}
    old = before.account
    desk.direct.call("DELETE", f"/api/v1/namespaces/{again}")
    wait_for("the namespace is gone", lambda: desk.direct.object("Namespace", "", again) is None, 30)
    namespace(desk, again)
    after = desk.worker(again, "app", "*")
    wait_for("the front door knows the new namespace", lambda: _account(after) not in ("", old), 20)
    theirs = after.kms()
    assert codes(theirs, ways(trusted)) == dict.fromkeys(ways(trusted), DENIED)
    own = theirs.create_key()["KeyMetadata"]["KeyId"]  # with an account of its own, too
    theirs.create_alias(AliasName="alias/own", TargetKeyId=own)
    mine = {"own": own, "blob": theirs.encrypt(KeyId=own, Plaintext=b"x")["CiphertextBlob"]}
    there, nowhere = (answers(theirs, ways(each, **mine)) for each in (trusted, trusted.ghosts()))
    assert {name: code for name, (code, _) in there.items()} == dict.fromkeys(there, DENIED)
    assert there == nowhere
    assert code_of(kms.encrypt, KeyId=trusted.stage.sym, Plaintext=b"x") == "UnrecognizedClientException"
    refused = answer(a, "Encrypt", {"KeyId": lent, "Plaintext": b"x"})
    assert refused == answer(a, "Encrypt", {"KeyId": f"{lent.rpartition('/')[0]}/{uuid.uuid4()}", "Plaintext": b"x"})
    desk.direct.call("DELETE", f"/api/v1/namespaces/{again}")


def _trusting(world: World, who: Worker) -> Named:
    """C's keys, which trust it in every way at once: by account, by role, by grant. Who is refused by these is refused by each of them."""
    stage = _stage(world, says(f"arn:aws:iam::{who.account}:root"), says(who.role))
    token, ends = _granted(world, stage, who.role)
    place = stage.sym.rpartition(":")[0]
    aliases = {key: f"{place}:alias/trusting-{key}" for key in GRANTED if key != "other"}
    for key, alias in aliases.items():
        world.kms.create_alias(AliasName=alias.rpartition(":")[2], TargetKeyId=getattr(stage, key).rpartition("/")[2])
    return Named(replace(stage, retired=ends), aliases, token)


def _can_be_lent(operation: str) -> bool:
    return set(SERVED[operation].actions) <= ABROAD


def _account(worker: Worker) -> str:
    try:
        return worker.account
    except AssertionError:
        return ""

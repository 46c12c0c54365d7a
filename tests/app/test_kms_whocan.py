"""`kubectl kms who-can` over a cluster in memory: who can by writing an object what the endpoint refuses, and who is not there at all."""

from __future__ import annotations

import asyncio

import pytest
from tests.app.kms_cluster import FakeKube, account, rule
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT, OTHER_NAMESPACE

from keystead.app.kms.byobject import BY_OBJECT, FOR_DATA_KEYS
from keystead.app.kms.whocan import who_can
from keystead.cli.kms_services import Holder, May, Question
from keystead.engine.managed import DATA_KEYS_SERVICE, managed_policy
from keystead.policy.actions import ABROAD, ACTIONS, Action

ARN_OF_APP = f"arn:aws:iam::{ACCOUNT}:role/app"
ROOT = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
LOCKED = {"Version": "2012-10-17", "Statement": [{**ROOT, "Principal": {"AWS": OTHER_ACCOUNT}}]}
OPS = {"kind": "Group", "name": "ops"}


@pytest.fixture
def kube() -> FakeKube:
    made = FakeKube()
    made.key()
    return made


def holders(kube: FakeKube, action: str = "decrypt") -> dict[str, Holder]:
    told = asyncio.run(who_can(kube.view(), NAMESPACE, Question(action=action, key="app")))
    return {holder.who: holder for holder in told.holders}


@pytest.mark.parametrize("action", sorted(BY_OBJECT - FOR_DATA_KEYS))
def test_who_can_rescue_a_locked_key_by_writing_an_object_is_told(kube: FakeKube, action: Action) -> None:
    kube.key(policy=LOCKED)
    kube.put("ServiceAccount", "keyadm")
    kube.bind("keys", rule(ACTIONS[action].verb), account("keyadm"), account("far", OTHER_NAMESPACE), OPS)
    told = holders(kube, action)
    for who in ("ServiceAccount team-a/keyadm", "ServiceAccount team-b/far", "group ops"):
        assert told[who].may is May.KUBECTL and told[who].note.startswith("by writing the object, if RBAC lets them")
        assert told[who].through == "RoleBinding keys in team-a of Role keys"
    elsewhere = told[f"account {OTHER_ACCOUNT}"]
    if action not in ABROAD:
        words = f"the key belongs to another account, which no policy can let do {action.value}"
        assert (elsewhere.may, elsewhere.note) == (May.NO, words)


def test_a_binding_does_not_lend_its_name_to_what_a_statement_gives(kube: FakeKube) -> None:
    named = {**ROOT, "Sid": "App", "Principal": {"AWS": ARN_OF_APP}}
    kube.key(policy={"Version": "2012-10-17", "Statement": [named]})
    kube.bind("keys", rule("putkeypolicy"), account("app"))
    told = holders(kube, "put-key-policy")
    assert (told[ARN_OF_APP].may, told["ServiceAccount team-a/app"].may) == (May.YES, May.KUBECTL)


@pytest.mark.parametrize("action", sorted(FOR_DATA_KEYS))
def test_a_data_key_of_a_key_that_lets_neither_namespace_nor_controller_is_not_had_by_kubectl(kube: FakeKube, action: Action) -> None:
    kube.bind("keys", rule(ACTIONS[action].verb), account("app"), OPS)
    assert holders(kube, action)["group ops"].may is May.KUBECTL
    kube.key(policy=LOCKED)
    told = holders(kube, action)["ServiceAccount team-a/app"]
    assert told.may is May.NO and told.note.startswith("the key's policy stops the object, whoever writes it: no rule allows")
    service = {**ROOT, "Principal": {"Service": DATA_KEYS_SERVICE}}
    kube.key(policy={"Version": "2012-10-17", "Statement": [service]})
    assert holders(kube, action)["ServiceAccount team-a/app"].may is May.KUBECTL


def test_a_deny_to_the_namespace_stops_grants_of_manifests_and_no_other_object(kube: FakeKube) -> None:
    deny = {"Sid": "Nobody", "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}
    kube.key(policy={"Version": "2012-10-17", "Statement": [ROOT, deny]})
    kube.bind("keys", rule("creategrant", "revokegrant", "putkeypolicy"), OPS)
    may = {action: holders(kube, action)["group ops"] for action in ("create-grant", "revoke-grant", "put-key-policy")}
    assert [each.may for each in may.values()] == [May.NO, May.KUBECTL, May.KUBECTL]
    assert '"Nobody"' in may["create-grant"].note


def test_keysteads_own_keys_are_written_by_nobody(kube: FakeKube) -> None:
    kube.key("aws-keystead", policy=managed_policy(ACCOUNT))
    kube.bind("keys", rule("*"), OPS)
    for action, may in (("put-key-policy", set()), ("generate-data-key-without-plaintext", {May.KUBECTL})):
        told = asyncio.run(who_can(kube.view(), NAMESPACE, Question(action=action, key="aws-keystead")))
        assert {holder.may for holder in told.holders if holder.who == "group ops"} == may


def test_a_serviceaccount_that_is_named_and_is_not_there_is_noted(kube: FakeKube) -> None:
    nosuch, far = f"arn:aws:iam::{ACCOUNT}:role/nosuchsa", f"arn:aws:iam::{OTHER_ACCOUNT}:role/nosuchsa"
    named = {**ROOT, "Principal": {"AWS": [nosuch, ARN_OF_APP, far]}}
    kube.key(policy={"Version": "2012-10-17", "Statement": [ROOT, named]})
    kube.put("ServiceAccount", "app")
    kube.bind("users", rule("decrypt"), account("gone"))
    told = holders(kube)
    assert (told[nosuch].may, told[nosuch].note) == (May.YES, "there is no ServiceAccount team-a/nosuchsa")
    assert told["ServiceAccount team-a/gone"].note == "there is no ServiceAccount team-a/gone"
    assert not any("there is no" in told[name].note for name in (ARN_OF_APP, far))
    kube.forbidden.add("serviceaccounts/")
    answer = asyncio.run(who_can(kube.view(), NAMESPACE, Question(action="decrypt", key="app")))
    assert not any("there is no" in holder.note for holder in answer.holders)
    assert answer.unread == ()

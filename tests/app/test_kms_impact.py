"""`kubectl kms impact` and `who-can` over a cluster in memory. On a real API server: tests/serving/test_kubectl_kms_impact.py."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.app.kms_cluster import FakeKube, account, rule
from tests.audit_reading.chains import AChain, a_call
from tests.builders import ACCOUNT, NAMESPACE, NOW, OTHER_ACCOUNT, OTHER_NAMESPACE, REGION, a_key_id

from keystead.app.kms.callers import AuditFolders, NoCallers, ServersTell
from keystead.app.kms.impact import impact, uses
from keystead.app.kms.whocan import who_can
from keystead.cli.kms_audit import AuditAnswer, AuditAsk, ReplicaMissing, ReplicaTold
from keystead.cli.kms_services import CallerUse, Holder, ImpactAnswer, KnownCallers, May, Question, Unknown
from keystead.errors import FormatError
from keystead.resources.kms_data_key import KEY_ARNS_SHOWN

KEY_ID = a_key_id(1, "app", NAMESPACE)
ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"
OTHER_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{a_key_id(2)}"
ARN_OF_APP = f"arn:aws:iam::{ACCOUNT}:role/app"
ASK = AuditAsk(key="", since=None, limit=10, endpoints=("https://a",), ca_file=None, service_account="auditor", token_file=None)
ROOT = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}


@pytest.fixture
def kube() -> FakeKube:
    made = FakeKube()
    made.key()
    made.key("other")
    return made


def shown(kube: FakeKube, callers: Any = None) -> ImpactAnswer:
    return asyncio.run(impact(kube.view(), NAMESPACE, "app", callers or NoCallers()))


def data_key(kube: FakeKube, name: str, namespace: str = NAMESPACE, arn: str = "", **spec: Any) -> None:
    target = {"secretName": f"{name}-secret"}
    kube.put("KmsDataKey", name, namespace, spec={"target": target, **spec}, status={"keyArn": arn} if arn else {})


def test_data_keys_are_found_by_every_way_that_leads_to_the_key(kube: FakeKube) -> None:
    status = {"targetKeyId": KEY_ID}
    kube.put("KmsAlias", "ours", spec={"aliasName": "alias/ours", "keyRef": {"name": "app"}}, status=status)
    kube.put("KmsAlias", "moved", spec={"aliasName": "alias/moved", "keyRef": {"name": "app"}}, status={"targetKeyId": a_key_id(2)})
    data_key(kube, "by-name", keyRef={"name": "app"})
    data_key(kube, "by-alias", aliasRef={"name": "ours"})
    data_key(kube, "abroad", OTHER_NAMESPACE, keyRef={"name": "app", "namespace": NAMESPACE})
    data_key(kube, "by-record", OTHER_NAMESPACE, ARN, aliasRef={"name": "theirs"})
    data_key(kube, "not-ours", keyRef={"name": "other"})
    data_key(kube, "homonym", OTHER_NAMESPACE, keyRef={"name": "app"})
    data_key(kube, "managed")
    told = shown(kube)
    assert {item.name for item in told.dependants} == {"ours", "by-name", "by-alias", "abroad", "by-record"}


def counts(kube: FakeKube, number: int) -> None:
    kube.key()["status"]["dependents"] = {"aliases": 0, "grants": 0, "dataKeys": number}


def moved(kube: FakeKube, name: str, version: int = 2, **status: Any) -> None:
    """A data key that an alias took to another key."""
    target = {"secretName": f"{name}-secret"}
    spec = {"target": target, "aliasRef": {"name": "elsewhere"}}
    kube.put("KmsDataKey", name, spec=spec, status={"keyArn": OTHER_ARN, "version": version, **status})


def test_a_data_key_with_older_versions_under_the_key_is_found_and_so_is_who_mounts_it(kube: FakeKube) -> None:
    counts(kube, 1)
    moved(kube, "moved", keyArns=[OTHER_ARN, ARN])
    moved(kube, "never-here", keyArns=[OTHER_ARN])
    kube.put("Pod", "web-0", spec={"volumes": [{"name": "key", "secret": {"secretName": "moved-secret"}}]})
    told = shown(kube)
    assert [(item.name, item.detail) for item in told.dependants] == [
        ("moved", "Secret moved-secret, version 2, older versions under this key")
    ]
    assert [mount.name for mount in told.mounts] == ["web-0"]
    assert (told.hidden, told.unclear) == ({}, ())


def test_a_data_key_whose_status_does_not_say_it_yet_is_named_where_the_count_leaves_room(kube: FakeKube) -> None:
    """Its status is of a version before this one, or has as many keys as it can."""
    moved(kube, "before")
    moved(kube, "full", keyArns=[f"{OTHER_ARN}-{n}" for n in range(KEY_ARNS_SHOWN)])
    moved(kube, "young", version=1)
    moved(kube, "known", keyArns=[OTHER_ARN])
    for number, unclear in ((1, ("team-a/before", "team-a/full")), (0, ())):
        counts(kube, number)
        assert shown(kube).unclear == unclear
    assert shown(kube).dependants == ()
    kube.key()  # without a count
    assert shown(kube).unclear == ("team-a/before", "team-a/full")


def test_what_is_over_or_stalled_is_marked(kube: FakeKube) -> None:
    taken = {"type": "Stalled", "status": "True", "reason": "AliasTaken", "observedGeneration": 1}
    kube.put("KmsAlias", "twice", spec={"aliasName": "alias/x", "keyRef": {"name": "app"}}, status={"conditions": [taken]})
    spec = {"keyRef": {"name": "app"}, "granteePrincipal": ARN_OF_APP, "operations": ["Decrypt"]}
    kube.put("KmsGrant", "past", spec=spec, status={"keyId": KEY_ID, "expirationTime": "2026-01-01T00:00:00Z"})
    kube.put("KmsGrant", "lasts", spec=spec, status={"keyId": KEY_ID, "expirationTime": "2099-01-01T00:00:00Z"})
    kube.put("KmsGrant", "bad", spec=spec, status={"keyId": KEY_ID, "conditions": [{**taken, "reason": "InvalidSpec"}]})
    assert {item.name: item.detail for item in shown(kube).dependants} == {
        "twice": "alias/x (Stalled: AliasTaken)",
        "past": f"{ARN_OF_APP}: Decrypt, ended at 2026-01-01T00:00:00Z",
        "lasts": f"{ARN_OF_APP}: Decrypt, until 2099-01-01T00:00:00Z",
        "bad": f"{ARN_OF_APP}: Decrypt (Stalled: InvalidSpec)",
    }


def test_the_managed_key_has_the_data_keys_without_a_reference(kube: FakeKube) -> None:
    kube.key("aws-keystead")
    data_key(kube, "managed")
    told = asyncio.run(impact(kube.view(), NAMESPACE, "alias/aws/keystead", NoCallers()))
    assert [item.name for item in told.dependants] == ["managed"]


KEY = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s4", "key": "k"}}}
SPEC = {
    "volumes": [
        {"name": "a", "secret": {"secretName": "s1"}},
        {"name": "b", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s2"}}]}},
        {"name": "c", "emptyDir": {}},
    ],
    "initContainers": [{"name": "init", "envFrom": [{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "c"}}]}],
    "containers": [{"name": "app", "env": [KEY, {"name": "PLAIN", "value": "s5"}]}],
}


def test_every_way_to_have_a_secret_is_seen() -> None:
    assert list(uses(SPEC)) == [
        ("s1", "volume a"),
        ("s2", "projected volume b"),
        ("s3", "envFrom of init"),
        ("s4", "env KEY of app"),
    ]


def test_pods_are_told_with_who_made_them(kube: FakeKube) -> None:
    data_key(kube, "app", keyRef={"name": "app"})
    spec = {"volumes": [{"name": "key", "secret": {"secretName": "app-secret"}}]}
    owned = {"controller": True, "kind": "ReplicaSet", "name": "web-1"}
    kube.put("ReplicaSet", "web-1", metadata={"ownerReferences": [{"controller": True, "kind": "Deployment", "name": "web"}]})
    kube.put("Pod", "web-1-x", spec=spec, metadata={"ownerReferences": [owned]})
    kube.put("Pod", "alone", spec=spec)
    kube.put("Pod", "unconcerned", spec={"volumes": [{"name": "key", "secret": {"secretName": "another"}}]})
    kube.put("Pod", "elsewhere", OTHER_NAMESPACE, spec=spec)
    kube.put("CronJob", "nightly", spec={"jobTemplate": {"spec": {"template": {"spec": spec}}}})
    told = {(mount.kind, mount.name): mount.owner for mount in shown(kube).mounts}
    assert told == {("Pod", "web-1-x"): "Deployment web", ("Pod", "alone"): "", ("CronJob", "nightly"): ""}


def test_what_the_operator_counts_and_nobody_sees_is_said(kube: FakeKube) -> None:
    kube.key()["status"]["dependents"] = {"aliases": 0, "grants": 2, "dataKeys": 3}
    data_key(kube, "here", keyRef={"name": "app"})
    kube.forbidden |= {"v1alpha1/kmsdatakeys", "kmsgrants"}
    told = shown(kube)
    assert told.hidden == {"KmsGrant": 2, "KmsDataKey": 2}
    assert set(told.unread) == {"you may not list kmsgrants in team-a", "you may not list kmsdatakeys in all namespaces"}


def test_callers_come_from_the_audit_trail_as_far_as_it_reaches(kube: FakeKube, tmp_path: Path) -> None:
    records = [a_call(0, key=KEY_ID), a_call(1, key=KEY_ID, action="Decrypt"), a_call(2, key=KEY_ID, action="Decrypt")]
    denied = a_call(3, key=KEY_ID, principal="stranger", code="AccessDeniedException")
    old = a_call(4, key=KEY_ID, principal="ancient", time="2026-01-01T00:00:00Z")
    chain = AChain("a").start()
    for record in (*records, denied, old, a_call(5)):
        chain.add(record)
    chain.end().write(tmp_path)
    told = shown(kube, AuditFolders([tmp_path])).callers
    assert isinstance(told, KnownCallers)
    app, stranger = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("app", "stranger"))
    assert told.uses == (
        CallerUse(app, {"Decrypt": 2, "Encrypt": 1}, "2026-11-26T08:00:02Z"),
        CallerUse(stranger, {}, "2026-11-26T08:00:03Z", 1),
    )
    assert told.reaches_back


def test_callers_that_servers_tell_are_counted_once_and_from_when_all_of_them_know(kube: FakeKube) -> None:
    told = [
        {"eventName": "Decrypt", "eventType": "AwsApiCall", "eventTime": f"2026-11-26T08:00:0{n}Z", "userIdentity": {"arn": ARN_OF_APP}}
        for n in range(2)
    ]
    told.append({**told[0], "errorCode": "AccessDeniedException"})
    told.append({**told[0], "eventName": "RotateKey", "eventType": "AwsServiceEvent"})
    asked: list[AuditAsk] = []

    def known(answer: AuditAnswer) -> KnownCallers | Unknown:
        def read(ask: AuditAsk, token: str) -> AuditAnswer:
            assert token == "a-token"
            asked.append(ask)
            return answer

        return shown(kube, ServersTell(ASK, "a-token", read)).callers

    replicas = [ReplicaTold("https://a", "a", "2026-09-01T00:00:00Z"), ReplicaTold("https://b", "b", "2026-10-01T00:00:00Z")]
    answer = known(AuditAnswer(told, replicas, more=False))
    assert answer == KnownCallers((CallerUse(ARN_OF_APP, {"Decrypt": 2}, "2026-11-26T08:00:01Z", 1),), "2026-10-01T00:00:00Z")
    assert asked[0].key == kube.key()["status"]["keyArn"] and asked[0].since == NOW - timedelta(days=90)
    many = known(AuditAnswer(told, replicas, more=True))
    assert many == Unknown("not known: the servers have more than 10 records; give --audit-log DIR")
    silent = AuditAnswer([], [*replicas, ReplicaTold("https://c", "c", "")], more=False)
    assert known(silent) == Unknown("not known: c (https://c) has no audit records")
    damaged = AuditAnswer([], [*replicas, ReplicaTold("https://c", "c", "2026-09-01T00:00:00Z", damaged=True)], more=False)
    assert known(damaged) == Unknown("not known: the audit records of c (https://c) are damaged")
    lost = AuditAnswer(told, replicas, more=False, missing=[ReplicaMissing("https://a", "", "10.0.0.2:8443", "nobody listens there")])
    assert known(lost) == Unknown("not known: 10.0.0.2:8443 could not be asked: nobody listens there")
    with pytest.raises(FormatError):
        known(AuditAnswer([{"eventType": "AwsApiCall", "eventTime": 7}], replicas, more=False))


def test_of_a_trail_that_is_damaged_nothing_is_said(kube: FakeKube, tmp_path: Path) -> None:
    (path,) = AChain("a").start().add(a_call(0, key=KEY_ID)).write(tmp_path)
    assert isinstance(shown(kube, AuditFolders([tmp_path])).callers, KnownCallers)
    path.write_bytes(path.read_bytes() + b"x" * 3_000_000 + b"\n")
    told = shown(kube, AuditFolders([tmp_path])).callers
    assert isinstance(told, Unknown) and "damaged: audit-a-000000.jsonl: the line at byte" in told.reason


def test_of_a_trail_whose_records_of_the_key_are_damaged_it_is_not_said_that_nobody_called(kube: FakeKube, tmp_path: Path) -> None:
    """What is left of such a line does not name the key."""
    (path,) = AChain("a").start().add(a_call(0, key=KEY_ID)).add(a_call(1, key="9")).end().write(tmp_path)
    start, _, *others = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([start, b"garbage", *others]))
    damaged = f"audit-a-000000.jsonl: the line at byte {len(start) + 1} is no record, and was passed over"
    assert shown(kube, AuditFolders([tmp_path])).callers == Unknown(f"not known: the audit records are damaged: {damaged}")


def test_without_a_trail_callers_are_unknown_and_not_none(kube: FakeKube, tmp_path: Path) -> None:
    assert shown(kube).callers == Unknown("not known: give --audit-log DIR, or --endpoint URL")
    assert isinstance(shown(kube, AuditFolders([tmp_path])).callers, Unknown)


def holders(kube: FakeKube, action: str = "decrypt") -> dict[str, Holder]:
    told = asyncio.run(who_can(kube.view(), NAMESPACE, Question(action=action, key="app")))
    return {holder.who: holder for holder in told.holders}


def test_wildcards_of_a_rule_are_marked(kube: FakeKube) -> None:
    kube.bind("all", rule("*", group="*", resource="*"), account("boss"), namespace="")
    kube.bind("one", rule("decrypt"), account("app"))
    told = holders(kube)
    assert told["ServiceAccount team-a/boss"].wildcard == "all verbs, all resources, all API groups"
    assert told["ServiceAccount team-a/app"].wildcard == ""


@pytest.mark.parametrize(
    ("subject", "who", "may"),
    [
        (account("app"), "ServiceAccount team-a/app", May.YES),
        ({"kind": "User", "name": "system:serviceaccount:team-a:app"}, "ServiceAccount team-a/app", May.YES),
        ({"kind": "Group", "name": "system:serviceaccounts"}, "group system:serviceaccounts", May.YES),
        ({"kind": "Group", "name": "system:serviceaccounts:team-a"}, "group system:serviceaccounts:team-a", May.YES),
        (account("far", OTHER_NAMESPACE), "ServiceAccount team-b/far", May.NO),
        ({"kind": "Group", "name": "ops"}, "group ops", May.NO),
        ({"kind": "User", "name": "jane"}, "user jane", May.NO),
    ],
)
def test_a_subject_may_what_the_endpoint_would_let_it(kube: FakeKube, subject: dict[str, str], who: str, may: May) -> None:
    kube.key("theirs", OTHER_NAMESPACE, OTHER_ACCOUNT)
    kube.bind("users", rule("decrypt"), subject)
    assert holders(kube)[who].may is may


def test_people_administer_by_writing_objects(kube: FakeKube) -> None:
    kube.bind("admins", rule("putkeypolicy", "decrypt"), {"kind": "Group", "name": "ops"})
    assert holders(kube, "put-key-policy")["group ops"].may is May.KUBECTL
    assert holders(kube)["group ops"].may is May.NO


def test_a_policy_that_leaves_nothing_to_the_account_makes_bindings_worthless(kube: FakeKube) -> None:
    only = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/named"}, "Action": "kms:*", "Resource": "*"}
    kube.key(policy={"Version": "2012-10-17", "Statement": [only]})
    kube.bind("users", rule("decrypt"), account("app"))
    assert {who: holder.may for who, holder in holders(kube).items()} == {f"arn:aws:iam::{ACCOUNT}:role/named": May.YES}


@pytest.mark.parametrize("name", ["group/devs", "role/a/b", "role/App", "user/oidc/jane", "user/oidc%2fjane"])
def test_an_old_grant_to_whom_nobody_can_be_is_no(kube: FakeKube, name: str) -> None:
    grantee = f"arn:aws:iam::{ACCOUNT}:{name}"
    spec = {"keyRef": {"name": "app"}, "granteePrincipal": grantee, "operations": ["Decrypt"]}
    kube.put("KmsGrant", "given", spec=spec, status={"grantId": "ab" * 32, "keyId": KEY_ID})
    told = holders(kube)[grantee]
    assert told.may is May.NO and "nobody is this: " in told.note


def test_a_policy_that_cannot_be_read_serves_nobody_and_says_so(kube: FakeKube) -> None:
    kube.key(policy={"Version": "2012-10-17", "Statement": [{**ROOT, "Action": "kms:Fly"}]})
    kube.put("ServiceAccount", "app")
    kube.bind("users", rule("decrypt", "describekey"), account("app"))
    spec = {"keyRef": {"name": "app"}, "granteePrincipal": ARN_OF_APP, "operations": ["Decrypt"]}
    kube.put("KmsGrant", "given", spec=spec, status={"grantId": "ab" * 32, "keyId": KEY_ID})
    told = holders(kube)
    reason = "the key's policy cannot be read by this version: the key serves nobody until it has another"
    assert {who: (holder.may, holder.note) for who, holder in told.items()} == {
        f"account {ACCOUNT} (root)": (May.NO, reason),
        ARN_OF_APP: (May.NO, reason),
    }
    assert told[f"account {ACCOUNT} (root)"].through == 'statement "Enable IAM User Permissions" of the default policy'
    assert holders(kube, "describe-key")["ServiceAccount team-a/app"].may is May.YES


def test_everybody_is_marked_and_a_condition_makes_it_depend(kube: FakeKube) -> None:
    via = {"StringEquals": {"kms:ViaService": "datakeys.kms.keystead.io"}}
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*", "Condition": via}
    kube.key(policy={"Version": "2012-10-17", "Statement": [ROOT, everybody]})
    told = holders(kube)["everybody"]
    assert (told.may, told.wildcard) == (May.DEPENDS, "every principal")
    assert "kms:ViaService" in told.note


def test_another_account_hangs_on_its_own_side(kube: FakeKube) -> None:
    far = f"arn:aws:iam::{OTHER_ACCOUNT}:role/far"
    named = {"Effect": "Allow", "Principal": {"AWS": [far, OTHER_ACCOUNT]}, "Action": "kms:Decrypt", "Resource": "*"}
    kube.key(policy={"Version": "2012-10-17", "Statement": [ROOT, named]})
    told = holders(kube)
    assert (told[far].may, told[f"account {OTHER_ACCOUNT}"].may) == (May.DEPENDS, May.DEPENDS)


def test_a_list_that_is_not_whole_says_so(kube: FakeKube) -> None:
    kube.forbidden |= {"clusterrolebindings", "kmsgrants"}
    told = asyncio.run(who_can(kube.view(), NAMESPACE, Question(action="decrypt", key="app")))
    assert {"you may not list clusterrolebindings", "you may not list kmsgrants in team-a"} <= set(told.unread)


def test_an_expired_grant_is_no_row_that_hangs_on_rbac(kube: FakeKube) -> None:
    spec = {"keyRef": {"name": "app"}, "granteePrincipal": ARN_OF_APP, "operations": ["Decrypt"]}
    body = kube.put("KmsGrant", "given", spec=spec, status={"grantId": "ab" * 32, "keyId": KEY_ID})
    assert holders(kube)[ARN_OF_APP].may is May.YES
    body["status"]["expirationTime"] = "2026-01-01T00:00:00Z"
    told = holders(kube)[ARN_OF_APP]
    assert told.may is May.NO and "it ended at 2026-01-01T00:00:00Z" in told.note


@pytest.mark.parametrize(
    ("principal", "who"),
    [
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/KMSAdmin"}, f"arn:aws:iam::{ACCOUNT}:user/KMSAdmin"),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/ExampleRole"}, f"arn:aws:iam::{ACCOUNT}:role/ExampleRole"),
        ({"Service": "lambda.amazonaws.com"}, "lambda.amazonaws.com"),
    ],
)
def test_a_principal_of_an_aws_policy_that_nobody_here_can_be_is_told_so(kube: FakeKube, principal: dict[str, str], who: str) -> None:
    kube.key("people", "keystead-records", OTHER_ACCOUNT)
    kube.key(policy={"Version": "2012-10-17", "Statement": [ROOT, {**ROOT, "Principal": principal}]})
    told = holders(kube)[who]
    assert told.may is May.NO and "nobody is this" in told.note

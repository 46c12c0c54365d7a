"""RBAC is the rights of the API: who has one verb can do that one operation and no other, for every operation that is served."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tests.chart.rights import KMS, PEOPLE
from tests.serving.desk import Desk, Raw, Worker

from keystead.app.frontdoor import SERVED
from keystead.operations.permissions import API

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-c"
DENIED = "AccessDeniedException"
THREADS = 6


@dataclass(frozen=True)
class Stage:
    """What the calls are about, made by an administrator."""

    account: str
    sym: str
    other: str
    sign: str
    mac: str
    agree: str
    enabled: str
    disabled: str
    doomed: str
    saved: str
    blob: bytes
    tag: bytes
    signature: bytes
    public: bytes
    revoked: str
    retired: str

    @property
    def grantee(self) -> str:
        return f"arn:aws:iam::{self.account}:role/grantee"


MESSAGE = b"message"
SIGNED = {"SigningAlgorithm": "ECDSA_SHA_256", "Message": MESSAGE}
MACED = {"MacAlgorithm": "HMAC_SHA_256", "Message": MESSAGE}
PAIR = {"KeyPairSpec": "ECC_NIST_P256"}
POLICY = '{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",' \
    '"Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"kms:*","Resource":"*"}]}'  # fmt: skip

CALLS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "CancelKeyDeletion": lambda s: {"KeyId": s.saved},
    "CreateAlias": lambda s: {"AliasName": "alias/rbac-new", "TargetKeyId": s.sym},
    "CreateGrant": lambda s: {"KeyId": s.sym, "GranteePrincipal": s.grantee, "Operations": ["Encrypt"]},
    "CreateKey": lambda _: {},
    "Decrypt": lambda s: {"CiphertextBlob": s.blob},
    "DeleteAlias": lambda _: {"AliasName": "alias/rbac-old"},
    "DeriveSharedSecret": lambda s: {"KeyId": s.agree, "KeyAgreementAlgorithm": "ECDH", "PublicKey": s.public},
    "DescribeKey": lambda s: {"KeyId": s.sym},
    "DisableKey": lambda s: {"KeyId": s.enabled},
    "DisableKeyRotation": lambda s: {"KeyId": s.other},
    "EnableKey": lambda s: {"KeyId": s.disabled},
    "EnableKeyRotation": lambda s: {"KeyId": s.sym},
    "Encrypt": lambda s: {"KeyId": s.sym, "Plaintext": MESSAGE},
    "GenerateDataKey": lambda s: {"KeyId": s.sym, "KeySpec": "AES_256"},
    "GenerateDataKeyPair": lambda s: {"KeyId": s.sym, **PAIR},
    "GenerateDataKeyPairWithoutPlaintext": lambda s: {"KeyId": s.sym, **PAIR},
    "GenerateDataKeyWithoutPlaintext": lambda s: {"KeyId": s.sym, "KeySpec": "AES_256"},
    "GenerateMac": lambda s: {"KeyId": s.mac, **MACED},
    "GenerateRandom": lambda _: {"NumberOfBytes": 16},
    "GetKeyLastUsage": lambda s: {"KeyId": s.sym},
    "GetKeyPolicy": lambda s: {"KeyId": s.sym},
    "GetKeyRotationStatus": lambda s: {"KeyId": s.sym},
    "GetPublicKey": lambda s: {"KeyId": s.sign},
    "ListAliases": lambda _: {},
    "ListGrants": lambda s: {"KeyId": s.sym},
    "ListKeyPolicies": lambda s: {"KeyId": s.sym},
    "ListKeyRotations": lambda s: {"KeyId": s.sym},
    "ListKeys": lambda _: {},
    "ListResourceTags": lambda s: {"KeyId": s.sym},
    "ListRetirableGrants": lambda s: {"RetiringPrincipal": s.grantee},
    "PutKeyPolicy": lambda s: {"KeyId": s.other, "Policy": POLICY % s.account},
    "ReEncrypt": lambda s: {"CiphertextBlob": s.blob, "DestinationKeyId": s.other},
    "RetireGrant": lambda s: {"KeyId": s.sym, "GrantId": s.retired},
    "RevokeGrant": lambda s: {"KeyId": s.sym, "GrantId": s.revoked},
    "RotateKeyOnDemand": lambda s: {"KeyId": s.other},
    "ScheduleKeyDeletion": lambda s: {"KeyId": s.doomed},
    "Sign": lambda s: {"KeyId": s.sign, **SIGNED},
    "TagResource": lambda s: {"KeyId": s.sym, "Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "UntagResource": lambda s: {"KeyId": s.sym, "TagKeys": ["c"]},
    "UpdateAlias": lambda s: {"AliasName": "alias/rbac-moves", "TargetKeyId": s.other},
    "UpdateKeyDescription": lambda s: {"KeyId": s.sym, "Description": "d"},
    "Verify": lambda s: {"KeyId": s.sign, **SIGNED, "Signature": s.signature},
    "VerifyMac": lambda s: {"KeyId": s.mac, **MACED, "Mac": s.tag},
}
HALVES = {
    "reencryptfrom": ("kmskeys", "kmsaliases"),
    "reencryptto": ("kmskeys", "kmsaliases"),
    **{f"{verb}alias on {resource}": (resource,) for verb in ("create", "update", "delete") for resource in ("kmskeys", "kmsaliases")},
}
"""Half of what an operation needs: worth nothing."""


def verbs_of(operation: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(right.verb for right in API[operation]))


@pytest.fixture(scope="module")
def admin(desk: Desk) -> Iterator[Raw]:
    client = desk.worker(NAMESPACE, "admin", "*").raw(keep=True)
    yield client
    client.close()


def done(client: Raw, operation: str, **members: Any) -> Any:
    answer = client.call(operation, **members)
    assert answer.status == 200, (operation, answer.text)
    return answer.json


def stage_by(done: Callable[..., Any]) -> Stage:
    """`done(operation, **members)`: the JSON of an answer to an administrator."""

    def key(**members: Any) -> str:
        return str(done("CreateKey", **members)["KeyMetadata"]["KeyId"])

    def raw(operation: str, member: str, **members: Any) -> bytes:
        return base64.b64decode(done(operation, **members)[member])

    sign = key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    mac = key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    agree = key(KeySpec="ECC_NIST_P256", KeyUsage="KEY_AGREEMENT")
    sym, other, enabled, disabled, doomed, saved = (key() for _ in range(6))
    done("DisableKey", KeyId=disabled)
    done("ScheduleKeyDeletion", KeyId=saved)
    for name in ("moves", "old"):
        done("CreateAlias", AliasName=f"alias/rbac-{name}", TargetKeyId=sym)
    account = done("DescribeKey", KeyId=sym)["KeyMetadata"]["AWSAccountId"]
    grantee = {"KeyId": sym, "GranteePrincipal": f"arn:aws:iam::{account}:role/nobody"}
    revoked, retired = (done("CreateGrant", **grantee, Operations=[name])["GrantId"] for name in ("Encrypt", "Decrypt"))
    return Stage(
        account=account,
        sym=sym,
        other=other,
        sign=sign,
        mac=mac,
        agree=agree,
        enabled=enabled,
        disabled=disabled,
        doomed=doomed,
        saved=saved,
        blob=raw("Encrypt", "CiphertextBlob", KeyId=sym, Plaintext=MESSAGE),
        tag=raw("GenerateMac", "Mac", KeyId=mac, **MACED),
        signature=raw("Sign", "Signature", KeyId=sign, **SIGNED),
        public=raw("GetPublicKey", "PublicKey", KeyId=agree),
        revoked=revoked,
        retired=retired,
    )


@pytest.fixture(scope="module")
def stage(admin: Raw) -> Stage:
    return stage_by(partial(done, admin))


def codes(worker: Worker, stage: Stage) -> dict[str, str]:
    """What each operation answers this one."""
    client = worker.raw(keep=True)
    try:
        return {operation: client.call(operation, **members(stage)).code for operation, members in CALLS.items()}
    finally:
        client.close()


@pytest.fixture(scope="module")
def matrix(desk: Desk, stage: Stage) -> dict[str, dict[str, str]]:
    """By operation whose verbs a worker has (or by the half of them): the code of every operation."""
    workers = {name: desk.worker(NAMESPACE, name.lower(), *verbs_of(name)) for name in CALLS}
    for half, resources in HALVES.items():
        workers[half] = desk.worker(NAMESPACE, half.replace(" ", "-"))
        workers[half].may(half.partition(" ")[0], resources=resources)
    last = workers.pop("DeleteAlias")  # an alias that is not there is not found, whoever asks
    with ThreadPoolExecutor(THREADS) as pool:
        said = dict(zip(workers, pool.map(lambda worker: codes(worker, stage), workers.values()), strict=True))
    return said | {"DeleteAlias": codes(last, stage)}


def test_every_served_operation_is_in_the_table() -> None:
    assert CALLS.keys() == SERVED.keys()


@pytest.mark.parametrize("operation", CALLS)
def test_its_verb_allows_one_operation_and_no_other(matrix: dict[str, dict[str, str]], operation: str) -> None:
    assert matrix[operation] == {name: "" if name == operation else DENIED for name in CALLS}


@pytest.mark.parametrize("half", HALVES)
def test_half_of_the_rights_is_worth_nothing(matrix: dict[str, dict[str, str]], half: str) -> None:
    assert matrix[half] == dict.fromkeys(CALLS, DENIED)


@pytest.mark.parametrize(
    ("role", "parts"),
    [
        ("view", ("view",)),
        ("edit", ("view", "edit")),
        ("admin", ("view", "edit", "admin")),
        ("keystead-key-user", ("key-user",)),
        ("keystead-key-admin", ("key-admin",)),
        ("keystead-auditor", ("auditor",)),
    ],
)
def test_the_roles_for_people_allow_what_they_say(
    desk: Desk, stage: Stage, matrix: object, admin: Raw, role: str, parts: tuple[str, ...]
) -> None:
    admin.call("CreateAlias", AliasName="alias/rbac-old", TargetKeyId=stage.sym)
    rules = [PEOPLE[f"keystead-{part}"][1] for part in parts]
    given = {kind: {verb for rule in rules for verb in rule.get((KMS, kind, "*"), ())} for kind in ("kmskeys", "kmsaliases")}

    def allowed(operation: str) -> bool:
        needed = set(verbs_of(operation))
        return needed <= given["kmskeys"] and (not operation.endswith("Alias") or needed <= given["kmsaliases"])

    worker = desk.worker(NAMESPACE, f"person-{role}")
    worker.bind(f"person-{role}", "ClusterRole", role)
    said = codes(worker, stage)
    assert {name for name, code in said.items() if code != DENIED} == {name for name in CALLS if allowed(name)}


def test_a_right_on_one_key_is_none_on_another(desk: Desk, stage: Stage, admin: Raw) -> None:
    one = desk.named(NAMESPACE, stage.sym)["metadata"]["name"]
    worker = desk.worker(NAMESPACE, "narrow")
    worker.may("encrypt", "describekey", names=(one,))
    client = worker.raw()
    assert client.call("Encrypt", KeyId=stage.sym, Plaintext=MESSAGE).code == ""
    assert client.call("Encrypt", KeyId=stage.other, Plaintext=MESSAGE).code == DENIED
    assert client.call("ListKeys").code == DENIED

"""Made tests/golden/release-4, once: `python -m tests.golden.make_4 FOLDER`. It refuses a folder that exists.

What the fourth release writes and those before did not: keys that are served by policies of their own, in every form of the grammar, one
that was born strict, one whose spec asks for a bad policy; grants with all members; a data key abroad; Keystead's own two keys. In the
domain of release 1. `decisions.json` has what was decided about them, for the same must be decided for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.docs.pages import ROOT
from tests.golden.files import Golden, raw
from tests.golden.make import b64
from tests.golden.make_2 import record_rows
from tests.golden.port import RELEASE_1, restored
from tests.reconciler.fakes import FakeEngine, World

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.identifiers import RECORDS_NAMESPACE, role_arn, root_arn
from keystead.engine.managed import AUDIT_KEY, DATA_KEYS_SERVICE
from keystead.engine.material import material_of
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.ports import SignDigest
from keystead.engine.publickey import signing_input
from keystead.engine.record import DataKeyRecord, GrantRecord, KeyRecord
from keystead.policy import Action, Caller, Decision, Question, evaluate, root_caller, service_account_caller
from keystead.policy.caller import service_caller, user_caller
from keystead.policy.question import Carried, RequestFacts
from keystead.reconciler.own import AUDIT_REF
from keystead.reconciler.ports import Kind, ObjectRef

OWN, OTHER, INSTALL = "team-a", "team-b", "999988887777"
UIDS = {OTHER: "0a4c2d3e-0000-4000-8000-00000000000c", RECORDS_NAMESPACE: "0a4c2d3e-0000-4000-8000-00000000000d"}
PLAINTEXT = b"keystead golden message, release 4"
MESSAGE = b"keystead golden checkpoint, release 4"
CONTEXT = {"app": "orders", "tenant": "eu-é"}
ACTIONS = (
    Action.ENCRYPT,
    Action.DECRYPT,
    Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
    Action.DESCRIBE_KEY,
    Action.PUT_KEY_POLICY,
)


def ways(own: str) -> dict[str, Carried]:
    """How calls come."""
    return {
        "plain": Carried(),
        "tls": Carried("10.1.2.3", True),
        "http": Carried("192.0.2.9", False),
        "service": Carried(via_service=DATA_KEYS_SERVICE, source_arn=source_of(own)),
    }


def source_of(own: str) -> str:
    return f"arn:aws:kms:cluster-1:{own}:datakey/d"


def statement(principal: Any, action: Any = "kms:*", effect: str = "Allow", **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": "*", **members}


def policies(own: str, other: str) -> dict[str, Any]:
    """Name of a key -> its policy: every element, sort of principal, quantifier and family of operators."""
    account, app = {"AWS": root_arn(own)}, {"AWS": role_arn(own, "app")}
    base = statement(account, Sid="Account")
    use = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"]
    session = f"arn:aws:sts::{own}:assumed-role/app/s-1"
    people = [f"arn:aws:iam::{INSTALL}:user/oidc%2Fjane", f"arn:aws:iam::{INSTALL}:group/system%3Aauditors"]
    conditions = {
        "StringLike": {"kms:EncryptionContext:tenant": ["eu-*", "us-?"]},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["app", "tenant"]},
        "IpAddressIfExists": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]},
        "DateLessThan": {"aws:CurrentTime": "2099-01-01T00:00:00Z"},
        "NumericLessThanEqualsIfExists": {"kms:RotationPeriodInDays": "365"},
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"},
        "Null": {"kms:ViaService": "true"},
        "StringEqualsIgnoreCase": {"kms:KeySpec": "symmetric_default"},
    }
    plain_http = statement("*", effect="Deny", Sid="TLS", Condition={"Bool": {"aws:SecureTransport": False}})
    spares = {
        "Effect": "Deny",
        "NotPrincipal": {"AWS": [role_arn(own, "app"), root_arn(own)]},
        "NotAction": "kms:Describe*",
        "Resource": "*",
    }
    via = {"StringEquals": {"kms:ViaService": DATA_KEYS_SERVICE}}
    return {
        "single": {"Version": "2008-10-17", "Id": "by account id", "Statement": statement({"AWS": own})},
        "named": {
            "Version": "2012-10-17",
            "Statement": [base, statement({"AWS": [role_arn(own, "app"), session]}, use, Sid="Ü")],
        },
        "people": {"Statement": [base, statement({"AWS": people}, "kms:?ncrypt")]},
        "service": {
            "Version": "2012-10-17",
            "Statement": [base, statement({"Service": DATA_KEYS_SERVICE}, "kms:Generate*")],
        },
        "conditions": {
            "Version": "2012-10-17",
            "Statement": [base, statement(app, use, Condition=conditions), plain_http],
        },
        "spares": {"Version": "2012-10-17", "Statement": [base, spares]},
        "lent": {
            "Version": "2012-10-17",
            "Statement": [
                base,
                statement({"AWS": role_arn(other, "app")}, use),
                statement({"AWS": root_arn(other)}, ["kms:GenerateDataKey*", "kms:ReEncrypt*"], Condition=via),
            ],
        },
    }


def callers(own: str, other: str) -> Iterator[tuple[str, Caller]]:
    yield "app", service_account_caller(own, OWN, "app", session="s-1")
    yield "other", service_account_caller(own, OWN, "other", session="s-2")
    yield "root", root_caller(own, OWN)
    yield "foreign app", service_account_caller(other, OTHER, "app", session="s-1")
    yield "foreign root", root_caller(other, OTHER)
    yield "jane", user_caller(INSTALL, RECORDS_NAMESPACE, "oidc/jane", "u-1", ())
    yield "auditor", user_caller(INSTALL, RECORDS_NAMESPACE, "joe", "u-2", ("system:auditors",))
    yield "service", service_caller(own, OWN, DATA_KEYS_SERVICE)


def decided(keys: list[KeyRecord], grants: list[GrantRecord], accounts: tuple[str, str], now: Any) -> list[list[str]]:
    """What the evaluator says of each key, caller, action and way of calling; RBAC's question where it asks."""
    rows = []
    for key in keys:
        for name, caller in callers(*accounts):
            for action in ACTIONS:
                for way, carried in ways(accounts[0]).items():
                    mine = [grant for grant in grants if grant.key_id == key.key_id]
                    answer = evaluate(Question(caller, action, key, mine, CONTEXT, now, RequestFacts(None, carried)))
                    if isinstance(answer, Decision):
                        said = ("yes" if answer.allowed else "no", answer.by.ground.value)
                    else:
                        said = ("rbac", f"{answer.review.verb} {answer.review.name} {answer.review.namespace}")
                    rows.append([key.name, name, action.value, way, *said])
    return rows


def ref(kind: Kind, name: str, namespace: str = OWN) -> ObjectRef:
    return ObjectRef(kind, namespace, name)


async def applied(world: World, at: ObjectRef, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    world.apply(at, annotations=annotations, **spec)
    await world.reconcile(at)


def grants(own: str, other: str) -> dict[str, dict[str, Any]]:
    """Name of a KmsGrant -> its spec, all with keyRef `single`."""
    return {
        "abroad": {
            "granteePrincipal": role_arn(other, "app"),
            "retiringPrincipal": role_arn(own, "admin"),
            "operations": ["Encrypt", "Decrypt", "RetireGrant"],
            "constraints": {"encryptionContextEquals": CONTEXT},
            "grantName": "named",
        },
        "service": {
            "granteeServicePrincipal": DATA_KEYS_SERVICE,
            "retiringServicePrincipal": DATA_KEYS_SERVICE,
            "operations": ["GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"],
            "constraints": {"sourceArn": source_of(own)},
        },
        "until": {
            "serviceAccountRef": {"name": "job"},
            "operations": ["Decrypt", "CreateGrant"],
            "expiresAt": "2099-01-01T00:00:00Z",
        },
    }


async def story(world: World) -> tuple[str, str]:
    """Everything that is new; the accounts of both namespaces."""
    for name, uid in UIDS.items():
        world.objects.namespaces[name] = NamespaceFacts(uid)
    await applied(world, ref(Kind.KEY, "plain"))
    await applied(world, ref(Kind.KEY, "theirs", OTHER))
    own, other = (
        world.record(at, KeyRecord).account for at in (ref(Kind.KEY, "plain"), ref(Kind.KEY, "theirs", OTHER))
    )
    for name, policy in policies(own, other).items():
        await applied(world, ref(Kind.KEY, name), policy=policy)
    world.strict_policies = True
    world.restart()
    await applied(world, ref(Kind.KEY, "strict"))
    await applied(world, ref(Kind.KEY, "kept"), policy=policies(own, other)["named"])
    await applied(world, ref(Kind.KEY, "kept"), policy={"Statement": [statement("*", "kms:Decript")]})
    for name, spec in grants(own, other).items():
        await applied(world, ref(Kind.GRANT, name), keyRef={"name": "single"}, **spec)
    managed, sessions = ref(Kind.KEY, "aws-keystead"), ref(Kind.DATA_KEY, "sessions")
    await applied(world, sessions, target={"secretName": "s"}, encryptionContext=CONTEXT)
    for at in (managed, sessions):
        await world.reconcile(at)
    abroad = {"keyRef": {"name": "lent", "namespace": OWN}, "target": {"secretName": "s"}, "encryptionContext": CONTEXT}
    await applied(world, ref(Kind.DATA_KEY, "abroad", OTHER), **abroad)
    assert await world.own_keys.ensure()
    await world.reconcile(AUDIT_REF)
    return own, other


def signature(world: World) -> dict[str, Any]:
    """By the key of the audit trail."""
    key, algorithm = world.record(AUDIT_REF, KeyRecord), SigningAlgorithm.ECDSA_SHA_256
    call = SignDigest(material_of(key, key.current_version), algorithm, signing_input(algorithm, MESSAGE))
    made = world.engine.hsm.slow(call)
    assert isinstance(made, bytes) and key.name == AUDIT_KEY
    return {"keyId": key.key_id, "algorithm": algorithm.value, "message": b64(MESSAGE), "signature": b64(made)}


def write(folder: Path, name: str, rows: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def write_lines(folder: Path, name: str, rows: list[list[str]]) -> None:
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def make(folder: Path) -> None:
    folder.mkdir()
    world = World(FakeEngine(restored(RELEASE_1)))
    accounts = asyncio.run(story(world))
    write(folder, "records", record_rows(world))
    golden = Golden(folder, restored(RELEASE_1))
    versions = [
        version for record in golden.records if isinstance(record, DataKeyRecord) for version in record.versions
    ]
    assert len(versions) == 2
    opened = [(version, golden.open_blob(version.blob, version.encryption_context)) for version in versions]
    keys = [record for record in golden.records if isinstance(record, KeyRecord)]
    made = [record for record in golden.records if isinstance(record, GrantRecord)]
    write(
        folder,
        "blobs",
        [
            {
                "keyId": version.key_arn.rpartition("/")[2],
                "blob": b64(version.blob),
                "plaintext": b64(plain),
                "context": CONTEXT,
            }
            for version, plain in opened
        ],
    )
    write(folder, "signatures", [signature(world)])
    write(folder, "accounts", {"own": accounts[0], "other": accounts[1], "now": world.clock.moment.isoformat()})
    write_lines(
        folder, "decisions", decided(sorted(keys, key=lambda key: key.name), made, accounts, world.clock.moment)
    )
    bodies = sorted(
        world.objects.bodies.values(),
        key=lambda body: (body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]),
    )
    write(folder, "objects", bodies)
    for path in sorted([*(ROOT / "examples").glob("*.yaml"), *(ROOT / "examples/policies").glob("*.yaml")]):
        shutil.copy(path, folder / f"example-{path.name}")
    assert all(raw(row["plaintext"]) for row in golden.rows("blobs"))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    make(Path(sys.argv[1]))

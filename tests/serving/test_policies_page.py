"""docs/policies.md: its commands are executed as they stand, on a real API server, and what it says of the outcome is tried with boto3."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.operator.harness import ROOT, wait_for
from tests.serving.desk import Desk, Worker, code_of

pytestmark = pytest.mark.cluster
PAGE = (ROOT / "docs/policies.md").read_text()
DENIED = "AccessDeniedException"
# The suite shares one cluster, where others have namespaces of these names.
NAMES = {"orders": "page-orders", "shop": "page-shop"}
# Where a namespace is named: in manifests, in options, in the user name of a ServiceAccount. A key `orders` keeps its name.
PLACE = re.compile(r"(?<=namespace: )(?:orders|shop)\b|(?<=-n )(?:orders|shop)\b|(?<=serviceaccount:)shop\b")
OBJECT = re.compile(r"(?<=  name: )(?:orders|shop)$", re.MULTILINE)
CONTEXT = {"app": "orders"}


def moved(text: str, where: re.Pattern[str] = PLACE) -> str:
    """The same in the namespaces of this suite."""
    return where.sub(lambda found: NAMES[found[0]], text)


def manifest(text: str) -> str:
    parts = [moved(part, OBJECT) if "kind: Namespace" in part else part for part in text.split("\n---\n")]
    return moved("\n---\n".join(parts))


def script() -> str:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return "\n".join(["set -eu", *map(moved, lines)])


@pytest.fixture(scope="module")
def arns(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The ARNs of the keys that the page's commands made."""
    folder = Path(tmp_path_factory.mktemp("page"))
    for path in [*(ROOT / "examples").glob("*.yaml"), *(ROOT / "examples/policies").glob("*.yaml")]:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(manifest(path.read_text()))
    cluster = desk.installation.cluster
    environment = dict(cluster.environment)
    folders = sorted({str(path.parent) for path in cluster.binaries.values()})
    environment["PATH"] = os.pathsep.join([*folders, environment.get("PATH", os.environ["PATH"])])
    done = subprocess.run(
        ["sh", "-c", script()], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"ledger": "orders", "shared": "orders", "own": "shop"}
    yield {name: str(desk.object("KmsKey", NAMES[space], name)["status"]["keyArn"]) for name, space in wanted.items()}
    for name in NAMES.values():
        desk.direct.call("DELETE", f"/api/v1/namespaces/{name}")


def worker(desk: Desk, space: str, name: str) -> Worker:
    """A ServiceAccount that the page made."""
    namespace = NAMES[space]
    made = desk.direct.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
    return Worker(desk, namespace, name, made["metadata"]["uid"])


def test_the_key_with_an_own_policy_is_used_by_whom_it_names_with_its_context_only(
    desk: Desk, arns: dict[str, str]
) -> None:
    kms = worker(desk, "orders", "order-service").kms()
    blob = kms.encrypt(KeyId=arns["ledger"], Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"x"
    assert code_of(kms.encrypt, KeyId=arns["ledger"], Plaintext=b"x", EncryptionContext={"app": "billing"}) == DENIED
    assert code_of(kms.encrypt, KeyId=arns["ledger"], Plaintext=b"x") == DENIED


def test_rbac_is_worth_nothing_where_the_policy_leaves_nothing_to_it(desk: Desk, arns: dict[str, str]) -> None:
    other = desk.worker(NAMES["orders"], "page-other", "encrypt", "describekey").kms()
    assert code_of(other.encrypt, KeyId=arns["ledger"], Plaintext=b"x", EncryptionContext=CONTEXT) == DENIED
    assert (
        other.describe_key(KeyId=arns["ledger"])["KeyMetadata"]["Arn"] == arns["ledger"]
    )  # that one it leaves to RBAC


def test_the_key_abroad_is_used_by_whom_both_sides_let(desk: Desk, arns: dict[str, str]) -> None:
    kms = worker(desk, "shop", "checkout").kms()
    blob = kms.encrypt(KeyId=arns["shared"], Plaintext=b"x")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, KeyId=arns["shared"])["Plaintext"] == b"x"
    both = desk.worker(NAMES["shop"], "page-rbac-only")
    both.may("encrypt", names=(arns["shared"],))
    assert code_of(both.kms().encrypt, KeyId=arns["shared"], Plaintext=b"x") == DENIED  # the key's side names another


def test_the_grant_abroad_lets_decrypt_within_its_context(desk: Desk, arns: dict[str, str]) -> None:
    mine, theirs = worker(desk, "shop", "checkout").kms(), worker(desk, "shop", "reports").kms()
    blob, bare = (_encrypt(mine, arns["shared"], context) for context in (CONTEXT, {}))
    assert theirs.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"x"
    assert code_of(theirs.decrypt, CiphertextBlob=bare) == DENIED
    assert code_of(theirs.encrypt, KeyId=arns["shared"], Plaintext=b"x") == DENIED


def _encrypt(kms: Any, arn: str, context: dict[str, str]) -> bytes:
    blob: bytes = kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    return blob


def test_without_the_role_the_refusal_is_that_of_a_key_that_is_not_there(desk: Desk, arns: dict[str, str]) -> None:
    kms = worker(desk, "shop", "checkout").kms()
    group = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMES['shop']}/rolebindings/use-shared-key"
    desk.direct.call("DELETE", group)
    wait_for("the right gone", lambda: code_of(kms.encrypt, KeyId=arns["shared"], Plaintext=b"x") == DENIED, 15)
    there, nowhere = (
        _words(kms, arn) for arn in (arns["shared"], arns["shared"][:-1] + ("0" if arns["shared"][-1] != "0" else "1"))
    )
    assert there == nowhere


def _words(kms: Any, arn: str) -> tuple[str, str]:
    with pytest.raises(kms.exceptions.ClientError) as caught:
        kms.encrypt(KeyId=arn, Plaintext=b"x")
    return str(caught.value.response["Error"]["Code"]), str(caught.value.response["Error"]["Message"])

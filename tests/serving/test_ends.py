"""What ends, and how soon: a ServiceAccount, its namespace, a binding. All of it happens at one moment, and is then waited for together.

The promise is 60 s for credentials; facts live for 10 s, and that is what is held here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.operator.harness import wait_for
from tests.serving.desk import RBAC, Desk, Worker, code_of

pytestmark = pytest.mark.cluster
NAMESPACE, AGAIN = "serve-b", "serve-again"
FACTS = 10.0
UNKNOWN, DENIED = "UnrecognizedClientException", "AccessDeniedException"


@dataclass
class Ended:
    """Seconds from the end to the first refusal, and its code, by what ended."""

    seconds: dict[str, float] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    later: dict[str, Callable[[], str]] = field(default_factory=dict)
    tenant: Any = None


def namespace(desk: Desk) -> None:
    desk.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGAIN}})


def gone(desk: Desk) -> bool:
    return desk.direct.object("Namespace", "", AGAIN) is None


@dataclass
class Tenant:
    """Who had the namespace before, and who has it now."""

    before: Worker
    account: str
    blob: bytes
    after: Worker
    after_account: str


@pytest.fixture(scope="module")
def ended(desk: Desk) -> Ended:
    """Every caller is busy (its facts are fresh, and refreshed while used) until it is refused."""
    namespace(desk)
    workers = {name: desk.worker(NAMESPACE, f"ends-{name}", "*") for name in ("deleted", "remade", "bearer", "steady")}
    workers["unbound"] = desk.worker(NAMESPACE, "ends-unbound")
    binding = workers["unbound"].may("*")
    workers["namespace"] = desk.worker(AGAIN, "app", "*")
    clients = {name: worker.kms() for name, worker in workers.items()}
    bearer = workers["bearer"].raw()
    calls: dict[str, Callable[[], str]] = {name: _lists(client) for name, client in clients.items()}
    calls["token"] = lambda: bearer.call("ListKeys").code
    key = clients["namespace"].create_key()["KeyMetadata"]["KeyId"]
    blob, account = clients["namespace"].encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"], workers["namespace"].account
    assert {name: call() for name, call in calls.items()} == dict.fromkeys(calls, "")

    for name in ("deleted", "remade", "bearer"):
        workers[name].delete()
    remade = desk.worker(NAMESPACE, "ends-remade", "*")
    desk.direct.call("DELETE", f"{RBAC}/{NAMESPACE}/rolebindings/{binding}")
    desk.direct.call("DELETE", f"/api/v1/namespaces/{AGAIN}")
    found = Ended()
    _until_refused({name: call for name, call in calls.items() if name not in ("steady", "namespace")}, found)
    wait_for("the namespace is gone", lambda: gone(desk), 20)
    namespace(desk)
    after = desk.worker(AGAIN, "app", "*")
    _until_refused({"namespace": calls["namespace"]}, found)
    found.later = calls | {"remade anew": _lists(remade.kms())}
    found.tenant = Tenant(workers["namespace"], account, blob, after, after.account)
    return found


def _lists(client: Any) -> Callable[[], str]:
    return lambda: code_of(client.list_keys)


def _until_refused(calls: dict[str, Callable[[], str]], found: Ended) -> None:
    began = time.monotonic()

    def step() -> bool:
        for name, call in calls.items():
            if name not in found.codes and (code := call()):
                found.seconds[name], found.codes[name] = time.monotonic() - began, code
        return calls.keys() <= found.codes.keys()

    wait_for("everybody is refused", step, FACTS + 5, 0.1)


@pytest.mark.parametrize(
    ("what", "code"),
    [("deleted", UNKNOWN), ("remade", UNKNOWN), ("bearer", UNKNOWN), ("token", UNKNOWN), ("unbound", DENIED), ("namespace", UNKNOWN)],
)
def test_it_ends_within_the_life_of_a_fact(ended: Ended, what: str, code: str) -> None:
    assert ended.codes[what] == code
    assert ended.seconds[what] <= FACTS, ended.seconds


def test_what_has_ended_stays_ended_and_others_go_on(ended: Ended) -> None:
    said = {name: call() for name, call in ended.later.items()}
    assert {name for name, code in said.items() if not code} == {"steady", "remade anew"}


def test_a_namespace_made_again_is_another_account_without_the_old_ones_keys(ended: Ended) -> None:
    tenant: Tenant = ended.tenant
    assert tenant.after_account != tenant.account
    client = tenant.after.kms()
    assert client.list_keys()["Keys"] == []
    assert code_of(client.decrypt, CiphertextBlob=tenant.blob) == DENIED
    made = client.create_key()["KeyMetadata"]
    assert made["AWSAccountId"] == tenant.after_account
    assert [key["KeyId"] for key in client.list_keys()["Keys"]] == [made["KeyId"]]

"""`keystead server` with two workers, on a real cluster: a refusal holds on both at once, one Pod's probes, one ConfigMap of last uses."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.operator.harness import SYSTEM, Installation, OperatorProcess, wait_for
from tests.serving.desk import code_of, heard
from tests.serving.harness import Authority, ServerProcess, Workload, account_of, assume, kms, server

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-c"
TWO = {"server_workers": "2"}
PREFIX = "keystead-usage-"


@pytest.fixture(scope="module")
def pod(installation: Installation, leader: OperatorProcess, authority: Authority) -> Iterator[ServerProcess]:
    """With the audit records of both on the one standard output, as they are where nothing else is said."""
    with server(installation, authority, "two-workers", **TWO) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def account(installation: Installation, pod: ServerProcess) -> str:
    return account_of(installation, NAMESPACE)


@pytest.fixture(scope="module")
def workload(installation: Installation) -> Workload:
    return Workload(installation, NAMESPACE, "workers-admin").create("*")


@pytest.fixture(scope="module")
def credentials(pod: ServerProcess, authority: Authority, workload: Workload, account: str) -> dict[str, str]:
    return assume(pod, authority, workload, account)


@pytest.fixture
def admin(pod: ServerProcess, authority: Authority, credentials: dict[str, str]) -> Any:
    return kms(pod, authority, credentials)


def workers(pod: ServerProcess) -> list[int]:
    """Process ids by number, the newest."""
    return [int(pid) for _, pid in sorted(dict(re.findall(r"worker (\d+) is process (\d+)", pod.text)).items())]


def codes(pod: ServerProcess, authority: Authority, credentials: dict[str, str], key_id: str, count: int) -> set[str]:
    """What calls over new connections come to."""
    found = set()
    for _ in range(count):
        client = kms(pod, authority, credentials)
        found.add(code_of(client.encrypt, KeyId=key_id, Plaintext=b"x"))
        client.close()
    return found


def test_the_probes_are_those_of_both_workers(pod, authority, credentials, admin):
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    assert codes(pod, authority, credentials, key_id, 40) == {""}
    page = pod.get("/metrics")[1]
    calls = re.findall(r'keystead_server_requests_total\{code="OK",operation="Encrypt",worker="(\d)"\} (\d+)', page)
    assert {worker for worker, _ in calls} == {"0", "1"}, page
    assert sum(int(count) for _, count in calls) >= 40
    assert pod.get("/healthz") == (200, "ok\n")


def test_after_the_answer_no_worker_uses_a_disabled_key(pod, authority, credentials, admin):
    for _ in range(3):
        key_id = admin.create_key()["KeyMetadata"]["KeyId"]
        assert code_of(admin.encrypt, KeyId=key_id, Plaintext=b"x") == ""
        admin.disable_key(KeyId=key_id)
        assert codes(pod, authority, credentials, key_id, 25) == {"DisabledException"}


def test_a_change_that_a_worker_cannot_confirm_is_no_success(pod, authority, credentials, admin):
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    stopped = workers(pod)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        # At once, and before it is taken for stuck (20 s): about half of all new connections fall to the one that stands still.
        clients = [kms(pod, authority, credentials) for _ in range(12)]
        with ThreadPoolExecutor(len(clients)) as pool:
            found = list(pool.map(lambda client: heard(client.disable_key, KeyId=key_id), clients))
        pod.wait("it is unready", lambda: pod.get("/readyz") == (503, "worker 0: it does not answer\n"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert "DependencyTimeoutException" in found
    assert "" not in found
    pod.wait_ready()
    assert codes(pod, authority, credentials, key_id, 20) == {"DisabledException"}


def test_a_killed_worker_is_replaced_and_the_other_one_serves_meanwhile(pod, authority, credentials, admin):
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    killed = workers(pod)[1]
    os.kill(killed, signal.SIGKILL)
    pod.wait("it is unready", lambda: pod.get("/readyz")[0] == 503)
    client = kms(pod, authority, credentials, attempts=5)
    assert code_of(client.disable_key, KeyId=key_id) == "", "nobody waits for a worker that is not there"
    pod.wait_ready()
    assert workers(pod)[1] != killed
    assert codes(pod, authority, credentials, key_id, 20) == {"DisabledException"}


def usage(installation: Installation) -> dict[str, dict[str, Any]]:
    found = installation.cluster.get("configmaps", "-n", SYSTEM)["items"]
    return {body["metadata"]["name"]: body["data"] for body in found if body["metadata"]["name"].startswith(PREFIX)}


def test_the_last_use_of_a_key_outlives_the_pod(installation, authority, leader, workload, account, credentials):
    with server(installation, authority, "uses-a", **TWO) as first:
        first.wait_ready()
        client = kms(first, authority, credentials)
        used, unused = (client.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
        client.generate_data_key(KeyId=used, KeySpec="AES_256")
        wait_for("a ConfigMap", lambda: usage(installation))
    held = usage(installation)
    free = [name for name, data in held.items() if data["holder"] == ""]
    assert free, held
    with server(installation, authority, "uses-b") as second:
        second.wait_ready()
        client = kms(second, authority, credentials)

        def last() -> Any:
            return client.get_key_last_usage(KeyId=used)["KeyLastUsage"]

        found = wait_for("the use that another Pod saw", last)
        assert found["Operation"] == "GenerateDataKey"
        assert client.get_key_last_usage(KeyId=unused).get("KeyLastUsage", {}) == {}
        assert set(usage(installation)) == set(held), "it took over what the first one left"


def test_a_port_that_is_taken_is_one_line(installation, authority, pod):
    with server(installation, authority, "taken", server_port=str(pod.endpoint_port), **TWO) as process:
        assert process.child.wait(30) == 2
        assert "KEYSTEAD_SERVER_PORT" in process.text
        assert "Traceback" not in process.text


def test_a_certificate_that_is_none_is_one_line(installation, authority, tmp_path):
    (tmp_path / "junk").write_text("junk")
    for workers_ in ("1", "2"):
        with server(installation, authority, "no-tls", tls_cert=str(tmp_path / "junk"), server_workers=workers_) as process:
            assert process.child.wait(30) == 2
            assert "KEYSTEAD_TLS_CERT" in process.text
            assert "Traceback" not in process.text


def test_sigterm_ends_both_workers_in_order(installation, authority, leader):
    with server(installation, authority, "ends", **TWO) as process:
        process.wait_ready()
        pids = workers(process)
        process.child.terminate()
        assert process.child.wait(30) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

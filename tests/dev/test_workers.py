"""`keystead dev --workers 3`: real processes. A refusal holds on every worker from the answer on; nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from tests.clients.endpoint import PROGRAM, Endpoint
from tests.operator.harness import wait_for
from tests.serving.desk import code_of, heard

pytestmark = pytest.mark.token
REGION = "us-east-1"
WORKERS = 3


@dataclass
class Running:
    """A running `keystead dev`."""

    endpoint: Endpoint
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers that live now, by number."""
        found: dict[str, int] = {}
        for line in self.text.splitlines():
            if " is process " in line:
                name, _, pid = line.partition("worker ")[2].partition(" is process ")
                found[name] = int(pid)
        return [pid for pid in found.values() if alive(pid)]

    def client(self, attempts: int = 1) -> Any:
        """A client with connections of its own."""
        said = self.endpoint.exports
        return boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=self.endpoint.url,
            aws_access_key_id=said["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=said["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, connect_timeout=5, read_timeout=10),
        )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running(folder: Path, *, workers: int = WORKERS, program: tuple[str, ...] = (str(PROGRAM),)) -> Iterator[Running]:
    endpoint = Endpoint(folder, options=("--state", str(folder / "state"), "--workers", str(workers)), program=program)
    try:
        yield Running(endpoint, folder / "keystead.log")
    finally:
        endpoint.stop()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("workers")) as made:
        yield made


def served_by(dev: Running, key_id: str, count: int) -> list[str]:
    """What `count` calls over as many new connections come to: "" or the name of the error."""
    clients = [dev.client() for _ in range(count)]
    try:
        return [code_of(client.encrypt, KeyId=key_id, Plaintext=b"x") for client in clients]
    finally:
        for client in clients:
            client.close()


def test_new_connections_reach_all_workers(dev: Running) -> None:
    assert len(dev.workers) == WORKERS
    key_id = dev.client().create_key()["KeyMetadata"]["KeyId"]
    before = [busy(pid) for pid in dev.workers]
    assert served_by(dev, key_id, 100) == [""] * 100
    assert all(now > then for now, then in zip([busy(pid) for pid in dev.workers], before, strict=True))


def busy(pid: int) -> int:
    """Processor time of a process in ticks: it is told to everybody, also of one that cannot be traced."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("round_", range(5))
def test_after_the_answer_no_worker_uses_a_disabled_key(dev: Running, round_: int) -> None:
    admin = dev.client()
    key_id = admin.create_key(Description=f"round {round_}")["KeyMetadata"]["KeyId"]
    assert "" in served_by(dev, key_id, 6)
    clients = [dev.client() for _ in range(100)]
    admin.disable_key(KeyId=key_id)
    results = []
    for client in clients:
        with pytest.raises(ClientError) as refused:
            client.encrypt(KeyId=key_id, Plaintext=b"x")
        results.append(refused.value.response["Error"]["Code"])
        client.close()
    assert results == ["DisabledException"] * 100


# Workers that look for others' writes three times a second only: what a sibling has not seen yet lasts, instead of for milliseconds.
SLOW = """
import sys
from keystead.__main__ import main
from keystead.store.sqlite.changes import ChangeFeed
if __name__ == "__mp_main__":
    ChangeFeed.poll.__defaults__ = (0.3,)
if __name__ == "__main__":
    sys.exit(main())
"""


def test_calls_that_begin_after_the_answer_are_refused_however_late_the_siblings_are(tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    with running(tmp_path, program=(sys.executable, str(program))) as dev:
        for _ in range(3):
            assert late_successes(dev) == []


def late_successes(dev: Running) -> list[float]:
    """Calls come all the time on open connections to all workers; of those that begin after the answer to DisableKey: who succeeded."""
    admin = dev.client()
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    succeeded, refused, stop = list[float](), list[float](), threading.Event()

    def load() -> None:
        client = dev.client()
        while not stop.is_set():
            began = time.monotonic()
            code = code_of(client.encrypt, KeyId=key_id, Plaintext=b"x")
            (refused if code == "DisabledException" else succeeded).append(began)

    threads = [threading.Thread(target=load) for _ in range(9)]
    for thread in threads:
        thread.start()
    wait_for("load", lambda: len(succeeded) > 50)
    admin.disable_key(KeyId=key_id)
    answered = time.monotonic()
    wait_for("refusals", lambda: len(refused) > 200)
    stop.set()
    for thread in threads:
        thread.join(30)
    return [began - answered for began in succeeded if began > answered]


def test_after_the_answer_no_worker_honours_a_revoked_grant_or_a_deleted_alias(dev: Running) -> None:
    admin = dev.client()
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    admin.create_alias(AliasName="alias/gone", TargetKeyId=key_id)
    assert served_by(dev, "alias/gone", 20) == [""] * 20
    admin.delete_alias(AliasName="alias/gone")
    assert served_by(dev, "alias/gone", 30) == ["NotFoundException"] * 30


def test_while_a_worker_stands_still_a_narrowing_change_is_not_confirmed(dev: Running) -> None:
    admin = dev.client()
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    stopped = dev.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        # At once, and before it is taken for stuck (20 s): about half of all new connections fall to the one that stands still.
        clients = [dev.client() for _ in range(16)]
        with ThreadPoolExecutor(len(clients)) as pool:
            codes = list(pool.map(lambda client: heard(client.disable_key, KeyId=key_id), clients))
        assert "DependencyTimeoutException" in codes
        assert "" not in codes
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_for("the change, confirmed", lambda: dev.client().disable_key(KeyId=key_id))
    assert served_by(dev, key_id, 20) == ["DisabledException"] * 20


def test_killed_workers_under_load_cost_a_retrying_client_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as dev:
        made, errors, stop = list[str](), list[BaseException](), threading.Event()

        def load() -> None:
            client = dev.client(attempts=6)
            while not stop.is_set():
                try:
                    key_id = client.create_key()["KeyMetadata"]["KeyId"]
                    made.append(key_id)
                    blob = client.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]
                    assert client.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
                except Exception as error:
                    errors.append(error)
                    stop.set()

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for round_ in range(4):
            enough = len(made) + 20
            wait_for("load", lambda enough=enough: len(made) >= enough or stop.is_set())
            os.kill(dev.workers[round_ % WORKERS], signal.SIGKILL)
            wait_for("a new worker that serves", lambda began=round_ + 1: dev.text.count(" is ready") == WORKERS + began)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert errors == []
        left = set(made)
        for page in dev.client(attempts=6).get_paginator("list_keys").paginate():
            left -= {key["KeyId"] for key in page["Keys"]}
        assert left == set()


def test_a_client_that_does_not_retry_sees_a_broken_connection_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as dev:
        key_id = dev.client().create_key()["KeyMetadata"]["KeyId"]
        seen: set[type[BaseException]] = set()
        stop = threading.Event()

        def load() -> None:
            client = dev.client()
            while not stop.is_set():
                try:
                    client.encrypt(KeyId=key_id, Plaintext=b"x")
                except Exception as error:
                    seen.add(type(error))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        os.kill(dev.workers[0], signal.SIGKILL)
        wait_for("a new worker that serves", lambda: dev.text.count(" is ready") == 2 + 1)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert seen <= {ConnectionClosedError, EndpointConnectionError}


def test_the_workers_end_with_the_first_process(tmp_path: Path) -> None:
    with running(tmp_path) as dev:
        workers = dev.workers
        dev.endpoint._process.send_signal(signal.SIGKILL)
        wait_for("the workers' end", lambda: not any(map(alive, workers)), seconds=60)
    with running(tmp_path, workers=1) as again:
        assert again.client().list_keys()["Keys"] == []


def test_sigterm_ends_all_and_leaves_no_copy_of_the_token(tmp_path: Path) -> None:
    with running(tmp_path) as dev:
        workers = dev.workers
        assert len(list((tmp_path / "state/run").iterdir())) == WORKERS + 1
    assert not any(map(alive, workers))
    assert dev.endpoint._process.returncode == 0
    assert list((tmp_path / "state/run").iterdir()) == []


def test_the_secret_access_key_is_in_no_argument_and_no_environment(tmp_path: Path) -> None:
    with running(tmp_path) as dev:
        secret = dev.endpoint.exports["AWS_SECRET_ACCESS_KEY"].encode()
        for pid in (dev.endpoint._process.pid, *dev.workers):
            said = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert said
            assert secret not in said
        assert secret.decode() not in dev.text


@pytest.mark.parametrize("workers", [1, 3])
def test_the_last_use_of_a_key_survives_a_restart(tmp_path: Path, workers: int) -> None:
    with running(tmp_path, workers=workers) as dev:
        client = dev.client()
        used, unused = (client.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
        client.encrypt(KeyId=used, Plaintext=b"x")
        began = client.get_key_last_usage(KeyId=unused)["TrackingStartDate"]
    with running(tmp_path, workers=workers) as dev:

        def found() -> Any:
            return dev.client().get_key_last_usage(KeyId=used)["KeyLastUsage"]

        assert wait_for("the use of the life before", found)["Operation"] == "Encrypt"
        answer = dev.client().get_key_last_usage(KeyId=unused)
        assert answer.get("KeyLastUsage", {}) == {}
        assert answer["TrackingStartDate"] == began


def test_a_port_that_is_taken_is_one_line(dev: Running, tmp_path: Path) -> None:
    listen = dev.endpoint.url.removeprefix("http://")
    for workers in ("1", "2"):
        command = [PROGRAM, "dev", "--listen", listen, "--state", str(tmp_path / "other"), "--workers", workers]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2
        assert "--listen" in done.stderr
        assert "in use" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "other").exists(), "nothing was made for a start that could not be"


def test_reset_does_not_go_with_workers(tmp_path: Path) -> None:
    command = [PROGRAM, "dev", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "s"), "--workers", "2", "--allow-reset"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--allow-reset" in done.stderr

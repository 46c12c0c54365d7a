"""The audit trail of two real servers, read through either: RBAC of a real API server, real TLS between them, one that is stopped."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.operator.harness import Installation, wait_for
from tests.serving.desk import Desk, Worker
from tests.serving.harness import Authority, ServerProcess, start

pytestmark = pytest.mark.cluster
NAMESPACE, OTHER = "serve-c", "serve-b"
READ = "ReadAuditRecords"


@dataclass
class Pair:
    """Two servers that know each other, and themselves, by one setting."""

    desk: Desk
    authority: Authority
    ports: tuple[int, int]
    folder: Path
    servers: list[ServerProcess]

    def begin(self, number: int) -> ServerProcess:
        """One of them."""
        peers = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return start(
            self.desk.installation, self.authority, f"pair-{number}", server_port=str(self.ports[number]), audit_peers=peers,
            audit_folder=str(self.folder / str(number)), audit_stdout="false",
        )  # fmt: skip

    def address(self, number: int) -> str:
        """As the other one names it."""
        return f"127.0.0.1:{self.ports[number]}"


def free_ports() -> tuple[int, int]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(socket.socket()) for _ in range(2))
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


@pytest.fixture(scope="module")
def pair(leader: object, authority: Authority, desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(desk, authority, free_ports(), tmp_path_factory.mktemp("pair"), [])
    try:
        made.servers += [made.begin(0), made.begin(1)]
        for each in made.servers:
            each.wait_ready()
        yield made
    finally:
        for each in made.servers:
            each.stop()


@pytest.fixture(scope="module")
def arn(pair: Pair) -> str:
    """A key that was used through both."""
    app = pair.desk.at(pair.servers[0]).worker(NAMESPACE, "whole-app", "*")
    clients = [app.at(each).kms() for each in pair.servers]
    found = str(clients[0].create_key()["KeyMetadata"]["Arn"])
    for row in range(6):
        clients[row % 2].encrypt(KeyId=found, Plaintext=b"x", EncryptionContext={"row": str(row)})
    return found


@pytest.fixture(scope="module")
def reader(pair: Pair) -> Worker:
    return pair.desk.worker(NAMESPACE, "whole-reader", "audit")


def get(pair: Pair, number: int, token: str, share: str = "", **query: str) -> tuple[int, Any]:
    """GET /audit of one of them, again where it is too soon."""

    def answer() -> Any:
        found = once(pair, number, token, share, **query)
        return None if found[0] == 429 else found

    found: tuple[int, Any] = wait_for("an answer that is not 429", answer)
    return found


def once(pair: Pair, number: int, token: str, share: str = "", **query: str) -> tuple[int, Any]:
    """GET /audit."""
    connection = http.client.HTTPSConnection("localhost", pair.ports[number], context=pair.desk.trust(), timeout=30)
    headers = {"Authorization": f"Bearer {token}"} | ({"X-Keystead-Audit-Share": share} if share else {})
    connection.request("GET", "/audit?" + urlencode(query), headers=headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


def rows(told: Any) -> list[str]:
    """Of the Encrypt calls."""
    return [record["requestParameters"]["encryptionContext"]["row"] for record in told["records"] if record["eventName"] == "Encrypt"]


def reads(told: Any) -> int:
    return sum(record["eventName"] == READ for record in told["records"])


@pytest.fixture
def token(reader: Worker) -> str:
    return reader.token("keystead")


def whole(pair: Pair, number: int, token: str, arn: str) -> Any:
    """When all six are on the disk: an Encrypt is answered before its record is."""

    def all_rows() -> Any:
        status, told = get(pair, number, token, key=arn)
        assert status == 200, told
        return told if sorted(rows(told)) == list("012345") else None

    return wait_for("all records of both", all_rows, 20)


def test_either_replica_tells_the_records_of_both_in_the_order_of_time(pair: Pair, token: str, arn: str) -> None:
    for number in (0, 1):
        told = whole(pair, number, token, arn)
        assert (told["notAsked"], told["askedSiblings"], told["nextMarker"]) == ([], True, None)
        assert [item["address"] for item in told["replicas"]] == [pair.address(number), pair.address(1 - number)]
        assert all(item["from"] for item in told["replicas"])
        times = [record["eventTime"] for record in told["records"]]
        assert times == sorted(times)


def test_pages_go_on_whichever_replica_is_asked(pair: Pair, token: str, arn: str) -> None:
    found, marker, turn = [], "", 0
    while marker is not None:
        status, told = get(pair, turn % 2, token, key=arn, limit="4", **({"marker": marker} if marker else {}))
        assert (status, told.get("notAsked")) == (200, []), told
        found, marker, turn = found + [record["eventID"] for record in told["records"]], told["nextMarker"], turn + 1
    assert len(found) == len(set(found))
    assert turn > 1
    assert {record["eventID"] for record in whole(pair, 0, token, arn)["records"] if record["eventName"] != READ} <= set(found)


def test_each_replica_is_asked_once_and_asks_nobody_further(pair: Pair, token: str, arn: str) -> None:
    """Both know both: a question that went on would be recorded more than once by each."""
    before = reads(get(pair, 0, token, key=arn, limit="1000")[1])
    after = reads(get(pair, 1, token, key=arn, limit="1000")[1])
    assert after - before == 2


def test_a_question_that_looks_like_a_siblings_gives_less_and_never_more(pair: Pair, token: str, arn: str) -> None:
    status, told = get(pair, 0, token, "1", key=arn)
    assert (status, sorted(rows(told))) == (200, ["0", "2", "4"])
    stranger = pair.desk.worker(OTHER, "whole-forger", "*").token("keystead")
    assert get(pair, 0, stranger, "1", key=arn) == get(pair, 0, stranger, key=arn)
    assert get(pair, 0, token, "99", key=arn)[0] == 400


def test_who_lacks_the_right_gets_the_same_refusal_and_no_other_replica_hears_of_it(pair: Pair, arn: str) -> None:
    weak, stranger = (pair.desk.worker(*who).token("keystead") for who in ((NAMESPACE, "whole-weak", "encrypt"), (OTHER, "whole-far", "*")))
    refusals = [get(pair, 0, stranger, key=arn), get(pair, 0, stranger, key="none"), get(pair, 1, stranger, key=arn)]
    assert refusals[0][0] == 403 and refusals[0] == refusals[1] == refusals[2]
    assert get(pair, 0, weak, key=arn)[0] == 403
    ours, theirs = (
        [line for file in (pair.folder / str(number)).glob("*.jsonl") for line in file.read_text().splitlines() if "whole-weak" in line]
        for number in (0, 1)
    )
    assert (len(ours), theirs) == (1, [])


def test_who_reads_too_often_is_told_to_wait(pair: Pair, arn: str) -> None:
    hasty = pair.desk.worker(NAMESPACE, "whole-hasty", "encrypt").token("keystead")
    answers: list[tuple[int, Any]] = []

    def too_often() -> bool:
        with ThreadPoolExecutor(8) as threads:
            answers.extend(threads.map(lambda _: once(pair, 0, hasty, key=arn), range(40)))
        return any(status == 429 for status, _ in answers)

    wait_for("a read that comes too often", too_often)
    assert {status for status, _ in answers} == {403, 429}
    assert next(body["__type"] for status, body in answers if status == 429) == "ThrottlingException"


def kubectl(pair: Pair, arn: str) -> subprocess.CompletedProcess[str]:
    """`kubectl kms audit`, with one endpoint by AWS's own variable."""
    installation: Installation = pair.desk.installation
    command = [sys.executable, "-m", "keystead.app.kms.main", "audit", arn, "-n", NAMESPACE, "--as-serviceaccount", "whole-reader",
               "--kubeconfig", str(installation.cluster.kubeconfig), "-o", "json"]  # fmt: skip
    environment = dict(os.environ) | {
        "PYTHONPATH": str(installation.code), "AWS_ENDPOINT_URL_KMS": pair.servers[0].url, "AWS_CA_BUNDLE": str(pair.authority.bundle),
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_replica_that_is_stopped_is_named_and_is_told_of_again_when_it_is_back(pair: Pair, token: str, arn: str) -> None:
    told = json.loads(kubectl(pair, arn).stdout)
    assert (sorted(rows(told)), len(told["replicas"]), told["notAsked"]) == (list("012345"), 2, [])
    pair.servers.pop().stop()
    status, told = get(pair, 0, token, key=arn)
    assert (status, sorted(rows(told))) == (200, ["0", "2", "4"])
    assert told["notAsked"] == [{"replica": None, "address": pair.address(1), "reason": "nobody listens there"}]
    assert f"not asked: {pair.address(1)}: nobody listens there" in kubectl(pair, arn).stderr
    pair.servers.append(pair.begin(1))
    pair.servers[1].wait_ready()
    assert whole(pair, 0, token, arn)["notAsked"] == []

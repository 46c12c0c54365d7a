"""What a server does when what it stands on goes wrong: refuse fast, so that an SDK tries another one, be unready, and heal by itself.

Watches that fall silent, an API server that is gone, a token that is away. Each server here is its own: nobody else's is starved.
"""

from __future__ import annotations

import dataclasses
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.operator.chaos import ChaosProxy, drop_reply, drop_request, stall_watch
from tests.operator.harness import Installation, OperatorProcess, wait_for
from tests.serving.desk import Answer, Desk, Raw, Worker
from tests.serving.harness import Authority, ServerProcess, start

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-life"
MAX_STALE = 3.0
INTERNAL = "KMSInternalException"


@dataclasses.dataclass
class Servers:
    """One behind a proxy, one with a token folder of its own. Started together: that takes a while."""

    cut: ServerProcess
    proxy: ChaosProxy
    bare: ServerProcess
    tokens: Path


@pytest.fixture(scope="module")
def servers(
    installation: Installation, authority: Authority, leader: OperatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("own") / "token"
    shutil.copytree(installation.token, folder)
    conf = folder / "softhsm2.conf"
    conf.chmod(0o600)
    conf.write_text(conf.read_text().replace(str(installation.token), str(folder)))
    folder.chmod(0o700)  # or its `tokens` cannot be moved
    own = dataclasses.replace(installation, token=folder)
    with ChaosProxy(installation.cluster) as proxy:
        cut = start(installation, authority, "server-cut", proxy.url, max_stale=str(MAX_STALE))
        bare = start(own, authority, "server-bare", program=("tests.serving.lostsession", "server"))
        try:
            for server in (cut, bare):
                server.wait_ready()
            yield Servers(cut, proxy, bare, folder / "tokens")
        finally:
            cut.stop()
            bare.stop()


@pytest.fixture(scope="module")
def app(desk: Desk) -> Worker:
    return desk.worker(NAMESPACE, "outages", "*")


@pytest.fixture(scope="module")
def key(app: Worker) -> str:
    return str(app.raw().call("CreateKey").json["KeyMetadata"]["KeyId"])


def ready(server: ServerProcess) -> bool:
    return server.get("/readyz")[0] == 200


def refused(answer: Answer) -> bool:
    """What SDKs try again, elsewhere."""
    return (answer.status, answer.code) == (500, INTERNAL)


@pytest.fixture
def client(app: Worker, servers: Servers, key: str) -> Iterator[Raw]:
    """Before the one behind the proxy, with fresh facts."""
    servers.proxy.clear()
    wait_for("it serves", lambda: ready(servers.cut), 15)
    made = app.at(servers.cut).raw()
    assert made.call("Encrypt", KeyId=key, Plaintext=b"x").status == 200
    yield made
    servers.proxy.clear()


def test_a_silent_watch_is_refused_and_heals(servers: Servers, client: Raw, key: str) -> None:
    servers.proxy.rule(lambda request: request.watch, stall_watch(), times=None)
    began = time.monotonic()
    answer = wait_for("it refuses", lambda: _refusal(client, key), 6, 0.05)
    assert time.monotonic() - began < 4  # a sign of life each second, 2 s to see it
    assert answer.headers["Connection"] == "close"
    assert "records: the stream is silent" in servers.cut.get("/readyz")[1]
    servers.proxy.clear()
    wait_for("it serves again", lambda: client.call("Encrypt", KeyId=key, Plaintext=b"x").status == 200, 6, 0.05)
    wait_for("it is ready again", lambda: ready(servers.cut), 2)


def _refusal(client: Raw, key: str) -> Answer | None:
    answer = client.call("Encrypt", KeyId=key, Plaintext=b"x")
    assert answer.status == 200 or refused(answer), answer.text
    return answer if refused(answer) else None


def test_without_the_api_server_it_serves_for_max_stale_and_no_longer(servers: Servers, client: Raw, key: str) -> None:
    servers.proxy.rule(lambda _: True, drop_request(), times=None)
    began = time.monotonic()
    answer = wait_for("it refuses", lambda: _refusal(client, key), MAX_STALE + 3, 0.05)
    served = time.monotonic() - began
    # Counted from the last sign of life, which is up to a second old when the line breaks.
    assert MAX_STALE - 1.2 < served < MAX_STALE + 1
    assert answer.headers["Connection"] == "close"
    assert not ready(servers.cut)
    servers.proxy.clear()
    wait_for("it serves again", lambda: client.call("Encrypt", KeyId=key, Plaintext=b"x").status == 200, 6, 0.05)
    wait_for("it is ready again", lambda: ready(servers.cut), 2)


def test_a_change_that_cannot_be_written_is_an_answer_that_sdks_try_again(servers: Servers, client: Raw, key: str) -> None:
    servers.proxy.rule(lambda request: request.method == "PATCH", drop_request(), times=2)
    changed = {"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]}
    assert refused(client.call("TagResource", **changed))
    assert refused(client.call("TagResource", **changed))
    assert client.call("TagResource", **changed).status == 200


def test_a_create_whose_reply_is_lost_is_found_by_the_retry(app: Worker, servers: Servers, client: Raw) -> None:
    """boto3's own second attempt, with the invocation id of the first."""
    kms = app.at(servers.cut).kms(attempts=2)
    before = len(kms.list_keys()["Keys"])
    servers.proxy.rule(lambda request: request.method == "POST" and request.path.endswith("/kmskeys"), drop_reply())
    answer = kms.create_key()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(kms.list_keys()["Keys"]) == before + 1


def test_a_token_that_is_away_is_told_fast_and_comes_back_without_a_restart(app: Worker, servers: Servers, key: str) -> None:
    bare, away = servers.bare, servers.tokens.with_name("away")
    one, three = (app.at(bare).kms(attempts) for attempts in (1, 3))
    blob = one.encrypt(KeyId=key, Plaintext=b"kept")["CiphertextBlob"]
    servers.tokens.rename(away)
    bare.child.send_signal(signal.SIGUSR1)
    try:
        error, seconds = wait_for("it refuses", lambda: _failure(one, key), 5, 0.02)
        assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (INTERNAL, 500)
        assert seconds < 2
        assert not ready(bare)
        error, _ = _failure(three, key) or pytest.fail("it answered")
        assert error["ResponseMetadata"]["RetryAttempts"] == 2
        new = app.at(bare)
        with pytest.raises(ClientError, match="InternalFailure"):
            new.assume(app.role)
    finally:
        away.rename(servers.tokens)
    began = time.monotonic()
    wait_for("it is ready again", lambda: ready(bare), 15)
    assert one.decrypt(CiphertextBlob=blob)["Plaintext"] == b"kept"
    assert time.monotonic() - began < 15
    assert bare.child.poll() is None


def _failure(client: Any, key: str) -> tuple[Any, float] | None:
    began = time.monotonic()
    try:
        client.encrypt(KeyId=key, Plaintext=b"x")
    except ClientError as error:
        return error.response, time.monotonic() - began
    return None

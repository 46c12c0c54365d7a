"""Two servers: a create that is repeated makes one object, what one has done the other knows, and a rolling restart loses no call."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.operator.direct import path_of
from tests.operator.harness import Installation, OperatorProcess, wait_for
from tests.serving.balancer import Balancer
from tests.serving.desk import KEY, Desk, Raw, Worker, code_of
from tests.serving.harness import REGION, Authority, ServerProcess, start

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-life"
# A Service in these tests hears within 0.2 s.
LAME = {"lame_duck": "1"}


@pytest.fixture(scope="module")
def pair(installation: Installation, authority: Authority, leader: OperatorProcess) -> Iterator[list[ServerProcess]]:
    """Two that are ready; a test may replace them."""
    servers = [start(installation, authority, f"replica-{name}", **LAME) for name in "ab"]
    try:
        for server in servers:
            server.wait_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.fixture(scope="module")
def app(desk: Desk) -> Worker:
    return desk.worker(NAMESPACE, "app", "*")


@pytest.fixture(scope="module")
def session(app: Worker) -> dict[str, str]:
    return app.session()


@pytest.fixture(scope="module")
def both(desk: Desk, pair: list[ServerProcess], session: dict[str, str]) -> list[Any]:
    """A boto3 client of each, with the same credentials: they were issued by a third server."""
    return [desk.at(server).client("kms", **session) for server in pair]


def signed(session: dict[str, str], target: str, body: bytes, invocation: str) -> dict[str, str]:
    """The headers of a signed call, as an SDK sends them with each attempt."""
    headers = {
        "Host": "kms.example",
        "X-Amz-Target": f"TrentService.{target}",
        "Content-Type": "application/x-amz-json-1.1",
        "amz-sdk-invocation-id": invocation,
    }
    request = AWSRequest("POST", "https://kms.example/", data=body, headers=headers)
    credentials = Credentials(session["aws_access_key_id"], session["aws_secret_access_key"], session["aws_session_token"])
    SigV4Auth(credentials, "kms", REGION).add_auth(request)
    return dict(request.headers.items())


def at_once(desk: Desk, pair: list[ServerProcess], headers: dict[str, str], body: bytes) -> list[Any]:
    """The same bytes to both."""
    clients = [desk.at(server).raw() for server in pair]
    ready = threading.Barrier(len(clients))

    def send(client: Raw) -> Any:
        ready.wait()
        answer = client.post(body, headers)
        assert answer.status == 200, answer.text
        return answer.json

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(send, clients))


def names(desk: Desk, kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in desk.direct.get(path_of(kind, NAMESPACE))["items"]}


@pytest.mark.parametrize("attempt", range(5))
def test_a_create_key_that_arrives_twice_at_once_makes_one_key(desk: Desk, pair, session, attempt: int) -> None:
    before, body = names(desk, KEY), b'{"Description":"once"}'
    headers = signed(session, "CreateKey", body, str(uuid.uuid4()))
    ids = [answer["KeyMetadata"]["KeyId"] for answer in at_once(desk, pair, headers, body)]
    ids.append(desk.at(pair[1]).raw().post(body, headers).json["KeyMetadata"]["KeyId"])
    assert len(set(ids)) == 1
    assert len(names(desk, KEY) - before) == 1


def test_another_call_makes_another_key(desk: Desk, pair, session) -> None:
    invocation = str(uuid.uuid4())
    made = [("{}", invocation), ('{"Description":"other"}', invocation), ("{}", str(uuid.uuid4()))]
    ids = set()
    for body, number in made:
        headers = signed(session, "CreateKey", body.encode(), number)
        ids.add(desk.at(pair[0]).raw().post(body.encode(), headers).json["KeyMetadata"]["KeyId"])
    assert len(ids) == 3


def test_a_create_grant_that_arrives_twice_at_once_makes_one_grant(desk: Desk, pair, session, both, app: Worker) -> None:
    key = both[0].create_key()["KeyMetadata"]["KeyId"]
    body = f'{{"KeyId":"{key}","GranteePrincipal":"{app.role}-x","Operations":["Decrypt"]}}'.encode()
    headers = signed(session, "CreateGrant", body, str(uuid.uuid4()))
    ids = {answer["GrantId"] for answer in at_once(desk, pair, headers, body)}
    assert [{grant["GrantId"] for grant in client.list_grants(KeyId=key)["Grants"]} for client in both] == [ids, ids]
    assert len(ids) == 1


def test_what_one_has_made_the_other_uses_at_once(both: list[Any]) -> None:
    """50 times, each way round: never a NotFoundException."""
    for number in range(50):
        one, other = both[number % 2], both[1 - number % 2]
        key = one.create_key()["KeyMetadata"]["KeyId"]
        assert other.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]


def test_an_alias_and_a_grant_of_one_are_known_to_the_other_at_once(desk: Desk, pair, both, app: Worker) -> None:
    friend = desk.worker(NAMESPACE, "friend")
    clients = [friend.at(server).kms() for server in pair]
    for number in range(10):
        one, other = both[number % 2], both[1 - number % 2]
        key, name = one.create_key()["KeyMetadata"]["KeyId"], f"alias/at-once-{number}"
        one.create_alias(AliasName=name, TargetKeyId=key)
        assert other.encrypt(KeyId=name, Plaintext=b"x")["KeyId"].endswith(key)
        token = one.create_grant(KeyId=key, GranteePrincipal=friend.role, Operations=["Encrypt"])["GrantToken"]
        assert clients[1 - number % 2].encrypt(KeyId=key, Plaintext=b"x", GrantTokens=[token])["CiphertextBlob"]


NARROW: dict[str, tuple[Callable[[Any, str], Any], str]] = {
    "DisableKey": (lambda kms, key: kms.disable_key(KeyId=key), "DisabledException"),
    "ScheduleKeyDeletion": (lambda kms, key: kms.schedule_key_deletion(KeyId=key), "KMSInvalidStateException"),
}


@pytest.mark.parametrize("call", NARROW)
def test_what_one_has_taken_away_the_other_refuses_within_2_seconds(both: list[Any], call: str) -> None:
    act, code = NARROW[call]
    key = both[0].create_key()["KeyMetadata"]["KeyId"]
    assert both[1].encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    act(both[0], key)
    answered = time.monotonic()
    assert code_of(both[0].encrypt, KeyId=key, Plaintext=b"x") == code
    wait_for("the other refuses", lambda: code_of(both[1].encrypt, KeyId=key, Plaintext=b"x") == code, 5, 0.01)
    assert time.monotonic() - answered < 2


class Load:
    """Clients that call almost without a pause, with the retries that SDKs have by default."""

    def __init__(self, desk: Desk, url: str, session: dict[str, str], key: str, threads: int = 3) -> None:
        self.calls, self.retried = 0, 0
        self.errors: list[Exception] = []
        self._stop = threading.Event()
        client = desk.client("kms", 3, url, **session)
        works = [self._use(client, key)] * threads + [self._change(client, key)]
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    @staticmethod
    def _use(client: Any, key: str) -> Callable[[int], Any]:
        def work(_: int) -> Any:
            blob = client.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
            return client.decrypt(CiphertextBlob=blob)

        return work

    @staticmethod
    def _change(client: Any, key: str) -> Callable[[int], Any]:
        return lambda number: client.tag_resource(KeyId=key, Tags=[{"TagKey": "n", "TagValue": str(number)}])

    def _run(self, work: Callable[[int], Any]) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                answer = work(number)
                self.retried += answer["ResponseMetadata"]["RetryAttempts"]
            except Exception as error:  # each one is a lost call: the test tells them
                self.errors.append(error)
            self.calls += 1
            self._stop.wait(0.005)  # two cores: the servers need some of them

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_a_rolling_restart_under_load_loses_no_call(desk: Desk, installation, authority, pair, session, both) -> None:
    key = both[0].create_key()["KeyMetadata"]["KeyId"]
    for client in both:
        client.close()  # an idle connection is waited for, 2 s
    old = pair[:2]
    pair += [start(installation, authority, f"replica-{name}", **LAME) for name in "cd"]
    for server in pair[2:]:
        server.wait_ready()
    with Balancer(old) as service, Load(desk, service.url, session, key) as load:
        for number, server in enumerate(old):
            service.servers = [*old[number:], *pair[2 : 3 + number]]
            _go_on(load)
            server.child.terminate()
            assert server.child.wait(15) == 0, server.text[-2000:]
        _go_on(load)
    assert load.errors == []


def _go_on(load: Load) -> None:
    before = load.calls
    wait_for("a hundred calls more", lambda: load.calls > before + 100, every=0.02)

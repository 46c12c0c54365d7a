"""The chaos proxy tells the truth until a rule says otherwise: what the crash tests rely on."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.cluster.cluster import Cluster
from tests.operator.chaos import (
    ChaosProxy,
    Gate,
    answer,
    delay,
    drop_reply,
    drop_request,
    hold,
    kill_after,
    kill_before,
    stall_watch,
)
from tests.operator.harness import wait_for

pytestmark = pytest.mark.cluster


@dataclass
class Caller:
    """Speaks HTTP to the proxy with the token of a ServiceAccount that may edit one namespace."""

    cluster: Cluster
    proxy: ChaosProxy
    namespace: str
    token: str

    @property
    def maps(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    @contextmanager
    def open(
        self, method: str, path: str, body: object = None, seconds: float = 20
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(urlsplit(self.proxy.url).netloc, timeout=seconds)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            with connection.getresponse() as response:
                yield response

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        with self.open(method, path, body) as response:
            return response.status, json.loads(response.read())

    def create(self, name: str) -> int:
        return self.call("POST", self.maps, {"metadata": {"name": name}})[0]

    def exists(self, name: str) -> bool:
        return bool(self.cluster.kubectl("get", "configmap", name, "-n", self.namespace, "--ignore-not-found"))

    def watch(self, seconds: float = 20) -> AbstractContextManager[http.client.HTTPResponse]:
        return self.open("GET", f"{self.maps}?watch=1&timeoutSeconds=60", seconds=seconds)


class Victim:
    """A process that can be killed."""

    def __init__(self) -> None:
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """A namespace, and a token of a ServiceAccount that may edit it."""
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    who = f"--serviceaccount={name}:chaos"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("create", "serviceaccount", "chaos", "-n", name)
    cluster.kubectl("create", "rolebinding", "chaos", "-n", name, "--clusterrole=edit", who)
    yield name, cluster.kubectl("create", "token", "chaos", "-n", name).strip()
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def caller(cluster: Cluster, account: tuple[str, str]) -> Iterator[Caller]:
    with ChaosProxy(cluster) as proxy:
        made = Caller(cluster, proxy, *account)
        wait_for("the right to edit", lambda: made.call("DELETE", made.maps)[0] == 200)  # and nothing is left of before
        proxy.clear()
        yield made


def test_requests_pass_with_the_callers_own_rights_and_every_write_is_logged(caller: Caller) -> None:
    assert caller.create("one") == 201
    assert caller.call("GET", f"{caller.maps}/one")[1]["metadata"]["name"] == "one"
    assert caller.call("DELETE", "/api/v1/namespaces/default")[0] == 403
    assert [(w.number, w.method, w.status, w.fault) for w in caller.proxy.log] == [
        (1, "POST", 201, ""),
        (2, "DELETE", 403, ""),
    ]
    assert caller.proxy.log[0].body == {"metadata": {"name": "one"}}
    assert caller.proxy.requests == 3


def test_rule_lets_the_first_pass_and_acts_as_often_as_it_says(caller: Caller) -> None:
    rule = caller.proxy.rule(lambda r: r.write, answer(409), times=2, after=1)
    assert [caller.create(name) for name in ("a", "b", "c", "d")] == [201, 409, 409, 201]
    assert (rule.seen, rule.hits, rule.spent) == (3, 2, True)
    assert not caller.exists("b")


def test_answer_after_commit_hides_that_it_happened(caller: Caller) -> None:
    caller.proxy.rule(lambda r: r.write, answer(500, {"Retry-After": "7"}, after_commit=True))
    with caller.open("POST", caller.maps, {"metadata": {"name": "hidden"}}) as response:
        assert (response.status, response.headers["Retry-After"]) == (500, "7")
    assert caller.exists("hidden")
    assert [(w.status, w.told, w.fault) for w in caller.proxy.log] == [(201, 500, "answer_500_after_commit")]


@pytest.mark.parametrize(("action", "committed"), [(drop_reply(), True), (drop_request(), False)])
def test_dropped_call_gets_no_reply(caller: Caller, action: Any, committed: bool) -> None:
    caller.proxy.rule(lambda r: r.write, action)
    with pytest.raises(OSError):
        caller.create("dropped")
    assert caller.exists("dropped") == committed
    assert (caller.proxy.log[0].committed, caller.proxy.log[0].told) == (committed, None)
    assert caller.create("next") == 201


@pytest.mark.parametrize(("fault", "committed"), [(kill_after, True), (kill_before, False)])
def test_kill_comes_before_or_after_the_commit(caller: Caller, fault: Any, committed: bool) -> None:
    victim = Victim()
    caller.proxy.rule(lambda r: r.write, fault(lambda: victim))
    with pytest.raises(OSError):
        caller.create("killed")
    assert victim.kills == 1
    assert caller.exists("killed") == committed


def test_delayed_call_takes_its_time(caller: Caller) -> None:
    caller.proxy.rule(lambda r: r.write, delay(0.5))
    began = time.monotonic()
    assert caller.create("slow") == 201
    assert time.monotonic() - began >= 0.5


def test_held_write_happens_when_it_is_let_go_although_its_caller_is_gone(caller: Caller) -> None:
    gate = Gate()
    caller.proxy.rule(lambda r: r.write, hold(gate))
    body = {"metadata": {"name": "late"}}
    with pytest.raises(TimeoutError), caller.open("POST", caller.maps, body, seconds=0.5):
        pass
    assert gate.reached.is_set()
    assert not caller.exists("late")
    gate.go.set()
    wait_for("the late write", lambda: caller.exists("late"))


def test_watch_streams_events_as_they_come(caller: Caller) -> None:
    with caller.watch() as stream:
        caller.create("seen")
        assert any(b'"name":"seen"' in line for line in stream)


def test_stalled_watch_is_silent_and_stays_open(caller: Caller) -> None:
    caller.create("before")
    with caller.watch(seconds=1) as stream:
        stream.readline()
        rule = caller.proxy.rule(lambda r: r.watch, stall_watch())
        assert caller.create("unseen") == 201
        with pytest.raises(TimeoutError):
            while b"unseen" not in stream.readline():
                pass
    assert rule.hits == 1
    with caller.watch() as fresh:
        assert fresh.readline()


def test_watch_can_be_cut(caller: Caller) -> None:
    caller.proxy.rule(lambda r: r.watch, drop_reply(), after=1)
    with caller.watch() as stream, pytest.raises((OSError, http.client.HTTPException)):
        while stream.readline():
            pass
        raise ConnectionError("the end, as clean as a FIN")


def test_hung_up_watch_ends_in_the_proxy_too(caller: Caller) -> None:
    before = threading.active_count()
    for _ in range(5):
        with caller.watch() as stream:
            stream.readline()
    wait_for("no stream is left", lambda: not caller.proxy.streams)
    assert threading.active_count() == before


def test_date_is_shifted_for_every_answer(caller: Caller) -> None:
    def date() -> float:
        with caller.open("GET", caller.maps) as response:
            return parsedate_to_datetime(response.headers["Date"]).timestamp()

    true = date()
    caller.proxy.shift_date(86400)
    assert 86400 <= date() - true < 86400 + 60
    caller.proxy.shift_date(0)
    assert date() - true < 60


def test_error_in_a_rule_is_told(caller: Caller) -> None:
    with pytest.raises(AssertionError, match="a rule of the proxy failed"), ChaosProxy(caller.cluster) as proxy:
        proxy.rule(lambda r: r.body["no"]["such"], drop_reply())
        assert Caller(caller.cluster, proxy, caller.namespace, caller.token).create("through") == 201

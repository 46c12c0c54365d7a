"""Bounds and request quotas on a real API server: kubectl apply of one more, CreateKey of one more, and calls beyond a quota."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.operator.desk import ALIAS, KEY, Desk, desk
from tests.operator.harness import Installation, condition
from tests.operator.replicas import SHORT
from tests.serving.harness import ServerProcess, Workload, account_of, assume, kms, make_authority, server

from keystead.engine.bounds import ALIASES_PER_KEY

pytestmark = pytest.mark.cluster
NAMESPACE = "bounds"


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """An operator that makes two keys in a namespace, `first` and `second`, and no more."""
    with contextlib.ExitStack() as stack, desk(installation, NAMESPACE, **SHORT, keys_per_namespace="2") as made:
        for name in ("first", "second"):
            made.key(name)
            made.ready(KEY, name)
        yield made
        stack.callback(made.operator.stop)


@pytest.fixture(scope="module")
def serving(at: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Any]]:
    """A server that knows of no bound on keys, so that the operator has the last word, and its client. A second ListKeys is too many."""
    authority = make_authority(Path(tmp_path_factory.mktemp("tls")))
    quota = json.dumps({"limits": {"ListKeys": 0.01}})
    with server(at.installation, authority, "bounds-server", quota=quota) as process:
        process.wait_ready()
        workload = Workload(at.installation, NAMESPACE, "admin").create("*")
        account = account_of(at.installation, NAMESPACE)
        yield process, kms(process, authority, assume(process, authority, workload, account))


def test_one_key_more_is_stalled_and_names_the_bound(at: Desk) -> None:
    at.key("third")
    body = at.reason(KEY, "third", "QuotaExceeded")
    stalled = condition(body, "Stalled")
    assert stalled["status"] == "True"
    assert stalled["message"] == "keys of the namespace: there are 2, and 2 may be"
    assert "keyId" not in body["status"]
    at.delete(KEY, "third")


def test_create_key_of_one_more_is_answered_with_limit_exceeded(serving: tuple[ServerProcess, Any]) -> None:
    with pytest.raises(ClientError) as caught:
        serving[1].create_key()
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("LimitExceededException", 400)


def test_one_alias_more_is_stalled_until_there_is_room(at: Desk) -> None:
    for number in range(ALIASES_PER_KEY):
        at.named(ALIAS, f"a{number}", aliasName=f"alias/a{number}", keyRef={"name": "first"})
    for number in range(ALIASES_PER_KEY):
        at.ready(ALIAS, f"a{number}")
    at.named(ALIAS, "more", aliasName="alias/more", keyRef={"name": "first"})
    assert "aliases of the key" in condition(at.reason(ALIAS, "more", "QuotaExceeded"), "Stalled")["message"]
    at.merge(ALIAS, "more", spec={"keyRef": {"name": "second"}})
    at.ready(ALIAS, "more")


def test_a_server_counts_calls_and_tells_its_metrics(serving: tuple[ServerProcess, Any]) -> None:
    process, client = serving
    assert len(client.list_keys()["Keys"]) == 2
    with pytest.raises(ClientError, match="ThrottlingException"):
        client.list_keys()
    _, text = process.get("/metrics")
    assert re.search(r'^keystead_quota_throttled_total\{class="ListKeys"\} 1\.0$', text, re.MULTILINE)

"""Web identity: a ServiceAccount's token in, temporary credentials out, and every way in which that is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.serving.desk import Desk, Worker, code_of

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-b"
ASSUME = "AssumeRoleWithWebIdentity"


@pytest.fixture(scope="module")
def app(desk: Desk) -> Worker:
    """A workload that may do everything with keys."""
    return desk.worker(NAMESPACE, "app", "*")


@pytest.fixture(scope="module")
def role(app: Worker) -> str:
    return app.role


def asked(app: Worker, role: str, **changes: str) -> Any:
    """Without an SDK: boto3 refuses some of this itself."""
    fields = {"RoleArn": role, "RoleSessionName": "tests", "WebIdentityToken": app.token("keystead"), **changes}
    return app.desk.raw().form(Action=ASSUME, **fields)


def test_credentials_say_who_they_are_of(app: Worker, role: str) -> None:
    who = app.desk.client("sts", **app.session()).get_caller_identity()
    account = role.split(":")[4]
    assert (who["Account"], who["Arn"]) == (account, f"arn:aws:sts::{account}:assumed-role/app/tests")
    assert who["UserId"].startswith("AROA") and who["UserId"].endswith(":tests")


def test_a_pods_own_token_is_worthless_here(app: Worker, role: str) -> None:
    for token in (app.token(), app.token("vault"), app.token("https://kubernetes.default.svc.cluster.local")):
        assert code_of(app.assume, role, token) == "InvalidIdentityToken"


def test_our_token_is_worthless_at_the_api_server(app: Worker) -> None:
    cluster = app.desk.installation.cluster
    told = cluster.kubectl("create", "--raw", "/apis/authentication.k8s.io/v1/tokenreviews", "-f", "-", stdin=review(app.token("keystead")))
    assert '"authenticated":true' not in told


def review(token: str) -> str:
    return f'{{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{{"token":"{token}"}}}}'


def test_another_role_is_denied_and_nothing_is_said_of_it(app: Worker, role: str) -> None:
    other = app.desk.worker(NAMESPACE, "other")
    messages = set()
    for arn in (other.role, role.replace("/app", "/nobody"), role.replace(role.split(":")[4], "444455556666")):
        with pytest.raises(ClientError, match=r"\(AccessDenied\)") as caught:
            app.assume(arn)
        messages.add(caught.value.response["Error"]["Message"])
    assert messages == {f"Not authorized to perform sts:{ASSUME}: the token is that of {role}"}


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "e30.e30.e30", "x" * 20_000, "two words", "ünïcode"])
def test_what_is_no_token_is_no_identity(app: Worker, role: str, token: str) -> None:
    assert code_of(app.assume, role, token) == "InvalidIdentityToken"


def test_a_token_whose_time_is_over_is_told_so(app: Worker, role: str) -> None:
    assert code_of(app.assume, role, app.forged()) == ""
    assert code_of(app.assume, role, app.forged(exp=int(time.time()) - 60)) == "ExpiredTokenException"
    assert code_of(app.assume, role, app.forged()[:-4] + "AAAA") == "InvalidIdentityToken"


def test_a_token_of_an_account_that_was_made_again_is_nobodys(app: Worker, role: str) -> None:
    before = {"name": app.name, "uid": "00000000-0000-4000-8000-000000000000"}
    token = app.forged(**{"kubernetes.io": {"namespace": app.namespace, "serviceaccount": before}})
    assert code_of(app.assume, role, token) == "InvalidIdentityToken"


@pytest.mark.parametrize("name", ["ab", "1764143425123456789", "botocore-session-1", "a+b=c,d.e@f_g-h", "x" * 64])
def test_session_names_that_sdks_send(app: Worker, role: str, name: str) -> None:
    answer = asked(app, role, RoleSessionName=name)
    assert answer.status == 200
    assert f":assumed-role/app/{name}<" in answer.text


@pytest.mark.parametrize("name", ["a", "x" * 65, "has space", "slash/ed", "new\nline", "ümlaut", "*"])
def test_session_names_that_are_none(app: Worker, role: str, name: str) -> None:
    answer = asked(app, role, RoleSessionName=name)
    assert (answer.status, "<Code>ValidationError</Code>" in answer.text) == (400, True)


@pytest.mark.parametrize("seconds", [900, 3600, 43_200])
def test_credentials_live_as_long_as_was_asked(app: Worker, role: str, seconds: int) -> None:
    ends = app.assume(role, DurationSeconds=seconds)["Credentials"]["Expiration"]
    assert abs((ends - datetime.now(UTC)).total_seconds() - seconds) < 5


@pytest.mark.parametrize("seconds", ["899", "43201", "0", "-900", "1e4", "900.0", ""])
def test_credentials_do_not_live_otherwise(app: Worker, role: str, seconds: str) -> None:
    answer = asked(app, role, DurationSeconds=seconds)
    assert (answer.status, "<Code>ValidationError</Code>" in answer.text) == (400, True)


def test_the_first_key_of_a_namespace_is_in_the_account_that_its_credentials_had(desk: Desk) -> None:
    desk.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "serve-unclaimed"}})
    first = desk.worker("serve-unclaimed", "first", "*")
    client, account = first.kms(), first.account
    assert client.list_keys()["Keys"] == []
    made = client.create_key()["KeyMetadata"]
    assert (made["AWSAccountId"], made["Arn"].split(":")[4]) == (account, account)
    assert first.account == account
    assert client.decrypt(CiphertextBlob=client.encrypt(KeyId=made["KeyId"], Plaintext=b"x")["CiphertextBlob"])["Plaintext"] == b"x"


def test_one_address_serves_both(app: Worker) -> None:
    """What an SDK does in a Pod: STS and KMS at one endpoint, told apart by what is sent."""
    session = app.session()
    assert app.desk.client("sts", **session).get_caller_identity()["Account"] == app.account
    assert app.desk.client("kms", **session).list_keys()["ResponseMetadata"]["HTTPStatusCode"] == 200

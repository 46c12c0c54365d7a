"""STS and the audit: whoever is known, and asks for credentials, is recorded before there are any; never the token, never a secret."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.hsm.fake import FakeHsm
from tests.operator.canaries import found_in
from tests.server.identities import ACCOUNT, NOW, SA_UID, AnIdentity
from tests.server.test_door_audit import Tape
from tests.server.test_sts import ASSUME, FORM, WEB_TOKEN, WHO, Signers, encoded, identify

from keystead.audit import cloudtrail, sessions
from keystead.errors import AuditUnavailableError, HsmUnavailableError
from keystead.operations.trail import Actor
from keystead.policy import service_account_caller
from keystead.policy.caller import role_id
from keystead.server.message import Asked, Reply
from keystead.server.sts import AssumeRole, StsEndpoint

HSM = FakeHsm()
AGENT = (b"user-agent", b"aws-sdk-go-v2/1.42.1")
NAMES = "{https://sts.amazonaws.com/doc/2011-06-15/}"


def answered(tape: Tape, fields: dict[str, str], **changes: Any) -> Reply:
    parts = {
        "identify": identify, "authenticate": Signers(HSM), "domain": lambda: HSM.domain, "now": lambda: NOW, "entropy": os.urandom,
        "audit": tape, "region": "cluster-1",
    } | changes  # fmt: skip
    asked = Asked(b"POST", b"/", ((b"content-type", FORM), AGENT), encoded(fields), "10.0.0.7")
    return asyncio.run(StsEndpoint(**parts).handle(asked, "req-1"))


def told(tape: Tape) -> dict[str, Any]:
    (event,) = tape.events
    (record,) = cloudtrail.call(event)
    return dict(json.loads(record))


def text_of(reply: Reply, name: str) -> str:
    found = next(ElementTree.fromstring(reply.body).iter(NAMES + name)).text
    assert found is not None
    return found


def test_credentials_are_on_record_in_cloudtrails_shape() -> None:
    tape = Tape()
    reply = answered(tape, ASSUME | {"DurationSeconds": "900"})
    record = told(tape)
    assert (record["eventSource"], record["eventName"]) == ("sts.amazonaws.com", "AssumeRoleWithWebIdentity")
    assert record["awsRegion"] == "cluster-1"
    subject = "system:serviceaccount:team-a:app"
    assert record["userIdentity"] == {
        "type": "WebIdentityUser", "principalId": f"kubernetes:{subject}", "userName": subject, "identityProvider": "kubernetes",
    }  # fmt: skip
    assert record["requestParameters"] == {"roleArn": ASSUME["RoleArn"], "roleSessionName": "s-1", "durationSeconds": 900}
    assert record["responseElements"] == {
        "credentials": {"accessKeyId": text_of(reply, "AccessKeyId"), "expiration": text_of(reply, "Expiration")},
        "subjectFromWebIdentityToken": subject,
        "assumedRoleUser": {"assumedRoleId": f"{role_id(SA_UID)}:s-1", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1"},
        "provider": "kubernetes",
    }
    assert record["resources"] == [{"ARN": ASSUME["RoleArn"], "accountId": ACCOUNT, "type": "AWS::IAM::Role"}]
    assert (record["requestID"], record["sourceIPAddress"], record["userAgent"]) == ("req-1", "10.0.0.7", AGENT[1].decode())
    assert (record["readOnly"], record["recipientAccountId"], record["eventType"]) == (True, ACCOUNT, "AwsApiCall")
    assert record["additionalEventData"] == {
        "namespace": "team-a", "serviceAccountUid": SA_UID, "podName": "app-7f9c", "podUid": AnIdentity().pod_uid,
    }  # fmt: skip


def test_neither_the_token_nor_what_was_given_out_is_in_the_record() -> None:
    tape = Tape()
    reply = answered(tape, ASSUME)
    text = json.dumps(told(tape)).encode()
    for secret in (WEB_TOKEN, text_of(reply, "SecretAccessKey"), text_of(reply, "SessionToken")):
        assert found_in(text, secret.encode()) == []


def test_a_role_that_is_not_its_own_is_on_record_as_refused() -> None:
    tape = Tape()
    role = f"arn:aws:iam::{ACCOUNT}:role/admin"
    assert answered(tape, ASSUME | {"RoleArn": role}).status == 403
    record = told(tape)
    assert (record["errorCode"], record["requestParameters"]["roleArn"]) == ("AccessDenied", role)
    assert (record["responseElements"], record["resources"]) == (None, [])
    assert record["userIdentity"]["userName"] == "system:serviceaccount:team-a:app"


def test_a_token_that_is_away_is_on_record_with_what_was_answered() -> None:
    def away() -> Any:
        raise HsmUnavailableError("slot 7 of /dev/secret")

    tape = Tape()
    assert answered(tape, ASSUME, domain=away).status == 500
    assert told(tape)["errorCode"] == "InternalFailure"
    assert "secret" not in json.dumps(told(tape))


@pytest.mark.parametrize("fields", [ASSUME | {"WebIdentityToken": "other"}, ASSUME | {"WebIdentityToken": "expired"}, WHO])
def test_whoever_is_not_known_leaves_no_record(fields: dict[str, str]) -> None:
    tape = Tape()
    assert answered(tape, fields).status in (400, 403)
    assert tape.events == []


@pytest.mark.parametrize("broken", [{"stopped": True}, {"error": AuditUnavailableError()}, {"at_once": AuditUnavailableError()}])
@pytest.mark.parametrize("role", [ASSUME["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/admin"])
def test_without_a_record_there_are_no_credentials_and_no_refusal(broken: dict[str, Any], role: str) -> None:
    reply = answered(Tape(**broken), ASSUME | {"RoleArn": role})
    assert (reply.status, text_of(reply, "Code")) == (500, "InternalFailure")
    assert b"Credentials" not in reply.body


def test_who_asks_who_it_is_is_on_record() -> None:
    caller = service_account_caller(ACCOUNT, "team-a", "app", uid=SA_UID, session="s-1")

    async def known(_asked: Asked, _now: Any) -> Actor:
        return Actor(caller, "ASIA7", 1, "s-1")

    tape = Tape()
    assert answered(tape, WHO, authenticate=known).status == 200
    record = told(tape)
    assert (record["eventSource"], record["eventName"], record["requestParameters"]) == ("sts.amazonaws.com", "GetCallerIdentity", None)
    assert (record["userIdentity"]["arn"], record["userIdentity"]["accessKeyId"]) == (caller.arn, "ASIA7")


def test_credentials_wait_for_their_record_and_nothing_of_the_request_is_forgotten() -> None:
    assert list(sessions.DURABLE) == ["AssumeRoleWithWebIdentity"]
    row = sessions.ROWS["AssumeRoleWithWebIdentity"]
    assert {*row.kept.values(), *row.never} == {*AssumeRole.__slots__, "duration_seconds"}

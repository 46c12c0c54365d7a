"""A record's members, by CloudTrail's names and rules (AWS.md, CloudTrail record)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audit.events import (
    APP,
    HEADERS,
    HSM,
    KEY,
    NOW,
    ROOT,
    SECRET,
    a_call,
    a_request,
    a_response,
    a_service_event,
    judged,
)
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT, OTHER_NAMESPACE, a_key, another_tenants_key
from tests.operator.canaries import found_in

from keystead.app.frontdoor import SERVED
from keystead.audit import cloudtrail
from keystead.audit.shape import JUSTIFICATION
from keystead.audit.table import TABLE
from keystead.operations.trail import Actor, CallEvent
from keystead.operations.world import Judged
from keystead.policy import Action, Decision, Question, evaluate
from keystead.policy.caller import service_caller, user_caller
from keystead.policy.evaluate import reviewed

ABROAD = another_tenants_key(HSM)


def read(event: CallEvent) -> list[dict[str, Any]]:
    return [json.loads(record) for record in cloudtrail.call(event)]


def one(event: CallEvent) -> dict[str, Any]:
    (record,) = read(event)
    return record


def arn(key: Any) -> str:
    return f"arn:aws:kms:{key.region}:{key.account}:key/{key.key_id}"


def test_a_record_has_cloudtrails_members():
    record = one(a_call())
    assert list(record) == [
        "keysteadType", "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress",
        "userAgent", "requestParameters", "responseElements", "additionalEventData", "requestID", "eventID", "readOnly", "resources",
        "eventType", "managementEvent", "recipientAccountId", "eventCategory", "tlsDetails",
    ]  # fmt: skip
    assert (record["eventTime"], record["eventSource"], record["eventName"]) == ("2026-11-26T08:00:00Z", "kms.amazonaws.com", "Encrypt")
    assert record["resources"] == [{"ARN": arn(KEY), "accountId": ACCOUNT, "type": "AWS::KMS::Key"}]
    assert record["tlsDetails"]["clientProvidedHostHeader"] == "keystead-server.keystead-system.svc:8443"
    assert (record["readOnly"], record["eventType"], record["recipientAccountId"]) == (True, "AwsApiCall", ACCOUNT)


OTHER_KEY, OURS = a_key(HSM, n=2), (judged(),)
DIFFERENT: list[dict[str, Any]] = [
    {"time": NOW + timedelta(seconds=1), "event_id": "e2", "request_id": "r2"},
    {"actor": ROOT},
    {"region": "eu-west-1"},
    {"source_ip": "10.244.1.18"},
    {"tls": None},
    {"headers": {**HEADERS, b"user-agent": "b\u00f6to\x7f\0".encode()}},
    {"headers": {**HEADERS, b"host": b"another"}},
    {"headers": {**HEADERS, JUSTIFICATION: b"a ticket"}},
    {"headers": {}},
    {"code": "AccessDeniedException", "message": "no", "response": None},
    {"request": None},
    {"trail": ()},
    {"trail": (judged(OTHER_KEY),)},
    {"trail": (judged(a_key(HSM, n_versions=2)),)},
    {"trail": (judged(action=Action.DECRYPT),)},
    {"trail": (judged(reason="another statement"),)},
    {"trail": (judged(), judged())},
    {"trail": (judged(ABROAD),)},
    {"trail": (judged(ABROAD, allowed=False),)},
]


@pytest.mark.parametrize("operation", sorted(TABLE))
def test_what_is_remembered_of_a_callers_last_record_changes_no_other(operation: str, monkeypatch: pytest.MonkeyPatch):
    request, response = a_request(operation), a_response(operation)
    different = [*DIFFERENT]
    if hasattr(response, "key_material_id"):
        different.append({"response": replace(response, key_material_id="another")})
    for name in ("encryption_context", "description"):
        if hasattr(request, name):
            odd = "\x7f\u2028\ud800"
            different.append({"request": replace(request, **{name: {"tenant": odd} if "context" in name else odd})})
    calls = [a_call(operation, **{"trail": OURS, "request": request, "response": response, **changes}) for changes in ({}, *different)]
    calls += calls[::-1]
    told = [cloudtrail.call(each) for each in calls]
    monkeypatch.setattr(cloudtrail, "usual", lambda _: None)
    assert told == [cloudtrail.call(each) for each in calls]


def test_a_session_is_an_assumed_role_with_its_pod_beside_it():
    record = one(a_call())
    who = record["userIdentity"]
    assert (who["type"], who["arn"]) == ("AssumedRole", f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1")
    assert who["principalId"] == who["sessionContext"]["sessionIssuer"]["principalId"] + ":s-1"
    assert who["sessionContext"]["sessionIssuer"]["arn"] == f"arn:aws:iam::{ACCOUNT}:role/app"
    assert who["sessionContext"]["attributes"] == {"creationDate": "2026-11-26T08:00:00Z", "mfaAuthenticated": "false"}
    assert who["sessionContext"]["webIdFederationData"]["federatedProvider"] == "kubernetes"
    told = record["additionalEventData"]
    assert told["namespace"] == NAMESPACE
    assert (told["serviceAccountUid"], told["podName"], told["podUid"]) == (APP.caller.uid, APP.pod_name, APP.pod_uid)
    assert told["decision"] == {
        "action": "kms:Encrypt", "allowed": True, "by": "rbac", "name": "encrypt kmskeys/a", "reason": "RBAC gives it",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("actor", "identity"),
    [
        (ROOT, {"type": "Root", "principalId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT,
                "accessKeyId": "AKIDROOT"}),
        (Actor(user_caller(ACCOUNT, NAMESPACE, "alice@example.com")), {"type": "IAMUser", "userName": "alice@example.com"}),
        (Actor(service_caller(ACCOUNT, NAMESPACE, "datakeys.kms.keystead.io")),
         {"type": "AWSService", "invokedBy": "datakeys.kms.keystead.io"}),
    ],
)  # fmt: skip
def test_who_called_is_told_by_its_kind(actor, identity):
    who = one(a_call(actor=actor))["userIdentity"]
    assert {name: who.get(name) for name in identity} == identity


def test_two_actors_never_share_an_identity():
    for number in range(50):
        made = Actor(user_caller(ACCOUNT, NAMESPACE, f"user-{number}"))
        assert one(a_call(actor=made))["userIdentity"]["userName"] == f"user-{number}"


def test_a_refusal_has_its_error_and_the_reason():
    trail = (judged(action=Action.DECRYPT, allowed=False, reason="statement Deny denies it", explicit=True),)
    record = one(a_call("Decrypt", code="AccessDeniedException", message="User: x is not authorized", trail=trail))
    assert record["errorMessage"] == "User: x is not authorized"
    assert record["responseElements"] is None
    assert record["additionalEventData"]["decision"]["explicit"] is True
    assert record["additionalEventData"]["decision"]["reason"] == "statement Deny denies it"


@pytest.mark.parametrize(
    ("code", "told"),
    [("AccessDeniedException", "AccessDenied"), ("AccessDenied", "AccessDenied"), ("DisabledException", "DisabledException")],
)
def test_a_refusal_has_cloudtrails_code_whatever_the_api_calls_it(code, told):
    assert one(a_call("Decrypt", code=code, message="no"))["errorCode"] == told
    assert json.loads(cloudtrail.service(a_service_event(code=code, message="no")))["errorCode"] == told


def test_decrypt_always_has_its_algorithm_and_the_key_as_sent():
    request = a_request("Decrypt", key_id="alias/orders")
    assert one(a_call("Decrypt", request=request))["requestParameters"] == {
        "keyId": "alias/orders", "encryptionContext": {"tenant": "acme"}, "encryptionAlgorithm": "SYMMETRIC_DEFAULT", "dryRun": True,
    }  # fmt: skip


def test_re_encrypt_has_two_resources_and_both_decisions():
    trail = (judged(action=Action.RE_ENCRYPT_FROM), judged(action=Action.RE_ENCRYPT_TO))
    record = one(a_call("ReEncrypt", trail=trail))
    assert [each["ARN"] for each in record["resources"]] == [arn(KEY), arn(KEY)]
    assert [each["action"] for each in record["additionalEventData"]["decisions"]] == ["kms:ReEncryptFrom", "kms:ReEncryptTo"]


def test_an_alias_is_a_resource_beside_its_key():
    request = a_request("CreateAlias", alias_name="alias/orders")
    record = one(a_call("CreateAlias", request=request, trail=(judged(action=Action.CREATE_ALIAS),) * 2))
    assert [each["type"] for each in record["resources"]] == ["AWS::KMS::Key", "AWS::KMS::Alias"]
    assert record["responseElements"] == {"keyId": arn(KEY)}
    assert record["readOnly"] is False


def test_an_alias_that_goes_over_names_its_new_key():
    request = a_request("UpdateAlias", alias_name="alias/orders")
    new = a_key(HSM, n=2)
    trail = (judged(action=Action.UPDATE_ALIAS), judged(new, Action.UPDATE_ALIAS))
    record = one(a_call("UpdateAlias", request=request, trail=trail))
    assert record["responseElements"] == {"keyId": arn(new)}
    assert [each["ARN"] for each in record["resources"]][:2] == [arn(KEY), arn(new)]


def test_a_grant_that_is_retired_by_its_token_is_named():
    request = a_request("RetireGrant", key_id=None, grant_id=None)
    record = one(a_call("RetireGrant", request=request, trail=(judged(action=Action.RETIRE_GRANT),)))
    assert record["additionalEventData"]["grantId"] == "a grant_id"
    assert record["requestParameters"] == {"dryRun": True}
    assert record["responseElements"] == {"keyId": arn(KEY)}


def test_the_material_that_encrypted_is_named():
    key = a_key(HSM, n_versions=2)
    assert one(a_call(trail=(judged(key),)))["additionalEventData"]["keyMaterialId"] == key.versions[1].material_id


@pytest.mark.parametrize("operation", ["Encrypt", "CreateKey", "ListKeys"])
def test_what_could_not_be_read_or_reached_is_recorded_without_it(operation):
    record = one(a_call(operation, request=None, trail=(), code="SerializationException", message=""))
    assert record["requestParameters"] is None
    assert record["resources"] == []
    assert "decision" not in record["additionalEventData"]


@pytest.mark.parametrize(
    ("operation", "reads"),
    [("ImportKeyMaterial", False), ("DescribeCustomKeyStores", True), ("GetParametersForImport", True), ("UpdatePrimaryRegion", False)],
)
def test_an_operation_that_is_not_served_is_recorded_by_its_name(operation, reads):
    record = one(a_call(operation, trail=(), code="UnsupportedOperationException", message="no"))
    assert (record["eventName"], record["requestParameters"], record["readOnly"]) == (operation, None, reads)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"INC-4711: restore of orders", "INC-4711: restore of orders"),
        (b"a\x1b[2Jb\nc\x00", "a [2Jb c"),
        (b"x" * 1000, "x" * 256),
        ("é\u2028".encode() * 400, ("é " * 400)[:256]),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_a_justification_is_bounded_and_has_no_control_characters(sent, told):
    record = one(a_call(headers={**HEADERS, JUSTIFICATION: sent}))
    assert record["additionalEventData"]["justification"] == told


def test_texts_are_bounded():
    record = one(a_call(code="ValidationException", message="m" * 5000, headers={b"user-agent": b"u" * 5000}))
    assert (len(record["errorMessage"]), len(record["userAgent"])) == (1024, 512)
    huge = a_request("Encrypt", encryption_context={"k": "v" * 200_000})
    assert one(a_call(request=huge))["requestParameters"] == {"omitted": "larger than 100 KiB"}


def test_half_a_surrogate_pair_is_written_out():
    record = one(a_call(request=a_request("Encrypt", key_id="\ud800"), code="NotFoundException", message="Invalid keyId \udfff"))
    assert record["requestParameters"]["keyId"] == "\\ud800"
    assert record["errorMessage"] == "Invalid keyId \\udfff"


def test_a_usual_record_has_less_than_two_and_a_quarter_kilobytes():
    (record,) = cloudtrail.call(a_call())
    assert len(record) < 2300


class TestAcrossAccounts:
    """A call with another account's key."""

    def test_an_allowed_one_is_recorded_in_both_accounts(self):
        mine, theirs = read(a_call(trail=(judged(ABROAD),)))
        assert (mine["recipientAccountId"], theirs["recipientAccountId"]) == (ACCOUNT, OTHER_ACCOUNT)
        assert mine["sharedEventID"] == theirs["sharedEventID"]
        assert mine["requestID"] == theirs["requestID"]
        assert len({mine["eventID"], theirs["eventID"], mine["sharedEventID"]}) == 3
        assert mine["eventID"] == a_call().event_id

    def test_the_owner_learns_who_came_and_nothing_of_its_pods(self):
        _, theirs = read(a_call(trail=(judged(ABROAD),)))
        assert theirs["userIdentity"]["type"] == "AWSAccount"
        assert theirs["userIdentity"]["arn"] == APP.caller.arn
        assert theirs["additionalEventData"]["namespace"] == OTHER_NAMESPACE
        text = json.dumps(theirs)
        assert APP.pod_name not in text
        assert APP.caller.uid not in text
        assert APP.access_key_id not in text

    def test_of_a_re_encrypt_each_owner_sees_its_own_key(self):
        trail = (judged(ABROAD, Action.RE_ENCRYPT_FROM), judged(KEY, Action.RE_ENCRYPT_TO))
        mine, theirs = read(a_call("ReEncrypt", trail=trail))
        assert len(mine["resources"]) == 2
        assert [each["ARN"] for each in theirs["resources"]] == [arn(ABROAD)]

    def test_of_a_re_encrypt_the_owner_learns_nothing_of_the_other_key(self):
        """Its id, its context, its material; nor what a message says of it."""
        trail = (judged(ABROAD, Action.RE_ENCRYPT_FROM), judged(KEY, Action.RE_ENCRYPT_TO))
        request = a_request("ReEncrypt", destination_encryption_context={"patient": "4711"})
        for more in ({}, {"code": "DisabledException", "message": f"{arn(KEY)} is disabled."}):
            mine, theirs = read(a_call("ReEncrypt", trail=trail, request=request, **more))
            assert mine["requestParameters"]["destinationEncryptionContext"] == {"patient": "4711"}
            told = json.dumps({name: theirs.get(name) for name in ("requestParameters", "additionalEventData", "errorMessage")})
            assert ("source_key_id" in told, "destination" in told, "4711" in told, KEY.key_id in told) == (True, False, False, False)
            assert "keyMaterialId" not in theirs["additionalEventData"]
        back = (judged(KEY, Action.RE_ENCRYPT_FROM), judged(ABROAD, Action.RE_ENCRYPT_TO))
        _, theirs = read(a_call("ReEncrypt", trail=back, request=request))
        assert theirs["requestParameters"]["destinationEncryptionContext"] == {"patient": "4711"}
        assert "source" not in json.dumps([theirs["requestParameters"], theirs["additionalEventData"]])

    @pytest.mark.parametrize("caller", [APP, ROOT])
    def test_each_side_learns_its_own_reason_and_the_operator_both(self, caller):
        """The words are those of the evaluator, with a policy that says `vault-guests`."""
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "vault-guests", "Effect": "Allow", "Principal": {"AWS": APP.caller.principal}, "Action": "kms:*", "Resource": "*"},
                {"Sid": "vault-root", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"},
            ],
        }
        key = another_tenants_key(HSM, policy=json.dumps(policy))
        answer = evaluate(Question(caller.caller, Action.DECRYPT, key, (), {}, a_call().time))
        decision = answer if isinstance(answer, Decision) else reviewed(answer, True)
        assert decision.allowed is True
        mine, theirs = read(a_call("Decrypt", actor=caller, trail=(Judged(key, Action.DECRYPT, decision),)))
        whole = mine.pop("operatorOnly")["decisions"][0]["reason"]
        assert "vault-" in whole
        assert "vault-" not in json.dumps(mine)
        assert "vault-" in theirs["additionalEventData"]["decision"]["reason"]
        assert NAMESPACE not in json.dumps(theirs["additionalEventData"]).replace(OTHER_NAMESPACE, "")
        assert mine["additionalEventData"]["decision"]["reason"] in whole

    def test_a_denied_one_is_in_the_callers_account_only_and_does_not_tell_whether_the_key_exists(self):
        """What the account's people read of it is what they would read of a key that there is not."""
        denied = {"code": "AccessDeniedException", "message": "no"}
        there = one(a_call(trail=(judged(ABROAD, allowed=False, reason="statement Guests denies it"),), **denied))
        not_there = one(a_call(trail=(), **denied))
        assert there["recipientAccountId"] == ACCOUNT
        hidden = there.pop("operatorOnly")
        assert there == not_there
        assert hidden["resources"][0]["ARN"] == arn(ABROAD)
        assert hidden["decisions"][0]["reason"] == "statement Guests denies it"

    def test_one_that_was_allowed_and_failed_is_in_both(self):
        records = read(a_call(trail=(judged(ABROAD),), code="DisabledException", message="disabled"))
        assert [record["errorCode"] for record in records] == ["DisabledException"] * 2

    def test_half_a_consent_is_none(self):
        trail = (judged(ABROAD, Action.RE_ENCRYPT_FROM), judged(KEY, Action.RE_ENCRYPT_TO, allowed=False))
        assert len(read(a_call("ReEncrypt", trail=trail, code="AccessDeniedException", message="no"))) == 1


def test_what_keystead_does_by_itself_is_a_service_event():
    record = json.loads(cloudtrail.service(a_service_event()))
    assert (record["keysteadType"], record["eventType"], record["eventName"]) == ("service", "AwsServiceEvent", "RotateKey")
    assert record["userIdentity"] == {"accountId": ACCOUNT, "invokedBy": "keys.kms.keystead.io"}
    assert record["serviceEventDetails"] == {"version": "2"}
    assert record["resources"] == [{"ARN": arn(KEY), "accountId": ACCOUNT, "type": "AWS::KMS::Key"}]
    assert record["additionalEventData"] == {"namespace": NAMESPACE}
    assert record["readOnly"] is False


def test_what_is_done_for_somebody_names_him_as_a_call_does():
    own = json.loads(cloudtrail.service(a_service_event(name="ReadAuditRecords", actor=APP)))
    assert own["userIdentity"] == {**one(a_call())["userIdentity"], "invokedBy": "keys.kms.keystead.io"}
    abroad = json.loads(cloudtrail.service(a_service_event(account=OTHER_ACCOUNT, actor=APP)))
    assert (abroad["userIdentity"]["type"], abroad["userIdentity"]["arn"]) == ("AWSAccount", APP.caller.arn)
    assert APP.access_key_id not in json.dumps(abroad)


def without_the_secret(*events: CallEvent, secret: bytes = SECRET) -> None:
    for event in events:
        for record in cloudtrail.call(event):
            assert found_in(record, secret) == [], event.operation


@pytest.mark.parametrize("operation", sorted(SERVED))
def test_no_secret_of_any_operation_is_in_its_record(operation):
    """Every member that holds bytes or a token holds a canary; so do the headers that hold secrets."""
    abroad = (judged(ABROAD),)
    without_the_secret(
        a_call(operation),
        a_call(operation, code="AccessDeniedException", message="no"),
        a_call(operation, trail=abroad),
        a_call(operation, trail=(judged(ABROAD, allowed=False),), code="AccessDeniedException", message="no"),
    )


@given(st.sampled_from(sorted(SERVED)), st.binary(min_size=12, max_size=64), st.booleans())
def test_no_bytes_of_a_request_or_a_response_are_in_its_record(operation, data, refused):
    secret = b"canary" + data.hex().encode() + b"canary"
    event = a_call(operation, **({"code": "KMSInternalException", "message": "x"} if refused else {}))
    headers = {**HEADERS, b"authorization": secret, b"x-amz-security-token": secret}
    response = None if refused else a_call(operation).response
    event = replace(event, request=a_request(operation, secret=secret), response=response, headers=headers)
    without_the_secret(event, secret=secret)


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=4), st.binary(max_size=600), st.text(max_size=2000))
def test_whatever_is_sent_the_record_is_one_line_of_json(key_id, context, agent, message):
    request = a_request("Encrypt", key_id=key_id, encryption_context=context)
    headers = {b"user-agent": agent, b"host": agent, JUSTIFICATION: agent}
    (record,) = cloudtrail.call(a_call(request=request, headers=headers, code="NotFoundException", message=message))
    assert len(record.decode().splitlines()) == 1
    assert record.decode().isprintable() or not set(record.decode()) & {*map(chr, (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029))}
    assert json.loads(record)["requestParameters"]["encryptionContext"] == context

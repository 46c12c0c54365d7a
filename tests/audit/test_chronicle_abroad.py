"""What the controller does with a key abroad is on record in both accounts, what it is refused in that of who asked: as calls are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.audit.tape import Tape, taped
from tests.reconciler.fakes import World
from tests.reconciler.test_data_key_abroad import (
    HOME,
    KEY,
    REF,
    SPEC,
    WORDS,
    a_key,
    account_of,
    again,
    grant,
    look,
    policy,
    root,
    trust,
)

from keystead.audit import cloudtrail
from keystead.audit.reading.records import record_of
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.errors import StoreUnavailableError
from keystead.operations.trail import ServiceEvent
from keystead.reconciler.chronicle import UNKNOWN
from keystead.reconciler.ports import Kind, ObjectRef

ROTATE = "kms.keystead.io/rotate-requested-at"
OWN_KEY = ObjectRef(Kind.KEY, "team-a", "k")
DATA_KEY_EVENTS = ("IssueDataKey", "InjectDataKey", "UpdateDataKey", "ReWrapDataKey")


def told(tape: Tape, account: str | None = None) -> list[dict[str, Any]]:
    """Records of data keys, as they are written; of this account."""
    events: list[ServiceEvent] = [event for event in tape.events if event.name in DATA_KEY_EVENTS]
    records = [json.loads(cloudtrail.service(event)) for event in events]
    return [record for record in records if account in (None, record["recipientAccountId"])]


def refusals(tape: Tape) -> list[dict[str, Any]]:
    return [record for record in told(tape) if record.get("errorCode") == "AccessDenied"]


async def test_what_is_done_with_a_key_abroad_is_on_record_in_both_accounts(world: World, tape: Tape) -> None:
    key = await trust(world)
    assert (await look(world))[0] == "Available"
    mine, owners = told(tape, await account_of(world)), told(tape, key.account)
    names = ["IssueDataKey", "InjectDataKey", "UpdateDataKey"]
    assert [record["eventName"] for record in mine] == [record["eventName"] for record in owners] == names
    assert len(told(tape)) == 6
    shared = [record["sharedEventID"] for record in mine]
    assert shared == [record["sharedEventID"] for record in owners]
    assert len({*shared, *(record["eventID"] for record in told(tape))}) == 9
    assert [record["additionalEventData"]["namespace"] for record in mine] == ["team-a"] * 3
    assert mine[0]["userIdentity"] == {"accountId": await account_of(world), "invokedBy": "datakeys.kms.keystead.io"}
    assert mine[1]["serviceEventDetails"] == {"name": "d", "secretName": "s", "version": "1"}
    resource = {"ARN": world.status(KEY)["keyArn"], "accountId": key.account, "type": "AWS::KMS::Key"}
    assert [record["resources"] for record in told(tape)] == [[resource]] * 6


async def test_the_owner_sees_its_key_and_who_it_was_and_nothing_of_what_it_was_for(world: World, tape: Tape) -> None:
    key = await trust(world)
    await look(world)
    account = await account_of(world)
    owners = told(tape, key.account)
    for record in owners:
        assert record["userIdentity"] == {
            "type": "AWSAccount", "principalId": account, "arn": root(account), "accountId": account,
            "invokedBy": "datakeys.kms.keystead.io",
        }  # fmt: skip
        assert record["additionalEventData"]["namespace"] == HOME
        assert "team-a" not in json.dumps(record)
        assert record.get("serviceEventDetails", {}).keys() <= {"keyMaterialId"}
        assert record_of(record).second, "what counts calls counts the other account's record"
    assert not any(record_of(record).second for record in told(tape, account))
    assert owners[0]["serviceEventDetails"] == {"keyMaterialId": key.current_version.material_id}


async def test_each_side_reads_its_own_reason(world: World, tape: Tape) -> None:
    key = await trust(world)
    await look(world)
    mine, owners = told(tape, await account_of(world))[0], told(tape, key.account)[0]
    assert owners["additionalEventData"]["decision"] == {
        "action": "kms:GenerateDataKeyWithoutPlaintext", "allowed": True, "by": "statement", "name": "Statement[1]",
        "reason": owners["additionalEventData"]["decision"]["reason"],
    }  # fmt: skip
    assert "Statement[1]" in owners["additionalEventData"]["decision"]["reason"]
    assert "operatorOnly" not in owners
    assert mine["additionalEventData"]["decision"]["allowed"] is True
    assert "Statement" not in json.dumps(mine["additionalEventData"])
    assert "Statement[1]" in mine["operatorOnly"]["decisions"][0]["reason"]


async def test_a_re_wrap_under_a_key_abroad_is_in_both_with_both_decisions(world: World, tape: Tape) -> None:
    key = await trust(world)
    await look(world)
    world.apply(KEY, policy=policy(key.account, await account_of(world)), annotations={ROTATE: "1"})
    await world.reconcile(KEY)
    await again(world)
    found = [record for record in told(tape) if record["eventName"] == "ReWrapDataKey"]
    assert [record["recipientAccountId"] for record in found] == [await account_of(world), key.account]
    for record in found:
        actions = [decision["action"] for decision in record["additionalEventData"]["decisions"]]
        assert actions == ["kms:ReEncryptFrom", "kms:ReEncryptTo"]


async def test_a_data_key_that_is_deleted_or_whose_key_is_gone_is_on_its_own_side(world: World, tape: Tape) -> None:
    key = await trust(world)
    await look(world)
    world.restart()  # nothing is remembered of whose account it is
    tape = taped(world)
    world.delete(REF)
    await world.reconcile(REF)
    assert world.record(REF, DataKeyRecord).bound is False
    (mine,), (owners,) = told(tape, await account_of(world)), told(tape, key.account)
    assert mine["serviceEventDetails"]["name"] == "d"
    assert "team-a" not in json.dumps(owners)


@pytest.mark.parametrize("world", [World], indirect=True)
async def test_a_lost_answer_is_told_to_both(world: World, tape: Tape) -> None:
    key = await trust(world)
    world.apply(REF, **SPEC)
    await account_of(world)
    await world.accounts.claim(world.engine.hsm, "team-a", world.objects.namespaces["team-a"].uid, 1, world.clock.moment)
    world.records.fail("lose_reply", StoreUnavailableError("gone"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    assert [(each["recipientAccountId"], each["errorCode"]) for each in told(tape)] == [
        (await account_of(world), UNKNOWN), (key.account, UNKNOWN),
    ]  # fmt: skip


async def test_a_refusal_abroad_is_in_the_askers_account_only_and_tells_not_whether_there_is_a_key(world: World, tape: Tape) -> None:
    await a_key(world)
    assert await look(world) == ("ReferenceNotGranted", WORDS)
    other = ObjectRef(Kind.DATA_KEY, "team-a", "other")
    world.apply(other, keyRef={"name": "not-there", "namespace": HOME}, target={"secretName": "s"})
    await world.reconcile(other)
    there, not_there = refusals(tape)
    assert {there["recipientAccountId"], not_there["recipientAccountId"]} == {await account_of(world)}
    assert (there["eventName"], there["errorMessage"], there["resources"]) == ("IssueDataKey", WORDS, [])
    assert there["serviceEventDetails"] == {"name": "d", "version": "1", "keyRef": f"{HOME}/k"}
    hidden = there.pop("operatorOnly")
    assert hidden["resources"][0]["ARN"] == world.status(KEY)["keyArn"]
    assert hidden["decisions"][0]["allowed"] is False
    for record in (there, not_there):
        del record["eventID"], record["serviceEventDetails"]
    assert there == not_there


async def test_a_refusal_is_told_once_for_each_change_of_what_is_wanted(world: World, tape: Tape) -> None:
    key = await a_key(world)
    await look(world)
    for _ in range(3):
        world.clock.advance(days=1)
        await again(world)
    assert len(refusals(tape)) == 1
    for number in range(3):  # what the key's side does meanwhile shows in no number of records
        others = ["111122223333"] * number
        world.apply(KEY, policy=policy(key.account, *others), description=str(number))
        await world.reconcile(KEY)
        await again(world)
    assert len(refusals(tape)) == 1
    world.apply(REF, **SPEC, encryptionContext={"a": "b"})
    await again(world)
    await again(world)
    assert len(refusals(tape)) == 2
    world.apply(REF, **SPEC, encryptionContext={"a": "b"}, annotations={ROTATE: "1"})
    await again(world)
    assert len(refusals(tape)) == 3
    await grant(world, "GenerateDataKeyWithoutPlaintext")
    assert (await again(world))[0] == "Available"
    world.delete(ObjectRef(Kind.GRANT, HOME, "g"))
    await world.reconcile(ObjectRef(Kind.GRANT, HOME, "g"))
    assert (await again(world))[0] == "ReferenceNotGranted"
    assert len(refusals(tape)) == 4, "it was let in between: that it is no more is news"


async def test_a_re_wrap_that_is_refused_abroad_is_told_once_although_the_key_consents_to_the_rest(world: World, tape: Tape) -> None:
    actions = ["kms:GenerateDataKeyWithoutPlaintext"]
    key = await trust(world, actions=actions)
    await look(world)
    document = policy(key.account, await account_of(world), actions=actions)
    world.apply(KEY, policy=document, annotations={ROTATE: "1"})
    await world.reconcile(KEY)
    for _ in range(3):
        assert await again(world) == ("ReferenceNotGranted", WORDS)
    (refused,) = refusals(tape)
    assert (refused["eventName"], refused["recipientAccountId"], refused["resources"]) == ("ReWrapDataKey", await account_of(world), [])


async def test_a_suspended_data_key_asks_for_nothing_and_nothing_is_told(world: World, tape: Tape) -> None:
    await a_key(world)
    await look(world, suspend=True)
    assert refusals(tape) == []


async def test_what_the_own_keys_policy_refuses_is_told_with_the_statement_and_the_key(world: World, tape: Tape) -> None:
    account = await account_of(world)
    document = policy(account)
    deny = {"Sid": "NoDataKeys", "Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey*", "Resource": "*"}
    world.apply(OWN_KEY, policy={**document, "Statement": [*document["Statement"], deny]})
    await world.reconcile(OWN_KEY)
    world.apply(REF, keyRef={"name": "k"}, target={"secretName": "s"})
    for _ in range(3):
        assert (await again(world))[0] == "AccessDenied"
    (refused,) = refusals(tape)
    assert refused["recipientAccountId"] == account
    assert refused["resources"][0]["ARN"] == world.status(OWN_KEY)["keyArn"]
    decision = refused["additionalEventData"]["decision"]
    assert (decision["allowed"], decision["by"], decision["name"], decision["explicit"]) == (False, "statement", "NoDataKeys", True)
    world.apply(OWN_KEY, policy=document)
    await world.reconcile(OWN_KEY)
    assert (await again(world))[0] == "Available"
    issued = next(record for record in told(tape) if "errorCode" not in record)
    assert issued["additionalEventData"]["decision"]["allowed"] is True
    assert "sharedEventID" not in issued
    assert world.record(OWN_KEY, KeyRecord).account == issued["recipientAccountId"]

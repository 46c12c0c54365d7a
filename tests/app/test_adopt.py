"""`keystead records`: which records are meant, which object holds a record, what is done about each, and what to type."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from msgspec.structs import replace
from tests.builders import NOW, OTHER_UID, UID, a_grant, a_key, an_alias
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_data_key

from keystead.app.adopt import Action, Adoption, adopt_all, decide, select
from keystead.app.records import Catalogue, Found, Holder, facts_of, row
from keystead.cli.services import AdoptRequest, KeyTarget, RecordKinds
from keystead.engine.identifiers import RecordKind, orphan_name, record_name
from keystead.engine.record import AliasRecord, AnyRecord, GrantRecord, KeyRecord, Rotation, SealedRecord, seal_record
from keystead.errors import ConflictError, ForbiddenError, KeysteadError, NotFoundError
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.resources.vocabulary import DeletionPolicy, GrantOperation, KeyState
from keystead.store.requests import KubeRequests

PREV = "ab" * 32
ADOPT = "kms.keystead.io/adopt"


@pytest.fixture
def hsm() -> FakeHsm:
    return FakeHsm()


def name_of(record: AnyRecord) -> str:
    match record:
        case KeyRecord():
            return record_name(RecordKind.KEY, record.namespace, record.name)
        case AliasRecord():
            return record_name(RecordKind.ALIAS, record.account, record.region, record.alias_name)
        case GrantRecord():
            return record_name(RecordKind.GRANT, record.namespace, record.name)
        case _:
            return record_name(RecordKind.DATAKEY, record.namespace, record.name)


def catalogue(hsm: FakeHsm, *records: AnyRecord | tuple[str, AnyRecord], uid: str = OTHER_UID) -> Catalogue:
    """Records, and namespace team-a of this uid."""
    made = Catalogue(namespaces={"team-a": uid})
    for each in records:
        name, record = each if isinstance(each, tuple) else (name_of(each), each)
        made.add(hsm, StoredRecord(seal_record(hsm, name, record), "1"))
    made.settle()
    return made


def live(found: Catalogue, item: Found, **annotations: str) -> None:
    """The object of a record is there."""
    spec = {"aliasName": item.record.alias_name} if isinstance(item.record, AliasRecord) else {}
    metadata = {"annotations": {f"kms.keystead.io/{key}": value for key, value in annotations.items()}}
    found.objects[item.ref] = {"metadata": metadata, "spec": spec}


def decided(found: Catalogue, *, as_new: bool = False, named: bool = False) -> dict[str, Action]:
    return {item.record.name: decide(found, item, as_new=as_new, named=named).action for item in found.found}


def everything(hsm: FakeHsm, **changes: Any) -> list[AnyRecord]:
    key = a_key(hsm, name="k", **changes)
    return [
        key,
        an_alias(key, name="a"),
        a_grant(key, GrantOperation.DECRYPT, name="g"),
        a_data_key(key, name="d"),
    ]


# Who holds a record


def test_the_holder_of_a_record_is_what_lives_now(hsm: FakeHsm) -> None:
    key = a_key(hsm, name="k")
    earlier, none = catalogue(hsm, key), catalogue(hsm, key, uid=UID)
    assert [earlier.holder(item) for item in earlier.found] == [Holder.EARLIER]
    assert [none.holder(item) for item in none.found] == [Holder.NONE]
    live(none, none.found[0])
    assert none.holder(none.found[0]) is Holder.YES
    gone = catalogue(hsm, key)
    gone.namespaces.clear()
    assert gone.holder(gone.found[0]) is Holder.EARLIER


def test_an_object_holds_the_alias_that_it_says(hsm: FakeHsm) -> None:
    key = a_key(hsm)
    found = catalogue(hsm, an_alias(key, name="a"), uid=UID)
    found.objects[ObjectRef(Kind.ALIAS, "team-a", "a")] = {"spec": {"aliasName": "alias/other"}}
    assert found.holder(found.found[0]) is Holder.NONE


def test_an_earlier_alias_whose_name_this_namespace_has_claimed_anew_needs_nothing(hsm: FakeHsm) -> None:
    """As after `--as-new`: the object's claim lies in another account, and the old claim stays where it was."""
    earlier = an_alias(a_key(hsm), name="a")
    ours = an_alias(a_key(hsm, n=2, account="444455556666", namespace_uid=OTHER_UID), name="a")
    found = catalogue(hsm, earlier, ours)
    old = next(item for item in found.found if item.record == earlier)
    assert found.holder(old) is Holder.EARLIER
    live(found, old, adopt="as-new")
    assert found.holder(old) is Holder.ANEW
    assert row(found, old, NOW)["next"].startswith("nothing")
    for as_new in (False, True):
        decision = decide(found, old, as_new=as_new, named=True)
        assert (decision.action, decision.why) == (Action.NOTHING, "its name is claimed anew")
    assert select(found, AdoptRequest(namespace="team-a")) == []


@pytest.mark.parametrize("changes", [{"region": "elsewhere-1"}, {"alias_name": "alias/other"}])
def test_a_claim_of_another_name_or_region_leaves_an_earlier_alias_as_it_was(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    earlier = an_alias(a_key(hsm), name="a")
    key = a_key(hsm, n=2, account="444455556666", namespace_uid=OTHER_UID)
    found = catalogue(hsm, earlier, an_alias(key, **{"name": "b", **changes}))
    for item in found.found:
        live(found, item)
    assert [found.holder(item) for item in found.found if item.record == earlier] == [Holder.EARLIER]


def test_of_two_records_with_one_key_id_the_higher_seq_is_shown(hsm: FakeHsm) -> None:
    key = a_key(hsm, name="k")
    moved = replace(key, seq=2, prev=PREV, bound=False)
    found = catalogue(hsm, key, (orphan_name(key.key_id), moved))
    assert [(item.record.seq, found.holder(item)) for item in found.found] == [(2, Holder.ASIDE)]


def test_records_stand_by_namespace_kind_and_name(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *reversed(everything(hsm)), a_key(hsm, n=2, name="b"))
    assert [(item.kind, item.record.name) for item in found.found] == [
        (Kind.KEY, "b"),
        (Kind.KEY, "k"),
        (Kind.ALIAS, "a"),
        (Kind.GRANT, "g"),
        (Kind.DATA_KEY, "d"),
    ]


def test_a_record_that_does_not_verify_is_named_and_the_others_are_read(hsm: FakeHsm) -> None:
    found = catalogue(hsm, a_key(hsm, name="k"))
    found.add(hsm, StoredRecord(SealedRecord("key-" + "0" * 40, b"{}", b"{}"), "1"))
    found.add(hsm, StoredRecord(SealedRecord("heartbeat", b"", b""), "1"))
    assert len(found.found) == len(found.refused) == 1


@pytest.mark.parametrize(
    ("uid", "state", "words"),
    [
        (OTHER_UID, KeyState.ENABLED, "keystead records adopt team-a k"),
        (UID, KeyState.ENABLED, "apply its manifest again, or keystead records adopt team-a k"),
        (UID, KeyState.DESTROYED, "nothing"),
    ],
)
def test_a_row_says_what_to_type(hsm: FakeHsm, uid: str, state: KeyState, words: str) -> None:
    found = catalogue(hsm, a_key(hsm, name="k", state=state, bound=False), uid=uid)
    assert row(found, found.found[0], NOW)["next"].startswith(words)


def test_the_facts_of_a_key_have_no_empty_member_and_no_fraction_of_a_second(hsm: FakeHsm) -> None:
    key = a_key(hsm, name="k", rotation=Rotation(enabled=True, period=90, windows=()))
    found = catalogue(hsm, key, uid=UID)
    live(found, found.found[0])
    facts = facts_of(found, found.found[0], NOW)
    assert facts["object"] == "yes"
    assert "next" not in facts
    assert all(str(value) for value in facts.values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(facts["nextRotation"]))


def test_rows_of_every_kind_say_what_they_are(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *everything(hsm), uid=UID)
    rows = [row(found, item, NOW) for item in found.found]
    assert [each["kind"] for each in rows] == ["key", "alias", "grant", "datakey"]
    assert [each["spec"] for each in rows] == ["SYMMETRIC_DEFAULT", "alias/app", "arn:aws:iam::111122223333:role/app", "AES_256"]
    assert rows[3]["next"].endswith("keystead records adopt team-a d --kind datakey")


# Which records are meant


def test_a_namespace_means_what_is_an_earlier_ones(hsm: FakeHsm) -> None:
    ours = a_key(hsm, n=2, name="ours", namespace_uid=OTHER_UID)
    theirs = a_key(hsm, n=3, name="theirs", namespace="team-b", namespace_uid=UID)
    found = catalogue(hsm, *everything(hsm), ours, theirs)
    found.namespaces["team-b"] = UID
    assert [item.record.name for item in select(found, AdoptRequest(namespace="team-a"))] == ["k", "a", "g", "d"]
    assert [item.record.name for item in select(found, AdoptRequest(everything=True))] == ["k", "a", "g", "d"]
    found.namespaces["team-b"] = "made again"
    assert len(select(found, AdoptRequest(everything=True))) == 5


def test_a_name_is_of_one_kind(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *everything(hsm))
    assert select(found, AdoptRequest(namespace="team-a", name="d", kind=RecordKinds.DATAKEY))[0].kind is Kind.DATA_KEY
    with pytest.raises(NotFoundError, match="datakey record for team-a/k"):
        select(found, AdoptRequest(namespace="team-a", name="k", kind=RecordKinds.DATAKEY))


def test_a_key_is_found_by_id_and_by_arn(hsm: FakeHsm) -> None:
    key = a_key(hsm, name="k")
    found = catalogue(hsm, key)
    for text in (key.key_id, f"arn:aws:kms:r:111122223333:key/{key.key_id}"):
        assert select(found, AdoptRequest(key_id=text))[0].record == key
        assert found.target(KeyTarget(key_id=text)).record == key
    with pytest.raises(NotFoundError, match="keystead records list"):
        found.target(KeyTarget("team-a", "nobody"))


# What is done


def test_what_is_there_is_annotated_and_what_is_not_is_written(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *everything(hsm))
    assert set(decided(found).values()) == {Action.WRITE}
    for item in found.found:
        live(found, item)
    assert set(decided(found).values()) == {Action.ANNOTATE}
    assert decided(found, as_new=True) == {"k": Action.ANNOTATE, "a": Action.ANNOTATE, "g": Action.ANNOTATE, "d": Action.LEAVE}


def test_a_second_run_asks_nothing_again(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *everything(hsm))
    for item in found.found:
        live(found, item, adopt="true")
    assert set(decided(found).values()) == {Action.NOTHING}
    assert decided(found, as_new=True)["k"] is Action.ANNOTATE


def test_what_is_this_namespaces_is_brought_back_only_by_name(hsm: FakeHsm) -> None:
    """A whole namespace's adoption must not bring back what somebody deleted on purpose."""
    found = catalogue(hsm, *everything(hsm, bound=False), uid=UID)
    assert set(decided(found).values()) == {Action.NOTHING}
    assert set(decided(found, named=True).values()) == {Action.WRITE}


def test_as_new_needs_the_object_that_shall_have_the_name(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *everything(hsm))
    assert set(decided(found, as_new=True, named=True).values()) == {Action.LEAVE}


def test_a_written_object_carries_the_annotation_and_its_keys_name(hsm: FakeHsm) -> None:
    found = catalogue(hsm, *everything(hsm))
    bodies = [decide(found, item, as_new=False, named=False).body for item in found.found]
    assert all(body is not None and body["metadata"]["annotations"] == {ADOPT: "true"} for body in bodies)
    assert all(body is not None and body["spec"]["keyRef"] == {"name": "k"} for body in bodies[1:])


def test_keysteads_own_keys_are_left_to_the_operator_and_their_data_keys_name_no_key(hsm: FakeHsm) -> None:
    managed = a_key(hsm, name="aws-keystead")
    data_key = a_data_key(managed, name="d")
    found = catalogue(hsm, managed, data_key)
    assert decided(found) == {"aws-keystead": Action.LEAVE, "d": Action.WRITE}
    body = next(decide(found, item, as_new=False, named=False).body for item in found.found if item.kind is Kind.DATA_KEY)
    assert body is not None
    assert "keyRef" not in body["spec"]
    live(found, next(item for item in found.found if item.kind is Kind.KEY))
    assert decided(found)["aws-keystead"] is Action.ANNOTATE


def test_a_grant_that_ends_is_left_to_its_manifest(hsm: FakeHsm) -> None:
    """Written with the end, its object would refuse a manifest that says a ttl."""
    key = a_key(hsm, name="k")
    found = catalogue(hsm, key, a_grant(key, GrantOperation.DECRYPT, name="g", expires_at="2030-01-01T00:00:00Z"))
    (grant,) = (item for item in found.found if item.kind is Kind.GRANT)
    decision = decide(found, grant, as_new=False, named=False)
    assert decision.action is Action.LEAVE
    assert decision.why.endswith("hint: apply its manifest, then adopt again")
    live(found, grant)
    assert decide(found, grant, as_new=False, named=False).action is Action.ANNOTATE


def test_a_key_on_its_way_out_is_written_with_its_deletion(hsm: FakeHsm) -> None:
    key = a_key(hsm, name="k", state=KeyState.PENDING_DELETION, deletion_date="2030-01-01T00:00:00Z")
    found = catalogue(hsm, key)
    decision = decide(found, found.found[0], as_new=False, named=False)
    assert decision.body is not None
    assert decision.body["spec"]["scheduledDeletion"] == {}
    assert "stays scheduled" in decision.why


def test_what_has_no_namespace_no_name_or_no_material_is_left(hsm: FakeHsm) -> None:
    key = a_key(hsm, name="k")
    aside = catalogue(hsm, (orphan_name(key.key_id), replace(key, bound=False)), an_alias(key, name="a"))
    assert set(decided(aside).values()) == {Action.LEAVE}
    destroyed = catalogue(hsm, a_key(hsm, name="k", state=KeyState.DESTROYED))
    assert decided(destroyed) == {"k": Action.LEAVE}
    live(destroyed, destroyed.found[0])
    assert decided(destroyed, as_new=True) == {"k": Action.ANNOTATE}
    nowhere = catalogue(hsm, key)
    nowhere.namespaces.clear()
    assert "kubectl create namespace team-a" in decide(nowhere, nowhere.found[0], as_new=False, named=True).why


# Doing it


class Cluster:
    """Implements what of `KubeRequests` an adoption calls. `errors`: of the next writes; `live`: what a look after them finds."""

    def __init__(self, errors: list[KeysteadError], live: dict[str, Any] | None = None) -> None:
        self.errors, self.live = errors, live
        self.done: list[tuple[str, Any]] = []

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self.live

    async def annotate(self, ref: ObjectRef, found: dict[str, Any], annotations: dict[str, str]) -> None:
        self._write("annotate", annotations)

    async def create(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        self._write("create", body["metadata"]["annotations"])

    def _write(self, verb: str, what: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done.append((verb, what))


async def told(requests: Cluster, found: Catalogue, request: AdoptRequest) -> list[str]:
    """What an adoption says beside its rows."""
    said: list[str] = []
    await adopt_all(cast(KubeRequests, requests), found, request, said.append)
    return said


async def test_a_key_that_may_have_lost_its_protection_is_told(hsm: FakeHsm) -> None:
    kept = a_key(hsm, name="kept")
    ends = a_key(hsm, n=2, name="ends", deletion_policy=DeletionPolicy.SCHEDULE_DELETION)
    (note,) = await told(Cluster([]), catalogue(hsm, kept, ends), AdoptRequest(namespace="team-a"))
    assert note.startswith("note: KmsKey team-a/ends: deletionProtection")
    there = catalogue(hsm, ends)
    live(there, there.found[0])
    assert await told(Cluster([]), there, AdoptRequest(namespace="team-a")) == []


async def test_a_deleted_key_whose_time_runs_is_told_and_not_brought_back(hsm: FakeHsm) -> None:
    pending = {"state": KeyState.PENDING_DELETION, "deletion_date": "2030-01-01T00:00:00Z", "bound": False}
    found = catalogue(hsm, a_key(hsm, name="k", **pending), a_key(hsm, n=2, name="deleted", bound=False), uid=UID)
    requests = Cluster([])
    for request in (AdoptRequest(namespace="team-a"), AdoptRequest(everything=True)):
        (note,) = await told(requests, found, request)
        assert note.endswith("keystead records schedule-deletion team-a k --cancel")
    assert await told(requests, found, AdoptRequest(namespace="team-b")) == []
    assert requests.done == []


async def adopted(cluster: Cluster, found: Catalogue, *, named: bool = False) -> list[Action]:
    work = Adoption(cast(KubeRequests, cluster), found, as_new=False, named=named)
    return [decision.action async for _, decision in work.all(found.found)]


LOOKED = {"metadata": {"uid": "another", "annotations": {}}, "spec": {}}


async def test_an_object_that_changed_meanwhile_is_looked_at_again(hsm: FakeHsm) -> None:
    found = catalogue(hsm, a_key(hsm, name="k"))
    live(found, found.found[0])
    cluster = Cluster([ConflictError("modified")], LOOKED)
    assert await adopted(cluster, found) == [Action.ANNOTATE]
    assert cluster.done == [("annotate", {ADOPT: "true"})]


async def test_an_object_that_came_or_went_meanwhile_is_decided_anew(hsm: FakeHsm) -> None:
    came, went = (catalogue(hsm, a_key(hsm, name="k")) for _ in range(2))
    live(went, went.found[0])
    assert await adopted(Cluster([ConflictError("exists")], LOOKED), came) == [Action.ANNOTATE]
    assert await adopted(Cluster([ConflictError("gone")], None), went) == [Action.WRITE]


async def test_one_that_is_refused_does_not_keep_the_others_from_being_adopted(hsm: FakeHsm) -> None:
    found = catalogue(hsm, a_key(hsm, name="k"), a_key(hsm, n=2, name="l"))
    assert sorted(await adopted(Cluster([ForbiddenError("no right")]), found)) == [Action.FAIL, Action.WRITE]
    assert await adopted(Cluster([ConflictError("again")] * 10, None), found) == [Action.FAIL, Action.FAIL]


async def test_the_refusal_of_a_single_one_is_the_error(hsm: FakeHsm) -> None:
    found = catalogue(hsm, a_key(hsm, name="k"))
    for error in (ForbiddenError("no right"), ConflictError("again")):
        with pytest.raises(type(error)):
            await adopted(Cluster([error] * 10), found, named=True)

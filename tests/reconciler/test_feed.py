"""The feed: which events of a watch are work, and how urgent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystead.reconciler.feed import Feed
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue

KEY = ObjectRef(Kind.KEY, "team-a", "k")
DATA_KEY = ObjectRef(Kind.DATA_KEY, "team-a", "d")


class Watch:
    """A feed over a queue that is emptied at every look."""

    def __init__(self, *namespaces: str) -> None:
        self.queue = WorkQueue()
        self.feed = Feed(self.queue, namespaces)

    def see(self, ref: ObjectRef = KEY, event: str | None = "MODIFIED", *, generation: int = 1, **parts: Any) -> None:
        metadata = {"namespace": ref.namespace, "name": ref.name, "uid": "u", "generation": generation, **parts.pop("metadata", {})}
        self.feed.seen(ref.kind, event, {"metadata": metadata, "status": {"observedGeneration": 1}, **parts})

    async def work(self) -> list[tuple[str, Class]]:
        found = []
        for kind in Class:
            while self.queue.depth(kind):
                key = await self.queue.get()
                self.queue.done(key)
                found.append((key.name, kind))
        return found


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def test_a_generation_that_nobody_observed_is_new(watch: Watch) -> None:
    watch.see(event="ADDED", status={})
    assert await watch.work() == [("k", Class.NEW)]
    watch.see(generation=2)
    assert await watch.work() == [("k", Class.NEW)]


async def test_a_listed_object_that_was_observed_is_a_refresh(watch: Watch) -> None:
    watch.see(event=None)
    assert await watch.work() == [("k", Class.REFRESH)]


async def test_the_same_object_again_is_no_work(watch: Watch) -> None:
    watch.see(event=None)
    await watch.work()
    watch.see(event=None)
    watch.see(metadata={"resourceVersion": "9", "managedFields": [], "labels": {"x": "y"}, "annotations": {"other.io/a": "b"}})
    assert await watch.work() == []


async def test_a_status_that_we_wrote_is_no_work(watch: Watch) -> None:
    watch.see(event=None)
    await watch.work()
    status = {"observedGeneration": 1, "keyId": "x"}
    watch.feed.will_write(KEY, status)
    watch.see(status=status)
    assert await watch.work() == []


async def test_a_status_that_somebody_else_wrote_is_work(watch: Watch) -> None:
    watch.see(event=None)
    await watch.work()
    watch.see(status={"observedGeneration": 1, "keyId": "forged"})
    assert await watch.work() == [("k", Class.REFRESH)]
    watch.see(status={"observedGeneration": -1})
    assert await watch.work() == [("k", Class.NEW)]


@pytest.mark.parametrize("name", ["hold", "rotate-requested-at", "reconcile-requested-at", "adopt"])
async def test_our_annotations_are_work(watch: Watch, name: str) -> None:
    watch.see(event=None)
    await watch.work()
    watch.see(metadata={"annotations": {f"kms.keystead.io/{name}": "x"}})
    assert await watch.work() == [("k", Class.REFRESH)]


async def test_a_deletion_is_new_work(watch: Watch) -> None:
    watch.see(event=None)
    await watch.work()
    watch.see(metadata={"deletionTimestamp": "2026-11-26T08:00:00Z"})
    assert await watch.work() == [("k", Class.NEW)]
    watch.see(event="DELETED")
    assert await watch.work() == [("k", Class.NEW)]


async def test_an_object_made_again_is_new_work(watch: Watch) -> None:
    watch.see(event=None)
    watch.see(event="DELETED")
    await watch.work()
    watch.see(event="ADDED")
    assert await watch.work() == [("k", Class.REFRESH)]
    watch.see(metadata={"uid": "another"}, status={})
    assert await watch.work() == [("k", Class.NEW)]


async def test_other_namespaces_are_not_served() -> None:
    watch = Watch("team-b")
    watch.see(event="ADDED")
    watch.feed.refresh(KEY)
    assert await watch.work() == []
    watch.see(ObjectRef(Kind.KEY, "team-b", "k"), event="ADDED")
    assert await watch.work() == [("k", Class.REFRESH)]


@pytest.mark.parametrize("kind", list(Kind))
async def test_every_kind_is_served(watch: Watch, kind: Kind) -> None:
    watch.see(ObjectRef(kind, "team-a", "x"), event="ADDED", status={})
    assert await watch.work() == [("x", Class.NEW)]


# Objects and the key or alias that they name


def names_key(name: str, **more: str) -> dict[str, Any]:
    return {"keyRef": {"name": name, **more}}


ISSUED = {"observedGeneration": 1, "recordSeq": 1}


async def test_a_changed_key_record_wakes_its_data_keys(watch: Watch) -> None:
    watch.see(DATA_KEY, event=None, spec=names_key("k"), status=ISSUED)
    watch.see(ObjectRef(Kind.DATA_KEY, "team-a", "e"), event=None, spec=names_key("other"))
    watch.see(ObjectRef(Kind.DATA_KEY, "team-b", "f"), event=None, spec=names_key("k"))
    watch.feed.will_write(DATA_KEY, ISSUED)
    await watch.work()
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "k"))
    assert await watch.work() == [("d", Class.REFRESH)]


async def test_a_data_key_that_waited_for_its_key_does_not_wait_behind_refreshes(watch: Watch) -> None:
    """It was looked at before its key was there, so its generation is observed; but nothing was issued yet."""
    watch.see(DATA_KEY, event="ADDED", spec=names_key("k"))
    await watch.work()
    watch.feed.will_write(DATA_KEY, {"observedGeneration": 1})
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "k"))
    assert await watch.work() == [("d", Class.NEW)]
    watch.feed.will_write(DATA_KEY, ISSUED)
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "k"))
    assert await watch.work() == [("d", Class.REFRESH)]
    watch.see(DATA_KEY, event="DELETED", spec=names_key("k"))
    watch.see(DATA_KEY, event="ADDED", spec=names_key("k"), metadata={"uid": "another"})
    await watch.work()
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "k"))
    assert await watch.work() == [("d", Class.NEW)]


async def test_a_data_key_that_is_gone_or_points_elsewhere_is_not_woken(watch: Watch) -> None:
    watch.see(DATA_KEY, event=None, spec=names_key("k"))
    watch.see(DATA_KEY, event="DELETED", spec=names_key("k"))
    await watch.work()
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "k"))
    assert await watch.work() == []
    watch.see(DATA_KEY, event="ADDED", spec=names_key("k"))
    watch.see(DATA_KEY, generation=2, spec=names_key("other"))
    await watch.work()
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "k"))
    assert await watch.work() == []
    watch.feed.record_changed(ObjectRef(Kind.KEY, "team-a", "other"))
    assert [name for name, _ in await watch.work()] == ["d"]


@pytest.mark.parametrize("spec", [{}, {"keyRef": "k"}, {"keyRef": {}}, {"keyRef": {"name": 3}}])
async def test_a_misshapen_reference_is_no_index_entry(watch: Watch, spec: dict[str, Any]) -> None:
    watch.see(DATA_KEY, event="ADDED", spec=spec)
    assert await watch.work() == [("d", Class.REFRESH)]


async def test_a_record_without_a_seen_object_is_looked_at(watch: Watch) -> None:
    watch.feed.refresh(KEY)
    assert await watch.work() == [("k", Class.REFRESH)]
    watch.see(event=None)
    await watch.work()
    watch.feed.refresh(KEY)
    assert await watch.work() == []


async def test_a_changed_key_wakes_the_data_keys_that_name_it_from_abroad(watch: Watch) -> None:
    watch.see(ObjectRef(Kind.DATA_KEY, "team-b", "far"), None, spec={"keyRef": {"name": "k", "namespace": "team-a"}})
    watch.see(ObjectRef(Kind.DATA_KEY, "team-b", "near"), None, spec={"keyRef": {"name": "k"}})
    watch.see(ObjectRef(Kind.GRANT, "team-b", "g"), None, spec={"keyRef": {"name": "k", "namespace": "team-a"}})
    await watch.work()
    watch.feed.record_changed(KEY)
    assert await watch.work() == [("far", Class.NEW)]


async def test_a_changed_alias_wakes_the_data_keys_that_name_it(watch: Watch) -> None:
    watch.see(DATA_KEY, event=None, spec={"aliasRef": {"name": "main"}})
    await watch.work()
    watch.feed.record_changed(ObjectRef(Kind.ALIAS, "team-a", "main"))
    assert [name for name, _ in await watch.work()] == ["d"]


async def test_a_freed_name_wakes_the_aliases_of_its_namespace_that_have_none(watch: Watch) -> None:
    taken, holder, elsewhere = (ObjectRef(Kind.ALIAS, ns, name) for ns, name in (("team-a", "t"), ("team-a", "h"), ("team-b", "e")))
    for ref in (taken, holder, elsewhere):
        watch.see(ref, event=None, spec=names_key("k"))
    watch.feed.will_write(holder, ISSUED)
    await watch.work()
    watch.feed.alias_freed("team-a")
    assert await watch.work() == [("t", Class.NEW)]


async def test_many_changes_of_what_depends_on_a_key_are_one_look(watch: Watch) -> None:
    for _ in range(100):
        watch.feed.dependants_changed(KEY)
    assert await watch.work() == []
    assert await asyncio.wait_for(watch.queue.get(), 10) == KEY
    assert watch.queue.depth(Class.REFRESH) == 0


async def test_a_keys_record_wakes_who_names_it_by_an_alias(watch: Watch) -> None:
    alias = ObjectRef(Kind.ALIAS, "team-a", "main")
    watch.see(alias, event=None, spec={"keyRef": {"name": "k"}}, status={"recordSeq": 1})
    watch.see(DATA_KEY, event=None, spec={"aliasRef": {"name": "main"}}, status={"recordSeq": 1})
    waiting = ObjectRef(Kind.DATA_KEY, "team-a", "waiting")
    watch.see(waiting, event=None, spec={"aliasRef": {"name": "main"}}, status={"observedGeneration": 1})
    await watch.work()
    watch.feed.record_changed(KEY)
    assert sorted(await watch.work()) == [("d", Class.REFRESH), ("main", Class.REFRESH), ("waiting", Class.NEW)]


async def test_a_keys_record_wakes_data_keys_that_have_versions_under_it() -> None:
    """The alias that they name has moved, and their versions of before have not."""
    watch = Watch("team-a")
    watch.see(DATA_KEY, event=None, spec={"aliasRef": {"name": "main"}}, status={"recordSeq": 1})
    await watch.work()
    watch.feed.record_changed(KEY, [DATA_KEY, ObjectRef(Kind.DATA_KEY, "not-served", "d")])
    assert await watch.work() == [("d", Class.REFRESH)]

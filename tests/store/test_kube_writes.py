"""What operations write, carried out on a real API server: one owner's fields, tags of two calls at once, and who else is in the way."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.cluster import Cluster

from keystead.errors import ConflictError, ForeignOwnerError, NotFoundError
from keystead.operations.writes import CreateObject, SetFields, SetTags, Target
from keystead.resources import names
from keystead.resources.crd import KINDS
from keystead.resources.vocabulary import ObjectKind
from keystead.store.kube import Kube, connect
from keystead.store.writes import KubeWriter

CRDS = Path(__file__).parents[2] / "crds"
pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]


@dataclass
class Place:
    """A namespace, and the writer."""

    cluster: Cluster
    writer: KubeWriter
    namespace: str

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", "kmskey", name, "-n", self.namespace, "-o", "json"))
        return found

    def apply(self, name: str, manager: str, **spec: Any) -> Target:
        """Somebody's server-side apply; the object."""
        metadata = {"namespace": self.namespace, "name": name}
        body = {"apiVersion": names.API_VERSION, "kind": "KmsKey", "metadata": metadata, "spec": spec}
        self.cluster.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(body))
        return self.target(name)

    def target(self, name: str) -> Target:
        return Target(ObjectKind.KEY, self.namespace, name, self.get(name)["metadata"]["uid"])

    def tags(self, name: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.get(name)["spec"]["tags"]}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    for kind in KINDS:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{kind.crd_name}", "--timeout=30s")
    name = f"writes-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def place(cluster: Cluster, namespace: str) -> AsyncIterator[Place]:
    kube = await connect(cluster.kubeconfig)
    yield Place(cluster, KubeWriter(kube), namespace)
    await kube.close()


async def test_an_object_is_made_once_and_found_by_a_retry(place: Place) -> None:
    write = CreateObject(ObjectKind.KEY, place.namespace, "made", {"region": "cluster-1", "keySpec": "SYMMETRIC_DEFAULT"})
    await place.writer.write(write)
    uid = place.target("made").uid
    await place.writer.write(write)
    assert place.target("made").uid == uid
    assert place.get("made")["metadata"]["labels"] == {names.CREATED_BY: names.CREATED_BY_API}
    with pytest.raises(ConflictError):
        await place.writer.write(CreateObject(ObjectKind.KEY, place.namespace, "made", {"region": "cluster-2"}))


async def test_a_field_that_belongs_to_somebody_else_is_not_sent_and_the_owner_is_named(place: Place) -> None:
    target = place.apply("flux", "flux", keySpec="SYMMETRIC_DEFAULT", enabled=True)
    with pytest.raises(ForeignOwnerError, match=r"spec\.enabled .*flux"):
        await place.writer.write(SetFields(target, {"enabled": False}))
    assert place.get("flux")["spec"]["enabled"] is True
    await place.writer.write(SetFields(target, {"description": "ours"}))
    assert place.get("flux")["spec"]["description"] == "ours"


async def test_what_is_so_already_is_no_quarrel_with_its_owner(place: Place) -> None:
    target = place.apply("same", "flux", keySpec="SYMMETRIC_DEFAULT", enabled=False)
    before = place.get("same")["metadata"]["resourceVersion"]
    await place.writer.write(SetFields(target, {"enabled": False}))
    await place.writer.write(SetFields(target, {"scheduledDeletion": None, "enabled": False}))
    assert place.get("same")["metadata"]["resourceVersion"] == before


CHANGES: list[Callable[[Target], SetFields]] = [
    lambda target: SetFields(target, {"enabled": False}),
    lambda target: SetFields(target, {"rotation": {"enabled": True, "periodInDays": 200}}),
    lambda target: SetFields(target, {"rotation": {"enabled": False}}),
    lambda target: SetFields(target, {"scheduledDeletion": {"pendingWindowInDays": 7}}),
    lambda target: SetFields(target, {"scheduledDeletion": None, "enabled": False}),
    lambda target: SetFields(target, {"policy": {"Version": "2012-10-17", "Statement": []}}),
    lambda target: SetFields(target, {"enabled": True}),
]


async def test_the_changes_of_the_control_plane_follow_one_another(place: Place) -> None:
    target = place.apply("life", "kubectl", keySpec="SYMMETRIC_DEFAULT", description="theirs")
    for change in CHANGES:
        await place.writer.write(change(target))
    spec = place.get("life")["spec"]
    assert (spec["enabled"], spec["rotation"], spec["description"]) == (True, {"enabled": False}, "theirs")
    assert spec["policy"] == {"Version": "2012-10-17", "Statement": []}
    assert "scheduledDeletion" not in spec


async def test_tags_of_two_calls_at_once_both_hold(place: Place) -> None:
    target = place.apply("tagged", "flux", keySpec="SYMMETRIC_DEFAULT", tags=[{"key": "theirs", "value": "1"}])
    await asyncio.gather(*(place.writer.write(SetTags(target, put={f"k{n}": "v"})) for n in range(2)))
    assert place.tags("tagged") == {"theirs": "1", "k0": "v", "k1": "v"}
    await place.writer.write(SetTags(target, drop=frozenset({"k0"})))
    assert place.tags("tagged") == {"theirs": "1", "k1": "v"}
    with pytest.raises(ForeignOwnerError, match="flux"):
        await place.writer.write(SetTags(target, drop=frozenset({"theirs"})))


@pytest.mark.parametrize(
    ("write", "left"),
    [({"put": {"c": "3"}}, {"a": "1", "b": "2", "c": "3"}), ({"drop": frozenset({"a"})}, {"b": "2"})],
)
async def test_tags_that_only_the_record_has_stay(place: Place, write: dict[str, Any], left: dict[str, str]) -> None:
    name = f"bare-{'-'.join(write)}"
    target = place.apply(name, "kubectl", keySpec="SYMMETRIC_DEFAULT")
    await place.writer.write(SetTags(target, recorded={"a": "1", "b": "2"}, **write))
    assert place.tags(name) == left


async def test_an_orphan_gets_an_object_that_says_the_change(place: Place) -> None:
    target = Target(ObjectKind.KEY, place.namespace, "orphan", "")
    metadata = {"namespace": place.namespace, "name": "orphan"}
    spec = {"keySpec": "HMAC_256", "keyUsage": "GENERATE_VERIFY_MAC", "enabled": False}
    manifest = {"apiVersion": names.API_VERSION, "kind": "KmsKey", "metadata": metadata, "spec": spec}
    await place.writer.write(SetFields(target, {"enabled": False}, manifest))
    assert place.get("orphan")["spec"]["enabled"] is False
    await place.writer.write(SetFields(target, {"enabled": False}, manifest))
    with pytest.raises(NotFoundError):
        await place.writer.write(SetFields(Target(ObjectKind.KEY, place.namespace, "nowhere", "uid"), {"enabled": False}))


async def test_another_object_of_the_name_is_not_changed(place: Place) -> None:
    target = place.apply("swapped", "kubectl", keySpec="SYMMETRIC_DEFAULT")
    other = Target(target.kind, target.namespace, target.name, "00000000-0000-4000-8000-000000000000")
    for write in (SetFields(other, {"enabled": False}), SetTags(other, put={"a": "b"})):
        with pytest.raises(ConflictError):
            await place.writer.write(write)
    assert "enabled" not in place.get("swapped")["spec"]


async def test_a_field_that_somebody_takes_between_look_and_write_is_theirs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    target = place.apply("raced", "kubectl", keySpec="SYMMETRIC_DEFAULT")
    send, taken = Kube.request, []

    async def request(kube: Kube, method: str, *rest: Any) -> Any:
        if method == "PATCH" and not taken:
            taken.append(place.apply("raced", "flux", keySpec="SYMMETRIC_DEFAULT", enabled=True))
        return await send(kube, method, *rest)

    monkeypatch.setattr(Kube, "request", request)
    with pytest.raises(ForeignOwnerError, match=r"spec\.enabled .*flux"):
        await place.writer.write(SetFields(target, {"enabled": False}))
    assert taken and place.get("raced")["spec"]["enabled"] is True


async def test_an_object_that_somebody_made_for_an_orphan_meanwhile_is_not_changed(place: Place) -> None:
    place.apply("returned", "flux", keySpec="SYMMETRIC_DEFAULT")
    metadata = {"namespace": place.namespace, "name": "returned"}
    spec = {"keySpec": "SYMMETRIC_DEFAULT", "enabled": False}
    manifest = {"apiVersion": names.API_VERSION, "kind": "KmsKey", "metadata": metadata, "spec": spec}
    with pytest.raises(ConflictError):
        await place.writer.write(SetFields(Target(ObjectKind.KEY, place.namespace, "returned", ""), {"enabled": False}, manifest))
    assert "enabled" not in place.get("returned")["spec"]


async def test_a_tag_that_is_so_already_is_no_quarrel_with_its_owner(place: Place) -> None:
    target = place.apply("agreed", "flux", keySpec="SYMMETRIC_DEFAULT", tags=[{"key": "theirs", "value": "1"}])
    await place.writer.write(SetTags(target, put={"theirs": "1", "ours": "2"}, drop=frozenset({"nobodys"})))
    assert place.tags("agreed") == {"theirs": "1", "ours": "2"}

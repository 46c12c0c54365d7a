"""KubeWriter on a fake of our own client: whose object and whose field it is, is looked at before anything is sent.

The same rules on a real API server: test_kube_writes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keystead.errors import ConflictError, ForeignOwnerError, NotFoundError
from keystead.operations.writes import Annotate, SetFields, SetTags, Target, Write
from keystead.resources.vocabulary import ObjectKind
from keystead.store.writes import KubeWriter

TARGET = Target(ObjectKind.KEY, "team-a", "key-1", "uid-1")
WRITES: tuple[Write, ...] = (
    SetFields(TARGET, {"enabled": False}),
    SetFields(TARGET, {"description": "new", "enabled": False}),
    SetTags(TARGET, put={"team": "a"}),
    Annotate(TARGET, {"a": "b"}),
)


class OneObject:
    """`store.kube.Kube`, as far as the writer goes: one object, and what was sent."""

    def __init__(self, uid: str = "uid-1", owner: str = "keystead-api.enabled", owned: Mapping[str, Any] | None = None) -> None:
        entry = {"manager": owner, "operation": "Apply", "fieldsV1": {"f:spec": dict(owned or {})}}
        self.found: dict[str, Any] | None = {
            "metadata": {"namespace": "team-a", "name": "key-1", "uid": uid, "resourceVersion": "7", "managedFields": [entry]},
            "spec": {"enabled": True, "description": "old"},
        }
        self.sent: list[tuple[str, Any, Any]] = []

    async def request(self, method: str, path: str, query: Any = None, body: Any = None, content_type: str = "") -> Any:
        if method == "GET":
            if self.found is None:
                raise NotFoundError(path)
            return self.found
        self.sent.append((method, query, body))
        return {}


def writer(kube: OneObject) -> KubeWriter:
    return KubeWriter(kube)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: type(write).__name__)
async def test_every_change_carries_the_uid_of_what_was_authorised(write: Write) -> None:
    kube = OneObject()
    await writer(kube).write(write)
    [(method, _, body)] = kube.sent
    assert (method, body["metadata"]["uid"]) == ("PATCH", "uid-1")


@pytest.mark.parametrize("write", WRITES, ids=lambda write: type(write).__name__)
async def test_an_object_made_again_under_the_name_is_not_changed(write: Write) -> None:
    kube = OneObject(uid="uid-2")
    with pytest.raises(ConflictError):
        await writer(kube).write(write)
    assert not kube.sent


@pytest.mark.parametrize("write", WRITES[:2], ids=["one field", "two fields"])
async def test_a_field_of_another_manager_is_not_taken(write: Write) -> None:
    kube = OneObject(owner="argocd-controller", owned={"f:enabled": {}})
    with pytest.raises(ForeignOwnerError, match="argocd-controller"):
        await writer(kube).write(write)
    assert not kube.sent


@pytest.mark.parametrize("write", [WRITES[0], *WRITES[2:]], ids=lambda write: type(write).__name__)
async def test_what_is_gone_is_not_found(write: Write) -> None:
    kube = OneObject()
    kube.found = None
    with pytest.raises(NotFoundError):
        await writer(kube).write(write)
    assert not kube.sent

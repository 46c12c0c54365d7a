"""Writes that people ask for through `keystead records`: each is fenced by what was read, and leaves to others what is theirs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from keystead.errors import ConflictError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.store.kube import APPLY, MERGE_PATCH, Kube
from keystead.store.requests import KubeRequests

REF = ObjectRef(Kind.KEY, "team-a", "k")
PATH = "/apis/kms.keystead.io/v1alpha1/namespaces/team-a/kmskeys"


def found(*managers: str) -> dict[str, Any]:
    """A KmsKey whose spec.scheduledDeletion belongs to these managers."""
    fields = {"f:spec": {"f:scheduledDeletion": {}}}
    owned = [{"manager": manager, "fieldsV1": fields} for manager in managers]
    return {"metadata": {"uid": "u1", "resourceVersion": "7", "managedFields": [*owned, {"manager": "kubectl", "fieldsV1": {}}]}}


class Sent:
    """A Kube that remembers its requests."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def request(self, *arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        return {}


@pytest.fixture
def sent() -> Sent:
    return Sent()


def requests(sent: Sent, *, dry: bool = False) -> KubeRequests:
    return KubeRequests(cast(Kube, sent), dry=dry)


async def test_an_annotation_carries_the_uid_and_version_that_were_read(sent: Sent) -> None:
    await requests(sent).annotate(REF, found(), {"a": "b"})
    body = {"metadata": {"uid": "u1", "resourceVersion": "7", "annotations": {"a": "b"}}}
    assert sent.calls == [("PATCH", f"{PATH}/k", {"fieldManager": "keystead-cli"}, body, MERGE_PATCH)]


async def test_a_new_object_is_create_only(sent: Sent) -> None:
    await requests(sent).create(REF, {"x": 1})
    assert sent.calls == [("POST", PATH, {"fieldManager": "keystead-cli"}, {"x": 1})]


async def test_a_field_is_applied_with_the_uid_and_nothing_else(sent: Sent) -> None:
    await requests(sent).set_field(REF, found(), "scheduledDeletion", {"pendingWindowInDays": 7})
    ((_, path, query, body, kind),) = sent.calls
    assert (path, query, kind) == (f"{PATH}/k", {"fieldManager": "keystead-cli.scheduledDeletion", "force": "true"}, APPLY)
    assert body["metadata"] == {"namespace": "team-a", "name": "k", "uid": "u1"}
    assert body["spec"] == {"scheduledDeletion": {"pendingWindowInDays": 7}}


async def test_a_field_is_taken_away_from_what_was_read(sent: Sent) -> None:
    await requests(sent).drop_field(REF, found("keystead-cli.scheduledDeletion"), "scheduledDeletion")
    ((_, _, _, body, kind),) = sent.calls
    assert (body["metadata"], body["spec"], kind) == ({"uid": "u1", "resourceVersion": "7"}, {"scheduledDeletion": None}, MERGE_PATCH)


@pytest.mark.parametrize("manager", ["keystead-cli", "keystead-cli.scheduledDeletion", "keystead-api", "keystead-api.scheduledDeletion"])
async def test_our_own_clients_count_as_one_owner(sent: Sent, manager: str) -> None:
    await requests(sent).set_field(REF, found(manager), "scheduledDeletion", {})
    assert len(sent.calls) == 1


@pytest.mark.parametrize("change", ["set", "drop"])
async def test_a_field_of_somebody_else_is_not_sent_and_its_manager_is_named(sent: Sent, change: str) -> None:
    body = found("keystead-cli", "flux", "keystead-client")
    with pytest.raises(ConflictError, match="field manager flux, keystead-client; hint: "):
        if change == "set":
            await requests(sent).set_field(REF, body, "scheduledDeletion", {})
        else:
            await requests(sent).drop_field(REF, body, "scheduledDeletion")
    assert sent.calls == []


async def test_a_dry_run_lets_the_api_server_judge_every_write(sent: Sent) -> None:
    dry = requests(sent, dry=True)
    await dry.annotate(REF, found(), {})
    await dry.create(REF, {})
    await dry.set_field(REF, found(), "x", 1)
    await dry.drop_field(REF, found(), "x")
    assert [call[2]["dryRun"] for call in sent.calls] == ["All"] * 4

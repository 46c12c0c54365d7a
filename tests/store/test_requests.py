"""Writes that people ask for through `keystead records`: each is fenced by what was read, and leaves to others what is theirs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from keystead.errors import ConflictError, ForbiddenError, KeysteadError, NotFoundError
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


OWNED = {"f:metadata": {"f:annotations": {"f:a": {}}}, "f:spec": {".": {}, "f:deletionPolicy": {}}}


def written(version: str = "1", *others: dict[str, Any], uid: str = "u1") -> dict[str, Any]:
    """An object as the API server answers our creation of it."""
    ours = {"manager": "keystead-cli", "operation": "Update", "fieldsV1": OWNED}
    return {"metadata": {"uid": uid, "resourceVersion": version, "managedFields": [*others, ours]}}


class Answers:
    """A Kube that gives these answers in turn, and remembers the requests."""

    def __init__(self, *answers: dict[str, Any] | KeysteadError) -> None:
        self.answers, self.calls = list(answers), list[tuple[Any, ...]]()

    async def request(self, *arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        answer = self.answers.pop(0)
        if isinstance(answer, KeysteadError):
            raise answer
        return answer


async def test_nobody_owns_the_spec_of_a_new_object() -> None:
    """Else the manifest that is applied next would conflict with us. What others own is left as it is."""
    operator = {"manager": "keystead-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:x": {}}}}
    kube = Answers(written("1", operator), {"given": "up"})
    assert await KubeRequests(cast(Kube, kube)).create(REF, {}) == {"given": "up"}
    method, path, query, body, kind = kube.calls[1]
    assert (method, path, query, kind) == ("PATCH", f"{PATH}/k", {"fieldManager": "keystead-cli"}, MERGE_PATCH)
    kept = [entry["fieldsV1"] for entry in body["metadata"].pop("managedFields")]
    assert kept == [operator["fieldsV1"], {"f:metadata": OWNED["f:metadata"], "f:spec": {}}]
    assert body == {"metadata": {"uid": "u1", "resourceVersion": "1"}}


async def test_an_object_that_the_operator_has_touched_meanwhile_is_looked_at_again() -> None:
    kube = Answers(written("1"), ConflictError("modified"), written("2"), {"given": "up"})
    assert await KubeRequests(cast(Kube, kube)).create(REF, {}) == {"given": "up"}
    assert kube.calls[3][3]["metadata"]["resourceVersion"] == "2"


@pytest.mark.parametrize(
    "after",
    [
        [ForbiddenError("no patch")],
        [ConflictError("gone"), NotFoundError("gone")],
        [ConflictError("another"), written("9", uid="u2")],
        [ConflictError("modified"), written("1")] * 5,
    ],
)
async def test_what_is_written_stays_written_where_its_spec_cannot_be_given_up(after: list[dict[str, Any] | KeysteadError]) -> None:
    kube = Answers(written("1"), *after)
    assert await KubeRequests(cast(Kube, kube)).create(REF, {}) == written("1")
    assert kube.answers == []


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


async def test_the_refusal_of_somebody_elses_field_says_what_to_type(sent: Sent) -> None:
    command = "kubectl patch kmskey k -n team-a --type=merge --patch '{}'"
    with pytest.raises(ConflictError) as refused:
        await requests(sent).set_field(REF, found("kubectl-patch"), "scheduledDeletion", {"pendingWindowInDays": 7})
    assert str(refused.value).endswith(command.replace("{}", '{"spec": {"scheduledDeletion": {"pendingWindowInDays": 7}}}'))
    with pytest.raises(ConflictError) as refused:
        await requests(sent).drop_field(REF, found("kubectl-patch"), "scheduledDeletion")
    assert str(refused.value).endswith(command.replace("{}", '{"spec": {"scheduledDeletion": null}}'))


async def test_a_dry_run_lets_the_api_server_judge_every_write(sent: Sent) -> None:
    dry = requests(sent, dry=True)
    await dry.annotate(REF, found(), {})
    await dry.create(REF, {})
    await dry.set_field(REF, found(), "x", 1)
    await dry.drop_field(REF, found(), "x")
    assert [call[2]["dryRun"] for call in sent.calls] == ["All"] * 4

"""What a TokenReview's answer is worth: a clear yes for our audience, or nothing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from keystead.policy.bearer import Bearer, NotBearer
from keystead.store.kube import Kube
from keystead.store.reviews import KubeFacts, bearer_of

USER = {
    "username": "system:serviceaccount:team-a:app",
    "uid": "sa-1",
    "groups": ["system:serviceaccounts"],
    "extra": {"authentication.kubernetes.io/pod-name": ["pod"], "authentication.kubernetes.io/pod-uid": ["pod-1"]},
}
YES = {"authenticated": True, "audiences": ["keystead"], "user": USER}


def test_a_service_account_is_named_with_its_pod() -> None:
    assert bearer_of(YES) == Bearer(USER["username"], "sa-1", ("system:serviceaccounts",), "team-a", "app", "pod", "pod-1")


def test_a_person_is_no_service_account() -> None:
    found = bearer_of({**YES, "user": {"username": "anna:b", "groups": ["people"]}})
    assert found == Bearer("anna:b", "", ("people",))


@pytest.mark.parametrize(
    "status",
    [
        {},
        {**YES, "authenticated": False},
        {**YES, "authenticated": "true"},
        {**YES, "audiences": None},
        {**YES, "audiences": []},
        {**YES, "audiences": ["https://kubernetes.default.svc"]},
        {**YES, "audiences": "keystead"},
        {**YES, "user": None},
        {**YES, "user": {**USER, "username": ""}},
        {**YES, "user": {**USER, "uid": ""}},
        {**YES, "user": {**USER, "username": "system:serviceaccount:team-a"}},
        {**YES, "user": {**USER, "username": "system:serviceaccount::app"}},
        {**YES, "user": {"username": "system:anonymous", "groups": ["system:unauthenticated"]}},
    ],
)
def test_anything_but_a_clear_yes_is_no(status: dict[str, Any]) -> None:
    assert bearer_of(status) == NotBearer()


@pytest.mark.parametrize("token", ["", "\n", " ", "a b", "a\r\nb", "a\x00", "ä", "\ud800", "a\n"])
async def test_a_text_that_is_no_token_is_not_asked_about(token: str) -> None:
    """The API server would read a part of it, or nothing: and that is somebody, system:anonymous."""

    class Never:
        async def request(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("asked")

    assert await KubeFacts(cast(Kube, Never())).token_review(token) == NotBearer()


def test_a_token_whose_time_is_over_is_told_apart() -> None:
    error = "[invalid bearer token, service account token has expired]"
    assert bearer_of({"authenticated": False, "error": error}) == NotBearer(expired=True)


@pytest.mark.parametrize("values", [None, [], ["a", "b"]])
def test_a_pod_that_is_not_clear_is_none(values: Any) -> None:
    found = bearer_of({**YES, "user": {**USER, "extra": {"authentication.kubernetes.io/pod-name": values}}})
    assert isinstance(found, Bearer)
    assert (found.pod_name, found.pod_uid) == ("", "")

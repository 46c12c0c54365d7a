"""What a TokenReview's answer is worth: a clear yes for our audience, or nothing."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest

from keystead.policy import SubjectAccessReview
from keystead.policy.bearer import Bearer, NotBearer
from keystead.store.kube import Kube
from keystead.store.reviews import KubeFacts, bearer_of, is_for_us, person_of

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


def a_jwt(payload: Any) -> str:
    return "e30." + base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=") + ".c2ln"


class Told:
    """An API server that answers reviews in turn, and keeps what it was asked."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def request(self, method: str, path: str, *, body: Any) -> Any:
        self.asked.append(body["spec"])
        return {"status": self.answers.pop(0)}


ANNA = {"username": "anna", "uid": "u-1", "groups": ["people"], "extra": {"z/b": ["2", "3"], "a/b": ["1"]}}
OWN = {"authenticated": True, "audiences": ["https://kubernetes.default.svc"], "user": ANNA}
"""What the API server says of a token of its own OIDC issuer, asked without an audience."""
NO: dict[str, Any] = {"authenticated": False}


async def test_of_a_persons_token_for_us_the_api_server_is_asked_once_more_as_for_itself() -> None:
    kube, token = Told(NO, OWN), a_jwt({"aud": ["kubernetes", "keystead"]})
    found = await KubeFacts(cast(Kube, kube)).token_review(token)
    assert found == Bearer("anna", "u-1", ("people",), extra=(("a/b", ("1",)), ("z/b", ("2", "3"))))
    assert kube.asked == [{"token": token, "audiences": ["keystead"]}, {"token": token}]


@pytest.mark.parametrize("token", [a_jwt({"aud": "kubernetes"}), a_jwt({"aud": ["keystead.example.com"]}), "opaque", a_jwt({})])
async def test_a_token_for_others_is_not_asked_about_again(token: str) -> None:
    kube = Told(NO)
    assert await KubeFacts(cast(Kube, kube)).token_review(token) == NotBearer()
    assert len(kube.asked) == 1


async def test_what_the_first_answer_says_is_not_asked_again() -> None:
    token = a_jwt({"aud": ["keystead"]})
    for status, expected in ((YES, bearer_of(YES)), ({**NO, "error": "it has expired"}, NotBearer(expired=True))):
        kube = Told(status)
        assert await KubeFacts(cast(Kube, kube)).token_review(token) == expected
        assert len(kube.asked) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({**OWN, "authenticated": False}, NotBearer()),
        ({**OWN, "authenticated": "true"}, NotBearer()),
        ({"authenticated": False, "error": "oidc: token is expired"}, NotBearer(expired=True)),
        ({**OWN, "user": USER}, NotBearer()),
        ({**OWN, "user": {"username": "system:anonymous", "groups": ["system:unauthenticated"]}}, NotBearer()),
        ({**OWN, "user": None}, NotBearer()),
    ],
)
def test_no_service_account_and_nobody_is_a_person(status: dict[str, Any], expected: NotBearer) -> None:
    assert person_of(status) == expected


def test_whom_a_token_says_that_it_is_for() -> None:
    yes = [a_jwt({"aud": "keystead"}), a_jwt({"aud": ["a", "keystead"]})]
    deep = "e30." + base64.urlsafe_b64encode(b"[" * 100_000).decode() + ".c2ln"
    others = [a_jwt(payload) for payload in (["keystead"], {"aud": {"keystead": 1}}, {"aud": "keystead "}, {"aud": None})]
    no = ["", "..", "a.b", "a.b.c", "a.b.c.d", "a.ä.c", deep, *others]
    assert [is_for_us(token) for token in (*yes, *no)] == [True] * len(yes) + [False] * len(no)


async def test_a_review_says_all_that_is_known_of_a_person() -> None:
    kube = Told({"allowed": True})
    question = SubjectAccessReview("anna", "u-1", ("people",), "decrypt", "keystead-records", "k", extra=(("a/b", ("1", "2")),))
    assert await KubeFacts(cast(Kube, kube)).review(question) is True
    (spec,) = kube.asked
    assert (spec["user"], spec["uid"], spec["groups"], spec["extra"]) == ("anna", "u-1", ["people"], {"a/b": ["1", "2"]})


@pytest.mark.parametrize("values", [None, [], ["a", "b"]])
def test_a_pod_that_is_not_clear_is_none(values: Any) -> None:
    found = bearer_of({**YES, "user": {**USER, "extra": {"authentication.kubernetes.io/pod-name": values}}})
    assert isinstance(found, Bearer)
    assert (found.pod_name, found.pod_uid) == ("", "")

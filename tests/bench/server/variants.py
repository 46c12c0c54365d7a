"""`keystead dev` as the benchmark needs it, and as no setting makes it: `python -m tests.bench.server.variants bare|rbac dev ...`.

    bare  nothing is asked of policies and grants: every call that reaches a key may use it
    rbac  RBAC says yes to everything, through the cache of facts that `keystead server` has (server/facts.py)

Never a switch of the product. Runs on the image's Python: nothing of the development dependencies may be imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from keystead.__main__ import main as keystead
from keystead.app.dev import house
from keystead.operations import pipeline
from keystead.policy import Decision, SubjectAccessReview
from keystead.policy.bearer import Bearer, NotBearer
from keystead.server.facts import Facts

_YES = Decision(True, "nobody asked")


class Generous:
    """Implements `server.facts.ClusterFacts`: RBAC gives everybody everything. `uids`: the namespaces, as in dev."""

    def __init__(self, uids: Callable[[], Mapping[str, str]]) -> None:
        self._uids = uids

    async def review(self, _question: SubjectAccessReview) -> bool:
        """Yes."""
        return True

    async def namespace_uid(self, namespace: str) -> str | None:
        """The uid of the namespace of this name."""
        return self._uids().get(namespace)

    async def service_account_uid(self, _namespace: str, _name: str) -> str | None:
        """Nobody asks in dev."""
        return None

    async def token_review(self, _token: str) -> Bearer | NotBearer:
        """Nobody asks in dev."""
        return NotBearer(expired=False)


def without_policy() -> None:
    """The question is not even made: what that costs is a cost of the policy."""
    place: Any = pipeline
    place.question_of = lambda *_: None
    place.evaluate = lambda _: _YES


def with_rbac() -> None:
    """In place of dev's RBAC, which gives nobody anything."""
    place: Any = house
    place.NoReviews = lambda uids: Facts(Generous(uids), lambda _namespace, _uid: "")


def main() -> int:
    """The rest of the command line is keystead's own."""
    kind = sys.argv.pop(1)
    {"bare": without_policy, "rbac": with_rbac}[kind]()
    return keystead()


if __name__ == "__main__":
    sys.exit(main())

"""Fences of a data key's Secret: what was read is what is written to, or nothing is written. The write is held in the proxy meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from tests.operator import harness
from tests.operator.chaos import Gate, Write, hold
from tests.operator.desk import DATA_KEY, KEY, SECRET, Desk, desk
from tests.operator.harness import Installation

pytestmark = pytest.mark.cluster
OTHERS = {"note": base64.b64encode(b"somebody's").decode()}


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    with desk(installation, "replicas") as made:
        made.key("main")
        made.ready(KEY, "main")
        yield made


class Between:
    """Holds the next PATCH of a Secret until `go`."""

    def __init__(self, at: Desk, name: str) -> None:
        self.at, self.name, self.gate = at, name, Gate()
        at.proxy.clear()
        at.proxy.rule(lambda r: r.method == "PATCH" and r.path.endswith(f"/{at.namespace}/secrets/{name}"), hold(self.gate))

    def reached(self) -> None:
        """Until the operator has read the Secret and sent its write."""
        assert self.gate.reached.wait(harness.DEADLINE)

    def go(self) -> Write:
        """Let the write on; what became of it."""
        self.gate.go.set()
        held = next(write for write in self.at.proxy.writes() if write.fault == "hold")
        self.at.until("the answer", lambda: held.status)
        return held


def test_a_secret_that_was_changed_between_read_and_apply_keeps_the_change(at: Desk) -> None:
    at.secret("changed", password=b"p")
    read = at.get(SECRET, "changed")["metadata"]
    between = Between(at, "changed")
    at.data_key("changed", "main")
    between.reached()
    at.merge(SECRET, "changed", data=OTHERS)
    held = between.go()
    assert held.status == 409
    assert {part: held.body["metadata"][part] for part in ("uid", "resourceVersion")} == {
        part: read[part] for part in ("uid", "resourceVersion")
    }
    at.ready(DATA_KEY, "changed")
    data = at.data("changed")
    assert (data["note"], data["password"]) == (b"somebody's", b"p")
    assert "kms.keystead.io.changed.ciphertext" in data


def test_a_secret_that_was_made_again_between_read_and_apply_is_looked_at_anew(at: Desk) -> None:
    """Of one name, but another Secret: the write is bound to the uid that was read."""
    at.secret("again", password=b"p")
    between = Between(at, "again")
    at.data_key("again", "main")
    between.reached()
    at.delete(SECRET, "again")
    at.secret("again", password=b"new")
    held = between.go()
    assert held.status == 409
    assert held.body["metadata"]["uid"] != at.get(SECRET, "again")["metadata"]["uid"]
    at.ready(DATA_KEY, "again")
    data = at.data("again")
    assert data["password"] == b"new"
    assert data["kms.keystead.io.again.ciphertext"] == at.data_key_record("again").current_version.blob


def test_a_secret_that_was_deleted_between_read_and_apply_is_not_made_by_the_apply(at: Desk) -> None:
    """It was injected into before: whose Secret it is is known, and it is waited for."""
    at.secret("gone", password=b"p")
    at.data_key("gone", "main")
    at.ready(DATA_KEY, "gone")
    between = Between(at, "gone")
    at.annotate(DATA_KEY, "gone", "kms.keystead.io/rotate-requested-at", "now")
    between.reached()
    at.delete(SECRET, "gone")
    assert between.go().status in (404, 409)
    at.reason(DATA_KEY, "gone", "TargetNotFound")
    assert at.get(SECRET, "gone") is None


def test_our_own_secret_in_other_hands_is_not_cleared(at: Desk) -> None:
    """What an apply cannot take away a merge patch does: it is bound to the Secret that was read as well."""
    at.data_key("own", "main")
    at.ready(DATA_KEY, "own")
    between = Between(at, "own")
    at.merge(SECRET, "own", data={"ciphertext.9": OTHERS["note"]})
    at.annotate(DATA_KEY, "own", "kms.keystead.io/reconcile-requested-at", "now")
    between.reached()
    at.delete(SECRET, "own")
    at.secret("own", ciphertext__9=b"theirs")
    held = between.go()
    assert (held.body["data"], held.status) == ({"ciphertext.9": None}, 409)
    at.look(DATA_KEY, "own")
    assert at.data("own")["ciphertext.9"] == b"theirs"

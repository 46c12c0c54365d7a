"""The last use of keys: which calls count, for which keys, and that only a later use replaces an earlier one."""

from __future__ import annotations

import inspect
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

from tests.server.doors import NOW

from keystead.operations.control.registry import CONTROL
from keystead.operations.registry import OPERATIONS
from keystead.operations.world import LastUse
from keystead.server.usage import COUNTED, Uses

EVENTS = count()
ARN = "arn:aws:kms:cluster-1:111122223333:key/"


def answer(key: str, source: str = "") -> SimpleNamespace:
    return SimpleNamespace(key_id=ARN + key, source_key_id=ARN + source)


def test_every_cryptographic_operation_counts_and_says_its_key() -> None:
    """The door's answers must not fail on a response without a key id."""
    rows = OPERATIONS | CONTROL
    assert set(rows) >= COUNTED
    assert all("key_id" in inspect.signature(rows[name].response).parameters for name in COUNTED)
    assert "source_key_id" in inspect.signature(rows["ReEncrypt"].response).parameters


def test_a_use_is_of_its_key_and_time() -> None:
    uses = Uses()
    uses.used("Encrypt", answer("a"), "request-1", f"event-{next(EVENTS)}", NOW)
    found = uses.last_use("a")
    assert found is not None
    assert (found.operation, found.time, found.request_id, uses.last_use("b")) == ("Encrypt", NOW, "request-1", None)


def test_re_encrypt_uses_both_keys() -> None:
    uses = Uses()
    uses.used("ReEncrypt", answer("a", "b"), "r", f"event-{next(EVENTS)}", NOW)
    assert uses.last_use("a") == uses.last_use("b") is not None


def test_each_use_is_an_event_with_an_id_of_its_own_that_stays() -> None:
    uses = Uses()
    for request in ("r1", "r2"):
        uses.used("Encrypt", answer("a"), request, f"event-{next(EVENTS)}", NOW)
    uses.used("Encrypt", answer("b"), "r3", f"event-{next(EVENTS)}", NOW)
    first, other = uses.last_use("a"), uses.last_use("b")
    assert first is not None
    assert other is not None
    assert (first.request_id, other.request_id) == ("r2", "r3")
    assert first.event_id != other.event_id
    assert uses.last_use("a") == uses.own().uses["a"] == dict(uses.all())["a"] == first


def test_a_use_counts_before_what_is_learnt_later() -> None:
    """In whatever order it is looked at."""
    uses, hour = Uses(), timedelta(hours=1)
    uses.merge("a", LastUse("Sign", NOW - hour, "e", "r"))
    uses.used("Encrypt", answer("a"), "r", f"event-{next(EVENTS)}", NOW)
    uses.merge("a", LastUse("Sign", NOW - hour, "e", "r"))
    found = uses.last_use("a")
    assert found is not None
    assert found.operation == "Encrypt"
    assert set(uses.own().uses) == {"a"}


def test_reading_is_no_use() -> None:
    uses = Uses()
    for name in sorted((OPERATIONS.keys() | CONTROL.keys()) - COUNTED):
        uses.used(name, object(), "r", f"event-{next(EVENTS)}", NOW)
    assert uses.last_use("a") is None


def test_what_another_worker_knows_counts_where_it_is_later() -> None:
    uses, hour = Uses(), timedelta(hours=1)
    uses.used("Encrypt", answer("a"), "r", f"event-{next(EVENTS)}", NOW)
    uses.merge("a", LastUse("Decrypt", NOW - hour, "e", "r"))
    found = uses.last_use("a")
    assert found is not None
    assert found.operation == "Encrypt"
    uses.merge("a", LastUse("Sign", NOW + hour, "e", "r"))
    assert uses.last_use("a") == LastUse("Sign", NOW + hour, "e", "r")

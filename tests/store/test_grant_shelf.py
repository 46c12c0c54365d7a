"""Where grants are looked for: never fewer than allow, and of a crowd only a few. The shelf of the read model is on these places."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.builders import APP, NOW, a_grant, a_key, an_app
from tests.hsm.fake import FakeHsm

from keystead.engine.clock import format_time
from keystead.engine.identifiers import key_id_bytes, role_arn
from keystead.engine.record import GrantConstraints, GrantRecord
from keystead.policy import Action, Question, evaluate
from keystead.policy.actions import ACTIONS
from keystead.policy.grants import GrantQuestion, allows
from keystead.resources.vocabulary import GrantOperation
from keystead.store.grant_shelf import GrantShelf

KEY = a_key(FakeHsm())
RAW = key_id_bytes(KEY.key_id)
NOW_TEXT = format_time(NOW)
GRANTABLE = [action for action in Action if ACTIONS[action].grantable]
CONTEXTS = st.dictionaries(st.sampled_from(["a", "A", "b", "c", ""]), st.sampled_from(["x", "X", ""]), max_size=4)


@st.composite
def terms(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["none", "nothing", "equals", "subset"]))
    context = draw(CONTEXTS)
    constraints = {
        "none": UNSET,
        "nothing": GrantConstraints(),
        "equals": GrantConstraints(encryption_context_equals=context),
        "subset": GrantConstraints(encryption_context_subset=context),
    }[kind]
    operations = draw(st.lists(st.sampled_from(GrantOperation), min_size=1, max_size=4, unique=True))
    return {"operations": sorted(operations), "constraints": constraints}


def shelved(*grants: GrantRecord) -> GrantShelf:
    shelf = GrantShelf()
    for grant in grants:
        shelf.put(RAW, grant.name, grant)
    return shelf


def crowd(count: int, **how: Any) -> list[GrantRecord]:
    """Grants of Decrypt, each under a context of its own: what a controller of volumes makes."""
    return [
        a_grant(KEY, GrantOperation.DECRYPT, name=f"g{n}", grant_id=f"{n:064x}", subset={"app": "volumes", "volume": f"v-{n}"}, **how)
        for n in range(count)
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(terms(), st.sampled_from([APP, role_arn("111122223333", "reader")]), st.booleans()), max_size=8),
    st.sampled_from(GRANTABLE),
    CONTEXTS,
)
def test_every_grant_that_allows_is_found_and_none_that_was_taken_out(made, action, context):
    everyone = [
        a_grant(KEY, *each["operations"], name=f"g{n}", grant_id=f"{n:064x}", to=to, constraints=each["constraints"])
        for n, (each, to, _) in enumerate(made)
    ]
    shelf = shelved(*everyone)
    for grant, (_, _, stays) in zip(everyone, made, strict=True):
        if not stays:
            shelf.drop(RAW, grant.name, grant)
    held = [grant for grant, (_, _, stays) in zip(everyone, made, strict=True) if stays]
    question = GrantQuestion(an_app(), action, KEY, context, NOW_TEXT)
    found = shelf.at(RAW, APP, action, context)
    assert {grant.name for grant in held if allows(grant, question)} <= {grant.name for grant in found}
    assert {grant.name for grant in found} <= {grant.name for grant in held if grant.grantee_principal == APP}
    assert len(found) == len({grant.name for grant in found})
    for grant in held:
        shelf.drop(RAW, grant.name, grant)
    assert shelf.at(RAW, APP, action, context) == ()
    assert not shelf._owners


def test_create_grant_finds_the_grants_whose_constraint_the_new_one_is_measured_by():
    grant = a_grant(KEY, GrantOperation.CREATE_GRANT, GrantOperation.DECRYPT, equals={"app": "x"})
    assert shelved(grant).at(RAW, APP, Action.CREATE_GRANT, {}) == (grant,)


def test_what_no_grant_gives_is_not_looked_for():
    shelf = shelved(a_grant(KEY, *GrantOperation), a_grant(KEY, *GrantOperation, name="g2", subset={"a": "b"}))
    for context in ({}, {"a": "b"}):
        assert shelf.at(RAW, APP, Action.GENERATE_RANDOM, context) == ()
        assert shelf.at(RAW, APP, Action.REVOKE_GRANT, context) == ()


@dataclass
class Looks:
    """The grants that the policy looked at."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, grant: Any, question: Any) -> bool:
        self.seen.append(grant.grant_id)
        return allows(grant, question)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(sys.modules[evaluate.__module__], "allows", made)
    return made


def decided(shelf: GrantShelf, action: Action, context: dict[str, str]) -> bool:
    caller = an_app()
    answer = evaluate(Question(caller, action, KEY, shelf.at(RAW, caller.principal, action, context), context, NOW))
    return getattr(answer, "allowed", None) is True


def test_other_peoples_5000_grants_are_not_looked_at(looks):
    mine = a_grant(KEY, GrantOperation.DECRYPT, name="mine", grant_id="f" * 64)
    shelf = shelved(mine, *crowd(5_000, to=role_arn("111122223333", "reader")))
    assert decided(shelf, Action.DECRYPT, {})
    assert looks.seen == [mine.grant_id]


def test_of_ones_own_5000_grants_under_contexts_of_their_own_one_is_looked_at(looks):
    shelf = shelved(*crowd(5_000))
    assert decided(shelf, Action.DECRYPT, {"App": "volumes", "volume": "v-4321"})
    assert looks.seen in ([f"{4321:064x}"], [f"{0:064x}", f"{4321:064x}"])
    looks.seen.clear()
    assert not decided(shelf, Action.DECRYPT, {"App": "volumes", "volume": "v-none"})
    assert not decided(shelf, Action.DECRYPT, {})
    assert not decided(shelf, Action.ENCRYPT, {"App": "volumes", "volume": "v-4321"})
    assert looks.seen in ([], [f"{0:064x}"])


def test_of_5000_equal_contexts_one_is_looked_at(looks):
    grants = [
        a_grant(KEY, GrantOperation.DECRYPT, name=f"g{n}", grant_id=f"{n:064x}", equals={"Volume": f"v-{n}"}) for n in range(5_000)
    ]
    shelf = shelved(*grants)
    assert decided(shelf, Action.DECRYPT, {"volume": "v-17"})
    assert looks.seen == [f"{17:064x}"]

"""The grant for a call is found as by a look at each, in the order that policy.grant_needs says; and of a crowd hardly any is looked at."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from tests.builders import APP, NOW, OTHER_UID, a_grant, a_key, an_app
from tests.hsm.fake import FakeHsm

from keystead.engine.clock import format_time
from keystead.engine.identifiers import role_arn
from keystead.engine.managed import DATA_KEYS_SERVICE
from keystead.engine.record import GrantConstraints, GrantRecord
from keystead.operations.control.child_grants import parents_of
from keystead.policy import Action, Question, evaluate
from keystead.policy.actions import ACTIONS
from keystead.policy.caller import service_caller
from keystead.policy.grant_needs import Wanted, met_by, needs_of, rank_of
from keystead.policy.grants import GrantQuestion, allows
from keystead.policy.question import Carried
from keystead.resources.vocabulary import GrantOperation
from keystead.store import grant_shelf, ordered, sieve
from keystead.store.grant_shelf import GrantShelf
from keystead.store.ordered import Ordered
from keystead.store.sieve import Sieve

KEY = a_key(FakeHsm())
NOW_TEXT = format_time(NOW)
GRANTABLE = [action for action in Action if ACTIONS[action].grantable]
CONTEXTS = st.dictionaries(st.sampled_from(["a", "A", "b", "c", "source", ""]), st.sampled_from(["x", "X", "s", ""]), max_size=4)
SOURCES = ["", "s", "t"]
ENDS = [UNSET, *(format_time(NOW + timedelta(hours=hours)) for hours in (-2, -1, 1, 2))]
READER = role_arn("111122223333", "reader")
CALLERS = [an_app(), service_caller(KEY.account, KEY.namespace, DATA_KEYS_SERVICE)]


@st.composite
def constraints(draw: st.DrawFn) -> GrantConstraints | UnsetType:
    kind = draw(st.sampled_from(["none", "nothing", "equals", "subset"]))
    if kind == "none":
        return UNSET
    source = draw(st.sampled_from([UNSET, UNSET, *SOURCES]))
    context = {} if kind == "nothing" else {f"encryption_context_{kind}": draw(CONTEXTS)}
    return GrantConstraints(source_arn=source, **context)


@st.composite
def grants(draw: st.DrawFn) -> list[GrantRecord]:
    """Of one key, some of them made when its namespace was another."""
    return [
        a_grant(
            KEY,
            *draw(st.lists(st.sampled_from(GrantOperation), min_size=1, max_size=4, unique=True)),
            name=f"g{n}",
            grant_id=f"{n:064x}",
            constraints=draw(constraints()),
            expires_at=draw(st.sampled_from(ENDS)),
            namespace_uid=draw(st.sampled_from([KEY.namespace_uid, KEY.namespace_uid, OTHER_UID])),
            **draw(grantees()),
        )
        for n in range(draw(st.integers(0, 12)))
    ]


def grantees() -> st.SearchStrategy[dict[str, Any]]:
    service = {"grantee_principal": UNSET, "grantee_service_principal": DATA_KEYS_SERVICE}
    return st.sampled_from([{"to": APP}, {"to": APP}, {"to": READER}, service])


def shelved(*held: GrantRecord) -> GrantShelf:
    shelf = GrantShelf()
    for grant in held:
        shelf.put(grant)
    return shelf


@pytest.fixture(scope="class", params=["few", "many"])
def crowded(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same of a handful as of crowds: what is only made for many is made for two."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "many":
            patch.setattr(grant_shelf, "FEW", 1)
            patch.setattr(sieve, "MOST", 2)
            patch.setattr(ordered, "MOST", 2)
        yield


def reason(found: Sequence[GrantRecord], question: GrantQuestion) -> str | None:
    """The first that allows."""
    return next((grant.grant_id for grant in found if allows(grant, question)), None)


def in_order(held: Sequence[GrantRecord], operation: GrantOperation) -> list[GrantRecord]:
    needs = {grant.grant_id: needs_of(grant).get(operation, frozenset()) for grant in held}
    return sorted(held, key=lambda grant: rank_of(grant, needs[grant.grant_id]))


@pytest.mark.usefixtures("crowded")
@settings(max_examples=100, deadline=None)
@given(
    grants(),
    st.sets(st.integers(0, 11)),
    st.sampled_from([action for action in GRANTABLE if action is not Action.CREATE_GRANT]),
    CONTEXTS,
    st.sampled_from(SOURCES),
    st.sampled_from(CALLERS),
)
def test_the_grant_found_is_the_first_of_all_that_allow(made, gone, action, context, source, caller):
    shelf = shelved(*made)
    for n, grant in enumerate(made):
        if n in gone:
            shelf.drop(grant)
    held = [grant for n, grant in enumerate(made) if n not in gone]
    question = GrantQuestion(caller, action, KEY, context, NOW_TEXT, Carried(source_arn=source))
    found = shelf.at(KEY, caller, action, context, source)
    assert len(found) <= 1
    assert reason(found, question) == reason(in_order(held, ACTIONS[action].grantable), question)
    own = [grant for grant in held if grant.grantee_principal == APP and grant.namespace_uid == KEY.namespace_uid]
    assert list(shelf.every(KEY, APP)) == own
    for grant in held:
        shelf.drop(grant)
    assert not shelf._owners


@pytest.mark.usefixtures("crowded")
@settings(max_examples=100, deadline=None)
@given(
    grants(),
    st.sets(st.sampled_from(GrantOperation), min_size=1, max_size=3),
    constraints(),
    st.sampled_from(SOURCES),
    st.sampled_from(CALLERS),
)
def test_create_grant_finds_a_grant_that_covers_the_new_one_where_there_is_one(made, operations, terms, source, caller):
    held = [
        grant if n % 2 else a_grant(KEY, *{*grant.operations, GrantOperation.CREATE_GRANT, *operations}, **_as(grant))
        for n, grant in enumerate(made)
    ]
    question = GrantQuestion(caller, Action.CREATE_GRANT, KEY, {}, NOW_TEXT, Carried(source_arn=source))
    wanted = Wanted(sorted(operations), terms)
    found = shelved(*held).at(KEY, caller, Action.CREATE_GRANT, {}, source, wanted)
    assert len(found) <= 1
    every = parents_of(in_order(held, GrantOperation.CREATE_GRANT), *wanted)
    assert reason(parents_of(found, *wanted), question) == reason(every, question)


def _as(grant: GrantRecord) -> dict[str, Any]:
    kept = ("name", "grant_id", "constraints", "expires_at", "namespace_uid", "grantee_principal", "grantee_service_principal")
    return {member: getattr(grant, member) for member in kept}


def test_what_no_grant_gives_is_not_looked_for():
    shelf = shelved(a_grant(KEY, *GrantOperation), a_grant(KEY, *GrantOperation, name="g2", subset={"a": "b"}))
    for context in ({}, {"a": "b"}):
        assert shelf.at(KEY, an_app(), Action.GENERATE_RANDOM, context) == ()
        assert shelf.at(KEY, an_app(), Action.REVOKE_GRANT, context) == ()


def test_of_grants_that_allow_the_one_that_ends_last_is_the_reason_then_the_least_bound_then_the_first_by_id():
    def one(n: int, **how: Any) -> GrantRecord:
        return a_grant(KEY, GrantOperation.DECRYPT, name=f"g{n}", grant_id=f"{n:064x}", **how)

    best_first = [
        one(7),
        one(8),
        one(5, equals={"a": "b", "c": "d"}),
        one(3, subset={"a": "b"}),
        one(4, subset={"c": "d"}),
        one(6, subset={"a": "b"}),
        one(2, expires_at=ENDS[4]),
        one(1, subset={"a": "b"}, expires_at=ENDS[4]),
        one(0, expires_at=ENDS[3]),
    ]
    shelf = shelved(*best_first)
    for grant in best_first:
        assert shelf.at(KEY, an_app(), Action.DECRYPT, {"a": "b", "C": "d"}) == (grant,)
        shelf.drop(grant)


@pytest.mark.usefixtures("crowded")
@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 30), unique=True), st.sets(st.integers(0, 30)), st.integers(-35, 35), st.integers(-35, 35))
def test_records_in_runs_are_a_sorted_list(added, gone, first, end):
    runs = Ordered(lambda number: (f"{number:02}",))
    for number in added:
        runs.put(number)
    for number in gone & set(added):
        runs.drop(number)
    wanted = sorted(set(added) - gone)
    assert (list(runs), len(runs), bool(runs)) == (wanted, len(wanted), bool(wanted))
    assert (list(runs[first:end]), list(runs[::2])) == (wanted[first:end], wanted[::2])
    assert [runs[n] for n in range(-len(wanted), len(wanted))] == wanted + wanted
    with pytest.raises(IndexError):
        runs[len(wanted)]
    with pytest.raises(IndexError):
        runs[-len(wanted) - 1]


NEEDS = st.frozensets(st.integers(0, 5), max_size=4)


@pytest.mark.usefixtures("crowded")
@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.integers(0, 40), NEEDS, max_size=15), st.sets(st.integers(0, 40)), NEEDS)
def test_a_sieve_finds_the_first_row_whose_needs_are_met(rows, gone, met):
    made = Sieve((f"{rank:02}", rank, needs) for rank, needs in rows.items())
    for rank in gone & rows.keys():
        made.drop(f"{rank:02}")
    left = {rank: needs for rank, needs in rows.items() if rank not in gone}
    found = made.first(met)
    assert (None if found is None else found[1]) == min((rank for rank, needs in left.items() if needs <= met), default=None)
    assert (len(made), bool(made)) == (len(left), bool(left))


@dataclass
class Looks:
    """What a decision looked at: grants, and needs that the index asked about."""

    grants: list[str] = field(default_factory=list)
    needs: int = 0

    def __call__(self, grant: Any, question: Any) -> bool:
        self.grants.append(grant.grant_id)
        return allows(grant, question)

    def met_by(self, *asked: Any) -> Met:
        return Met(met_by(*asked), self)


class Met(set[Any]):
    """The needs that a call meets. Each look at one of a grant's is counted."""

    def __init__(self, met: set[Any], looks: Looks) -> None:
        super().__init__(met)
        self._looks = looks

    def __iter__(self) -> Iterator[Any]:
        for need in super().__iter__():
            self._looks.needs += 1
            yield need

    def __contains__(self, need: object) -> bool:
        self._looks.needs += 1
        return super().__contains__(need)

    def __ge__(self, needs: Any) -> bool:
        self._looks.needs += len(needs)
        return super().__ge__(needs)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(sys.modules[evaluate.__module__], "allows", made)
    monkeypatch.setattr(grant_shelf, "met_by", made.met_by)
    return made


def crowd(count: int, **how: Any) -> list[GrantRecord]:
    """Grants of Decrypt, each under a context of its own: what a controller of volumes makes."""
    return [one_of(n, subset={"app": "volumes", "volume": f"v-{n}"}, **how) for n in range(count)]


def one_of(n: int, *more: GrantOperation, **how: Any) -> GrantRecord:
    return a_grant(KEY, GrantOperation.DECRYPT, *more, name=f"g{n}", grant_id=f"{n:064x}", **how)


def decided(shelf: GrantShelf, action: Action, context: dict[str, str], wanted: Wanted | None = None) -> bool:
    caller = an_app()
    found = shelf.at(KEY, caller, action, context, "", wanted)
    answer = evaluate(Question(caller, action, KEY, found if wanted is None else parents_of(found, *wanted), context, NOW))
    return getattr(answer, "allowed", None) is True


def test_other_peoples_5000_grants_are_not_looked_at(looks):
    mine = a_grant(KEY, GrantOperation.DECRYPT, name="mine", grant_id="f" * 64)
    shelf = shelved(mine, *crowd(5_000, to=READER))
    assert decided(shelf, Action.DECRYPT, {})
    assert (looks.grants, looks.needs) == ([mine.grant_id], 0)


def test_of_ones_own_5000_grants_under_contexts_of_their_own_one_is_looked_at(looks):
    shelf = shelved(*crowd(5_000))
    assert decided(shelf, Action.DECRYPT, {"App": "volumes", "volume": "v-4321"})
    assert looks.grants == [f"{4321:064x}"]
    looks.grants.clear()
    assert not decided(shelf, Action.DECRYPT, {"App": "volumes", "volume": "v-none"})
    assert not decided(shelf, Action.DECRYPT, {})
    assert not decided(shelf, Action.ENCRYPT, {"App": "volumes", "volume": "v-4321"})
    assert looks.grants == []
    assert looks.needs < 20


EQUAL = {"equals": {"Volume": "v-1"}}
ALIKE: dict[str, dict[str, Any]] = {
    "no constraint": {},
    "all of a context": EQUAL,
    "a part of a context": {"subset": {"app": "x", "volume": "v-1"}},
    "a source": {"constraints": GrantConstraints(source_arn="arn:aws:s3:::bucket")},
    "nothing": {"constraints": GrantConstraints()},
    "a context of none": {"constraints": GrantConstraints(encryption_context_subset={})},
    "another namespace of the name": {"namespace_uid": OTHER_UID},
}


@pytest.mark.parametrize("how", ALIKE.values(), ids=ALIKE)
def test_of_5000_grants_in_one_place_that_are_over_or_do_not_fit_one_is_looked_at_at_most(looks, how):
    ended = format_time(NOW - timedelta(hours=1))
    shelf = shelved(*(one_of(n, expires_at=ended, **how) for n in range(5_000)))
    for context in ({}, {"volume": "v-1"}, {"volume": "v-1", "app": "x"}, {"volume": "v-2", "app": "x"}):
        looks.grants.clear()
        looks.needs = 0
        assert not decided(shelf, Action.DECRYPT, context)
        assert len(looks.grants) <= 1
        assert looks.needs < 20


@pytest.mark.parametrize(
    "how",
    [
        lambda n: {"equals": {"volume": f"w-{n}"}},
        lambda n: {"equals": {"volume": "v-1", "n": f"{n}"}},
        lambda n: {"subset": {"volume": "v-1", "n": f"{n}"}},
        lambda n: {"constraints": GrantConstraints(source_arn=f"arn:aws:s3:::bucket-{n}")},
        lambda n: {"constraints": GrantConstraints(encryption_context_subset={"volume": "v-1"}, source_arn=f"arn:{n}")},
    ],
    ids=["equals", "equals of more", "subset", "source", "source and subset"],
)
def test_of_5000_grants_that_each_need_something_else_none_is_looked_at(looks, how):
    shelf = shelved(*(one_of(n, **how(n)) for n in range(5_000)))
    for context in ({}, {"volume": "v-1"}, {"volume": "v-1", "app": "x"}):
        looks.grants.clear()
        looks.needs = 0
        assert not decided(shelf, Action.DECRYPT, context)
        assert looks.grants == []
        assert looks.needs < 20


NEARLY = [dict.fromkeys(pairs, "") for pairs in combinations([f"k{n}" for n in range(18)], 5)]
"""8,568 contexts of few pairs: none is told from the others by one of its pairs."""


def test_of_5000_grants_that_lack_one_pair_of_the_context_each_pair_rules_out_many_at_once(looks):
    shelf = shelved(*(one_of(n, subset={**pairs, f"z{n % 3}": ""}) for n, pairs in enumerate(NEARLY[:5_000])))
    assert not decided(shelf, Action.DECRYPT, {f"k{n}": "" for n in range(18)})
    assert looks.grants == []
    assert looks.needs < 1_000
    assert decided(shelf, Action.DECRYPT, {**{f"k{n}": "" for n in range(18)}, "z1": ""})


def test_of_5000_grants_that_all_fit_and_are_over_one_is_looked_at(looks):
    ended = format_time(NOW - timedelta(hours=1))
    shelf = shelved(*(one_of(n, subset=pairs, expires_at=ended) for n, pairs in enumerate(NEARLY[:5_000])))
    assert not decided(shelf, Action.DECRYPT, {f"k{n}": "" for n in range(18)})
    assert len(looks.grants) == 1
    assert looks.needs < 1_000


def test_of_5000_grants_that_do_not_cover_a_new_one_none_is_looked_at(looks):
    lacking = (GrantOperation.CREATE_GRANT, GrantOperation.ENCRYPT)
    shelf = shelved(*(one_of(n, *lacking, subset=pairs) for n, pairs in enumerate(NEARLY[:5_000])))
    terms = GrantConstraints(encryption_context_equals={f"k{n}": "" for n in range(18)})
    assert not decided(shelf, Action.CREATE_GRANT, {}, Wanted([GrantOperation.GENERATE_DATA_KEY], terms))
    assert looks.grants == []
    assert looks.needs < 2_000
    assert decided(shelf, Action.CREATE_GRANT, {}, Wanted([GrantOperation.DECRYPT], terms))


def test_what_is_added_to_a_crowd_or_leaves_it_moves_no_more_than_a_block():
    shelf = shelved(*(one_of(n, subset={**pairs, f"z{n % 3}": ""}) for n, pairs in enumerate(NEARLY)))
    filed = [held for offer in shelf._owners.values() for held in offer.offers[GrantOperation.DECRYPT].filed.values()]
    assert all(isinstance(held, Sieve) for held in filed)
    runs = [block.rows for held in filed for block in held._blocks] + shelf._owners[KEY.key_id, KEY.namespace_uid, APP].every._runs
    assert max(map(len, runs)) <= ordered.MOST == sieve.MOST
    assert sum(map(len, runs)) == 2 * len(NEARLY)

"""Bounds on keys, aliases and grants, as plans see them: one more than may be is not made, and what is there stays."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import an_alias
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_kms_key, a_settled_key, alias_facts, grant_facts, key_facts

from keystead.engine.bounds import ALIASES_PER_KEY, GRANTS_PER_KEY, KEYS_PER_NAMESPACE
from keystead.engine.plan.alias import ClaimAlias, WriteAlias, plan_alias
from keystead.engine.plan.grant import MakeGrant, plan_grant
from keystead.engine.plan.key import CreateKey, plan_key
from keystead.resources.reasons import Reason


@pytest.fixture
def hsm() -> FakeHsm:
    return FakeHsm()


def test_the_bounds_are_awss() -> None:
    assert (KEYS_PER_NAMESPACE, ALIASES_PER_KEY, GRANTS_PER_KEY) == (100_000, 50, 50_000)


def refusal(plan: Any) -> str:
    assert plan.step is None
    assert plan.obstacle.reason is Reason.QUOTA_EXCEEDED
    message: str = plan.obstacle.message
    return message


def test_a_key_is_born_while_there_is_room(hsm: FakeHsm) -> None:
    newborn: dict[str, Any] = {"record": None, "opened": None}
    assert isinstance(plan_key(key_facts(hsm, **newborn, keys=(2, 3))).step, CreateKey)
    assert refusal(plan_key(key_facts(hsm, **newborn, keys=(3, 3)))) == "keys of the namespace: there are 3, and 3 may be"


def test_a_key_that_is_there_is_never_over_the_bound(hsm: FakeHsm) -> None:
    """A bound that was lowered takes nothing away."""
    assert plan_key(key_facts(hsm, keys=(9, 3))).obstacle is None


def test_keysteads_own_key_always_has_room(hsm: FakeHsm) -> None:
    own = a_kms_key(about={"name": "aws-keystead"})
    assert isinstance(plan_key(key_facts(hsm, key=own, record=None, opened=None, keys=(3, 3))).step, CreateKey)


def test_an_alias_claims_its_name_while_the_key_has_room(hsm: FakeHsm) -> None:
    assert isinstance(plan_alias(alias_facts(hsm, record=None, opened=None, aliases=49)).step, ClaimAlias)
    assert "aliases of the key: there are 50, and 50 may be" in refusal(plan_alias(alias_facts(hsm, record=None, opened=None, aliases=50)))
    assert plan_alias(alias_facts(hsm, aliases=50)).obstacle is None


def test_an_alias_does_not_move_to_a_full_key(hsm: FakeHsm) -> None:
    here, full = a_settled_key(hsm), a_settled_key(hsm, n=2)
    facts: dict[str, Any] = {"key": full, "target": here, "record": an_alias(here)}
    assert refusal(plan_alias(alias_facts(hsm, **facts, aliases=50)))
    assert isinstance(plan_alias(alias_facts(hsm, **facts, aliases=49)).step, WriteAlias)


def test_a_grant_is_made_while_the_key_has_room(hsm: FakeHsm) -> None:
    assert isinstance(plan_grant(grant_facts(hsm, record=None, opened=None, grants=49_999)).step, MakeGrant)
    assert "grants of the key" in refusal(plan_grant(grant_facts(hsm, record=None, opened=None, grants=50_000)))
    assert plan_grant(grant_facts(hsm, grants=50_000)).obstacle is None

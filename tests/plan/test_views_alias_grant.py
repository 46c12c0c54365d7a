"""Views of KmsAlias and KmsGrant: what status shows of a record, and which events, each once."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import NOW, a_grant, an_alias
from tests.hsm.fake import FakeHsm
from tests.plan.facts import DIGEST, a_kms_alias, a_kms_grant, a_settled_key
from tests.plan.test_views import DAMAGED, LATER, OPENED, TAKEN, ready

from keystead.engine.plan.common import Obstacle
from keystead.engine.record import AliasRecord, GrantRecord
from keystead.engine.view.alias import alias_notices, alias_status
from keystead.engine.view.grant import grant_notices, grant_status
from keystead.resources import names
from keystead.resources.kms_alias import KmsAlias
from keystead.resources.kms_grant import KmsGrant
from keystead.resources.model import to_wire
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import GrantOperation

# KmsAlias


def named(alias: KmsAlias, record: AliasRecord | None, obstacle: Obstacle | None = None, now: Any = NOW) -> KmsAlias:
    """The alias with the status that a pass would write."""
    return replace(alias, status=alias_status(alias, record, OPENED if record else None, obstacle, now))


def test_an_aliass_status_shows_its_claim(hsm: FakeHsm) -> None:
    record = an_alias(a_settled_key(hsm))
    alias = named(a_kms_alias(), record)
    status = alias.status
    assert (status.target_key_id, status.alias_arn) == (record.key_id, f"arn:aws:kms:cluster-1:{record.account}:alias/app")
    assert (status.record_seq, status.record_digest) == (3, DIGEST)
    assert ready(status.conditions) == ("True", "Available")
    assert named(alias, record, now=LATER) == alias  # an idle pass writes nothing


@pytest.mark.parametrize("obstacle", [TAKEN, Obstacle(Reason.ALIAS_TAKEN, "held by first")])
def test_a_claim_that_is_not_this_objects_is_not_shown(hsm: FakeHsm, obstacle: Obstacle) -> None:
    record = an_alias(a_settled_key(hsm))
    alias = named(named(a_kms_alias(), record), record, obstacle)
    text = str(to_wire(alias.status))
    assert all(secret not in text for secret in (record.key_id, record.account, DIGEST))
    assert ready(alias.status.conditions)[1] == obstacle.reason


def test_damage_leaves_what_an_alias_showed_before(hsm: FakeHsm) -> None:
    alias = named(a_kms_alias(), an_alias(a_settled_key(hsm)))
    damaged = named(alias, None, DAMAGED, LATER).status
    assert (damaged.target_key_id, damaged.record_digest) == (alias.status.target_key_id, DIGEST)
    assert ready(damaged.conditions) == ("False", "RecordIntegrity")


def test_an_alias_that_waits_for_its_new_key_shows_the_old_one(hsm: FakeHsm) -> None:
    record = an_alias(a_settled_key(hsm))
    waiting = named(a_kms_alias(), record, Obstacle(Reason.DEPENDENCY_NOT_FOUND, "no"))
    assert waiting.status.target_key_id == record.key_id
    assert ready(waiting.status.conditions) == ("False", "DependencyNotFound")


def test_each_event_of_an_alias_is_told_once(hsm: FakeHsm) -> None:
    first = an_alias(a_settled_key(hsm))
    second = replace(first, key_id=a_settled_key(hsm, n=2).key_id, seq=2, prev=DIGEST)
    alias, told = a_kms_alias(), []
    for record in (first, first, second, second):
        told.append([notice.reason for notice in alias_notices(alias, record, None)])
        alias = named(alias, record)
    assert told == [["Created"], [], ["Retargeted"], []]
    assert [notice.reason for notice in alias_notices(a_kms_alias(), second, None)] == ["Reattached"]
    adopting = a_kms_alias(annotations={names.ADOPT: names.ADOPT_TRUE})
    assert [notice.reason for notice in alias_notices(adopting, second, None)] == ["Adopted"]


# KmsGrant

OVER = Obstacle(Reason.GRANT_EXPIRED, "the grant ended")


def granted(grant: KmsGrant, record: GrantRecord | None, obstacle: Obstacle | None = None, now: Any = NOW) -> KmsGrant:
    """The grant with the status that a pass would write."""
    return replace(grant, status=grant_status(grant, record, OPENED if record else None, obstacle, now))


def test_a_grants_status_shows_its_record(hsm: FakeHsm) -> None:
    record = a_grant(a_settled_key(hsm), GrantOperation.DECRYPT, expires_at="2026-12-01T00:00:00Z")
    grant = granted(a_kms_grant(), record)
    status = grant.status
    assert (status.grant_id, status.key_id, status.grantee_principal) == (record.grant_id, record.key_id, record.grantee_principal)
    assert status.expiration_time is not UNSET
    assert status.expiration_time.isoformat() == "2026-12-01T00:00:00+00:00"
    assert ready(status.conditions) == ("True", "Available")
    assert granted(grant, record, now=LATER) == grant


@pytest.mark.parametrize("obstacle", [TAKEN, DAMAGED])
def test_a_grant_that_is_not_this_objects_is_not_shown(hsm: FakeHsm, obstacle: Obstacle) -> None:
    record = a_grant(a_settled_key(hsm), GrantOperation.DECRYPT)
    text = str(to_wire(granted(a_kms_grant(), record, obstacle).status))
    assert all(secret not in text for secret in (record.grant_id, record.key_id, record.account))
    assert [notice.reason for notice in grant_notices(a_kms_grant(), record, obstacle)] == [obstacle.reason]


def test_the_end_of_a_grant_is_told_once_and_still_shown(hsm: FakeHsm) -> None:
    record = a_grant(a_settled_key(hsm), GrantOperation.DECRYPT)
    grant, told = a_kms_grant(), []
    for obstacle in (None, None, OVER, OVER):
        told.append([notice.reason for notice in grant_notices(grant, record, obstacle)])
        grant = granted(grant, record, obstacle)
    assert told == [["Created"], [], ["Expired"], []]
    assert grant.status.grant_id == record.grant_id
    assert ready(grant.status.conditions, "Stalled") == ("True", "GrantExpired")


def test_a_grant_that_was_over_at_birth_says_only_that(hsm: FakeHsm) -> None:
    notices = grant_notices(a_kms_grant(), None, OVER)
    assert [(notice.reason, notice.warning) for notice in notices] == [("Expired", False)]
    assert granted(a_kms_grant(), None, OVER).status.grant_id is UNSET


def test_a_grant_that_is_held_again_or_adopted_says_which(hsm: FakeHsm) -> None:
    record = a_grant(a_settled_key(hsm), GrantOperation.DECRYPT, seq=2, prev=DIGEST)
    adopting = a_kms_grant(annotations={names.ADOPT: names.ADOPT_TRUE})
    assert [[n.reason for n in grant_notices(grant, record, None)] for grant in (a_kms_grant(), adopting)] == [["Reattached"], ["Adopted"]]

"""GetKeyLastUsage: what is known, what is not, and from when uses were counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.builders import CREATED, Rbac, a_control_world, a_grant, a_key, an_alias, another_tenants_key
from tests.operations.control.steps import Run

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import key_arn
from keystead.engine.keystate import STATES
from keystead.errors import AccessDeniedError, NotFoundException
from keystead.operations.control.usage import GetKeyLastUsageRequest, KeyLastUsageData
from keystead.operations.world import LastUse
from keystead.resources.vocabulary import GrantOperation

SINCE = datetime(2026, 11, 20, tzinfo=UTC)
USE = LastUse("Decrypt", datetime(2026, 11, 25, 9, 30, tzinfo=UTC), "event-1", "request-1")


def run(hsm, *records, **how) -> Run:
    rbac = how.pop("rbac", None) or Rbac()
    return Run(hsm, a_control_world(hsm, *records, **how), rbac=rbac)


def usage_of(go, key):
    return go(GetKeyLastUsageRequest(key_id=key.key_id))


def test_the_last_use_is_told(hsm):
    key, other = a_key(hsm), a_key(hsm, n=2)
    go = run(hsm, key, other, tracking_since=SINCE)
    go.world.keys.uses[key.key_id] = USE
    answer = usage_of(go, key)
    assert answer.key_id == key_arn(key.region, key.account, key.key_id)
    assert answer.key_last_usage == KeyLastUsageData(
        operation="Decrypt", timestamp=USE.time, cloud_trail_event_id="event-1", kms_request_id="request-1"
    )
    assert answer.key_creation_date == parse_time(CREATED)
    assert usage_of(go, other).key_last_usage == KeyLastUsageData()


@pytest.mark.parametrize(
    ("since", "shown"),
    [(SINCE, SINCE), (datetime(2026, 1, 1, tzinfo=UTC), parse_time(CREATED)), (None, None)],
    ids=["after the key", "before the key", "never"],
)
def test_tracking_begins_with_the_key_or_with_the_counting_whichever_is_later(hsm, since, shown):
    key = a_key(hsm)
    assert usage_of(run(hsm, key, tracking_since=since), key).tracking_start_date == shown


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("bound", [True, False])
def test_it_is_told_in_every_state_and_of_an_orphan(hsm, state, bound):
    # Assumed: newer than the published table, and a read.
    key = a_key(hsm, state=state, bound=bound)
    usage_of(run(hsm, key), key)


def test_it_needs_its_right(hsm):
    key = a_key(hsm)
    go = run(hsm, key, a_grant(key, *GrantOperation))
    usage_of(go, key)
    assert [(review.verb, review.name) for review in go.rbac.asked] == [("getkeylastusage", "key-1")]
    refused = run(hsm, key, a_grant(key, *GrantOperation), rbac=Rbac(answer=False))
    assert type(refused.refusal(GetKeyLastUsageRequest(key_id=key.key_id))) is AccessDeniedError


@pytest.mark.parametrize("exists", [True, False])
def test_another_tenants_use_is_not_told(hsm, exists):
    theirs = another_tenants_key(hsm)
    go = run(hsm, *([theirs] if exists else []))
    go.world.keys.uses[theirs.key_id] = USE
    error = go.refusal(GetKeyLastUsageRequest(key_id=key_arn(theirs.region, theirs.account, theirs.key_id)))
    assert type(error) is AccessDeniedError
    assert "the resource does not exist in this Region" in error.message
    assert type(go.refusal(GetKeyLastUsageRequest(key_id=theirs.key_id))) is NotFoundException


def test_an_alias_is_no_key_id_here(hsm):
    key = a_key(hsm)
    assert run(hsm, key, an_alias(key)).refusal(GetKeyLastUsageRequest(key_id="alias/app")).message == "Invalid keyId 'alias/app'"

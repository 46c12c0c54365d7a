"""ListAliases: of one account and region, by key, in pages."""

from __future__ import annotations

import pytest
from tests.builders import (
    ACCOUNT,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    OTHER_UID,
    REGION,
    Rbac,
    a_control_world,
    a_key,
    an_alias,
    an_app,
    another_tenants_key,
)
from tests.operations.control.steps import Run

from keystead.engine.identifiers import alias_arn, key_arn
from keystead.errors import (
    AccessDeniedError,
    InvalidMarkerError,
    NotFoundException,
    ValidationError,
)
from keystead.operations.control.alias_lists import ListAliasesRequest

NAME = "alias/app"
ARN = alias_arn(REGION, ACCOUNT, NAME)


def run(hsm, *records, **how) -> Run:
    return Run(hsm, a_control_world(hsm, *records), **how)


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def listed(answer) -> list[str]:
    return [entry.alias_name for entry in answer.aliases]


def test_a_list_has_the_aliases_of_the_account_and_region_in_the_order_of_their_names(hsm):
    one, two, theirs = a_key(hsm), a_key(hsm, n=2), another_tenants_key(hsm)
    elsewhere = a_key(hsm, n=3, region="cluster-2")
    records = [an_alias(two, "alias/b"), an_alias(one, "alias/c"), an_alias(one, "alias/a"), an_alias(elsewhere, "alias/d")]
    stale = an_alias(one, "alias/stale", namespace_uid=OTHER_UID)
    go = run(hsm, one, two, theirs, elsewhere, *records, stale, an_alias(theirs, "alias/theirs"))
    answer = go(ListAliasesRequest())
    assert (listed(answer), answer.truncated, answer.next_marker) == (["alias/a", "alias/b", "alias/c"], False, None)
    assert listed(go(ListAliasesRequest(key_id=one.key_id))) == ["alias/a", "alias/c"]
    assert listed(go(ListAliasesRequest(key_id=arn(two)))) == ["alias/b"]
    other = an_app(account=OTHER_ACCOUNT, namespace=OTHER_NAMESPACE)
    assert listed(go(ListAliasesRequest(), other)) == ["alias/theirs"]


def test_an_entry_has_aws_members(hsm):
    key = a_key(hsm)
    entry = run(hsm, key, an_alias(key, updated="2026-11-02T00:00:00Z"))(ListAliasesRequest()).aliases[0]
    assert (entry.alias_name, entry.alias_arn, entry.target_key_id) == (NAME, ARN, key.key_id)
    assert (entry.creation_date.isoformat(), entry.last_updated_date.day) == ("2026-11-01T00:00:00+00:00", 2)


def test_pages_give_every_alias_once(hsm):
    key = a_key(hsm)
    go = run(hsm, key, *[an_alias(key, f"alias/{n:03}") for n in range(120)])
    found, marker = [], None
    for size in (50, 50, 20):
        answer = go(ListAliasesRequest(marker=marker))
        assert (len(answer.aliases), answer.truncated) == (size, answer.next_marker is not None)
        found += listed(answer)
        marker = answer.next_marker
    assert (marker, found) == (None, [f"alias/{n:03}" for n in range(120)])
    assert len(go(ListAliasesRequest(limit=1000)).aliases) == 120


def test_a_marker_is_of_one_account_and_one_list(hsm):
    key, theirs = a_key(hsm), another_tenants_key(hsm)
    go = run(hsm, key, theirs, *[an_alias(owner, f"alias/{n}", name=f"a{n}") for owner in (key, theirs) for n in range(3)])
    marker = go(ListAliasesRequest(limit=1)).next_marker
    assert listed(go(ListAliasesRequest(limit=1, marker=marker))) == ["alias/1"]
    other = an_app(account=OTHER_ACCOUNT, namespace=OTHER_NAMESPACE)
    assert type(go.refusal(ListAliasesRequest(marker=marker), other)) is InvalidMarkerError
    assert type(go.refusal(ListAliasesRequest(marker=marker, key_id=key.key_id))) is InvalidMarkerError
    assert type(go.refusal(ListAliasesRequest(marker="x"))) is InvalidMarkerError


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_has_bounds(hsm, limit):
    assert type(run(hsm).refusal(ListAliasesRequest(limit=limit))) is ValidationError


def test_a_list_needs_its_right_in_the_own_namespace(hsm):
    key = a_key(hsm)
    go = run(hsm, key, rbac=Rbac(answer=False))
    assert type(go.refusal(ListAliasesRequest())) is AccessDeniedError
    assert [(review.verb, review.namespace, review.name) for review in go.rbac.asked] == [("listaliases", "team-a", "")]


def test_a_list_of_an_unknown_foreign_or_misnamed_key_is_refused(hsm):
    theirs = another_tenants_key(hsm)
    go = run(hsm, theirs)
    assert type(go.refusal(ListAliasesRequest(key_id=a_key(hsm).key_id))) is NotFoundException
    unknown = another_tenants_key(hsm, n=10)
    refused = [go.refusal(ListAliasesRequest(key_id=arn(key))) for key in (theirs, unknown)]
    assert [type(error) for error in refused] == [AccessDeniedError, AccessDeniedError]
    assert refused[0].message == refused[1].message
    assert go.refusal(ListAliasesRequest(key_id="alias/app")).message == "Invalid keyId 'alias/app'"



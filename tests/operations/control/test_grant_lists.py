"""ListGrants and ListRetirableGrants: filters, pages, markers, and accounts that do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    APP,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    OTHER_UID,
    REGION,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
    an_app,
    another_tenants_key,
)
from tests.operations.control.steps import Run

from keystead.engine.identifiers import key_arn
from keystead.engine.record import GrantRecord
from keystead.errors import (
    AccessDeniedError,
    InvalidArnError,
    InvalidMarkerError,
    KmsError,
    ValidationError,
)
from keystead.operations.control.common import Listing, after
from keystead.operations.control.grant_lists import ListGrantsRequest, ListRetirableGrantsRequest
from keystead.policy import root_caller
from keystead.policy.caller import service_caller
from keystead.resources.vocabulary import GrantOperation

READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
ROOT = root_caller(ACCOUNT, "team-a")
UNKNOWN = "ab" * 32
SERVICE = "datakeys.kms.keystead.io"
G = GrantOperation


def run(hsm, *records, **how) -> Run:
    changes = {name: how.pop(name) for name in ("now", "region") if name in how}
    return Run(hsm, a_control_world(hsm, *records, **changes), **how)


def denied(hsm, *records, **how) -> Run:
    return run(hsm, *records, rbac=Rbac(answer=False), **how)


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def ids(answer) -> list[str]:
    return [entry.grant_id for entry in answer.grants]


def several(key, count: int, **changes):
    return [a_grant(key, G.DECRYPT, name=f"g{n}", grant_id=f"{n:064x}", **changes) for n in range(count)]


def test_a_list_has_the_grants_of_one_key(hsm):
    key, other = a_key(hsm), a_key(hsm, n=2)
    stale = a_grant(key, G.SIGN, namespace_uid=OTHER_UID)
    go = run(hsm, key, other, *several(key, 3), a_grant(other, G.DECRYPT), stale)
    answer = go(ListGrantsRequest(key_id=arn(key)))
    assert (ids(answer), answer.truncated, answer.next_marker) == ([f"{n:064x}" for n in range(3)], False, None)
    assert {entry.key_id for entry in answer.grants} == {arn(key)}
    assert [(review.verb, review.name) for review in go.rbac.asked] == [("listgrants", "key-1")]


def test_a_list_is_narrowed_by_its_filters(hsm):
    key = a_key(hsm)
    one, two = a_grant(key, G.DECRYPT), a_grant(key, G.ENCRYPT, to=READER, name="g2")
    service = a_grant(key, G.DECRYPT, G.ENCRYPT, name="g3", grantee_principal=UNSET, grantee_service_principal="a.b.c")
    go = run(hsm, key, one, two, service)

    def found(**how):
        return ids(go(ListGrantsRequest(key_id=key.key_id, **how)))

    assert found(grant_id=one.grant_id) == [one.grant_id]
    assert found(grant_id=UNKNOWN) == []
    assert found(grantee_principal=READER) == [two.grant_id]
    assert found(grantee_principal=f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s-7") == [two.grant_id]
    assert found(grantee_service_principal="a.b.c") == [service.grant_id]
    assert found(grant_id=one.grant_id, grantee_principal=READER) == []


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"grantee_principal": READER, "grantee_service_principal": "a.b.c"}, ValidationError),
        ({"grantee_principal": "reader"}, InvalidArnError),
        ({"grant_id": ""}, ValidationError),
        ({"limit": 0}, ValidationError),
        ({"limit": 1001}, ValidationError),
        ({"marker": ""}, ValidationError),
        ({"marker": "AAAA"}, InvalidMarkerError),
    ],
)
def test_a_list_that_cannot_be_is_refused(hsm, members: dict, kind: type[KmsError]):
    key = a_key(hsm)
    assert type(run(hsm, key).refusal(ListGrantsRequest(key_id=key.key_id, **members))) is kind


def test_pages_give_every_grant_once_and_50_if_nothing_is_said(hsm):
    key = a_key(hsm)
    go = run(hsm, key, *several(key, 120))
    found, marker = [], None
    for size in (50, 50, 20):
        answer = go(ListGrantsRequest(key_id=key.key_id, marker=marker))
        assert (len(answer.grants), answer.truncated) == (size, answer.next_marker is not None)
        found, marker = found + ids(answer), answer.next_marker
    assert (marker, found) == (None, [f"{n:064x}" for n in range(120)])
    assert len(go(ListGrantsRequest(key_id=key.key_id, limit=7)).grants) == 7


class Counted(Sequence[GrantRecord]):
    """Grants that count how often somebody looks at one."""

    def __init__(self, held: Sequence[GrantRecord]) -> None:
        self.held, self.looks = held, 0

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index):
        found = self.held[index]
        self.looks += len(found) if isinstance(index, slice) else 1
        return found


@pytest.mark.parametrize("narrowed", [{}, {"grantee_principal": APP}, {"grant_id": f"{4_000:064x}"}, {"grantee_principal": READER}])
def test_a_page_of_5000_grants_looks_at_few_of_them(hsm, monkeypatch, narrowed):
    key = a_key(hsm)
    held = Counted(several(key, 5_000, retiring_principal=APP))
    go = run(hsm, key)
    monkeypatch.setattr(go.world.keys, "grants_to", lambda *_: ())
    monkeypatch.setattr(go.world.keys, "grants_of", lambda _: held)
    monkeypatch.setattr(go.world.keys, "grants_held", lambda _, grantee: held if grantee == APP else ())
    monkeypatch.setattr(go.world.keys, "grants_retirable_by", lambda _: held)
    monkeypatch.setattr(go.world.keys, "grant", lambda grant_id: held[int(grant_id, 16)])
    marker = None
    for _ in range(3):
        answer = go(ListGrantsRequest(key_id=key.key_id, limit=20, marker=marker, **narrowed))
        marker = answer.next_marker
    assert held.looks < 1_000
    if narrowed:
        return
    held.looks = 0
    assert len(go(ListRetirableGrantsRequest(retiring_principal=APP, limit=20)).grants) == 20
    assert held.looks < 1_000


def test_grants_that_come_and_go_while_a_list_waits_move_no_other(hsm):
    """A list of retirable grants asks the API server about namespaces: the read model goes on meanwhile."""
    key = a_key(hsm)
    listing, held = Listing("ListGrants", ACCOUNT), several(key, 600)
    items = after(a_control_world(hsm), listing, held, lambda grant: grant.grant_id, None)
    found = [next(items) for _ in range(100)]
    del held[:50]
    held.insert(0, a_grant(key, G.DECRYPT, name="late", grant_id="0" * 63 + "5"))
    found += items
    assert [grant.grant_id for grant in found] == [f"{n:064x}" for n in range(600)]


def test_a_marker_is_of_one_key_and_one_filter(hsm):
    key, other = a_key(hsm), a_key(hsm, n=2)
    go = run(hsm, key, other, *several(key, 3), *several(other, 3))
    marker = go(ListGrantsRequest(key_id=key.key_id, limit=1)).next_marker
    assert ids(go(ListGrantsRequest(key_id=arn(key), limit=1, marker=marker))) == [f"{1:064x}"]
    for request in (ListGrantsRequest(key_id=other.key_id), ListGrantsRequest(key_id=key.key_id, grantee_principal=APP)):
        assert type(go.refusal(replace(request, marker=marker))) is InvalidMarkerError


def test_a_grant_does_not_list(hsm):
    key = a_key(hsm)
    assert type(denied(hsm, key, a_grant(key, *GrantOperation)).refusal(ListGrantsRequest(key_id=key.key_id))) is AccessDeniedError


# -- ListRetirableGrants


def retirable(principal=APP, **how) -> ListRetirableGrantsRequest:
    return ListRetirableGrantsRequest(retiring_principal=principal, **how)


def test_a_principal_lists_what_it_may_retire_in_its_own_account_and_in_others(hsm):
    key, theirs, elsewhere = a_key(hsm), another_tenants_key(hsm), a_key(hsm, n=3, region="cluster-2")
    grants = several(key, 2, to=READER, retiring_principal=APP)
    abroad = a_grant(theirs, G.DECRYPT, retiring_principal=APP)
    others = [
        a_grant(key, G.SIGN, name="x", retiring_principal=READER),
        a_grant(theirs, G.ENCRYPT, name="w", retiring_principal=APP, namespace_uid="made-again"),
        a_grant(elsewhere, G.DECRYPT, name="y", retiring_principal=APP),
        a_grant(key, G.VERIFY, name="z", retiring_principal=APP, namespace_uid=OTHER_UID),
    ]
    go = denied(hsm, key, theirs, elsewhere, *grants, abroad, *others)
    expected = sorted([*(grant.grant_id for grant in grants), abroad.grant_id])
    assert ids(go(retirable())) == expected
    assert ids(go(retirable(f"arn:aws:sts::{ACCOUNT}:assumed-role/app/other-session"))) == expected
    assert go.rbac.asked == []
    assert go.world.region == REGION


def test_of_another_principal_it_takes_the_right_of_the_account(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, retiring_principal=READER)
    assert type(denied(hsm, key, grant).refusal(retirable(READER))) is AccessDeniedError
    assert ids(denied(hsm, key, grant)(retirable(READER), ROOT)) == [grant.grant_id]
    go = run(hsm, key, grant)
    assert ids(go(retirable(READER))) == [grant.grant_id]
    assert [(review.verb, review.namespace, review.name) for review in go.rbac.asked] == [("listretirablegrants", "team-a", "")]


def test_nobody_lists_for_a_principal_of_another_account(hsm):
    theirs = another_tenants_key(hsm)
    foreign = f"arn:aws:iam::{OTHER_ACCOUNT}:role/app"
    go = run(hsm, theirs, a_grant(theirs, G.DECRYPT, retiring_principal=foreign))
    for caller in (ROOT, an_app()):
        assert type(go.refusal(retirable(foreign), caller)) is AccessDeniedError
    assert len(go(retirable(foreign), an_app(account=OTHER_ACCOUNT, namespace=OTHER_NAMESPACE)).grants) == 1


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({}, ValidationError),
        ({"retiring_principal": APP, "retiring_service_principal": "a.b.c"}, ValidationError),
        ({"retiring_service_principal": "a.b.c"}, AccessDeniedError),
        ({"retiring_principal": "app"}, InvalidArnError),
        ({"retiring_principal": APP, "limit": 0}, ValidationError),
        ({"retiring_principal": APP, "marker": "x"}, InvalidMarkerError),
    ],
)
def test_a_retirable_list_that_cannot_be_is_refused(hsm, members: dict, kind: type[KmsError]):
    assert type(run(hsm).refusal(ListRetirableGrantsRequest(**members))) is kind


def test_a_service_lists_what_it_may_retire_itself_and_nobody_else_does(hsm):
    key, theirs = a_key(hsm), another_tenants_key(hsm)
    grants = [a_grant(each, G.DECRYPT, to=READER, retiring_service_principal=SERVICE) for each in (key, theirs)]
    go = run(hsm, key, theirs, *grants, a_grant(key, G.SIGN, name="x", retiring_principal=READER))
    request = ListRetirableGrantsRequest(retiring_service_principal=SERVICE)
    service = service_caller(ACCOUNT, "team-a", SERVICE)
    assert ids(go(request, service)) == sorted(grant.grant_id for grant in grants)
    assert go.rbac.asked == []
    for caller in (ROOT, an_app(), service_caller(ACCOUNT, "team-a", "audit.kms.keystead.io")):
        assert type(go.refusal(request, caller)) is AccessDeniedError


def test_retirable_grants_come_in_pages(hsm):
    key = a_key(hsm)
    go = run(hsm, key, *several(key, 5, retiring_principal=APP))
    first = go(retirable(limit=3))
    second = go(retirable(limit=3, marker=first.next_marker))
    assert (ids(first) + ids(second), second.truncated) == ([f"{n:064x}" for n in range(5)], False)
    other = go(ListGrantsRequest(key_id=key.key_id, limit=3)).next_marker
    assert type(go.refusal(retirable(marker=other))) is InvalidMarkerError



"""What a grant token is worth: a wait for its grant, for five minutes, and never more than the grant says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.builders import (
    ACCOUNT,
    APP,
    NOW,
    Rbac,
    a_control_world,
    a_grant,
    a_key,
)
from tests.operations.control.steps import Run

from keystead.errors import (
    AccessDeniedError,
    InvalidGrantTokenError,
)
from keystead.operations.control.grant_ends import RetireGrantRequest
from keystead.operations.control.grants import CreateGrantRequest
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import EncryptRequest
from keystead.operations.grant_tokens import LIFE, make_token
from keystead.policy import root_caller
from keystead.resources.vocabulary import GrantOperation

READER = f"arn:aws:iam::{ACCOUNT}:role/reader"
ROOT = root_caller(ACCOUNT, "team-a")
UNKNOWN = "ab" * 32
G = GrantOperation


def run(hsm, *records, **how) -> Run:
    changes = {name: how.pop(name) for name in ("now", "region") if name in how}
    return Run(hsm, a_control_world(hsm, *records, **changes), **how)


def denied(hsm, *records, **how) -> Run:
    return run(hsm, *records, rbac=Rbac(answer=False), **how)


@pytest.mark.parametrize("request_of", ["describe", "encrypt", "create", "retire"])
def test_a_token_is_worth_a_wait_for_its_grant(hsm, request_of):
    key = a_key(hsm)
    grant = a_grant(key, G.DESCRIBE_KEY, G.ENCRYPT, G.CREATE_GRANT, retiring_principal=APP)
    token = make_token(hsm.domain, grant.grant_id, NOW)
    request = {
        "describe": DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,)),
        "encrypt": EncryptRequest(key_id=key.key_id, plaintext=b"x", grant_tokens=(token,)),
        "create": CreateGrantRequest(key_id=key.key_id, operations=("Encrypt",), grantee_principal=READER, grant_tokens=(token,)),
        "retire": RetireGrantRequest(grant_token=token),
    }[request_of]
    go = denied(hsm, key)
    go.waits = lambda: go.world.keys.add(grant)
    go(request)
    assert [wait.by for wait in go.awaited] == [APP]
    assert go.rbac.asked == []
    # Without it the same caller is refused: the grant is not here yet.
    bare = RetireGrantRequest(key_id=key.key_id, grant_id=grant.grant_id) if request_of == "retire" else replace(request, grant_tokens=())
    assert type(denied(hsm, key).refusal(bare)) is AccessDeniedError


@pytest.mark.parametrize("late", [False, True])
def test_a_token_whose_grant_is_gone_is_refused(hsm, late):
    key = a_key(hsm)
    made = NOW - (LIFE + timedelta(seconds=1) if late else timedelta(0))
    token = make_token(hsm.domain, UNKNOWN, made)
    for request in (DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,)), RetireGrantRequest(grant_token=token)):
        go = run(hsm, key)
        assert type(go.refusal(request, ROOT)) is InvalidGrantTokenError
        # An old token is not even worth the wait: every replica would have its grant.
        assert len(go.awaited) == (not late)


@pytest.mark.parametrize(("age", "worth"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)])
def test_a_token_is_worth_nothing_after_five_minutes(hsm, age, worth):
    key = a_key(hsm)
    grant = a_grant(key, G.DESCRIBE_KEY, retiring_principal=APP)
    token = make_token(hsm.domain, grant.grant_id, NOW - timedelta(seconds=age))
    go = denied(hsm, key)
    go.waits = lambda: go.world.keys.add(grant)
    requests = [DescribeKeyRequest(key_id=key.key_id, grant_tokens=(token,)), RetireGrantRequest(grant_token=token)]
    for request in requests:
        go.world.keys.grants.clear()
        if worth:
            go(request)
        else:
            assert type(go.refusal(request)) is InvalidGrantTokenError


def test_an_old_token_of_a_grant_that_is_here_does_no_harm_and_no_good(hsm):
    key = a_key(hsm)
    grant, other = a_grant(key, G.DESCRIBE_KEY), a_grant(key, G.DESCRIBE_KEY, to=READER, name="grant-2")
    old = NOW - timedelta(hours=1)
    mine, theirs = (make_token(hsm.domain, each.grant_id, old) for each in (grant, other))
    denied(hsm, key, grant)(DescribeKeyRequest(key_id=key.key_id, grant_tokens=(mine,)))
    error = denied(hsm, key, other).refusal(DescribeKeyRequest(key_id=key.key_id, grant_tokens=(theirs,)))
    assert type(error) is AccessDeniedError


def test_a_token_never_widens_its_grant(hsm):
    key = a_key(hsm)
    grant = a_grant(key, G.DECRYPT, equals={"App": "x"})
    token = make_token(hsm.domain, grant.grant_id, NOW)
    go = denied(hsm, key, grant)
    asked = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_context={"App": "x"}, grant_tokens=(token,))
    assert type(go.refusal(asked)) is AccessDeniedError
    for_reader = a_grant(key, G.ENCRYPT, to=READER)
    go = denied(hsm, key, for_reader)
    token = make_token(hsm.domain, for_reader.grant_id, NOW)
    assert type(go.refusal(EncryptRequest(key_id=key.key_id, plaintext=b"x", grant_tokens=(token,)))) is AccessDeniedError



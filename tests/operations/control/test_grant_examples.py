"""AWS's documented examples of grants, each cited by the title of its page in the AWS KMS developer guide or API reference.

Names are AWS's, spelled as ServiceAccounts have them: users of theirs are ServiceAccounts here. RBAC says no to everything, so that grants
alone decide.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from tests.builders import ACCOUNT, NOW, Rbac, a_control_world, a_grant, a_key, an_app
from tests.hsm.fake import FakeHsm
from tests.operations.control.steps import Run

from keystead.engine.record import GrantConstraints as Held
from keystead.engine.record import GrantRecord
from keystead.errors import AccessDeniedError, KmsError, ValidationError
from keystead.operations.control.grant_ends import RetireGrantRequest, RevokeGrantRequest
from keystead.operations.control.grant_lists import ListGrantsRequest, ListRetirableGrantsRequest
from keystead.operations.control.grants import CreateGrantRequest, GrantConstraints
from keystead.operations.grant_tokens import make_token
from keystead.operations.writes import DeleteObject
from keystead.policy import Action, Caller, Question, evaluate, root_caller
from keystead.policy.caller import service_caller
from keystead.policy.question import Carried, RequestFacts
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage

G = GrantOperation
HSM = FakeHsm()
KEY = a_key(HSM)
IT, IT_TEST = {"Department": "IT"}, {"Department": "IT", "Purpose": "Test"}
TABLE = {"aws:dynamodb:tableName": "Services", "aws:dynamodb:subscriberId": "111122223333"}
SERVICE = "datakeys.kms.keystead.io"
SOURCE = f"arn:aws:kms:cluster-1:{ACCOUNT}:datakey/app"


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def user(name: str) -> Caller:
    return an_app(name=name, session=f"{name}-1")


def granted(*operations: GrantOperation, to: str = "example-user", **how: Any) -> GrantRecord:
    return a_grant(KEY, *operations, **{"to": role(to), "retiring_principal": role("admin-role"), **how})


def allowed(grant: GrantRecord, action: Action, context: dict[str, str], caller: Caller, source: str = "") -> bool:
    facts = RequestFacts(carried=Carried(source_arn=source))
    answer = evaluate(Question(caller, action, KEY, (grant,), context, NOW, facts))
    return getattr(answer, "allowed", False) is True


SUBSET, EQUALS = granted(G.DECRYPT, subset=IT), granted(G.DECRYPT, equals=IT)
DYNAMO = granted(
    G.DECRYPT, G.ENCRYPT, G.GENERATE_DATA_KEY, G.RE_ENCRYPT_FROM, G.RE_ENCRYPT_TO, G.RETIRE_GRANT, G.DESCRIBE_KEY,
    to="dynamodb", subset=TABLE,
)  # fmt: skip
# page, grant, action, context of the request, who, whether the grant allows it
USES = [
    ("Creating grants", SUBSET, Action.DECRYPT, IT, "example-user", True),
    ("Creating grants", SUBSET, Action.DECRYPT, {}, "example-user", False),
    ("Creating grants", SUBSET, Action.DECRYPT, IT, "admin-role", False),
    ("Creating grants", SUBSET, Action.ENCRYPT, IT, "example-user", False),
    ("Using grant constraints", SUBSET, Action.DECRYPT, IT_TEST, "example-user", True),
    ("Using grant constraints", EQUALS, Action.DECRYPT, IT, "example-user", True),
    ("Using grant constraints", EQUALS, Action.DECRYPT, IT_TEST, "example-user", False),
    ("Using grant constraints", EQUALS, Action.DECRYPT, {"Department": "Finance"}, "example-user", False),
    # "the key in each key-value pair is not case sensitive, but the value is case sensitive"
    ("GrantConstraints (API reference)", EQUALS, Action.DECRYPT, {"department": "IT"}, "example-user", True),
    ("GrantConstraints (API reference)", EQUALS, Action.DECRYPT, {"Department": "it"}, "example-user", False),
    ("Using grant constraints, DynamoDB", DYNAMO, Action.GENERATE_DATA_KEY, {**TABLE, "more": "x"}, "dynamodb", True),
    ("Using grant constraints, DynamoDB", DYNAMO, Action.ENCRYPT, {"aws:dynamodb:tableName": "Services"}, "dynamodb", False),
    ("Using grant constraints, DynamoDB", DYNAMO, Action.DECRYPT, {**TABLE, "aws:dynamodb:tableName": "Other"}, "dynamodb", False),
    # "can include the DescribeKey and RetireGrant operations, but the constraint doesn't apply to these operations"
    ("CreateGrant (API reference)", DYNAMO, Action.DESCRIBE_KEY, {}, "dynamodb", True),
    ("CreateGrant (API reference)", DYNAMO, Action.RETIRE_GRANT, {}, "dynamodb", True),
    # "A grant can allow access to a KMS key, but not deny access", and only grant operations
    ("Grants in AWS KMS", granted(*GrantOperation), Action.SCHEDULE_KEY_DELETION, {}, "example-user", False),
    ("Grants in AWS KMS", granted(*GrantOperation), Action.REVOKE_GRANT, {}, "example-user", False),
    ("Controlling access to grants", granted(*GrantOperation), Action.LIST_GRANTS, {}, "example-user", False),
]


@pytest.mark.parametrize(("page", "grant", "action", "context", "who", "expected"), USES)
def test_a_request_is_allowed_as_the_page_says(page, grant, action, context, who, expected):
    assert allowed(grant, action, context, user(who)) is expected, page


@pytest.mark.parametrize(("action", "source", "expected"), [
    (Action.DECRYPT, SOURCE, True),
    (Action.DECRYPT, SOURCE + "2", False),
    (Action.DESCRIBE_KEY, SOURCE, True),
    (Action.DESCRIBE_KEY, "", False),
    (Action.RETIRE_GRANT, "", True),
])  # fmt: skip
def test_a_source_arn_is_on_describe_key_too_and_not_on_retire_grant(action, source, expected):
    """CreateGrant (API reference): "effectively the same as having the aws:SourceArn global condition key in the grant"."""
    grant = granted(
        G.DECRYPT, G.DESCRIBE_KEY, G.RETIRE_GRANT,
        grantee_principal=UNSET, grantee_service_principal=SERVICE, constraints=Held(source_arn=SOURCE),
    )  # fmt: skip
    assert allowed(grant, action, {}, service_caller(ACCOUNT, "team-a", SERVICE), source) is expected


def run(*records: Any) -> Run:
    return Run(HSM, a_control_world(HSM, *records), rbac=Rbac(answer=False))


PARENT = granted(G.GENERATE_DATA_KEY, G.DECRYPT, G.CREATE_GRANT, subset=IT)
PARENT_EQUALS = granted(G.GENERATE_DATA_KEY, G.DECRYPT, G.CREATE_GRANT, equals=IT)
ROOT = root_caller(ACCOUNT, "team-a")
# parent, who makes the child, its operations, constraint, whether it may
CHILDREN = [
    (PARENT, "example-user", ("CreateGrant", "Decrypt"), {"encryption_context_equals": IT}, True),
    (PARENT, "example-user", ("GenerateDataKey", "Decrypt", "CreateGrant"), {"encryption_context_subset": IT}, True),
    (PARENT, "example-user", ("Decrypt",), {"encryption_context_subset": IT_TEST}, True),
    (PARENT, "example-user", ("Decrypt", "ReEncryptFrom"), {"encryption_context_equals": IT}, False),
    (PARENT, "example-user", ("Decrypt",), {}, False),
    (PARENT, "example-user", ("Decrypt",), {"encryption_context_subset": {"Purpose": "Test"}}, False),
    (PARENT_EQUALS, "example-user", ("Decrypt",), {"encryption_context_subset": IT}, False),
    (PARENT, "another-user", ("Decrypt",), {"encryption_context_equals": IT}, False),
    (granted(G.DECRYPT, subset=IT), "example-user", ("Decrypt",), {"encryption_context_equals": IT}, False),
]


@pytest.mark.parametrize(("parent", "who", "operations", "constraint", "expected"), CHILDREN)
def test_a_child_grant_is_no_wider_than_its_parent(parent, who, operations, constraint, expected):
    """Creating grants, 'Granting CreateGrant permission'."""
    request = CreateGrantRequest(
        key_id=KEY.key_id,
        operations=operations,
        grantee_principal=role("another-user"),
        retiring_principal=role("example-user"),
        constraints=GrantConstraints(**constraint) if constraint else None,
    )
    go = run(KEY, parent)
    if expected:
        go(request, user(who))
    else:
        assert type(go.refusal(request, user(who))) is AccessDeniedError
    # "These limitations don't apply to principals who get CreateGrant permission from a policy".
    go(request, ROOT)


def test_a_grandchild_is_measured_by_its_own_parent():
    """The same: "the grants that anotherUser creates must include the operations in its parent grant or a subset"."""
    child = granted(G.CREATE_GRANT, G.DECRYPT, to="another-user", equals=IT, name="child")
    ask = CreateGrantRequest(
        key_id=KEY.key_id, operations=("Decrypt",), grantee_principal=role("third"),
        constraints=GrantConstraints(encryption_context_equals=IT),
    )
    run(KEY, child)(ask, user("another-user"))
    wider = CreateGrantRequest(
        key_id=KEY.key_id, operations=("GenerateDataKey",), grantee_principal=role("third"),
        constraints=GrantConstraints(encryption_context_equals=IT),
    )  # fmt: skip
    assert type(run(KEY, PARENT, child).refusal(wider, user("another-user"))) is AccessDeniedError


def refused(**members: Any) -> type[KmsError]:
    key = members.pop("key", KEY)
    base: dict[str, Any] = {"key_id": key.key_id, "operations": ("Decrypt",), "grantee_principal": role("example-user")}
    return type(run(key).refusal(CreateGrantRequest(**{**base, **members}), ROOT))


def test_create_grant_refuses_what_the_page_says():
    """CreateGrant (API reference)."""
    rsa = a_key(HSM, KeySpec.RSA_2048, usage=KeyUsage.ENCRYPT_DECRYPT)
    # "you cannot create a grant for a symmetric encryption KMS key that allows the Sign operation, or a grant for an asymmetric KMS key
    # that allows the GenerateDataKey operation. If you try, KMS returns a ValidationError exception"
    assert refused(operations=("Sign",)) is ValidationError
    assert refused(key=rsa, operations=("GenerateDataKey",)) is ValidationError
    # "You must specify either GranteePrincipal or GranteeServicePrincipal, but not both"
    assert refused(grantee_service_principal=SERVICE) is ValidationError
    service = {"grantee_principal": None, "grantee_service_principal": SERVICE}
    # "you must also specify a SourceArn grant constraint. In addition, ... either a RetiringPrincipal or a RetiringServicePrincipal"
    assert refused(**service, retiring_principal=role("admin-role")) is ValidationError
    assert refused(**service, constraints=GrantConstraints(source_arn=SOURCE)) is ValidationError
    # "up to 8 encryption context pairs ... cannot exceed 384 characters"
    many = {str(n): "x" for n in range(9)}
    assert refused(constraints=GrantConstraints(encryption_context_subset=many)) is ValidationError
    assert refused(constraints=GrantConstraints(encryption_context_subset={"a": "x" * 385})) is ValidationError


RETIRES = [
    ("example-user", granted(G.DECRYPT), False),
    ("example-user", granted(G.DECRYPT, G.RETIRE_GRANT), True),
    ("example-user", granted(G.DECRYPT, retiring_principal=role("example-user")), True),
    ("admin-role", granted(G.DECRYPT), True),
    ("stranger", granted(G.DECRYPT, G.RETIRE_GRANT), False),
]


@pytest.mark.parametrize("by_token", [True, False])
@pytest.mark.parametrize(("who", "grant", "expected"), RETIRES)
def test_the_grant_says_who_retires_it_and_no_grant_revokes(who, grant, expected, by_token):
    """Retiring and revoking grants."""
    request = (
        RetireGrantRequest(grant_token=make_token(HSM.domain, grant.grant_id, NOW))
        if by_token
        else RetireGrantRequest(key_id=KEY.key_id, grant_id=grant.grant_id)
    )
    go = run(KEY, grant)
    if expected:
        assert isinstance(go(request, user(who)).write, DeleteObject)
    else:
        assert type(go.refusal(request, user(who))) is AccessDeniedError
    # "As a backup, the AWS account in which the grant was created can retire the grant."
    assert isinstance(go(request, ROOT).write, DeleteObject)
    revoke = RevokeGrantRequest(key_id=KEY.key_id, grant_id=grant.grant_id)
    assert type(go.refusal(revoke, user(who))) is AccessDeniedError
    assert isinstance(go(revoke, ROOT).write, DeleteObject)


def test_a_list_shows_a_grant_as_the_page_does():
    """Viewing grants."""
    (entry,) = run(KEY, SUBSET)(ListGrantsRequest(key_id=KEY.key_id), ROOT).grants
    assert entry.issuing_account == f"arn:aws:iam::{ACCOUNT}:root"
    assert (entry.operations, entry.name) == ((G.DECRYPT,), None)
    assert (entry.grantee_principal, entry.retiring_principal) == (role("example-user"), role("admin-role"))
    assert entry.constraints == GrantConstraints(encryption_context_subset=IT)
    found = run(KEY, SUBSET)(ListRetirableGrantsRequest(retiring_principal=role("admin-role")), user("admin-role"))
    assert [each.grant_id for each in found.grants] == [SUBSET.grant_id]

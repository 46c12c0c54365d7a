"""What the policy of a key says to a KmsGrant that is to be made: it must not deny it (RESOURCES, Who may make them).

Called by reconciler/grant.py, once before the record is made. Who may write the object is RBAC's to say, asked at admission; the policy is
asked for the namespace, its root, never for the author. Of a grant that the API made it was asked for the very caller.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from keystead.engine.plan.common import Obstacle
from keystead.engine.plan.grant_terms import GrantTerms
from keystead.engine.record import KeyRecord
from keystead.operations.control.grants import CreateGrantRequest, GrantConstraints
from keystead.policy import Action, Decision, Question, evaluate, root_caller
from keystead.policy.question import RequestFacts
from keystead.resources import names
from keystead.resources.kms_grant import KmsGrant
from keystead.resources.reasons import Reason


def denied(key: KeyRecord, grant: KmsGrant, terms: GrantTerms, aliases: tuple[str, ...], now: datetime) -> Obstacle | None:
    """The obstacle, where a Deny statement of the key's policy is about this grant. aliases: names of the key's."""
    if key.policy is UNSET or grant.metadata.labels.get(names.CREATED_BY) == names.CREATED_BY_API:
        return None
    root = root_caller(key.account, key.namespace)
    facts = RequestFacts(_request(key, terms), aliases=lambda: aliases)
    answer = evaluate(Question(root, Action.CREATE_GRANT, key, (), {}, now, facts))
    if not isinstance(answer, Decision) or not answer.explicit:
        return None
    words = f"the policy of KmsKey {key.name} does not let this namespace do kms:CreateGrant: {answer.reason}"
    return Obstacle(Reason.ACCESS_DENIED, f"{words}; whoever may write spec.policy of the key can take it away")


def _request(key: KeyRecord, terms: GrantTerms) -> CreateGrantRequest:
    """The call that would make the same grant."""
    return CreateGrantRequest(
        key_id=key.key_id,
        operations=tuple(operation.value for operation in terms.operations),
        grantee_principal=_said(terms.grantee_principal),
        retiring_principal=_said(terms.retiring_principal),
        constraints=_constraints(terms),
        grantee_service_principal=_said(terms.grantee_service_principal),
        retiring_service_principal=_said(terms.retiring_service_principal),
    )


def _constraints(terms: GrantTerms) -> GrantConstraints | None:
    given = terms.constraints
    if given is UNSET:
        return None
    subset, equals = given.encryption_context_subset, given.encryption_context_equals
    return GrantConstraints(
        encryption_context_subset=None if subset is UNSET else subset,
        encryption_context_equals=None if equals is UNSET else equals,
        source_arn=_said(given.source_arn),
    )


def _said(text: str | UnsetType) -> str | None:
    return None if text is UNSET else text

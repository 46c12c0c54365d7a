"""What the policies of keys say to a KmsGrant that is to be made, and to a KmsAlias that is to be made or moved: they must not deny it.

Called by reconciler/grant.py and alias.py before a record is written; policy/rootdeny.py says for whom it is asked. Of what the API made it
was asked for the very caller: the label created-by says so, which people set, and keep at a move, with putkeypolicy only. What may never
enter: a reason to undo. A record that is there stays, whatever a later policy denies.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from keystead.engine.plan.alias import AliasFacts
from keystead.engine.plan.common import Obstacle
from keystead.engine.plan.grant_terms import GrantTerms
from keystead.engine.record import KeyRecord
from keystead.operations.control.aliases import CreateAliasRequest, UpdateAliasRequest
from keystead.operations.control.grants import CreateGrantRequest, GrantConstraints
from keystead.policy import Action
from keystead.policy.rootdeny import root_deny
from keystead.reconciler.context import Context
from keystead.reconciler.lookup import alias_names
from keystead.resources import names
from keystead.resources.kms_grant import KmsGrant
from keystead.resources.model import ObjectMeta
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState


async def grant_denied(context: Context, key: KeyRecord, grant: KmsGrant, terms: GrantTerms, now: datetime) -> Obstacle | None:
    """The obstacle, where a Deny statement of the key's policy is about this grant."""
    if _is_of_api(grant.metadata):
        return None
    return await _denied(context, key, Action.CREATE_GRANT, _request(key, terms), now)


async def alias_denied(context: Context, facts: AliasFacts) -> Obstacle | None:
    """The obstacle, where a Deny statement is about this alias: of its key where it is to be made, of either key where it is to move.

    An object that was made again with another key, before anybody saw that it was gone, is made.
    """
    alias, key, record, before = facts.alias, facts.key, facts.record, facts.target
    assert alias is not None
    assert key is not None
    if _is_of_api(alias.metadata):
        return None
    name = alias.spec.alias_name
    if record is None or record.object_uid != alias.metadata.uid:
        return await _denied(context, key, Action.CREATE_ALIAS, CreateAliasRequest(alias_name=name, target_key_id=key.key_id), facts.now)
    asked = UpdateAliasRequest(alias_name=name, target_key_id=key.key_id)
    # A key that nobody can give another policy has no say any more: a destroyed one, or that of an earlier namespace.
    if before is not None and before.state is not KeyState.DESTROYED and before.namespace_uid == key.namespace_uid:
        obstacle = await _denied(context, before, Action.UPDATE_ALIAS, asked, facts.now)
        if obstacle is not None:
            return obstacle
    return await _denied(context, key, Action.UPDATE_ALIAS, asked, facts.now)


def _is_of_api(metadata: ObjectMeta) -> bool:
    return metadata.labels.get(names.CREATED_BY) == names.CREATED_BY_API


async def _denied(context: Context, key: KeyRecord, action: Action, request: object, now: datetime) -> Obstacle | None:
    aliases = await alias_names(context, key)
    found = root_deny(key, action, request, lambda: aliases, now)
    if found is None:
        return None
    return Obstacle(Reason.ACCESS_DENIED, f"{found.reason}; whoever may write spec.policy of the key can take it away")


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

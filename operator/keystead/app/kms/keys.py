"""Which key is meant, and what its objects say of it: in the form of the records, so that the real evaluator can be asked.

The record itself is sealed and belongs to the operator. A KmsKey's status is its view of it; where that view lags behind the spec, a note
says so. What may never come of this: an authorisation. It is advice to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET

from keystead.app.kms.view import Body, Unread, View
from keystead.engine.clock import format_time, parse_time
from keystead.engine.identifiers import KeyIdForm, key_id_form, parse_kms_arn
from keystead.engine.imagined import UNSEALED, imagined_key
from keystead.engine.plan.grant_terms import terms_of
from keystead.engine.plan.key_settings import policy_bytes, without_default
from keystead.engine.record import GrantRecord, KeyRecord
from keystead.errors import ForbiddenError, InvalidSpecError, NotFoundError
from keystead.reconciler.ports import Kind
from keystead.resources.conditions import ConditionStatus, ConditionType, find_condition
from keystead.resources.kms_grant import parse_grant
from keystead.resources.kms_key import KmsKey, parse_key
from keystead.resources.vocabulary import KeyState

_ALIAS: Final = "alias/"
_MANAGED: Final = "alias/aws/"
_EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Target:
    """A key that is meant.

    alias     `alias/<name>` where it was named so; "": by id or ARN; None: by the name of its object, which no request can use
    notes     what to know about what the object shows
    """

    body: Body
    key: KmsKey
    record: KeyRecord
    alias: str | None
    notes: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        """The key's ARN."""
        return str(self.key.status.key_arn)

    @property
    def place(self) -> str:
        """For kubectl: `kmskey NAME -n NAMESPACE`."""
        return f"kmskey {self.record.name} -n {self.record.namespace}"


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants of a key. objects: names of KmsGrants by grant id; `unread`: they may not be read."""

    records: tuple[GrantRecord, ...] = ()
    objects: dict[str, str] = field(default_factory=dict)
    unread: Unread | None = None


async def find(view: View, namespace: str, name: str) -> Target:
    """The key of a name: of a KmsKey, an alias (`alias/...`), a key id or an ARN, which may be abroad. NotFoundError, ForbiddenError."""
    alias: str | None = None
    if name.startswith("arn:"):
        body, alias = await _by_arn(view, namespace, name)
    elif name.startswith(_ALIAS):
        body, alias = await _by_alias(view, namespace, name), name
    elif key_id_form(name) is not None:
        body, alias = await _by_id(view, namespace, name), ""
    else:
        body = _there(await view.object(Kind.KEY, namespace, name), f"KmsKey {namespace}/{name}")
    return _target(body, alias)


async def _by_arn(view: View, namespace: str, name: str) -> tuple[Body, str]:
    arn = parse_kms_arn(name)
    if arn is None or not arn.resource.startswith(("key/", _ALIAS)):
        raise InvalidSpecError("KEY", f"{name} is no ARN of a key or an alias")
    if arn.resource.startswith("key/"):
        return await _by_id(view, namespace, arn.resource[4:], name), ""
    found = await _everywhere(view, Kind.ALIAS, namespace)
    for body in found:
        if (body.get("status") or {}).get("aliasArn") == name:
            return await _by_id(view, body["metadata"]["namespace"], body["status"].get("targetKeyId", "")), arn.resource
    raise NotFoundError(f"no KmsAlias that you may read has the ARN {name}")


async def _by_alias(view: View, namespace: str, name: str) -> Body:
    if name.startswith(_MANAGED):
        key = f"aws-{name[len(_MANAGED) :]}"
        return _there(await view.object(Kind.KEY, namespace, key), f"KmsKey {namespace}/{key}")
    found = await view.objects(Kind.ALIAS, namespace)
    if isinstance(found, Unread):
        raise ForbiddenError(f"the alias cannot be looked up: {found}")
    for body in found:
        if body["spec"].get("aliasName") == name:
            target = (body.get("status") or {}).get("targetKeyId")
            if not target:
                raise NotFoundError(f"KmsAlias {namespace}/{body['metadata']['name']} names no key yet; hint: kubectl describe it")
            return await _by_id(view, namespace, target)
    raise NotFoundError(f"no KmsAlias in {namespace} has the name {name}; hint: kubectl get kmsaliases -n {namespace}")


async def _by_id(view: View, namespace: str, key_id: str, arn: str = "") -> Body:
    for place in (namespace, ""):
        found = await view.objects(Kind.KEY, place)
        for body in () if isinstance(found, Unread) else found:
            status = body.get("status") or {}
            if status.get("keyId") == key_id and arn in ("", status.get("keyArn")):
                return body
    words = f"no KmsKey that you may read has the id {key_id}"
    if view.unread:
        raise ForbiddenError(f"{words}, and you may not {' nor '.join(view.unread)}; hint: say its namespace with -n")
    raise NotFoundError(f"{words}; hint: a key without an object is shown by: keystead records show --key-id {key_id}")


async def _everywhere(view: View, kind: Kind, namespace: str) -> Sequence[Body]:
    """In all namespaces, or in this one where the others may not be read."""
    found = await view.objects(kind)
    if isinstance(found, Unread):
        found = await view.objects(kind, namespace)
    if isinstance(found, Unread):
        raise ForbiddenError(str(found))
    return found


def _there(found: Body | Unread | None, what: str) -> Body:
    if isinstance(found, Unread):
        raise ForbiddenError(str(found))
    if found is None:
        hint = "say its namespace with -n (kubectl get kmskeys -A), or see keystead records list for keys without an object"
        raise NotFoundError(f"there is no {what}; hint: {hint}")
    return found


def _target(body: Body, alias: str | None) -> Target:
    key = parse_key(body)
    status = key.status
    place = f"KmsKey {key.metadata.namespace}/{key.metadata.name}"
    if status.key_id is UNSET or status.key_arn is UNSET or status.key_state is UNSET:
        raise NotFoundError(f"{place} has no key yet; hint: kubectl describe kmskey {key.metadata.name} -n {key.metadata.namespace}")
    notes = []
    if status.observed_generation != key.metadata.generation:
        notes.append("the operator has not taken up the last change of the spec: until it has, the key is served as before")
    said = find_condition(status.conditions, ConditionType.STALLED)
    if said is not None and said.status is ConditionStatus.TRUE:
        notes.append(f"the object is stalled ({said.reason}): {said.message}")
    return Target(body, key, _record(key), alias, tuple(notes))


def _record(key: KmsKey) -> KeyRecord:
    """The key as policies see it. Its policy is that of status, where status shows one: else that of spec, else the default one."""
    spec, status, metadata = key.spec, key.status, key.metadata
    arn = parse_kms_arn(str(status.key_arn))
    if arn is None:
        raise NotFoundError(f"KmsKey {metadata.name}: its ARN cannot be read")
    policy = status.policy if status.policy is not UNSET else spec.policy
    state = status.key_state
    assert state is not UNSET
    return imagined_key(
        _EPOCH,
        metadata.namespace,
        key_id=str(status.key_id),
        key_id_form=key_id_form(str(status.key_id)) or KeyIdForm.UUID,
        region=arn.region,
        account=arn.account,
        name=metadata.name,
        object_uid=metadata.uid,
        spec=spec.key_spec,
        usage=spec.key_usage,
        origin=spec.origin,
        multi_region=spec.multi_region is True,
        tags={} if spec.tags is UNSET else {tag.key: tag.value for tag in spec.tags},
        policy=UNSET if policy is UNSET else without_default(policy_bytes(policy), arn.account),
        enabled=state is not KeyState.DISABLED,
        state=state,
        deletion_date=_EPOCH if state is KeyState.PENDING_DELETION else UNSET,
    )


async def grants_of(view: View, target: Target) -> Grants:
    """The grants that the operator has recorded for a key; they live in its namespace."""
    found = await view.objects(Kind.GRANT, target.record.namespace)
    if isinstance(found, Unread):
        return Grants(unread=found)
    records, objects = [], {}
    for body in found:
        status = body.get("status") or {}
        if status.get("keyId") == target.record.key_id and status.get("grantId"):
            made = _grant(body, target.record)
            records.append(made)
            objects[made.grant_id] = body["metadata"]["name"]
    return Grants(tuple(records), objects)


def _grant(body: Body, key: KeyRecord) -> GrantRecord:
    grant = parse_grant(body)
    ends = grant.status.expiration_time  # status has it as the record does; a ttl counts from a moment that only the record knows
    terms = terms_of(grant.spec, key.account, parse_time(_EPOCH))
    return GrantRecord(
        **UNSEALED,
        namespace_uid=key.namespace_uid,
        grant_id=str(grant.status.grant_id),
        grant_name=terms.grant_name,
        key_id=key.key_id,
        region=key.region,
        account=key.account,
        namespace=key.namespace,
        name=grant.metadata.name,
        object_uid=grant.metadata.uid,
        crd_uid="unread",
        grantee_principal=terms.grantee_principal,
        grantee_service_principal=terms.grantee_service_principal,
        retiring_principal=terms.retiring_principal,
        retiring_service_principal=terms.retiring_service_principal,
        operations=terms.operations,
        constraints=terms.constraints,
        created=_EPOCH,
        expires_at=UNSET if ends is UNSET else format_time(ends),
    )


async def aliases_of(view: View, target: Target) -> tuple[str, ...] | Unread:
    """The names of a key's aliases, in the order of their names."""
    found = await view.objects(Kind.ALIAS, target.record.namespace)
    if isinstance(found, Unread):
        return found
    named = [body["spec"]["aliasName"] for body in found if (body.get("status") or {}).get("targetKeyId") == target.record.key_id]
    return tuple(sorted(named))

"""Three tenants, and every field of every request that names a key: of one's own account and of another one's, there and not there.

    TENANTS     A (team-a), B (team-b), C (team-c), each a namespace and its account; and B2, the tenant that has A's old namespace name now
    Consent     how the keys of C stand to A: default policy, by account, by role, by grant, Deny
    REFERENCES  one row a request's member that can name a key, for every operation that there is
    attempt     runs an operation as the server would, for a caller that knows its own namespace only, and notes every effect

Used by the matrix and by the comparison of traces (test_abroad.py, test_abroad_alike.py). In memory, on the fake HSM.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from msgspec import UNSET
from tests.builders import (
    ACCOUNT,
    NAMESPACE,
    NOW,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    OTHER_UID,
    REGION,
    UID,
    Records,
    a_control_world,
    a_grant,
    a_key,
    an_alias,
)
from tests.hsm.fake import FakeHsm
from tests.operations.requests import KEYS, a_blob, a_request

from keystead.engine.identifiers import alias_arn, key_arn, role_arn, root_arn
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.errors import KmsError
from keystead.operations import OPERATIONS
from keystead.operations.control.alias_lists import ListAliasesRequest
from keystead.operations.control.aliases import CreateAliasRequest, UpdateAliasRequest
from keystead.operations.control.grant_ends import RetireGrantRequest, RevokeGrantRequest
from keystead.operations.control.grant_lists import ListGrantsRequest
from keystead.operations.control.grants import CreateGrantRequest
from keystead.operations.control.keys import UpdateKeyDescriptionRequest
from keystead.operations.control.policies import GetKeyPolicyRequest, ListKeyPoliciesRequest, PutKeyPolicyRequest
from keystead.operations.control.registry import CONTROL
from keystead.operations.control.rotation import (
    DisableKeyRotationRequest,
    EnableKeyRotationRequest,
    GetKeyRotationStatusRequest,
    ListKeyRotationsRequest,
    RotateKeyOnDemandRequest,
)
from keystead.operations.control.state import (
    CancelKeyDeletionRequest,
    DisableKeyRequest,
    EnableKeyRequest,
    ScheduleKeyDeletionRequest,
)
from keystead.operations.control.tags import ListResourceTagsRequest, Tag, TagResourceRequest, UntagResourceRequest
from keystead.operations.control.usage import GetKeyLastUsageRequest
from keystead.operations.effects import Await, Change, Effect, Home, Need, Slow
from keystead.operations.encryption import DecryptRequest, ReEncryptRequest
from keystead.operations.grant_tokens import make_token
from keystead.policy import Action, Caller, root_caller, service_account_caller
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage

HSM = FakeHsm()
S, U = KeySpec, KeyUsage
SYMMETRIC = (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT)


@dataclass(frozen=True)
class Tenant:
    """A namespace, as it lives or lived, and its account."""

    namespace: str
    uid: str
    account: str

    @property
    def app(self) -> Caller:
        return service_account_caller(self.account, self.namespace, "app", session="s-1")

    @property
    def other(self) -> Caller:
        """A ServiceAccount that nobody's policy names."""
        return service_account_caller(self.account, self.namespace, "other", session="s-2")

    @property
    def root(self) -> Caller:
        return root_caller(self.account, self.namespace)


A = Tenant(NAMESPACE, UID, ACCOUNT)
B = Tenant(OTHER_NAMESPACE, OTHER_UID, OTHER_ACCOUNT)
C = Tenant("team-c", "0a4c2d3e-0000-4000-8000-000000000003", "777788889999")
B2 = Tenant(NAMESPACE, "0a4c2d3e-0000-4000-8000-00000000000b", "222233334444")
"""Somebody else, in a namespace made again under A's name."""
ADOPTED = Tenant(NAMESPACE, B2.uid, ACCOUNT)
"""The same namespace, to which an administrator gave A's account."""
HOMES = {tenant.namespace: tenant.uid for tenant in (A, B, C)}


class Consent(StrEnum):
    """How C's keys stand to A."""

    DEFAULT = "default"
    ACCOUNT = "account"
    ROLE = "role"
    GRANT = "grant"
    DENY = "deny"


def _policy(consent: Consent) -> bytes | None:
    def statement(effect: str, principal: str) -> dict[str, Any]:
        return {"Effect": effect, "Principal": {"AWS": principal}, "Action": "kms:*", "Resource": "*"}

    own = statement("Allow", root_arn(C.account))
    match consent:
        case Consent.DEFAULT | Consent.GRANT:
            return None
        case Consent.ACCOUNT:
            more = [statement("Allow", root_arn(A.account))]
        case Consent.ROLE:
            more = [statement("Allow", role_arn(A.account, "app"))]
        case Consent.DENY:
            more = [statement("Allow", root_arn(A.account)), statement("Deny", root_arn(A.account))]
    return json.dumps({"Version": "2012-10-17", "Statement": [own, *more]}).encode()


class Keys(NamedTuple):
    """The key of a tenant that a reference is about, with its alias and a grant that could be retired."""

    key: KeyRecord
    alias: AliasRecord
    grant: GrantRecord

    @property
    def arn(self) -> str:
        return key_arn(REGION, self.key.account, self.key.key_id)

    @property
    def alias_arn(self) -> str:
        return alias_arn(REGION, self.key.account, self.alias.alias_name)


@cache
def keys_of(tenant: Tenant, spec: KeySpec, usage: KeyUsage, consent: Consent = Consent.DEFAULT, **changes: Any) -> Keys:
    """The grant: of all that the key can do, to A's `app` where C consents by grant, else to nobody who calls here."""
    where = {"account": tenant.account, "namespace": tenant.namespace, "namespace_uid": tenant.uid}
    policy = _policy(consent)
    members = {**where, "policy": UNSET if policy is None else policy, **changes}
    key = a_key(HSM, spec, usage=usage, n=100 + int(tenant.account[:3]), **members)
    grantee = role_arn(A.account, "app") if consent is Consent.GRANT else role_arn(C.account, "nobody")
    return Keys(key, an_alias(key, "alias/theirs"), a_grant(key, *GrantOperation, to=grantee, grant_id=key.key_id.replace("-", "") * 2))


class Reference(NamedTuple):
    """A member of a request that names a key. how: `arn`, `alias arn`, `blob`, ...; action: what it asks of that key."""

    operation: str
    member: str
    how: str
    action: Action
    fits: tuple[KeySpec, KeyUsage]
    make: Callable[[Keys, Keys], Any]

    def __str__(self) -> str:
        return f"{self.operation}.{self.member} by {self.how}"


def _plain(operation: str) -> list[Reference]:
    """KeyId of what is no Decrypt and no ReEncrypt: by ARN, by alias ARN, and with a token of a grant of that key."""
    action, fits = OPERATIONS[operation].actions[0], KEYS[operation]
    tokens = [] if operation == "GetPublicKey" else ["token"]

    def make(how: str) -> Callable[[Keys, Keys], Any]:
        def request(theirs: Keys, _own: Keys) -> Any:
            more: dict[str, Any] = {"grant_tokens": (_token(theirs),)} if how == "token" else {}
            asked = _request(operation, theirs.key)
            return replace(asked, key_id=theirs.alias_arn if how == "alias arn" else theirs.arn, **more)

        return request

    return [Reference(operation, "KeyId", how, action, fits, make(how)) for how in ("arn", "alias arn", *tokens)]


@cache
def _made(operation: str, key_id: str, spec: KeySpec, usage: KeyUsage) -> Any:
    return a_request(HSM, operation, a_key(HSM, spec, usage=usage, key_id=key_id))


def _request(operation: str, key: KeyRecord) -> Any:
    return _made(operation, key.key_id, key.spec, key.usage)


@cache
def _blob_of(key_id: str) -> bytes:
    return a_blob(HSM, a_key(HSM, key_id=key_id), None)


def blob_of(keys: Keys) -> bytes:
    return _blob_of(keys.key.key_id)


def _token(keys: Keys) -> str:
    return make_token(HSM.domain, keys.grant.grant_id, NOW)


def _decrypt(how: str, make: Callable[[Keys], str | None]) -> Reference:
    def request(theirs: Keys, _own: Keys) -> Any:
        return DecryptRequest(ciphertext_blob=blob_of(theirs), key_id=make(theirs))

    return Reference("Decrypt", "CiphertextBlob" if how == "blob" else "KeyId", how, Action.DECRYPT, SYMMETRIC, request)


def _source(how: str, make: Callable[[Keys], str | None]) -> Reference:
    def request(theirs: Keys, own: Keys) -> Any:
        return ReEncryptRequest(ciphertext_blob=blob_of(theirs), source_key_id=make(theirs), destination_key_id=own.key.key_id)

    member = "CiphertextBlob" if how == "blob" else "SourceKeyId"
    return Reference("ReEncrypt", member, how, Action.RE_ENCRYPT_FROM, SYMMETRIC, request)


def _destination(how: str, make: Callable[[Keys], str]) -> Reference:
    def request(theirs: Keys, own: Keys) -> Any:
        return ReEncryptRequest(ciphertext_blob=blob_of(own), destination_key_id=make(theirs))

    return Reference("ReEncrypt", "DestinationKeyId", how, Action.RE_ENCRYPT_TO, SYMMETRIC, request)


def _control(operation: str, make: Callable[[Keys], Any], member: str = "KeyId") -> Reference:
    action = CONTROL[operation].actions[0]
    return Reference(operation, member, "arn", action, SYMMETRIC, lambda theirs, _own: make(theirs))


def _grant(theirs: Keys) -> CreateGrantRequest:
    return CreateGrantRequest(key_id=theirs.arn, operations=("Decrypt",), grantee_principal=role_arn(B.account, "app"))


REFERENCES: tuple[Reference, ...] = (
    *(row for operation in KEYS if operation not in ("Decrypt", "ReEncrypt") for row in _plain(operation)),
    _decrypt("arn", lambda keys: keys.arn),
    _decrypt("alias arn", lambda keys: keys.alias_arn),
    _decrypt("blob", lambda _: None),
    _source("arn", lambda keys: keys.arn),
    _source("alias arn", lambda keys: keys.alias_arn),
    _source("blob", lambda _: None),
    _destination("arn", lambda keys: keys.arn),
    _destination("alias arn", lambda keys: keys.alias_arn),
    _control("CreateGrant", _grant),
    _control("ListGrants", lambda keys: ListGrantsRequest(key_id=keys.arn)),
    _control("RevokeGrant", lambda keys: RevokeGrantRequest(key_id=keys.arn, grant_id=keys.grant.grant_id)),
    _control("RetireGrant", lambda keys: RetireGrantRequest(key_id=keys.arn, grant_id=keys.grant.grant_id)),
    _control("GetKeyRotationStatus", lambda keys: GetKeyRotationStatusRequest(key_id=keys.arn)),
    _control("CreateAlias", lambda keys: CreateAliasRequest(alias_name="alias/mine", target_key_id=keys.arn), "TargetKeyId"),
    _control("UpdateAlias", lambda keys: UpdateAliasRequest(alias_name="alias/own", target_key_id=keys.arn), "TargetKeyId"),
    _control("ListAliases", lambda keys: ListAliasesRequest(key_id=keys.arn)),
    _control("EnableKey", lambda keys: EnableKeyRequest(key_id=keys.arn)),
    _control("DisableKey", lambda keys: DisableKeyRequest(key_id=keys.arn)),
    _control("UpdateKeyDescription", lambda keys: UpdateKeyDescriptionRequest(key_id=keys.arn, description="x")),
    _control("ScheduleKeyDeletion", lambda keys: ScheduleKeyDeletionRequest(key_id=keys.arn)),
    _control("CancelKeyDeletion", lambda keys: CancelKeyDeletionRequest(key_id=keys.arn)),
    _control("TagResource", lambda keys: TagResourceRequest(key_id=keys.arn, tags=(Tag(tag_key="a", tag_value="b"),))),
    _control("UntagResource", lambda keys: UntagResourceRequest(key_id=keys.arn, tag_keys=("a",))),
    _control("ListResourceTags", lambda keys: ListResourceTagsRequest(key_id=keys.arn)),
    _control("GetKeyPolicy", lambda keys: GetKeyPolicyRequest(key_id=keys.arn)),
    _control("PutKeyPolicy", lambda keys: PutKeyPolicyRequest(key_id=keys.arn, policy=(_policy(Consent.ACCOUNT) or b"").decode())),
    _control("ListKeyPolicies", lambda keys: ListKeyPoliciesRequest(key_id=keys.arn)),
    _control("EnableKeyRotation", lambda keys: EnableKeyRotationRequest(key_id=keys.arn)),
    _control("DisableKeyRotation", lambda keys: DisableKeyRotationRequest(key_id=keys.arn)),
    _control("RotateKeyOnDemand", lambda keys: RotateKeyOnDemandRequest(key_id=keys.arn)),
    _control("ListKeyRotations", lambda keys: ListKeyRotationsRequest(key_id=keys.arn)),
    _control("GetKeyLastUsage", lambda keys: GetKeyLastUsageRequest(key_id=keys.arn)),
)

FUNCTIONS = {row.request: row.function for row in [*OPERATIONS.values(), *CONTROL.values()]}


@dataclass
class Outcome:
    """How a call ended. `trace`: its effects, as a clock sees them; `changed`: it came as far as a write."""

    code: str = ""
    message: str = ""
    changed: str = ""
    trace: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def allowed(self) -> bool:
        return self.code == ""


def attempt(
    request: Any,
    caller: Caller,
    uid: str,
    *records: KeyRecord | AliasRecord | GrantRecord,
    rbac: bool = True,
    homes: dict[str, str] = HOMES,
    claimed: bool = True,
) -> Outcome:
    """A call up to its first write. `uid`: of the caller's live namespace, the only one that its view knows; claimed: so is its account."""
    world = a_control_world(HSM, *records)
    assert isinstance(world.keys, Records)
    world.keys.namespaces = {caller.namespace: uid}
    world.keys.unclaimed = set() if claimed else {caller.account}
    said = Outcome()
    running = FUNCTIONS[type(request)](world, caller, request)
    try:
        effect = next(running)
        while True:
            said.trace.append(_shown(effect))
            if isinstance(effect, Change):
                said.changed = f"{effect.write}"
                running.close()
                return said
            effect = running.send(_answer(effect, rbac, homes, said))
    except StopIteration:
        return said
    except KmsError as error:
        said.code, said.message = error.code, error.message
        return said


def _answer(effect: Effect, rbac: bool, homes: dict[str, str], said: Outcome) -> Any:
    match effect:
        case Need(review):
            said.asked.append(f"{review.verb} {review.name} in {review.namespace}")
            return rbac
        case Home(namespace):
            return homes.get(namespace)
        case Slow(call):
            return HSM.slow(call)
        case Await():
            return None
    raise AssertionError(effect)


def _shown(effect: Effect) -> str:
    """What takes time. A wait that finds at once what it waits for takes none."""
    if isinstance(effect, Await):
        return "Await 0" if effect.ready() else "Await"
    return type(effect).__name__

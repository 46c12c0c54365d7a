"""Builders with changes (STYLE 27): `a_key(hsm, state=KeyState.DISABLED)`, and a world to call operations in.

Material is made once per backend and key (a real token needs seconds for RSA_4096); records around it are made anew.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import pytest
from msgspec import UNSET

from keystead.engine.identifiers import KeyIdForm, key_id_bytes, role_arn
from keystead.engine.keyspec import usages
from keystead.engine.ports import Capabilities, Domain, FastLane, Generate, GeneratedMaterial, SlowCall, SlowResult
from keystead.engine.record import (
    AliasRecord,
    GrantConstraints,
    GrantRecord,
    Hold,
    KeyRecord,
    KeyVersion,
    Wrap,
)
from keystead.engine.record.grant import grantee_of
from keystead.operations import OPERATIONS, World, drive
from keystead.operations.world import ControlWorld, LastUse
from keystead.policy import Action, Caller, SubjectAccessReview, root_caller, service_account_caller
from keystead.policy.grant_needs import Wanted
from keystead.resources.vocabulary import (
    DeletionPolicy,
    GrantOperation,
    KeySpec,
    KeyState,
    KeyUsage,
    Origin,
    Protection,
)

REGION = "cluster-1"
NAMESPACE = "team-a"
ACCOUNT = "111122223333"
UID = "0a4c2d3e-0000-4000-8000-000000000001"
OTHER_NAMESPACE = "team-b"
OTHER_ACCOUNT = "444455556666"
OTHER_UID = "0a4c2d3e-0000-4000-8000-000000000002"
NAMESPACES = {NAMESPACE: UID, OTHER_NAMESPACE: OTHER_UID}
NOW = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
CREATED = "2026-11-01T00:00:00Z"
BEFORE = "2026-11-26T07:59:59Z"
AFTER = "2026-11-26T08:00:01Z"
APP = role_arn(ACCOUNT, "app")


class Hsm(Protocol):
    """What the one suite needs of a backend: the fake, SoftHSM2, kryoptic."""

    @property
    def domain(self) -> Domain: ...
    @property
    def fast(self) -> FastLane: ...
    @property
    def capabilities(self) -> Capabilities: ...
    def slow(self, call: SlowCall) -> SlowResult: ...
    def close(self) -> None: ...


_made: WeakKeyDictionary[Hsm, dict[tuple[object, ...], GeneratedMaterial]] = WeakKeyDictionary()


def a_key_id(n: int = 1, *about: object) -> str:
    """The n-th key id, a UUID."""
    return str(uuid.UUID(bytes=hashlib.sha256(repr((n, about)).encode()).digest()[:16], version=4))


def material(hsm: Hsm, key_id: str, spec: KeySpec, usage: KeyUsage, n: int) -> tuple[GeneratedMaterial, Protection]:
    """Version n of a key's material, made in the backend once. Skips where the backend cannot do the spec."""
    protection = hsm.capabilities.protection(spec)
    if protection is None:
        pytest.skip(f"{spec.value} is unsupported by this token")
    made = _made.setdefault(hsm, {})
    what = (key_id, spec, usage, n)
    if what not in made:
        result = hsm.slow(Generate(key_id_bytes(key_id), spec, protection, usage))
        assert isinstance(result, GeneratedMaterial)
        made[what] = result
    return made[what], protection


def a_version(hsm: Hsm, key_id: str, spec: KeySpec, usage: KeyUsage, n: int = 1, **changes: Any) -> KeyVersion:
    """A key version with material of the backend."""
    made, protection = material(hsm, key_id, spec, usage, n)
    members: dict[str, Any] = {
        "n": n,
        "material_id": made.material_id.hex(),
        "created": CREATED,
        "origin": Origin.AWS_KMS,
        "protection": protection,
        "wrap": Wrap.SUITE1 if protection is Protection.SOFTWARE else Wrap.KWP,
        "wrapped": made.wrapped,
        "plain_len": made.plain_len,
        "spki": UNSET if made.spki is None else made.spki,
    }
    return KeyVersion(**{**members, **changes})


def a_key(
    hsm: Hsm,
    spec: KeySpec = KeySpec.SYMMETRIC_DEFAULT,
    *,
    n: int = 1,
    usage: KeyUsage | None = None,
    state: KeyState = KeyState.ENABLED,
    n_versions: int = 1,
    held: bool = False,
    **changes: Any,
) -> KeyRecord:
    """The n-th key of a spec, Enabled and bound unless changed. A Destroyed one has no material."""
    usage = usage or usages(spec)[0]
    key_id = changes.pop("key_id", None) or a_key_id(n, spec.value, usage.value)
    gone = {"wrapped": UNSET, "plain_len": UNSET} if state is KeyState.DESTROYED else {}
    versions = [a_version(hsm, key_id, spec, usage, i, **gone) for i in range(1, n_versions + 1)]
    members: dict[str, Any] = {
        "domain_generation": hsm.domain.generation,
        "domain_fingerprint": hsm.domain.fingerprint,
        "namespace_uid": UID,
        "transition": 1,
        "seq": 1,
        "store_name": "default",
        "key_id": key_id,
        "key_id_form": KeyIdForm.MRK if key_id.startswith("mrk-") else KeyIdForm.UUID,
        "region": REGION,
        "account": ACCOUNT,
        "namespace": NAMESPACE,
        "name": f"key-{n}",
        "object_uid": "object-1",
        "crd_uid": "crd-1",
        "bound": True,
        "spec": spec,
        "usage": usage,
        "origin": Origin.AWS_KMS,
        "multi_region": False,
        "protection": versions[-1].protection,
        "description": "",
        "tags": {},
        "enabled": state is not KeyState.DISABLED,
        "hold": Hold(since=CREATED, by="responder") if held else UNSET,
        "state": state,
        "created": CREATED,
        "deletion_date": "2026-12-26T08:00:00Z" if state is KeyState.PENDING_DELETION else UNSET,
        "pending_window_in_days": 30,
        "deletion_policy": DeletionPolicy.RETAIN,
        "on_demand_rotations": 0,
        "versions": versions,
        "current": n_versions,
        "n_versions": n_versions,
    }
    return KeyRecord(**{**members, **changes})


def another_tenants_key(hsm: Hsm, spec: KeySpec = KeySpec.SYMMETRIC_DEFAULT, **changes: Any) -> KeyRecord:
    """A key of the other namespace."""
    where = {"account": OTHER_ACCOUNT, "namespace": OTHER_NAMESPACE, "namespace_uid": OTHER_UID}
    return a_key(hsm, spec, **{"n": 9, **where, **changes})


def _of_key(key: KeyRecord) -> dict[str, Any]:
    return {
        "domain_generation": key.domain_generation,
        "domain_fingerprint": key.domain_fingerprint,
        "namespace_uid": key.namespace_uid,
        "transition": 1,
        "seq": 1,
        "key_id": key.key_id,
        "region": key.region,
        "account": key.account,
        "namespace": key.namespace,
        "object_uid": "object-2",
        "crd_uid": "crd-2",
        "bound": True,
        "created": CREATED,
    }


def an_alias(key: KeyRecord, alias_name: str = "alias/app", **changes: Any) -> AliasRecord:
    """An alias of a key."""
    members = {**_of_key(key), "alias_name": alias_name, "name": "app", "updated": CREATED}
    return AliasRecord(**{**members, **changes})


def a_grant(
    key: KeyRecord,
    *operations: GrantOperation,
    to: str = APP,
    equals: dict[str, str] | None = None,
    subset: dict[str, str] | None = None,
    **changes: Any,
) -> GrantRecord:
    """A grant on a key to the ServiceAccount `app`, with at most one constraint."""
    members = {
        **_of_key(key),
        "grant_id": hashlib.sha256(repr((key.key_id, operations, to)).encode()).hexdigest(),
        "name": "grant-1",
        "grantee_principal": to,
        "operations": sorted(operations),
    }
    if equals is not None or subset is not None:
        members["constraints"] = GrantConstraints(
            encryption_context_equals=UNSET if equals is None else equals,
            encryption_context_subset=UNSET if subset is None else subset,
        )
    return GrantRecord(**{**members, **changes})


def root_of(key: KeyRecord) -> Caller:
    """The root of the key's account."""
    return root_caller(key.account, key.namespace)


def an_app(**changes: Any) -> Caller:
    """The ServiceAccount `app` of team-a, in a session."""
    arguments = {"account": ACCOUNT, "namespace": NAMESPACE, "name": "app", "session": "s-1", **changes}
    return service_account_caller(**arguments)


@dataclass
class Records:
    """The read port over a handful of records (operations.world.Catalogue)."""

    keys: dict[bytes, KeyRecord] = field(default_factory=dict)
    aliases: dict[tuple[str, str, str], AliasRecord] = field(default_factory=dict)
    grants: dict[bytes, list[GrantRecord]] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=lambda: dict(NAMESPACES))
    uses: dict[str, LastUse] = field(default_factory=dict)
    unclaimed: set[str] = field(default_factory=set)

    def add(self, record: KeyRecord | AliasRecord | GrantRecord) -> None:
        match record:
            case KeyRecord():
                self.keys[key_id_bytes(record.key_id)] = record
            case AliasRecord():
                self.aliases[record.account, record.region, record.alias_name] = record
            case GrantRecord():
                self.grants.setdefault(key_id_bytes(record.key_id), []).append(record)

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        return self.keys.get(key_id)

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        return self.aliases.get((account, region, name))

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        return sorted(self.grants.get(key_id, ()), key=lambda grant: grant.grant_id)

    def grants_held(self, key: KeyRecord, grantee: str) -> Sequence[GrantRecord]:
        found = [grant for grant in self.grants_of(key_id_bytes(key.key_id)) if grant.namespace_uid == key.namespace_uid]
        return sorted((grant for grant in found if grantee_of(grant) == grantee), key=lambda grant: grant.grant_id)

    def grants_to(
        self, key: KeyRecord, caller: Caller, action: Action, context: Mapping[str, str], source: str = "", wanted: Wanted | None = None
    ) -> Sequence[GrantRecord]:
        return [grant for grant in self.grants_of(key_id_bytes(key.key_id)) if grantee_of(grant) == caller.principal]

    def namespace_uid(self, namespace: str) -> str | None:
        return self.namespaces.get(namespace)

    def has_account(self, namespace: str, account: str) -> bool:
        return account not in self.unclaimed

    def grant(self, grant_id: str) -> GrantRecord | None:
        return next((grant for grant in self._grants() if grant.grant_id == grant_id), None)

    def key_named(self, namespace: str, name: str) -> KeyRecord | None:
        return next((key for key in self.keys.values() if (key.namespace, key.name) == (namespace, name)), None)

    def keys_of(self, account: str, region: str) -> Sequence[KeyRecord]:
        found = [key for key in self.keys.values() if (key.account, key.region) == (account, region)]
        return sorted((key for key in found if key.state is not KeyState.DESTROYED), key=lambda key: key.key_id)

    def aliases_of(self, account: str, region: str) -> Sequence[AliasRecord]:
        found = [alias for alias in self.aliases.values() if (alias.account, alias.region) == (account, region)]
        return sorted(found, key=lambda alias: alias.alias_name)

    def managed_key(self, account: str, region: str) -> KeyRecord | None:
        return next((key for key in self.keys_of(account, region) if key.name == "aws-keystead"), None)

    def grant_named(self, namespace: str, name: str) -> GrantRecord | None:
        return next((grant for grant in self._grants() if (grant.namespace, grant.name) == (namespace, name)), None)

    def grants_retirable_by(self, principal: str) -> Sequence[GrantRecord]:
        found = [grant for grant in self._grants() if principal in (grant.retiring_principal, grant.retiring_service_principal)]
        return sorted(found, key=lambda grant: grant.grant_id)

    def last_use(self, key_id: str) -> LastUse | None:
        return self.uses.get(key_id)

    def _grants(self) -> list[GrantRecord]:
        return [grant for grants in self.grants.values() for grant in grants]


class Entropy:
    """Fresh bytes without an operating system: a counter through SHAKE-256."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, count: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(b"entropy %d" % self.calls).digest(count)


def a_world(hsm: Hsm, *records: KeyRecord | AliasRecord | GrantRecord, **changes: Any) -> World:
    """A world that holds these records."""
    return World(**_members(hsm, records, changes))


def a_control_world(hsm: Hsm, *records: KeyRecord | AliasRecord | GrantRecord, **changes: Any) -> ControlWorld:
    """A world that holds these records, for an operation that lists or changes."""
    return ControlWorld(**_members(hsm, records, changes))


def _members(
    hsm: Hsm, records: Sequence[KeyRecord | AliasRecord | GrantRecord], changes: dict[str, Any]
) -> dict[str, Any]:
    keys = Records()
    for record in records:
        keys.add(record)
    members: dict[str, Any] = {
        "domain": hsm.domain,
        "fast": hsm.fast,
        "capabilities": hsm.capabilities,
        "keys": keys,
        "region": REGION,
        "now": NOW,
        "entropy": Entropy(),
    }
    return {**members, **changes}


@dataclass
class Rbac:
    """RBAC that always says the same, and remembers what it was asked."""

    answer: bool = True
    asked: list[SubjectAccessReview] = field(default_factory=list)

    def __call__(self, review: SubjectAccessReview) -> bool:
        self.asked.append(review)
        return self.answer


_FUNCTIONS = {row.request: row.function for row in OPERATIONS.values()}


def call(hsm: Hsm, world: World, request: Any, *, caller: Caller | None = None, rbac: Rbac | None = None) -> Any:
    """Run the operation that this request belongs to. By default `app` calls and RBAC allows."""
    running = _FUNCTIONS[type(request)](world, caller or an_app(), request)
    return drive(running, rbac or Rbac(), hsm.slow)

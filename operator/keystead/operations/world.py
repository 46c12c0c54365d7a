"""All that an operation may look at besides its caller and its request. Made by the front door, one a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keystead.engine.bounds import KEYS_PER_NAMESPACE
from keystead.engine.ports import Capabilities, Domain, FastLane
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.engine.values import per_call
from keystead.policy.actions import Action
from keystead.policy.caller import Caller
from keystead.policy.grant_needs import Wanted
from keystead.policy.question import Carried, Decision


class Keys(Protocol):
    """The read model: sealed records only, opened and verified (store/ implements it)."""

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """The key record with these 16 bytes; of two, the one with the higher seq."""

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """The alias record; `name` begins with `alias/`."""

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """All grants of a key, in the order of their ids."""

    def grants_to(
        self, key: KeyRecord, caller: Caller, action: Action, context: Mapping[str, str], source: str = "", wanted: Wanted | None = None
    ) -> Sequence[GrantRecord]:
        """Grants of a key to this caller: if any of all its grants allows the action, one of these does. In the order to ask them in.

        context: the request's; source: on behalf of which resource it is made. wanted: of CreateGrant, the new grant: those that cover it.
        A grant that the caller asks for by its id (Caller.only_grant) is found by `grant`.
        """

    def namespace_uid(self, namespace: str) -> str | None:
        """The uid of the live namespace of this name, None where there is none."""

    def has_account(self, namespace: str, account: str) -> bool:
        """Whether this account is claimed by the namespace of this name that lives now.

        An id that nobody has claimed yet could come to a namespace that is made under the name later: nothing abroad is lent to it.
        """

    def grant(self, grant_id: str) -> GrantRecord | None:
        """The grant record of this id."""

    def aliases_of(self, account: str, region: str) -> Sequence[AliasRecord]:
        """The aliases of an account in a region, in the order of their names."""


    def managed_key(self, account: str, region: str) -> KeyRecord | None:
        """The AWS managed key of an account: `alias/aws/keystead` leads to it by rule."""


class Catalogue(Keys, Protocol):
    """The read model as the control plane needs it: lists, and records by their objects' names."""

    def key_named(self, namespace: str, name: str) -> KeyRecord | None:
        """The key record that the KmsKey of this name holds, or held last. Never one that was set aside."""

    def keys_of(self, account: str, region: str) -> Sequence[KeyRecord]:
        """The keys of an account in a region, tombstones left out, in the order of their ids."""

    def grant_named(self, namespace: str, name: str) -> GrantRecord | None:
        """The grant record that the KmsGrant of this name holds."""

    def grants_held(self, key: KeyRecord, grantee: str) -> Sequence[GrantRecord]:
        """The grants of a key, in its namespace as it lives, to this principal or service; in the order of their ids."""

    def grants_retirable_by(self, principal: str) -> Sequence[GrantRecord]:
        """Grants that name this principal, in canonical form, or service as the one that may retire them; in the order of their ids."""

    def last_use(self, key_id: str) -> LastUse | None:
        """The last cryptographic use of a key that is known, merged over all replicas (5 minutes' accuracy)."""


@per_call
class LastUse:
    """AWS KeyLastUsageData: of a successful cryptographic call. `event_id` is the CloudTrail event's."""

    operation: str
    time: datetime
    event_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """What names the object of a create: SHA-256 of the body, and the SDK's invocation id ("": none; then the name is random)."""

    body_digest: bytes = b""
    invocation_id: str = ""


@per_call
class Judged:
    """One decision of a call. key: None where the action needs none."""

    key: KeyRecord | None
    action: Action
    decision: Decision


@per_call
class World:
    """`entropy` answers fresh random bytes; `now` is the moment of the call; `tracking_since`: from when uses were counted.

    carried: how the call came, for the conditions of key policies; trail: what the pipeline has decided in this call, for its audit record
    """

    domain: Domain
    fast: FastLane
    capabilities: Capabilities
    keys: Keys
    region: str
    now: datetime
    entropy: Callable[[int], bytes]
    call: Call = Call()
    tracking_since: datetime | None = None
    carried: Carried = Carried()
    trail: list[Judged] = field(default_factory=list)
    keys_per_namespace: int = KEYS_PER_NAMESPACE


@per_call
class ControlWorld(World):
    """The World of an operation that lists or changes."""

    keys: Catalogue

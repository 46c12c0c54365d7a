"""What `kubectl kms` needs from the outside, and the values that it shows. `app/kms` implements it.

A Protocol, because `cli` stands beside `store` and must not import it. Everything runs with the rights of the person's own kubeconfig; no
value here holds a credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command looks. namespace "": that of the context."""

    namespace: str = ""
    context: str = ""
    kubeconfig: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """About whom. name None: about who asks. install_account: the account of people, where it may not be read."""

    name: str | None = None
    groups: tuple[str, ...] = ()
    install_account: str | None = None


class Verdict(StrEnum):
    """The answer to `may they?`. UNDECIDED: it hangs on what was not said, or on what may not be read."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Considered:
    """A statement or grant. came_to: policy.explain.Standing; object: the KmsGrant's name, "" for statements."""

    name: str
    effect: str
    came_to: str
    why: str
    object: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A binding and the rule of its role that gives a right. wildcard: the parts of the rule that are `*`."""

    binding: str
    role: str
    rule: str
    wildcard: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server said of a right. allowed None: this person may not ask."""

    asked: str
    allowed: bool | None
    reason: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyAnswer:
    """Why somebody may do something with a key, or not.

    decided_by  statement, grant, rbac, account, nothing or policy-unreadable; "" where nothing is decided
    depends_on  facts of the request that were not said and that matter
    obstacles   what stands against it although it is allowed: the key's state
    changes     what would change the answer
    unread      what this person may not read
    """

    verdict: Verdict
    who: str
    principal: str
    action: str
    key: str
    key_arn: str
    decided_by: str = ""
    reason: str = ""
    statements: tuple[Considered, ...] = ()
    grants: tuple[Considered, ...] = ()
    reviews: tuple[Review, ...] = ()
    depends_on: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class May(StrEnum):
    """What a holder may."""

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"
    """On facts of the request, or on another account's own RBAC."""
    KUBECTL = "kubectl"
    """Not by the endpoint: by writing the object, which admission asks this verb for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One principal, and what gives it the action. wildcard: why it holds more than it was named for, "" where it does not."""

    who: str
    may: May
    through: str
    wildcard: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoCanAnswer:
    """Who may do an action with a key. denies: the Deny statements about it. unread: what is missing from the list, and why."""

    action: str
    key: str
    key_arn: str
    holders: tuple[Holder, ...]
    denies: tuple[Considered, ...] = ()
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that cannot be told, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class CallerUse:
    """Who called with a key: how often each operation, when last; denied: calls that were refused."""

    principal: str
    operations: Mapping[str, int]
    last: str
    denied: int = 0


@dataclass(frozen=True, slots=True)
class KnownCallers:
    """All of a time. reaches_back: from when there are records: before it nothing is known."""

    uses: tuple[CallerUse, ...]
    reaches_back: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Servers that are asked for a key's records, and as whom. service_account: a token is made for it; else token_file has one."""

    endpoints: tuple[str, ...]
    ca_file: Path | None = None
    service_account: str = ""
    token_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Where a person has the audit trail: its folders, or replicas that tell a key's part of it; neither: nowhere."""

    folders: tuple[Path, ...] = ()
    replicas: Replicas | None = None


class Callers(Protocol):
    """Where calls are known from."""

    async def callers(self, key_arn: str, since: datetime) -> KnownCallers | Unknown: ...


@dataclass(frozen=True, slots=True)
class Dependant:
    """A KmsAlias, KmsGrant or KmsDataKey that points at the key. detail: alias name, grantee and operations, Secret."""

    kind: str
    namespace: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A Pod, or the template of a workload, that has a data key's Secret. owner: `Deployment app`, "" for a Pod of its own."""

    kind: str
    namespace: str
    name: str
    owner: str
    secret: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactAnswer:
    """What hangs on a key.

    hidden   dependants that the operator counts and this person does not see, by kind
    unclear  KmsDataKeys, as namespace/name, that may be among them: their status does not say under which keys older versions are
    """

    key: str
    key_arn: str
    name: str
    namespace: str
    state: str
    last_used: str
    callers: KnownCallers | Unknown
    dependants: tuple[Dependant, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hidden: Mapping[str, int] = field(default_factory=dict)
    unclear: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about one action. key "": an action without a key. facts: condition keys with their values."""

    action: str
    key: str = ""
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class KmsServices(Protocol):
    """Implemented by app/kms/services.py."""

    def why(self, place: Place, subject: Subject, question: Question) -> WhyAnswer: ...
    def who_can(self, place: Place, question: Question) -> WhoCanAnswer: ...

    def impact(self, place: Place, key: str, trail: Trail) -> ImpactAnswer:
        """trail: where callers are known from."""

    def schedule_deletion(self, place: Place, shown: ImpactAnswer, days: int) -> dict[str, str | int]:
        """Of the key that was shown, and no other."""

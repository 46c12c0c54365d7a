"""The question and its answers: what is asked of the policy, with everything that a condition may look at. Values only.

Made by operations.pipeline, once a request and key; answered by policy.evaluate. Facts that cost something (the aliases of the key) are
functions, called only where a condition of the key's policy asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from keystead.engine.record import GrantRecord, KeyRecord
from keystead.engine.values import per_call
from keystead.policy.actions import Action
from keystead.policy.caller import Caller
from keystead.policy.review import SubjectAccessReview


def _no_aliases() -> Sequence[str]:
    return ()


@per_call
class Carried:
    """How a call came. source_ip: the peer's address, "" where there is none (CLI, controller). secure: over TLS, None: not over a network.

    via_service: the service of ours that asks on the account's behalf, "" where the caller asks for itself.
    source_arn: the resource on whose behalf a service of ours asks (engine.identifiers.data_key_arn), "" where there is none.
    """

    source_ip: str = ""
    secure: bool | None = None
    via_service: str = ""
    source_arn: str = ""


@per_call
class RequestFacts:
    """What a request says beyond its encryption context.

    request   the operation's request dataclass; None: nothing is known of it, and every key that it feeds is absent
    alias     `alias/<name>`, where the request named its key so
    aliases   the names of the key's aliases
    other_key the id of the other key of a ReEncrypt, "" where it names none that is known; None: there is none
    grant     the grant that a RetireGrant is about
    """

    request: object = None
    carried: Carried = Carried()
    alias: str = ""
    aliases: Callable[[], Sequence[str]] = _no_aliases
    other_key: str | None = None
    grant: GrantRecord | None = None


NO_FACTS = RequestFacts()


@per_call
class Question:
    """May `caller` do `action` with `key`? `context` is the request's encryption context (empty: none)."""

    caller: Caller
    action: Action
    key: KeyRecord
    grants: Sequence[GrantRecord]
    context: Mapping[str, str]
    now: datetime
    facts: RequestFacts = NO_FACTS


class Ground(StrEnum):
    """What decided."""

    STATEMENT = "statement"
    GRANT = "grant"
    RBAC = "rbac"
    ACCOUNT = "account"
    """The caller is the root of its account, which may do there what there is to do."""
    NOTHING = "nothing"
    """Nothing allows it."""
    POLICY_UNREADABLE = "policy-unreadable"


@dataclass(frozen=True, slots=True)
class By:
    """For machines (audit, `kubectl kms why`). name: the statement (its Sid, else `Statement[n]`), the grant id, or `verb kmskeys/name`."""

    ground: Ground
    name: str = ""


NOBODY = By(Ground.NOTHING)


@per_call
class Decision:
    """The answer, and why. `explicit`: a Deny statement decided."""

    allowed: bool
    reason: str
    by: By = NOBODY
    explicit: bool = False


@per_call
class NeedReview:
    """RBAC decides: ask, and only an explicit yes allows. `because`: what left it to RBAC.

    decisions: what the answers make of it, by the answer (evaluate.reviewed), made once for all calls that ask this.
    """

    review: SubjectAccessReview
    because: str = ""
    decisions: dict[bool, Decision] = field(default_factory=dict, compare=False, repr=False)


Answer: TypeAlias = Decision | NeedReview

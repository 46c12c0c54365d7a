"""A call that has not been made: what somebody says of it, made into the facts that conditions look at, and the names of those not said.

Called by `kubectl kms why` and `who-can` (app/kms/), which ask the real evaluator about it. What nobody said is never filled in: only what
the key itself leaves no choice about is (a symmetric key encrypts with SYMMETRIC_DEFAULT). No I/O.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Final

from keystead.engine.keyspec import KEY_SPECS
from keystead.engine.record import KeyRecord
from keystead.errors import InvalidSpecError
from keystead.policy.actions import ACTIONS, Action
from keystead.policy.conditionkeys import KEYS, NAMED
from keystead.policy.question import Carried, RequestFacts
from keystead.policy.request import FEEDS

_BY_VERB: Final = {row.verb: action for action, row in ACTIONS.items()}
NONE: Final = "none"
"""Said of a fact: the request does not have it."""
_CONTEXT: Final = "kms:EncryptionContext:"
_REQUEST_TAG: Final = "aws:RequestTag/"
_RESOURCE_TAG: Final = "aws:ResourceTag/"
# Facts of a grant that is made or retired, which no option says.
_OF_GRANT: Final = ("kms:GrantConstraintType", "kms:GrantConstraintSourceArn", _CONTEXT, "kms:EncryptionContextKeys")
# Facts of the call beside its request, and what of Supposed holds each.
_CARRIED: Final = {
    "kms:ViaService": "via_service",
    "kms:GrantIsForAWSResource": "via_service",
    "aws:SourceIp": "source_ip",
    "aws:SourceArn": "source_arn",
    "aws:SourceAccount": "source_arn",
    "aws:SecureTransport": "secure",
    "kms:RequestAlias": "alias",
    "kms:ResourceAliases": "aliases",
    "kms:ReEncryptOnSameKey": "same_key",
}
_NOT_SAID: Final = {
    "kms:ResourceAliases": "the key's KmsAliases",
    "kms:GrantIsForAWSResource": "kms:ViaService",
    "aws:SourceAccount": "aws:SourceArn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """What is said of a call. None: nobody said; NONE, or an empty collection: the call does not have it.

    context      the encryption context
    source_arn   the resource on whose behalf a service of ours asks
    alias        `alias/<name>`, where the request names its key so
    aliases      the key's aliases, where they could be read
    tags_known   whether the key's tags are
    same_key     of a ReEncrypt: "true" or "false"
    members      values by condition key, of those that a member of the request feeds
    """

    context: Mapping[str, str] | None = None
    via_service: str | None = None
    source_ip: str | None = None
    source_arn: str | None = None
    secure: bool | None = None
    alias: str | None = None
    aliases: Sequence[str] | None = None
    tags_known: bool = True
    same_key: str | None = None
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """For a Question: context and facts, and the condition keys (in lower case; `...:` and `.../` stand for all behind) nobody spoke of."""

    context: Mapping[str, str]
    facts: RequestFacts
    unsaid: frozenset[str]


def action_named(text: str) -> Action:
    """`decrypt`, `Decrypt`, `kms:Decrypt`, `generate-data-key`. InvalidSpecError for what is no action."""
    verb = text.removeprefix("kms:").replace("-", "").lower()
    if verb == "reencrypt":
        raise InvalidSpecError("ACTION", "ReEncrypt is two actions: ReEncryptFrom on the one key, ReEncryptTo on the other")
    if verb not in _BY_VERB:
        raise InvalidSpecError("ACTION", f"there is no action {text}; such as decrypt, generate-data-key, kms:CreateGrant")
    return _BY_VERB[verb]


def suppose(action: Action, key: KeyRecord, said: Supposed) -> Asked:
    """The facts of a call. InvalidSpecError for a fact that no request of this action has."""
    members = {**_only_choices(action, key), **{_known(action, name): values for name, values in said.members.items()}}
    unsaid = {name for name, place in _CARRIED.items() if getattr(said, place) is None}
    unsaid |= {name for name in FEEDS.get(action, {}) if name not in members}
    if said.context is None:
        unsaid |= {_CONTEXT, "kms:EncryptionContextKeys"}
    if action in (Action.CREATE_GRANT, Action.RETIRE_GRANT):
        unsaid |= set(_OF_GRANT)
    if not said.tags_known:
        unsaid.add(_RESOURCE_TAG)
    tags = {name: values for name, values in members.items() if name.startswith(_REQUEST_TAG)}
    if not tags:
        unsaid.add(_REQUEST_TAG)
    if not tags and "aws:TagKeys" not in members:
        unsaid.add("aws:TagKeys")
    carried = Carried(_text(said.source_ip), said.secure, _text(said.via_service), _text(said.source_arn))
    other = None if said.same_key is None else key.key_id if said.same_key == "true" else ""
    aliases = tuple(said.aliases or ())
    facts = RequestFacts(_request(action, members, tags), carried, _text(said.alias), lambda: aliases, other)
    return Asked(dict(said.context or {}), facts, frozenset(name.lower() for name in unsaid))


def said_of(facts: Mapping[str, Sequence[str]]) -> Supposed:
    """Facts by condition key, as a person writes them. InvalidSpecError for a name that no fact of a call has."""
    plain: dict[str, str | bool | None] = {}
    context: dict[str, str] | None = None
    members: dict[str, tuple[str, ...]] = {}
    for name, values in facts.items():
        if name == _CONTEXT[:-1] and tuple(values) == (NONE,):
            context = {}
            continue
        known = _canonical(name)
        if known.startswith(_CONTEXT):
            context = {**(context or {}), known[len(_CONTEXT) :]: values[-1]}
        elif known in _NOT_SAID:
            raise InvalidSpecError("--fact", f"{known} follows from {_NOT_SAID[known]}")
        elif known == "aws:SecureTransport":
            plain["secure"] = values[-1].lower() == "true"
        elif known == "aws:SourceIp":
            plain["source_ip"] = _address(values[-1])
        elif known in _CARRIED:
            plain[_CARRIED[known]] = values[-1]
        else:
            members[known] = tuple(values)
    return Supposed(context=context, members=members, **plain)  # type: ignore[arg-type]


def _address(text: str) -> str:
    if text != NONE:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise InvalidSpecError("--source-ip", f"{text} is no IP address; or {NONE}") from None
    return text


def _canonical(name: str) -> str:
    row = KEYS.get(name.lower())
    if row is not None:
        return row.name
    for prefix in NAMED:
        if name.lower().startswith(prefix.lower()) and len(name) > len(prefix):
            return prefix + name[len(prefix) :]
    raise InvalidSpecError("--fact", f"there is no condition key {name}")


def _known(action: Action, name: str) -> str:
    tagged = name.startswith(_REQUEST_TAG) or name == "aws:TagKeys"
    fits = action in (Action.TAG_RESOURCE, Action.UNTAG_RESOURCE) if tagged else name in FEEDS.get(action, {})
    if not fits:
        raise InvalidSpecError("--fact", f"no request of {action.value} says {name}")
    return name


def _only_choices(action: Action, key: KeyRecord) -> dict[str, tuple[str, ...]]:
    """Where a key has one algorithm of a sort, a request that is not refused names that one."""
    spec = KEY_SPECS[key.spec]
    sorts = {
        "kms:EncryptionAlgorithm": spec.encryption,
        "kms:SigningAlgorithm": spec.signing,
        "kms:MacAlgorithm": spec.macs,
        "kms:KeyAgreementAlgorithm": spec.agreement,
    }
    return {name: (known[0].value,) for name, known in sorts.items() if len(known) == 1 and name in FEEDS.get(action, {})}


def _request(action: Action, members: Mapping[str, tuple[str, ...]], tags: Mapping[str, tuple[str, ...]]) -> SimpleNamespace:
    """Members as the operation's request has them; None: left out."""
    made = SimpleNamespace(tags=[], tag_keys=(), constraints=None)
    for name, (member, _) in FEEDS.get(action, {}).items():
        values = members.get(name)
        several = KEYS[name.lower()].multi
        setattr(made, member, None if values in (None, (NONE,)) else values if several else _one(values[-1]))
    made.tags = [SimpleNamespace(tag_key=name[len(_REQUEST_TAG) :], tag_value=values[-1]) for name, values in tags.items()]
    made.tag_keys = members.get("aws:TagKeys", ())
    if not made.tags:
        made.tags = [SimpleNamespace(tag_key=name, tag_value="") for name in made.tag_keys]
    return made


def _one(value: str) -> str | bool:
    return {"true": True, "false": False}.get(value.lower(), value)


def _text(value: str | None) -> str:
    return "" if value is None or value == NONE else value

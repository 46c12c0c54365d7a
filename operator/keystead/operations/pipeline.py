"""The one way to a key: grant tokens, resolve, authorise, state. Every operation with a key goes through `admit` or `admit_blob`.

The order is fixed and tested: nothing about a key (that it is there, state, usage, spec, material) is said to a caller who may not use
it: what a grant token is told does not hang on the key either.

Another account's key is admitted when both sides allow it (policy.evaluate) and its namespace still is the one that made it, which the
API server is asked only then: a caller whom the key's side does not let in takes the same steps whether or not there is such a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

from keystead.engine.algorithms import EncryptionAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm
from keystead.engine.blob import BlobIds
from keystead.engine.identifiers import KeyArn, key_arn, key_id_bytes, key_id_form, parse_kms_arn
from keystead.engine.keyspec import KEY_SPECS
from keystead.engine.keystate import lets, state_error
from keystead.engine.managed import MANAGED_ALIAS, is_managed
from keystead.engine.plan.key_life import shown_state
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.engine.values import per_call
from keystead.errors import KmsError
from keystead.operations import refusals
from keystead.operations.effects import Await, Home, Need, Running
from keystead.operations.grant_tokens import read_token
from keystead.operations.rules import Rule
from keystead.operations.world import Judged, World
from keystead.policy import Action, Caller, Decision, Question, evaluate
from keystead.policy.evaluate import evaluate_keyless, reviewed
from keystead.policy.grant_needs import Wanted
from keystead.policy.question import RequestFacts
from keystead.resources.vocabulary import KeyState

Context = Mapping[str, str] | None
Algorithm = EncryptionAlgorithm | SigningAlgorithm | MacAlgorithm | KeyAgreementAlgorithm
Usable = Callable[[Sequence[GrantRecord]], Sequence[GrantRecord]]
_NO_CONTEXT: Mapping[str, str] = {}
_ALGORITHMS: Final = {
    spec: frozenset[Algorithm]((*known.encryption, *known.signing, *known.macs, *known.agreement)) for spec, known in KEY_SPECS.items()
}
_UNCLAIMED: Final = Decision(False, "the caller's namespace has no account of its own before its first key")
_GONE: Final = Decision(False, "the namespace of the key is gone, or was made again")
# Of a KeyId that is remembered, in characters: a key ARN has less. What is longer is parsed anew.
_USUAL_LENGTH: Final = 128


@per_call
class Asked:
    """What a call asks of a key, beside the action and the key's name.

    request   the operation's request: members of it feed condition keys (policy.request)
    tokens    grant tokens
    usable    which of the caller's grants of the key may allow it, and as what (CreateGrant, RetireGrant); None: all as they are
    other_key the id of the other key of a ReEncrypt, "" where it is not known; None: it has none
    grant     the grant that is to be retired
    wanted    the grant that is to be made
    """

    request: object
    context: Context = None
    tokens: Sequence[str] = ()
    usable: Usable | None = None
    other_key: str | None = None
    grant: GrantRecord | None = None
    wanted: Wanted | None = None


def admit(
    world: World,
    caller: Caller,
    rule: Rule,
    key_id: str,
    asked: Asked,
) -> Running[KeyRecord]:
    """The key that a KeyId names, if the caller may use it for this and its state lets it."""
    if asked.tokens:
        yield from await_grants(world, caller, asked.tokens)
    record = _at_once(world, caller, key_id)
    if record is None:
        record = yield from resolve(world, caller, rule.action, key_id)
    answer = evaluate(question_of(world, caller, rule.action, record, asked, _alias_in(key_id)))
    decision = answer if isinstance(answer, Decision) else reviewed(answer, (yield Need(answer.review)) is True)
    if record.account != caller.account and decision.allowed is True:
        decision = yield from _at_home(world, caller, record, decision)
    world.trail.append(Judged(record, rule.action, decision))
    if decision.allowed is not True:
        raise _with_reason(_denied(caller, rule, record, decision), decision)
    check_state(rule, record)
    return record


def admit_blob(world: World, caller: Caller, rule: Rule, ids: BlobIds, asked: Asked) -> Running[KeyRecord]:
    """The key that a blob names. Unknown, foreign, gone and denied are one answer; the first two after one wait."""
    if asked.tokens:
        yield from await_grants(world, caller, asked.tokens)
    record = _usable(world, caller, ids.key_id)
    if record is not None and record.account != caller.account:
        answer = evaluate(question_of(world, caller, rule.action, record, asked))
        decision = answer if isinstance(answer, Decision) else reviewed(answer, (yield Need(answer.review)) is True)
        if decision.allowed is True:
            decision = yield from _at_home(world, caller, record, decision)
        world.trail.append(Judged(record, rule.action, decision))
        if decision.allowed is True:
            check_state(rule, record)
            return record
    if record is None or record.account != caller.account:
        # The wait is the same for a key that does not exist and for one that is somebody else's.
        yield Await(partial(_has_own, world, caller, ids.key_id), caller.principal)
        record = _usable(world, caller, ids.key_id)
    if record is None or record.account != caller.account:
        raise refusals.blob_key()
    answer = evaluate(question_of(world, caller, rule.action, record, asked))
    decision = answer if isinstance(answer, Decision) else reviewed(answer, (yield Need(answer.review)) is True)
    world.trail.append(Judged(record, rule.action, decision))
    if decision.allowed is not True:
        raise _with_reason(refusals.blob_key(), decision)
    check_state(rule, record)
    return record


def admit_keyless(world: World, caller: Caller, action: Action) -> Running[None]:
    """For an action that needs no key."""
    answer = evaluate_keyless(caller, action)
    decision = answer if isinstance(answer, Decision) else reviewed(answer, (yield Need(answer.review)) is True)
    world.trail.append(Judged(None, action, decision))
    if decision.allowed is not True:
        raise _with_reason(refusals.keyless(caller, action), decision)


def arn_of(record: KeyRecord) -> KeyArn:
    """The key's ARN."""
    return key_arn(record.region, record.account, record.key_id)


def check_state(rule: Rule, record: KeyRecord) -> None:
    """Key state first (an orphan keeps its state), then what an orphan refuses."""
    state = shown_state(record)
    error = None if lets(rule.operation, state) else state_error(rule.operation, state, arn_of(record))
    if error is not None:
        raise error
    if not record.bound and not rule.orphan:
        raise refusals.orphan(arn_of(record))


def check_usage(rule: Rule, record: KeyRecord) -> None:
    """InvalidKeyUsageException unless the key is for this operation."""
    if record.usage is not rule.usage:
        raise refusals.wrong_usage(arn_of(record), record.usage, rule.operation)


def check_algorithm(record: KeyRecord, algorithm: Algorithm) -> None:
    """InvalidKeyUsageException unless the spec has this algorithm."""
    if algorithm not in _ALGORITHMS[record.spec]:
        raise refusals.wrong_algorithm(algorithm.value, record.spec)


def resolve(world: World, caller: Caller, action: Action, key_id: str) -> Running[KeyRecord]:
    """The record that a KeyId names: key id, key ARN, alias name, alias ARN. Bare forms: the caller's own account.

    A name of the own account that the read model does not have is waited for.
    """
    account, resource = _parts(world, caller, key_id)
    found = _find(world, caller, account, resource)
    if isinstance(found, KmsError) and account == caller.account:
        if _misses(world, account, resource):
            yield Await(lambda: not _misses(world, account, resource), caller.principal)
            found = _find(world, caller, account, resource)
        if isinstance(found, KmsError):
            raise found
    if isinstance(found, KmsError) or not _may_live(world, caller, found):
        raise refusals.foreign(caller, action)
    return found


def _at_once(world: World, caller: Caller, key_id: str) -> KeyRecord | None:
    """What `resolve` finds for a key id or key ARN whose key is there, without its steps. None: it has to take them."""
    named = _key_named(key_id) if len(key_id) <= _USUAL_LENGTH else None
    if named is None:
        return None
    region, account, text, raw = named
    record = world.keys.by_id(raw)
    if (
        record is None
        or record.key_id != text
        or record.account != (caller.account if account is None else account)
        or (region is not None and region != world.region)
        or not _is_here(world, record)
        or not _has_its_namespace(world, record)
    ):
        return None
    return record


@lru_cache(maxsize=4096)
def _key_named(key_id: str) -> tuple[str | None, str | None, str, bytes] | None:
    """Region and account (of an ARN), text and bytes of a key id. None for aliases and whatever else."""
    region = account = None
    text = key_id
    if key_id.startswith("arn:"):
        arn = parse_kms_arn(key_id)
        if arn is None or not arn.resource.startswith("key/"):
            return None
        region, account, text = arn.region, arn.account, arn.resource[4:]
    return None if key_id_form(text) is None else (region, account, text, key_id_bytes(text))


def await_grants(world: World, caller: Caller, tokens: Sequence[str]) -> Running[None]:
    """Wait for the grants that fresh tokens name. InvalidGrantTokenException for a token that is none of ours, or whose grant is gone."""
    for token in tokens:
        named = read_token(world.domain, token)
        if world.keys.grant(named.grant_id) is not None:
            continue
        if named.is_fresh(world.now):
            yield Await(partial(_is_known, world, named.grant_id), caller.principal)
        if world.keys.grant(named.grant_id) is None:
            raise refusals.grant_token()


def _is_known(world: World, grant_id: str) -> bool:
    return world.keys.grant(grant_id) is not None


def _usable(world: World, caller: Caller, key_id: bytes) -> KeyRecord | None:
    record = world.keys.by_id(key_id)
    return record if record is not None and _is_here(world, record) and _may_live(world, caller, record) else None


def _has_own(world: World, caller: Caller, key_id: bytes) -> bool:
    record = _usable(world, caller, key_id)
    return record is not None and record.account == caller.account


def _misses(world: World, account: str, resource: str) -> bool:
    """Whether a well-formed name is not in the read model. A misshapen one is refused without a wait.

    Another account's key is missed like one that does not exist: the time of the refusal must not tell which it is.
    """
    if resource == MANAGED_ALIAS:
        return world.keys.managed_key(account, world.region) is None
    if resource.startswith("alias/"):
        return world.keys.alias(account, world.region, resource) is None
    key_id = resource[4:]
    if key_id_form(key_id) is None:
        return False
    record = world.keys.by_id(key_id_bytes(key_id))
    return record is None or record.account != account


def _parts(world: World, caller: Caller, key_id: str) -> tuple[str, str]:
    if not key_id.startswith("arn:"):
        return caller.account, key_id if key_id.startswith("alias/") else f"key/{key_id}"
    arn = parse_kms_arn(key_id)
    if arn is None or not arn.resource.startswith(("key/", "alias/")):
        raise refusals.malformed_key_id(key_id)
    if arn.region != world.region:
        raise refusals.other_region(arn.region)
    return arn.account, arn.resource


def _find(world: World, caller: Caller, account: str, resource: str) -> KeyRecord | KmsError:
    """The record, or what its caller's own account is told."""
    if not resource.startswith("alias/"):
        return _by_id(world, account, resource[4:])
    if resource == MANAGED_ALIAS:
        managed = world.keys.managed_key(account, world.region)
        if managed is None or not _may_live(world, caller, managed):
            return refusals.unknown_alias(world.region, account, resource)
        return managed
    alias = world.keys.alias(account, world.region, resource)
    # An alias of a namespace that was made again is not the new tenant's.
    if alias is None or not _may_live(world, caller, alias):
        return refusals.unknown_alias(world.region, account, resource)
    found = _by_id(world, account, alias.key_id)
    if isinstance(found, KeyRecord) and found.namespace_uid != alias.namespace_uid:
        return refusals.unknown_alias(world.region, account, resource)
    return found


def _by_id(world: World, account: str, key_id: str) -> KeyRecord | KmsError:
    if key_id_form(key_id) is None:
        return refusals.malformed_key_id(key_id)
    record = world.keys.by_id(key_id_bytes(key_id))
    # The other text form of the same 16 bytes names no key.
    if record is None or record.account != account or record.key_id != key_id or not _is_here(world, record):
        return refusals.unknown_key(world.region, account, key_id)
    return record


def _is_here(world: World, record: KeyRecord) -> bool:
    return record.region == world.region and record.state is not KeyState.DESTROYED


def _has_its_namespace(world: World, record: KeyRecord) -> bool:
    # For bound keys too: a namespace made again must not use the old one's keys in the time until that is noticed.
    return world.keys.namespace_uid(record.namespace) == record.namespace_uid


def _may_live(world: World, caller: Caller, record: KeyRecord | AliasRecord) -> bool:
    """Of the caller's own account: whether its namespace is the live one. Of another one that is asked when the key consents (_at_home):
    here it is refused only where it is known to be another.
    """
    live = world.keys.namespace_uid(record.namespace)
    return live == record.namespace_uid or (live is None and record.account != caller.account)


def _at_home(world: World, caller: Caller, record: KeyRecord, decision: Decision) -> Running[Decision]:
    """A decision for a caller of another account, once it is known that the key's namespace is the one that made the key."""
    if not world.keys.has_account(caller.namespace, caller.account):
        return _UNCLAIMED
    live = world.keys.namespace_uid(record.namespace)
    if live is None:
        live = yield Home(record.namespace)
    return decision if live == record.namespace_uid else _GONE


def question_of(
    world: World, caller: Caller, action: Action, record: KeyRecord, asked: Asked, alias: str = ""
) -> Question:
    """What is asked of the policy about a key, with all that its conditions may look at."""
    context = asked.context or _NO_CONTEXT
    grants: Sequence[GrantRecord]
    if caller.only_grant is None:
        grants = world.keys.grants_to(record, caller, action, context, world.carried.source_arn, asked.wanted)
    else:
        only = world.keys.grant(caller.only_grant)
        grants = () if only is None else (only,)
    if asked.usable is not None:
        grants = asked.usable(grants)
    facts = RequestFacts(asked.request, world.carried, alias, partial(alias_names, world, record), asked.other_key, asked.grant)
    return Question(caller, action, record, grants, context, world.now, facts)


def _denied(caller: Caller, rule: Rule, record: KeyRecord, decision: Decision) -> KmsError:
    if record.account == caller.account:
        return refusals.denied(caller, rule.action, arn_of(record), explicit=decision.explicit)
    return refusals.foreign(caller, rule.action)


def named_key(world: World, caller: Caller, key_id: str) -> str:
    """The id of the key that a KeyId names, "" where none is known: a glance, which admits nobody to anything."""
    try:
        found = _find(world, caller, *_parts(world, caller, key_id))
    except KmsError:
        return ""
    return "" if isinstance(found, KmsError) else found.key_id


def alias_names(world: World, record: KeyRecord) -> list[str]:
    """The names of a key's aliases, for the condition key kms:ResourceAliases."""
    found = world.keys.aliases_of(record.account, record.region)
    named = [alias.alias_name for alias in found if alias.key_id == record.key_id and alias.namespace_uid == record.namespace_uid]
    return [*named, MANAGED_ALIAS] if is_managed(record) else named


def _alias_in(key_id: str) -> str:
    """`alias/<name>`, where a KeyId is one."""
    if key_id.startswith("alias/"):
        return key_id
    return key_id.split(":", 5)[5] if ":alias/" in key_id else ""


def _with_reason(error: KmsError, decision: Decision) -> KmsError:
    """The reason is a note on the exception, for logs and for people with rights."""
    error.add_note(decision.reason)
    return error

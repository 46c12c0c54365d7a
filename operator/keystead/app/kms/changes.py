"""What would change an answer, as commands and statements to copy; and what stands against a key's use although it is allowed. Pure.

Called by why.py and whocan.py. Nothing here is carried out. What may never enter: a command that gives more than the one right that was
asked about, unless it says so (the ClusterRoles of the chart do).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, count
from shlex import quote
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace as changed

from keystead.app.kms.keys import Grants, Target
from keystead.app.kms.people import UNKNOWN_ACCOUNT
from keystead.app.kms.rights import Ruling, Settled
from keystead.cli.kms_services import Verdict
from keystead.engine.identifiers import RECORDS_NAMESPACE, root_arn
from keystead.engine.keystate import state_error
from keystead.engine.managed import is_managed, is_own
from keystead.engine.plan.key_settings import default_policy
from keystead.operations.rules import RULES
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY, KEYLESS, Action
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.documents import Effect
from keystead.policy.explain import MAKES_GRANTS, Explanation, Standing
from keystead.policy.question import Question
from keystead.reconciler.keypolicy import fault_of
from keystead.resources.conditions import ConditionType, find_condition
from keystead.resources.names import API_VERSION, BYPASS_LOCKOUT_CHECK, GROUP
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState

_A = Action
USE: Final = frozenset(
    {
        _A.ENCRYPT,
        _A.DECRYPT,
        _A.RE_ENCRYPT_FROM,
        _A.RE_ENCRYPT_TO,
        _A.GENERATE_DATA_KEY,
        _A.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
        _A.GENERATE_DATA_KEY_PAIR,
        _A.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
        _A.SIGN,
        _A.VERIFY,
        _A.GENERATE_MAC,
        _A.VERIFY_MAC,
        _A.DERIVE_SHARED_SECRET,
        _A.GENERATE_RANDOM,
        _A.GET_PUBLIC_KEY,
        _A.DESCRIBE_KEY,
    }
)
"""What the chart's ClusterRole keystead-key-user gives."""
ADMINISTER: Final = frozenset(set(Action) - USE - {_A.RETIRE_GRANT})
"""What keystead-key-admin gives; RetireGrant is no verb of any role: grants give it."""
_MOST: Final = 2_000
"""Characters of a policy that is still written out in a command."""
_OPTIONS: Final = {
    "kms:ViaService": "--via-service NAME|none",
    "kms:GrantIsForAWSResource": "--via-service NAME|none",
    "kms:EncryptionContext": "--encryption-context KEY=VALUE|none",
    "kms:EncryptionContextKeys": "--encryption-context KEY=VALUE|none",
    "kms:EncryptionAlgorithm": "--algorithm NAME",
    "kms:SigningAlgorithm": "--algorithm NAME",
    "kms:MacAlgorithm": "--algorithm NAME",
    "kms:KeyAgreementAlgorithm": "--algorithm NAME",
    "kms:RequestAlias": "KEY as alias/NAME, or its id",
    "aws:SourceIp": "--source-ip ADDRESS|none",
    "aws:SecureTransport": "--secure or --insecure",
}


def changes(
    question: Question | None,
    explained: Explanation | None,
    told: Settled,
    target: Target | None,
    grants: Grants,
    verdict: Verdict,
    caller: Caller | None = None,
    action: Action | None = None,
    home: Ruling | None = None,
) -> tuple[str, ...]:
    """What to do for another answer. question and explained None: an action without a key, of `caller`.

    home: what RBAC says at home of a caller of another account, where that was asked
    """
    if question is None or explained is None or target is None:
        assert caller is not None and action is not None
        return tuple(_rbac(caller, action, caller.namespace, "")) if verdict is Verdict.DENIED and caller.account else ()
    if verdict is Verdict.UNDECIDED:
        return tuple(dict.fromkeys(filter(None, map(say, explained.needs))))
    if verdict is Verdict.ALLOWED:
        return tuple(_against(told, target, grants))
    return tuple(dict.fromkeys(_towards(question, explained, told, target, home)))


def say(need: str) -> str:
    """How to say a fact that was not said."""
    if need == MAKES_GRANTS:
        return "it hangs on what the new grant gives: within the caller's own, it is allowed"
    if need.startswith("kms:EncryptionContext:"):
        return f"say {_OPTIONS['kms:EncryptionContext']}"
    if need.startswith("aws:ResourceTag/"):
        return "the key's tags are not in its spec: its record may have some"
    return f"say {_OPTIONS.get(need, f'--fact {need}=VALUE')}"


def _against(told: Settled, target: Target, grants: Grants) -> Iterator[str]:
    if told.decided_by == "grant":
        name = grants.objects.get(told.name, "NAME")
        yield f"to take it away: kubectl delete kmsgrant {name} -n {target.record.namespace}"
    elif told.decided_by == "rbac" and told.ruling is not None:
        for held in told.ruling.rules:
            kind, _, rest = held.binding.partition(" ")
            name, _, namespace = rest.partition(" in ")
            where = f" -n {namespace}" if namespace else ""
            yield f"to take it away: kubectl delete {kind.lower()} {name}{where} (it may give others more), or take the subject out of it"
    elif told.decided_by == "statement":
        yield f'to take it away: take statement "{told.name}" out of spec.policy, or add a Deny: kubectl edit {target.place}'


def needs_home(question: Question) -> bool:
    """Whether RBAC at the caller's home must give the right, beside what the key's side consents to."""
    caller, foreign = question.caller, question.caller.account != question.key.account
    return foreign and caller.kind is not CallerKind.SERVICE and caller.account != UNKNOWN_ACCOUNT and question.action in ABROAD


def _towards(
    question: Question, explained: Explanation, told: Settled, target: Target, home: Ruling | None
) -> Iterator[str]:
    caller, action, key = question.caller, question.action, question.key
    foreign = caller.account != key.account
    if told.explicit:
        yield f'take statement "{told.name}" out of spec.policy, or narrow it; no Allow outranks a Deny: kubectl edit {target.place}'
    elif told.decided_by == "policy-unreadable":
        yield f"give the key a policy that can be read: kubectl edit {target.place}"
    elif foreign and action not in ABROAD and caller.kind is not CallerKind.SERVICE:
        yield f"nothing: {action.value} cannot be done from another account; a ServiceAccount of {key.namespace} can be given it"
    elif told.ruling is not None:
        review = told.ruling.asked.split(" ")[1].split("/")[0]
        name = "" if review != "kmskeys" else target.arn if foreign else key.name
        yield from _rbac(caller, action, caller.namespace if foreign else key.namespace, name, review)
    elif caller.account == UNKNOWN_ACCOUNT:
        yield f"its account must be named in the key's policy, or in a grant: it is in the ARN of any key of {caller.namespace}"
    elif is_managed(key) or is_own(key.namespace):
        yield from _conditional(explained)
        yield "nothing: it is one of Keystead's own keys, whose policy nobody changes, and which has no grants; a key of yours can give it"
    else:
        yield from _by_policy(question, explained, target)
        if needs_home(question) and not (home is not None and home.allowed):
            yield "and, on the caller's side: " + next(_rbac(caller, action, caller.namespace, target.arn))


def _conditional(explained: Explanation) -> Iterator[str]:
    for note in (*explained.statements, *explained.grants):
        if note.standing is Standing.CONDITION and note.effect is Effect.ALLOW:
            yield f'"{note.name}" would allow it, but {note.words}'


def _by_policy(question: Question, explained: Explanation, target: Target) -> Iterator[str]:
    caller, action = question.caller, question.action
    yield from _conditional(explained)
    if action not in BY_GRANT_ONLY:
        allow: dict[str, object] = {
            "Sid": _sid(target, f"Allow{action.value}"),
            "Effect": "Allow",
            "Principal": {"Service" if caller.kind is CallerKind.SERVICE else "AWS": caller.principal},
            "Action": f"kms:{action.value}",
            "Resource": "*",
        }
        yield _allowing(target, allow)
    if ACTIONS[action].grantable is not None:
        yield f"or grant it: kubectl apply -f - <<< {quote(json.dumps(_grant(caller, action, target)))}"


def _allowing(target: Target, allow: dict[str, object]) -> str:
    """The statement in a policy that the operator takes: a policy that nobody could replace is refused, whoever made it so."""
    root: dict[str, object] = {"Sid": _sid(target, "ReplaceThisPolicy"), "Effect": "Allow"}
    root |= {"Principal": {"AWS": root_arn(target.record.account)}, "Action": f"kms:{Action.PUT_KEY_POLICY.value}", "Resource": "*"}
    fault = _fault(target, [allow])
    if not fault:
        return f"allow it in the key's policy: {_patch(target, [allow])}"
    if not _fault(target, [allow, root]):
        why = f"without which it is refused, as nobody could replace it (or set the annotation {BYPASS_LOCKOUT_CHECK}=true instead)"
        return f"allow it in the key's policy, and kms:PutKeyPolicy to its account, {why}: {_patch(target, [allow, root])}"
    if not _fault(target, [allow], bypass=True):
        annotate = f"kubectl annotate {target.place} --overwrite {BYPASS_LOCKOUT_CHECK}=true"
        return f"allow it in the key's policy, which lets nobody replace it: {annotate} && {_patch(target, [allow])}"
    return f"mend the key's policy, which would be refused ({fault}), and allow it there: {_edit(target, [allow])}"


def _fault(target: Target, more: Sequence[dict[str, object]], *, bypass: bool = False) -> str:
    """What the operator would say of the key's policy with these statements."""
    key = changed(target.key, spec=changed(target.key.spec, policy=_policy(target, more)))
    if bypass:
        annotations = {**key.metadata.annotations, BYPASS_LOCKOUT_CHECK: "true"}
        key = changed(key, metadata=changed(key.metadata, annotations=annotations))
    return fault_of(key, target.record)


def _policy(target: Target, more: Sequence[dict[str, object]]) -> dict[str, object]:
    """The policy that the key has, and these statements."""
    shown = target.key.status.policy if target.key.status.policy is not UNSET else target.key.spec.policy
    policy = default_policy(target.record.account) if isinstance(shown, UnsetType) else dict(shown)
    had = policy["Statement"]
    policy["Statement"] = [*(had if isinstance(had, list) else [had]), *more]
    return policy


def _sid(target: Target, wanted: str) -> str:
    """One that no statement of the key's policy has: who followed such advice before has the usual one there."""
    statements = _policy(target, ())["Statement"]
    assert isinstance(statements, list)
    taken = {each.get("Sid") for each in statements if isinstance(each, dict)}
    return next(name for name in chain((wanted,), (f"{wanted}{number}" for number in count(2))) if name not in taken)


def _patch(target: Target, more: Sequence[dict[str, object]]) -> str:
    """One value, which is replaced whole."""
    patch = json.dumps({"spec": {"policy": _policy(target, more)}})
    return _edit(target, more) if len(patch) > _MOST else f"kubectl patch {target.place} --type=merge -p {quote(patch)}"


def _edit(target: Target, more: Sequence[dict[str, object]]) -> str:
    return f"kubectl edit {target.place}, and add to spec.policy.Statement: {', '.join(map(json.dumps, more))}"


def _grant(caller: Caller, action: Action, target: Target) -> dict[str, object]:
    local = caller.kind is CallerKind.SERVICE_ACCOUNT and caller.namespace == target.record.namespace
    grantee: dict[str, object] = {"granteePrincipal": caller.principal}
    if local:
        grantee = {"serviceAccountRef": {"name": caller.name}}
    if caller.kind is CallerKind.SERVICE:
        grantee = {"granteeServicePrincipal": caller.principal}
    name = re.sub("[^a-z0-9.-]+", "-", f"{caller.name}-{ACTIONS[action].verb}-{target.record.name}".lower())[:63].strip("-.")
    return {
        "apiVersion": API_VERSION,
        "kind": "KmsGrant",
        "metadata": {"name": name, "namespace": target.record.namespace},
        "spec": {"keyRef": {"name": target.record.name}, **grantee, "operations": [action.value]},
    }


def _rbac(caller: Caller, action: Action, namespace: str, name: str, resource: str = "kmskeys") -> Iterator[str]:
    """A Role for the one right; then the chart's ClusterRole that has it among others. name: a key's, or an ARN abroad."""
    verb = ACTIONS[action].verb
    subject = f"--serviceaccount={caller.namespace}:{caller.name}"
    if caller.kind is CallerKind.USER:
        subject = f"--user={caller.name}"
    # Named after the key, too, or the same advice for a second key of the namespace could not be followed.
    made = re.sub("[:@/]", "-", "-".join(filter(None, (caller.name, verb, name.rpartition("/")[2]))))
    only = f" --resource-name={name}" if name else ""
    yield (
        f"kubectl create role {made} -n {namespace} --verb={verb} --resource={resource}.{GROUP}{only} && "
        f"kubectl create rolebinding {made} -n {namespace} --role={made} {subject}"
    )
    role = "keystead-key-user" if action in USE else "keystead-key-admin"
    if action in USE | ADMINISTER and namespace != RECORDS_NAMESPACE and not name.startswith("arn:"):
        yield (
            f"or, with the other rights of {role} on all keys of {namespace}: "
            f"kubectl create rolebinding {caller.name}-{role} -n {namespace} --clusterrole={role} {subject}"
        )


def obstacles_of(action: Action, target: Target) -> tuple[str, ...]:
    """What the key refuses to everybody who is allowed."""
    if action in KEYLESS:
        return ()
    record, status = target.record, target.key.status
    rule = RULES[action]
    found = []
    if record.state is KeyState.DESTROYED:
        return ("the key is destroyed: its material is gone, and nothing brings it back",)
    error = state_error(rule.operation, record.state, target.arn)
    if error is not None:
        fix = _UNDO.get(record.state, "").format(place=target.place)
        ready = find_condition(status.conditions, ConditionType.READY)
        if ready is not None and ready.reason == Reason.HELD:
            fix = f"keystead records hold {record.namespace} {record.name} --release"
        words = f"the key is {record.state.value}: {error.code}"
        found.append(f"{words}; hint: {fix}" if fix else words)
    if rule.usage is not None and rule.usage is not record.usage:
        wanted = f"{rule.operation} needs a key for {rule.usage.value}"
        found.append(f"{wanted}, and this one is for {record.usage.value}: InvalidKeyUsageException")
    return tuple(found)


_UNDO: Final = {
    KeyState.DISABLED: 'kubectl patch {place} --type=merge -p \'{{"spec":{{"enabled":true}}}}\'',
    KeyState.PENDING_DELETION: 'kubectl patch {place} --type=merge -p \'{{"spec":{{"scheduledDeletion":null}}}}\'',
}


"""GetKeyPolicy, PutKeyPolicy, ListKeyPolicies. A key has one policy, `default`. What one may say: policy.documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from keystead.engine.plan.key_settings import default_policy, policy_bytes, without_default
from keystead.engine.record import KeyRecord
from keystead.errors import InvalidSpecError, LimitExceededError, MalformedPolicyDocumentError, NotFoundException
from keystead.operations.control.common import (
    Listing,
    admit_change,
    admit_key,
    check_paging,
    current,
    page,
    set_fields,
    target_of,
)
from keystead.operations.effects import Change, Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, arn_of, question_of
from keystead.operations.validate import failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import Annotate
from keystead.policy import Action, Caller, Question, compile_policy
from keystead.policy.compiled import Policy
from keystead.policy.documents import MAX_BYTES, read
from keystead.policy.lockout import closes, lockout
from keystead.resources import names

_DEFAULT: Final = "default"
_NAME: Final = 128
_LOCKED_OUT: Final = "The new key policy will not allow you to update the key policy in the future."


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyPolicyRequest:
    """AWS GetKeyPolicyRequest."""

    key_id: str
    policy_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyPolicyResponse:
    """AWS GetKeyPolicyResponse. `policy`: compact JSON, keys sorted."""

    policy: str
    policy_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutKeyPolicyRequest:
    """AWS PutKeyPolicyRequest."""

    key_id: str
    policy: str
    policy_name: str | None = None
    bypass_policy_lockout_safety_check: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PutKeyPolicyResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeyPoliciesRequest:
    """AWS ListKeyPoliciesRequest."""

    key_id: str
    limit: int | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeyPoliciesResponse:
    """AWS ListKeyPoliciesResponse."""

    policy_names: tuple[str, ...]
    next_marker: str | None
    truncated: bool


@operation
def get_key_policy(world: ControlWorld, caller: Caller, request: GetKeyPolicyRequest) -> Running[GetKeyPolicyResponse]:
    """AWS GetKeyPolicy."""
    _check_name(request.policy_name)
    record = yield from admit_key(world, caller, Action.GET_KEY_POLICY, request.key_id, request)
    _refuse_other(request.policy_name)
    return GetKeyPolicyResponse(policy=policy_of(record), policy_name=_DEFAULT)


@operation
def put_key_policy(world: ControlWorld, caller: Caller, request: PutKeyPolicyRequest) -> Running[PutKeyPolicyResponse]:
    """AWS PutKeyPolicy. One that would leave its author unable to put the next one is refused, unless the request bypasses that check."""
    _check_name(request.policy_name)
    record = yield from admit_change(world, caller, Action.PUT_KEY_POLICY, request.key_id, request)
    _refuse_other(request.policy_name)
    policy = parse_policy(request.policy)
    compiled = compile_policy(request.policy, arn_of(record))
    if not request.bypass_policy_lockout_safety_check:
        question = question_of(world, caller, Action.PUT_KEY_POLICY, record, Asked(request))
        check_lockout(compiled, caller, record.account, question)
    wanted = without_default(policy_bytes(policy), record.account)

    def done() -> KeyRecord | None:
        now = current(world, record)
        return now if now is not None and now.policy == wanted else None

    annotations = bypass_of(compiled, record.account)
    if annotations and record.bound:
        yield Change(Annotate(target_of(record), annotations), lambda: record)
    yield Change(set_fields(world, record, {"policy": policy}, annotations), done, narrows=True)
    return PutKeyPolicyResponse()


@operation
def list_key_policies(
    world: ControlWorld, caller: Caller, request: ListKeyPoliciesRequest
) -> Running[ListKeyPoliciesResponse]:
    """AWS ListKeyPolicies: always one."""
    check_paging(request.limit, request.marker)
    record = yield from admit_key(world, caller, Action.LIST_KEY_POLICIES, request.key_id, request)
    listing = Listing("ListKeyPolicies", caller.account, record.key_id)
    found = page(world, listing, (_DEFAULT,), str, request.limit, request.marker)
    return ListKeyPoliciesResponse(policy_names=found.items, next_marker=found.next_marker, truncated=found.truncated)


def check_lockout(policy: Policy, caller: Caller, account: str, question: Question | None = None) -> None:
    """MalformedPolicyDocumentException where the caller could not put the next policy. AWS's text, and what of the policy decides."""
    why = lockout(policy, caller, account, question)
    if why:
        # The policy is the caller's own words; one of another account is told nothing that AWS would not tell.
        told = f" {why[0].upper()}{why[1:]}." if caller.account == account else ""
        raise MalformedPolicyDocumentError(f"{_LOCKED_OUT}{told}")


def bypass_of(policy: Policy, account: str) -> Mapping[str, str]:
    """Annotations of the object that is to have this policy: the operator asks who could replace it, too, and knows no caller.

    Empty where somebody of the account could: then the operator has no question.
    """
    return {names.BYPASS_LOCKOUT_CHECK: "true"} if closes(policy, account) else {}


def policy_of(record: KeyRecord) -> str:
    """The policy of a key as GetKeyPolicy answers it: an absent one is the default policy."""
    if record.policy is UNSET:
        return policy_bytes(default_policy(record.account)).decode()
    return record.policy.decode()


def parse_policy(text: str) -> Mapping[str, Any]:
    """The policy document, for the object's spec. MalformedPolicyDocumentException for what no record could hold as it was sent.

    LimitExceededException for one that is too long (AWS, PutKeyPolicy: "If the key policy exceeds the length constraint").
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise LimitExceededError(f"The policy document must not be longer than {MAX_BYTES} bytes.")
    policy = read(text)
    try:
        policy_bytes(policy)
    except InvalidSpecError as error:
        raise MalformedPolicyDocumentError(f"The policy document cannot be used: {error.message}.") from error
    return policy


def _check_name(name: str | None) -> None:
    if name is not None and not name:
        raise failed("policyName", "have length greater than or equal to 1", "")
    if name is not None and len(name) > _NAME:
        raise failed("policyName", f"have length less than or equal to {_NAME}", name)


def _refuse_other(name: str | None) -> None:
    if name not in (None, _DEFAULT):
        raise NotFoundException("No such policy exists")

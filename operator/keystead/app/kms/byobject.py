"""What can be had by writing an object, beside the endpoint: admission asks RBAC for the author's verb (docs/security.md). Pure.

Called by why.py and whocan.py. Of the author the key's policy is never asked; of some objects it is asked for the namespace, and then it
may stop whoever writes (docs/policies.md, kubectl, and the key's policy). What may never enter: what RBAC says; the API server is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keystead.engine.managed import DATA_KEYS_SERVICE, is_managed, is_own
from keystead.engine.record import KeyRecord
from keystead.policy.actions import Action
from keystead.policy.caller import Caller, root_caller, service_caller
from keystead.policy.explain import Explanation
from keystead.policy.question import Answer, Decision, Ground

_A = Action
FOR_DATA_KEYS: Final = frozenset({_A.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, _A.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT})
"""By a KmsDataKey: the policy must allow them to the namespace, or to the controller."""
_MUST_NOT_DENY: Final = frozenset({_A.CREATE_GRANT, _A.CREATE_ALIAS, _A.UPDATE_ALIAS})
"""By a KmsGrant or KmsAlias: the policy must not deny them to the namespace (policy.rootdeny)."""
ON_ALIASES: Final = frozenset({_A.CREATE_ALIAS, _A.UPDATE_ALIAS, _A.DELETE_ALIAS})
"""Need the verb on the KmsAlias, too."""
BY_OBJECT: Final = (
    FOR_DATA_KEYS
    | _MUST_NOT_DENY
    | ON_ALIASES
    | {
        _A.PUT_KEY_POLICY,
        _A.ENABLE_KEY,
        _A.DISABLE_KEY,
        _A.TAG_RESOURCE,
        _A.UNTAG_RESOURCE,
        _A.UPDATE_KEY_DESCRIPTION,
        _A.ENABLE_KEY_ROTATION,
        _A.DISABLE_KEY_ROTATION,
        _A.ROTATE_KEY_ON_DEMAND,
        _A.SCHEDULE_KEY_DELETION,
        _A.CANCEL_KEY_DELETION,
        _A.REVOKE_GRANT,
    }
)


def by_object(action: Action, key: KeyRecord) -> bool:
    """Whether writing an object does the same. Keystead's own keys are fenced: data keys alone are had of the managed one."""
    if is_own(key.namespace):
        return False
    return action in (FOR_DATA_KEYS if is_managed(key) else BY_OBJECT)


def stopped(action: Action, key: KeyRecord, about: Callable[[Caller], tuple[object, Explanation]]) -> str:
    """Why the key's policy stops such an object, whoever writes it; "" where it does not, or need not."""
    asked = [root_caller(key.account, key.namespace)]
    if action in FOR_DATA_KEYS:
        asked.append(service_caller(key.account, key.namespace, DATA_KEYS_SERVICE))
    elif action not in _MUST_NOT_DENY:
        return ""
    root, *others = (explained.best for _, explained in (about(caller) for caller in asked))
    if not isinstance(root, Decision) or root.allowed:
        return ""
    denied = root.explicit or root.by.ground is Ground.POLICY_UNREADABLE
    return root.reason if denied or (others and not any(map(_allows, others))) else ""


def _allows(answer: Answer) -> bool:
    return isinstance(answer, Decision) and answer.allowed

"""What a key's policy says to an object that somebody wrote: it must not deny it (RESOURCES, Who may make them).

Asked by reconciler/objectpolicy.py before a record is made or moved, and by UpdateAlias of the API, which must know what the operator will
say. Who may write the object is RBAC's to say, at admission; the policy is asked for the namespace, its root, never for the author. What
may never enter: how a call came. An object did not come over a network, and both must get the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import UNSET

from keystead.engine.record import KeyRecord
from keystead.policy.actions import Action
from keystead.policy.caller import root_caller
from keystead.policy.evaluate import evaluate
from keystead.policy.question import Decision, Ground, Question, RequestFacts


def root_deny(
    key: KeyRecord, action: Action, request: object, aliases: Callable[[], Sequence[str]], now: datetime
) -> Decision | None:
    """The Deny statement that is about this; None where there is none. A policy that cannot be read may have one: it serves nobody.

    request: the call that would do the same; aliases: the names of the key's
    """
    if key.policy is UNSET:
        return None
    root = root_caller(key.account, key.namespace)
    answer = evaluate(Question(root, action, key, (), {}, now, RequestFacts(request, aliases=aliases)))
    if not isinstance(answer, Decision) or not (answer.explicit or answer.by.ground is Ground.POLICY_UNREADABLE):
        return None
    words = f"the policy of KmsKey {key.name} does not let this namespace do kms:{action.value}: {answer.reason}"
    return Decision(False, words, answer.by, explicit=answer.explicit)

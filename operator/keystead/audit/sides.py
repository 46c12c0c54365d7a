"""Of an allowed call with another account's key: what of it each of the two accounts may read. Pure; called by cloudtrail.py.

Both sides had to consent (policy/evaluate.py). Why the key's side did is the owner's own: its statements and grants. Why the caller's side
did is the caller's: its namespace and RBAC. Of a ReEncrypt the owner of one key learns nothing of the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from keystead.operations.world import Judged
from keystead.policy import Action
from keystead.policy.question import Ground

# "RBAC gives ... the verb ... in team-b (grant 1f.. on the key's side)", "grant 1f..; the caller is the root of its account"
_BOTH: Final = re.compile(
    r"(?P<own>RBAC [^(]*) \((?P<key>.*) on the key's side\)|(?P<consent>.*); (?P<root>the caller is the root of its account)"
)


def callers_side(judged: Judged) -> dict[str, Any]:
    """For the account of the caller."""
    decision, both = judged.decision, _BOTH.fullmatch(judged.decision.reason)
    told: dict[str, Any] = {"action": f"kms:{judged.action.value}", "allowed": decision.allowed is True, "by": decision.by.ground}
    if decision.by.ground is Ground.RBAC:
        told["name"] = decision.by.name
    return told | {"reason": "the key's side allows it" if both is None else both["own"] or both["root"]}


def keys_side(judged: Judged) -> dict[str, Any]:
    """For the account of the key."""
    decision, both = judged.decision, _BOTH.fullmatch(judged.decision.reason)
    told: dict[str, Any] = {"action": f"kms:{judged.action.value}", "allowed": decision.allowed is True}
    if decision.by.ground is not Ground.RBAC:
        told["by"] = decision.by.ground
        if decision.by.name:
            told["name"] = decision.by.name
    return told | {"reason": decision.reason if both is None else both["key"] or both["consent"]}


def of_one_key(members: Mapping[str, Any], actions: Collection[Action]) -> dict[str, Any]:
    """requestParameters, or additionalEventData, of a ReEncrypt, for the owner of the source or of the destination."""
    hidden = [] if Action.RE_ENCRYPT_FROM in actions else ["source"]
    if Action.RE_ENCRYPT_TO not in actions:
        hidden += ["destination", "keyMaterialId"]
    return {name: value for name, value in members.items() if not name.startswith(tuple(hidden))}

"""A second evaluator, written only for the tests: straight from AWS's words, over the JSON, with no tables and no preparation.

It shares nothing with keystead.policy but the types of caller and action. Facts come as a plain dictionary {condition key: text or list};
patterns are matched by trying everything.
"""

from __future__ import annotations

import json
from functools import lru_cache

from keystead.policy import Action, Caller, CallerKind


@lru_cache(maxsize=100_000)
def like(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(like(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and like(pattern[1:], text[1:])


def as_list(given):
    return given if isinstance(given, list) else [given]


def positive(operator: str, wanted: str, given: str) -> bool:
    if operator == "StringEquals":
        return wanted == given
    if operator == "StringEqualsIgnoreCase":
        return wanted.lower() == given.lower()
    if operator == "StringLike":
        return like(wanted, given)
    if operator == "Bool":
        return wanted.lower() == given.lower()
    if operator in ("ArnLike", "ArnEquals"):
        return (
            all(like(*pair) for pair in zip(wanted.split(":", 5), given.split(":", 5), strict=False))
            and given.count(":") >= 5
        )
    compare = {
        "NumericEquals": float.__eq__,
        "NumericLessThan": float.__lt__,
        "NumericLessThanEquals": float.__le__,
        "NumericGreaterThan": float.__gt__,
        "NumericGreaterThanEquals": float.__ge__,
    }[operator]
    return compare(float(given), float(wanted))


def condition(operator: str, key: str, values, facts: dict) -> bool:
    given = facts.get(key)
    values = ["true" if v is True else "false" if v is False else str(v) for v in as_list(values)]
    if operator == "Null":
        return (given is None) is (values[0] == "true")
    quantifier, _, name = operator.rpartition(":")
    if name.endswith("IfExists"):
        if given is None:
            return True
        name = name.removesuffix("IfExists")
    negated = "Not" in name
    name = name.replace("Not", "")

    def passes(one: str) -> bool:
        return any(positive(name, value, one) for value in values) is not negated

    if quantifier == "ForAllValues":
        return all(passes(one) for one in as_list(given)) if given is not None else True
    if quantifier == "ForAnyValue":
        return any(passes(one) for one in as_list(given)) if given is not None else False
    return passes(given) if given is not None else negated


def applies(statement: dict, caller: Caller, action: Action, facts: dict) -> set[str]:
    """ "name": it names the caller; "account": it names its account. A statement may do both, or neither."""
    patterns = as_list(statement.get("Action", statement.get("NotAction")))
    hit = any(like(pattern.lower(), f"kms:{action.value}".lower()) for pattern in patterns)
    if hit is ("NotAction" in statement):
        return set()
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            if not condition(operator, key, values, facts):
                return set()
    given = statement.get("Principal", statement.get("NotPrincipal"))
    names = ["*"] if given == "*" else as_list(given.get("AWS", [])) + as_list(given.get("Service", []))
    own = {caller.principal, caller.arn}
    groups = {f"arn:aws:iam::{caller.account}:group/{group}" for group in caller.groups}
    accounts = {caller.account, f"arn:aws:iam::{caller.account}:root"}
    if "NotPrincipal" in statement:
        spared = {"*"} | own | groups | (accounts if caller.kind is CallerKind.ROOT else set())
        return set() if spared & set(names) else {"name"}
    found = set()
    if (own | groups | {"*"}) & set(names) - (accounts if caller.kind is CallerKind.ROOT else set()):
        found.add("name")
    if accounts & set(names) and caller.kind is not CallerKind.SERVICE:
        found.add("account")
    return found


ABROAD = {
    "CreateGrant", "Decrypt", "DeriveSharedSecret", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GetKeyRotationStatus",
    "GetPublicKey", "ListGrants", "ReEncryptFrom", "ReEncryptTo", "RetireGrant", "RevokeGrant", "Sign", "Verify", "VerifyMac",
}  # fmt: skip


def decide(document: bytes, caller: Caller, action: Action, owner: tuple[str, str], facts: dict, granted: bool) -> str:
    """allow, deny, `ask here` (RBAC in the key's namespace) or `ask there` (in the caller's)."""
    statements = json.loads(document)["Statement"]
    how = [(one["Effect"], applies(one, caller, action, facts)) for one in statements]
    own = (caller.account, caller.namespace) == owner
    service = caller.kind is CallerKind.SERVICE
    if not own and (caller.account == owner[0] or caller.namespace == owner[1]):
        return "deny"
    if not own and not service and action.value not in ABROAD:
        return "deny"
    if any(effect == "Deny" and kinds for effect, kinds in how):
        return "deny"
    named = any(effect == "Allow" and "name" in kinds for effect, kinds in how) and action.value != "RetireGrant"
    account = any(effect == "Allow" and "account" in kinds for effect, kinds in how)
    if action.value == "RetireGrant" and own and caller.kind is CallerKind.ROOT:
        account = True  # "As a backup, the AWS account in which the grant was created can retire the grant"
    if action.value == "RetireGrant" and not own:
        account = False  # "not effective in a key policy"
    if not (named or granted or account):
        return "deny"
    if own:
        if named or granted or caller.kind is CallerKind.ROOT:
            return "allow"
        return "ask here" if caller.kind is CallerKind.SERVICE_ACCOUNT else "deny"
    return "allow" if service or caller.kind is CallerKind.ROOT else "ask there"

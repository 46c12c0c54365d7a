"""A second evaluator, written only for the tests: straight from AWS's words, over the JSON, with no tables and no preparation.

It shares nothing with keystead.policy but the types of caller and action. What a request says comes as a `Call`: plain texts by condition
key, the pairs of its context and of the key's tags. A grant is a plain dictionary with the members that CreateGrant has. Patterns are
matched by trying everything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network

from keystead.policy import Action, Caller, CallerKind


@dataclass
class Call:
    """facts: by condition key, a text or a list of them; None: absent. context: None where the action has none.

    wanted: the grant that a CreateGrant is to make
    """

    now: datetime
    facts: dict = field(default_factory=dict)
    context: dict | None = None
    tags: dict = field(default_factory=dict)
    wanted: dict = field(default_factory=dict)

    def value(self, key: str):
        """Of a condition key, whose case does not count. Several pairs of one name: a tuple, and nobody knows which is meant."""
        folded = key.lower()
        for prefix, pairs in (("kms:encryptioncontext:", self.context or {}), ("aws:resourcetag/", self.tags)):
            if folded.startswith(prefix):
                found = tuple(value for name, value in pairs.items() if prefix + name.lower() == folded)
                return found if len(found) > 1 else found[0] if found else None
        return {name.lower(): value for name, value in self.facts.items()}.get(folded)


@lru_cache(maxsize=100_000)
def like(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(like(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and like(pattern[1:], text[1:])


def as_list(given):
    return given if isinstance(given, list) else [given]


def truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def seconds(text: str) -> float:
    """A date is ISO 8601, or an epoch value."""
    if text.replace(".", "", 1).lstrip("-").isdigit():
        return float(text)
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def plain_address(text: str):
    """IPv4 that came in IPv6 is the IPv4 address."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def plain_network(text: str):
    first, _, size = text.partition("/")
    mapped = getattr(ip_address(first), "ipv4_mapped", None)
    if mapped is not None and (not size or int(size) >= 96):
        return ip_network(f"{mapped}/{int(size) - 96 if size else 32}", strict=False)
    return ip_network(text, strict=False)


ORDER = {
    "Equals": float.__eq__,
    "LessThan": float.__lt__,
    "LessThanEquals": float.__le__,
    "GreaterThan": float.__gt__,
    "GreaterThanEquals": float.__ge__,
}


def positive(operator: str, wanted: str, given: str) -> bool:
    """ValueError, KeyError: what the request has is of another type."""
    if operator == "StringEquals":
        return wanted == given
    if operator == "StringEqualsIgnoreCase":
        return wanted.lower() == given.lower()
    if operator == "StringLike":
        return like(wanted, given)
    if operator == "Bool":
        return truth(wanted) is truth(given)
    if operator == "IpAddress":
        return plain_address(given) in plain_network(wanted)
    if operator in ("ArnLike", "ArnEquals"):
        return (
            all(like(*pair) for pair in zip(wanted.split(":", 5), given.split(":", 5), strict=False))
            and given.count(":") >= 5
        )
    if operator.startswith("Date"):
        return ORDER[operator.removeprefix("Date")](seconds(given), seconds(wanted))
    return ORDER[operator.removeprefix("Numeric")](float(given), float(wanted))


def role_of(arn: str) -> str:
    """A grant is a role's, whichever session was named."""
    parts = arn.split(":")
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return f"arn:aws:iam::{parts[4]}:role/{parts[5].split('/')[1]}"
    return arn


def condition(operator: str, key: str, values, call: Call, deny: bool) -> bool:
    """deny: of a Deny. What is not clear, or cannot be compared, holds there and fails in an Allow."""
    given = call.value(key)
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
    if isinstance(given, tuple):
        return deny
    if key.lower() in ("kms:granteeprincipal", "kms:retiringprincipal") and name.startswith("StringEquals"):
        values = [role_of(value) for value in values]

    def passes(one: str) -> bool:
        try:
            return any(positive(name, value, one) for value in values) is not negated
        except (ValueError, KeyError):
            return deny

    if quantifier == "ForAllValues":
        return all(passes(one) for one in as_list(given)) if given is not None else True
    if quantifier == "ForAnyValue":
        return any(passes(one) for one in as_list(given)) if given is not None else False
    return passes(given) if given is not None else negated


def folded(pairs: dict) -> dict | None:
    """Names of pairs do not count their case; None where two of them become one."""
    made = {name.lower(): value for name, value in pairs.items()}
    return made if len(made) == len(pairs) else None


def within(child: dict, parent: dict) -> bool:
    """AWS KMS, 'Granting CreateGrant permission': no more operations, the same constraints or stricter. And it outlives nothing."""
    if parent.get("Ends") is not None or not set(child["Operations"]) <= set(parent["Operations"]):
        return False
    limits, asked = parent.get("Constraints", {}), child.get("Constraints", {})
    if "SourceArn" in limits and asked.get("SourceArn") != limits["SourceArn"]:
        return False
    if "EncryptionContextEquals" in limits:
        pairs = folded(asked.get("EncryptionContextEquals", {}))
        return bool(pairs) and pairs == folded(limits["EncryptionContextEquals"])
    if "EncryptionContextSubset" in limits:
        least = folded(limits["EncryptionContextSubset"])
        pairs = folded(asked.get("EncryptionContextEquals", asked.get("EncryptionContextSubset", {})))
        return bool(least) and bool(pairs) and all(pairs.get(name) == value for name, value in least.items())
    return True


def gives(grant: dict, caller: Caller, action: Action, call: Call) -> bool:
    """AWS KMS, 'Grants' and 'CreateGrant': this principal, these operations, within the constraints; ours may end."""
    service = caller.kind is CallerKind.SERVICE
    if grant.get("GranteeServicePrincipal" if service else "GranteePrincipal") != caller.principal:
        return False
    if action.value not in grant["Operations"]:
        return False
    if grant.get("Ends") is not None and call.now >= grant["Ends"]:
        return False
    limits = grant.get("Constraints", {})
    # "The SourceArn constraint does not apply to RetireGrant"; a service principal must have one.
    bound = action.value != "RetireGrant" and (service or "SourceArn" in limits)
    if bound and ("SourceArn" not in limits or limits["SourceArn"] != call.facts.get("aws:SourceArn")):
        return False
    if action.value == "CreateGrant":
        return within(call.wanted, grant)
    for kind in ("EncryptionContextEquals", "EncryptionContextSubset"):
        # "Grant constraints are ignored on DescribeKey and RetireGrant"
        if kind not in limits or action.value in ("DescribeKey", "RetireGrant"):
            continue
        sent, wanted = folded(call.context or {}), folded(limits[kind])
        if sent is None or not wanted:
            return False
        if kind == "EncryptionContextEquals" and sent != wanted:
            return False
        if any(name not in sent or sent[name] != value for name, value in wanted.items()):
            return False
    return True


def applies(statement: dict, caller: Caller, action: Action, call: Call) -> set[str]:
    """ "name": it names the caller; "account": it names its account. A statement may do both, or neither."""
    patterns = as_list(statement.get("Action", statement.get("NotAction")))
    hit = any(like(pattern.lower(), f"kms:{action.value}".lower()) for pattern in patterns)
    if hit is ("NotAction" in statement):
        return set()
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            if not condition(operator, key, values, call, statement["Effect"] == "Deny"):
                return set()
    given = statement.get("Principal", statement.get("NotPrincipal"))
    names = ["*"] if given == "*" else as_list(given.get("AWS", [])) + as_list(given.get("Service", []))
    own = {caller.principal, caller.arn}
    groups = {f"arn:aws:iam::{caller.account}:group/{group}" for group in caller.groups}
    accounts = {caller.account, f"arn:aws:iam::{caller.account}:root"}
    if "NotPrincipal" in statement:
        # "You must also specify the account ARN of the not-denied principal": the account is looked at first, then the principal.
        itself = bool((own | groups) & set(names))
        account = bool(accounts & set(names))
        if caller.kind is CallerKind.SERVICE:
            spared = itself
        elif caller.kind is CallerKind.ROOT:
            spared = account
        else:
            spared = account and itself
        return set() if spared or "*" in names else {"name"}
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


def decide(document: bytes, caller: Caller, action: Action, owner: tuple[str, str], call: Call, grants: list[dict]) -> str:
    """allow, deny, `ask here` (RBAC in the key's namespace) or `ask there` (in the caller's)."""
    statements = json.loads(document)["Statement"]
    how = [(one["Effect"], applies(one, caller, action, call)) for one in statements]
    granted = any(gives(grant, caller, action, call) for grant in grants)
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

"""Every way to name a key of another account, over HTTPS: what test_abroad.py asks of keys that are lent, and of some that are no longer.

    GRANTED     what a grant can give on a key of each kind
    Named       a stage's keys with an alias each, and the token of a grant
    ways        operation by operation and field by field: ARN, alias ARN, ciphertext, grant token
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields, replace
from typing import Any

from tests.serving.test_rbac import CALLS, Stage

from keystead.app.frontdoor import SERVED
from keystead.operations import OPERATIONS
from keystead.policy.actions import KEYLESS

SYMMETRIC = (
    "Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext", "DescribeKey", "CreateGrant",
)  # fmt: skip
GRANTED: dict[str, tuple[str, ...]] = {
    "sym": SYMMETRIC,
    "other": SYMMETRIC,
    "sign": ("Sign", "Verify", "GetPublicKey"),
    "mac": ("GenerateMac", "VerifyMac"),
    "agree": ("DeriveSharedSecret",),
}
ENDS = ("RetireGrant",)
"""Of a grant of its own: who uses it ends it."""
NAMED = sorted(name for name, row in SERVED.items() if not set(row.actions) <= KEYLESS and name not in ("DeleteAlias", "UpdateAlias"))
"""Operations whose request names a key. Aliases are named within one's own account."""
Way = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Named:
    """Keys by ARN, an alias ARN of some of them (member of the stage -> ARN), and the token of a grant on `sym`."""

    stage: Stage
    aliases: dict[str, str]
    token: str

    def ghosts(self) -> Named:
        """Names of the same form, of what does not exist. The grant stays: its holder is told of it whatever there is of the key."""
        nowhere = {name: f"{arn.rpartition('/')[0]}/no-such-{name}" for name, arn in self.aliases.items()}
        return Named(ghosts(self.stage), nowhere, self.token)


def ghosts(stage: Stage) -> Stage:
    """The same stage with keys and grants that do not exist. The blobs are what they are."""
    place = stage.sym.rpartition("/")[0]
    members = [each.name for each in fields(Stage) if str(getattr(stage, each.name)).startswith("arn:")]
    keys = {name: f"{place}/{uuid.uuid4()}" for name in members}
    return replace(stage, **keys, revoked="0" * 64, retired="1" * 64)


def ways(named: Named, own: str = "", blob: bytes = b"") -> dict[str, Way]:
    """All of them. own, blob: a key of the caller's, which has the alias `alias/own`, and a ciphertext under it, where it has one."""
    stage = named.stage
    found: dict[str, Way] = {name: (name, CALLS[name](stage)) for name in NAMED}
    by_key = {getattr(stage, member): arn for member, arn in named.aliases.items()}
    for name in OPERATIONS:
        members = CALLS[name](stage)
        alias = by_key.get(members.get("KeyId"))
        if alias is not None:
            found[f"{name} by alias"] = (name, {**members, "KeyId": alias})
            if name != "GetPublicKey":
                found[f"{name} with a token"] = (name, {**members, "GrantTokens": [named.token]})
    for how, key in (("ARN", stage.sym), ("alias", named.aliases["sym"])):
        found[f"Decrypt by {how}"] = ("Decrypt", {"CiphertextBlob": stage.blob, "KeyId": key})
        source = {"CiphertextBlob": stage.blob, "SourceKeyId": key}
        found[f"ReEncrypt from {how}"] = ("ReEncrypt", {**source, "DestinationKeyId": own or stage.other})
        if own:
            found[f"ReEncrypt to {how}"] = ("ReEncrypt", {"CiphertextBlob": blob, "DestinationKeyId": key})
    found["ListAliases"] = ("ListAliases", {"KeyId": stage.sym})
    if own:
        found["UpdateAlias"] = ("UpdateAlias", {"AliasName": "alias/own", "TargetKeyId": stage.sym})
    return found

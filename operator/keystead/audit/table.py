"""The TABLE of what is written down of each operation: which members of its request, and which never; what of its answer; how soon.

Called by shape, usual and journal. Total over all operations, and over all members of their requests (tests/audit/test_table.py): a new
member is written nowhere until somebody decides here. What is no member of the table is left out.

Sources: AWS KMS, 'Log entry examples'; AWS.md, CloudTrail record. Never written: plaintexts, messages, MACs, signatures, blobs, public
keys that somebody sent, grant tokens, markers (they are sealed texts of ours).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Any, Final, NamedTuple

from keystead.engine.clock import format_time

Members = Callable[[Any], dict[str, Any]]
Answer = Callable[[Any, str], dict[str, Any] | None]
"""(response, ARN of the last key that was judged: UpdateAlias's new one) -> responseElements."""

# What CloudTrail writes where lower camel case of AWS's own name is not what camel() makes.
_NAMES: Final = {"aws_account_id": "aWSAccountId"}


class Row(NamedTuple):
    """One operation.

    kept       wire name -> member of the request
    never      members of the request that are never written
    answer     responseElements of a call that succeeded
    read_only  AWS's readOnly: true for what changes no key, so for cryptographic calls too
    durable    in mode `sync` the answer waits for the record
    """

    kept: Mapping[str, str]
    never: frozenset[str]
    answer: Answer
    read_only: bool
    durable: bool


def camel(name: str) -> str:
    """`key_id` -> `keyId`."""
    known = _NAMES.get(name)
    if known is not None:
        return known
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def plain(value: Any) -> Any:  # noqa: ANN401 - a value of some request
    """A value as JSON has it: members of dataclasses in camel case, without what is None or empty; moments as text."""
    match value:
        case datetime():
            return format_time(value)
        case Enum():
            return value.value
        case str() | int() | float() | None:
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
    if not is_dataclass(value):
        return None  # bytes, and whatever nobody thought of
    found = ((camel(each.name), getattr(value, each.name)) for each in fields(value))
    return {name: plain(member) for name, member in found if member is not None and member != ()}


def nothing(_response: Any, _arn: str) -> None:  # noqa: ANN401
    """CloudTrail writes nothing of the answer."""


def _key_id(_response: Any, arn: str) -> dict[str, Any] | None:  # noqa: ANN401
    return {"keyId": arn} if arn else None


def _metadata(response: Any, _arn: str) -> dict[str, Any]:  # noqa: ANN401
    return {"keyMetadata": plain(response.key_metadata)}


def _grant(response: Any, arn: str) -> dict[str, Any]:  # noqa: ANN401
    return {"grantId": response.grant_id, "keyId": arn}


def _deletion(response: Any, arn: str) -> dict[str, Any]:  # noqa: ANN401
    return {"keyId": arn, "deletionDate": plain(response.deletion_date)}


def _row(kept: str, never: str = "", answer: Answer = nothing, *, read_only: bool = True, durable: bool = False) -> Row:
    names = kept.split()
    return Row({camel(name): name for name in names}, frozenset(never.split()), answer, read_only, durable)


def _use(kept: str, never: str = "", *, durable: bool = False) -> Row:
    """A cryptographic call."""
    return _row(f"key_id {kept} dry_run", f"grant_tokens {never}", durable=durable)


def _change(kept: str, never: str = "", answer: Answer = _key_id) -> Row:
    """What changes something is durable before it is answered."""
    return _row(kept, never, answer, read_only=False, durable=True)


_PAIR: Final = _use("key_pair_spec encryption_context", durable=True)
# Durable: what gives something out that can be used without Keystead afterwards, and what others will believe.
TABLE: Final[Mapping[str, Row]] = {
    "Encrypt": _use("encryption_context encryption_algorithm", "plaintext"),
    "Decrypt": _use("encryption_context encryption_algorithm", "ciphertext_blob recipient", durable=True),
    "ReEncrypt": _row(
        "source_key_id destination_key_id source_encryption_context destination_encryption_context "
        "source_encryption_algorithm destination_encryption_algorithm dry_run",
        "ciphertext_blob grant_tokens",
        durable=True,
    ),
    "GenerateDataKey": _use("encryption_context number_of_bytes key_spec", "recipient", durable=True),
    "GenerateDataKeyWithoutPlaintext": _use("encryption_context number_of_bytes key_spec", durable=True),
    "GenerateDataKeyPair": _PAIR._replace(never=_PAIR.never | {"recipient"}),
    "GenerateDataKeyPairWithoutPlaintext": _PAIR,
    "GenerateRandom": _row("number_of_bytes custom_key_store_id", "recipient"),
    "GenerateMac": _use("mac_algorithm", "message", durable=True),
    "VerifyMac": _use("mac_algorithm", "message mac"),
    "Sign": _use("signing_algorithm message_type", "message", durable=True),
    "Verify": _use("signing_algorithm message_type", "message signature"),
    "GetPublicKey": _row("key_id", "grant_tokens"),
    "DeriveSharedSecret": _use("key_agreement_algorithm", "public_key recipient", durable=True),
    "DescribeKey": _row("key_id", "grant_tokens"),
    "CreateKey": _change(
        "policy description key_usage customer_master_key_spec key_spec origin custom_key_store_id "
        "bypass_policy_lockout_safety_check tags multi_region xks_key_id",
        answer=_metadata,
    ),
    "ListKeys": _row("limit", "marker resource_owners"),
    "UpdateKeyDescription": _change("key_id description"),
    "EnableKey": _change("key_id"),
    "DisableKey": _change("key_id"),
    "ScheduleKeyDeletion": _change("key_id pending_window_in_days", answer=_deletion),
    "CancelKeyDeletion": _change("key_id"),
    "TagResource": _change("key_id tags"),
    "UntagResource": _change("key_id tag_keys"),
    "ListResourceTags": _row("key_id limit", "marker"),
    "GetKeyPolicy": _row("key_id policy_name"),
    "PutKeyPolicy": _change("key_id policy policy_name bypass_policy_lockout_safety_check"),
    "ListKeyPolicies": _row("key_id limit", "marker"),
    "EnableKeyRotation": _change("key_id rotation_period_in_days"),
    "DisableKeyRotation": _change("key_id"),
    "GetKeyRotationStatus": _row("key_id"),
    "RotateKeyOnDemand": _change("key_id"),
    "ListKeyRotations": _row("key_id include_key_material limit", "marker"),
    "CreateAlias": _change("alias_name target_key_id"),
    "UpdateAlias": _change("alias_name target_key_id"),
    "DeleteAlias": _change("alias_name"),
    "ListAliases": _row("key_id limit", "marker"),
    "CreateGrant": _change(
        "key_id operations grantee_principal retiring_principal constraints name dry_run "
        "grantee_service_principal retiring_service_principal",
        "grant_tokens",
        _grant,
    ),
    "RevokeGrant": _change("key_id grant_id dry_run"),
    "RetireGrant": _change("key_id grant_id dry_run", "grant_token"),
    "ListGrants": _row("key_id limit grant_id grantee_principal grantee_service_principal", "marker"),
    "ListRetirableGrants": _row("retiring_principal retiring_service_principal limit", "marker"),
    "GetKeyLastUsage": _row("key_id"),
}
"""Operation -> row."""

# Members whose values are dataclasses, or tuples of them; all others go out as they are.
_NESTED: Final = frozenset({"tags", "constraints"})


def members_of(row: Row) -> Members:
    """How the row's requestParameters are made of a request."""
    wires = tuple(row.kept)
    names = tuple(row.kept.values())
    if len(names) == 1:
        only, wire = attrgetter(names[0]), wires[0]

        def one(request: Any) -> dict[str, Any]:  # noqa: ANN401
            value = only(request)
            return {} if value is None or value == () else {wire: plain(value) if names[0] in _NESTED else value}

        return one
    getter = attrgetter(*names)
    nested = bool(_NESTED.intersection(names))

    def several(request: Any) -> dict[str, Any]:  # noqa: ANN401
        found = zip(wires, getter(request), strict=True)
        kept = {wire: value for wire, value in found if value is not None and value is not False and value != ()}
        return {wire: plain(value) for wire, value in kept.items()} if nested else kept

    return several


DURABLE: Final = frozenset(operation for operation, row in TABLE.items() if row.durable)
"""Operations whose answer waits for the record in mode `sync`. Whether they succeed or are refused: the wait must not tell."""

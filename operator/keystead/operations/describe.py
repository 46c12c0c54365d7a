"""DescribeKey: what a key is, from its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from keystead.engine.algorithms import EncryptionAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm
from keystead.engine.clock import parse_time
from keystead.engine.keyspec import row
from keystead.engine.managed import is_managed
from keystead.engine.plan.key_life import shown_state
from keystead.engine.record import KeyRecord
from keystead.operations.effects import Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, arn_of
from keystead.operations.rules import RULES
from keystead.operations.validate import check_grant_tokens, check_key_id
from keystead.operations.world import World
from keystead.policy import Action, Caller
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage, Origin

# Ed25519ph is in AWS's list for the spec; no token does it, so Sign and Verify refuse it (docs/security.md).
NOT_SERVED: Final = frozenset({SigningAlgorithm.ED25519_PH_SHA_512})


class KeyManager(StrEnum):
    """AWS KeyManagerType. AWS: a key that Keystead makes for itself (RECORDS: names that begin with aws-)."""

    AWS = "AWS"
    CUSTOMER = "CUSTOMER"


class Algorithms(NamedTuple):
    """The algorithms of a key: those of its spec, for its usage only."""

    encryption: tuple[EncryptionAlgorithm, ...] = ()
    signing: tuple[SigningAlgorithm, ...] = ()
    macs: tuple[MacAlgorithm, ...] = ()
    agreement: tuple[KeyAgreementAlgorithm, ...] = ()


def algorithms_of(record: KeyRecord) -> Algorithms:
    """The algorithms that this key can be used with."""
    known = row(record.spec)
    match record.usage:
        case KeyUsage.ENCRYPT_DECRYPT:
            return Algorithms(encryption=known.encryption)
        case KeyUsage.SIGN_VERIFY:
            return Algorithms(signing=tuple(algorithm for algorithm in known.signing if algorithm not in NOT_SERVED))
        case KeyUsage.GENERATE_VERIFY_MAC:
            return Algorithms(macs=known.macs)
        case KeyUsage.KEY_AGREEMENT:
            return Algorithms(agreement=known.agreement)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMetadata:
    """AWS KeyMetadata, as far as our keys go. Empty lists and None are left out of the answer."""

    aws_account_id: str
    key_id: str
    arn: str
    creation_date: datetime
    enabled: bool
    description: str
    key_usage: KeyUsage
    key_state: KeyState
    deletion_date: datetime | None
    origin: Origin
    key_manager: KeyManager
    customer_master_key_spec: KeySpec
    key_spec: KeySpec
    encryption_algorithms: tuple[EncryptionAlgorithm, ...]
    signing_algorithms: tuple[SigningAlgorithm, ...]
    mac_algorithms: tuple[MacAlgorithm, ...]
    key_agreement_algorithms: tuple[KeyAgreementAlgorithm, ...]
    multi_region: bool
    current_key_material_id: str | None


_KEPT: Final = 1024
_kept: dict[str, tuple[KeyRecord, KeyMetadata]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeKeyRequest:
    """AWS DescribeKeyRequest."""

    key_id: str
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeKeyResponse:
    """AWS DescribeKeyResponse."""

    key_metadata: KeyMetadata


@operation
def describe_key(world: World, caller: Caller, request: DescribeKeyRequest) -> Running[DescribeKeyResponse]:
    """AWS DescribeKey."""
    check_key_id(request.key_id)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(
        world, caller, RULES[Action.DESCRIBE_KEY], request.key_id, Asked(request, tokens=request.grant_tokens)
    )
    return DescribeKeyResponse(key_metadata=metadata_of(record))


def manager_of(record: KeyRecord) -> KeyManager:
    """Whose key it is."""
    return KeyManager.AWS if is_managed(record) else KeyManager.CUSTOMER


def metadata_of(record: KeyRecord) -> KeyMetadata:
    """KeyMetadata of a record, for DescribeKey and CreateKey. Made once as long as the record is the same object: it never changes."""
    kept = _kept.get(record.key_id)
    if kept is not None and kept[0] is record:
        return kept[1]
    if len(_kept) >= _KEPT:
        _kept.clear()
    made = _metadata(record)
    _kept[record.key_id] = record, made
    return made


def _metadata(record: KeyRecord) -> KeyMetadata:
    state = shown_state(record)
    known = algorithms_of(record)
    deletion = record.deletion_date
    symmetric = record.spec is KeySpec.SYMMETRIC_DEFAULT
    return KeyMetadata(
        aws_account_id=record.account,
        key_id=record.key_id,
        arn=arn_of(record),
        creation_date=parse_time(record.created),
        enabled=state is KeyState.ENABLED,
        description=record.description,
        key_usage=record.usage,
        key_state=state,
        deletion_date=parse_time(deletion) if isinstance(deletion, str) else None,
        origin=record.origin,
        key_manager=manager_of(record),
        customer_master_key_spec=record.spec,
        key_spec=record.spec,
        encryption_algorithms=known.encryption,
        signing_algorithms=known.signing,
        mac_algorithms=known.macs,
        key_agreement_algorithms=known.agreement,
        multi_region=record.multi_region,
        current_key_material_id=record.current_version.material_id if symmetric else None,
    )

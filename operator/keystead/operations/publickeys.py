"""GetPublicKey and DeriveSharedSecret."""

from __future__ import annotations

from dataclasses import dataclass, field

from keystead.engine.algorithms import EncryptionAlgorithm, KeyAgreementAlgorithm, SigningAlgorithm
from keystead.engine.keyspec import Family, row
from keystead.engine.material import material_of, public_key
from keystead.engine.ports import Agree
from keystead.engine.publickey import check_peer
from keystead.errors import FormatError, ValidationError
from keystead.operations import refusals
from keystead.operations.describe import algorithms_of
from keystead.operations.effects import Running, Slow
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, arn_of, check_algorithm, check_usage
from keystead.operations.rules import RULES
from keystead.operations.validate import (
    PUBLIC_KEY,
    check_blob,
    check_grant_tokens,
    check_key_id,
    refuse_recipient,
)
from keystead.operations.world import World
from keystead.policy import Action, Caller
from keystead.resources.vocabulary import KeySpec, KeyUsage, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class GetPublicKeyRequest:
    """AWS GetPublicKeyRequest."""

    key_id: str
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetPublicKeyResponse:
    """AWS GetPublicKeyResponse; `key_id` is the key ARN. Lists that do not apply to the usage are empty."""

    key_id: str
    public_key: bytes
    key_spec: KeySpec
    customer_master_key_spec: KeySpec
    key_usage: KeyUsage
    encryption_algorithms: tuple[EncryptionAlgorithm, ...]
    signing_algorithms: tuple[SigningAlgorithm, ...]
    key_agreement_algorithms: tuple[KeyAgreementAlgorithm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveSharedSecretRequest:
    """AWS DeriveSharedSecretRequest."""

    key_id: str
    key_agreement_algorithm: KeyAgreementAlgorithm
    public_key: bytes
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    recipient: object = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveSharedSecretResponse:
    """AWS DeriveSharedSecretResponse; `key_id` is the key ARN, `shared_secret` the raw x coordinate."""

    key_id: str
    shared_secret: bytes = field(repr=False)
    key_agreement_algorithm: KeyAgreementAlgorithm
    key_origin: Origin


@operation
def get_public_key(world: World, caller: Caller, request: GetPublicKeyRequest) -> Running[GetPublicKeyResponse]:
    """AWS GetPublicKey."""
    check_key_id(request.key_id)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(
        world, caller, RULES[Action.GET_PUBLIC_KEY], request.key_id, Asked(request, tokens=request.grant_tokens)
    )
    if row(record.spec).family in (Family.SYMMETRIC, Family.HMAC):
        raise refusals.no_public_key(arn_of(record), record.spec)
    known = algorithms_of(record)
    return GetPublicKeyResponse(
        key_id=arn_of(record),
        public_key=public_key(record),
        key_spec=record.spec,
        customer_master_key_spec=record.spec,
        key_usage=record.usage,
        encryption_algorithms=known.encryption,
        signing_algorithms=known.signing,
        key_agreement_algorithms=known.agreement,
    )


@operation
def derive_shared_secret(
    world: World, caller: Caller, request: DeriveSharedSecretRequest
) -> Running[DeriveSharedSecretResponse]:
    """AWS DeriveSharedSecret: ECDH in the token with a point that was checked here first (HSM.md: invalid curves)."""
    rule = RULES[Action.DERIVE_SHARED_SECRET]
    refuse_recipient(request.recipient)
    check_key_id(request.key_id)
    check_blob("publicKey", request.public_key, PUBLIC_KEY)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, Asked(request, tokens=request.grant_tokens))
    check_usage(rule, record)
    check_algorithm(record, request.key_agreement_algorithm)
    try:
        check_peer(record.spec, request.public_key)
    except FormatError as error:
        raise ValidationError from error
    if request.dry_run:
        raise refusals.dry_run()
    material = material_of(record, record.current_version)
    secret: bytes = yield Slow(Agree(material, request.key_agreement_algorithm, request.public_key))
    return DeriveSharedSecretResponse(
        key_id=arn_of(record),
        shared_secret=secret,
        key_agreement_algorithm=request.key_agreement_algorithm,
        key_origin=record.origin,
    )

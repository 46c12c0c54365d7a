"""GenerateDataKey and its three siblings, and GenerateRandom.

Each opens its own blob, derived anew in the token, before it answers (SECURITY, promise 6). Key pairs are made outside
the token: their plaintext leaves anyway (ARCHITECTURE 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keystead.engine.algorithms import EncryptionAlgorithm
from keystead.engine.context import encode_context
from keystead.engine.ports import MakePair, NewPair
from keystead.engine.record import KeyRecord
from keystead.engine.values import per_call
from keystead.errors import UnsupportedOperationError, ValidationError
from keystead.operations import refusals
from keystead.operations.effects import Running, Slow
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, admit_keyless, arn_of, check_algorithm, check_usage
from keystead.operations.rules import RULES, Rule
from keystead.operations.symmetric import seal_checked
from keystead.operations.validate import check_grant_tokens, check_key_id, check_number, refuse_recipient
from keystead.operations.world import World
from keystead.policy import Action, Caller
from keystead.resources.vocabulary import DataKeyPairSpec, DataKeySpec

LENGTHS: Final[dict[DataKeySpec, int]] = {DataKeySpec.AES_256: 32, DataKeySpec.AES_128: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyWithoutPlaintextRequest:
    """AWS GenerateDataKeyWithoutPlaintextRequest: exactly one of `key_spec` and `number_of_bytes`."""

    key_id: str
    encryption_context: Mapping[str, str] | None = None
    number_of_bytes: int | None = None
    key_spec: DataKeySpec | None = None
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyRequest:
    """AWS GenerateDataKeyRequest: exactly one of `key_spec` and `number_of_bytes`."""

    key_id: str
    encryption_context: Mapping[str, str] | None = None
    number_of_bytes: int | None = None
    key_spec: DataKeySpec | None = None
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    recipient: object = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyResponse:
    """AWS GenerateDataKeyResponse; `key_id` is the key ARN."""

    ciphertext_blob: bytes
    plaintext: bytes = field(repr=False)
    key_id: str
    key_material_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyWithoutPlaintextResponse:
    """AWS GenerateDataKeyWithoutPlaintextResponse; `key_id` is the key ARN."""

    ciphertext_blob: bytes
    key_id: str
    key_material_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyPairWithoutPlaintextRequest:
    """AWS GenerateDataKeyPairWithoutPlaintextRequest."""

    key_id: str
    key_pair_spec: DataKeyPairSpec
    encryption_context: Mapping[str, str] | None = None
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyPairRequest:
    """AWS GenerateDataKeyPairRequest."""

    key_id: str
    key_pair_spec: DataKeyPairSpec
    encryption_context: Mapping[str, str] | None = None
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    recipient: object = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyPairResponse:
    """AWS GenerateDataKeyPairResponse: PKCS#8 and SPKI, both DER; `key_id` is the key ARN."""

    private_key_ciphertext_blob: bytes
    private_key_plaintext: bytes = field(repr=False)
    public_key: bytes
    key_id: str
    key_pair_spec: DataKeyPairSpec
    key_material_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateDataKeyPairWithoutPlaintextResponse:
    """AWS GenerateDataKeyPairWithoutPlaintextResponse; `key_id` is the key ARN."""

    private_key_ciphertext_blob: bytes
    public_key: bytes
    key_id: str
    key_pair_spec: DataKeyPairSpec
    key_material_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRandomRequest:
    """AWS GenerateRandomRequest."""

    number_of_bytes: int | None = None
    custom_key_store_id: str | None = None
    recipient: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRandomResponse:
    """AWS GenerateRandomResponse."""

    plaintext: bytes = field(repr=False)


@per_call
class _Made:
    """What the symmetric and the pair operations share: the key, the blob, and what is in it."""

    record: KeyRecord
    blob: bytes
    secret: bytes = field(repr=False)
    public: bytes = b""


@operation
def generate_data_key(
    world: World, caller: Caller, request: GenerateDataKeyRequest
) -> Running[GenerateDataKeyResponse]:
    """AWS GenerateDataKey."""
    refuse_recipient(request.recipient)
    made = yield from _data_key(world, caller, RULES[Action.GENERATE_DATA_KEY], request)
    return GenerateDataKeyResponse(
        ciphertext_blob=made.blob,
        plaintext=made.secret,
        key_id=arn_of(made.record),
        key_material_id=made.record.current_version.material_id,
    )


@operation
def generate_data_key_without_plaintext(
    world: World, caller: Caller, request: GenerateDataKeyWithoutPlaintextRequest
) -> Running[GenerateDataKeyWithoutPlaintextResponse]:
    """AWS GenerateDataKeyWithoutPlaintext."""
    made = yield from _data_key(world, caller, RULES[Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT], request)
    return GenerateDataKeyWithoutPlaintextResponse(
        ciphertext_blob=made.blob,
        key_id=arn_of(made.record),
        key_material_id=made.record.current_version.material_id,
    )


@operation
def generate_data_key_pair(
    world: World, caller: Caller, request: GenerateDataKeyPairRequest
) -> Running[GenerateDataKeyPairResponse]:
    """AWS GenerateDataKeyPair."""
    refuse_recipient(request.recipient)
    made = yield from _pair(world, caller, RULES[Action.GENERATE_DATA_KEY_PAIR], request)
    return GenerateDataKeyPairResponse(
        private_key_ciphertext_blob=made.blob,
        private_key_plaintext=made.secret,
        public_key=made.public,
        key_id=arn_of(made.record),
        key_pair_spec=request.key_pair_spec,
        key_material_id=made.record.current_version.material_id,
    )


@operation
def generate_data_key_pair_without_plaintext(
    world: World, caller: Caller, request: GenerateDataKeyPairWithoutPlaintextRequest
) -> Running[GenerateDataKeyPairWithoutPlaintextResponse]:
    """AWS GenerateDataKeyPairWithoutPlaintext."""
    made = yield from _pair(world, caller, RULES[Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT], request)
    return GenerateDataKeyPairWithoutPlaintextResponse(
        private_key_ciphertext_blob=made.blob,
        public_key=made.public,
        key_id=arn_of(made.record),
        key_pair_spec=request.key_pair_spec,
        key_material_id=made.record.current_version.material_id,
    )


@operation
def generate_random(world: World, caller: Caller, request: GenerateRandomRequest) -> Running[GenerateRandomResponse]:
    """AWS GenerateRandom. Bytes of the operating system: an XOR with the token's generator buys nothing (HSM.md)."""
    refuse_recipient(request.recipient)
    if request.number_of_bytes is None:
        raise ValidationError("NumberOfBytes is required.")
    check_number("numberOfBytes", request.number_of_bytes)
    if request.custom_key_store_id is not None:
        raise UnsupportedOperationError("CustomKeyStoreId is not supported in this version.")
    yield from admit_keyless(world, caller, Action.GENERATE_RANDOM)
    return GenerateRandomResponse(plaintext=world.entropy(request.number_of_bytes))


def _length(request: GenerateDataKeyRequest | GenerateDataKeyWithoutPlaintextRequest) -> int:
    if request.number_of_bytes is not None:
        check_number("numberOfBytes", request.number_of_bytes)
    if (request.number_of_bytes is None) == (request.key_spec is None):
        raise ValidationError("Please specify either number of bytes or key spec.")
    return LENGTHS[request.key_spec] if request.key_spec is not None else request.number_of_bytes or 0


def _check_target(rule: Rule, record: KeyRecord) -> None:
    check_usage(rule, record)
    check_algorithm(record, EncryptionAlgorithm.SYMMETRIC_DEFAULT)


def _data_key(
    world: World,
    caller: Caller,
    rule: Rule,
    request: GenerateDataKeyRequest | GenerateDataKeyWithoutPlaintextRequest,
) -> Running[_Made]:
    check_key_id(request.key_id)
    check_grant_tokens(request.grant_tokens)
    length = _length(request)
    context = encode_context(request.encryption_context)
    asked = Asked(request, request.encryption_context, request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, asked)
    _check_target(rule, record)
    if request.dry_run:
        raise refusals.dry_run()
    secret = world.entropy(length)
    return _Made(record, seal_checked(world, record, secret, context), secret)


def _pair(
    world: World,
    caller: Caller,
    rule: Rule,
    request: GenerateDataKeyPairRequest | GenerateDataKeyPairWithoutPlaintextRequest,
) -> Running[_Made]:
    check_key_id(request.key_id)
    check_grant_tokens(request.grant_tokens)
    context = encode_context(request.encryption_context)
    asked = Asked(request, request.encryption_context, request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, asked)
    _check_target(rule, record)
    if request.dry_run:
        raise refusals.dry_run()
    pair: NewPair = yield Slow(MakePair(request.key_pair_spec))
    blob = seal_checked(world, record, pair.private_pkcs8, context)
    return _Made(record, blob, pair.private_pkcs8, pair.public_spki)

"""Encrypt, Decrypt, ReEncrypt: with symmetric keys in suite 1, with RSA keys in OAEP (public half in software)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keystead.engine.algorithms import EncryptionAlgorithm, RsaPadding
from keystead.engine.blob import read_ids
from keystead.engine.context import encode_context
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.keyspec import oaep_limit, row
from keystead.engine.material import material_of, public_key
from keystead.engine.ports import DecryptRsa
from keystead.engine.publickey import encrypt_rsa
from keystead.engine.record import KeyRecord, KeyVersion
from keystead.engine.values import per_call
from keystead.errors import HsmDataError, InvalidCiphertextError, ValidationError
from keystead.operations import refusals
from keystead.operations.effects import Running, Slow
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, admit_blob, arn_of, check_algorithm, check_usage, named_key
from keystead.operations.rules import RULES, Rule
from keystead.operations.symmetric import open_blob, seal, seal_checked, version_of
from keystead.operations.validate import (
    CIPHERTEXT,
    PLAINTEXT,
    check_blob,
    check_grant_tokens,
    check_key_id,
    refuse_recipient,
)
from keystead.operations.world import World
from keystead.policy import Action, Caller

_SYMMETRIC: Final = EncryptionAlgorithm.SYMMETRIC_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptRequest:
    """AWS EncryptRequest."""

    key_id: str
    plaintext: bytes = field(repr=False)
    encryption_context: Mapping[str, str] | None = None
    encryption_algorithm: EncryptionAlgorithm = _SYMMETRIC
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptResponse:
    """AWS EncryptResponse; `key_id` is the key ARN."""

    ciphertext_blob: bytes
    key_id: str
    encryption_algorithm: EncryptionAlgorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptRequest:
    """AWS DecryptRequest. `recipient`: what was sent, or None."""

    ciphertext_blob: bytes
    key_id: str | None = None
    encryption_context: Mapping[str, str] | None = None
    encryption_algorithm: EncryptionAlgorithm = _SYMMETRIC
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    recipient: object = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptResponse:
    """AWS DecryptResponse. `key_material_id` None for key pairs, which have one material."""

    key_id: str
    plaintext: bytes = field(repr=False)
    encryption_algorithm: EncryptionAlgorithm
    key_material_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReEncryptRequest:
    """AWS ReEncryptRequest."""

    ciphertext_blob: bytes
    destination_key_id: str
    source_key_id: str | None = None
    source_encryption_context: Mapping[str, str] | None = None
    destination_encryption_context: Mapping[str, str] | None = None
    source_encryption_algorithm: EncryptionAlgorithm = _SYMMETRIC
    destination_encryption_algorithm: EncryptionAlgorithm = _SYMMETRIC
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReEncryptResponse:
    """AWS ReEncryptResponse; both key ids are ARNs."""

    ciphertext_blob: bytes
    source_key_id: str
    key_id: str
    source_encryption_algorithm: EncryptionAlgorithm
    destination_encryption_algorithm: EncryptionAlgorithm
    source_key_material_id: str | None
    destination_key_material_id: str | None


@per_call
class _Ciphertext:
    """What a request says of a ciphertext."""

    blob: bytes
    key_id: str | None
    algorithm: EncryptionAlgorithm
    asked: Asked


@per_call
class _Source:
    """A blob whose key the caller may use. `version` None: an RSA ciphertext, which names no version."""

    record: KeyRecord
    version: KeyVersion | None
    blob: bytes
    context: bytes
    algorithm: EncryptionAlgorithm


@operation
def encrypt(world: World, caller: Caller, request: EncryptRequest) -> Running[EncryptResponse]:
    """AWS Encrypt."""
    rule = RULES[Action.ENCRYPT]
    check_key_id(request.key_id)
    check_blob("plaintext", request.plaintext, PLAINTEXT)
    check_grant_tokens(request.grant_tokens)
    context = encode_context(request.encryption_context)
    asked = Asked(request, request.encryption_context, request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, asked)
    _check_target(rule, record, request.encryption_algorithm, request.encryption_context)
    _check_size(record, request.encryption_algorithm, request.plaintext)
    if request.dry_run:
        raise refusals.dry_run()
    return EncryptResponse(
        ciphertext_blob=_encrypt(world, record, request.encryption_algorithm, request.plaintext, context),
        key_id=arn_of(record),
        encryption_algorithm=request.encryption_algorithm,
    )


@operation
def decrypt(world: World, caller: Caller, request: DecryptRequest) -> Running[DecryptResponse]:
    """AWS Decrypt. A DryRun opens the blob too: a ciphertext that would be refused is a check that fails."""
    refuse_recipient(request.recipient)
    check_blob("ciphertextBlob", request.ciphertext_blob, CIPHERTEXT)
    check_grant_tokens(request.grant_tokens)
    if request.key_id is not None:
        check_key_id(request.key_id)
    asked = Asked(request, request.encryption_context, request.grant_tokens)
    sent = _Ciphertext(request.ciphertext_blob, request.key_id, request.encryption_algorithm, asked)
    source = yield from _admit_source(world, caller, RULES[Action.DECRYPT], sent)
    plaintext = yield from _open(world, source)
    if request.dry_run:
        raise refusals.dry_run()
    return DecryptResponse(
        key_id=arn_of(source.record),
        plaintext=plaintext,
        encryption_algorithm=source.algorithm,
        key_material_id=source.version.material_id if source.version else None,
    )


@operation
def re_encrypt(world: World, caller: Caller, request: ReEncryptRequest) -> Running[ReEncryptResponse]:
    """AWS ReEncrypt: two actions, ReEncryptFrom on the blob's key and ReEncryptTo on the destination."""
    to = RULES[Action.RE_ENCRYPT_TO]
    algorithm = request.destination_encryption_algorithm
    check_blob("ciphertextBlob", request.ciphertext_blob, CIPHERTEXT)
    check_key_id(request.destination_key_id, "destinationKeyId")
    check_grant_tokens(request.grant_tokens)
    if request.source_key_id is not None:
        check_key_id(request.source_key_id, "sourceKeyId")
    context = encode_context(request.destination_encryption_context)
    named = named_key(world, caller, request.destination_key_id)
    source = yield from _source_of(world, caller, request, named)
    other = source.record.key_id
    asked = Asked(request, request.destination_encryption_context, request.grant_tokens, other_key=other)
    record = yield from admit(world, caller, to, request.destination_key_id, asked)
    if record.key_id != named:
        # An alias was moved meanwhile, or the key was new: the source's policy was asked about another destination than this.
        source = yield from _source_of(world, caller, request, record.key_id)
    _check_target(to, record, algorithm, request.destination_encryption_context)
    plaintext = yield from _open(world, source)
    _check_size(record, algorithm, plaintext)
    if request.dry_run:
        raise refusals.dry_run()
    return ReEncryptResponse(
        ciphertext_blob=_encrypt_again(world, record, algorithm, plaintext, context),
        source_key_id=arn_of(source.record),
        key_id=arn_of(record),
        source_encryption_algorithm=source.algorithm,
        destination_encryption_algorithm=algorithm,
        source_key_material_id=source.version.material_id if source.version else None,
        destination_key_material_id=record.current_version.material_id if algorithm is _SYMMETRIC else None,
    )


def _source_of(world: World, caller: Caller, request: ReEncryptRequest, destination: str) -> Running[_Source]:
    """The source of a ReEncrypt. destination: the id of the key that it goes to, "" where it is not known."""
    asked = Asked(request, request.source_encryption_context, request.grant_tokens, other_key=destination)
    sent = _Ciphertext(request.ciphertext_blob, request.source_key_id, request.source_encryption_algorithm, asked)
    return (yield from _admit_source(world, caller, RULES[Action.RE_ENCRYPT_FROM], sent))


def _admit_source(world: World, caller: Caller, rule: Rule, sent: _Ciphertext) -> Running[_Source]:
    """The key of a ciphertext: the one that KeyId names, else (symmetric only) the one that the blob names."""
    context = sent.asked.context
    encoded = encode_context(context)
    if sent.key_id is None:
        if sent.algorithm is not _SYMMETRIC:
            raise ValidationError("KeyId is required for a ciphertext of an asymmetric key.")
        ids = read_ids(sent.blob)
        record = yield from admit_blob(world, caller, rule, ids, sent.asked)
        if row(record.spec).encryption != (_SYMMETRIC,):
            raise InvalidCiphertextError
    else:
        record = yield from admit(world, caller, rule, sent.key_id, sent.asked)
        if record.usage is not rule.usage:
            raise refusals.incorrect_key()
        check_algorithm(record, sent.algorithm)
        if sent.algorithm is not _SYMMETRIC:
            _refuse_context(context)
            return _Source(record, None, sent.blob, encoded, sent.algorithm)
        ids = read_ids(sent.blob)
        if ids.key_id != key_id_bytes(record.key_id):
            raise refusals.incorrect_key()
    return _Source(record, version_of(record, ids.material_id), sent.blob, encoded, sent.algorithm)


def _open(world: World, source: _Source) -> Running[bytes]:
    if source.version is not None:
        return open_blob(world, source.record, source.version, source.blob, source.context)
    if len(source.blob) * 8 != row(source.record.spec).size:
        raise InvalidCiphertextError
    material = material_of(source.record, source.record.current_version)
    try:
        plaintext: bytes = yield Slow(DecryptRsa(material, RsaPadding(source.algorithm.value), source.blob))
    except HsmDataError as error:
        raise InvalidCiphertextError from error
    return plaintext


def _check_target(
    rule: Rule, record: KeyRecord, algorithm: EncryptionAlgorithm, context: Mapping[str, str] | None
) -> None:
    check_usage(rule, record)
    check_algorithm(record, algorithm)
    if algorithm is not _SYMMETRIC:
        _refuse_context(context)


def _refuse_context(context: Mapping[str, str] | None) -> None:
    if context:
        raise refusals.context_on_asymmetric()


def _check_size(record: KeyRecord, algorithm: EncryptionAlgorithm, plaintext: bytes) -> None:
    if algorithm is _SYMMETRIC:
        return
    limit = oaep_limit(record.spec, algorithm)
    if len(plaintext) > limit:
        pair = f"Algorithm {algorithm.value} and key spec {record.spec.value}"
        raise ValidationError(f"{pair} cannot encrypt data larger than {limit} bytes.")


def _encrypt_again(
    world: World, record: KeyRecord, algorithm: EncryptionAlgorithm, plaintext: bytes, context: bytes
) -> bytes:
    """For ReEncrypt, whose answer often replaces the only blob there was: a symmetric one is opened again first."""
    if algorithm is _SYMMETRIC:
        return seal_checked(world, record, plaintext, context)
    return _encrypt(world, record, algorithm, plaintext, context)


def _encrypt(
    world: World, record: KeyRecord, algorithm: EncryptionAlgorithm, plaintext: bytes, context: bytes
) -> bytes:
    if algorithm is _SYMMETRIC:
        return seal(world, record, plaintext, context)
    return encrypt_rsa(public_key(record), RsaPadding(algorithm.value), plaintext)

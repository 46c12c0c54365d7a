"""Sign (in the token, digest in software) and Verify (in software, with the record's public key)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keystead.engine.algorithms import DIGESTS, MessageType, SigningAlgorithm
from keystead.engine.material import material_of, public_key
from keystead.engine.ports import SignDigest
from keystead.engine.publickey import signing_input
from keystead.engine.publickey import verify as verify_signature
from keystead.errors import InvalidSignatureError, ValidationError
from keystead.operations import refusals
from keystead.operations.effects import Running, Slow
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, arn_of, check_algorithm, check_usage
from keystead.operations.rules import RULES
from keystead.operations.validate import CIPHERTEXT, MESSAGE, check_blob, check_grant_tokens, check_key_id
from keystead.operations.world import World
from keystead.policy import Action, Caller

# botocore, SignRequest.MessageType: the Edwards algorithms each go with one message type.
ONLY: Final[dict[SigningAlgorithm, MessageType]] = {
    SigningAlgorithm.ED25519_SHA_512: MessageType.RAW,
    SigningAlgorithm.ED25519_PH_SHA_512: MessageType.DIGEST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """AWS SignRequest."""

    key_id: str
    message: bytes = field(repr=False)
    signing_algorithm: SigningAlgorithm
    message_type: MessageType = MessageType.RAW
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignResponse:
    """AWS SignResponse; `key_id` is the key ARN, ECDSA signatures are DER."""

    key_id: str
    signature: bytes
    signing_algorithm: SigningAlgorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """AWS VerifyRequest."""

    key_id: str
    message: bytes = field(repr=False)
    signature: bytes
    signing_algorithm: SigningAlgorithm
    message_type: MessageType = MessageType.RAW
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResponse:
    """AWS VerifyResponse; `signature_valid` is always True: a wrong signature is an exception."""

    key_id: str
    signature_valid: bool
    signing_algorithm: SigningAlgorithm


@operation
def sign(world: World, caller: Caller, request: SignRequest) -> Running[SignResponse]:
    """AWS Sign."""
    rule = RULES[Action.SIGN]
    check_key_id(request.key_id)
    check_blob("message", request.message, MESSAGE)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, Asked(request, tokens=request.grant_tokens))
    check_usage(rule, record)
    check_algorithm(record, request.signing_algorithm)
    digest = _digest(request)
    if request.dry_run:
        raise refusals.dry_run()
    material = material_of(record, record.current_version)
    signature: bytes = yield Slow(SignDigest(material, request.signing_algorithm, digest))
    return SignResponse(key_id=arn_of(record), signature=signature, signing_algorithm=request.signing_algorithm)


@operation
def verify(world: World, caller: Caller, request: VerifyRequest) -> Running[VerifyResponse]:
    """AWS Verify. A DryRun verifies too: a signature that would be refused is a check that fails."""
    rule = RULES[Action.VERIFY]
    check_key_id(request.key_id)
    check_blob("message", request.message, MESSAGE)
    check_blob("signature", request.signature, CIPHERTEXT)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, Asked(request, tokens=request.grant_tokens))
    check_usage(rule, record)
    check_algorithm(record, request.signing_algorithm)
    digest = _digest(request)
    if verify_signature(public_key(record), request.signing_algorithm, digest, request.signature) is not True:
        raise InvalidSignatureError
    if request.dry_run:
        raise refusals.dry_run()
    return VerifyResponse(key_id=arn_of(record), signature_valid=True, signing_algorithm=request.signing_algorithm)


def _digest(request: SignRequest | VerifyRequest) -> bytes:
    """What is signed. Tokens take a digest of any length for ECDSA (HSM.md): the check here is the only one."""
    algorithm = request.signing_algorithm
    if ONLY.get(algorithm, request.message_type) is not request.message_type:
        raise ValidationError(f"Algorithm {algorithm.value} requires MessageType {ONLY[algorithm].value}.")
    if request.message_type is MessageType.RAW:
        return signing_input(algorithm, request.message)
    if len(request.message) != DIGESTS[algorithm][1]:
        raise ValidationError(f"Digest is invalid length for algorithm {algorithm.value}.")
    return request.message

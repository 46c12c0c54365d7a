"""GenerateMac and VerifyMac: HMAC in the token, inline."""

from __future__ import annotations

from dataclasses import dataclass, field

from keystead.engine.algorithms import MacAlgorithm
from keystead.engine.material import material_of
from keystead.errors import InvalidMacError
from keystead.operations import refusals
from keystead.operations.effects import Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, arn_of, check_algorithm, check_usage
from keystead.operations.rules import RULES
from keystead.operations.validate import CIPHERTEXT, MESSAGE, check_blob, check_grant_tokens, check_key_id
from keystead.operations.world import World
from keystead.policy import Action, Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateMacRequest:
    """AWS GenerateMacRequest."""

    key_id: str
    message: bytes = field(repr=False)
    mac_algorithm: MacAlgorithm
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateMacResponse:
    """AWS GenerateMacResponse; `key_id` is the key ARN."""

    mac: bytes = field(repr=False)
    mac_algorithm: MacAlgorithm
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyMacRequest:
    """AWS VerifyMacRequest."""

    key_id: str
    message: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    mac_algorithm: MacAlgorithm
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyMacResponse:
    """AWS VerifyMacResponse; `mac_valid` is always True: a wrong MAC is an exception."""

    key_id: str
    mac_valid: bool
    mac_algorithm: MacAlgorithm


@operation
def generate_mac(world: World, caller: Caller, request: GenerateMacRequest) -> Running[GenerateMacResponse]:
    """AWS GenerateMac."""
    rule = RULES[Action.GENERATE_MAC]
    check_key_id(request.key_id)
    check_blob("message", request.message, MESSAGE)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, Asked(request, tokens=request.grant_tokens))
    check_usage(rule, record)
    check_algorithm(record, request.mac_algorithm)
    if request.dry_run:
        raise refusals.dry_run()
    material = material_of(record, record.current_version)
    return GenerateMacResponse(
        mac=world.fast.generate_mac(material, request.mac_algorithm, request.message),
        mac_algorithm=request.mac_algorithm,
        key_id=arn_of(record),
    )


@operation
def verify_mac(world: World, caller: Caller, request: VerifyMacRequest) -> Running[VerifyMacResponse]:
    """AWS VerifyMac. A DryRun compares too: a MAC that would be refused is a check that fails."""
    rule = RULES[Action.VERIFY_MAC]
    check_key_id(request.key_id)
    check_blob("message", request.message, MESSAGE)
    check_blob("mac", request.mac, CIPHERTEXT)
    check_grant_tokens(request.grant_tokens)
    record = yield from admit(world, caller, rule, request.key_id, Asked(request, tokens=request.grant_tokens))
    check_usage(rule, record)
    check_algorithm(record, request.mac_algorithm)
    material = material_of(record, record.current_version)
    if world.fast.verify_mac(material, request.mac_algorithm, request.message, request.mac) is not True:
        raise InvalidMacError
    if request.dry_run:
        raise refusals.dry_run()
    return VerifyMacResponse(key_id=arn_of(record), mac_valid=True, mac_algorithm=request.mac_algorithm)

"""What a KmsGrant grants, in the form that its record holds: canonical principals, sorted operations, an absolute end. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from keystead.engine.clock import format_time
from keystead.engine.identifiers import SERVICE_ACCOUNT, canonical_principal, decoded_name, role_arn, user_arn
from keystead.engine.managed import DATA_KEYS_SERVICE
from keystead.engine.record.grant import GrantConstraints
from keystead.engine.rotation import parse_duration
from keystead.errors import InvalidSpecError
from keystead.resources.kms_grant import GrantConstraints as SpecConstraints
from keystead.resources.kms_grant import KmsGrantSpec
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage

_O = GrantOperation
_ANY: Final = frozenset({_O.DESCRIBE_KEY, _O.CREATE_GRANT, _O.RETIRE_GRANT})
_BY_USAGE: Final[dict[KeyUsage, frozenset[GrantOperation]]] = {
    KeyUsage.ENCRYPT_DECRYPT: frozenset({_O.ENCRYPT, _O.DECRYPT, _O.RE_ENCRYPT_FROM, _O.RE_ENCRYPT_TO}),
    KeyUsage.SIGN_VERIFY: frozenset({_O.SIGN, _O.VERIFY}),
    KeyUsage.GENERATE_VERIFY_MAC: frozenset({_O.GENERATE_MAC, _O.VERIFY_MAC}),
    KeyUsage.KEY_AGREEMENT: frozenset({_O.DERIVE_SHARED_SECRET}),
}
"""AWS, Grants: the operations that a key of each usage supports; those of SYMMETRIC_DEFAULT and of key pairs are added to them."""
_SYMMETRIC: Final = frozenset(
    {
        _O.GENERATE_DATA_KEY,
        _O.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
        _O.GENERATE_DATA_KEY_PAIR,
        _O.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
    }
)
_PRINCIPAL: Final = re.compile(r"arn:aws:(iam|sts)::\d{12}:(root|(role|user|group|assumed-role|federated-user)/[\w+=,.@:/%-]+)\Z", re.ASCII)
_GRANTEE: Final = re.compile(r"arn:aws:iam::(\d{12}):(?:root\Z|(role|user|group)/(.*)\Z)", re.ASCII | re.DOTALL)
_NO_ARN: Final = "not the ARN of a principal, such as arn:aws:iam::<account>:role/<serviceaccount> or ...:user/<name>"

IN_CONTEXT: Final = _ANY | _SYMMETRIC | {_O.ENCRYPT, _O.DECRYPT, _O.RE_ENCRYPT_FROM, _O.RE_ENCRYPT_TO}
"""AWS: an encryption context constraint goes with operations that have a context, and with the three that any key can do."""

SERVICES: Final = frozenset({DATA_KEYS_SERVICE})
"""Services of ours that act on behalf of resources: what can be a grantee, or retire."""


_CONTEXTS: Final = {
    "encryption_context_equals": "encryptionContextEquals",
    "encryption_context_subset": "encryptionContextSubset",
}


class GrantTerms(Struct, frozen=True, kw_only=True):
    """Members of a grant record that follow its spec."""

    grant_name: str | UnsetType
    grantee_principal: str | UnsetType
    grantee_service_principal: str | UnsetType
    retiring_principal: str | UnsetType
    retiring_service_principal: str | UnsetType
    operations: list[GrantOperation]
    constraints: GrantConstraints | UnsetType
    expires_at: str | UnsetType


def terms_of(spec: KmsGrantSpec, account: str, created: datetime) -> GrantTerms:
    """The terms of a spec, for a key of `account`; `created` is the record's, from which ttl counts."""
    grantee: str | UnsetType = UNSET
    if spec.service_account_ref is not UNSET:
        grantee = role_arn(account, spec.service_account_ref.name)
    elif spec.grantee_principal is not UNSET:
        grantee = canonical_principal(spec.grantee_principal)
    retiring = spec.retiring_principal
    return GrantTerms(
        grant_name=spec.grant_name,
        grantee_principal=grantee,
        grantee_service_principal=spec.grantee_service_principal,
        retiring_principal=UNSET if retiring is UNSET else canonical_principal(retiring),
        retiring_service_principal=spec.retiring_service_principal,
        operations=sorted(set(spec.operations)),
        constraints=_constraints(spec.constraints),
        expires_at=_end(spec, created),
    )


def check_terms(terms: GrantTerms, spec: KeySpec, usage: KeyUsage) -> None:
    """InvalidSpecError for what AWS CreateGrant refuses: an operation that the key cannot do, a principal that is no ARN."""
    unfit = [operation for operation in terms.operations if operation not in _fitting(spec, usage)]
    if unfit:
        raise InvalidSpecError("spec.operations", f"{', '.join(unfit)}: a {spec} key for {usage} cannot do that")
    for field, principal in (("granteePrincipal", terms.grantee_principal), ("retiringPrincipal", terms.retiring_principal)):
        wrong = "" if isinstance(principal, UnsetType) else stranger(principal)
        if wrong:
            raise InvalidSpecError(f"spec.{field}", wrong)
    _check_services(terms)
    _check_context(terms)


def contextless(operations: Iterable[GrantOperation]) -> str:
    """What is wrong with an encryption context constraint for these operations; "" where nothing is. CreateGrant asks it too."""
    unfit = sorted(set(operations) - IN_CONTEXT)
    return f"{', '.join(unfit)} has no encryption context, so that none can be required" if unfit else ""


def twofold(pairs: Mapping[str, str]) -> str:
    """What is wrong with keys of a context constraint that are one without regard to case: no request can meet it (policy.grants)."""
    first: dict[str, str] = {}
    for key in pairs:
        if key.lower() in first:
            return f"{first[key.lower()]} and {key} are one key, as case does not count: no request could have both values"
        first[key.lower()] = key
    return ""


def _check_context(terms: GrantTerms) -> None:
    if isinstance(terms.constraints, UnsetType):
        return
    for field, name in _CONTEXTS.items():
        pairs = getattr(terms.constraints, field)
        if pairs is UNSET:
            continue
        # Of an object from before the CRD refused it. A constraint that constrains nothing would allow nothing (policy.grants).
        wrong = "has 1 to 8 pairs; leave it out to require no encryption context"
        if pairs:
            wrong = contextless(terms.operations) or twofold(pairs)
        if wrong:
            raise InvalidSpecError(f"spec.constraints.{name}", wrong)


def _check_services(terms: GrantTerms) -> None:
    """AWS, CreateGrant: a service needs a SourceArn. One that nobody is could never use or retire anything."""
    services = (
        ("granteeServicePrincipal", terms.grantee_service_principal),
        ("retiringServicePrincipal", terms.retiring_service_principal),
    )
    for field, service in services:
        if service is not UNSET and service not in SERVICES:
            raise InvalidSpecError(f"spec.{field}", f"no service here has this name; there is {', '.join(sorted(SERVICES))}")
    if terms.grantee_service_principal is not UNSET and (terms.constraints is UNSET or terms.constraints.source_arn is UNSET):
        raise InvalidSpecError("spec.constraints.sourceArn", "required with granteeServicePrincipal")


def is_principal(arn: str) -> bool:
    """Whether a text has the form of a principal's ARN: what a list may be asked for. Records have some that no new grant may name."""
    return _PRINCIPAL.match(arn) is not None


def stranger(principal: str) -> str:
    """Why a new grant cannot name this principal (in canonical form), and what to write instead; "" where somebody can be it.

    Grants and callers are compared as texts: what nobody is, or is spelled otherwise, would be granted to nobody and say so nowhere.
    """
    match = _GRANTEE.match(principal)
    if match is None:
        return _NO_ARN
    account, kind, name = match.groups()
    if kind == "group":
        return "a grant is for one principal; groups are for key policies"
    if kind == "role" and not SERVICE_ACCOUNT.match(name):
        paths = "; paths are not supported" if "/" in name else ""
        return f"a role is a ServiceAccount, whose name has small letters, digits, - and . only: role/<serviceaccount>{paths}"
    return _misspelt(account, name, principal) if kind == "user" else ""


def _misspelt(account: str, name: str, principal: str) -> str:
    """A person has one spelling in grants, that of her callers (identifiers.user_arn)."""
    plain = decoded_name(name)
    if plain is None and ("%" in name or not name):
        return "the name of a user must be percent-encoded"
    wanted = user_arn(account, name if plain is None else plain)
    return "" if wanted == principal else f"the name of a user must be percent-encoded, in upper case: {wanted}"


def _fitting(spec: KeySpec, usage: KeyUsage) -> frozenset[GrantOperation]:
    fitting = _ANY | _BY_USAGE[usage]
    if spec is KeySpec.SYMMETRIC_DEFAULT:
        return fitting | _SYMMETRIC
    return fitting if usage is KeyUsage.GENERATE_VERIFY_MAC else fitting | {GrantOperation.GET_PUBLIC_KEY}


def _constraints(given: SpecConstraints | UnsetType) -> GrantConstraints | UnsetType:
    if given is UNSET:
        return UNSET
    equals, subset = given.encryption_context_equals, given.encryption_context_subset
    return GrantConstraints(
        encryption_context_equals=UNSET if equals is UNSET else dict(equals),
        encryption_context_subset=UNSET if subset is UNSET else dict(subset),
        source_arn=given.source_arn,
    )


def _end(spec: KmsGrantSpec, created: datetime) -> str | UnsetType:
    if spec.expires_at is not UNSET:
        return format_time(spec.expires_at)
    return UNSET if spec.ttl is UNSET else format_time(created + parse_duration(spec.ttl))

"""Data keys through the operations pipeline: the controller bypasses no rule. Its principal is the namespace's root (RESOURCES).

It asks as AWS's services do: as the account's root, by way of datakeys.kms.keystead.io (condition key kms:ViaService). Where that is not
allowed, and no Deny says so, it asks as that service itself, which key policies and grants may name: for a key of its own account only, or
one tenant's grant to the service would serve every other tenant's data keys. Of a key abroad it asks as the root of the data key's own
account, and of a refusal it says what it says where there is no such key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from msgspec import UNSET

from keystead.engine.births import IssuedDataKey
from keystead.engine.identifiers import data_key_arn, key_arn, key_id_bytes, root_arn
from keystead.engine.managed import DATA_KEYS_SERVICE
from keystead.engine.plan.common import Obstacle
from keystead.engine.plan.data_key import not_granted
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.engine.record.grant import grantee_of
from keystead.errors import AccessDeniedError, KmsError
from keystead.operations.datakeys import (
    GenerateDataKeyPairWithoutPlaintextRequest,
    GenerateDataKeyWithoutPlaintextRequest,
    generate_data_key_pair_without_plaintext,
    generate_data_key_without_plaintext,
)
from keystead.operations.effects import Running, drive_async
from keystead.operations.encryption import ReEncryptRequest, ReEncryptResponse, re_encrypt
from keystead.operations.world import Judged, World
from keystead.policy import Action, Caller, SubjectAccessReview, root_caller
from keystead.policy.caller import service_caller
from keystead.policy.grant_needs import Wanted
from keystead.policy.question import Carried
from keystead.reconciler.context import Context
from keystead.reconciler.lookup import aliases_of
from keystead.reconciler.outcome import StoppedError
from keystead.reconciler.ports import Engine
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import AnyDataKeySpec, DataKeySpec

Response = TypeVar("Response")


class DeniedError(StoppedError):
    """The key's policy does not let the controller do this for the namespace.

    trail   what was decided; asker: of a key abroad, who asked
    """

    def __init__(self, obstacle: Obstacle, trail: Sequence[Judged], asker: Asker | None = None) -> None:
        super().__init__(obstacle)
        self.trail = trail
        self.asker = asker


@dataclass(frozen=True, slots=True)
class Asker:
    """The data key's own account, which is claimed, and its namespace, where its key is abroad."""

    account: str
    namespace: str


@dataclass(frozen=True, slots=True)
class OneKey:
    """The read model of a pass: the one key that it gathered, and what its policy may ask of it.

    source   ARN of the data key that is asked for; grants: those to whom the controller asks as; aliases: those of the key
    asker    of a key abroad: who asks
    """

    record: KeyRecord
    live_namespace_uid: str
    source: str = ""
    aliases: Sequence[AliasRecord] = ()
    grants: Sequence[GrantRecord] = ()
    asker: Asker | None = None

    @property
    def arn(self) -> str:
        """By which the operations name the key: abroad, an id alone would be one of the asker's account."""
        return key_arn(self.record.region, self.record.account, self.record.key_id)

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """The key, if it is the one."""
        return self.record if key_id_bytes(self.record.key_id) == key_id else None

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """No alias is asked for: the key is named by its id."""
        return None

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """Those that were gathered."""
        return self.grants if self.by_id(key_id) is not None else ()

    def grants_to(
        self, key: KeyRecord, caller: Caller, action: Action, context: Mapping[str, str], source: str = "", wanted: Wanted | None = None
    ) -> Sequence[GrantRecord]:
        """Those that were gathered."""
        return [grant for grant in self.grants_of(key_id_bytes(key.key_id)) if grantee_of(grant) == caller.principal]

    def grant(self, grant_id: str) -> GrantRecord | None:
        """No grant is asked for: the controller has no grant tokens."""
        return None

    def aliases_of(self, account: str, region: str) -> Sequence[AliasRecord]:
        """The key's, where they were gathered."""
        return self.aliases if (account, region) == (self.record.account, self.record.region) else ()

    def managed_key(self, account: str, region: str) -> KeyRecord | None:
        """It is asked for by its alias only."""
        return None

    def has_account(self, namespace: str, account: str) -> bool:
        """Whether the asker's account is claimed."""
        return self.asker is None or self.asker == Asker(account, namespace)

    def namespace_uid(self, namespace: str) -> str | None:
        """The live namespace's uid."""
        return self.live_namespace_uid if namespace == self.record.namespace else None


async def one_key(
    context: Context, record: KeyRecord, live_namespace_uid: str, name: str, asker: Asker | None = None
) -> OneKey:
    """The key with what its policy may ask: the default policy lets the root do everything, and asks nothing.

    name: of the KmsDataKey. The index finds the records; each is read and verified.
    """
    source = data_key_arn(record.region, record.account if asker is None else asker.account, name)
    if record.policy is UNSET and asker is None:
        return OneKey(record, live_namespace_uid, source)
    index, domain = context.index, context.engine().domain
    aliases = await aliases_of(context, record)
    grants: list[GrantRecord] = []
    for grantee in (root_arn(record.account), DATA_KEYS_SERVICE) if asker is None else (root_arn(asker.account),):
        found = [await context.book.read(domain, name, GrantRecord) for name in index.grants_to(record.key_id, grantee)]
        grants += [held.record for held in found if held is not None]
    return OneKey(record, live_namespace_uid, source, aliases, grants, asker)


async def _refuse(_: SubjectAccessReview) -> bool:
    """Neither an account's root nor a service needs a review: policy and grants decide."""
    return False


def _world(context: Context, engine: Engine, keys: OneKey, carried: Carried) -> World:
    return World(
        domain=engine.domain,
        fast=engine.fast,
        capabilities=NoNewKeys(),
        keys=keys,
        region=keys.record.region,
        now=context.clock.now(),
        entropy=context.entropy,
        carried=carried,
    )


def _callers(keys: OneKey) -> tuple[tuple[Caller, Carried], ...]:
    """As whom the controller asks, in this order, and how."""
    key, asker = keys.record, keys.asker
    if asker is not None:
        return ((root_caller(asker.account, asker.namespace), Carried(via_service=DATA_KEYS_SERVICE, source_arn=keys.source)),)
    root = root_caller(key.account, key.namespace)
    service = service_caller(key.account, key.namespace, DATA_KEYS_SERVICE)
    return (
        (root, Carried(via_service=DATA_KEYS_SERVICE, source_arn=keys.source)),
        (service, Carried(source_arn=keys.source)),
    )


async def _ask(
    context: Context, engine: Engine, keys: OneKey, run: Callable[[World, Caller], Running[Response]]
) -> tuple[Response, Sequence[Judged]]:
    """The operation's answer, and what let it. DeniedError tells of the first refusal: that of the namespace's own root."""
    first: Judged | None = None
    for caller, carried in _callers(keys):
        world = _world(context, engine, keys, carried)
        try:
            return await drive_async(run(world, caller), _refuse, engine.slow), tuple(world.trail)
        except AccessDeniedError:
            if keys.asker is not None:
                raise DeniedError(not_granted(keys.record.namespace), tuple(world.trail), keys.asker) from None
            judged = next((each for each in world.trail if not each.decision.allowed), None)
            if judged is None:
                raise
            first = first or judged
            if judged.decision.explicit:
                break
    assert first is not None
    raise DeniedError(Obstacle(Reason.ACCESS_DENIED, _words(keys.record, first)), (first,))


def _words(key: KeyRecord, judged: Judged) -> str:
    """Which statement, or that there is none; and what would change it."""
    where, root = f"the policy of KmsKey {key.name}", root_arn(key.account)
    action, reason = f"kms:{judged.action.value}", judged.decision.reason
    if judged.decision.explicit:
        return f"{where} does not let this namespace do {action}: {reason}; whoever may write spec.policy of the key can take it away"
    return (
        f"{where} does not let this namespace do {action}: {reason}; allow it there for {root} or for the service {DATA_KEYS_SERVICE}, "
        "or by a KmsGrant to one of them"
    )


class NoNewKeys:
    """Capabilities for a world in which no key is made."""

    def protection(self, spec: object) -> None:
        """Nothing can be made here."""


async def issue(
    context: Context, engine: Engine, keys: OneKey, content: tuple[str | None, int | None], encryption_context: dict[str, str]
) -> tuple[IssuedDataKey, Sequence[Judged]]:
    """A new data key: a symmetric one or a pair. `content`: dataKeySpec, numberOfBytes. DeniedError names what denies it."""
    request = _request(keys, content, encryption_context)
    if isinstance(request, GenerateDataKeyPairWithoutPlaintextRequest):
        made, trail = await _ask(
            context, engine, keys, lambda world, caller: generate_data_key_pair_without_plaintext(world, caller, request)
        )
        return IssuedDataKey(made.private_key_ciphertext_blob, made.key_id, made.key_material_id, made.public_key), trail
    answer, trail = await _ask(
        context, engine, keys, lambda world, caller: generate_data_key_without_plaintext(world, caller, request)
    )
    return IssuedDataKey(answer.ciphertext_blob, answer.key_id, answer.key_material_id, None), trail


async def consents(
    context: Context, engine: Engine, keys: OneKey, content: tuple[str | None, int | None], encryption_context: dict[str, str]
) -> tuple[bool, Sequence[Judged]]:
    """Whether the key's side lets the controller make such a data key for who asks first, and why. A dry run, which decides nothing by
    itself.

    What else stands against it (a disabled key) may be told to whom it consents.
    """
    request = replace(_request(keys, content, encryption_context), dry_run=True)
    caller, carried = _callers(keys)[0]
    world = _world(context, engine, keys, carried)
    with suppress(KmsError):
        if isinstance(request, GenerateDataKeyPairWithoutPlaintextRequest):
            await drive_async(generate_data_key_pair_without_plaintext(world, caller, request), _refuse, engine.slow)
        else:
            await drive_async(generate_data_key_without_plaintext(world, caller, request), _refuse, engine.slow)
    return bool(world.trail) and world.trail[-1].decision.allowed is True, tuple(world.trail)


def _request(
    keys: OneKey, content: tuple[str | None, int | None], encryption_context: dict[str, str]
) -> GenerateDataKeyPairWithoutPlaintextRequest | GenerateDataKeyWithoutPlaintextRequest:
    spec, length = content
    pair = AnyDataKeySpec(spec).pair if spec is not None else None
    if pair is not None:
        return GenerateDataKeyPairWithoutPlaintextRequest(
            key_id=keys.arn, key_pair_spec=pair, encryption_context=encryption_context
        )
    return GenerateDataKeyWithoutPlaintextRequest(
        key_id=keys.arn,
        key_spec=None if spec is None else DataKeySpec(spec),
        number_of_bytes=length,
        encryption_context=encryption_context,
    )


async def rewrap(
    context: Context, engine: Engine, keys: OneKey, blob: bytes, encryption_context: dict[str, str]
) -> tuple[ReEncryptResponse, Sequence[Judged]]:
    """The blob under the key's current material: one ReEncrypt in memory, nothing else sees the plaintext. DeniedError as in `issue`."""
    request = ReEncryptRequest(
        ciphertext_blob=blob,
        source_encryption_context=encryption_context,
        source_key_id=keys.arn,
        destination_key_id=keys.arn,
        destination_encryption_context=encryption_context,
    )
    return await _ask(context, engine, keys, lambda world, caller: re_encrypt(world, caller, request))

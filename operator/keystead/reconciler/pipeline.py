"""Data keys through the operations pipeline: the controller bypasses no rule. Its principal is the namespace's root (RESOURCES)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keystead.engine.births import IssuedDataKey
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.operations.datakeys import (
    GenerateDataKeyPairWithoutPlaintextRequest,
    GenerateDataKeyWithoutPlaintextRequest,
    generate_data_key_pair_without_plaintext,
    generate_data_key_without_plaintext,
)
from keystead.operations.effects import drive_async
from keystead.operations.encryption import ReEncryptRequest, ReEncryptResponse, re_encrypt
from keystead.operations.world import World
from keystead.policy import SubjectAccessReview, root_caller
from keystead.reconciler.context import Context
from keystead.reconciler.ports import Engine
from keystead.resources.vocabulary import AnyDataKeySpec, DataKeySpec


@dataclass(frozen=True, slots=True)
class OneKey:
    """The read model of a pass: the one key that it gathered."""

    record: KeyRecord
    live_namespace_uid: str

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """The key, if it is the one."""
        return self.record if key_id_bytes(self.record.key_id) == key_id else None

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """No alias is asked for: the key is named by its id."""
        return None

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """The account's root needs no grant."""
        return ()

    def grants_to(self, key_id: bytes, grantee: str) -> Sequence[GrantRecord]:
        """The account's root needs no grant."""
        return ()

    def grant(self, grant_id: str) -> GrantRecord | None:
        """The account's root needs no grant."""
        return None

    def aliases_of(self, account: str, region: str) -> Sequence[AliasRecord]:
        """None were gathered."""
        return ()

    def namespace_uid(self, namespace: str) -> str | None:
        """The live namespace's uid."""
        return self.live_namespace_uid if namespace == self.record.namespace else None


async def _refuse(_: SubjectAccessReview) -> bool:
    """The controller acts as the namespace's root, which the default policy allows: it asks for no review."""
    return False


def _world(context: Context, engine: Engine, keys: OneKey) -> World:
    return World(
        domain=engine.domain,
        fast=engine.fast,
        capabilities=NoNewKeys(),
        keys=keys,
        region=keys.record.region,
        now=context.clock.now(),
        entropy=context.entropy,
    )


class NoNewKeys:
    """Capabilities for a world in which no key is made."""

    def protection(self, spec: object) -> None:
        """Nothing can be made here."""


async def issue(
    context: Context, engine: Engine, keys: OneKey, content: tuple[str | None, int | None], encryption_context: dict[str, str]
) -> IssuedDataKey:
    """A new data key: a symmetric one or a pair. `content`: dataKeySpec, numberOfBytes."""
    key = keys.record
    caller = root_caller(key.account, key.namespace)
    world = _world(context, engine, keys)
    spec, length = content
    pair = AnyDataKeySpec(spec).pair if spec is not None else None
    if pair is not None:
        request = GenerateDataKeyPairWithoutPlaintextRequest(
            key_id=key.key_id, key_pair_spec=pair, encryption_context=encryption_context
        )
        made = await drive_async(
            generate_data_key_pair_without_plaintext(world, caller, request), _refuse, engine.slow
        )
        return IssuedDataKey(made.private_key_ciphertext_blob, made.key_id, made.key_material_id, made.public_key)
    wanted = GenerateDataKeyWithoutPlaintextRequest(
        key_id=key.key_id,
        key_spec=None if spec is None else DataKeySpec(spec),
        number_of_bytes=length,
        encryption_context=encryption_context,
    )
    answer = await drive_async(generate_data_key_without_plaintext(world, caller, wanted), _refuse, engine.slow)
    return IssuedDataKey(answer.ciphertext_blob, answer.key_id, answer.key_material_id, None)


async def rewrap(
    context: Context, engine: Engine, keys: OneKey, blob: bytes, encryption_context: dict[str, str]
) -> ReEncryptResponse:
    """The blob under the key's current material: one ReEncrypt in memory, nothing else sees the plaintext."""
    key = keys.record
    request = ReEncryptRequest(
        ciphertext_blob=blob,
        source_encryption_context=encryption_context,
        source_key_id=key.key_id,
        destination_key_id=key.key_id,
        destination_encryption_context=encryption_context,
    )
    caller = root_caller(key.account, key.namespace)
    return await drive_async(re_encrypt(_world(context, engine, keys), caller, request), _refuse, engine.slow)

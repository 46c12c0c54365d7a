"""A KmsDataKey's key in another namespace: whether it consents, and as whom this namespace asks. Called by reconciler/data_key.py.

The key's policy or a grant must let the root of the data key's own account do it (RESOURCES, Behaviour); the author's right was asked at
admission. What decides is the pipeline, by a dry run. What may never leave here of a key that does not consent: that it exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from keystead.engine.plan.common import NamespaceFacts, namespace_obstacle
from keystead.engine.plan.data_key import abroad, spec_name
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.operations.world import Judged
from keystead.reconciler import pipeline
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.context import Context
from keystead.reconciler.lookup import key_by_name
from keystead.resources.kms_data_key import KmsDataKey, KmsDataKeySpec


@dataclass(frozen=True, slots=True)
class KeyAbroad:
    """What was found. `granted`: both sides of the key let this namespace have the data key; else nothing may be said of the rest.

    asker  as whom it was asked, None where nothing was asked; trail: what was decided, empty where there is no such key
    """

    target: KeyRecord | None
    home: NamespaceFacts | None
    granted: bool
    asker: pipeline.Asker | None = None
    trail: Sequence[Judged] = ()


async def look_abroad(
    context: Context, accounts: Accounts, data_key: KmsDataKey, record: DataKeyRecord | None, namespace: NamespaceFacts | None
) -> KeyAbroad | None:
    """None where the key that spec names is not abroad. The same is read whether or not there is such a key.

    A first data key claims the account of its namespace. One that is an earlier namespace's claims none: that may yet be adopted.
    """
    where = abroad(data_key)
    if where is None:
        return None
    spec = data_key.spec
    assert spec.key_ref is not UNSET
    if namespace is None or namespace_obstacle(record, namespace) is not None:
        return KeyAbroad(None, None, granted=False)
    asker = await _asker(context, accounts, data_key.metadata.namespace, namespace)
    home = await context.objects.namespace(where)
    target = await key_by_name(context, where, spec.key_ref.name)
    if target is None or home is None:
        return KeyAbroad(target, home, granted=False, asker=asker)
    keys = await pipeline.one_key(context, target, home.uid, data_key.metadata.name, asker)
    granted, trail = await pipeline.consents(context, context.engine(), keys, content_of(spec), context_of(spec))
    return KeyAbroad(target, home, granted, asker, trail)


async def asker_of(
    context: Context, accounts: Accounts, data_key: KmsDataKey, namespace: NamespaceFacts, key: KeyRecord
) -> pipeline.Asker | None:
    """As whom the controller asks a key abroad; None where the key is of the data key's own namespace."""
    own = data_key.metadata.namespace
    return None if key.namespace == own else await _asker(context, accounts, own, namespace)


async def _asker(context: Context, accounts: Accounts, own: str, namespace: NamespaceFacts) -> pipeline.Asker:
    domain, transition = context.engine().domain, context.leadership.transition
    return pipeline.Asker(await accounts.claim(domain, own, namespace.uid, transition, context.clock.now()), own)


def content_of(spec: KmsDataKeySpec) -> tuple[str | None, int | None]:
    """dataKeySpec and numberOfBytes, as the pipeline takes them."""
    name, length = spec_name(spec), spec.number_of_bytes
    return None if name is UNSET else name, None if length is UNSET else length


def context_of(spec: KmsDataKeySpec) -> dict[str, str]:
    """The encryption context."""
    return {} if spec.encryption_context is UNSET else dict(spec.encryption_context)

"""What the audit trail is told of a data key beside its records: how something was done with its key, and what was refused. Called by
reconciler/data_key.py.

A refusal is told once for each change of what is wanted, not at each of the passes that try it again; and once more after a restart. Of a
key abroad nothing may enter that tells whether it is there, or what changed at it: what is remembered, and so how often it is told, hangs
on nothing of the key's side.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.common import Obstacle, rotate_request
from keystead.engine.plan.data_key import DataKeyFacts, Issue, Rewrap, abroad, not_granted, plan_data_key
from keystead.engine.record import KeyRecord
from keystead.operations.world import Judged
from keystead.reconciler.abroad import KeyAbroad
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.chronicle import Deed, Refusal, Told
from keystead.reconciler.context import Context
from keystead.reconciler.pipeline import DeniedError
from keystead.reconciler.ports import ObjectRef
from keystead.resources.kms_data_key import KmsDataKey

_Wanted = tuple[object, ...]


async def deed_of(
    context: Context, accounts: Accounts, ref: ObjectRef, facts: DataKeyFacts, key: KeyRecord | None, trail: Sequence[Judged] = ()
) -> Deed:
    """Whose records tell of what is done under this key, which may be gone."""
    held, namespace = key or facts.record, facts.namespace
    if held is None or namespace is None or (key is not None and key.namespace == ref.namespace):
        return Deed(trail=trail)
    account = await accounts.foreseen(context.engine().domain, ref.namespace, namespace.uid)
    if account == held.account:
        return Deed(trail=trail)
    return Deed(trail=trail, account=account, home="" if key is None else key.namespace)


class Refusals:
    """What was refused and is on record, of data keys that are there: for each what it wanted, by the kind of step."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[ObjectRef, dict[type, _Wanted]] = {}

    def forget(self, ref: ObjectRef, step: type) -> None:
        """It was let do this: the next refusal is another one."""
        self._told.get(ref, {}).pop(step, None)

    async def looked(self, ref: ObjectRef, facts: DataKeyFacts, far: KeyAbroad | None) -> None:
        """After a key was looked at. What is recorded of one abroad that does not consent is the same where there is none."""
        data_key = facts.data_key
        if data_key is None:
            self._told.pop(ref, None)
        elif far is not None and far.granted:
            self.forget(ref, KeyAbroad)
        elif far is not None and far.asker is not None:
            obstacle = not_granted(abroad(data_key) or "")
            if plan_data_key(facts).obstacle == obstacle:
                refusal = self._abroad(data_key, far.asker.account, _next(ref, facts), obstacle, far.trail)
                await self._tell(ref, KeyAbroad, _wanted(data_key), refusal)

    async def denied(self, ref: ObjectRef, facts: DataKeyFacts, step: Issue | Rewrap, error: DeniedError) -> None:
        """A step was tried, and the key's policy does not allow it."""
        data_key, key = facts.data_key, facts.target if isinstance(step, Issue) else facts.key
        assert data_key is not None
        assert key is not None
        told = ("IssueDataKey" if isinstance(step, Issue) else "ReWrapDataKey", {"name": ref.name, "version": str(step.number)})
        if error.asker is not None:
            refusal = self._abroad(data_key, error.asker.account, told, error.obstacle, error.trail)
            await self._tell(ref, type(step), _wanted(data_key), refusal)
            return
        refusal = Refusal(
            account=key.account,
            namespace=ref.namespace,
            region=key.region,
            key_arn=key_arn(key.region, key.account, key.key_id),
            told=told,
            words=error.obstacle.message,
            trail=error.trail,
        )
        await self._tell(ref, type(step), (*_wanted(data_key), key.key_id, error.obstacle.message), refusal)

    def _abroad(self, data_key: KmsDataKey, account: str, told: Told, obstacle: Obstacle, trail: Sequence[Judged]) -> Refusal:
        name, details = told
        return Refusal(
            account=account,
            namespace=data_key.metadata.namespace,
            region=self._context.region,
            key_arn="",
            told=(name, {**details, "keyRef": _named(data_key)}),
            words=obstacle.message,
            trail=trail,
        )

    async def _tell(self, ref: ObjectRef, step: type, wanted: _Wanted, refusal: Refusal) -> None:
        known = self._told.setdefault(ref, {})
        if known.get(step) != wanted:
            known[step] = wanted
            await self._context.book.chronicle.refused(refusal)


def _named(data_key: KmsDataKey) -> str:
    """The key, as the object names it."""
    ref = data_key.spec.key_ref
    return "" if ref is UNSET else f"{data_key.metadata.namespace if ref.namespace is UNSET else ref.namespace}/{ref.name}"


def _next(ref: ObjectRef, facts: DataKeyFacts) -> Told:
    number = 1 if facts.record is None else facts.record.n_versions + 1
    return "IssueDataKey", {"name": ref.name, "version": str(number)}


def _wanted(data_key: KmsDataKey) -> _Wanted:
    """What the object asks for: its spec, and a version beyond the schedule."""
    metadata = data_key.metadata
    return metadata.uid, metadata.generation, rotate_request(metadata, None)

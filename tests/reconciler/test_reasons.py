"""Every row of the reason table is run: the state of the world that gives it, what heals it alone, or what a person types.

A scenario brings one object to the reason and yields; then the test takes its cure: for a row that heals alone, only time passes (within
`heals_within`); for another one, the scenario does what `remedy` says. After that the object must be Available, unless the row's cure is to
make another object, or the reason is a wish fulfilled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.reconciler.fakes import INSTALL_ID, World

from keystead.engine.bounds import ALIASES_PER_KEY
from keystead.engine.identifiers import account_id
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.plan.key_settings import default_policy, strict_policy
from keystead.engine.plan.secret import SecretFacts
from keystead.engine.record import KeyRecord
from keystead.errors import (
    ForbiddenError,
    HsmAuthError,
    HsmSessionLostError,
    HsmUnavailableError,
    RefusedError,
)
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.reasons import REASONS, Outlook, Reason

KEY = ObjectRef(Kind.KEY, "team-a", "k")
ALIAS = ObjectRef(Kind.ALIAS, "team-a", "a")
GRANT = ObjectRef(Kind.GRANT, "team-a", "g")
DATA_KEY = ObjectRef(Kind.DATA_KEY, "team-a", "d")
OF_KEY: dict[str, Any] = {"keyRef": {"name": "k"}}
SECRET: dict[str, Any] = {**OF_KEY, "target": {"secretName": "s"}}
ACCOUNT = account_id(bytes.fromhex(INSTALL_ID), "team-a", 0)

Steps = AsyncIterator[None]
READY = "Ready"


@dataclass(frozen=True)
class Case:
    """How a reason comes about on `ref`, in which condition, and whether the object is Available after the cure."""

    run: Callable[[World], Steps]
    ref: ObjectRef = KEY
    condition: str = READY
    cured: bool = True


async def passes(world: World, *refs: ObjectRef) -> None:
    for ref in refs:
        await world.reconcile(ref)


async def a_key(world: World, **spec: Any) -> None:
    world.apply(KEY, **spec)
    await passes(world, KEY)


async def available(world: World) -> Steps:
    await a_key(world)
    yield


async def creating(world: World) -> Steps:
    world.objects.namespaces["team-a"] = replace(world.objects.namespaces["team-a"], terminating=True)
    await a_key(world)
    yield
    world.objects.namespaces["team-a"] = replace(world.objects.namespaces["team-a"], terminating=False)


async def dependency_not_found(world: World) -> Steps:
    world.apply(ALIAS, aliasName="alias/a", **OF_KEY)
    await passes(world, ALIAS)
    yield
    await a_key(world)


async def dependency_not_ready(world: World) -> Steps:
    await a_key(world, enabled=False)
    world.apply(DATA_KEY, **SECRET)
    await passes(world, DATA_KEY)
    yield
    await a_key(world, enabled=True)


async def reference_not_granted(world: World) -> Steps:
    world.apply(DATA_KEY, keyRef={"name": "k", "namespace": "team-b"}, target={"secretName": "s"})
    await passes(world, DATA_KEY)
    yield


async def invalid_spec(world: World) -> Steps:
    await a_key(world, rotation={"enabled": True, "windows": [{"cron": "0 3 31 2 *", "duration": "1h"}]})
    yield
    await a_key(world, rotation={"enabled": True})


async def key_spec_unsupported(world: World) -> Steps:
    async def nothing(_: object) -> None:
        return None

    can, world.engine.protection = world.engine.protection, nothing  # type: ignore[method-assign, assignment]
    await a_key(world)
    yield
    world.engine.protection = can  # type: ignore[method-assign]


async def engine_unavailable(world: World) -> Steps:
    world.engine_error = HsmUnavailableError("the module is away")
    await a_key(world)
    yield
    world.engine_error = None


async def hsm_auth_failed(world: World) -> Steps:
    world.engine_error = HsmAuthError("the PIN was refused")
    await a_key(world)
    yield
    world.engine_error = None


async def hsm_session_lost(world: World) -> Steps:
    world.engine.fail("slow", HsmSessionLostError("SessionHandleInvalid"))
    await a_key(world)
    yield


async def pending_deletion(world: World) -> Steps:
    await a_key(world, scheduledDeletion={"pendingWindowInDays": 7})
    yield
    await a_key(world, enabled=True)


async def key_destroyed(world: World) -> Steps:
    await a_key(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.clock.advance(days=8)
    await passes(world, KEY)
    world.clock.advance(minutes=11)
    await passes(world, KEY, KEY)
    yield
    destroyed = world.record(KEY, KeyRecord).key_id
    world.apply(KEY, annotations={names.NEW_KEY_AFTER_DESTRUCTION: destroyed})


async def disabled(world: World) -> Steps:
    await a_key(world, enabled=False)
    yield
    world.apply(KEY, enabled=True)


async def held(world: World) -> Steps:
    world.apply(KEY, annotations={names.HOLD: "INC-1"})
    await passes(world, KEY)
    yield
    world.apply(KEY, annotations={names.HOLD: names.HOLD_RELEASED})


async def in_use(world: World) -> Steps:
    await a_key(world, deletionPolicy="ScheduleDeletion")
    world.apply(ALIAS, aliasName="alias/a", **OF_KEY)
    await passes(world, ALIAS, KEY)
    world.delete(KEY)
    await passes(world, KEY)
    yield
    world.delete(ALIAS)
    await passes(world, ALIAS)


async def suspended(world: World) -> Steps:
    await a_key(world, suspend=True)
    yield
    world.apply(KEY)


async def record_integrity(world: World) -> Steps:
    await a_key(world)
    (name,) = world.index.names_of(KEY)
    kept = world.records.stored.pop(name)
    await passes(world, KEY)
    yield
    world.records.stored[name] = kept


async def adoption_required(world: World) -> Steps:
    await a_key(world)
    world.delete(KEY)
    world.objects.namespaces["team-a"] = NamespaceFacts("another-uid")
    await a_key(world)
    yield
    world.apply(KEY, annotations={names.ADOPT: names.ADOPT_TRUE})


async def alias_taken(world: World) -> Steps:
    await a_key(world)
    first = ObjectRef(Kind.ALIAS, "team-a", "first")
    world.apply(first, aliasName="alias/a", **OF_KEY)
    world.apply(ALIAS, aliasName="alias/a", **OF_KEY)
    await passes(world, first, ALIAS)
    yield
    world.delete(first)
    await passes(world, first)


async def grant_expired(world: World) -> Steps:
    await a_key(world)
    world.apply(GRANT, serviceAccountRef={"name": "sa"}, operations=["Encrypt"], ttl="1m", **OF_KEY)
    await passes(world, GRANT)
    world.clock.advance(minutes=2)
    await passes(world, GRANT)
    yield
    world.delete(GRANT)
    await passes(world, GRANT)
    world.apply(GRANT, serviceAccountRef={"name": "sa"}, operations=["Encrypt"], ttl="1m", **OF_KEY)


async def quota_exceeded(world: World) -> Steps:
    await a_key(world)
    first = [ObjectRef(Kind.ALIAS, "team-a", f"a{number}") for number in range(ALIASES_PER_KEY)]
    for ref in first:
        world.apply(ref, aliasName=f"alias/{ref.name}", **OF_KEY)
    world.apply(ALIAS, aliasName="alias/one-more", **OF_KEY)
    await passes(world, *first, ALIAS)
    yield
    world.delete(first[0])
    await passes(world, first[0])


async def a_foreign_secret(world: World, **more: Any) -> None:
    members: dict[str, Any] = {"uid": "theirs", "resource_version": "t", "type": "Opaque", "immutable": False, "data": {"password": b"p"}}
    world.secrets.secrets["team-a", "s"] = SecretFacts(**{**members, **more})


async def a_data_key(world: World) -> None:
    await a_key(world)
    world.apply(DATA_KEY, **SECRET)
    await passes(world, DATA_KEY)


async def target_conflict(world: World) -> Steps:
    await a_foreign_secret(world)
    await a_data_key(world)
    world.secrets.edit("s", kms__keystead__io__d__ciphertext=b"mine")
    await passes(world, DATA_KEY)
    yield
    world.secrets.edit("s", kms__keystead__io__d__ciphertext=None)


async def target_forbidden(world: World) -> Steps:
    world.secrets.fail("create", ForbiddenError("secrets is forbidden"))
    await a_data_key(world)
    yield


async def target_immutable(world: World) -> Steps:
    await a_foreign_secret(world, immutable=True)
    await a_data_key(world)
    yield
    await a_foreign_secret(world)


async def target_not_found(world: World) -> Steps:
    await a_foreign_secret(world)
    await a_data_key(world)
    del world.secrets.secrets["team-a", "s"]
    await passes(world, DATA_KEY)
    yield
    await a_foreign_secret(world)


async def target_too_large(world: World) -> Steps:
    await a_foreign_secret(world)
    world.secrets.fail("apply", RefusedError("PATCH: 422 Too long: may not be more than 1048576 bytes"))
    await a_data_key(world)
    yield


async def rotated(world: World) -> Steps:
    await a_key(world)
    world.apply(KEY, annotations={names.ROTATE_REQUESTED_AT: "1"})
    await passes(world, KEY)
    yield


async def rotation_failed(world: World) -> Steps:
    world.apply(KEY, keySpec="RSA_2048")
    await passes(world, KEY)
    world.apply(KEY, annotations={names.ROTATE_REQUESTED_AT: "1"}, keySpec="RSA_2048")
    await passes(world, KEY)
    yield


async def rewrapping(world: World) -> Steps:
    await a_data_key(world)
    world.apply(KEY, annotations={names.ROTATE_REQUESTED_AT: "1"})
    await passes(world, KEY)
    world.apply(DATA_KEY, suspend=True, **SECRET)
    await passes(world, DATA_KEY)
    yield
    world.apply(DATA_KEY, **SECRET)


async def rewrapped(world: World) -> Steps:
    await a_data_key(world)
    yield


async def access_denied(world: World) -> Steps:
    await a_key(world, policy=strict_policy(ACCOUNT))
    world.apply(DATA_KEY, **SECRET)
    await passes(world, DATA_KEY)
    yield
    await a_key(world, policy=default_policy(ACCOUNT))
    await passes(world, DATA_KEY)


CASES: dict[Reason, Case] = {
    Reason.AVAILABLE: Case(available),
    Reason.CREATING: Case(creating),
    Reason.DEPENDENCY_NOT_FOUND: Case(dependency_not_found, ALIAS),
    Reason.DEPENDENCY_NOT_READY: Case(dependency_not_ready, DATA_KEY),
    Reason.REFERENCE_NOT_GRANTED: Case(reference_not_granted, DATA_KEY, cured=False),
    Reason.INVALID_SPEC: Case(invalid_spec),
    Reason.KEY_SPEC_UNSUPPORTED: Case(key_spec_unsupported),
    Reason.ENGINE_UNAVAILABLE: Case(engine_unavailable),
    Reason.HSM_AUTH_FAILED: Case(hsm_auth_failed),
    Reason.HSM_SESSION_LOST: Case(hsm_session_lost),
    Reason.PENDING_DELETION: Case(pending_deletion),
    Reason.KEY_DESTROYED: Case(key_destroyed),
    Reason.DISABLED: Case(disabled),
    Reason.HELD: Case(held),
    Reason.IN_USE: Case(in_use, cured=False),
    Reason.SUSPENDED: Case(suspended),
    Reason.RECORD_INTEGRITY: Case(record_integrity),
    Reason.ADOPTION_REQUIRED: Case(adoption_required),
    Reason.ALIAS_TAKEN: Case(alias_taken, ALIAS),
    Reason.GRANT_EXPIRED: Case(grant_expired, GRANT),
    Reason.QUOTA_EXCEEDED: Case(quota_exceeded, ALIAS),
    Reason.TARGET_CONFLICT: Case(target_conflict, DATA_KEY),
    Reason.TARGET_FORBIDDEN: Case(target_forbidden, DATA_KEY),
    Reason.TARGET_IMMUTABLE: Case(target_immutable, DATA_KEY),
    Reason.TARGET_NOT_FOUND: Case(target_not_found, DATA_KEY),
    Reason.TARGET_TOO_LARGE: Case(target_too_large, DATA_KEY),
    Reason.ROTATED: Case(rotated, condition="RotationSucceeded"),
    Reason.ROTATION_FAILED: Case(rotation_failed, condition="RotationSucceeded"),
    Reason.REWRAPPING: Case(rewrapping, DATA_KEY, condition="Rewrapped"),
    Reason.REWRAPPED: Case(rewrapped, DATA_KEY, condition="Rewrapped"),
    Reason.ACCESS_DENIED: Case(access_denied, DATA_KEY),
}


def conditions(world: World, ref: ObjectRef) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in world.status(ref)["conditions"]}


KSTATUS = {
    Outlook.CURRENT: ("True", "False", "False"),
    Outlook.IN_PROGRESS: ("False", "True", "False"),
    Outlook.WAITING: ("Unknown", "False", "False"),
    Outlook.FAILED: ("False", "False", "True"),
}


async def finish(steps: Steps) -> None:
    async for _ in steps:
        raise AssertionError("a scenario yields once")


async def heal(world: World, ref: ObjectRef, within: float) -> None:
    """Only time passes: the object is looked at when it asked to be, or after a backoff."""
    end = world.clock.seconds + within
    while world.clock.seconds < end:
        outcome = await world.reconcile(ref)
        if world.ready(ref) == "Available":
            return
        world.clock.advance(seconds=1.0 if outcome.failed or not outcome.again_in else min(outcome.again_in, 5.0))


def test_every_reason_has_a_case() -> None:
    assert set(CASES) == set(Reason) == set(REASONS)


@pytest.mark.parametrize("reason", list(Reason))
async def test_a_reason_comes_about_and_is_cured_as_its_row_says(world: World, reason: Reason) -> None:
    case, row = CASES[reason], REASONS[reason]
    steps = case.run(world)
    await anext(steps)
    found = conditions(world, case.ref)
    assert found[case.condition][1] == reason
    if case.condition == READY:
        assert tuple(found[kind][0] for kind in (READY, "Reconciling", "Stalled")) == KSTATUS[row.outlook]
    assert row.meaning.endswith(".")
    assert row.remedy
    await finish(steps)
    if not case.cured:
        return
    await heal(world, case.ref, row.heals_within or 60.0)
    assert world.ready(case.ref) == "Available"

"""The time of a refusal does not tell whether another account's key exists: 10,000 pairs through the server's own driver and fact cache.

The clock is simulated: only what an operation asks for takes time, and a wait takes as long as the driver lets it. Over HTTP nothing is
promised: docs/security.md.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import CoroutineType
from typing import Any

from tests.builders import Records, a_control_world, an_alias
from tests.operations.abroad import (
    B2,
    FUNCTIONS,
    HOMES,
    HSM,
    REFERENCES,
    A,
    B,
    C,
    Consent,
    Keys,
    Reference,
    Tenant,
    keys_of,
)

from keystead.engine.ports import SlowCall, SlowResult
from keystead.errors import KmsError
from keystead.policy import Caller, SubjectAccessReview
from keystead.policy.actions import ABROAD
from keystead.resources.vocabulary import KeyState
from keystead.server.driver import Driver
from keystead.server.facts import Facts

PAIRS = 10_000
QUESTION_SECONDS, TOKEN_SECONDS = 0.004, 0.002
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"state": KeyState.DISABLED},
    {"state": KeyState.PENDING_DELETION},
    {"state": KeyState.DESTROYED},
    {"region": "cluster-2"},
    {"namespace_uid": "an-earlier-one"},
    {"bound": False},
)


REFUSED = [(tenant, consent) for tenant in (B, B2) for consent in Consent] + [(A, Consent.DEFAULT), (A, Consent.DENY)]
"""Who asks, and how C's keys stand to A: in all of them the key's side says no to who asks."""


class Written(Exception):
    """An operation came as far as a write."""


@dataclass
class Machine:
    """All ports of a driver and of its facts, before a clock that only they move."""

    rbac: bool
    clock: float = 0.0

    def driver(self) -> Driver:
        facts = Facts(self, lambda _name, _uid: "", lambda: self.clock)  # type: ignore[arg-type]
        return Driver(facts=facts, model=self, writer=self, engine=lambda: self, siblings=self, waiters=Counter())  # type: ignore[arg-type,return-value]

    async def review(self, _question: SubjectAccessReview) -> bool:
        self.clock += QUESTION_SECONDS
        return self.rbac

    async def namespace_uid(self, namespace: str) -> str | None:
        self.clock += QUESTION_SECONDS
        return HOMES.get(namespace)

    async def until(self, ready: Callable[[], Any], seconds: float) -> Any:
        shown = ready()
        self.clock += seconds if shown is None else 0.0
        return shown

    async def slow(self, call: SlowCall) -> SlowResult:
        self.clock += TOKEN_SECONDS
        return HSM.slow(call)

    async def write(self, _write: object) -> None:
        raise Written


async def timed(driver: Driver, machine: Machine, request: Any, caller: Caller, records: Records) -> tuple[str, str, float]:
    """Code, text and time."""
    world, begun = a_control_world(HSM, keys=records), machine.clock
    code = message = ""
    try:
        answer = driver.run(FUNCTIONS[type(request)](world, caller, request))
        if isinstance(answer, CoroutineType):
            await answer
    except KmsError as error:
        code, message = error.code, error.message
    except Written:
        code = "written"
    return code, message, machine.clock - begun


def records_of(tenant: Tenant, own: Keys, *theirs: Any) -> Records:
    held = Records(namespaces={tenant.namespace: tenant.uid})
    for record in (own.key, an_alias(own.key, "alias/own"), *theirs):
        held.add(record)
    return held


async def twice(
    reference: Reference, tenant: Tenant, caller: Caller, theirs: Keys, there: bool, rbac: bool
) -> list[tuple[str, str, float]]:
    """Cold, and with what is remembered from the first time."""
    machine, own = Machine(rbac), keys_of(tenant, *reference.fits)
    driver, request = machine.driver(), reference.make(theirs, own)
    left = (theirs.grant,) if reference.how == "token" else ()
    records = records_of(tenant, own, *(theirs if there else left))
    return [await timed(driver, machine, request, caller, records) for _ in range(2)]


def test_ten_thousand_pairs_are_not_told_apart_by_code_text_or_time() -> None:
    draw = random.Random(20261126)
    seen: Counter[str] = Counter()

    async def compare() -> None:
        for _ in range(PAIRS):
            reference, rbac = draw.choice(REFERENCES), draw.random() < 0.5
            tenant, consent = draw.choice(REFUSED)
            caller = draw.choice([tenant.app, tenant.other, tenant.root])
            theirs = keys_of(C, *reference.fits, consent, **draw.choice(CHANGES))
            there = await twice(reference, tenant, caller, theirs, True, rbac)
            nothing = await twice(reference, tenant, caller, theirs, False, rbac)
            assert there == nothing, (reference, consent, caller.arn)
            assert there[0][0] == "AccessDeniedException"
            seen[f"{there[0][2]:.3f}"] += 1

    asyncio.run(compare())
    assert seen.total() == PAIRS
    assert len(seen) > 2, "the pairs differ among themselves: blobs wait, foreign ARNs do not, rights on one's own alias are asked for"


def test_the_clock_tells_apart_what_takes_different_steps() -> None:
    """The control: where both sides allow it the calls differ, so that equal times above are no blindness of the clock."""
    blob = next(each for each in REFERENCES if str(each) == "Decrypt.CiphertextBlob by blob")
    assert blob.action in ABROAD
    theirs = keys_of(C, *blob.fits, Consent.ACCOUNT)

    async def both() -> list[tuple[str, str, float]]:
        return [(await twice(blob, A, A.app, theirs, there, True))[0] for there in (True, False)]

    (allowed, _, quick), (code, _, slow) = asyncio.run(both())
    assert (allowed, code) == ("", "AccessDeniedException")
    assert round(quick, 3) == 2 * QUESTION_SECONDS and slow >= 0.25

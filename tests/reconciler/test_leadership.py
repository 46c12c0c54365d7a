"""What a process says of itself to the outside: probes by its state, the Lease that ran out, its name in the audit log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from keystead import __version__
from keystead.errors import FencedError, NotFoundError
from keystead.handlers.probes import serve
from keystead.settings import OperatorSettings
from keystead.store.kube import ServerClock, user_agent
from keystead.store.lease import LeaseElector


class OneLease:
    """An API server with one object: what the elector asks of `store.kube.Kube`."""

    def __init__(self) -> None:
        self.clock = ServerClock()
        self.clock.observe("Thu, 26 Nov 2026 08:00:00 GMT")
        self.lease: dict[str, Any] | None = None

    async def request(self, method: str, path: str, query: object = None, body: Any = None) -> Any:
        if method == "GET" and self.lease is None:
            raise NotFoundError(path)
        if method != "GET":
            self.lease = body
        return self.lease


def elector(api: OneLease, **settings: float) -> LeaseElector:
    chosen = replace(OperatorSettings(retry_period=0.0), **settings)
    return LeaseElector(api, "keystead-system", "me", chosen, lambda: 0)  # type: ignore[arg-type]


async def test_a_leader_whose_deadline_passed_is_expired_and_may_not_write() -> None:
    late = elector(OneLease(), renew_deadline=0.0)  # over as soon as it is had
    assert not late.expired
    await late.acquire()
    assert (late.leading, late.expired) == (False, True)
    with pytest.raises(FencedError):
        late.check()


async def test_a_leader_in_time_is_not_expired_and_one_that_let_go_neither() -> None:
    leader = elector(OneLease())
    await leader.acquire()
    leader.check()
    assert (leader.leading, leader.expired) == (True, False)
    await leader.release()
    assert (leader.leading, leader.expired) == (False, False)


@pytest.mark.parametrize(
    ("dead", "missing", "codes"),
    [(None, None, (200, 200)), (None, "records: not listed yet", (200, 503)), ("lease: not renewed", None, (503, 200))],
)
async def test_probes_say_what_is_wrong(dead: str | None, missing: str | None, codes: tuple[int, int]) -> None:
    """A process that is not ready yet is alive: it must not be restarted for that."""
    registry = CollectorRegistry()
    Gauge("keystead_leader", "x", registry=registry).set(1)
    runner, port = await serve(0, lambda: dead, lambda: missing, registry)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path, code, wrong in (("/healthz", codes[0], dead), ("/readyz", codes[1], missing)):
                async with session.get(path) as answer:
                    assert (answer.status, await answer.text()) == (code, f"{wrong or 'ok'}\n")
            async with session.get("/metrics") as answer:
                assert "keystead_leader 1.0" in await answer.text()
    finally:
        await runner.cleanup()


def test_requests_name_the_process_that_sends_them() -> None:
    assert user_agent("keystead-7d4f-xyz-1") == f"keystead-operator/{__version__} (keystead-7d4f-xyz-1)"
    assert user_agent() == f"keystead/{__version__}"
    assert user_agent("two\r\nX-Evil: (1) é") == f"keystead-operator/{__version__} (two__X-Evil: _1_ _)"

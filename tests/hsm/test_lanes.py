"""Slow lanes: other processes, replaced when they die, never in the way of the fast lane."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import connection

import pytest
from tests.hsm.backends import SharedHsm
from tests.hsm.work import new_material, sign, verify

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.ports import SignDigest
from keystead.errors import HsmUnavailableError, ThrottlingError
from keystead.hsm import lanes
from keystead.resources.vocabulary import KeySpec, KeyUsage

_ECDSA = SigningAlgorithm.ECDSA_SHA_256
WAIT = 60.0


def _lane_pids(real: SharedHsm) -> set[int]:
    pool = real.hsm.lanes._pool
    return set(pool._processes) if pool is not None else set()


def test_signing_runs_in_another_process(real: SharedHsm) -> None:
    made = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    before = len(real.hsm.vault)
    assert verify(made, _ECDSA, b"m", sign(real, made, _ECDSA, b"m"))
    assert len(real.hsm.vault) == before  # unwrapped there, not here
    pids = _lane_pids(real)
    assert pids and os.getpid() not in pids


def test_lane_that_dies_is_replaced_and_the_fast_lane_never_notices(real: SharedHsm) -> None:
    made, key = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY), new_material(real)
    answer = real.fast.derive(key, b"x")
    assert sign(real, made, _ECDSA, b"m")
    old = _lane_pids(real)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    deadline, signature = time.monotonic() + WAIT, b""
    while not signature:
        assert time.monotonic() < deadline, "no lane came back"
        assert real.fast.derive(key, b"x") == answer
        try:
            signature = sign(real, made, _ECDSA, b"m")
        except HsmUnavailableError as error:
            assert "slow lane died" in str(error)
    assert verify(made, _ECDSA, b"m", signature)
    assert not old & _lane_pids(real)


def test_each_lane_that_lives_is_one_session_more(real: SharedHsm) -> None:
    made = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    assert sign(real, made, _ECDSA, b"m")
    pids = _lane_pids(real)
    assert real.hsm.sessions() == 1 + len(pids)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + WAIT
    while real.hsm.sessions() > 1:
        assert time.monotonic() < deadline, "a dead lane counts"
    real.hsm.lanes.renew()  # the pool learns of the death a moment later: the next test must not meet it


def test_too_many_waiting_calls_are_throttled_and_the_rest_answered(
    real: SharedHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_material(real, KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY)
    call = SignDigest(made, SigningAlgorithm.RSASSA_PKCS1_V1_5_SHA_256, bytes(32))
    monkeypatch.setattr(lanes, "MAX_WAITING", 5)
    futures = []
    with pytest.raises(ThrottlingError):
        for _ in range(100):
            futures.append(real.hsm.lanes.submit(call))
    assert len({future.result(timeout=WAIT) for future in futures}) == 1
    assert real.slow(call)


async def test_waiting_for_a_lane_leaves_the_event_loop_free(real: SharedHsm) -> None:
    made = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    signature = await real.hsm.slow_async(SignDigest(made, _ECDSA, bytes(32)))
    assert isinstance(signature, bytes)


def test_signals_of_the_process_group_end_no_lane(real: SharedHsm) -> None:
    """Ctrl-C while a lane starts, and while it works: the parent needs it for the end of its audit trail."""
    made = new_material(real, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    real.hsm.lanes.renew()
    call = SignDigest(made, _ECDSA, bytes(32))
    starting = real.hsm.lanes.submit(call)
    pids = _lane_pids(real)
    _signal(pids)
    assert starting.result(timeout=WAIT)
    _signal(pids)
    assert real.hsm.lanes.submit(call).result(timeout=WAIT)
    assert _lane_pids(real) == pids


def _signal(pids: set[int]) -> None:
    assert pids
    for pid in pids:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)


def test_the_death_of_one_lane_ends_its_sibling_too(real: SharedHsm) -> None:
    """The pool ends it by SIGTERM, which it ignores: a lane that stayed would hold its login for ever, and up the end of its parent."""
    made = new_material(real, KeySpec.RSA_2048, KeyUsage.SIGN_VERIFY)
    call = SignDigest(made, SigningAlgorithm.RSASSA_PKCS1_V1_5_SHA_256, bytes(32))
    pair = lanes.SlowLanes(*real.hsm.lanes._arguments, 2)
    try:
        assert len({future.result(timeout=WAIT) for future in [pair.submit(call) for _ in range(20)]}) == 1
        assert pair._pool is not None
        first, second = (pair._pool._processes[pid] for pid in sorted(pair._pool._processes))
        first.kill()
        assert connection.wait([second.sentinel], timeout=WAIT), "it lives"
    finally:
        pair.renew()

"""Slow lanes: spawned processes with a session, a login and an LRU of their own (HSM.md A8).

Wrapped material travels, handles never. Spawned, not forked: a forked copy of an initialised module is luck. The fast
lane never waits for them; when too many calls wait, new ones are refused at once (ThrottlingException, which SDKs
retry).
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Final

from keystead.engine.ports import SlowCall, SlowResult
from keystead.errors import HsmAuthError, HsmUnavailableError, ThrottlingError
from keystead.hsm.children import end_with_parent, heed, shielded
from keystead.hsm.domain import TokenDomain
from keystead.hsm.executor import Executor, make_executor
from keystead.hsm.memory import protect
from keystead.hsm.token import PIN_CHANGED, TokenPlace, TokenSession
from keystead.hsm.vault import Vault

# Calls that may wait or run at once. An RSA-4096 signature takes 6 ms: 64 are 0.4 s of one lane.
MAX_WAITING: Final = 64

_executor: Executor | None = None
_refused = False


def _start(place: TokenPlace, pin: str, fingerprint: str) -> None:
    """Initialiser of a lane process."""
    heed()
    end_with_parent()
    protect()
    global _executor, _refused  # noqa: PLW0603 - a process pool hands its workers no other place to keep a session
    try:
        domain = TokenDomain(TokenSession(place, pin), fingerprint)
    except HsmAuthError:
        _refused = True  # told by `_work`: an initialiser that raises would be started again, with the same PIN
        return
    _executor = make_executor(domain, Vault(domain), os.urandom)


def _work(call: SlowCall) -> SlowResult:
    if _refused:
        raise HsmAuthError("the token refused the PIN to a slow lane")
    if _executor is None:
        raise HsmUnavailableError("the slow lane has no session")
    return _executor.run(call)


class _Lane(SpawnProcess):
    """Ends by the pool's word, or with its parent: no signal of the terminal's counts."""

    def start(self) -> None:
        """As SpawnProcess."""
        with shielded():
            super().start()

    def terminate(self) -> None:
        """What the pool does to the others when one died: they ignore SIGTERM."""
        self.kill()


class _Lanes(SpawnContext):
    """Makes the pool's processes."""

    Process = _Lane


class SlowLanes:
    """A pool of lane processes. A lane that dies is replaced; its calls end with HsmUnavailableError.

    Where the token refuses a lane its PIN (somebody changed it since this process opened the token), no lane tries it again.
    """

    def __init__(self, place: TokenPlace, pin: str, fingerprint: str, lanes: int) -> None:
        self._arguments = (place, pin, fingerprint)
        self._lanes = lanes
        self._pool: ProcessPoolExecutor | None = None
        self._waiting = 0
        self._refused = False
        self._lock = threading.Lock()

    def submit(self, call: SlowCall) -> Future[SlowResult]:
        """A future of the result. ThrottlingError where MAX_WAITING calls wait already."""
        if self._refused:
            raise HsmAuthError(PIN_CHANGED.format(self._arguments[0].label))
        with self._lock:
            if self._waiting >= MAX_WAITING:
                raise ThrottlingError
            self._waiting += 1
        try:
            future = self._submit(call)
        except BaseException:
            self._done()
            raise
        future.add_done_callback(self._done_with)
        return future

    def _submit(self, call: SlowCall) -> Future[SlowResult]:
        for _ in range(2):
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._lanes,
                    mp_context=_Lanes(),
                    initializer=_start,
                    initargs=self._arguments,
                )
            try:
                return self._pool.submit(_work, call)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
        raise HsmUnavailableError("the slow lane cannot be started")

    def _done_with(self, future: Future[SlowResult]) -> None:
        if not future.cancelled() and isinstance(future.exception(), HsmAuthError):
            self._refused = True
        self._done()

    def sessions(self) -> int:
        """Lane processes that live: each holds a login of its own."""
        lanes = () if self._pool is None else tuple((self._pool._processes or {}).values())
        return len(lanes) - len(connection.wait([lane.sentinel for lane in lanes], timeout=0))

    def _done(self) -> None:
        with self._lock:
            self._waiting -= 1

    def renew(self) -> None:
        """End the lane processes when they are idle, with all that they unwrapped. The next call starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def close(self) -> None:
        """End the lane processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

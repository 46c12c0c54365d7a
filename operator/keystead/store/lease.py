"""The leader's Lease (coordination.k8s.io/v1), our own: the client's election is not usable (KUBERNETES.md).

A candidate takes a Lease that nobody renewed for `lease_duration` by its own monotonic clock, with a PUT by resourceVersion. A leader
renews every `retry_period`; the time that counts is the moment when the renewing request was SENT. Past `renew_deadline` without a
renewal it must not write any more: `check` refuses, and the process ends. The transition count never decreases, also when the Lease
object was deleted: it continues above every record's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from keystead.errors import ConflictError, FencedError, NotFoundError, StoreError
from keystead.settings import OperatorSettings
from keystead.store.kube import Kube

log = logging.getLogger(__name__)
_GROUP: Final = "/apis/coordination.k8s.io/v1/namespaces"


class LeaseElector:
    """Implements `reconciler.ports.Leadership`. `floor()`: the highest transition that any record holds."""

    def __init__(
        self, kube: Kube, namespace: str, identity: str, settings: OperatorSettings, floor: Callable[[], int]
    ) -> None:
        self._kube = kube
        self._path = f"{_GROUP}/{namespace}/leases"
        self._identity = identity
        self._settings = settings
        self._floor = floor
        self._transition: int | None = None
        self._lease: dict[str, Any] = {}
        self._valid_until = 0.0
        self._seen = ("", time.monotonic())  # a Lease that was never seen is as old as this process

    @property
    def transition(self) -> int:
        """FencedError while not leading."""
        if self._transition is None:
            raise FencedError("this process does not lead")
        return self._transition

    @property
    def leading(self) -> bool:
        """Whether writes are allowed now."""
        return self._transition is not None and time.monotonic() < self._valid_until

    @property
    def expired(self) -> bool:
        """Whether this process led, could not renew in time, and has not yet noticed (`hold` ends it)."""
        return self._transition is not None and time.monotonic() >= self._valid_until

    @property
    def age(self) -> float:
        """Seconds since the last successful renewal by this process, or since the Lease was last seen to move."""
        moment = self._valid_until - self._settings.renew_deadline if self._transition is not None else self._seen[1]
        return max(time.monotonic() - moment, 0.0)

    def check(self) -> None:
        """FencedError unless the Lease is held right now."""
        if not self.leading:
            raise FencedError("the Lease is not held; this process must not write")

    async def acquire(self) -> int:
        """Wait until this process leads; answers the transition number."""
        while True:
            try:
                if await self._try_acquire():
                    assert self._transition is not None
                    log.info("leading as %s under transition %s", self._identity, self._transition)
                    return self._transition
            except StoreError as error:
                log.info("the Lease cannot be had yet: %s", error)
            await asyncio.sleep(self._pause())

    async def seize(self) -> bool:
        """Take the Lease from whoever holds it, for an uninstall: whether somebody held it. A Lease that is not there is not made.

        The holder notices at its next renewal, and where it cannot renew it writes nothing past its own `renew_deadline`.
        """
        while True:
            try:
                lease = await self._kube.request("GET", f"{self._path}/{self._settings.lease_name}")
            except NotFoundError:
                return False
            spec = lease.get("spec") or {}
            try:
                await self._write(lease, int(spec.get("leaseTransitions") or 0) + 1, acquired=True)
            except ConflictError:  # the holder renewed in between
                continue
            return bool(spec.get("holderIdentity"))

    def _pause(self) -> float:
        """Until the next look at the Lease: not past the moment when it runs out."""
        left = self._seen[1] + self._settings.lease_duration - time.monotonic()
        return min(self._settings.retry_period, left) if left > 0 else self._settings.retry_period

    async def hold(self) -> None:
        """Renew until the deadline passes; then FencedError. Cancelled at an orderly end."""
        while True:
            await asyncio.sleep(self._settings.retry_period)
            try:
                await self._write(self._lease, self.transition)
            except ConflictError:
                await self._reread()
            except StoreError as error:
                log.warning("the Lease could not be renewed: %s", error)
            if not self.leading:
                self._transition = None
                raise FencedError("the Lease was not renewed in time, or somebody else holds it")

    async def release(self) -> None:
        """Give the Lease up at an orderly end, so that the next leader need not wait."""
        if self._transition is None:
            return
        lease = {**self._lease, "spec": {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
        self._valid_until = 0.0
        self._transition = None
        try:
            await self._kube.request("PUT", f"{self._path}/{self._settings.lease_name}", body=lease)
        except StoreError as error:
            log.info("the Lease was not released: %s", error)

    async def _try_acquire(self) -> bool:
        try:
            lease = await self._kube.request("GET", f"{self._path}/{self._settings.lease_name}")
        except NotFoundError:
            return await self._create()
        spec, version = lease.get("spec") or {}, lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, time.monotonic())
        waited = time.monotonic() - self._seen[1]
        if spec.get("holderIdentity") and waited < self._settings.lease_duration:
            return False
        transition = max(int(spec.get("leaseTransitions") or 0), self._floor()) + 1
        try:
            await self._write(lease, transition, acquired=True)
        except ConflictError:
            return False
        return True

    async def _create(self) -> bool:
        sent, transition = time.monotonic(), self._floor() + 1
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.lease_name},
            "spec": self._spec({}, transition, acquired=True),
        }
        try:
            self._lease = await self._kube.request("POST", self._path, body=body)
        except ConflictError:
            return False
        self._held(sent, transition)
        return True

    async def _write(self, lease: dict[str, Any], transition: int, *, acquired: bool = False) -> None:
        sent = time.monotonic()
        body = {**lease, "spec": self._spec(lease.get("spec") or {}, transition, acquired=acquired)}
        self._lease = await self._kube.request("PUT", f"{self._path}/{self._settings.lease_name}", body=body)
        self._held(sent, transition)

    def _spec(self, before: dict[str, Any], transition: int, *, acquired: bool) -> dict[str, Any]:
        now = _micro_time(self._kube.clock.now())
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(int(self._settings.lease_duration), 1),
            "leaseTransitions": transition,
            "acquireTime": now if acquired else before.get("acquireTime", now),
            "renewTime": now,
        }

    def _held(self, sent: float, transition: int) -> None:
        self._transition = transition
        self._valid_until = sent + self._settings.renew_deadline

    async def _reread(self) -> None:
        """A conflict: our own write whose answer was lost, or another holder."""
        sent = time.monotonic()
        try:
            lease = await self._kube.request("GET", f"{self._path}/{self._settings.lease_name}")
        except StoreError:
            return
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") == self._identity and spec.get("leaseTransitions") == self._transition:
            self._lease = lease
            self._held(sent, self.transition)
        else:
            self._valid_until = 0.0


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

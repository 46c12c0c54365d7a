"""All services of the commands, wired: hsm, cluster, operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from keystead.app.crypt import crypt, list_records, show_record
from keystead.app.hsm import HsmServices
from keystead.app.operator import run_operator
from keystead.app.release import release_finalizers
from keystead.cli.services import CryptCall, NewInstall, TokenChoice
from keystead.hsm.backend import Hsm
from keystead.settings import Settings
from keystead.store.install import InstallParts, check_domain, check_namespace, publish
from keystead.store.kube import Kube, connect

T = TypeVar("T")


class AppServices(HsmServices):
    """Implements `cli.services.Services`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._all = settings

    def with_kube(self, work: Callable[[Kube], Coroutine[Any, Any, T]]) -> T:
        """Run something with a client that is closed afterwards."""

        async def run() -> T:
            kube = await connect(self._all.cluster.kubeconfig)
            try:
                return await work(kube)
            finally:
                await kube.close()

        return asyncio.run(run())

    def reach_cluster(self) -> None:
        """Ask for the records' namespace, which the chart makes."""
        cluster = self._all.cluster
        self.with_kube(lambda kube: check_namespace(kube, cluster.records_namespace))

    def publish_install(self, install: NewInstall) -> None:
        """Put install record, backup, recovery key, token and PIN into the cluster, create-only."""
        cluster = self._all.cluster
        parts = InstallParts(
            domain=install.domain,
            install_id=install.install_id,
            backup=install.backup,
            recovery_text=install.recovery_text,
            recovery_cms=install.recovery_cms,
            token_files=install.token_files,
            pin=install.pin,
        )
        self.with_kube(
            lambda kube: publish(kube, parts, cluster.namespace, cluster.records_namespace, cluster.pin_secret)
        )

    def _with_hsm(self, token: TokenChoice, work: Callable[[Kube, Hsm], Coroutine[Any, Any, T]]) -> T:
        async def checked(kube: Kube, hsm: Hsm) -> T:
            await check_domain(kube, self._all.cluster.records_namespace, hsm.domain)
            return await work(kube, hsm)

        with self.open_hsm(token) as hsm:
            return self.with_kube(lambda kube: checked(kube, hsm))

    def crypt(self, call: CryptCall) -> object:
        """Run one operation as a principal, through the whole pipeline."""
        return self._with_hsm(call.token, lambda kube, hsm: crypt(self._all, kube, hsm, call))

    def list_records(self, token: TokenChoice) -> tuple[list[dict[str, str]], list[str]]:
        """Rows of key records, and what was refused."""
        return self._with_hsm(token, lambda kube, hsm: list_records(self._all, kube, hsm))

    def show_record(self, token: TokenChoice, namespace: str, name: str) -> dict[str, str | int]:
        """One key record for people."""
        return self._with_hsm(token, lambda kube, hsm: show_record(self._all, kube, hsm, namespace, name))

    def run_operator(self) -> int:
        """Until SIGTERM; the exit code."""
        return run_operator(self._all)

    def release_finalizers(self) -> tuple[int, int]:
        """Take the Lease, and our finalizer from every key: (keys looked at, finalizers removed)."""
        return self.with_kube(lambda kube: release_finalizers(self._all, kube))

"""All services of the commands, wired: hsm, cluster, operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from keystead.app.hsm import HsmServices
from keystead.app.operator import run_operator
from keystead.cli.services import NewInstall
from keystead.settings import Settings
from keystead.store.install import InstallParts, publish
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

    def run_operator(self) -> int:
        """Until SIGTERM; the exit code."""
        return run_operator(self._all)

"""All services of the commands, wired: hsm, cluster, operator, server, dev.

Each command imports what it needs when it runs: `keystead dev` must not wait for Kopf and the Kubernetes client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from keystead.app.hsm import HsmServices
from keystead.cli.audit_services import SearchAnswer, SearchRequest, SummaryAnswer, SummaryRequest, VerifyRequest
from keystead.cli.services import AdoptRequest, CryptCall, DevRequest, KeyTarget, NewInstall, RecordKinds, TokenChoice
from keystead.settings import Settings

if TYPE_CHECKING:
    from keystead.app.keyrequests import Subject
    from keystead.hsm.backend import Hsm
    from keystead.store.kube import Kube

T = TypeVar("T")
Facts = dict[str, str | int]


class AppServices(HsmServices):
    """Implements `cli.services.Services`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._all = settings

    def with_kube(self, work: Callable[[Kube], Coroutine[Any, Any, T]]) -> T:
        """Run something with a client that is closed afterwards."""
        from keystead.store.kube import connect


        async def run() -> T:
            kube = await connect(self._all.cluster.kubeconfig)
            try:
                return await work(kube)
            finally:
                await kube.close()

        return asyncio.run(run())

    def reach_cluster(self) -> None:
        """Ask for the records' namespace, which the chart makes."""
        from keystead.store.install import check_namespace

        cluster = self._all.cluster
        self.with_kube(lambda kube: check_namespace(kube, cluster.records_namespace))

    def publish_install(self, install: NewInstall) -> None:
        """Put install record, backup, recovery key, token and PIN into the cluster, create-only."""
        from keystead.store.install import InstallParts, publish

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
        from keystead.store.install import check_domain

        async def checked(kube: Kube, hsm: Hsm) -> T:
            await check_domain(kube, self._all.cluster.records_namespace, hsm.domain)
            return await work(kube, hsm)

        with self.open_hsm(token) as hsm:
            return self.with_kube(lambda kube: checked(kube, hsm))

    def crypt(self, call: CryptCall) -> object:
        """Run one operation as a principal, through the whole pipeline."""
        from keystead.app.crypt import crypt

        return self._with_hsm(call.token, lambda kube, hsm: crypt(self._all, kube, hsm, call))

    def list_records(self, token: TokenChoice, kinds: RecordKinds) -> tuple[list[dict[str, str]], list[str]]:
        """Rows of records, and what was refused."""
        from keystead.app.records import list_records

        return self._with_hsm(token, lambda kube, hsm: list_records(self._all, kube, hsm, kinds))

    def show_record(self, token: TokenChoice, target: KeyTarget) -> dict[str, str | int]:
        """One key record for people."""
        from keystead.app.records import show_record

        return self._with_hsm(token, lambda kube, hsm: show_record(self._all, kube, hsm, target))

    def adopt_records(self, token: TokenChoice, request: AdoptRequest, tell: Callable[[str], None]) -> list[dict[str, str]]:
        """Ask for the adoption of records, with the caller's own rights."""
        from keystead.app.adopt import adopt

        return self._with_hsm(token, lambda kube, hsm: adopt(self._all, kube, hsm, request, tell))

    def hold_key(self, token: TokenChoice, target: KeyTarget, reason: str | None, wait: bool) -> Facts:
        """Latch a hold, or release it."""
        from keystead.app import keyrequests

        return self._with_key(token, target, lambda kube, key: keyrequests.hold(kube, key, reason, wait))

    def rotate_key(self, token: TokenChoice, target: KeyTarget, wait: bool) -> Facts:
        """Ask for a rotation."""
        from keystead.app import keyrequests

        return self._with_key(token, target, lambda kube, key: keyrequests.rotate(kube, key, wait))

    def schedule_deletion(self, token: TokenChoice, target: KeyTarget, days: int | None, wait: bool) -> Facts:
        """Begin the waiting window, or cancel it."""
        from keystead.app import keyrequests


        async def ask(kube: Kube, key: Subject) -> Facts:
            if days is None:
                return await keyrequests.cancel_deletion(kube, key, wait)
            return await keyrequests.schedule_deletion(kube, key, days, wait)

        return self._with_key(token, target, ask)

    def _with_key(self, token: TokenChoice, target: KeyTarget, ask: Callable[[Kube, Subject], Coroutine[Any, Any, Facts]]) -> Facts:
        """On the live object with the caller's rights alone; the token is opened only where there is none, or an id was given."""
        from keystead.app import keyrequests


        async def live(kube: Kube) -> Facts | None:
            key = await keyrequests.find_live(kube, target)
            return None if key is None else await ask(kube, key)

        async def by_record(kube: Kube, hsm: Hsm) -> Facts:
            return await ask(kube, await keyrequests.find_record(self._all, kube, hsm.domain, target))

        done = self.with_kube(live)
        return self._with_hsm(token, by_record) if done is None else done

    def verify_audit(self, request: VerifyRequest) -> dict[str, Any]:
        """The report."""
        from keystead.app.auditreading import verify_audit

        return verify_audit(request)

    def search_audit(self, request: SearchRequest) -> SearchAnswer:
        """Rows and records."""
        from keystead.app.auditreading import search_audit

        return search_audit(request)

    def summarise_audit(self, request: SummaryRequest) -> SummaryAnswer:
        """Counts, and their pictures."""
        from keystead.app.auditreading import list_keys, summarise_audit

        return summarise_audit(request, lambda: self.with_kube(list_keys))

    def audit_public_key(self) -> str:
        """PEM, from the cluster."""
        from keystead.app.auditreading import public_key

        return self.with_kube(public_key)

    def run_operator(self) -> int:
        """Until SIGTERM; the exit code."""
        from keystead.app.operator import run_operator

        return run_operator(self._all)

    def release_finalizers(self) -> tuple[int, int]:
        """Take the Lease, and our finalizer from every key: (keys looked at, finalizers removed)."""
        from keystead.app.release import release_finalizers

        return self.with_kube(lambda kube: release_finalizers(self._all, kube))

    def run_server(self) -> int:
        """Until SIGTERM; the exit code."""
        from keystead.app.server.main import run_server

        return run_server(self._all)

    def run_dev(self, request: DevRequest) -> int:
        """Until SIGTERM or ctrl-c; the exit code."""
        from keystead.app.dev.main import run_dev

        return run_dev(self._all, request)

"""Implements `cli.kms_services.KmsServices`: each command is one connection with the person's own kubeconfig, closed afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from keystead.app.kms.audit import read_all, read_token, token_for
from keystead.app.kms.callers import callers_by
from keystead.app.kms.deletion import schedule_deletion
from keystead.app.kms.impact import impact
from keystead.app.kms.usage import usage
from keystead.app.kms.view import View
from keystead.app.kms.whocan import who_can
from keystead.app.kms.why import why
from keystead.cli.kms_audit import AuditAnswer, AuditAsk
from keystead.cli.kms_services import ImpactAnswer, Place, Question, Subject, Trail, WhoCanAnswer, WhyAnswer
from keystead.cli.kms_usage import UsageAnswer, UsageAsk
from keystead.errors import StoreError
from keystead.store.kube import connect
from keystead.store.kubeconfig import chosen, namespace_of

T = TypeVar("T")


class AppKmsServices:
    """One a command line."""

    def why(self, place: Place, subject: Subject, question: Question) -> WhyAnswer:
        """Why somebody may do something with a key, or not."""
        return self._run(place, lambda view, namespace: why(view, namespace, subject, question))

    def who_can(self, place: Place, question: Question) -> WhoCanAnswer:
        """Everybody who may."""
        return self._run(place, lambda view, namespace: who_can(view, namespace, question))

    def impact(self, place: Place, key: str, trail: Trail) -> ImpactAnswer:
        """What hangs on a key."""

        async def work(view: View, namespace: str) -> ImpactAnswer:
            return await impact(view, namespace, key, await callers_by(view, namespace, trail))

        return self._run(place, work)

    def schedule_deletion(self, place: Place, shown: ImpactAnswer, days: int) -> dict[str, str | int]:
        """Begin the waiting window of the key that was shown."""
        return self._run(place, lambda view, _: schedule_deletion(view, shown, days))

    def audit(self, place: Place, ask: AuditAsk) -> AuditAnswer:
        """Records about a key, from the replicas that are named."""
        if ask.token_file is not None:
            return read_all(ask, read_token(ask.token_file))
        token = self._run(place, lambda view, namespace: token_for(view, namespace, ask.service_account))
        return read_all(ask, token)

    def usage(self, place: Place, ask: UsageAsk) -> UsageAnswer:
        """Keys and calls of a month."""
        return self._run(place, lambda view, namespace: usage(view, namespace, ask))

    def _run(self, place: Place, work: Callable[[View, str], Coroutine[Any, Any, T]]) -> T:
        kubeconfig = chosen(place.kubeconfig, os.environ)
        namespace = place.namespace or namespace_of(kubeconfig, place.context)

        async def run() -> T:
            kube = await connect(kubeconfig, context=place.context)
            try:
                view = View(kube)
                await view.get("/version", "get /version")  # for the API server's time: any answer has it
                return await work(view, namespace)
            finally:
                await kube.close()

        try:
            return asyncio.run(run())
        except RecursionError:
            raise StoreError("an object is nested too deep to be read") from None

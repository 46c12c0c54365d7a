"""Keystead's own key: KmsKey audit-signing in keystead-records, made by the leader and by `keystead dev`, create-only.

The object only asks for the key; the key is its sealed record, as every other's. It is made with the annotation `adopt`: an object that
somebody took away, or a namespace that was restored from a backup, comes to the same key again. Whoever signs does not wait for that
(app/auditkey.py). What may never enter: a second key of this name; a record that is there is never set aside.
"""

from __future__ import annotations

import logging
from typing import Final

from keystead.engine.identifiers import RECORDS_NAMESPACE
from keystead.engine.managed import AUDIT_KEY, audit_key
from keystead.errors import ConflictError
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.context import Context
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names

log = logging.getLogger(__name__)
AUDIT_REF: Final = ObjectRef(Kind.KEY, RECORDS_NAMESPACE, AUDIT_KEY)


class OwnKeys:
    """One a controller."""

    def __init__(self, context: Context, accounts: Accounts) -> None:
        self._context = context
        self._accounts = accounts

    async def ensure(self) -> bool:
        """Make what is not there; whether it is there now. FencedError, StoreError, HsmUnavailableError: try again."""
        context = self._context
        if await context.objects.get(AUDIT_REF) is not None:
            return True
        namespace = await context.objects.namespace(RECORDS_NAMESPACE)
        if namespace is None or namespace.terminating:
            return False
        transition, now = context.leadership.transition, context.clock.now()
        account = await self._accounts.own(context.engine().domain, namespace.uid, transition, now)
        body = audit_key(account)
        body["metadata"]["annotations"] = {names.ADOPT: names.ADOPT_TRUE}
        context.leadership.check()
        try:
            await context.objects.create(AUDIT_REF, body)
        except ConflictError:
            return True
        log.info("%s was made", AUDIT_REF)
        return True

"""Who called with a key, from where it is known. Implements `cli.kms_services.Callers`.

A person who has the audit trail's folders reads them as `keystead audit` does. Everybody else asks the servers for the records of the one
key, as a ServiceAccount that holds the verb `audit` on it: the key's account's part of the trail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from keystead.app.kms.audit import read_all, read_token, token_for
from keystead.app.kms.view import View
from keystead.audit.reading.summary import KeyCaller, callers, callers_told
from keystead.cli.kms_audit import AuditAnswer, AuditAsk
from keystead.cli.kms_services import Callers, CallerUse, KnownCallers, Trail, Unknown

NOT_GIVEN: Final = "not known: give --audit-log DIR, or --endpoint URL"
MOST: Final = 100_000
"""Records that are fetched; with more of them, who called in the first days says nothing about the last ones."""


class NoCallers:
    """Where no audit trail was given."""

    async def callers(self, key_arn: str, since: datetime) -> KnownCallers | Unknown:
        """Nothing is known."""
        return Unknown(NOT_GIVEN)


class AuditFolders:
    """Folders of audit chains, one a replica."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    async def callers(self, key_arn: str, since: datetime) -> KnownCallers | Unknown:
        """As far back as the folders reach."""
        found = await asyncio.to_thread(callers, self._folders, key_arn, since)
        if not found.reaches_back:
            return Unknown(f"not known: {', '.join(map(str, self._folders))} holds no audit records")
        if found.unread:
            return Unknown(f"not known: the audit records are damaged: {found.unread[0]}")
        return KnownCallers(_uses(found.rows), found.reaches_back)


class ServersTell:
    """Replicas of the server. `ask`: which, and how; the key and the time are filled in."""

    def __init__(self, ask: AuditAsk, token: str, read: Callable[[AuditAsk, str], AuditAnswer] = read_all) -> None:
        self._ask = ask
        self._token = token
        self._read = read

    async def callers(self, key_arn: str, since: datetime) -> KnownCallers | Unknown:
        """From when each of them has records: one that began later knows nothing of what it answered in an earlier life."""
        answer = await asyncio.to_thread(self._read, replace(self._ask, key=key_arn, since=since), self._token)
        if answer.missing:
            lost = answer.missing[0]
            return Unknown(f"not known: {lost.name} could not be asked: {lost.reason}")
        bad = next((told for told in answer.replicas if told.damaged), None)
        if bad is not None:
            return Unknown(f"not known: the audit records of {bad.replica} ({bad.endpoint}) are damaged")
        if answer.more:
            return Unknown(f"not known: the servers have more than {self._ask.limit:,} records; give --audit-log DIR")
        reach = [told.reaches_back for told in answer.replicas]
        if not all(reach):
            silent = next(told for told in answer.replicas if not told.reaches_back)
            return Unknown(f"not known: {silent.replica} ({silent.endpoint}) has no audit records")
        return KnownCallers(_uses(callers_told(answer.records)), max(reach))


def _uses(rows: Iterable[KeyCaller]) -> tuple[CallerUse, ...]:
    return tuple(CallerUse(row.principal, dict(row.actions.most_common()), row.last, row.denied) for row in rows)


async def callers_by(view: View, namespace: str, trail: Trail) -> Callers:
    """Of a person who has this of the trail. A token is made with the person's own rights."""
    asked = trail.replicas
    if asked is None:
        return AuditFolders(trail.folders) if trail.folders else NoCallers()
    file = asked.token_file
    token = await token_for(view, namespace, asked.service_account) if file is None else read_token(file)
    ask = AuditAsk(
        key="",
        since=None,
        limit=MOST,
        endpoints=asked.endpoints,
        ca_file=asked.ca_file,
        service_account=asked.service_account,
        token_file=file,
    )
    return ServersTell(ask, token)

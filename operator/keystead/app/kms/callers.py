"""Who called with a key, from where it is known. Implements `cli.kms_services.Callers`.

A person who has the audit trail's folders reads them as `keystead audit` does. Another source has the same port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from keystead.audit.reading.summary import callers
from keystead.cli.kms_services import CallerUse, KnownCallers, Unknown

NOT_GIVEN: Final = "not known: give --audit-log DIR"


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
        rows = (CallerUse(row.principal, dict(row.actions.most_common()), row.last, row.denied) for row in found.rows)
        return KnownCallers(tuple(rows), found.reaches_back)

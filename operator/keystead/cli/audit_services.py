"""What `keystead audit` needs from the outside: `app/auditreading.py` implements it. JSON of reports comes as it goes out with -o json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """public_key: PEM, None: signatures are not checked. checkpoints: lines among which copies of checkpoints are."""

    folders: tuple[Path, ...]
    public_key: Path | None = None
    checkpoints: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What is empty is not asked. api_log: the API server's own audit log, whose requests are shown beside ours."""

    folders: tuple[Path, ...]
    keys: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    context: Mapping[str, str] | None = None
    denied: bool = False
    limit: int | None = None
    api_log: Path | None = None


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """found: of each record a row for people and its JSON, as a stream. unread: asked behind its end; a text for each damaged file."""

    found: Iterator[tuple[dict[str, str], bytes]]
    unread: Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRequest:
    """keys: a list of KmsKeys as JSON; ask_cluster: list them there instead. Neither: nothing is said of unused keys."""

    folders: tuple[Path, ...]
    since: datetime | None = None
    until: datetime | None = None
    keys: Path | None = None
    ask_cluster: bool = False


@dataclass(frozen=True, slots=True)
class SummaryAnswer:
    """told: the JSON; svg: the picture of its days; bars: the same for a terminal."""

    told: Mapping[str, Any]
    svg: str
    bars: tuple[str, ...]


class AuditServices(Protocol):
    """Raises KeysteadError and nothing else on purpose."""

    def verify_audit(self, request: VerifyRequest) -> Mapping[str, Any]:
        """The report: verdict, exitCode, chains."""

    def search_audit(self, request: SearchRequest) -> SearchAnswer:
        """Records, in the order of time."""

    def summarise_audit(self, request: SummaryRequest) -> SummaryAnswer:
        """Counts."""

    def audit_public_key(self) -> str:
        """PEM of the key that signs checkpoints, from the cluster."""

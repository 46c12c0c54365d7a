"""What an operator with nothing to do asks of the API server: its requests in a measured stretch, from the audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.operator.harness import SERVICE_ACCOUNT, SYSTEM

USER = f"system:serviceaccount:{SYSTEM}:{SERVICE_ACCOUNT}"
HOUR = 3600.0
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}


def audit_arguments(folder: Path) -> tuple[str, ...]:
    """Options of the API server: an audit log of the operator's requests and of nobody else's."""
    policy = folder / "policy.yaml"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    return (f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}")


@dataclass
class AuditTail:
    """Reads what was appended since it was made."""

    path: Path
    _from: int = 0

    def start(self) -> None:
        """From here on."""
        self._from = self.path.stat().st_size if self.path.exists() else 0

    def requests(self) -> Counter[str]:
        """Requests since the start, by `verb resource`."""
        return Counter(f"{event['verb']} {_resource(event)}" for event in self._events())

    def _events(self) -> Iterator[dict[str, dict[str, str]]]:
        with self.path.open("rb") as log:
            log.seek(self._from)
            for line in log:
                if line.endswith(b"\n"):
                    yield json.loads(line)


def _resource(event: dict[str, dict[str, str]]) -> str:
    about = event.get("objectRef")
    if about is None:
        return "(no resource)"
    sub = f"/{about['subresource']}" if "subresource" in about else ""
    return f"{about['resource']}{sub}"


@dataclass(frozen=True)
class Idle:
    """A measured stretch: its length, the requests in it, and the share of one processor core that the operator used."""

    seconds: float
    requests: Counter[str]
    core: float

    @property
    def an_hour(self) -> float:
        """Requests an hour, if it goes on like this."""
        return sum(self.requests.values()) * HOUR / self.seconds

    def table(self) -> str:
        """Markdown: requests an hour by verb and resource."""
        lines = ["| request | an hour |", "|---|---|"]
        for name, count in self.requests.most_common():
            lines.append(f"| {name} | {count * HOUR / self.seconds:,.0f} |")
        return "\n".join(lines)

"""`kubectl kms audit <key>`: the records about one's own key. What is asked is the route /audit of the server, which asks its other
replicas, as a ServiceAccount that holds the verb `audit` on the key; app/kms/audit.py does it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import click

from keystead.cli.audit import read_moment, show_records
from keystead.cli.kms import place_options
from keystead.cli.kms_services import Place
from keystead.cli.output import Format, dump, say, table_option

ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL")
"""By which AWS's own tools find an endpoint, in this order."""
IN_CLUSTER: Final = "https://keystead-server.keystead-system.svc"
"""The chart's Service in the namespace that the README installs to; asked by whoever runs in a Pod."""
_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAsk:
    """Whose records, from where. service_account: a token is made for it; else token_file has one."""

    key: str
    since: datetime | None
    limit: int
    endpoints: tuple[str, ...]
    ca_file: Path | None
    service_account: str
    token_file: Path | None


@dataclass(frozen=True, slots=True)
class ReplicaTold:
    """One replica that answered. reaches_back: from when it has records, "" where it has none. damaged: some it cannot read."""

    endpoint: str
    replica: str
    reaches_back: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaMissing:
    """One that the endpoint could not ask. replica: its name where it is known; address: where it is."""

    endpoint: str
    replica: str
    address: str
    reason: str

    @property
    def name(self) -> str:
        """As people read it."""
        return " at ".join(filter(None, (self.replica, self.address))) or self.endpoint


@dataclass(frozen=True, slots=True)
class AuditAnswer:
    """records: in the order of time, each once. more: there are more than the limit. missing: replicas whose records are not all there.

    alone: endpoints that know of no other replicas.
    """

    records: Sequence[Mapping[str, Any]]
    replicas: Sequence[ReplicaTold]
    more: bool
    missing: Sequence[ReplicaMissing] = ()
    alone: Sequence[str] = ()


class KmsAuditServices(Protocol):
    """Implemented by app/kms/services.py."""

    def audit(self, place: Place, ask: AuditAsk) -> AuditAnswer: ...


@click.command("audit")
@click.argument("key")
@click.option("--since", metavar="TIME", default="7d", show_default=True, help="From then on: a time, a date, or how long ago.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="Records at most.")
@click.option("--as-serviceaccount", "service_account", metavar="NAME", default="", help="Read as this one: you may make its token.")
@click.option("--token-file", type=_FILE, metavar="FILE", help="Its token with the audience keystead, instead.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    envvar=ENDPOINT_VARIABLES,
    help="https://HOST:PORT of the server; one replica asks all. Default: $AWS_ENDPOINT_URL_KMS; in a Pod, the Service.",
)
@click.option("--ca-file", type=_FILE, metavar="FILE", help="PEM of the authority of its certificate.", envvar="AWS_CA_BUNDLE")
@place_options
@table_option
@click.pass_obj
def audit_command(
    services: KmsAuditServices,
    /,
    *,
    key: str,
    since: str,
    limit: int,
    service_account: str,
    token_file: Path | None,
    endpoints: tuple[str, ...],
    ca_file: Path | None,
    place: Place,
    output: str,
) -> None:
    """Who used KEY, and who was refused: the records that its account has of it. Needs the verb audit on the key.

    KEY is the name of a KmsKey in the ServiceAccount's namespace, a key id or an ARN. The read itself is recorded.
    """
    if bool(service_account) == (token_file is not None):
        raise click.UsageError("say --as-serviceaccount NAME, or --token-file FILE")
    endpoints = endpoints or _found()
    if not endpoints:
        raise click.UsageError(_NO_ENDPOINT)
    ask = AuditAsk(
        key=key,
        since=read_moment("--since", since, datetime.now(UTC)),
        limit=limit,
        endpoints=endpoints,
        ca_file=ca_file,
        service_account=service_account,
        token_file=token_file,
    )
    _show(services.audit(place, ask), limit, output)


def _show(answer: AuditAnswer, limit: int, output: str) -> None:
    """Records to standard output; to standard error, who told them and what may be missing."""
    if output == Format.JSON.value:
        told = [
            {"endpoint": item.endpoint, "replica": item.replica, "from": item.reaches_back, "damaged": item.damaged}
            for item in answer.replicas
        ]
        missing = [{name: getattr(item, name) for name in ("endpoint", "replica", "address", "reason")} for item in answer.missing]
        dump({"records": list(answer.records), "replicas": told, "notAsked": missing}, Format.JSON)
    else:
        show_records(((_row(record), b"") for record in answer.records), output)
    for item in answer.replicas:
        say(f"{item.replica} ({item.endpoint}): records from {item.reaches_back or 'nothing yet'}")
        if item.damaged:
            say(f"warning: {item.replica} ({item.endpoint}): its files are damaged, so records may be missing")
    for lost in answer.missing:
        say(f"not asked: {lost.name}: {lost.reason}; its records are not in this answer, or not all of them")
    if answer.more:
        say(f"hint: there are more than {limit} records; give --limit, or a later --since")
    if answer.alone and len(answer.replicas) == 1:
        say("hint: this server asks no others; where several replicas keep files of their own, give --endpoint for each")


_NO_ENDPOINT: Final = (
    "say --endpoint https://HOST:PORT, or set AWS_ENDPOINT_URL_KMS: what AWS clients of this cluster use, an address of the "
    "Service keystead-server (LoadBalancer, or what passes TLS through to it); in a Pod https://keystead-server.<namespace of Keystead>.svc"
)


def _found() -> tuple[str, ...]:
    """Where the server is, for one who runs beside it."""
    return (IN_CLUSTER,) if "KUBERNETES_SERVICE_HOST" in os.environ else ()


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    who, more = record.get("userIdentity") or {}, record.get("additionalEventData") or {}
    issuer = (who.get("sessionContext") or {}).get("sessionIssuer") or {}
    context = (record.get("requestParameters") or {}).get("encryptionContext") or {}
    return {
        "time": str(record.get("eventTime", "")),
        "action": str(record.get("eventName", "")),
        "principal": str(issuer.get("arn") or who.get("arn") or who.get("invokedBy") or ""),
        "result": str(record.get("errorCode", "ok")),
        "reason": str((more.get("decision") or {}).get("reason", "")),
        "context": ",".join(f"{name}={value}" for name, value in context.items()),
    }

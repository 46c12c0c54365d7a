"""`keystead audit`: whether the trail is whole, what is in it, and the key that it is signed with. Reads files; only `key` and
`summary --ask-cluster` ask a cluster.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from keystead.cli.audit_services import SearchRequest, SummaryRequest, VerifyRequest
from keystead.cli.output import Format, dump, say, show_rows, table_option
from keystead.cli.services import Services
from keystead.engine.clock import read_time
from keystead.errors import InvalidSpecError

_AGO: Final = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_JOINED: Final = 10_000
_INCOMPLETE: Final = 3
_LOOKED_AT: Final = 500
"""Rows that are held back to see how wide their columns are."""
_FOLDERS: Final = click.Path(path_type=Path, exists=True)
_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(no_args_is_help=True)
def audit() -> None:
    """The audit trail: whether it is whole, what is in it, who used which key."""


def read_moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """`2026-11-26`, `2026-11-26T08:00:00Z`, or how long ago: `90d`, `24h`. Without a zone it is UTC. InvalidSpecError."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return read_time(text)
    except (ValueError, OverflowError):
        raise InvalidSpecError(option, f"{text!r}: give a time such as 2026-11-26T08:00:00Z, a date, or how long ago: 7d") from None


def folders_argument(command: Callable[..., None]) -> Callable[..., None]:
    """DIR...; the command gets `folders`."""
    wanted = click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=_FOLDERS, callback=_only_folders)
    return wanted(command)


def _only_folders(_context: click.Context, _parameter: click.Parameter, given: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in given:
        if not path.is_dir():
            raise click.UsageError(f"{path} is a file: give the folder that it is in, for a chain may have several files")
    return given


def span_options(command: Callable[..., None]) -> Callable[..., None]:
    """--since, --until; the command gets moments."""

    @click.option("--since", metavar="TIME", help="From then on: a time, a date, or how long ago (7d, 24h).")
    @click.option("--until", metavar="TIME", help="Before then.")
    @wraps(command)
    def with_span(*arguments: Services, since: str | None, until: str | None, **options: object) -> None:
        now = datetime.now(UTC)
        command(
            *arguments, since=read_moment("--since", since, now), until=read_moment("--until", until, now), **options
        )

    return with_span


@audit.command()
@folders_argument
@click.option("--public-key", type=_FILE, metavar="FILE", help="PEM of the signing key (`keystead audit key`), or of several.")
@click.option("--checkpoints", type=_FILE, metavar="FILE", help="Copies of checkpoints kept elsewhere, such as collected stdout.")
@table_option
@click.pass_obj
def verify(services: Services, /, *, folders: tuple[Path, ...], public_key: Path | None, checkpoints: Path | None, output: str) -> None:
    """Whether a record was removed, changed, moved, doubled or put in; in every chain of these folders.

    Exit code 0: whole and signed. 1: tampered. 3: nothing speaks against it, but signatures do not vouch for all of it (none was
    checked, or a tail is unsigned), or the trail itself tells of a gap.
    """
    report = services.verify_audit(VerifyRequest(folders=folders, public_key=public_key, checkpoints=checkpoints))
    if output == Format.JSON.value:
        dump(report, Format.JSON)
    else:
        show_rows([_chain_row(chain) for chain in report["chains"]], Format.TABLE)
        for line in _evidence(report["chains"]):
            click.echo(line)
    for note in report["notes"]:
        say(f"warning: {note}")
    say(f"verdict: {report['verdict']}")
    click.get_current_context().exit(report["exitCode"])


def _chain_row(chain: Mapping[str, Any]) -> dict[str, str]:
    last = chain["lastCheckpoint"]
    return {
        "chain": chain["chain"],
        "verdict": chain["verdict"],
        "records": str(chain["records"]),
        "from": chain["firstTime"],
        "to": chain["lastTime"],
        "last": str(chain["lastSeq"]),
        "signed to": str(chain["signedTo"]) if chain["signedTo"] >= 0 else "nothing",
        "checkpoint": f"{last['seq']} at {last['time']}" if last else "none",
        "end": "yes" if chain["ended"] else "open",
    }


def _evidence(chains: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for chain in chains:
        for finding in chain["findings"]:
            where = f" ({finding['file']}:{finding['line']})" if finding["file"] else ""
            yield f"tampered: {chain['chain']}: {finding['text']}{where}"
        if chain["moreFindings"]:
            yield f"tampered: {chain['chain']}: and {chain['moreFindings']} more"
        for taken in chain["takenByRetention"]:
            yield f"retention: {chain['chain']}: took records {taken['firstSeq']} to {taken['lastSeq']}"
        for kind in ("unsigned", "gaps", "stops"):
            for text in chain[kind]:
                yield f"{kind}: {chain['chain']}: {text}"


@audit.command()
@folders_argument
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Key id, ARN, or alias/NAME as it was sent; again for others.")
@click.option("--principal", "principals", multiple=True, metavar="WHO", help="ARN, NAME or NAMESPACE/NAME of who called.")
@click.option("--action", "actions", multiple=True, metavar="NAME", help="Decrypt, CreateGrant, RotateKey, ...")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Of who called.")
@click.option("--context", "contexts", multiple=True, metavar="KEY=VALUE", help="A pair of the encryption context; again for each.")
@click.option("--denied", is_flag=True, help="Only what policy, grants or RBAC refused.")
@span_options
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N.")
@click.option("--api-server-log", "api_log", type=_FILE, metavar="FILE", help="Show the API server's requests with the same id.")
@table_option
@click.pass_obj
def search(
    services: Services,
    /,
    *,
    folders: tuple[Path, ...],
    keys: tuple[str, ...],
    principals: tuple[str, ...],
    actions: tuple[str, ...],
    namespaces: tuple[str, ...],
    contexts: tuple[str, ...],
    denied: bool,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    api_log: Path | None,
    output: str,
) -> None:
    """Records, in the order of time; -o json: one a line, as they stand in the trail. `*` stands for anything.

    Exit code 3: a file is damaged, or there is none, so records may be missing.
    """
    for text in contexts:
        if "=" not in text:
            raise click.UsageError(f"--context: {text} is not KEY=VALUE")
    request = SearchRequest(
        folders=folders,
        keys=keys,
        principals=principals,
        actions=actions,
        namespaces=namespaces,
        since=since,
        until=until,
        context=dict(text.split("=", 1) for text in contexts),
        denied=denied,
        limit=limit if api_log is None else limit or _MOST_JOINED,
        api_log=api_log,
    )
    answer = services.search_audit(request)
    show_records(answer.found, output)
    _tell_unread(answer.unread())


def _tell_unread(unread: Sequence[str]) -> None:
    """An answer that lacks what could not be read ends with its own exit code."""
    for text in unread:
        say(f"warning: {text}")
    if unread:
        say("incomplete: records may be missing; hint: keystead audit verify")
        click.get_current_context().exit(_INCOMPLETE)


def show_records(found: Iterable[tuple[dict[str, str], bytes]], output: str) -> None:
    """As they come: there may be more than fit into memory."""
    lines = (data.decode("utf-8", "replace") for _, data in found) if output == Format.JSON.value else _table(row for row, _ in found)
    found_any = False
    for line in lines:
        found_any = True
        click.echo(line)
    if not found_any:
        say("no record matches")


def _table(rows: Iterator[Mapping[str, str]]) -> Iterator[str]:
    """A head, and a line for each. What is wider than all of the first rows widens its column from there on."""
    held = list(itertools.islice(rows, _LOOKED_AT))
    widths: dict[str, int] = {}
    head = [{name: name.upper() for name in row} for row in held[:1]]
    for row in (*head, *held):
        _widen(widths, row)
    for row in itertools.chain(head, held, rows):
        _widen(widths, row)
        yield "  ".join(_plain(value).ljust(widths[name]) for name, value in row.items()).rstrip()


def _widen(widths: dict[str, int], row: Mapping[str, str]) -> None:
    for name, value in row.items():
        widths[name] = max(widths.get(name, 0), len(value))


@audit.command()
@folders_argument
@span_options
@click.option("--keys", type=_FILE, metavar="FILE", help="`kubectl get kmskeys -A -o json`: tells which were never used.")
@click.option("--ask-cluster", is_flag=True, help="List the keys by the kubeconfig instead.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write calls per day as SVG.")
@table_option
@click.pass_obj
def summary(
    services: Services,
    /,
    *,
    folders: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    keys: Path | None,
    ask_cluster: bool,
    plot: Path | None,
    output: str,
) -> None:
    """Who used which key how often, what was denied and why, which keys nobody used, calls a day.

    Exit code 3: a file is damaged, or there is none, so records may be missing.
    """
    request = SummaryRequest(folders=folders, since=since, until=until, keys=keys, ask_cluster=ask_cluster)
    answer = services.summarise_audit(request)
    if plot is not None:
        try:
            plot.write_text(answer.svg, encoding="utf-8")
        except OSError as error:
            raise InvalidSpecError("--plot", f"{plot}: {error.strerror}") from None
    told = answer.told
    if output == Format.JSON.value:
        dump(told, Format.JSON)
        _tell_unread(told["unread"])
        return
    for title, member in (("Used", "uses"), ("Denied", "denied"), ("Failed otherwise", "failed"), ("Never used", "neverUsed")):
        if member in told:
            click.echo(f"\n{title}" if title != "Used" else title)
            _show(told[member])
    click.echo("\nCalls per day")
    for line in answer.bars or ("none",):
        click.echo(line)
    say(f"records reach back to {told['recordsReachBackTo'] or 'nothing: there are none'}")
    _tell_unread(told["unread"])


def _show(rows: Iterable[Mapping[str, Any]]) -> None:
    shown = [{name: _plain(str(value)) for name, value in row.items()} for row in rows]
    if shown:
        show_rows(shown, Format.TABLE)
    else:
        click.echo("none")


def _plain(text: str) -> str:
    """Texts of records come from callers: nothing in them may move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@audit.command("key")
@click.pass_obj
def public_key(services: Services, /) -> None:
    """The public key of the checkpoints' signatures, PEM, from KmsKey audit-signing. Keep it where the trail's writer cannot change it."""
    click.echo(services.audit_public_key(), nl=False)

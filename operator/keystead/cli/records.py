"""`keystead records`: what the sealed records say, and what to ask of the operator about them.

It never writes a record. adopt, hold and rotate write an annotation on a KmsKey, schedule-deletion its spec.scheduledDeletion, with the
caller's own rights; where a record has no object, they write that (rotate does not).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Final

import click

from keystead.cli.hsm import token_options
from keystead.cli.output import Format, output_option, say, show_facts, show_rows
from keystead.cli.services import AdoptRequest, KeyTarget, RecordKinds, Services, TokenChoice

# What fits a terminal of 120 columns; -o json has every member.
_COLUMNS: Final = ("kind", "namespace", "name", "keyId", "account", "state", "object")
_ADVICE: Final = {
    "earlier": "earlier: of a namespace that was deleted since; nobody may use it until: keystead records adopt NAMESPACE [NAME]",
    "none": "none: no object; apply its manifest again, or: keystead records adopt NAMESPACE NAME",
    "aside": "aside: its name belongs to another key now; keystead records show --key-id ID",
}
_REFUSED: Final = 4
_LEFT: Final = 1


@click.group(no_args_is_help=True)
def records() -> None:
    """The sealed records, those without an object included, and what to ask of the operator about them."""


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """NAMESPACE NAME, or --key-id; the command gets a KeyTarget as `target`."""

    @click.argument("namespace", required=False)
    @click.argument("name", required=False)
    @click.option("--key-id", metavar="ID", help="The key's id or ARN, instead of NAMESPACE NAME.")
    @wraps(command)
    def with_target(
        *arguments: Services, namespace: str | None, name: str | None, key_id: str | None, **options: object
    ) -> None:
        if (namespace is None or name is None) if key_id is None else (namespace is not None):
            raise click.UsageError("say which key: NAMESPACE NAME, or --key-id ID")
        command(*arguments, target=KeyTarget(namespace or "", name or "", key_id or ""), **options)

    return with_target


wait_option = click.option("--wait", is_flag=True, help="Until the operator has answered, a minute at most.")


@records.command("list")
@click.option(
    "--kind",
    type=click.Choice([item.value for item in RecordKinds]),
    default="key",
    show_default=True,
    help="Which records.",
)
@token_options
@output_option
@click.pass_obj
def list_records(services: Services, /, *, kind: str, output: Format, token: TokenChoice) -> None:
    """Every record: verified, with the object that holds it or none. Exit code 4 where a record was refused.

    OBJECT is yes; none; earlier (of an earlier namespace of that name); anew (such an alias, whose name is claimed anew); or aside (its
    name belongs to another key).
    """
    rows, refused = services.list_records(token, RecordKinds(kind))
    shown = [{column: row[column] for column in _COLUMNS} for row in rows] if output is Format.TABLE else rows
    show_rows(shown, output)
    unheld = Counter(row["object"] for row in rows if row["state"] != "Destroyed")
    for holder, advice in _ADVICE.items():
        if unheld[holder]:
            say(f"hint: {unheld[holder]} {advice}")
    for line in refused:
        say(f"refused: {line}")
    if refused:
        click.get_current_context().exit(_REFUSED)


@records.command()
@key_options
@token_options
@output_option
@click.pass_obj
def show(services: Services, /, *, target: KeyTarget, output: Format, token: TokenChoice) -> None:
    """One key record, without its wrapped material."""
    show_facts(services.show_record(token, target), output)


@records.command()
@click.argument("namespace", required=False)
@click.argument("name", required=False)
@click.option("--key-id", metavar="ID", help="One key by its id or ARN, instead of NAMESPACE NAME.")
@click.option(
    "--all", "everything", is_flag=True, help="Every record of an earlier namespace: after a rebuild of the cluster."
)
@click.option(
    "--kind",
    type=click.Choice([item.value for item in RecordKinds if item is not RecordKinds.ALL]),
    default="key",
    show_default=True,
    help="Of NAME.",
)
@click.option(
    "--as-new", is_flag=True, help="Let the new object have the name with a new key; the old record is set aside."
)
@click.option("--dry-run", is_flag=True, help="Let the API server judge every write, and store none.")
@token_options
@output_option
@click.pass_obj
def adopt(
    services: Services,
    /,
    *,
    namespace: str | None,
    name: str | None,
    key_id: str | None,
    everything: bool,
    kind: str,
    as_new: bool,
    dry_run: bool,
    output: Format,
    token: TokenChoice,
) -> None:
    """Let objects take over the records of an earlier namespace of their name. Needs the verb adopt on all kmskeys.

    NAMESPACE NAME is one record, NAMESPACE alone all of that namespace, of every kind. Where there is no object, it is
    written from its record. May be run again. Whoever owns the namespace now can then use what was encrypted before.
    """
    if sum((namespace is not None, key_id is not None, everything)) != 1:
        raise click.UsageError("say what to adopt: NAMESPACE [NAME], --key-id ID, or --all")
    if as_new and kind == RecordKinds.DATAKEY.value:
        raise click.UsageError(
            "a data key as new would strand what the old one encrypted: adopt it without --as-new, or choose another name"
        )
    request = AdoptRequest(
        namespace=namespace or "",
        name=name,
        key_id=key_id or "",
        kind=RecordKinds(kind),
        everything=everything,
        as_new=as_new,
        dry_run=dry_run,
    )
    rows = services.adopt_records(token, request, say)
    show_rows(rows, output)
    counts = Counter(row["action"] for row in rows)
    told = ", ".join(f"{count} {action}" for action, count in sorted(counts.items())) or "there is nothing to adopt"
    say(f"{'dry run: ' if dry_run else ''}{told}")
    if counts["left"] or counts["failed"]:
        say("hint: the last column says why; what was done stays, and the command may be run again")
        click.get_current_context().exit(_LEFT)


@records.command()
@key_options
@click.option("--reason", metavar="TEXT", help="Who holds the key and why; it stands in the sealed record.")
@click.option("--release", is_flag=True, help="Lift the hold.")
@wait_option
@token_options
@output_option
@click.pass_obj
def hold(
    services: Services,
    /,
    *,
    target: KeyTarget,
    reason: str | None,
    release: bool,
    wait: bool,
    output: Format,
    token: TokenChoice,
) -> None:
    """Stop every use of a key at once, whatever its spec says, until the hold is released. Needs the verb hold on it.

    Removing the annotation or the object does not lift it. A key without an object gets one in the same write.
    """
    if release == (reason is not None):
        raise click.UsageError("say --reason TEXT, or --release")
    show_facts(services.hold_key(token, target, reason, wait), output)


@records.command()
@key_options
@wait_option
@token_options
@output_option
@click.pass_obj
def rotate(services: Services, /, *, target: KeyTarget, wait: bool, output: Format, token: TokenChoice) -> None:
    """Ask for one rotation on demand. Needs the verb rotatekeyondemand on the key, which must have its object.

    A request that cannot be answered (the key is disabled or held) stays on the object until it can, or the annotation is removed.
    """
    show_facts(services.rotate_key(token, target, wait), output)


@records.command("schedule-deletion")
@key_options
@click.option("--days", type=click.IntRange(7, 30), metavar="N", help="Days until the material is destroyed, 7 to 30.")
@click.option(
    "--cancel", is_flag=True, help="Cancel: the key is Disabled, or Enabled where its spec says enabled: true."
)
@wait_option
@token_options
@output_option
@click.pass_obj
def schedule_deletion(
    services: Services,
    /,
    *,
    target: KeyTarget,
    days: int | None,
    cancel: bool,
    wait: bool,
    output: Format,
    token: TokenChoice,
) -> None:
    """Stop the use of a key now, and destroy its material at the end of a waiting window. Needs the verb schedulekeydeletion.

    A key without an object gets one in the same write. A window that runs already keeps its end.
    """
    if cancel == (days is not None):
        raise click.UsageError("say --days N, or --cancel")
    show_facts(services.schedule_deletion(token, target, days, wait), output)

"""How commands speak: data to stdout (table, JSON, YAML), talk and errors to stderr, exit codes by class (STYLE 25)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import click
import yaml
from rich.console import Console
from rich.table import Table

from keystead.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    FormatError,
    HsmAuthError,
    HsmDataError,
    HsmError,
    HsmSetupError,
    HsmUnavailableError,
    HsmUnsupportedError,
    InvalidSpecError,
    KeysteadError,
    KmsError,
    NotFoundError,
    RecordIntegrityError,
    RefusedError,
    StoreError,
    StoreUnavailableError,
)


class Format(StrEnum):
    """`-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


# Exit code and hint by class; the nearest base class counts. 0 and 2 are click's: done, and wrong usage.
ERRORS: Final[Mapping[type[KeysteadError], tuple[int, str]]] = {
    KeysteadError: (1, "the message says what happened; nothing was changed beyond it"),
    InvalidSpecError: (2, "correct that setting or option"),
    FormatError: (3, "the file is damaged or not of this kind; take another copy"),
    RecordIntegrityError: (4, "do not write to this record; find out who changed it"),
    HsmError: (5, "run `keystead hsm check`"),
    HsmUnavailableError: (6, "the token is away; try again, then look at its module and folder"),
    HsmAuthError: (7, "put the right PIN into the PIN file"),
    HsmSetupError: (8, "the token is not the one that is needed; see docs/hsm.md"),
    HsmDataError: (9, "the token refused this input"),
    HsmUnsupportedError: (10, "choose a key spec that `keystead hsm check` shows as held by the token"),
    StoreError: (11, "look at the API server"),
    NotFoundError: (12, "check name and namespace"),
    ConflictError: (13, "somebody else wrote first; look at what is there, then try again"),
    ForbiddenError: (14, "ask an administrator for that right"),
    RefusedError: (15, "correct what the API server complains of"),
    StoreUnavailableError: (16, "the API server is away; try again"),
    FencedError: (17, "another operator leads now"),
    KmsError: (18, "see the AWS KMS page of this exception"),
}


# What to do about an answer of the KMS API, where a person can do something. By AWS's exception name.
KMS_HINTS: Final[Mapping[str, str]] = {
    "AccessDeniedException": "give the ServiceAccount that verb on kmskeys/NAME, as examples/40-access.yaml does, "
    "and look at the account in --as",
    "InvalidCiphertextException": "the blob is damaged, or --encryption-context is not the one of its encryption "
    "(meta.json in the Secret has it)",
    "NotFoundException": "--key-id wants status.keyId or status.keyArn of the KmsKey, not its name",
}


def explain(error: KeysteadError) -> tuple[str, str, int]:
    """(message, hint, exit code) of an error: one line each, lower case."""
    code, usual = next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)
    if isinstance(error, InvalidSpecError) and error.field:
        usual = f"correct {error.field}"
    message, _, hint = str(error).partition("; hint: ")
    if isinstance(error, KmsError):
        said = " ".join(message.split())
        hint = hint or KMS_HINTS.get(error.code, usual)
        return f"{error.code}: {said}" if said else error.code, _one_line(hint), code
    return _one_line(message), _one_line(hint or usual), code


def say_error(message: str, hint: str) -> None:
    """To stderr."""
    click.echo(f"error: {message}", err=True)
    click.echo(f"hint: {hint}", err=True)


def say(line: str) -> None:
    """Talk, to stderr."""
    click.echo(line, err=True)


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """`-o`: how data is written to stdout."""
    option = click.option(
        "-o",
        "--output",
        type=click.Choice([item.value for item in Format]),
        default=Format.TABLE.value,
        callback=lambda _context, _parameter, value: Format(value),
        show_default=True,
        help="How to write the result.",
    )
    return option(command)


def table_option(command: Callable[..., None]) -> Callable[..., None]:
    """`-o` of a command that has no YAML."""
    choice = click.Choice([Format.TABLE.value, Format.JSON.value])
    option = click.option(
        "-o", "--output", type=choice, default=Format.TABLE.value, show_default=True, help="How to write the result."
    )
    return option(command)


def show_rows(rows: Sequence[Mapping[str, str]], output: Format) -> None:
    """A list of rows that have the same members."""
    if output is not Format.TABLE:
        dump([dict(row) for row in rows], output)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, member in enumerate(rows[0] if rows else ()):
        table.add_column(member.upper(), overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row.values())
    _print(table)


def show_facts(facts: Mapping[str, str | int], output: Format) -> None:
    """One thing's members."""
    if output is not Format.TABLE:
        dump(dict(facts), output)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for member, value in facts.items():
        table.add_row(member, str(value))
    _print(table)


def _print(table: Table) -> None:
    """Fitted to a terminal; what a pipe reads is never cut to a width and ends in no spaces."""
    terminal = sys.stdout.isatty()
    console = Console(markup=False, highlight=False, width=None if terminal else 10_000)
    if terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def dump(value: object, output: Format) -> None:
    """Any JSON, as JSON or YAML."""
    if output is Format.JSON:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    first, blank, _ = line.partition(" ")
    lower = bool(blank) and first == first.capitalize()  # not a name, such as KmsKey
    return line[:1].lower() + line[1:] if lower else line

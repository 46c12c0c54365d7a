"""`keystead records`: what the sealed records say. It reads; changes go through KmsKey objects (RECORDS, CLI)."""

from __future__ import annotations

import click

from keystead.cli.hsm import token_options
from keystead.cli.output import Format, output_option, say, show_facts, show_rows
from keystead.cli.services import Services, TokenChoice


@click.group(no_args_is_help=True)
def records() -> None:
    """The sealed key records, those without an object included."""


@records.command("list")
@token_options
@output_option
@click.pass_obj
def list_records(services: Services, /, *, output: Format, token: TokenChoice) -> None:
    """Every key record: verified, with the object that holds it or none. Exit code 4 where a record was refused."""
    rows, refused = services.list_records(token)
    show_rows(rows, output)
    for line in refused:
        say(f"refused: {line}")
    if refused:
        click.get_current_context().exit(4)


@records.command()
@click.argument("namespace")
@click.argument("name")
@token_options
@output_option
@click.pass_obj
def show(services: Services, /, *, namespace: str, name: str, output: Format, token: TokenChoice) -> None:
    """One key record, without its wrapped material."""
    show_facts(services.show_record(token, namespace, name), output)

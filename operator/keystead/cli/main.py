"""The command `keystead`: groups are registered here, and errors become one line, a hint and an exit code.

Called by `keystead.__main__` with the services that `app` made. A new group: import it and add it to GROUPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

import keystead
from keystead.cli.audit import audit
from keystead.cli.crypt import crypt
from keystead.cli.dev import dev
from keystead.cli.hsm import hsm
from keystead.cli.operator import operator
from keystead.cli.output import explain, say_error
from keystead.cli.records import records
from keystead.cli.release import release_finalizers
from keystead.cli.server import server
from keystead.cli.services import Services
from keystead.errors import KeysteadError

GROUPS: Final[tuple[click.Command, ...]] = (hsm, operator, server, dev, crypt, records, audit, release_finalizers)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(keystead.__version__, prog_name="keystead")
def cli() -> None:
    """Keystead: a self-hosted key management service for Kubernetes."""


for group in GROUPS:
    cli.add_command(group)


def run(arguments: Sequence[str], services: Services) -> int:
    """Run a command line; the exit code."""
    try:
        answer = cli.main(list(arguments), prog_name="keystead", standalone_mode=False, obj=services)
    except KeysteadError as error:
        message, hint, code = explain(error)
        say_error(message, hint)
        return code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "keystead"
        message = error.format_message().rstrip(".")
        say_error(message[:1].lower() + message[1:], f"{where} --help")
        return 2
    except click.exceptions.Abort:
        return 130
    return answer if isinstance(answer, int) else 0

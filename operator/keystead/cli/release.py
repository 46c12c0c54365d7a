"""`keystead release-finalizers`: the chart's pre-delete hook, and its stand-in by hand where no Pod can run.

Hidden, and no part of `records`: it needs no token, writes no annotation, and nobody wants it but for an uninstall.
"""

from __future__ import annotations

import click

from keystead.cli.output import say
from keystead.cli.services import Services


@click.command("release-finalizers", hidden=True)
@click.pass_obj
def release_finalizers(services: Services) -> None:
    """Before an uninstall: take the Lease from the operator, and our finalizer from every KmsKey. May be run again."""
    looked, released = services.release_finalizers()
    say(f"released: {released} of {looked} keys had the finalizer kms.keystead.io/in-use")

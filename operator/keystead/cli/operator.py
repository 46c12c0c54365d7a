"""`keystead operator`."""

from __future__ import annotations

import click

from keystead.cli.services import Services


@click.command()
@click.pass_obj
def operator(services: Services) -> int:
    """Run the operator: reconcile KmsKey and KmsDataKey objects until SIGTERM. Settings: KEYSTEAD_* variables."""
    return services.run_operator()

"""`keystead server`."""

from __future__ import annotations

import click

from keystead.cli.services import Services


@click.command()
@click.pass_obj
def server(services: Services) -> int:
    """Serve the AWS KMS and STS protocols in a cluster until SIGTERM. Settings: KEYSTEAD_* variables."""
    return services.run_server()

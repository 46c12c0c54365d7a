"""`keystead hsm`: the ceremony, the probe, the trial of a backup, and the init container's unpacking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Final

import click

from keystead.cli.output import Format, output_option, say, show_facts, show_rows
from keystead.cli.services import InitRequest, NewInstall, Services, TokenChoice
from keystead.errors import HsmSetupError, InvalidSpecError

_FILE: Final = click.Path(path_type=Path)
_HEX: Final = frozenset("0123456789abcdef")


def token_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which token: the command gets a TokenChoice as `token`. Without any option the KEYSTEAD_HSM_* settings say it."""

    @click.option("--softhsm-dir", type=_FILE, help="SoftHSM token folder, as `hsm init --softhsm-dir` makes it.")
    @click.option("--module", type=_FILE, help="PKCS#11 module file.")
    @click.option("--token-label", help="Label of the token.")
    @click.option("--pin-file", type=_FILE, help="File with the user PIN and nothing else.")
    @wraps(command)
    def with_choice(
        *arguments: Services,
        softhsm_dir: Path | None,
        module: Path | None,
        token_label: str | None,
        pin_file: Path | None,
        **options: object,
    ) -> None:
        choice = TokenChoice(softhsm_dir=softhsm_dir, module=module, token_label=token_label, pin_file=pin_file)
        command(*arguments, token=choice, **options)

    return with_choice


@click.group(no_args_is_help=True)
def hsm() -> None:
    """The token: make its domain, check what it does, try its backup."""


@hsm.command()
@token_options
@click.option("--recovery-recipient", type=_FILE, help="PEM certificate (RSA); the recovery key leaves only encrypted.")
@click.option(
    "--recovery-out", type=_FILE, help="New file for the recovery key.  [default: recovery-key-<g>.txt or .cms]"
)
@click.option("--backup-out", type=_FILE, help="New file for the sealed backup.  [default: domain-backup-<g>.ksdb]")
@click.option("--from-backup", type=_FILE, help="Restore this backup instead of making a new domain.")
@click.option("--recovery-key", type=_FILE, help="File with the recovery key of --from-backup.")
@click.option("--to-cluster", is_flag=True, help="Also put everything into the cluster, as the chart's Job does.")
@click.option("--accept-risk", is_flag=True, help="With --to-cluster: the recovery key too, although unencrypted.")
@output_option
@click.pass_obj
def init(
    services: Services,
    /,
    *,
    recovery_recipient: Path | None,
    recovery_out: Path | None,
    backup_out: Path | None,
    from_backup: Path | None,
    recovery_key: Path | None,
    to_cluster: bool,
    accept_risk: bool,
    output: Format,
    token: TokenChoice,
) -> None:
    """Make a domain in an empty token, with its backup and recovery key, or restore one from them.

    With --softhsm-dir a new SoftHSM token is made in that folder, with a random PIN; otherwise the token must be there,
    initialised and empty. The recovery key is given out once: keep it apart from the backup and from the cluster.
    """
    if (from_backup is None) != (recovery_key is None):
        raise click.UsageError("--from-backup and --recovery-key go together")
    if from_backup and (recovery_recipient or recovery_out or backup_out):
        raise click.UsageError(
            "a restored domain has its backup and recovery key already: no --backup-out, --recovery-*"
        )
    if to_cluster and not (recovery_recipient or recovery_out or from_backup or accept_risk):
        raise click.UsageError(
            "with --to-cluster say who keeps the recovery key: --recovery-recipient, or --recovery-out"
        )
    request = InitRequest(
        token=token,
        recovery_recipient=recovery_recipient,
        recovery_file=recovery_out,
        backup_file=backup_out,
        from_backup=from_backup,
        recovery_key=recovery_key,
    )
    if to_cluster:
        services.reach_cluster()  # before anything is made that would then have nowhere to go
    with services.init_hsm(request) as install:
        if to_cluster:
            services.publish_install(install if accept_risk else _without_recovery_text(install))
    _report(install)
    show_facts(
        {
            "generation": install.generation,
            "fingerprint": install.fingerprint,
            "installId": install.install_id.hex(),
            **{name: str(path) for name, path in install.wrote.items()},
        },
        output,
    )


def _without_recovery_text(install: NewInstall) -> NewInstall:
    return replace(install, recovery_text=None)


def _report(install: NewInstall) -> None:
    if install.restored:
        say("restored: every key, data key and signature of this domain opens with this token")
        return
    say("made: the backup was read back and the domain restored from it before it was put into the token")
    if install.recovery_cms is None:
        say(f"keep {install.wrote['recoveryKey']} apart from backup and cluster: together they are the domain")


@hsm.command()
@token_options
@click.option(
    "--expect-fingerprint",
    envvar="KEYSTEAD_HSM_EXPECT_FINGERPRINT",
    help="64 hex digits; another domain is an error.",
)
@output_option
@click.pass_obj
def check(services: Services, /, *, expect_fingerprint: str | None, output: Format, token: TokenChoice) -> None:
    """Try what the token really does, and verify every result in software.

    Nothing is changed or left in the token; it may be read-only. `degraded`: usable, but a protection is missing.
    """
    if expect_fingerprint is not None and not (len(expect_fingerprint) == 64 and _HEX.issuperset(expect_fingerprint)):
        raise InvalidSpecError("--expect-fingerprint", "must be 64 lower-case hex digits")
    rows = []
    for row in services.check_hsm(token, expect_fingerprint):
        rows.append({"check": row.name, "verdict": row.verdict, "detail": row.detail, "proves": row.proves})
        if output is Format.TABLE:
            say(f"{row.verdict:8} {row.name}")
    show_rows(rows, output)
    counts = Counter(row["verdict"] for row in rows)
    say(", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
    if counts["failed"]:
        names = ", ".join(row["check"] for row in rows if row["verdict"] == "failed")
        raise HsmSetupError(f"{counts['failed']} checks failed: {names}; hint: do not use this token")


@hsm.command("verify-backup")
@click.argument("backup", type=_FILE)
@click.option("--recovery-key", type=_FILE, required=True, help="File with the recovery key.")
@token_options
@output_option
@click.pass_obj
def verify_backup(
    services: Services, /, *, backup: Path, recovery_key: Path, output: Format, token: TokenChoice
) -> None:
    """Try whether a domain backup and its recovery key bring the domain back.

    The domain is unwrapped as session objects and its fingerprint computed; no token is changed. Without token
    options a throw-away SoftHSM token is used.
    """
    choice = None if token == TokenChoice() else token
    facts = services.verify_backup(choice, backup, recovery_key)
    show_facts(
        {"generation": facts.generation, "fingerprint": facts.fingerprint, "installId": facts.install_id}, output
    )
    say("good: backup and recovery key bring this domain back")


@hsm.command("unpack-token")
@click.argument("source", type=_FILE)
@click.argument("folder", type=_FILE)
@click.pass_obj
def unpack_token(services: Services, /, source: Path, folder: Path) -> None:
    """Unpack the token of a mounted Secret into real folders (init container)."""
    count = services.unpack_token(source, folder)
    say(f"{count} files of the token are in {folder}")

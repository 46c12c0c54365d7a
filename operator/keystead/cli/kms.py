"""`kubectl kms`: why somebody may use a key, who may, and what hangs on it. kubectl finds it on the PATH as `kubectl-kms`.

Reads with the rights of the person who runs it. Data goes to stdout, talk and errors to stderr. Exit codes: 0 done, or allowed; 1 denied;
2 no answer (an error, or what decides was not said or may not be read).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Final

import click

import keystead
from keystead.cli.kms_services import ImpactAnswer, KmsServices, Place, Question, Replicas, Subject, Trail, Verdict
from keystead.cli.kms_show import show_impact, show_who_can, show_why
from keystead.cli.output import Format, explain, output_option, say, say_error, show_facts
from keystead.errors import KeysteadError
from keystead.policy.request import FEEDS
from keystead.policy.supposed import NONE, action_named

NAME: Final = "kubectl kms"
EXIT: Final = {Verdict.ALLOWED: 0, Verdict.DENIED: 1, Verdict.UNDECIDED: 2}
_NO_ANSWER: Final = 2


@click.group(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(keystead.__version__, prog_name=NAME)
def kms() -> None:
    """Why somebody may use a key, who may, and what hangs on it; with your own rights, and nobody else's."""


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """-n, --context, --kubeconfig as kubectl has them; the command gets a Place as `place`."""

    @click.option("-n", "--namespace", metavar="NAME", default="", help="Of the key and the ServiceAccount. Default: the context's.")
    @click.option("--context", metavar="NAME", default="", help="Context of the kubeconfig. Default: the current one.")
    @click.option("--kubeconfig", metavar="FILE", type=click.Path(path_type=Path), help="Default: $KUBECONFIG, else ~/.kube/config.")
    @wraps(command)
    def with_place(*arguments: KmsServices, namespace: str, context: str, kubeconfig: Path | None, **options: object) -> None:
        command(*arguments, place=Place(namespace=namespace, context=context, kubeconfig=kubeconfig), **options)

    return with_place


def fact_options(command: Callable[..., None]) -> Callable[..., None]:
    """What is said of the request; the command gets condition keys with their values as `facts`."""

    @click.option("--encryption-context", "contexts", metavar="KEY=VALUE", multiple=True, help="A pair of the request's; or none.")
    @click.option("--via-service", metavar="NAME", help="Service that asks for the caller; or none.")
    @click.option("--source-ip", metavar="ADDRESS", help="Address of the caller; or none.")
    @click.option("--secure/--insecure", default=None, help="Over TLS, or not.")
    @click.option("--algorithm", metavar="NAME", help="Of the request: for encryption, signing, MACs or key agreement.")
    @click.option("--fact", "others", metavar="KEY=VALUE", multiple=True, help="Any other condition key, such as kms:MessageType=DIGEST.")
    @wraps(command)
    def with_facts(
        *arguments: KmsServices,
        action: str,
        contexts: Sequence[str],
        via_service: str | None,
        source_ip: str | None,
        secure: bool | None,
        algorithm: str | None,
        others: Sequence[str],
        **options: object,
    ) -> None:
        facts: dict[str, tuple[str, ...]] = {}
        for name, value in _pairs(others, "--fact"):
            facts[name] = (*facts.get(name, ()), value)
        facts |= _context(contexts)
        plain = {"kms:ViaService": via_service, "aws:SourceIp": source_ip, _algorithm(action): algorithm}
        if secure is not None:
            plain["aws:SecureTransport"] = str(secure).lower()
        facts |= {name: (value,) for name, value in plain.items() if value is not None}
        command(*arguments, action=action, facts=facts, **options)

    return with_facts


def _context(contexts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    if tuple(contexts) == (NONE,):
        return {"kms:EncryptionContext": (NONE,)}
    return {f"kms:EncryptionContext:{name}": (value,) for name, value in _pairs(contexts, "--encryption-context")}


def _pairs(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"{option}: {text} is not KEY=VALUE")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def _algorithm(action: str) -> str:
    """The condition key of an action's algorithm; where it has none, one that its facts refuse by name."""
    found = [name for name in FEEDS.get(action_named(action), {}) if name.endswith("Algorithm")]
    return found[0] if found else "kms:EncryptionAlgorithm"


@kms.command()
@click.argument("action")
@click.argument("key", required=False, default="")
@click.option("--as", "name", metavar="NAME", help="A ServiceAccount: NAME, NAMESPACE:NAME; a person: user:NAME. Default: yourself.")
@click.option("--as-group", "groups", metavar="GROUP", multiple=True, help="Group of a person, again for each; with --as.")
@click.option("--install-account", metavar="ID", help="Account of people, where you may not read keystead-records.")
@fact_options
@place_options
@output_option
@click.pass_obj
def why(
    services: KmsServices,
    /,
    *,
    action: str,
    key: str,
    name: str | None,
    groups: tuple[str, ...],
    install_account: str | None,
    facts: dict[str, tuple[str, ...]],
    place: Place,
    output: Format,
) -> None:
    """Which statement, grant or RBAC rule decides whether somebody may do ACTION with KEY, and what would change it.

    ACTION is decrypt, generate-data-key, kms:CreateGrant, and so on. KEY is the name of a KmsKey, alias/NAME, a key id or an ARN. Exit code
    0: allowed, 1: denied, 2: no answer.
    """
    if groups and name is None:
        raise click.UsageError("--as-group goes with --as")
    subject = Subject(name=name, groups=groups, install_account=install_account)
    answer = services.why(place, subject, Question(action=action, key=key, facts=facts))
    show_why(answer, output)
    click.get_current_context().exit(EXIT[answer.verdict])


@kms.command("who-can")
@click.argument("action")
@click.argument("key")
@fact_options
@place_options
@output_option
@click.pass_obj
def who_can(
    services: KmsServices, /, *, action: str, key: str, facts: dict[str, tuple[str, ...]], place: Place, output: Format
) -> None:
    """Everybody who may do ACTION with KEY: by its policy, by grants, and by RBAC where the policy leaves it to the account.

    Who holds more than was named is marked: every principal, all verbs, all resources.
    """
    show_who_can(services.who_can(place, Question(action=action, key=key, facts=facts)), output)


def trail_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where callers are known from; the command gets a Trail as `trail`."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False)
    folder = click.Path(path_type=Path, exists=True, file_okay=False)

    @click.option("--audit-log", "folders", metavar="DIR", multiple=True, type=folder, help="Folder of the trail; again for each replica.")
    @click.option("--endpoint", "endpoints", metavar="URL", multiple=True, help="Or ask the server, https://HOST:PORT: it asks all.")
    @click.option("--as-serviceaccount", "service_account", metavar="NAME", default="", help="That holds audit on the key, for --endpoint.")
    @click.option("--token-file", metavar="FILE", type=file, help="Its token with the audience keystead, instead.")
    @click.option("--ca-file", metavar="FILE", type=file, envvar="AWS_CA_BUNDLE", help="PEM of the authority of the servers' certificate.")
    @wraps(command)
    def with_trail(
        *arguments: KmsServices,
        folders: tuple[Path, ...],
        endpoints: tuple[str, ...],
        service_account: str,
        token_file: Path | None,
        ca_file: Path | None,
        **options: object,
    ) -> None:
        asks = bool(service_account) + (token_file is not None)
        if bool(folders) and bool(endpoints):
            raise click.UsageError("say --audit-log, or --endpoint")
        if asks != bool(endpoints):
            raise click.UsageError("--endpoint goes with --as-serviceaccount NAME, or with --token-file FILE")
        replicas = Replicas(endpoints=endpoints, ca_file=ca_file, service_account=service_account, token_file=token_file)
        command(*arguments, trail=Trail(folders=folders, replicas=replicas if endpoints else None), **options)

    return with_trail


@kms.command()
@click.argument("key")
@trail_options
@place_options
@output_option
@click.pass_obj
def impact(services: KmsServices, /, *, key: str, trail: Trail, place: Place, output: Format) -> None:
    """What hangs on KEY: callers of the last 90 days, aliases, grants, data keys, and the Pods that have their Secrets."""
    show_impact(services.impact(place, key, trail), output)


@kms.command("schedule-deletion")
@click.argument("key")
@click.option("--days", type=click.IntRange(7, 30), default=30, show_default=True, help="Until the material is destroyed.")
@click.option("--yes", is_flag=True, help="Do not ask for the key's name.")
@trail_options
@place_options
@output_option
@click.pass_obj
def schedule_deletion(
    services: KmsServices, /, *, key: str, days: int, yes: bool, trail: Trail, place: Place, output: Format
) -> None:
    """Show what hangs on KEY; then stop its use now, and destroy its material after a waiting window.

    Needs the verb schedulekeydeletion on the key. To take it back: kubectl patch the KmsKey, spec.scheduledDeletion: null.
    """
    shown = services.impact(place, key, trail)
    show_impact(shown, Format.TABLE, err=output is not Format.TABLE)
    if not yes:
        _confirm(shown, days)
    show_facts(services.schedule_deletion(place, shown, days), output)


def _confirm(shown: ImpactAnswer, days: int) -> None:
    say(f"Use of {shown.key} stops now; after {days} days nothing that it encrypted can ever be read again.")
    try:
        typed = click.prompt(f"Type the key's name ({shown.name})", err=True, default="", show_default=False)
    except click.exceptions.Abort as error:
        say("\nnothing was changed")
        if not isinstance(error.__context__, EOFError):
            raise  # ctrl-c
        say_error("the key's name was asked for, and nothing can be typed here", "at a terminal type it; in a script give --yes")
        click.get_current_context().exit(1)
    if typed != shown.name:
        raise click.UsageError("that is not its name: nothing was changed")


def run(arguments: Sequence[str], services: KmsServices) -> int:
    """Run a command line; the exit code."""
    try:
        answer = kms.main(list(arguments), prog_name=NAME, standalone_mode=False, obj=services)
    except KeysteadError as error:
        message, hint, _ = explain(error)
        say_error(message, hint)
        return _NO_ANSWER
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return _NO_ANSWER
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else NAME
        message = error.format_message().rstrip(".")
        say_error(message[:1].lower() + message[1:], f"{where} --help")
        return _NO_ANSWER
    except click.exceptions.Abort:
        return 130
    return answer if isinstance(answer, int) else 0

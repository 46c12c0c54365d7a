"""`keystead dev`: the endpoint on this machine, without a cluster. Options become a DevRequest; what runs is app/dev/main.py."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from keystead.cli.services import AccessKey, DevRequest, Services
from keystead.errors import InvalidSpecError

ACCOUNT: Final = "111122223333"
"""The account of `--account` where none is given: the one of AWS's own examples."""
PORT: Final = 4566
"""Where LocalStack listened: what points there finds Keystead."""
_ACCOUNT: Final = re.compile(r"[1-9]\d{11}\Z", re.ASCII)
_KEY_ID: Final = re.compile(r"\w{1,128}\Z", re.ASCII)
_STRONG: Final = 16
"""Characters that a secret has at least where others can reach the endpoint. On this machine alone `test:test` will do."""
_MAX_WORKERS: Final = 64


def read_listen(text: str) -> tuple[str, int]:
    """HOST:PORT, or [IPv6]:PORT. Port 0: any free one."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidSpecError("--listen", f"{text!r}: give HOST:PORT, such as 127.0.0.1:{PORT}; port 0 takes a free one")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_account(option: str, text: str) -> str:
    """12 digits that do not begin with 0: what records can hold."""
    if not _ACCOUNT.match(text):
        raise InvalidSpecError(option, f"{text!r}: an account id has 12 digits and does not begin with 0")
    return text


def read_access_key(text: str, option: str = "--access-key") -> AccessKey:
    """ID:SECRET[:ACCOUNT]. The error shows nothing of it: what stands in the place of the account may be a part of the secret."""
    key_id, _, rest = text.partition(":")
    secret, colon, account = rest.partition(":")
    well = 1 <= len(secret) <= 128 and secret.isascii() and secret.isprintable()
    if not well or not _KEY_ID.match(key_id) or (colon and not _ACCOUNT.match(account)):
        raise InvalidSpecError(
            option,
            "give ID:SECRET or ID:SECRET:ACCOUNT: an id of 1 to 128 letters, digits and _, a secret of 1 to 128 characters, no colon, "
            "an account of 12 digits that do not begin with 0",
        )
    return AccessKey(key_id, secret, account)


def read_access_keys(file: Path) -> Iterator[AccessKey]:
    """--access-key-file: a key a line; empty lines and those that begin with # are none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidSpecError("--access-key-file", f"{file}: {reason}") from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            yield read_access_key(line, f"--access-key-file {file} line {number}")


@click.command()
@click.option("--listen", default=f"127.0.0.1:{PORT}", show_default=True, metavar="HOST:PORT", help="Where to listen; port 0: a free one.")
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of token and records [default: ~/.local/state/keystead].")
@click.option("--memory", is_flag=True, help="Keep nothing: all ends with the process.")
@click.option("--account", default=ACCOUNT, show_default=True, metavar="ID", help="Account of the access key.")
@click.option("--access-key", "access_keys", multiple=True, metavar="ID:SECRET[:ACCOUNT]", envvar="KEYSTEAD_DEV_ACCESS_KEYS",
              help="An access key, root of its account; repeatable. Other users of this machine can see it in the list of processes; "
              "KEYSTEAD_DEV_ACCESS_KEYS or a file keeps it from them [default: one random key, printed].")
@click.option("--access-key-file", type=click.Path(path_type=Path), metavar="FILE", help="Access keys, ID:SECRET[:ACCOUNT] a line.")
@click.option("--seed", "seeds", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Manifests to apply at start; repeatable.")
@click.option("--workers", type=click.IntRange(1, _MAX_WORKERS), default=1, show_default=True, help="Processes that serve.")
@click.option("--allow-reset", is_flag=True, help="POST /_keystead/reset empties everything.")
@click.option("--jwks", type=click.Path(path_type=Path), metavar="FILE", help="Keys of web identity tokens (AssumeRoleWithWebIdentity).")
@click.option("--tls-cert", "certificate", type=click.Path(path_type=Path), metavar="FILE", help="PEM certificate chain.")
@click.option("--tls-key", "private_key", type=click.Path(path_type=Path), metavar="FILE", help="PEM private key.")
@click.option("--quota", default="off", show_default=True, metavar="off|aws|FILE",
              help="Request quotas of each account: AWS's figures, or those of a file.")
@click.option("--audit", type=click.Path(path_type=Path), metavar="DIR",
              help="Keep an audit record of every call in files there, before it is answered [default: none is kept].")
@click.option("--insecure", is_flag=True, help="Plain HTTP beyond this machine, all the same.")
@click.pass_obj
def dev(
    services: Services,
    listen: str,
    state: Path | None,
    memory: bool,
    account: str,
    access_keys: tuple[str, ...],
    access_key_file: Path | None,
    seeds: tuple[Path, ...],
    workers: int,
    allow_reset: bool,
    jwks: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    quota: str,
    audit: Path | None,
    insecure: bool,
) -> int:
    """An AWS KMS endpoint on this machine: a real token and records in one folder, no cluster."""
    host, port = read_listen(listen)
    request = DevRequest(
        host=host,
        port=port,
        state=state,
        memory=memory,
        account=read_account("--account", account),
        access_keys=(
            *map(read_access_key, access_keys),
            *(read_access_keys(access_key_file) if access_key_file is not None else ()),
        ),
        seeds=seeds,
        workers=workers,
        allow_reset=allow_reset,
        jwks=jwks,
        certificate=certificate,
        private_key=private_key,
        insecure=insecure,
        tell=click.echo,
        quota=quota,
        audit=audit,
    )
    check(request)
    return services.run_dev(request)


def check(request: DevRequest) -> None:
    """InvalidSpecError for options that do not go together (RECORDS, dev)."""
    if request.memory and request.workers > 1:
        raise InvalidSpecError("--memory", "goes with one worker only: give --state DIR for more")
    if request.allow_reset and request.workers > 1:
        raise InvalidSpecError("--allow-reset", "goes with one worker only: the others would answer from what was before")
    if request.memory and request.state is not None:
        raise InvalidSpecError("--memory", "keeps nothing, --state does: give one of them")
    if (request.certificate is None) != (request.private_key is None):
        raise InvalidSpecError("--tls-cert", "goes with --tls-key")
    ids = [key.id for key in request.access_keys]
    if len(set(ids)) < len(ids):
        raise InvalidSpecError("--access-key", "each id once")
    if is_loopback(request.host):
        return
    if request.allow_reset:
        raise InvalidSpecError("--allow-reset", f"{request.host} can be reached by others, and a reset needs no signature")
    if not request.access_keys:
        raise InvalidSpecError("--listen", f"{request.host} can be reached by others: choose the key yourself, --access-key-file FILE")
    if any(len(key.secret) < _STRONG for key in request.access_keys):
        raise InvalidSpecError("--access-key", f"{request.host} can be reached by others: a secret needs {_STRONG} characters or more")
    if request.certificate is None and not request.insecure:
        raise InvalidSpecError("--listen", f"{request.host} can be reached by others: give --tls-cert and --tls-key, or --insecure")

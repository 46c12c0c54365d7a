"""`keystead crypt`: one command an operation, made from the operations TABLE. It runs the whole pipeline and bypasses no rule.

Bytes come from a file (`-`: stdin), or as `base64:...` where they are no plaintext: a secret on a command line is read by others.
With KEYSTEAD_AUDIT_FOLDER each command leaves a record there before it shows its answer.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Final

import click

from keystead.cli.hsm import token_options
from keystead.cli.output import Format, output_option, show_facts
from keystead.cli.services import CryptCall, Services, TokenChoice
from keystead.errors import InvalidSpecError
from keystead.operations import OPERATIONS

# Members that never stand on a command line.
_SECRET: Final = frozenset({"plaintext", "message"})
_HIDDEN: Final = frozenset({"grant_tokens", "recipient", "custom_key_store_id"})


@click.group(no_args_is_help=True)
def crypt() -> None:
    """Use a key through the whole pipeline, as a ServiceAccount: allowed by a grant or by RBAC, or refused."""


def dashed(name: str) -> str:
    """GenerateDataKey -> generate-data-key; key_id -> key-id."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower().replace("_", "-")


def read_bytes(option: str, text: str, *, secret: bool) -> bytes:
    """Bytes of an option. InvalidSpecError names the option."""
    if text.startswith("base64:") and not secret:
        try:
            return base64.b64decode(text.removeprefix("base64:"), validate=True)
        except binascii.Error:
            raise InvalidSpecError(option, "after base64: come padded base64 characters") from None
    if text == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise InvalidSpecError(option, f"{text}: {error.strerror}; give a file, or - for stdin") from None


def read_pairs(option: str, pairs: tuple[str, ...]) -> dict[str, str]:
    """key=value pairs. InvalidSpecError for one without `=`, or a key given twice."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or key in found:
            raise InvalidSpecError(option, f"{pair!r}: give key=value, each key once")
        found[key] = value
    return found


def _kind(annotation: object) -> object:
    """The type of a member without its None."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return next(item for item in typing.get_args(annotation) if item is not type(None))
    return annotation


def _option(name: str, kind: object, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flag = f"--{dashed(name)}"
    if kind is bool:
        return click.option(flag, name, is_flag=True)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return click.option(flag, name, type=click.Choice([item.value for item in kind]), required=required)
    if kind is int:
        return click.option(flag, name, type=int, required=required)
    if typing.get_origin(kind) is Mapping:
        return click.option(flag, name, multiple=True, metavar="KEY=VALUE")
    metavar = "FILE" if kind is bytes else "TEXT"
    return click.option(flag, name, metavar=metavar, required=required)


def _value(name: str, kind: object, given: Any) -> Any:  # noqa: ANN401 - a request's member
    if kind is bytes:
        return read_bytes(f"--{dashed(name)}", given, secret=name in _SECRET)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(given)
    if typing.get_origin(kind) is Mapping:
        return read_pairs(f"--{dashed(name)}", given)
    return given


def _make(operation: str, request: type) -> click.Command:
    hints = typing.get_type_hints(request)
    members = [item for item in dataclasses.fields(request) if item.name not in _HIDDEN]
    kinds = {item.name: _kind(hints[item.name]) for item in members}

    @click.pass_obj
    def run(
        services: Services, /, *, principal: str, grant: str | None, output: Format, token: TokenChoice, **given: Any,  # noqa: ANN401 - options made from a request
    ) -> None:
        values = {name: _value(name, kinds[name], value) for name, value in given.items() if value not in (None, ())}
        answer = services.crypt(CryptCall(operation, request(**values), principal, grant, token))
        show_facts(response_facts(answer), output)

    command: Callable[..., Any] = output_option(token_options(run))
    command = click.option("--grant", metavar="ID", help="Only this grant may allow it.")(command)
    command = click.option("--as", "principal", required=True, metavar="ARN", help="Who calls: arn:aws:iam::...")(command)
    for item in reversed(members):
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        command = _option(item.name, kinds[item.name], required)(command)
    return click.command(dashed(operation), help=f"AWS KMS {operation}.")(command)


def response_facts(answer: object) -> dict[str, str | int]:
    """Members of a response in AWS's spelling; bytes as base64."""
    facts: dict[str, str | int] = {}
    for item in dataclasses.fields(answer):  # type: ignore[arg-type]
        value = getattr(answer, item.name)
        name = "".join(part.capitalize() for part in item.name.split("_"))
        if isinstance(value, bytes):
            facts[name] = base64.b64encode(value).decode()
        elif dataclasses.is_dataclass(value):
            facts |= response_facts(value)
        elif isinstance(value, tuple | list):
            facts[name] = ", ".join(str(item) for item in value)
        elif value is not None:
            facts[name] = value if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return facts


for _name, _row in OPERATIONS.items():
    crypt.add_command(_make(_name, _row.request))

"""docs/reference/permissions.md is made of the permission table: a row for all that AWS has, and that the controller and commands do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.docs.pages import ROOT, table_after

import keystead.app.kms.main  # noqa: F401 - it adds commands to the group
from keystead.app.frontdoor import SERVED
from keystead.cli.kms import kms
from keystead.cli.main import cli
from keystead.operations.__main__ import main
from keystead.operations.permissions import API, COMMANDS, CONTROLLER, With
from keystead.operations.reference import pages
from keystead.policy.actions import ACTIONS, KNOWN
from keystead.reconciler import chronicle, pipeline
from keystead.server import auditroute
from keystead.server.model import MODEL

PAGE = ROOT / "docs/reference/permissions.md"
SECURITY = (ROOT / "docs/security.md").read_text()
OWN_VERBS = {"hold", "adopt", "audit"}
EVENT = re.compile(r"(?:[A-Z][a-z]+){2,}\Z")
VERB = re.compile(r"`([a-z]+)`")


def test_the_checked_in_page_is_the_generated_one() -> None:
    assert PAGE.read_text() == pages()["permissions.md"], "run `make reference`"


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    assert main(["reference", str(tmp_path)]) == 0
    assert (tmp_path / "permissions.md").read_text() == pages()["permissions.md"]


def test_the_page_has_every_operation_deed_and_command() -> None:
    text = PAGE.read_text()
    for heading, names in (
        ("## The endpoint", API),
        ("## The controller", CONTROLLER),
        ("## The command line", COMMANDS),
    ):
        section = text.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
        assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == set(names)


def column(heading: str, number: int) -> list[str]:
    """The code spans of a column, without the empty ones."""
    section = PAGE.read_text().split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [row.split("|")[number].strip() for row in section.splitlines() if row.startswith("| ")]
    return [cell.strip("`") for cell in cells if cell.startswith("`")]


def test_every_operation_of_the_service_model_has_a_row_served_or_not() -> None:
    served, not_served = column("## The endpoint", 1), column("## Not served", 1)
    assert sorted(served + not_served) == sorted(MODEL.operations)
    assert set(served) == set(SERVED)


def test_every_action_that_a_policy_may_name_has_a_row() -> None:
    asked, not_asked = column("## The endpoint", 2), column("## Not served", 2)
    assert {*asked, *not_asked} == {f"kms:{name}" for name in KNOWN}
    assert not set(asked) & set(not_asked)


def texts(node: ast.AST, names: frozenset[str]) -> Iterator[str]:
    """Every text of a module that may name an event; f-strings of _verb() in both its forms."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and EVENT.match(each.value):
            yield each.value
        if isinstance(each, ast.JoinedStr):
            rest = "".join(str(part.value) for part in each.values if isinstance(part, ast.Constant))
            if rest in names:
                yield from (f"Create{rest}", f"Update{rest}")


def test_every_event_of_the_controller_has_a_row_and_every_row_is_one() -> None:
    source = ast.parse(Path(str(chronicle.__file__)).read_text())
    told = set(texts(source, frozenset({"Alias", "Grant"}))) - {chronicle.UNKNOWN}
    assert told | {auditroute.NAME} == set(CONTROLLER)


def test_the_verbs_are_those_that_admission_asks_for() -> None:
    section = SECURITY.split("## Admission policies: what each asks, and what holds without them", 1)[1]
    rows = table_after(section, "So `patch kmskeys` is the right to suspend a key.")
    asked = {verb for row in rows for verb in VERB.findall(row["asks"])} & (
        {row.verb for row in ACTIONS.values()} | OWN_VERBS | {"patch"}
    )
    listed = {verb for deed in CONTROLLER.values() for verb in deed.verbs}
    assert listed - {"audit"} == asked


def test_what_asks_a_key_says_for_what_and_as_whom() -> None:
    for deed in CONTROLLER.values():
        assert bool(deed.asked) is bool(deed.caller)
    asking = {action for deed in CONTROLLER.values() for action in deed.asked}
    requests = set(re.findall(r"\b(\w+)Request\(", Path(str(pipeline.__file__)).read_text()))
    assert {"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"} == requests & set(
        API
    )
    assert asking - {"CreateGrant", "CreateAlias", "UpdateAlias"} == {right.action for name in requests & set(API) for right in API[name]}


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from commands(each, f"{path} {name}")
    else:
        yield path, command


ALL = {**dict(commands(cli, "keystead")), **dict(commands(kms, "kubectl kms"))}


def test_every_command_has_a_row_and_every_row_is_one() -> None:
    assert set(ALL) == set(COMMANDS)


@pytest.mark.parametrize("name", ALL)
def test_what_a_command_works_with_is_what_its_options_say(name: str) -> None:
    """A token's options mean a token, a kubeconfig's a kubeconfig."""
    options = {option for parameter in ALL[name].params for option in parameter.opts}
    row = COMMANDS[name]
    if "--pin-file" in options and name not in ("keystead records rotate", "keystead hsm verify-backup"):
        assert With.TOKEN in row.works_with
    assert ("--kubeconfig" in options) <= (With.KUBECONFIG in row.works_with)
    assert row.rights

"""`keystead records`: what each command asks of the services, how it refuses, and how rows are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from keystead.cli.main import run
from keystead.cli.services import AdoptRequest, KeyTarget, RecordKinds, Services, TokenChoice
from keystead.errors import ForbiddenError, RefusedError

ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


def a_row(**changes: str) -> dict[str, str]:
    """A row as `app.records` makes it, with names of an ordinary length."""
    members = {
        "kind": "key",
        "namespace": "orders-prod",
        "name": "orders-database",
        "keyId": ID,
        "account": "111122223333",
        "state": "PendingDeletion",
        "object": "yes",
        "spec": "SYMMETRIC_DEFAULT",
        "versions": "1",
        "seq": "1",
        "secret": "key-" + "0" * 40,
        "next": "",
    }
    return members | changes


@dataclass
class Asked:
    """Implements what of `Services` these commands call, and remembers it."""

    rows: list[dict[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    forbidden: bool = False
    refuses: str = ""

    def list_records(self, token: TokenChoice, kinds: RecordKinds) -> tuple[list[dict[str, str]], list[str]]:
        self.calls.append(("list", kinds))
        return self.rows, self.refused

    def show_record(self, token: TokenChoice, target: KeyTarget) -> dict[str, str | int]:
        return self._did("show", target)

    def adopt_records(self, token: TokenChoice, request: AdoptRequest, tell: Callable[[str], None]) -> list[dict[str, str]]:
        self.calls.append(("adopt", request))
        if self.forbidden:
            raise ForbiddenError("PATCH /apis: 403 this needs the verb adopt; hint: a cluster administrator binds a role with this verb")
        tell("50 of 70")
        return self.rows

    def hold_key(self, token: TokenChoice, target: KeyTarget, reason: str | None, wait: bool) -> dict[str, str | int]:
        return self._did("hold", target, reason, wait)

    def rotate_key(self, token: TokenChoice, target: KeyTarget, wait: bool) -> dict[str, str | int]:
        return self._did("rotate", target, wait)

    def schedule_deletion(self, token: TokenChoice, target: KeyTarget, days: int | None, wait: bool) -> dict[str, str | int]:
        return self._did("schedule", target, days, wait)

    def _did(self, *call: Any) -> dict[str, str | int]:
        self.calls.append(call)
        if self.refuses:
            raise RefusedError(self.refuses)
        return {"asked": "it"}


def records(asked: Asked, *arguments: str) -> int:
    return run(["records", *arguments], cast(Services, asked))


NAMED = KeyTarget("orders", "db")
ALIAS: dict[str, Any] = {"namespace": "orders", "name": "db", "kind": RecordKinds.ALIAS}


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("list", ("list", RecordKinds.KEY)),
        ("list --kind all", ("list", RecordKinds.ALL)),
        ("show orders db", ("show", NAMED)),
        (f"show --key-id {ID}", ("show", KeyTarget(key_id=ID))),
        ("adopt orders", ("adopt", AdoptRequest(namespace="orders"))),
        ("adopt orders db --kind alias --as-new", ("adopt", AdoptRequest(**ALIAS, as_new=True))),
        ("adopt --all --dry-run", ("adopt", AdoptRequest(everything=True, dry_run=True))),
        (f"adopt --key-id {ID}", ("adopt", AdoptRequest(key_id=ID))),
        ("hold orders db --reason incident-7", ("hold", NAMED, "incident-7", False)),
        (f"hold --key-id {ID} --release --wait", ("hold", KeyTarget(key_id=ID), None, True)),
        ("rotate orders db --wait", ("rotate", NAMED, True)),
        ("schedule-deletion orders db --days 7", ("schedule", NAMED, 7, False)),
        ("schedule-deletion orders db --cancel", ("schedule", NAMED, None, False)),
    ],
)
def test_a_command_asks_for_what_it_says(line: str, call: tuple[Any, ...]) -> None:
    asked = Asked()
    assert records(asked, *line.split()) == 0
    assert asked.calls == [call]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("adopt", "--all"),
        ("adopt orders --all", "NAMESPACE [NAME]"),
        (f"adopt orders --key-id {ID}", "NAMESPACE [NAME]"),
        ("adopt orders db --kind datakey --as-new", "adopt it without --as-new"),
        ("show orders", "NAMESPACE NAME"),
        (f"rotate orders db --key-id {ID}", "NAMESPACE NAME"),
        ("hold orders db", "--reason"),
        ("hold orders db --reason x --release", "--reason"),
        ("schedule-deletion orders db", "--days"),
        ("schedule-deletion orders db --days 7 --cancel", "--days"),
        ("schedule-deletion orders db --days 6", "7<=x<=30"),
        ("schedule-deletion orders db --days 31", "7<=x<=30"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_asks_nothing(
    capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    asked = Asked()
    assert records(asked, *line.split()) == 2
    assert asked.calls == []
    error = capsys.readouterr().err
    assert words in error
    assert "\nhint: keystead records" in error


def test_a_table_of_every_kind_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [a_row(), a_row(kind="datakey", object="earlier"), a_row(state="Enabled", object="none", next="apply"), a_row(object="aside")]
    assert records(Asked(rows), "list", "--kind", "all") == 0
    out = capsys.readouterr()
    assert max(len(line) for line in out.out.splitlines()) <= 120
    assert max(len(line) for line in out.err.splitlines()) <= 130
    assert [line.split()[1:3] for line in out.err.splitlines()] == [["1", "earlier:"], ["1", "none:"], ["1", "aside:"]]
    assert "keystead records adopt NAMESPACE" in out.err


def test_a_tombstone_asks_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked([a_row(state="Destroyed", object="none", next="nothing: its material is gone")]), "list") == 0
    out = capsys.readouterr()
    assert "Destroyed" in out.out
    assert out.err == ""


def test_json_has_every_member_and_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    row = a_row(object="none", next="apply its manifest again")
    assert records(Asked([row]), "list", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == [row]


def test_a_refused_record_is_told_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked([a_row()], ["record key-1: the seal does not verify"]), "list") == 4
    out = capsys.readouterr()
    assert "orders-database" in out.out
    assert "refused: record key-1" in out.err


def adopted(action: str, why: str = "") -> dict[str, str]:
    return {"kind": "key", "namespace": "a", "name": "k", "keyId": ID, "action": action, "why": why}


def test_adoption_tells_its_progress_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked([adopted("annotated"), adopted("annotated"), adopted("written")]), "adopt", "a") == 0
    assert capsys.readouterr().err.splitlines() == ["50 of 70", "2 annotated, 1 written"]


def test_what_was_left_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked([adopted("annotated"), adopted("left", "there is no namespace a")]), "adopt", "--all") == 1
    out = capsys.readouterr()
    assert "there is no namespace a" in out.out
    assert "hint: " in out.err


def test_nothing_to_adopt_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked(), "adopt", "--all", "--dry-run") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "dry run: there is nothing to adopt"


def test_a_right_that_is_missing_is_told_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked(forbidden=True), "adopt", "a") == 14
    error = capsys.readouterr().err
    assert "the verb adopt" in error
    assert error.splitlines()[-1].startswith("hint: a cluster administrator")


@pytest.mark.parametrize(
    ("said", "shown"),
    [("KmsKey a/k (Held): no", "KmsKey a/k (Held): no"), ("API server away", "API server away"), ("The key is gone", "the key is gone")],
)
def test_an_error_begins_in_lower_case_but_for_a_name(capsys: pytest.CaptureFixture[str], said: str, shown: str) -> None:
    assert records(Asked(refuses=f"{said}; hint: wait"), "rotate", "a", "k", "--wait") == 15
    assert capsys.readouterr().err.splitlines() == [f"error: {shown}", "hint: wait"]


def test_an_alias_that_is_claimed_anew_asks_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert records(Asked([a_row(kind="alias", state="Active", object="anew")]), "list", "--kind", "alias") == 0
    out = capsys.readouterr()
    assert "anew" in out.out
    assert out.err == ""

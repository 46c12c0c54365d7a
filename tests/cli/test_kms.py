"""`kubectl kms`: what each command asks of the services, how it shows the answer, and which exit code it ends with."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from keystead.cli.kms import kms, run
from keystead.cli.kms_services import (
    CallerUse,
    Considered,
    Dependant,
    Holder,
    ImpactAnswer,
    KnownCallers,
    May,
    Mount,
    Place,
    Question,
    Replicas,
    Review,
    Rule,
    Subject,
    Trail,
    Unknown,
    Verdict,
    WhoCanAnswer,
    WhyAnswer,
)
from keystead.errors import ForbiddenError, NotFoundError, StoreUnavailableError

ARN = "arn:aws:kms:cluster-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WHY = WhyAnswer(
    verdict=Verdict.DENIED,
    who="ServiceAccount team-a/app",
    principal="arn:aws:iam::111122223333:role/app",
    action="kms:Decrypt",
    key="team-a/app",
    key_arn=ARN,
    decided_by="rbac",
    reason="RBAC does not give it",
    statements=(Considered("Account", "Allow", "leaves it to the account", "it leaves kms:Decrypt to account 111122223333"),),
    grants=(Considered("ab" * 32, "Allow", "ended", "it ended at 2026-11-01T00:00:00Z", "reports"),),
    reviews=(Review("decrypt kmskeys/app in team-a", False, "", (Rule("RoleBinding x", "Role y", "* on */*", ("all verbs",)),)),),
    changes=("kubectl create rolebinding ...",),
    unread=("you may not list roles in team-a",),
)
WHO_CAN = WhoCanAnswer(
    action="kms:Decrypt",
    key="team-a/app",
    key_arn=ARN,
    holders=(Holder(who="ServiceAccount team-a/boss", may=May.YES, through="RoleBinding boss", wildcard="all verbs"),),
    denies=(Considered("No", "Deny", "another principal", "denies it to everybody"),),
    unread=("you may not list clusterroles",),
)
IMPACT = ImpactAnswer(
    key="team-a/app",
    key_arn=ARN,
    name="app",
    namespace="team-a",
    state="Enabled",
    last_used="2026-11-26T08:00:00Z",
    callers=KnownCallers((CallerUse(WHY.principal, {"Decrypt": 7}, "2026-11-26T08:00:00Z", 2),), "2026-09-01T00:00:00Z"),
    dependants=(Dependant("KmsDataKey", "team-a", "db", "Secret db-key, version 1"),),
    mounts=(Mount("Pod", "team-a", "web-0", "StatefulSet web", "db-key", "volume key"),),
    hidden={"KmsDataKey": 2},
)


@dataclass
class Asked:
    """Implements KmsServices and remembers what it was asked."""

    answer: WhyAnswer = WHY
    impacts: ImpactAnswer = IMPACT
    fails: Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def why(self, place: Place, subject: Subject, question: Question) -> WhyAnswer:
        return self._did("why", self.answer, place, subject, question)

    def who_can(self, place: Place, question: Question) -> WhoCanAnswer:
        return self._did("who-can", WHO_CAN, place, question)

    def impact(self, place: Place, key: str, trail: Trail) -> ImpactAnswer:
        return self._did("impact", self.impacts, place, key, trail)

    def schedule_deletion(self, place: Place, shown: ImpactAnswer, days: int) -> dict[str, str | int]:
        return self._did("schedule", {"asked": "it"}, place, shown.name, days)

    def _did(self, name: str, answer: Any, *call: Any) -> Any:
        self.calls.append((name, *call))
        if self.fails is not None:
            raise self.fails
        return answer


HERE = Place()


def why_call(subject: Subject, place: Place = HERE, **question: Any) -> tuple[Any, ...]:
    return ("why", place, subject, Question(action="decrypt", key="app", **question))


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("why decrypt app", why_call(Subject())),
        ("why --as app decrypt app", why_call(Subject(name="app"))),
        ("why decrypt app --as jane --as-group ops --as-group dev", why_call(Subject(name="jane", groups=("ops", "dev")))),
        ("why decrypt app -n team-a --context c", why_call(Subject(), Place(namespace="team-a", context="c"))),
        ("why decrypt app --kubeconfig k", why_call(Subject(), Place(kubeconfig=Path("k")))),
        ("why decrypt app --secure", why_call(Subject(), facts={"aws:SecureTransport": ("true",)})),
        ("why decrypt app --insecure", why_call(Subject(), facts={"aws:SecureTransport": ("false",)})),
        (
            "why decrypt app --encryption-context a=b --encryption-context c=d=e",
            why_call(Subject(), facts={"kms:EncryptionContext:a": ("b",), "kms:EncryptionContext:c": ("d=e",)}),
        ),
        ("why decrypt app --encryption-context none", why_call(Subject(), facts={"kms:EncryptionContext": ("none",)})),
        (
            "why decrypt app --via-service none --source-ip 10.0.0.1",
            why_call(Subject(), facts={"kms:ViaService": ("none",), "aws:SourceIp": ("10.0.0.1",)}),
        ),
        ("why decrypt app --algorithm X", why_call(Subject(), facts={"kms:EncryptionAlgorithm": ("X",)})),
        ("why decrypt app --fact kms:x=1 --fact kms:x=2", why_call(Subject(), facts={"kms:x": ("1", "2")})),
        ("who-can decrypt app", ("who-can", HERE, Question(action="decrypt", key="app"))),
        ("impact app -n x", ("impact", Place(namespace="x"), "app", Trail())),
        ("impact app --audit-log .", ("impact", HERE, "app", Trail(folders=(Path(),)))),
        (
            "impact app --endpoint https://a:1 --endpoint https://b:2 --as-serviceaccount auditor",
            ("impact", HERE, "app", Trail(replicas=Replicas(endpoints=("https://a:1", "https://b:2"), service_account="auditor"))),
        ),
    ],
)
def test_a_command_asks_for_what_it_says(monkeypatch: pytest.MonkeyPatch, line: str, call: tuple[Any, ...]) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    asked = Asked()
    run(line.split(), asked)
    assert asked.calls == [call]


def test_each_actions_algorithm_has_its_own_condition_key() -> None:
    asked = Asked()
    run(["why", "sign", "app", "--algorithm", "X"], asked)
    assert asked.calls[0][3].facts == {"kms:SigningAlgorithm": ("X",)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("why", "missing argument"),
        ("why fly app", "there is no action fly"),
        ("why reencrypt app", "two actions"),
        ("why decrypt app --as-group ops", "--as-group goes with --as"),
        ("why decrypt app --encryption-context a", "a is not KEY=VALUE"),
        ("who-can decrypt", "missing argument"),
        ("schedule-deletion app --days 6", "7<=x<=30"),
        ("impact app --audit-log /no/such/folder", "does not exist"),
        ("impact app --audit-log . --endpoint https://a:1 --as-serviceaccount x", "--audit-log, or --endpoint"),
        ("impact app --endpoint https://a:1", "--as-serviceaccount NAME"),
        ("schedule-deletion app --as-serviceaccount x", "--endpoint goes with"),
    ],
)
def test_a_command_that_is_wrong_asks_nothing(capsys: pytest.CaptureFixture[str], line: str, words: str) -> None:
    asked = Asked()
    assert run(line.split(), asked) == 2
    assert asked.calls == []
    error = capsys.readouterr().err
    assert words in error and "\nhint: " in error


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.ALLOWED, 0), (Verdict.DENIED, 1), (Verdict.UNDECIDED, 2)])
@pytest.mark.parametrize("output", ["table", "json"])
def test_the_exit_code_is_the_answer(verdict: Verdict, code: int, output: str) -> None:
    assert run(["why", "decrypt", "app", "-o", output], Asked(replace(WHY, verdict=verdict))) == code


@pytest.mark.parametrize("error", [ForbiddenError("no"), NotFoundError("none"), StoreUnavailableError("away")])
@pytest.mark.parametrize("line", ["why decrypt app", "who-can decrypt app", "impact app", "schedule-deletion app --yes"])
def test_an_error_is_no_answer(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    assert run(line.split(), Asked(fails=error)) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.startswith("error: ")


def test_why_shows_the_verdict_first_and_everything_that_was_considered(capsys: pytest.CaptureFixture[str]) -> None:
    run(["why", "decrypt", "app"], Asked())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "denied: ServiceAccount team-a/app, kms:Decrypt with team-a/app"
    assert lines[1:3] == ["decided by: rbac", "because: RBAC does not give it"]
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "Account Allow leaves it to the account it leaves kms:Decrypt to account 111122223333" in text
    assert "reports (abababab) Allow ended it ended at" in text
    assert "RBAC: decrypt kmskeys/app in team-a: no" in text
    assert "[wildcard: all verbs]" in text
    assert "change: kubectl create rolebinding ..." in text and "unread: you may not list roles in team-a" in text


def test_json_has_every_member_in_camel_case(capsys: pytest.CaptureFixture[str]) -> None:
    run(["why", "decrypt", "app", "-o", "json"], Asked())
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["decidedBy"], told["keyArn"]) == ("denied", "rbac", ARN)
    assert told["reviews"][0]["rules"][0]["wildcard"] == ["all verbs"]
    assert told["dependsOn"] == []


def test_who_can_marks_wildcards_and_tells_the_denies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["who-can", "decrypt", "app"], Asked()) == 0
    text = "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert "ServiceAccount team-a/boss yes RoleBinding boss all verbs" in text
    assert "No Deny another principal denies it to everybody" in text
    assert "unread: you may not list clusterroles" in text


def test_impact_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    run(["impact", "app"], Asked())
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "callers of the last 90 days, of which records reach back to 2026-09-01T00:00:00Z:"
    assert lines[3] == "  arn:aws:iam::111122223333:role/app: Decrypt 7; last 2026-11-26T08:00:00Z; denied 2"
    assert "and 2 KmsDataKey that you may not see" in lines
    assert lines[-1] == "Pod team-a/web-0 of StatefulSet web: Secret db-key (volume key)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden": {}}, ["nothing points at it"]),
        ({}, ["nothing that you may see points at it", "and 2 KmsDataKey that you may not see"]),
        (
            {"unclear": ("team-a/db", "team-b/db")},
            [
                "nothing that you may see points at it",
                "and 2 KmsDataKey that you may not see, or that has older versions under this key",
                "of older versions nothing is known yet: KmsDataKey team-a/db, team-b/db",
            ],
        ),
    ],
)
def test_nothing_is_said_only_where_nothing_can_be(
    changes: dict[str, Any], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run(["impact", "app"], Asked(impacts=replace(IMPACT, dependants=(), **changes)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[4 : 4 + len(said)] == said


def test_unknown_callers_are_not_told_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    run(["impact", "app"], Asked(impacts=replace(IMPACT, callers=Unknown("not known: give --audit-log DIR"))))
    assert "callers of the last 90 days: not known: give --audit-log DIR" in capsys.readouterr().out


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What is typed at the prompt."""

    def type_it(text: str) -> None:
        monkeypatch.setattr(click, "prompt", lambda *_arguments, **_options: text)

    return type_it


@pytest.mark.parametrize("text", ["", "other", "APP", "team-a/app"])
def test_another_name_than_the_keys_changes_nothing(typed: Callable[[str], None], text: str) -> None:
    typed(text)
    asked = Asked()
    assert run(["schedule-deletion", "app"], asked) == 2
    assert [call[0] for call in asked.calls] == ["impact"]


@pytest.mark.parametrize(("cause", "code", "words"), [(EOFError, 1, "give --yes"), (KeyboardInterrupt, 130, "")])
def test_no_answer_at_the_prompt_says_that_nothing_was_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cause: type[BaseException], code: int, words: str
) -> None:
    def end(*_arguments: object, **_options: object) -> str:
        raise cause

    monkeypatch.setattr(click.termui, "visible_prompt_func", end)
    asked = Asked()
    assert run(["schedule-deletion", "app"], asked) == code
    error = capsys.readouterr().err
    assert "\nnothing was changed\n" in error and words in error
    assert [call[0] for call in asked.calls] == ["impact"]


def test_the_keys_name_schedules_the_deletion_of_what_was_shown(typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    typed("app")
    asked = Asked()
    assert run(["schedule-deletion", "alias/x", "--days", "9"], asked) == 0
    assert asked.calls[-1] == ("schedule", HERE, "app", 9)
    out = capsys.readouterr()
    assert "Pod team-a/web-0" in out.out
    assert "after 9 days nothing that it encrypted can ever be read again" in out.err


def test_yes_asks_nothing_and_json_keeps_talk_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule-deletion", "app", "--yes", "-o", "json"], Asked()) == 0
    out = capsys.readouterr()
    assert json.loads(out.out) == {"asked": "it"}
    assert "Pod team-a/web-0" in out.err


def test_kubectl_finds_an_entry_of_this_name() -> None:
    scripts = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["kubectl-kms"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_every_command_says_what_it_does() -> None:
    assert set(kms.commands) >= {"why", "who-can", "impact", "schedule-deletion"}
    assert all(command.help for command in kms.commands.values())

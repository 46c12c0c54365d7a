"""`keystead audit` and `kubectl kms audit` as commands: exit codes, what is said where, and texts that callers chose."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import click
import pytest
from tests.audit_reading.chains import KEY_ID, AChain, a_call, a_chain, arn_of, at, pem

from keystead.app.kms import audit as client
from keystead.app.kms.main import kms
from keystead.app.services import AppServices
from keystead.audit.reading.files import find_chains, lines_of
from keystead.cli.audit import read_moment
from keystead.cli.kms import run as run_kms
from keystead.cli.kms_audit import AuditAnswer, AuditAsk, ReplicaMissing, ReplicaTold
from keystead.cli.kms_services import KmsServices, Place
from keystead.cli.main import run
from keystead.errors import ForbiddenError, InvalidSpecError, NotFoundError, RefusedError, StoreUnavailableError
from keystead.settings import Settings

NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)


def keystead(*arguments: object) -> int:
    """The exit code of a command."""
    return run(["audit", *map(str, arguments)], AppServices(Settings()))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "audit.pem"
    path.write_bytes(pem())
    return path


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    a_chain(calls=6).write(tmp_path / "trail", per_file=4, packed=True)
    return tmp_path / "trail"


def test_verify_ends_with_0_1_or_3(trail: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keystead("verify", trail, "--public-key", key) == 0
    assert keystead("verify", trail) == 3
    assert "no signature was checked" in capsys.readouterr().err
    min(trail.iterdir()).unlink()
    assert keystead("verify", trail, "--public-key", key, "-o", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["exitCode"], report["chains"][0]["findings"][0]["what"]) == ("tampered", 1, "removed")


def test_verify_refuses_a_file_that_is_no_key_and_a_folder_that_is_not_there(trail: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no")
    assert keystead("verify", trail, "--public-key", tmp_path / "bad.pem") == 2
    assert keystead("verify", tmp_path / "none") == 2
    assert keystead("verify") == 2


def test_verify_takes_copies_of_checkpoints_from_a_log(trail: Path, key: Path, tmp_path: Path) -> None:
    later = a_chain(calls=6).calls(3).checkpoint()
    (tmp_path / "stdout").write_bytes(b"starting\n" + later.lines[-1] + b"\n")
    assert keystead("verify", trail, "--public-key", key, "--checkpoints", tmp_path / "stdout") == 1


def test_search_writes_json_lines_as_they_stand_in_the_trail(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keystead("search", trail, "--context", "n=2", "-o", "json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["eventID"] == "event-2"
    assert line.encode() in [held.data for part in find_chains([trail])[0].parts for held in lines_of(part)]
    assert keystead("search", trail, "--context", "n") == 2
    assert keystead("search", trail, "--since", "soon") == 2


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_search_that_finds_nothing_says_so(trail: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    assert keystead("search", trail, "--action", "Sign", "-o", output) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "no record matches\n")
    assert keystead("search", trail, "-o", output) == 0
    assert "no record matches" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "summary"])
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_answer_that_lacks_what_cannot_be_read_says_so_and_ends_with_3(
    trail: Path, capsys: pytest.CaptureFixture[str], command: str, output: str
) -> None:
    assert keystead(command, trail, "-o", output) == 0
    assert "warning" not in capsys.readouterr().err
    (path,) = trail.glob("audit-a-000002.jsonl*")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([b"x" * 3_000_000, *lines]))
    assert keystead(command, trail, "-o", output) == 3
    told = capsys.readouterr()
    assert "warning: audit-a-000002.jsonl: the line at byte 0 has more than 1048576 bytes, and was passed over\n" in told.err
    assert "incomplete: records may be missing; hint: keystead audit verify\n" in told.err
    if command == "search":
        assert len([line for line in told.out.splitlines() if "Encrypt" in line]) == 6  # what stands behind it is found
    elif output == "json":
        answer = json.loads(told.out)
        assert (answer["uses"][0]["count"], len(answer["unread"])) == (6, 1)


@pytest.mark.parametrize("command", ["verify", "search", "summary"])
def test_of_a_folder_without_a_file_it_is_said_that_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (tmp_path / "other.txt").write_text("no file of a trail")
    assert keystead(command, tmp_path) == 3
    assert "warning: there is no audit file: a folder that was emptied looks like that, too\n" in capsys.readouterr().err


@pytest.mark.parametrize("garbage", [b"garbage", b""])
def test_a_search_for_a_key_tells_of_lines_that_were_damaged_and_name_no_key(
    trail: Path, capsys: pytest.CaptureFixture[str], garbage: bytes
) -> None:
    path = trail / "audit-a-000002.jsonl"
    path.write_bytes(garbage + b"\n" + path.read_bytes())
    assert keystead("search", trail, "--key", "9" * 8 + KEY_ID[8:]) == 3
    told = capsys.readouterr().err
    assert "warning: audit-a-000002.jsonl: the line at byte 0 is no record, and was passed over" in told
    assert "incomplete: records may be missing" in told


@pytest.mark.parametrize(
    ("action", "meant"),
    [
        ("Decript", "did you mean Decrypt"), ("kms:GenerateDatakeys", "did you mean GenerateDataKey"),
        ("ReEncryptFrom", "did you mean ReEncrypt"), ("rewrap-key", "did you mean ReWrapDataKey"),
        ("assume-role", "did you mean AssumeRoleWithWebIdentity"), ("x", "such as Decrypt"), ("", "such as"),
    ],
)  # fmt: skip
def test_an_action_that_no_record_has_is_refused_with_the_one_that_was_meant(
    trail: Path, capsys: pytest.CaptureFixture[str], action: str, meant: str
) -> None:
    assert keystead("search", trail, "--action", action) == 2
    told = capsys.readouterr().err
    assert f"--action: no record has the action {action!r}; {meant}" in told
    assert told.endswith("\nhint: correct --action\n")


@pytest.mark.parametrize("action", ["encrypt", "kms:Encrypt", "En*", "[Ee]ncr?pt", "ENCRYPT"])
def test_an_action_is_taken_in_any_form(trail: Path, capsys: pytest.CaptureFixture[str], action: str) -> None:
    assert keystead("search", trail, "--action", action) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7


@pytest.mark.parametrize("action", ["rotate-key", "RotateKey", "InjectDataKey", "ReadAuditRecords", "Future*"])
def test_what_keystead_does_by_itself_is_an_action_too(trail: Path, action: str) -> None:
    assert keystead("search", trail, "--action", action) == 0


@pytest.mark.parametrize("key", ["orders", "team-a/orders", KEY_ID[:-1], ""])
def test_what_can_be_no_key_of_a_record_is_refused_with_the_way_to_its_id(
    trail: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert keystead("search", trail, "--key", key) == 2
    told = capsys.readouterr().err
    assert f"--key: {key!r} is no key id, no ARN and no alias/NAME\n" in told
    assert told.endswith("hint: of a KmsKey: $(kubectl get kmskey NAME -o jsonpath={.status.keyId})\n")


@pytest.mark.parametrize("key", [KEY_ID, arn_of(KEY_ID), f"alias/{KEY_ID[:4]}", "mrk-" + "0" * 32, "1234*"])
def test_ids_arns_aliases_and_patterns_are_keys(trail: Path, key: str) -> None:
    assert keystead("search", trail, "--key", key) == 0


def test_columns_are_as_wide_as_what_stands_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = {"userIdentity": {"type": "WebIdentityUser", "userName": "system:serviceaccount:team-a:" + "w" * 40}, "resources": []}
    trail = AChain("a").start().add(a_call(0, action="AssumeRoleWithWebIdentity", more=who))
    longest = a_call(1, action="GenerateDataKeyPairWithoutPlaintext", code="InvalidCiphertextException")
    for record in (longest, *(a_call(n) for n in range(2, 600)), a_call(600, code="x" * 40), a_call(601)):
        trail.add(record)
    trail.write(tmp_path)
    assert keystead("search", tmp_path) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    ends = [row.rindex("RBAC allows") for row in rows]
    assert set(ends[:600]) == {head.index("REASON")}
    assert ends[600] == ends[601] > ends[0]  # what comes late cannot move what is out already


@pytest.mark.parametrize("command", ["verify", "search", "summary"])
def test_a_file_in_the_place_of_a_folder_is_told_apart(trail: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert keystead(command, min(trail.iterdir())) == 2
    assert "is a file: give the folder that it is in" in capsys.readouterr().err


def test_the_hint_names_the_option_that_is_wrong(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keystead("search", trail, "--since", "soon") == 2
    assert capsys.readouterr().err.endswith("\nhint: correct --since\n")


def test_nothing_that_a_caller_chose_moves_the_cursor_of_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = a_call(reason="\x1b[2J\u202egone", principal="x\x07", code="AccessDenied")
    AChain("a").start().add(evil).write(tmp_path)
    keystead("search", tmp_path)
    keystead("summary", tmp_path)
    out = capsys.readouterr().out
    assert "gone" in out
    assert not {"\x1b", "\u202e", "\x07"} & set(out)


def test_summary_writes_its_plot_and_says_how_far_it_looks(trail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = tmp_path / "keys.json"
    item = {"metadata": {"namespace": "a", "name": "idle"}, "status": {"keyId": "9"}}
    keys.write_text(json.dumps({"items": [item]}))
    assert keystead("summary", trail, "--keys", keys, "--plot", tmp_path / "p.svg", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["uses"][0]["count"] == 6
    assert told["neverUsed"] == [{"namespace": "a", "name": "idle", "key": "9"}]
    assert ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")
    keys.write_text("[]x")
    assert keystead("summary", trail, "--keys", keys) == 2
    assert keystead("summary", trail, "--plot", tmp_path / "none" / "p.svg") == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("90m", NOW - timedelta(minutes=90)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25T10:00:00+02:00", datetime(2026, 11, 25, 8, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, expected: datetime) -> None:
    assert read_moment("--since", text, NOW) == expected


@pytest.mark.parametrize("text", ["", "d", "1y", "999999w", "yesterday"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        read_moment("--since", text, NOW)


class Answers:
    """`cli.kms_audit.KmsAuditServices`."""

    def __init__(self, answer: AuditAnswer) -> None:
        self.answer = answer
        self.asks: list[AuditAsk] = []

    def audit(self, _place: Place, ask: AuditAsk) -> AuditAnswer:
        self.asks.append(ask)
        return self.answer


def kubectl(services: Answers, *arguments: str) -> int:
    return run_kms(["audit", *arguments], cast(KmsServices, services))


def test_kubectl_kms_audit_shows_records_and_which_replicas_were_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(kms, click.Group) and "audit" in kms.commands
    records = [a_call(1), a_call(2, code="AccessDenied", reason="no\x1b")]
    lost = ReplicaMissing("https://a", "pod-1", "10.0.0.2:8443", "nobody listens there")
    services = Answers(AuditAnswer(records, [ReplicaTold("https://a", "pod-0", at(0), damaged=True)], True, [lost], ["https://a"]))
    assert kubectl(services, "orders", "--as-serviceaccount", "auditor", "--endpoint", "https://a") == 0
    captured = capsys.readouterr()
    assert [line.split()[1] for line in captured.out.splitlines()] == ["ACTION", "Encrypt", "Encrypt"]
    assert "\x1b" not in captured.out
    assert "warning: pod-0 (https://a): its files are damaged, so records may be missing\n" in captured.err
    assert "pod-0 (https://a)" in captured.err and "asks no others" in captured.err and "more than" in captured.err
    assert kubectl(services, "orders", "--as-serviceaccount", "auditor", "--endpoint", "https://a", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["records"]), told["notAsked"][0]["address"]) == (2, "10.0.0.2:8443")
    assert "not asked: pod-1 at 10.0.0.2:8443: nobody listens there" in captured.err
    assert services.asks[0].service_account == "auditor"


@pytest.mark.parametrize("arguments", [["k", "--endpoint", "https://a"], ["k", "--as-serviceaccount", "x"]])
def test_kubectl_kms_audit_says_what_it_was_not_told(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert kubectl(Answers(AuditAnswer([], [], False)), *arguments) == 2


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "https://keystead-server.keystead-system.svc"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "AWS_ENDPOINT_URL": "https://b"}, "https://b"),
        ({"AWS_ENDPOINT_URL_KMS": "https://a", "AWS_ENDPOINT_URL": "https://b"}, "https://a"),
    ],
)
def test_the_endpoint_is_found_by_awss_own_variables_and_in_a_pod_by_the_service(
    environment: dict[str, str], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    services = Answers(AuditAnswer([], [], False))
    assert kubectl(services, "orders", "--as-serviceaccount", "auditor") == 0
    assert services.asks[0].endpoints == (endpoint,)


def an_ask(*endpoints: str, **changes: Any) -> AuditAsk:
    want = {"key": KEY_ID, "since": NOW, "limit": 100, "ca_file": None, "service_account": "", "token_file": None} | changes
    return AuditAsk(endpoints=endpoints, **want)


def replies(monkeypatch: pytest.MonkeyPatch, *told: tuple[int, dict[str, Any]]) -> list[dict[str, str]]:
    """What replicas answer, in order; the queries that came."""
    queries: list[dict[str, str]] = []
    coming = iter(told)

    def get(_connection: object, _endpoint: str, query: dict[str, str], token: str) -> tuple[int, dict[str, Any]]:
        assert token == "a-token"
        queries.append(dict(query))
        return next(coming)

    monkeypatch.setattr(client, "_get", get)
    return queries


def test_all_pages_of_all_replicas_are_read_and_each_record_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    page = {"replicas": [{"replica": "a", "from": at(0)}], "notAsked": []}
    last = {"replicas": [{"replica": "b", "from": None}], "notAsked": [], "askedSiblings": False}
    queries = replies(
        monkeypatch,
        (200, page | {"records": [a_call(3)], "nextMarker": "m"}),
        (200, page | {"records": [a_call(1)], "nextMarker": None}),
        (200, last | {"records": [a_call(2), a_call(3)], "nextMarker": None}),
    )
    answer = client.read_all(an_ask("https://a", "https://b"), "a-token")
    assert [record["eventID"] for record in answer.records] == ["event-1", "event-2", "event-3"]
    assert [query.get("marker") for query in queries] == [None, "m", None]
    assert queries[0] == {"key": KEY_ID, "limit": "100", "since": "2026-11-26T08:00:00Z"} and not answer.more
    assert [told.replica for told in answer.replicas] == ["a", "b"]
    assert answer.alone == ["https://a", "https://b"]


def test_who_was_not_asked_is_told_by_the_last_page_and_from_when_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"replica": None, "address": "10.0.0.2:8443", "reason": "it is busy"}
    begun, done = {"replica": "a", "from": at(0), "damaged": True}, {"replica": "a", "from": None}
    pages = [
        {"replicas": [begun], "notAsked": [lost, lost | {"address": "10.0.0.3:8443"}], "records": [], "nextMarker": "m"},
        {"replicas": [done, {"replica": "c", "from": at(1)}], "notAsked": [lost], "records": [], "nextMarker": None},
    ]
    replies(monkeypatch, *((200, page | {"askedSiblings": True}) for page in pages))
    answer = client.read_all(an_ask("https://a"), "a-token")
    assert [(told.replica, told.reaches_back, told.damaged) for told in answer.replicas] == [("a", at(0), True), ("c", at(1), False)]
    assert [(item.name, item.reason) for item in answer.missing] == [("10.0.0.2:8443", "it is busy")]
    assert not answer.alone


def test_an_answer_of_something_else_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    replies(monkeypatch, (200, {"records": []}))
    with pytest.raises(StoreUnavailableError, match="not of this version"):
        client.read_all(an_ask("https://a"), "a-token")


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, ForbiddenError), (401, ForbiddenError), (404, NotFoundError), (400, RefusedError), (500, StoreUnavailableError)],
)
def test_a_refusal_is_an_error_of_its_kind_and_names_no_token(
    monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    replies(monkeypatch, (status, {"message": "no"}))
    with pytest.raises(error) as told:
        client.read_all(an_ask("https://a"), "a-token")
    assert "a-token" not in str(told.value)


@pytest.mark.parametrize("endpoint", ["http://a", "a:8443", "https://", "https://a:x"])
def test_a_token_is_sent_over_tls_only(endpoint: str) -> None:
    with pytest.raises(InvalidSpecError):
        client.read_all(an_ask(endpoint), "a-token")


def test_a_token_that_is_none_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError) as told:
        client.read_all(an_ask("https://127.0.0.1:1"), "secret\nsecret")
    assert "secret" not in str(told.value)
    with pytest.raises(InvalidSpecError):
        client.read_token(tmp_path / "none")

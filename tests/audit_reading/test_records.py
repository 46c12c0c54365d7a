"""Search and summary: which records are found, in which order, and what is counted."""

from __future__ import annotations

import gzip
import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.audit.golden import FOLDER as GOLDEN
from tests.audit_reading.chains import ACCOUNT, BEGIN, KEY_ID, OTHER, AChain, a_call, a_chain, arn_of, at

from keystead.audit.reading import files
from keystead.audit.reading.files import MAX_LINE, Unread
from keystead.audit.reading.plot import bars, svg
from keystead.audit.reading.records import Query, records_in
from keystead.audit.reading.search import search
from keystead.audit.reading.summary import KnownKey, callers, known_keys, summarise
from keystead.errors import InvalidSpecError

KEY_2 = "22222222-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"


def folder_of(tmp_path: Path, *records: dict[str, Any], per_file: int = 3) -> Path:
    """One chain of these records."""
    chain = AChain("a").start()
    for record in records:
        chain.add(record)
    chain.checkpoint().end().write(tmp_path, per_file, packed=True)
    return tmp_path


def ids(folder: Path, **query: Any) -> list[str]:
    """Event ids of what is found."""
    return [record.event_id.removeprefix("event-") for record, _ in records_in([folder], Query(**query))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(
        tmp_path,
        a_call(0),
        a_call(1, action="Decrypt", principal="web", namespace="team-b"),
        a_call(2, key=KEY_2, context={"table": "orders", "row": "7"}),
        a_call(3, code="AccessDenied", reason="no statement allows it", principal="web"),
        a_call(4, code="NotFoundException"),
        a_call(5, time=at(86_400)),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "0 1 2 3 4 5"),
        ({"keys": [KEY_ID]}, "0 1 3 4 5"),
        ({"keys": [arn_of(KEY_2)]}, "2"),
        ({"keys": [KEY_2[:4] + "*"]}, "2"),
        ({"keys": ["alias/2222"]}, "2"),
        ({"keys": [KEY_2, KEY_ID]}, "0 1 2 3 4 5"),
        ({"principals": [ROLE]}, "0 2 4 5"),
        ({"principals": ["web"]}, "1 3"),
        ({"principals": ["team-b/web"]}, "1"),
        ({"principals": [f"arn:aws:sts::{ACCOUNT}:assumed-role/web/*"]}, "1 3"),
        ({"actions": ["Decrypt"]}, "1"),
        ({"actions": ["kms:decrypt"]}, "1"),
        ({"actions": ["*crypt"]}, "0 1 2 3 4 5"),
        ({"namespaces": ["team-b"]}, "1"),
        ({"denied": True}, "3"),
        ({"context": {"table": "orders"}}, "2"),
        ({"context": {"table": "orders", "row": "8"}}, ""),
        ({"since": BEGIN + timedelta(seconds=2)}, "2 3 4 5"),
        ({"until": BEGIN + timedelta(seconds=2)}, "0 1"),
        ({"since": BEGIN + timedelta(hours=1)}, "5"),
        ({"keys": ["x" * 36]}, ""),
    ],
)
def test_a_question_finds_its_records(folder: Path, query: dict[str, Any], expected: str) -> None:
    assert ids(folder, **query) == expected.split()


def test_chains_are_merged_by_time(tmp_path: Path) -> None:
    for name, numbers in (("a", (0, 3, 6)), ("b", (1, 4, 7)), ("c", (2, 5, 8))):
        chain = AChain(name).start(time=numbers[0])
        for number in numbers:
            chain.add(a_call(number))
        chain.write(tmp_path, per_file=2)
    assert ids(tmp_path) == list("012345678")


def test_files_before_the_time_asked_for_are_not_read(tmp_path: Path) -> None:
    chain = AChain("a").start()
    for number in range(12):
        chain.add(a_call(number, time=at(number * 3600)))
    paths = chain.write(tmp_path, per_file=3)
    paths[0].write_bytes(paths[0].read_bytes().replace(b"Encrypt", b"Unread!"))
    found = [record.event_name for record, _ in records_in([tmp_path], Query(since=BEGIN + timedelta(hours=9)))]
    assert found == ["Encrypt"] * 3


def test_the_context_of_a_reencrypt_is_found_on_both_sides(tmp_path: Path) -> None:
    record = a_call(0, action="ReEncrypt")
    record["requestParameters"] = {"sourceEncryptionContext": {"a": "1"}, "destinationEncryptionContext": {"b": "2"}}
    folder_of(tmp_path, record)
    assert ids(tmp_path, context={"a": "1"}) == ids(tmp_path, context={"b": "2"}) == ["0"]
    assert ids(tmp_path, context={"a": "1", "b": "2"}) == []


def test_a_service_is_found_by_its_name(tmp_path: Path) -> None:
    service = {
        "keysteadType": "service", "eventTime": at(1), "eventName": "RotateKey", "eventID": "event-9",
        "userIdentity": {"accountId": ACCOUNT, "invokedBy": "keys.kms.keystead.io"}, "requestParameters": None,
        "resources": [{"ARN": arn_of(KEY_ID), "accountId": ACCOUNT}], "recipientAccountId": ACCOUNT,
    }  # fmt: skip
    folder_of(tmp_path, service)
    assert ids(tmp_path, principals=["keys.kms.keystead.io"], keys=[KEY_ID]) == ["9"]


@pytest.mark.parametrize("damaged", [b"\xff{", b'{"keysteadType":"call","deep":' + b"[" * 5_000 + b"]" * 5_000 + b"}"])
def test_a_damaged_line_hides_no_other(tmp_path: Path, damaged: bytes) -> None:
    path = folder_of(tmp_path, *(a_call(n) for n in range(3)), per_file=100) / "audit-a-000000.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[2] = damaged
    path.write_bytes(b"\n".join(lines))
    assert ids(tmp_path) == ["0", "2"]


LONG = b"x" * (3 * MAX_LINE)
DEEP = b'{"keysteadType":"call","deep":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.mark.parametrize(("bad", "said"), [(LONG, "has more than 1048576 bytes"), (DEEP, "is no record"), (b"\xff{", "is no record")])
def test_a_line_that_cannot_be_read_is_passed_over_and_told_with_its_place(tmp_path: Path, bad: bytes, said: str) -> None:
    path = folder_of(tmp_path, *(a_call(n) for n in range(5)), per_file=100) / "audit-a-000000.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], bad, *lines[3:5], bad, *lines[5:]]))
    unread = Unread()
    found = [record.event_id.removeprefix("event-") for record, _ in records_in([tmp_path], Query(), unread)]
    assert found == list("01234")
    at_byte = sum(len(line) + 1 for line in lines[:3])
    assert unread.told == (f"audit-a-000000.jsonl: the line at byte {at_byte} {said}, and was passed over; and 1 places more",)
    assert sorted(tally.count for tally in summarise([tmp_path], Query(), None).uses.values()) == [5]


A_LINE = a_chain(calls=2).lines[1]


@pytest.mark.parametrize(
    "bad",
    [
        b"garbage", b"", b"{}", b"[]", A_LINE[:-1], A_LINE[1:], A_LINE[: len(A_LINE) // 2], A_LINE[len(A_LINE) // 2 :],
        A_LINE[:40] + b"\0" * 40 + A_LINE[80:], A_LINE[:40] + b"\x9f\x03" + A_LINE[42:], A_LINE.partition(b',"chain"')[0] + b"}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["first", "within", "last"])
def test_a_damaged_line_is_told_though_it_does_not_name_what_is_asked_for(tmp_path: Path, bad: bytes, where: str) -> None:
    bad = bad.replace(KEY_ID.encode(), KEY_2.encode())
    lines = folder_of(tmp_path, *(a_call(n) for n in range(4)), per_file=100).joinpath("audit-a-000000.jsonl").read_bytes().split(b"\n")
    place = {"first": 0, "within": 3, "last": len(lines) - 2}[where]
    lines[place] = bad
    (tmp_path / "audit-a-000000.jsonl").write_bytes(b"\n".join(lines))
    at_byte = sum(len(line) + 1 for line in lines[:place])
    for query in (Query(keys=["none-has-this"]), Query(keys=[KEY_ID]), Query(keys=[KEY_ID, KEY_2]), Query()):
        unread = Unread()
        found = list(records_in([tmp_path], query, unread))
        assert unread.told == (f"audit-a-000000.jsonl: the line at byte {at_byte} is no record, and was passed over",)
        assert len(found) == (0 if "none" in str(query.keys) else 4 - (where == "within"))


def test_a_file_that_another_one_follows_ends_with_a_whole_line(tmp_path: Path) -> None:
    first, last = folder_of(tmp_path, *(a_call(n) for n in range(4)), per_file=4).glob("*.jsonl*")
    first, last = sorted((first, last))
    data = gzip.decompress(first.read_bytes())
    first.write_bytes(gzip.compress(data[:-200]))
    unread = Unread()
    list(records_in([tmp_path], Query(keys=["none-has-this"]), unread))
    place = data.rfind(b"\n", 0, -1) + 1
    assert unread.told == (f"audit-a-000000.jsonl: the line at byte {place} has no end, and was passed over",)
    assert callers([tmp_path], KEY_ID, None).unread == unread.told


def test_nothing_is_told_of_lines_that_are_what_they_were_written_as(tmp_path: Path) -> None:
    """Those of every kind, with texts of any language, and what callers name as members of ours are named."""
    context = {"keysteadType": "call", "chain": '"}}', "prev": "\u00fc\u4e2d\U0001f511", "n": "\n"}
    path = folder_of(tmp_path, *(a_call(n, context=context) for n in range(300)), per_file=1000) / "audit-a-000000.jsonl"
    path.write_bytes(path.read_bytes().replace(rb"\u00fc", "\u00fc".encode()))  # either way is JSON
    unread = Unread()
    for keys in ([KEY_ID], ["none-has-this"], []):
        assert len(list(records_in([tmp_path, GOLDEN], Query(keys=keys), unread))) >= (300 if keys != ["none-has-this"] else 0)
    assert unread.told == ()


@pytest.mark.parametrize("how", ["cut", "changed", "endless"])
def test_a_file_that_cannot_be_read_to_its_end_says_how_far(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_of(tmp_path, *(a_call(n, context={"n": f"{n}" * 900}) for n in range(2000)), per_file=2001) / "audit-a-000000.jsonl.gz"
    data = path.read_bytes()
    match how:
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "changed":
            path.write_bytes(data[: len(data) // 2] + b"\0" * 100 + data[len(data) // 2 + 100 :])
        case "endless":  # what is packed tightly is not unpacked without end
            monkeypatch.setattr(files, "MOST_PASSED", 4 * MAX_LINE)
            path.write_bytes(gzip.compress(gzip.decompress(data) + b"\0" * (64 * MAX_LINE) + b"\n"))
    unread = Unread()
    found = [int(record.event_id.removeprefix("event-")) for record, _ in records_in([tmp_path], Query(), unread)]
    (told,) = unread.told
    assert re.match(r"audit-a-000000\.jsonl: it was read up to byte \d+, and no further \(\w+\)", told)
    assert found == sorted(found)
    assert (how == "endless") == (len(found) == 2000)
    assert [text.partition(";")[0] for text in callers([tmp_path], KEY_ID, None).unread] == [told.partition(";")[0]]
    assert summarise([tmp_path], Query(), None).as_json()["unread"] == [told]


def test_what_a_crash_leaves_is_nothing_that_is_missing(tmp_path: Path) -> None:
    path = folder_of(tmp_path, a_call(0), per_file=100) / "audit-a-000000.jsonl"
    path.write_bytes(path.read_bytes() + b'{"keysteadType":"call","eventVer')
    unread = Unread()
    assert len(list(records_in([tmp_path], Query(), unread))) == 1
    assert unread.told == ()


def test_lines_of_others_have_a_bound() -> None:
    text = b"short\n" + b"x" * 100 + b"\n" + b"y" * 9 + b"\n" + b"z" * 10 + b"\n\nlast"
    assert list(files.bounded_lines(io.BytesIO(text), 10)) == [b"short\n", b"yyyyyyyyy\n", b"\n", b"last"]
    assert list(files.bounded_lines(io.BytesIO(b"x" * 25), 10)) == []


def test_a_row_says_who_did_what_to_which_key_and_why(folder: Path) -> None:
    rows = [row for row, _ in search([folder], Query(denied=True), None, None)]
    assert rows == [
        {
            "time": at(3), "action": "Encrypt", "principal": f"arn:aws:iam::{ACCOUNT}:role/web", "key": KEY_ID,
            "result": "AccessDenied", "reason": "no statement allows it",
        }
    ]  # fmt: skip
    assert len(list(search([folder], Query(), 2, None))) == 2


def test_the_api_servers_requests_stand_beside_the_call_that_made_them(folder: Path, tmp_path: Path) -> None:
    def event(audit_id: str, stage: str = "ResponseComplete") -> dict[str, Any]:
        ref = {"resource": "kmskeys", "namespace": "team-a", "name": "k"}
        return {"auditID": audit_id, "stage": stage, "verb": "patch", "objectRef": ref, "responseStatus": {"code": 200}}

    log = tmp_path / "api.log"
    events = [event("request-2"), event("request-2", "RequestReceived"), event("other")]
    log.write_text("".join(json.dumps(item) + "\n" for item in events) + '{"cut', encoding="utf-8")
    found = list(search([folder], Query(), None, log))
    assert [row["apiServer"] for row, _ in found] == ["", "", "patch team-a/kmskeys/k 200", "", "", ""]
    assert [item["verb"] for item in json.loads(found[2][1])["apiServer"]] == ["patch"]
    with pytest.raises(InvalidSpecError):
        list(search([folder], Query(), None, tmp_path / "none"))


def test_the_summary_counts_uses_denials_failures_and_days(folder: Path) -> None:
    told = summarise([folder], Query(), [KnownKey("team-a", "k", KEY_ID), KnownKey("team-a", "idle", "9")]).as_json()
    assert {(use["key"], use["principal"], use["action"]): use["count"] for use in told["uses"]} == {
        (KEY_ID, ROLE, "Encrypt"): 2,
        (KEY_ID, f"arn:aws:iam::{ACCOUNT}:role/web", "Decrypt"): 1,
        (KEY_2, ROLE, "Encrypt"): 1,
    }
    assert [(denied["reason"], denied["count"]) for denied in told["denied"]] == [("no statement allows it", 1)]
    assert told["failed"] == [{"action": "Encrypt", "error": "NotFoundException", "count": 1}]
    assert told["days"] == [{"day": "2026-11-26", "calls": 5, "denied": 1}, {"day": "2026-11-27", "calls": 1, "denied": 0}]
    assert told["neverUsed"] == [{"namespace": "team-a", "name": "idle", "key": "9"}]
    assert told["recordsReachBackTo"] == at(0)


def test_nothing_is_said_of_unused_keys_where_the_keys_are_not_known(folder: Path) -> None:
    assert "neverUsed" not in summarise([folder], Query(), None).as_json()


@pytest.mark.parametrize(
    ("action", "service", "idle"),
    [
        ("CreateKey", "keys.kms.keystead.io", ["k"]),
        ("CreateAlias", "aliases.kms.keystead.io", ["k"]),
        ("IssueDataKey", "datakeys.kms.keystead.io", []),
    ],
)
def test_what_the_operator_does_to_a_key_is_no_use_of_it_but_a_data_key_is(
    tmp_path: Path, action: str, service: str, idle: list[str]
) -> None:
    who = {"accountId": ACCOUNT, "invokedBy": service}
    folder_of(tmp_path, a_call(action=action, more={"keysteadType": "service", "userIdentity": who}))
    told = summarise([tmp_path], Query(), [KnownKey("team-a", "k", KEY_ID)]).as_json()
    assert [(use["principal"], use["action"]) for use in told["uses"]] == [(service, action)]
    assert [key["name"] for key in told["neverUsed"]] == idle


def test_a_call_from_another_account_counts_once(tmp_path: Path) -> None:
    mine = a_call(0, caller_account=OTHER, account=ACCOUNT)
    theirs = a_call(0, caller_account=OTHER, account=ACCOUNT, recipient=ACCOUNT)
    folder_of(tmp_path, mine, theirs)
    assert [use["count"] for use in summarise([tmp_path], Query(), None).as_json()["uses"]] == [1]
    assert callers([tmp_path], KEY_ID, None).rows[0].count == 1


def test_a_foreign_key_that_refused_is_counted_for_the_operator_of_the_install(tmp_path: Path) -> None:
    hidden = {"resources": [{"ARN": arn_of(KEY_2, OTHER)}], "decisions": [{"reason": "the key's policy names nobody abroad"}]}
    record = a_call(0, code="AccessDeniedException", more={"operatorOnly": hidden, "resources": []})
    folder_of(tmp_path, record)
    (denied,) = summarise([tmp_path], Query(), None).as_json()["denied"]
    assert (denied["key"], denied["reason"]) == (KEY_2, "the key's policy names nobody abroad")


def test_a_refused_call_without_a_known_key_is_told_as_it_was_asked(tmp_path: Path) -> None:
    asked = {"resources": [], "requestParameters": {"keyId": arn_of(KEY_2, OTHER)}}
    folder_of(tmp_path, a_call(0, code="AccessDeniedException", reason="", more=asked))
    (denied,) = summarise([tmp_path], Query(), None).as_json()["denied"]
    assert (denied["key"], denied["reason"]) == (arn_of(KEY_2, OTHER), "AccessDeniedException")


def test_names_that_callers_make_up_are_told_to_a_bound(tmp_path: Path) -> None:
    made = [{"resources": [], "requestParameters": {"keyId": f"alias/{number}"}} for number in range(1100)]
    folder_of(tmp_path, *(a_call(number, code="AccessDeniedException", reason="", more=more) for number, more in enumerate(made)))
    told = summarise([tmp_path], Query(), None).as_json()["denied"]
    assert (len(told), told[0]["key"], told[0]["count"]) == (1001, "(others)", 100)


def test_keysteads_own_keys_are_not_told_as_never_used(folder: Path) -> None:
    told = summarise([folder], Query(), [KnownKey("keystead-records", "audit-signing", "8"), KnownKey("a", "idle", "9")]).as_json()
    assert [key["name"] for key in told["neverUsed"]] == ["idle"]


def test_callers_of_a_key_are_told_with_their_actions_and_from_when_it_is_known(folder: Path) -> None:
    told = callers([folder], KEY_ID, BEGIN - timedelta(days=90))
    assert told.reaches_back == at(0)
    assert [(row.principal, dict(row.actions), row.denied, row.last) for row in told.rows] == [
        (ROLE, {"Encrypt": 3}, 0, at(86_400)),
        (f"arn:aws:iam::{ACCOUNT}:role/web", {"Decrypt": 1}, 1, at(3)),
    ]
    assert callers([folder], "none", None).rows == ()


def test_keys_are_read_from_what_kubectl_lists() -> None:
    item = {"metadata": {"namespace": "team-a", "name": "k"}, "status": {"keyId": KEY_ID}}
    assert known_keys({"items": [item, {"metadata": {"namespace": "team-a", "name": "new"}}]}) == [KnownKey("team-a", "k", KEY_ID)]
    assert known_keys([]) == []


@pytest.mark.parametrize("count", [0, 1, 90])
def test_the_plot_has_a_bar_for_each_day(count: int) -> None:
    first = datetime(2026, 9, 1)
    days = [{"day": f"{first + timedelta(days=n):%Y-%m-%d}", "calls": n * 7, "denied": n % 3} for n in range(1, count + 1)]
    titles = [item.text for item in ElementTree.fromstring(svg(days)).iter("{http://www.w3.org/2000/svg}title")]
    assert sum("allowed" in (title or "") for title in titles) == count
    assert sum("denied" in (title or "") for title in titles) == sum(day["denied"] > 0 for day in days)
    lines = bars(days)
    assert len(lines) == count
    assert all("#" in line for line in lines)


@pytest.mark.parametrize("who", ["web", "team-a/web", "system:serviceaccount:team-a:web"])
def test_who_got_credentials_is_a_principal_by_the_token_that_was_his(tmp_path: Path, who: str) -> None:
    identity = {"type": "WebIdentityUser", "userName": "system:serviceaccount:team-a:web", "identityProvider": "kubernetes"}
    folder = folder_of(tmp_path, a_call(0), a_call(1, action="AssumeRoleWithWebIdentity", more={"userIdentity": identity}))
    assert ids(folder, principals=[who]) == ["1"]
    used = summarise([folder], Query(), None).as_json()["uses"]
    assert [row["principal"] for row in used if row["action"] == "AssumeRoleWithWebIdentity"] == ["system:serviceaccount:team-a:web"]

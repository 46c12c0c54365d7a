"""Documents: what is taken, and where what is not taken is wrong."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import ACCOUNT
from tests.policy.documents import ROOT, policy, role, statement

from keystead.errors import MalformedPolicyDocumentError
from keystead.policy import Action, compile_policy
from keystead.policy.actions import KNOWN
from keystead.policy.documents import MAX_BYTES, Effect, check_covers, parse

ARN = f"arn:aws:kms:cluster-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def refused(text) -> str:
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        compile_policy(text, ARN)
    assert caught.value.code == "MalformedPolicyDocumentException"
    return caught.value.message


def changed(**members) -> bytes:
    made = {**statement(), **members}
    return policy({name: value for name, value in made.items() if value is not None})


def test_a_document_is_values():
    document = parse(policy(statement(ROOT, "kms:Decrypt", Sid="one two"), statement(effect="Deny")))
    first, second = document.statements
    assert (document.version, document.id, first.sid, first.label, second.label) == (
        "2012-10-17",
        "",
        "one two",
        "one two",
        "Statement[1]",
    )
    assert (first.effect, first.actions, second.actions) == (
        Effect.ALLOW,
        frozenset({Action.DECRYPT}),
        frozenset(Action),
    )
    assert document == parse(policy(statement(ROOT, "kms:Decrypt", Sid="one two"), statement(effect="Deny")))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Statement": statement()}),
        json.dumps({"Version": "2008-10-17", "Id": "x", "Statement": [statement()]}),
        policy(statement(Sid="\u00e9"), version=None),
        policy(statement(Sid=""), statement(Sid="")),
        policy(statement(Condition={})),
        policy(statement(action="*")),
        policy(statement(action=["kms:decrypt", "KMS:DescribeKey", "kms:Import*", "kms:SynchronizeMultiRegionKey"])),
        policy(statement(Resource=["*"])),
        policy(statement(Resource=ARN)),
        policy(statement(Resource=["arn:aws:s3:::x", f"arn:aws:kms:*:{ACCOUNT}:key/*"])),
        policy(
            statement(
                Condition={
                    "Bool": {"kms:MultiRegion": True},
                    "NumericEquals": {"KMS:ROTATIONPERIODINDAYS": [90, "180"]},
                }
            )
        ),
    ],
)
def test_quirks_of_aws_are_taken(text):
    compile_policy(text, ARN)


def test_a_member_twice_is_refused_for_two_readers_could_read_two_things():
    text = policy(statement()).replace(b'"Effect": "Allow"', b'"Effect": "Deny", "Effect": "Allow"')
    assert text.count(b"Effect") == 2
    assert refused(text) == "The policy document is not valid JSON."


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (changed(Effect="allow"), "Statement[0].Effect"),
        (changed(Effect=None), "Statement[0].Effect"),
        (changed(Principal=None), "Statement[0]: needs exactly one of Principal and NotPrincipal"),
        (changed(NotPrincipal="*"), "Statement[0]: needs exactly one of Principal"),
        (changed(Principal=None, NotPrincipal="*"), "Statement[0].NotPrincipal"),
        (changed(Action=None), "Statement[0]: needs exactly one of Action and NotAction"),
        (changed(Action=[]), "Statement[0].Action"),
        (changed(Action=7), "Statement[0].Action"),
        (changed(Action=["kms:*", None]), "Statement[0].Action[1]"),
        (changed(Action="kms:Decyrpt"), "Statement[0].Action: there is no action kms:Decyrpt; did you mean kms:Decrypt"),
        (changed(Action="kms:fly"), "Statement[0].Action: there is no action kms:fly"),
        (changed(Action="kms:ReEncrypt"), "Statement[0].Action: there is no action kms:ReEncrypt; did you mean kms:ReEncrypt*"),
        (changed(Action="s3:GetObject"), "Statement[0].Action"),
        (changed(Action="kms:"), "Statement[0].Action"),
        (changed(Action=None, NotAction="kms:Nothing*"), "Statement[0].NotAction"),
        (changed(Resource=None), "Statement[0].Resource"),
        (changed(Resource=[]), "Statement[0].Resource"),
        (changed(Resource="arn:aws:kms:cluster-1:1:key/x"), "Statement[0].Resource"),
        (changed(NotResource="*"), "Statement[0].NotResource"),
        (changed(Sid=7), "Statement[0].Sid"),
        (changed(Condition=[]), "Statement[0].Condition"),
        (changed(Condition={"Bool": {}}), "Statement[0].Condition.Bool"),
        (changed(Condition={"StringLike": {"kms:KeySpec": []}}), "Statement[0].Condition.StringLike.kms:KeySpec"),
        (changed(Condition={"StringLike": {"kms:KeySpec": {"a": 1}}}), "Statement[0].Condition.StringLike.kms:KeySpec"),
        (
            changed(Condition={"StringLike": {"kms:KeySpec": "a", "KMS:keyspec": "b"}}),
            "Statement[0].Condition.StringLike",
        ),
        (
            changed(Condition={"ForAnyValue:StringLike": {"aws:TagKeys": None}}),
            "Statement[0].Condition.ForAnyValue:StringLike",
        ),
        (policy(statement(Sid="x"), statement(), statement(Sid="x")), "Statement[2].Sid"),
        (policy(), "Statement"),
        (b"{}", "Statement"),
        (b'{"Statement": "x"}', "Statement"),
        (b'{"Statement": [[]]}', "Statement[0]"),
        (b'{"Statements": []}', "Statements"),
        (policy(statement(), version="2012-10-18"), "Version"),
        (json.dumps({"Version": 1, "Statement": statement()}), "Version"),
        (json.dumps({"Id": None, "Statement": statement()}), "Id"),
    ],
)
def test_the_place_of_what_is_wrong_is_named(text, place):
    assert refused(text).startswith(place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"Statement": 1} {}',
        '{"Statement": NaN}',
        '{"Statement": Infinity}',
        '{"Statement": 1e999}',
        '{"Statement": ' + "9" * 30 + "}",
        '{"Id": "a", "Id": "b", "Statement": []}',
        '{"Id": "\\ud800", "Statement": []}',
        '{"Id": "\ud800"}',
        "[" * 16_000,
        '{"a":' * 5_000,
        b"\xff\xfe{}",
        b"\x00",
        b'\xef\xbb\xbf{"Statement": []}',
    ],
)
def test_hostile_texts_are_malformed(text):
    refused(text)


def test_a_document_has_32_kb_at_most():
    room = MAX_BYTES - len(policy(statement(Sid="")))
    compile_policy(policy(statement(Sid="x" * room)), ARN)
    assert "32768" in refused(policy(statement(Sid="x" * (room + 1))))
    assert "32768" in refused(policy(statement(Sid="")).decode() + " " * room + " ")


def test_what_a_document_says_is_cut_and_printable_in_a_message():
    message = refused(changed(Action="kms:" + "x" * 5000))
    assert len(message) < 300
    assert refused(changed(**{"Sid\n\u202e": "x"})).isprintable()


@pytest.mark.parametrize("count", [64, 65])
def test_question_marks_are_bounded(count):
    made = changed(Condition={"StringLike": {"aws:PrincipalArn": "?" * count}})
    if count == 64:
        compile_policy(made, ARN)
    else:
        assert "question marks" in refused(made)


@pytest.mark.parametrize("kind", ["Action", "AWS", "values", "statements"])
def test_huge_lists_are_read_in_bounded_time(kind, steps_of):
    many = {
        "Action": lambda: changed(Action=[f"kms:*{n:x}*" for n in range(2500)]),
        "AWS": lambda: changed(Principal={"AWS": [f"{n:012}" for n in range(2000)]}),
        "values": lambda: changed(Condition={"StringLike": {"kms:KeySpec": [f"*{n:x}*" for n in range(3000)]}}),
        "statements": lambda: policy(*[statement(role("a")) for _ in range(200)]),
    }[kind]()

    def read():
        with contextlib.suppress(MalformedPolicyDocumentError):
            compile_policy(many, ARN)

    read()
    assert 0 < steps_of(read) < 1_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_read_or_malformed(given_json):
    for document in (given_json, {"Statement": given_json}, {"Statement": {**statement(), "Condition": given_json}}):
        with contextlib.suppress(MalformedPolicyDocumentError):
            parse(json.dumps(document))


MEMBERS = ["Effect", "Principal", "Action", "Resource", "Condition", "Sid"]


@given(
    st.sampled_from(MEMBERS),
    st.none() | st.text() | st.lists(st.text(), max_size=2) | st.dictionaries(st.text(), st.text(), max_size=2),
)
def test_a_member_of_any_kind_is_read_or_malformed(member, value):
    made = copy.deepcopy(statement())
    made[member] = value
    try:
        parse(policy(made))
    except MalformedPolicyDocumentError as error:
        assert error.message.startswith("Statement[0]")


def test_the_known_actions_are_those_of_aws():
    model = pytest.importorskip("botocore.session").get_session().get_service_model("kms")
    operations = set(model.operation_names) - {"ReEncrypt"}
    assert set(KNOWN) == operations | {"ReEncryptFrom", "ReEncryptTo", "SynchronizeMultiRegionKey"}


def test_every_statement_must_cover_the_key():
    document = parse(policy(statement(), statement(Resource="arn:aws:kms:*:*:alias/x")))
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        check_covers(document, ARN)
    assert caught.value.message.startswith("Statement[1].Resource")

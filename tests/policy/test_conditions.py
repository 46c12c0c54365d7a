"""Conditions: every operator and every key, with values that fit, that do not, and that are absent.

Sources of the tables: IAM user guide, 'IAM JSON policy elements: Condition operators' and 'Single-valued vs. multivalued context keys';
AWS KMS developer guide, 'Condition keys for AWS KMS'.
"""

from __future__ import annotations

import pytest
from tests.builders import ACCOUNT
from tests.policy.documents import ask, holds, policy, role, statement

from keystead.errors import MalformedPolicyDocumentError
from keystead.policy import compile_policy
from keystead.policy.operators import OPERATORS

ARN = f"arn:aws:kms:cluster-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = "kms:EncryptionContext:x"


# operator, what the policy says, what the request says, does it hold
COMPARISONS = [
    ("StringEquals", "Ab", "Ab", True),
    ("StringEquals", "Ab", "ab", False),
    ("StringEquals", ["x", "Ab"], "Ab", True),
    ("StringEquals", "A*", "Ab", False),
    ("StringEquals", "", "", True),
    ("StringNotEquals", "Ab", "ab", True),
    ("StringNotEquals", ["x", "Ab"], "Ab", False),
    ("StringEqualsIgnoreCase", "STRASSE", "stra\u00dfe", True),
    ("StringEqualsIgnoreCase", "a", "b", False),
    ("StringNotEqualsIgnoreCase", "AB", "ab", False),
    ("StringNotEqualsIgnoreCase", "AB", "ac", True),
    ("StringLike", "a*c?", "abcd", True),
    ("StringLike", ["x*", "a*"], "abcd", True),
    ("StringLike", "A*", "abcd", False),
    ("StringNotLike", ["x*", "a*"], "abcd", False),
    ("StringNotLike", "x*", "abcd", True),
    ("StringLike", "${*}", "*", True),
    ("StringLike", "${*}", "a", False),
    ("NumericEquals", "10", "10.0", True),
    ("NumericEquals", 10, "11", False),
    ("NumericNotEquals", "10", "11", True),
    ("NumericNotEquals", [10, 11], "11", False),
    ("NumericLessThan", "10", "9", True),
    ("NumericLessThan", "10", "10", False),
    ("NumericLessThanEquals", "10", "10", True),
    ("NumericLessThanEquals", "10", "10.5", False),
    ("NumericGreaterThan", "10", "9", False),
    ("NumericGreaterThan", "-1.5", "-1.25", True),
    ("NumericGreaterThanEquals", ["10", "1"], "5", True),
    ("NumericGreaterThanEquals", "10", "10", True),
    ("NumericGreaterThanEquals", "10", "9.5", False),
    ("DateEquals", "2026-01-01", "2026-01-01T00:00:00Z", True),
    ("DateEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", True),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", False),
    ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", True),
    ("DateNotEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", False),
    ("DateLessThan", "2026-01", "2025-12-31T23:59:59Z", True),
    ("DateLessThan", "2026-01", "2026-01-01T00:00:00Z", False),
    ("DateLessThanEquals", "2026", "2026-01-01T00:00:00Z", True),
    ("DateLessThanEquals", "2026", "2026-01-01T00:00:01Z", False),
    ("DateGreaterThan", "1767225600", "2026-01-01T00:00:01Z", True),
    ("DateGreaterThan", "1767225600", "2026-01-01T00:00:00Z", False),
    ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
    ("DateGreaterThanEquals", "1767225600", "2025-12-31T23:59:59Z", False),
    ("Bool", True, "TRUE", True),
    ("Bool", "false", "true", False),
    ("IpAddress", "203.0.113.0/24", "203.0.113.77", True),
    ("IpAddress", "203.0.113.0/24", "203.0.114.0", False),
    ("IpAddress", "203.0.113.5", "203.0.113.5", True),
    ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], "2001:db8:1::1", True),
    ("IpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", True),
    ("IpAddress", "::ffff:10.0.0.0/104", "10.1.2.3", True),
    ("IpAddress", "0.0.0.0/0", "::1", False),
    ("NotIpAddress", "203.0.113.0/24", "203.0.113.77", False),
    ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
    ("ArnLike", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", True),
    ("ArnEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", True),
    ("ArnEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:user/ab", False),
    ("ArnLike", "arn:aws:iam::*role/a", "arn:aws:iam::1:role/a", None),
    ("ArnLike", "arn:*:x:y:z:role", "arn:aws:iam:x:y:z:role", False),
    ("ArnLike", "arn:aws:logs:*:*:log-group:x", "arn:aws:logs:r:1:log-group:x", True),
    ("ArnNotEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", False),
    ("ArnNotEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/b", True),
    ("ArnNotLike", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/b", True),
    ("ArnNotLike", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", False),
]


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "expected"), [row for row in COMPARISONS if row[3] is not None]
)
def test_operators_compare(operator, wanted, given, expected):
    for effect in ("Allow", "Deny"):
        assert holds(operator, CONTEXT, wanted, effect=effect, context={"x": given}) is expected
        assert holds(f"{operator}IfExists", CONTEXT, wanted, effect=effect, context={"x": given}) is expected


def test_every_operator_is_compared_with_what_fits_and_with_what_does_not():
    for expected in (True, False):
        assert {row[0] for row in COMPARISONS if row[3] is expected} == set(OPERATORS)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_without_the_key_a_negated_operator_holds_and_any_with_if_exists(operator):
    value = next(row[1] for row in COMPARISONS if row[0] == operator and row[3] is not None)
    assert holds(operator, CONTEXT, value) is OPERATORS[operator].negated
    assert holds(f"{operator}IfExists", CONTEXT, value)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NumericLessThan", "10"),
        ("NumericNotEquals", "10"),
        ("DateLessThan", "2026"),
        ("Bool", "true"),
        ("IpAddress", "0.0.0.0/0"),
        ("NotIpAddress", "10.0.0.0/8"),
    ],
)
def test_what_cannot_be_compared_closes(operator, value):
    context = {"x": "neither"}
    assert not holds(operator, CONTEXT, value, context=context)
    assert holds(operator, CONTEXT, value, effect="Deny", context=context)


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals"])
def test_of_two_values_under_one_name_neither_opens(operator):
    context = {"x": "1", "X": "2"}
    assert not holds(operator, CONTEXT, "1", context=context)
    assert holds(operator, CONTEXT, "1", effect="Deny", context=context)


NULL = [
    ("true", {}, True),
    ("true", {"x": "1"}, False),
    ("false", {}, False),
    ("false", {"X": ""}, True),
    (True, {}, True),
    (False, {"x": "1"}, True),
]


@pytest.mark.parametrize(("value", "context", "expected"), NULL)
def test_null_asks_whether_a_key_is_absent(value, context, expected):
    assert holds("Null", CONTEXT, value, context=context) is expected
    assert holds("Null", "kms:EncryptionContextKeys", value, context=context) is expected


SETS = [
    # quantifier:operator, policy, request's keys, holds
    ("ForAnyValue:StringEquals", ["AppName"], {"AppName", "Project"}, True),
    ("ForAnyValue:StringEquals", ["AppName"], {"appname"}, False),
    ("ForAnyValue:StringEquals", ["AppName"], set(), False),
    ("ForAllValues:StringEquals", ["Department", "Project"], {"Department"}, True),
    ("ForAllValues:StringEquals", ["Department", "Project"], {"Department", "Stage"}, False),
    ("ForAllValues:StringEquals", ["Department", "Project"], set(), True),
    ("ForAnyValue:StringNotEquals", ["a"], {"a", "b"}, True),
    ("ForAnyValue:StringNotEquals", ["a"], {"a"}, False),
    ("ForAnyValue:StringNotEquals", ["a"], set(), False),
    ("ForAllValues:StringNotEquals", ["a"], {"a", "b"}, False),
    ("ForAllValues:StringNotEquals", ["a"], {"b"}, True),
    ("ForAllValues:StringNotEquals", ["a"], set(), True),
    ("ForAnyValue:StringLikeIfExists", ["a*"], set(), True),
    ("ForAnyValue:StringLikeIfExists", ["a*"], {"b"}, False),
    ("ForAllValues:StringEqualsIgnoreCase", ["APP"], {"app"}, True),
]


@pytest.mark.parametrize(("operator", "values", "keys", "expected"), SETS)
def test_sets_of_values_are_compared(operator, values, keys, expected):
    context = dict.fromkeys(keys, "v")
    for effect in ("Allow", "Deny"):
        assert holds(operator, "kms:EncryptionContextKeys", values, effect=effect, context=context) is expected


def test_for_any_value_on_a_single_valued_key_is_the_comparison_itself_and_fails_without_it():
    assert holds("ForAnyValue:StringEquals", CONTEXT, "1", context={"x": "1"})
    assert not holds("ForAnyValue:StringNotEquals", CONTEXT, "1")


@pytest.mark.parametrize(
    ("operator", "key", "value", "words"),
    [
        (
            "StringMatches",
            "kms:KeySpec",
            "x",
            "Statement[0].Condition.StringMatches: the condition operator StringMatches is not implemented",
        ),
        ("stringequals", "kms:KeySpec", "x", "operator stringequals"),
        ("BinaryEquals", "kms:KeySpec", "eA==", "operator BinaryEquals"),
        ("ForSomeValues:StringLike", "kms:KeySpec", "x", "operator ForSomeValues:StringLike"),
        ("ForAllValues:Null", "aws:TagKeys", "true", "operator ForAllValues:Null"),
        ("NullIfExists", "kms:KeySpec", "true", "operator NullIfExists"),
        ("StringEquals", "aws:PrincipalOrgID", "o-1", "the condition key aws:PrincipalOrgID is not implemented"),
        ("StringEquals", "aws:PrincipalTag/team", "a", "the condition key aws:PrincipalTag/team is not implemented"),
        ("StringEquals", "kms:EncryptionContext:", "a", "the condition key kms:EncryptionContext: is not implemented"),
        ("StringEquals", "kms:RecipientAttestation:ImageSha384", "a", "is not implemented"),
        ("StringEquals", "kms:Nothing", "a", "is not implemented"),
        ("ForAllValues:StringEquals", CONTEXT, "a", "OverlyPermissiveCondition: Using the ForAllValues set operator"),
        ("ForAllValues:StringEquals", "aws:RequestTag/a", "a", "OverlyPermissiveCondition"),
        ("ForAllValues:StringEquals", "kms:CallerAccount", "a", "OverlyPermissiveCondition"),
        ("StringEquals", "kms:GrantOperations", "Decrypt", "say ForAnyValue:StringEquals or ForAllValues:StringEquals"),
        ("StringNotLike", "aws:TagKeys", "a", "say ForAnyValue:StringNotLike"),
        ("NumericEquals", "kms:KeySpec", "1", "NumericEquals does not compare kms:KeySpec, whose type is String"),
        ("Bool", "aws:SourceIp", "true", "does not compare"),
        ("IpAddress", "aws:PrincipalArn", "10.0.0.0/8", "does not compare"),
        ("DateLessThan", "kms:RotationPeriodInDays", "2026", "does not compare"),
        ("StringEquals", "aws:PrincipalArn", "${aws:username}", "policy variables are not implemented"),
        ("StringLike", CONTEXT, "a${*}${aws:PrincipalTag/x}", "policy variables are not implemented"),
        ("Null", "kms:KeySpec", "maybe", "Null compares with true"),
        ("Null", "kms:KeySpec", ["true", "false"], "Null compares with true"),
        ("Bool", "kms:MultiRegion", "yes", "yes is not true or false"),
        *(
            ("NumericEquals", "kms:RotationPeriodInDays", text, "is not a number")
            for text in ("", "1e3", "0x1", "NaN", "1" * 30, "\u0661", "1\n")
        ),
        *(
            ("DateEquals", "aws:CurrentTime", text, "is not a date")
            for text in ("", "now", "2026-13-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "0000", "2026-01-01Z")
        ),
        *(
            ("IpAddress", "aws:SourceIp", text, "is not an IP address")
            for text in ("", "10", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "::/129", "fe80::1%eth0", "a.b")
        ),
        *(
            ("ArnLike", "aws:PrincipalArn", text, "is not an ARN")
            for text in ("*", "arn:aws:iam::*role/a", "x:aws:iam::1:role/a")
        ),
    ],
)
def test_what_is_not_implemented_or_not_comparable_is_refused_by_name(operator, key, value, words):
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        compile_policy(policy(statement(Condition={operator: {key: value}})), ARN)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"Statement[0].Condition.{operator}")


def test_variables_are_literals_in_the_old_version():
    document = policy(
        statement(role("app"), Condition={"StringEquals": {CONTEXT: "${aws:username}"}}), version="2008-10-17"
    )
    assert ask(document, context={"x": "${aws:username}"}).allowed

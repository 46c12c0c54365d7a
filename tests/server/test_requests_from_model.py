"""Every request that the service model makes invalid is refused with AWS's code and words: bounds, enums, types, missing, unknown.

For all operations of the model: with our dataclasses where they are served, else with dataclasses made from the model.
"""

from __future__ import annotations

import copy
import json
import re
import time

import pytest
from tests.server import cases
from tests.server.cases import RAW, ROWS, SERVED, SHAPES, Place

from keystead.errors import UnsupportedOperationError, ValidationError
from keystead.server.codec import Codec
from keystead.server.constraints import MOST, SHOWN, constraints_of
from keystead.server.model import MODEL
from keystead.server.wire_errors import SerializationError

CODEC = Codec(ROWS)
every = pytest.mark.parametrize("operation", sorted(RAW["operations"]))
served = pytest.mark.parametrize("operation", sorted(SERVED))


def required_of(operation: str) -> list[str]:
    return SHAPES[cases.input_of(operation)].get("required", [])


def send(operation: str, body: object):
    return CODEC.decode(operation, json.dumps(body).encode())


def bodies(operation: str, place: Place, value: object) -> dict:
    return cases.with_value(copy.deepcopy(cases.base(operation, ROWS[operation])), place, value, operation)


@every
def test_the_least_valid_request_is_taken(operation):
    assert type(send(operation, cases.base(operation, ROWS[operation]))) is ROWS[operation].request


@every
def test_a_broken_constraint_is_told_in_aws_words(operation):
    tried = 0
    for place in cases.places(operation):
        for value in cases.broken_values(place.shape):
            sent = [cases.wire(cases.SHAPES[place.shape]["member"]["shape"], v) for v in value] if isinstance(value, list) else value
            with pytest.raises(ValidationError) as refused:
                send(operation, bodies(operation, place, cases.wire(place.shape, sent)))
            assert refused.value.message == cases.message(cases.texts(place, value)), place
            tried += 1
    assert tried


@every
def test_a_value_at_its_bound_is_taken(operation):
    for place in cases.places(operation):
        for value in cases.edge_values(place.shape):
            try:
                send(operation, bodies(operation, place, cases.wire(place.shape, value)))
            except UnsupportedOperationError:
                assert not cases.known(place, ROWS[operation].request)


@every
def test_a_value_of_another_type_is_a_serialization_exception(operation):
    for place in cases.places(operation):
        for value in cases.WRONG[cases.kind(place.shape)]:
            with pytest.raises(SerializationError):
                send(operation, bodies(operation, place, value))


@every
def test_a_missing_or_null_required_member_is_told_as_null(operation):
    for place in cases.places(operation):
        if not place.required:
            continue
        body = bodies(operation, place, cases.sample(place.shape))
        for body_without in (bodies(operation, place, None), _without(body, place)):
            with pytest.raises(ValidationError) as refused:
                send(operation, body_without)
            told = f"Value null at '{place.at}' failed to satisfy constraint: Member must not be null"
            assert refused.value.message == cases.message([told])


@every
def test_a_null_optional_member_is_the_same_as_none(operation):
    for place in cases.places(operation):
        if len(place.path) == 1 and str(place.path[0]) not in cases.base(operation, ROWS[operation]):
            assert send(operation, bodies(operation, place, None)) == send(operation, cases.base(operation, ROWS[operation]))


@every
def test_null_inside_a_list_is_refused(operation):
    for place in cases.places(operation):
        if place.path[-1] == 0:
            with pytest.raises(SerializationError):
                send(operation, bodies(operation, place, None))


@every
def test_an_unknown_member_is_refused_at_every_depth_and_not_named(operation):
    sent = [cases.base(operation, ROWS[operation]) | {"S3cret": None}]
    for place in cases.places(operation):
        if cases.kind(place.shape) == "structure":
            sent.append(bodies(operation, place, cases.sample(place.shape) | {"S3cret": "v"}))
    for body in sent:
        with pytest.raises(SerializationError) as refused:
            send(operation, body)
        assert "S3cret" not in refused.value.message


@pytest.mark.parametrize("operation", [name for name in sorted(ROWS) if len(required_of(name)) > 1])
def test_all_that_is_wrong_is_told_in_one_message(operation):
    required = required_of(operation)
    with pytest.raises(ValidationError) as refused:
        send(operation, {})
    assert refused.value.message.startswith(f"{len(required)} validation errors detected: Value null at '")
    assert refused.value.message.count("; ") == len(required) - 1


@served
def test_each_enum_value_of_the_model_is_taken_or_said_to_be_unsupported(operation):
    for place in cases.places(operation):
        for value in SHAPES[place.shape].get("enum", ()):
            try:
                send(operation, bodies(operation, place, value))
            except UnsupportedOperationError as refused:
                name = value if cases.known(place, ROWS[operation].request) else place.path[0]
                assert refused.message == f"{name} is not supported in this version."


@served
def test_a_member_that_we_do_not_have_is_never_ignored(operation):
    for place in cases.places(operation):
        if len(place.path) == 1 and not cases.known(place, ROWS[operation].request):
            with pytest.raises(UnsupportedOperationError, match=str(place.path[0])):
                send(operation, bodies(operation, place, cases.sample(place.shape)))


def test_a_body_full_of_small_faults_gets_a_small_answer():
    tags = {"KeyId": "x", "Tags": [{"TagKey": "", "TagValue": "v" * 257}] * 50_000}
    with pytest.raises(ValidationError) as refused:
        send("TagResource", tags)
    assert refused.value.message.startswith(f"{MOST} validation errors detected: Value '' at 'tags.1.member.tagKey'")
    assert len(refused.value.message) < 20_000


@pytest.mark.parametrize("tokens", [[""] * 100_000, ["x" * 8193] * 100, ["t0ken"] * 11])
def test_grant_tokens_are_never_shown(tokens):
    with pytest.raises(ValidationError) as refused:
        send("DescribeKey", {"KeyId": "x", "GrantTokens": tokens})
    assert refused.value.message.count("Value at 'grantTokens' failed to satisfy constraint: ") in (1, 2)
    assert not re.search("t0ken|xxx|Value '", refused.value.message)


def test_a_long_value_is_cut():
    with pytest.raises(ValidationError) as refused:
        send("DescribeKey", {"KeyId": "k" * 100_000})
    assert f"Value '{'k' * SHOWN}...' at 'keyId'" in refused.value.message
    assert len(refused.value.message) < SHOWN + 200


def test_of_a_wrong_and_an_unsupported_value_the_wrong_one_is_told():
    body = {"KeyId": "x", "Operations": ["Encapsulate", "Transmute"]}
    with pytest.raises(ValidationError) as refused:
        send("CreateGrant", body)
    told = "1 validation error detected: Value '[Encapsulate, Transmute]' at 'operations' failed to satisfy constraint: "
    assert refused.value.message.startswith(f"{told}Member must satisfy constraint: [Member must satisfy enum value set: [Decrypt, ")


@pytest.mark.parametrize("text", ["a" * 500_000, "a." * 250_000, "a-" * 250_000, "-" * 500_000])
def test_no_pattern_of_the_model_takes_long_over_a_long_text(text):
    start = time.thread_time()
    for shape in MODEL.shapes.values():
        if shape.pattern:
            [one.holds(text) for one in constraints_of(shape)]
    assert time.thread_time() - start < 10  # linear: under 0.4 s; what goes over the text twice takes many minutes


def _without(body: dict, place: Place) -> dict:
    node = body
    for step in place.path[:-1]:
        node = node[step]
    del node[place.path[-1]]
    return body

"""botocore's own serializer makes what we decode, and botocore's own parser reads what we encode: every operation served."""

from __future__ import annotations

import dataclasses
import json
import types
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

import botocore.session
import pytest
from botocore import parsers, serialize
from tests.server import cases
from tests.server.cases import ROWS, SERVED, SHAPES

from keystead.operations.describe import DescribeKeyResponse
from keystead.server.codec import Codec

CODEC = Codec(ROWS)
SERVICE = botocore.session.get_session().get_service_model("kms")
SERIALIZER = serialize.create_serializer("json")
PARSER = parsers.create_parser("json")
MOMENT = datetime(2026, 11, 26, 8, 0, 0, 125000, tzinfo=UTC)
every = pytest.mark.parametrize("operation", sorted(ROWS))


def plain(hint: Any) -> Any:
    if isinstance(hint, NewType):
        return plain(hint.__supertype__)
    if get_origin(hint) in (Union, types.UnionType):
        return plain(next(one for one in get_args(hint) if one is not type(None)))
    return hint


def value_of(name: str, hint: Any) -> Any:
    """A value of a member as our dataclasses hold it."""
    hint = plain(hint)
    match SHAPES[name]["type"]:
        case "structure":
            return {"any": "thing"} if hint is object else filled(name, hint)
        case "list":
            return (value_of(SHAPES[name]["member"]["shape"], get_args(hint)[0]),)
        case "map":
            return {"key": "välue", "": ""}
        case "blob":
            return b"\x00\xff" * max(1, SHAPES[name].get("min", 1))
        case "timestamp":
            return MOMENT
        case "string" if isinstance(hint, type) and issubclass(hint, StrEnum):
            return next(one for one in hint if one.value in SHAPES[name]["enum"])
    return cases.sample(name)


def filled(name: str, kind: type) -> Any:
    """A dataclass with every member that has a shape (`object` members left out)."""
    hints = get_type_hints(kind)
    members = {member.lower(): target["shape"] for member, target in SHAPES[name]["members"].items()}
    fields = [field.name for field in dataclasses.fields(kind) if plain(hints[field.name]) is not object]
    return kind(**{field: value_of(members[field.replace("_", "")], hints[field]) for field in fields})


def as_botocore(name: str, value: Any) -> Any:
    """What botocore's callers give and get for it."""
    match SHAPES[name]["type"]:
        case "structure":
            members = {member.lower(): (member, target["shape"]) for member, target in SHAPES[name]["members"].items()}
            found = {}
            for field in dataclasses.fields(value):
                wire, shape = members[field.name.replace("_", "")]
                member = getattr(value, field.name)
                if member is not None:
                    found[wire] = as_botocore(shape, member)
            return found
        case "list":
            return [as_botocore(SHAPES[name]["member"]["shape"], one) for one in value]
        case "string":
            return str(value)
    return value


@every
def test_a_request_of_botocore_is_decoded(operation):
    row, shape = ROWS[operation], cases.input_of(operation)
    request = filled(shape, row.request)
    sent = SERIALIZER.serialize_to_request(as_botocore(shape, request), SERVICE.operation_model(operation))
    assert CODEC.decode(operation, sent["body"]) == request


@every
def test_an_answer_is_read_by_botocore(operation):
    model = SERVICE.operation_model(operation)
    if model.output_shape is None:
        assert CODEC.encode(operation, ROWS[operation].response()) == b""
        parsed = PARSER.parse({"status_code": 200, "headers": {}, "body": b""}, None)
        assert set(parsed) == {"ResponseMetadata"}
        return
    response = filled(model.output_shape.name, ROWS[operation].response)
    body = CODEC.encode(operation, response)
    parsed = PARSER.parse({"status_code": 200, "headers": {}, "body": body}, model.output_shape)
    del parsed["ResponseMetadata"]
    assert parsed == as_botocore(model.output_shape.name, response)


@every
def test_the_empty_answer_has_what_aws_always_sends(operation):
    """Of paged answers the list, empty, and Truncated; of all others nothing."""
    output = SERVICE.operation_model(operation).output_shape
    if output is None or operation in SERVED:
        return
    lists = [name for name, member in output.members.items() if member.type_name == "list"]
    empty = ROWS[operation].response(**{cases.snake(name): () for name in lists})
    sent = json.loads(CODEC.encode(operation, empty))
    assert sent == ({name: [] for name in lists} if "Truncated" in output.members else {})


def test_key_metadata_leaves_out_what_does_not_apply_and_keeps_false_and_empty_text():
    metadata = filled("KeyMetadata", get_type_hints(DescribeKeyResponse)["key_metadata"])
    changes = {"description": "", "enabled": False, "multi_region": False, "deletion_date": None, "mac_algorithms": ()}
    answer = DescribeKeyResponse(key_metadata=dataclasses.replace(metadata, **changes))
    sent = json.loads(CODEC.encode("DescribeKey", answer))["KeyMetadata"]
    assert (sent["Description"], sent["Enabled"], sent["MultiRegion"]) == ("", False, False)
    assert not {"DeletionDate", "MacAlgorithms"} & set(sent)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2017, 8, 16, 19, 5, 55, 475000, tzinfo=UTC), b"1502910355.475"),
        (datetime(2017, 8, 16, 19, 5, 55, 475999, tzinfo=UTC), b"1502910355.476"),
        (datetime(2017, 8, 16, 19, 5, 55, tzinfo=UTC), b"1502910355"),
        (datetime(1970, 1, 1, tzinfo=UTC), b"0"),
    ],
)
def test_times_are_seconds_with_milliseconds_at_the_finest(moment, text):
    response = ROWS["GetKeyLastUsage"].response
    fields = {field.name: None for field in dataclasses.fields(response)} | {"tracking_start_date": moment}
    assert CODEC.encode("GetKeyLastUsage", response(**fields)) == b'{"TrackingStartDate":' + text + b"}"


@pytest.mark.parametrize("sent", [b"1795651200.125", b"1.795651200125E9", b"1795651200.1254"])
def test_a_time_is_read_to_the_millisecond(sent):
    body = b'{"KeyId": "x", "ImportToken": "AAAA", "EncryptedKeyMaterial": "AAAA", "ValidTo": ' + sent + b"}"
    assert CODEC.decode("ImportKeyMaterial", body).valid_to == datetime(2026, 11, 26, 0, 0, 0, 125000, tzinfo=UTC)

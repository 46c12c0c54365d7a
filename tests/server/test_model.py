"""kms_model.json is botocore's model, ships with the package, and every operation of it is served or refused with a reason."""

from __future__ import annotations

import copy
import json
import re
import zipfile

import pytest
from hatchling.builders.wheel import WheelBuilder
from tests.server.cases import ROWS, SERVED
from tests.server.make_model import FILE, news, reduced, source, text

from keystead.operations import OPERATIONS
from keystead.operations.registry import OperationRow
from keystead.operations.unserved import UNSERVED
from keystead.server.codec import Codec
from keystead.server.constraints import constraints_of
from keystead.server.model import MODEL
from keystead.server.strictjson import DEPTH

ROOT = FILE.parents[3]
KNOWN = json.loads(FILE.read_text())
# fmt: off
# Issue 5, The protocol; DeriveSharedSecret is served beyond it.
ISSUE = frozenset((
    "CancelKeyDeletion", "CreateAlias", "CreateGrant", "CreateKey", "Decrypt", "DeleteAlias", "DeriveSharedSecret",
    "DescribeKey", "DisableKey", "DisableKeyRotation", "EnableKey", "EnableKeyRotation", "Encrypt",
    "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GenerateRandom", "GetKeyLastUsage", "GetKeyPolicy",
    "GetKeyRotationStatus", "GetPublicKey", "ListAliases", "ListGrants", "ListKeyPolicies", "ListKeyRotations",
    "ListKeys", "ListResourceTags", "ListRetirableGrants", "PutKeyPolicy", "ReEncrypt", "RetireGrant", "RevokeGrant",
    "RotateKeyOnDemand", "ScheduleKeyDeletion", "Sign", "TagResource", "UntagResource", "UpdateAlias",
    "UpdateKeyDescription", "Verify", "VerifyMac",
))
# fmt: on


def test_the_model_is_that_of_the_botocore_in_the_lock():
    """Fails where botocore is newer than the file, with what is new. Look at each line, then `make model`."""
    newer = reduced(source())
    assert news(KNOWN, newer) == []
    assert text(newer) == FILE.read_text()


def test_news_names_new_operations_members_enum_values_and_bounds():
    newer = copy.deepcopy(KNOWN)
    newer["operations"]["TransmuteKey"] = newer["operations"]["EnableKey"]
    newer["operations"]["Sign"]["errors"].append("NewException")
    newer["shapes"]["KeySpec"]["enum"].append("ML_DSA_99")
    newer["shapes"]["EncryptRequest"]["members"]["Audience"] = "KeyIdType"
    newer["shapes"]["PlaintextType"]["max"] = 8192
    del newer["shapes"]["WrappingKeySpec"]
    assert news(KNOWN, newer) == [
        "operation Sign, errors: new NewException; gone nothing",
        "new: operation TransmuteKey",
        "gone: shape WrappingKeySpec",
        "shape EncryptRequest, members: new Audience; gone nothing",
        "shape KeySpec, enum: new ML_DSA_99; gone nothing",
        "shape PlaintextType, max: 4096 is now 8192",
    ]


def test_the_model_is_in_the_wheel(tmp_path):
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    packed = zipfile.ZipFile(wheel).read("keystead/server/kms_model.json")
    assert packed == FILE.read_bytes()


def test_every_operation_is_served_or_refused_with_a_reason():
    assert set(SERVED) | set(UNSERVED) == set(MODEL.operations)
    assert not set(SERVED) & set(UNSERVED)


def test_the_operations_refused_are_those_outside_the_issue():
    assert set(UNSERVED) == set(MODEL.operations) - ISSUE
    assert all(reason.endswith(".") for reason in UNSERVED.values())


def test_every_operation_served_compiles():
    codec = Codec(SERVED)
    assert all(codec.row(name) is row for name, row in SERVED.items())


def test_an_operation_is_served_unsupported_or_unknown():
    codec = Codec(OPERATIONS)
    assert (codec.row("Encrypt"), codec.unsupported("Encrypt")) == (OPERATIONS["Encrypt"], None)
    assert (codec.row("ImportKeyMaterial"), codec.unsupported("ImportKeyMaterial")) == (None, UNSERVED["ImportKeyMaterial"])
    assert (codec.row("Transmute"), codec.unsupported("Transmute")) == (None, None)


def test_an_operation_that_one_door_leaves_out_has_a_reason_too():
    assert Codec({}).unsupported("Encrypt") == "Encrypt is not served at this address."


@pytest.mark.parametrize(
    ("operation", "request_of", "says"),
    [
        ("Encrypt", "Decrypt", "EncryptRequest has no member"),
        ("Decrypt", "DescribeKey", None),
        ("Encrypt", "DescribeKey", "no field for Plaintext"),
        ("Transmute", "Encrypt", "no operation of the model"),
    ],
)
def test_a_row_that_does_not_fit_the_model_stops_the_start(operation, request_of, says):
    row = OPERATIONS[request_of]
    wrong = OperationRow(row.function, row.request, ROWS.get(operation, row).response, row.actions)
    if says is None:  # a dataclass may have fewer members than the model: those are refused one by one
        Codec({operation: wrong})
        return
    with pytest.raises(TypeError, match=says):
        Codec({operation: wrong})


def test_a_body_may_nest_twice_as_deep_as_the_model():
    def depth(name: str) -> int:
        shape = MODEL.shapes[name]
        inner = [*shape.members.values(), *filter(None, (shape.item, shape.key, shape.value))]
        return 1 + max(map(depth, inner)) if inner else 0

    assert 2 * max(depth(operation.input) for operation in MODEL.operations.values()) <= DEPTH


def test_every_pattern_of_the_model_compiles():
    patterned = [shape for shape in MODEL.shapes.values() if shape.pattern]
    assert len(patterned) >= 20
    assert all(constraints_of(shape) for shape in patterned)


def test_botocore_stays_out_of_the_package():
    imports = re.compile(r"^\s*(import|from) (botocore|boto3)\b", re.MULTILINE)
    assert [path.name for path in FILE.parents[1].rglob("*.py") if imports.search(path.read_text())] == []

"""Every error of ours has a status and AWS's code on the wire."""

from __future__ import annotations

import importlib
import json
import pkgutil

import pytest
from botocore import parsers

import keystead.operations
import keystead.server
from keystead.errors import DependencyTimeoutError, KmsError, KmsInternalError, ValidationError
from keystead.operations.faults import public_error
from keystead.server.model import MODEL
from keystead.server.wire_errors import COMMON, ERRORS, FAULTS, TABLE, error_body, status_of

EXCEPTIONS = {name: shape for name, shape in MODEL.shapes.items() if shape.exception}


def kinds() -> set[type[KmsError]]:
    """Every subclass, with all modules loaded that may have one."""
    for package in (keystead.operations, keystead.server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, todo = set(), [KmsError]
    while todo:
        kind = todo.pop()
        found.add(kind)
        todo += kind.__subclasses__()
    return {kind for kind in found if kind.__module__.startswith("keystead.")}


def test_every_kms_error_has_a_row():
    missing = {kind.__name__: kind.code for kind in kinds() if kind.code not in TABLE}
    assert missing == {}


def test_a_code_is_one_of_the_model_or_one_that_all_of_aws_has():
    assert set(TABLE) <= set(EXCEPTIONS) | COMMON
    assert not COMMON & set(EXCEPTIONS)
    assert not COMMON & ERRORS


def test_the_faults_are_those_of_the_model():
    assert set(FAULTS) == {name for name, shape in EXCEPTIONS.items() if shape.fault}
    assert {code: status for code, status in TABLE.items() if status != 400} == FAULTS


def test_the_statuses_are_those_that_sdks_retry_by():
    assert [status_of(kind()) for kind in (KmsInternalError, DependencyTimeoutError)] == [500, 503]
    assert status_of(ValidationError()) == 400


def test_an_error_without_a_row_is_our_fault():
    class OddError(KmsError):
        code = "OddException"

    assert status_of(OddError()) == 500


@pytest.mark.parametrize("code", sorted(TABLE))
@pytest.mark.parametrize("text", ["", 'Value \'a"\\\n\u00e9\' at \'keyId\'', "x" * 5000])
def test_botocore_reads_code_and_message(code, text):
    error = KmsError(text)
    error.code = code
    answer = {"status_code": status_of(error), "headers": {}, "body": error_body(error)}
    parsed = parsers.create_parser("json").parse(answer, None)
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == (code, text)


def test_notes_and_causes_stay_here():
    error = KmsInternalError("bland")
    error.__cause__ = ValueError("PIN 1234")
    error.add_note("reason")
    assert json.loads(error_body(public_error(error))) == {"__type": "KMSInternalException", "message": "bland"}

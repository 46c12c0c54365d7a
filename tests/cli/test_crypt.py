"""`keystead crypt`: commands are made from the operations TABLE; bytes and pairs are read strictly; answers are shown in AWS's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import a_key, a_world, call
from tests.hsm.fake import FakeHsm

from keystead.cli.crypt import crypt, dashed, read_bytes, read_pairs, response_facts
from keystead.errors import InvalidSpecError
from keystead.operations import OPERATIONS
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import EncryptRequest


def test_every_operation_has_its_command() -> None:
    assert set(crypt.commands) == {dashed(name) for name in OPERATIONS}


def test_every_command_names_its_caller() -> None:
    for name, command in crypt.commands.items():
        assert any("--as" in parameter.opts and parameter.required for parameter in command.params), name


def test_a_plaintext_never_stands_on_a_command_line() -> None:
    with pytest.raises(InvalidSpecError, match="--plaintext"):
        read_bytes("--plaintext", "base64:c2VjcmV0", secret=True)


def test_a_blob_may_be_given_as_base64(tmp_path: Path) -> None:
    assert read_bytes("--ciphertext-blob", "base64:AQI=", secret=False) == b"\1\2"
    (tmp_path / "blob").write_bytes(b"\3")
    assert read_bytes("--ciphertext-blob", str(tmp_path / "blob"), secret=False) == b"\3"
    with pytest.raises(InvalidSpecError, match="base64"):
        read_bytes("--ciphertext-blob", "base64:AQ", secret=False)


@pytest.mark.parametrize("pairs", [("novalue",), ("a=1", "a=2")])
def test_a_pair_without_value_or_given_twice_is_refused(pairs: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSpecError, match="--encryption-context"):
        read_pairs("--encryption-context", pairs)
    assert read_pairs("--encryption-context", ("a=1=2", "b=")) == {"a": "1=2", "b": ""}


def test_an_answer_is_shown_in_aws_words() -> None:
    hsm = FakeHsm(b"cli")
    key = a_key(hsm)
    facts = response_facts(call(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id)))
    assert facts["KeyId"] == key.key_id
    assert not any("<" in str(value) for value in facts.values())
    blob = response_facts(call(hsm, a_world(hsm, key), EncryptRequest(key_id=key.key_id, plaintext=b"x")))
    assert set(blob) == {"CiphertextBlob", "KeyId", "EncryptionAlgorithm"}

"""Names and numbers: key ids, ARNs, account ids, record names."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.engine.identifiers import (
    KeyIdForm,
    KmsArn,
    RecordKind,
    account_id,
    alias_arn,
    archive_name,
    key_arn,
    key_id_bytes,
    key_id_form,
    new_key_id,
    orphan_name,
    parse_kms_arn,
    record_name,
)

UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
MRK = "mrk-1234abcd12ab34cd56ef1234567890ab"
raw16 = st.binary(min_size=16, max_size=16)


@given(raw16, st.sampled_from(KeyIdForm))
def test_a_key_id_and_its_bytes_are_one(raw, form):
    text = str(uuid.UUID(bytes=raw)) if form is KeyIdForm.UUID else f"mrk-{raw.hex()}"
    assert key_id_form(text) is form
    assert key_id_bytes(text) == raw


def test_both_forms_have_the_same_bytes():
    assert key_id_bytes(UUID) == key_id_bytes(MRK)


@pytest.mark.parametrize(
    "text",
    [
        "",
        UUID.upper(),
        UUID[:-1],
        UUID + "0",
        UUID + "\n",
        UUID.replace("-", ""),
        MRK.upper(),
        "mrk-" + UUID,
        "mrk-",
        "alias/x",
        "*",
        "{" + UUID + "}",
        "urn:uuid:" + UUID,
        "1234abcd-12ab-34cd-56ef-1234567890a\u0661",
    ],
)
def test_other_texts_are_no_key_ids(text):
    assert key_id_form(text) is None
    with pytest.raises(ValueError, match="not a key id"):
        key_id_bytes(text)


def test_a_new_key_id_is_a_version_4_uuid():
    assert new_key_id(bytes(16)) == "00000000-0000-4000-8000-000000000000"


def test_arns_are_parsed_into_what_they_were_made_of():
    assert parse_kms_arn(key_arn("r", "1" * 12, UUID)) == KmsArn("r", "1" * 12, f"key/{UUID}")
    assert parse_kms_arn(alias_arn("r", "1" * 12, "alias/a:b/c")) == KmsArn("r", "1" * 12, "alias/a:b/c")


@pytest.mark.parametrize(
    "text", ["", "arn", "arn:aws:kms", "arn:aws:iam::1:root", "arn:aws-cn:kms:r:1:key/x", "alias/x"]
)
def test_other_texts_are_no_kms_arns(text):
    assert parse_kms_arn(text) is None


@given(raw16, st.text(max_size=20), st.integers(0, 9))
def test_account_ids_are_12_digits_without_a_leading_zero(install, namespace, n):
    text = account_id(install, namespace, n)
    assert len(text) == 12
    assert text.isdigit()
    assert text[0] != "0"


def test_account_ids_follow_the_written_rule():
    digest = hashlib.sha256(b"keystead/v1/account\0" + bytes(16) + b"\0team-a\x000").digest()
    assert account_id(bytes(16), "team-a", 0) == str(int.from_bytes(digest, "big") % (9 * 10**11) + 10**11)


def test_the_next_derivation_and_another_namespace_give_other_accounts():
    ids = {account_id(bytes(16), ns, n) for ns in ("team-a", "team-b") for n in range(3)}
    assert len(ids) == 6


def test_an_install_id_has_16_bytes():
    with pytest.raises(ValueError, match="16 bytes"):
        account_id(bytes(15), "team-a", 0)


@pytest.mark.parametrize(
    ("kind", "word", "parts"),
    [
        (RecordKind.KEY, "KmsKey", ("team-a", "orders")),
        (RecordKind.ALIAS, "KmsAlias", ("111122223333", "cluster-1", "alias/orders")),
        (RecordKind.GRANT, "KmsGrant", ("team-a", "orders")),
        (RecordKind.ACCOUNT, "Account", ("111122223333",)),
        (RecordKind.DATAKEY, "KmsDataKey", ("team-a", "orders")),
    ],
)
def test_record_names_follow_the_written_rule(kind, word, parts):
    digest = hashlib.sha256("\0".join((word, *parts)).encode()).hexdigest()
    assert record_name(kind, *parts) == f"{kind.value}-{digest[:40]}"


def test_the_install_record_has_one_name():
    assert record_name(RecordKind.INSTALL) == "install"


def test_parts_of_a_record_name_cannot_be_shifted():
    assert record_name(RecordKind.KEY, "ab", "c") != record_name(RecordKind.KEY, "a", "bc")


def test_an_orphan_is_named_by_its_bytes():
    assert orphan_name(UUID) == orphan_name(MRK) == "orphan-1234abcd12ab34cd56ef1234567890ab"


def test_archives_count_from_1():
    assert archive_name("datakey-x", 1) == "datakey-x-1"
    with pytest.raises(ValueError, match="count from 1"):
        archive_name("datakey-x", 0)

"""Domain backup and recovery key: strict, and bound to the domain that made them."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.engine.backup import (
    BACKUP_LENGTH,
    fingerprint,
    format_recovery_key,
    make_backup,
    parse_backup,
    parse_recovery_key,
)
from keystead.errors import BackupError

ZEROS = "0" * 64


def kdf(message: bytes) -> bytes:
    return hmac.digest(b"dm" * 32, message, "sha512")


def a_backup(generation: int = 1):
    return make_backup(kdf, generation, bytes(16), "ab" * 32, bytes(range(40)), bytes(range(72)))


def test_a_backup_is_read_as_it_was_written():
    backup = a_backup()
    assert len(backup.encode()) == BACKUP_LENGTH == 201
    assert parse_backup(backup.encode()) == backup
    backup.verify(kdf)


def test_every_flipped_bit_of_a_backup_is_refused():
    good = a_backup().encode()
    for position in range(len(good) * 8):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << position % 8
        with pytest.raises(BackupError):
            parse_backup(bytes(bad)).verify(kdf)


@pytest.mark.parametrize("data", [b"", bytes(200), bytes(201), bytes(202)])
def test_other_bytes_are_no_backup(data):
    with pytest.raises(BackupError):
        parse_backup(data)


@given(st.binary(max_size=400))
def test_random_bytes_are_no_backup(data):
    with pytest.raises(BackupError):
        parse_backup(data)


def test_generation_0_is_refused():
    with pytest.raises(BackupError, match="generation is 0"):
        parse_backup(a_backup(0).encode())


def test_a_backup_of_another_domain_is_refused():
    with pytest.raises(BackupError):
        a_backup().verify(lambda m: hmac.digest(b"other" * 13, m, "sha512"))


@given(st.integers(1, 2**32 - 1), st.binary(min_size=32, max_size=32))
def test_a_recovery_key_is_read_as_it_was_written(generation, recovery):
    assert parse_recovery_key(format_recovery_key(generation, recovery) + "\n") == (generation, recovery)


def test_every_changed_character_of_a_recovery_key_is_refused():
    good = format_recovery_key(1, bytes(range(32)))
    for position in range(len(good)):
        for other in "0f9-K":
            bad = good[:position] + other + good[position + 1 :]
            if bad != good:
                with pytest.raises(BackupError):
                    parse_recovery_key(bad)


@pytest.mark.parametrize("text", ["", "KSR1", f"KSR1-0-{ZEROS}-00000000", f"x\nKSR1-1-{ZEROS}-00000000"])
def test_other_texts_are_no_recovery_key(text):
    with pytest.raises(BackupError) as caught:
        parse_recovery_key(text)
    assert ZEROS not in str(caught.value)


def test_a_generation_in_digits_of_another_script_is_refused():
    with pytest.raises(BackupError):
        parse_recovery_key(format_recovery_key(12, bytes(32)).replace("-12-", "-1\u0662-"))


def test_a_fingerprint_depends_on_both_keys():
    one = fingerprint(kdf, b"probe")
    assert one != fingerprint(kdf, b"other probe")
    assert one != fingerprint(lambda m: bytes(64), b"probe")
    assert len(one) == 64

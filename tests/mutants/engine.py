"""Faults of the formats and rules in `engine/`: seals, blobs, births, imported material. Tried by `make mutants`."""

from __future__ import annotations

from tests.mutants.mutant import ENGINE, Mutant

MUTANTS = (
    Mutant(
        "seal not verified",
        f"{ENGINE}/seal.py",
        "if not hmac.compare_digest(given, seal(",
        "if False and not hmac.compare_digest(given, seal(",
        ("tests/engine/test_seal.py::test_every_flipped_byte_of_record_and_seal_is_refused",),
    ),
    Mutant(
        "seal does not cover the Secret's name",
        f"{ENGINE}/seal.py",
        "text = name.encode()",
        'text = b""',
        ("tests/engine/test_seal.py::test_two_records_that_were_swapped_are_refused",),
    ),
    Mutant(
        "parse before verify",
        f"{ENGINE}/record/sealed.py",
        "    verify_seal(domain.mac",
        "    decode(sealed.record, kind)\n    verify_seal(domain.mac",
        ("tests/engine/test_seal.py::test_nothing_is_parsed_before_the_seal_holds",),
    ),
    Mutant(
        "commitment not compared",
        f"{ENGINE}/blob.py",
        "if not hmac.compare_digest(derived[32:], blob[84:116]):",
        "if False:",
        ("tests/engine/test_blob.py::test_the_commitment_is_compared_before_gcm",),
    ),
    Mutant(
        "context not bound",
        f"{ENGINE}/blob.py",
        "blob[116:], blob[:116] + context)",
        'blob[116:], blob[:116] + b"\\0\\0")',
        ("tests/engine/test_blob.py",),
    ),
    Mutant(
        "older record believed",
        f"{ENGINE}/freshness.py",
        "if found.seq < known.seq:",
        "if False:",
        ("tests/engine/test_seal.py::test_an_older_record_under_a_newer_status_is_refused",),
    ),
    Mutant(
        "a missed rotation window is made up for at once",
        f"{ENGINE}/rotation.py",
        "due if now is None else max(due, now)",
        "due",
        ("tests/plan/test_rotation.py",),
    ),
    Mutant(
        "a hold at birth is latched a write later",
        f"{ENGINE}/births.py",
        "hold=hold_of(key, record, birth.now)",
        "hold=UNSET",
        ("tests/reconciler/test_key_life.py",),
    ),
    Mutant(
        "short material is padded in front",
        f"{ENGINE}/imported.py",
        'plaintext.ljust(length, b"\\0")',
        'plaintext.rjust(length, b"\\0")',
        ("tests/hsm/test_import.py::test_imported_symmetric_key_derives_what_its_bytes_derive[fake-32]",),
    ),
    Mutant(
        "a key of another curve is imported",
        f"{ENGINE}/imported.py",
        "if _name(key) != _wanted(spec):",
        "if False:",
        ("tests/hsm/test_import.py::test_what_is_no_key_of_the_spec_is_refused",),
    ),
)

"""`hsm check`: what it says of good tokens, and that it notices domains that lack a protection."""

from __future__ import annotations

from pathlib import Path

import pytest
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag
from tests.hsm.backends import SharedHsm
from tests.hsm.domains import LABEL, empty_token, on_process

from keystead.engine.keyspec import KEY_SPECS, usages
from keystead.hsm.backend import open_token, wire
from keystead.hsm.check import PROBES, check_token
from keystead.hsm.domain import TokenDomain
from keystead.hsm.ed25519ph import verify_ph
from keystead.hsm.findings import CheckedRow, Verdict
from keystead.hsm.pin import FileMarker
from keystead.settings import HsmSettings


def _rows(real: SharedHsm) -> dict[str, CheckedRow]:
    return {row.name: row for row in check_token(real.hsm)}


def test_good_token_passes_and_keeps_nothing(real: SharedHsm) -> None:
    held = len(real.hsm.vault)
    rows = _rows(real)
    assert {row.verdict for row in rows.values()} == {Verdict.OK}, rows
    assert len(rows) == len(PROBES) + sum(len(usages(spec)) for spec in KEY_SPECS) + 2
    assert len(real.hsm.vault) == held
    for name, row in rows.items():
        if name.startswith("attack: ") and "empty" not in name and "change" not in name:
            assert row.detail.startswith("refused: ")
    facts = {
        "softhsm": ("0x210A", "raw", "ignored", "refused by the token", "ECC_NIST_EDWARDS25519 SIGN_VERIFY"),
        "kryoptic": ("0x210B", "native", "honoured", "makes an empty key", "ECC_SECG_P256K1 SIGN_VERIFY"),
    }
    kwp, oaep, prehash, empty, software = facts[real.token.kind]
    assert kwp in rows["AES-KWP"].detail
    assert oaep in rows["OAEP with SHA-256"].detail
    assert prehash in rows["Ed25519ph"].detail
    assert empty in rows["attack: empty blob"].detail
    assert rows[software].detail.startswith("SOFTWARE")


def test_domain_without_protections_is_reported(kind: str, tmp_path: Path) -> None:
    """The probes bite: the same keys, made without the templates of HSM.md A3."""
    token, pin_file = empty_token(kind, tmp_path)
    settings = HsmSettings(module=token.module, token_label=LABEL, pin_file=pin_file)
    rows = on_process(token.env, _check_bare_domain, settings)
    assert rows["attack: readable unwrap"] is Verdict.DEGRADED
    assert rows["attack: other mechanism"] is Verdict.DEGRADED
    assert rows["attack: copy"] is Verdict.FAILED
    assert rows["attack: change attributes"] is Verdict.FAILED
    assert rows["domain key flags"] is Verdict.FAILED
    assert rows["HMAC"] is rows["AES-KWP"] is Verdict.OK


def _check_bare_domain(settings: HsmSettings) -> dict[str, Verdict]:
    token = open_token(settings, FileMarker(settings.pin_file, settings.pin_file.parent), writable=True)
    common = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
    token.session.generate_key(
        KeyType.AES,
        256,
        store=True,
        label="keystead-dk-1",
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template=common,
    )
    token.session.generate_key(
        KeyType.GENERIC_SECRET,
        512,
        store=True,
        label="keystead-dm-1",
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        template=common,
    )
    hsm = wire(settings, TokenDomain(token))
    rows = {}
    for row in check_token(hsm):
        if row.name.startswith("SYMMETRIC"):
            break
        rows[row.name] = row.verdict
    return rows


# RFC 8032 7.3.
_PUBLIC = bytes.fromhex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
_SIGNATURE = bytes.fromhex(
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
)


def test_prehashed_ed25519_vector_verifies_and_nothing_near_it() -> None:
    assert verify_ph(_PUBLIC, b"abc", _SIGNATURE)
    assert not verify_ph(_PUBLIC, b"abd", _SIGNATURE)
    assert not verify_ph(_PUBLIC, b"abc", _SIGNATURE[:-1])
    for index in range(0, 64, 9):
        changed = bytearray(_SIGNATURE)
        changed[index] ^= 1
        assert not verify_ph(_PUBLIC, b"abc", bytes(changed))


@pytest.mark.parametrize("public", [b"", bytes(31), b"\xff" * 32])
def test_prehashed_ed25519_refuses_what_is_no_key(public: bytes) -> None:
    assert not verify_ph(public, b"abc", _SIGNATURE)

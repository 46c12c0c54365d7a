"""The SoftHSM token folder on its way through a Secret, and names that must not lead out of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keystead.errors import HsmSetupError
from keystead.hsm.provision import new_pin
from keystead.hsm.softhsm import diagnose, pack_token, unpack_token

UUID = "368e6305-138f-8e70-d251-8c71c7204c92"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A token folder in form only."""
    token = tmp_path / "token" / "tokens" / UUID
    token.mkdir(parents=True)
    for name in ("token.object", "dk.object", "token.lock", "generation"):
        (token / name).write_text(name)
    (tmp_path / "token" / "pin").write_text("secret")
    return tmp_path / "token"


def _volume(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_packed_token_has_its_objects_and_no_pin(home: Path) -> None:
    packed = pack_token(home)
    assert packed == {f"tokens__{UUID}__{name}": name.encode() for name in ("dk.object", "token.object")}
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", name) for name in packed)  # keys that a Secret can have


def test_unpacked_token_is_private_and_its_configuration_names_it(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    for _ in range(2):  # an init container may run twice
        assert unpack_token(_volume(tmp_path / new_pin(), pack_token(home)), place) == 2
    assert pack_token(place) == pack_token(home)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (place / "tokens").rglob("*")}
    assert modes == {UUID: 0o700, "token.object": 0o400, "dk.object": 0o400}
    assert f"directories.tokendir = {place}/tokens\n" in (place / "softhsm2.conf").read_text()
    assert diagnose(place / "softhsm2.conf") is None
    assert sorted(path.name for path in place.iterdir()) == ["softhsm2.conf", "tokens"]


@pytest.mark.parametrize(
    "name",
    [
        "tokens__..__x",
        "..__x__y",
        "tokens__x",
        "__etc__passwd",
        "etc__x__y",
        "tokens__x__y__z",
        "tokens____y",
        "x",
        "..x",
    ],
)
def test_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HsmSetupError, match="not of a token"):
        unpack_token(_volume(tmp_path / "volume", {name: b"x"}), tmp_path / "place")
    assert not (tmp_path / "place").exists()


def test_empty_or_missing_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HsmSetupError, match="no packed token"):
        unpack_token(_volume(tmp_path / "volume", {}), tmp_path / "place")
    with pytest.raises(HsmSetupError, match="cannot be read"):
        unpack_token(tmp_path / "gone", tmp_path / "place")
    with pytest.raises(HsmSetupError, match="holds no token"):
        pack_token(tmp_path)


def test_pins_are_128_random_bits() -> None:
    pins = {new_pin() for _ in range(100)}
    assert len(pins) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", pin) for pin in pins)

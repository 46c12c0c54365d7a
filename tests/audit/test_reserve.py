"""The room that is held back in a folder: it is there, is given, and leaves some of a narrow disk. A full disk: test_crashes.py."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.audit.sinks import CHAIN
from tests.audit.test_sinks import batch

from keystead.audit import reserve
from keystead.audit.folder import FolderKeeper, files_in
from keystead.audit.lines import Chain, file_name
from keystead.audit.reading.files import find_chains


def test_it_is_held_once_given_and_held_again(tmp_path: Path) -> None:
    (tmp_path / file_name(CHAIN, 0)).write_bytes(batch(Chain(CHAIN)))
    keeper, path = FolderKeeper(tmp_path, CHAIN, 10**6, held=8192), tmp_path / reserve.NAME
    assert keeper.hold_room()
    facts = path.stat()
    assert (facts.st_size, stat.S_IMODE(facts.st_mode)) == (8192, 0o600)
    assert keeper.hold_room()
    assert path.stat().st_ino == facts.st_ino
    keeper.give_room()
    keeper.give_room()
    assert not path.exists()
    assert keeper.hold_room()
    assert keeper.tidy() == []
    assert len(files_in(tmp_path)) == 1 and len(find_chains([tmp_path])[0].parts) == 1  # it is no file of the trail's


@pytest.mark.parametrize("what", ["cut", "link"])
def test_what_is_none_in_its_place_is_replaced(tmp_path: Path, what: str) -> None:
    """A process was killed while it made it; or somebody else's work."""
    path, elsewhere = tmp_path / "audit" / reserve.NAME, tmp_path / "elsewhere"
    path.parent.mkdir()
    elsewhere.write_bytes(b"x" * 9000)
    if what == "cut":
        path.write_bytes(b"x" * 100)
    else:
        path.symlink_to(elsewhere)
    assert reserve.hold(path.parent, 8192)
    assert path.lstat().st_size == 8192
    assert elsewhere.read_bytes() == b"x" * 9000


@pytest.mark.parametrize(("free", "held"), [(20_000, 8192), (10_000, 8000), (5200, 4160), (5000, None), (0, None)])
def test_on_a_narrow_disk_it_is_smaller_and_leaves_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, held: int | None
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _folder: SimpleNamespace(f_bavail=free, f_frsize=1))
    assert reserve.hold(tmp_path, 8192) == (held is not None)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == ([] if held is None else [held])


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert not reserve.hold(tmp_path / "none", 8192)
    reserve.give(tmp_path / "none")


def test_one_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _file: (_ for _ in ()).throw(OSError("full")))
    assert not reserve.hold(tmp_path, 8192)
    assert list(tmp_path.iterdir()) == []

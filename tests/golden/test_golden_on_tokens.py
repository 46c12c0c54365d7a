"""The disaster path with golden files: a new real token, the domain from backup and recovery key, and everything opens.

Left out on a token is only what that token cannot hold (docs/security.md, Key specs that a token cannot hold).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.golden.files import Golden
from tests.golden.port import BACKUP, RECOVERY, RELEASE_1
from tests.hsm.domains import KINDS, on_token, restored_domain

from keystead.resources.vocabulary import KeySpec

WITHOUT: dict[str, tuple[KeySpec, ...]] = {"softhsm": (), "kryoptic": (KeySpec.ECC_SECG_P256K1,)}
TABLES = ("blobs", "data_keys", "macs", "signatures", "new_signatures", "rsa", "agreements")


def open_everything(hsm: Any, folder: Path, without: tuple[KeySpec, ...]) -> dict[str, list[bool]]:
    """In the process that has the token: the answers of every table. Opening the records is part of it."""
    try:
        golden = Golden(folder, hsm, without)
        return {name: getattr(golden, name)() for name in TABLES}
    finally:
        hsm.close()  # a process whose slow lanes still run never ends


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.token) for kind in KINDS])
def test_a_new_token_opens_what_release_1_wrote(kind, tmp_path):
    given: Any = SimpleNamespace(backup=RELEASE_1 / BACKUP, recovery_key=RELEASE_1 / RECOVERY)
    token = restored_domain(kind, tmp_path / "new", given)
    with on_token(token) as run:
        answers = run(open_everything, RELEASE_1, WITHOUT[kind])
    assert all(answers[name] and all(answers[name]) for name in TABLES), answers

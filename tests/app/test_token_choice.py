"""Which token a command opens: without an option and without settings it says what to type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keystead.app.hsm import HsmServices
from keystead.cli.output import explain
from keystead.cli.services import TokenChoice
from keystead.errors import HsmSetupError
from keystead.settings import HsmSettings, Settings


def test_without_a_token_the_hint_names_the_options(tmp_path: Path) -> None:
    nowhere = Settings(hsm=replace(HsmSettings(), pin_file=tmp_path / "pin"))
    with pytest.raises(HsmSetupError) as refused, HsmServices(nowhere).open_hsm(TokenChoice()):
        pass
    message, hint, _ = explain(refused.value)
    assert str(tmp_path / "pin") in message
    assert all(option in hint for option in ("--softhsm-dir", "--pin-file", "KEYSTEAD_HSM_"))

"""The token of `keystead dev`: made once in the state folder, copied for every process that opens it.

    <state>/hsm/token/                 the token as the ceremony left it; nothing ever logs in here
    <state>/hsm/domain-backup-1.ksdb   the sealed backup, and
    <state>/hsm/recovery-key-1.txt     what opens it: for a laptop they may lie together, docs/dev.md says so
    <state>/run/<name>/                the copy that one process works on; made anew at each start

A copy, because SoftHSM truncates token.object while it logs in: a kill at that moment destroys the copy, never the token.
The ceremony runs in a process of its own: a PKCS#11 module is loaded with one configuration, once a process.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from keystead.app.hsm import CONF_VARIABLE, HsmServices
from keystead.cli.services import InitRequest, TokenChoice
from keystead.errors import HsmSetupError
from keystead.hsm.pin import FileMarker
from keystead.hsm.softhsm import CONF_NAME, PIN_NAME, TOKENS_NAME, conf_text, softhsm_module
from keystead.settings import HsmSettings, SoftwareProtection, from_environment

_HOME: Final = "hsm"
_DRAFT: Final = f"{_HOME}.tmp-"
_TIMEOUT_SECONDS: Final = 60


def has_token(state: Path) -> bool:
    """Whether the folder has its token."""
    return (state / _HOME).exists()


def ensure_token(state: Path) -> None:
    """The token of a state folder is there, whole. HsmSetupError where SoftHSM is not installed, or the folder cannot be written."""
    softhsm_module()
    if has_token(state):
        return
    for draft in state.glob(f"{_DRAFT}*"):  # of a first start that was killed
        shutil.rmtree(draft, ignore_errors=True)
    try:
        done = subprocess.run(  # noqa: S603 - our own program, on a folder of ours
            (sys.executable, "-m", "keystead.app.dev.token", str(state)),
            capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
            start_new_session=True,  # Ctrl-C reaches it not: a second later there is a token, and the process ends in order
        )
    except subprocess.TimeoutExpired:
        raise HsmSetupError(f"the token could not be made in {state} in {_TIMEOUT_SECONDS} s") from None
    # The ceremony of a start that was killed may have ended first: then that one's token is the folder's.
    if not has_token(state):
        said = (done.stderr.strip() or "no reason was given").splitlines()[-1]
        raise HsmSetupError(f"the token could not be made in {state}: {said}")


def make_token(state: Path) -> None:
    """The ceremony. The finished folder appears by one rename: a kill leaves nothing that looks like a token."""
    draft = state / f"{_DRAFT}{secrets.token_hex(4)}"
    draft.mkdir(mode=0o700)
    try:
        request = InitRequest(token=TokenChoice(softhsm_dir=draft / "token"))
        with HsmServices(from_environment({})).init_hsm(request):
            pass
        conf = draft / "token" / CONF_NAME  # with the place where it will lie: `keystead hsm check --softhsm-dir` reads it
        conf.write_text(conf_text(state / _HOME / "token"))
        draft.rename(state / _HOME)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def install_id(state: Path) -> bytes:
    """16 bytes, from the backup's clear part: with it account ids are derived."""
    from keystead.engine.backup import parse_backup  # noqa: PLC0415 - only where a database is new

    found = next((state / _HOME).glob("domain-backup-*.ksdb"), None)
    if found is None:
        raise HsmSetupError(f"{state / _HOME} holds no domain-backup-*.ksdb, which a first start needs; hint: put it back")
    return parse_backup(found.read_bytes()).install_id


def open_copy(state: Path, name: str, lanes: int) -> HsmSettings:
    """A fresh copy of the token for one process, and the settings to open it with. Sets SOFTHSM2_CONF for this process."""
    source, folder = state / _HOME / "token", state / "run" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    shutil.copytree(source / TOKENS_NAME, folder / TOKENS_NAME)
    shutil.copy2(source / PIN_NAME, folder / PIN_NAME)
    (folder / CONF_NAME).write_text(conf_text(folder))
    os.environ[CONF_VARIABLE] = str(folder / CONF_NAME)
    return replace(
        HsmSettings(),
        module=softhsm_module(),
        pin_file=folder / PIN_NAME,
        slow_lanes=lanes,
        # SoftHSM 2.6.1 cannot wrap Ed25519 keys; on a laptop those may live in memory, and status.protectionLevel says SOFTWARE.
        software_protection=SoftwareProtection.ALLOWED,
    )


def marker(settings: HsmSettings) -> FileMarker:
    """Of a refused PIN, beside the copy."""
    return FileMarker(settings.pin_file, settings.pin_file.parent)


if __name__ == "__main__":
    make_token(Path(sys.argv[1]))

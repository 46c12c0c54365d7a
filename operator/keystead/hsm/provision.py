"""New tokens: an initialised, empty one; and a whole SoftHSM token folder that appears complete or not at all.

Called by `keystead hsm init` (app) and by the tests. The PIN never stands on a command line: `softhsm2-util` can be
told PINs in no other way, so it initialises the token with throw-away ones, and a helper process (this module run as
a program) replaces both through python-pkcs11, which cannot initialise tokens. It is a process of its own because a
module reads its configuration at C_Initialize, and the caller may have the module loaded with another one. Nobody
keeps the SO PIN.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keystead
from keystead.errors import HsmSetupError
from keystead.hsm.durable import sync_folder, write_new
from keystead.hsm.softhsm import CONF_NAME, PIN_NAME, TOKENS_NAME, conf_text

_TIMEOUT_SECONDS: Final = 60


def new_pin() -> str:
    """128 random bits as 32 hex digits: SoftHSM never locks, kryoptic stretches PINs little (SECURITY)."""
    return secrets.token_hex(16)


def initialise_token(module: Path, label: str, pin: str, env: Mapping[str, str]) -> None:
    """Initialise the free slot of `module`, in processes with `env` added: label, user PIN, an SO PIN nobody keeps."""
    tool = shutil.which("softhsm2-util")
    if tool is None:
        raise HsmSetupError("softhsm2-util is not installed; hint: apt-get install softhsm2")
    throw_away = new_pin()
    arguments = ("--init-token", "--free", "--label", label, "--so-pin", throw_away, "--pin", throw_away)
    _run((tool, "--module", str(module), *arguments), env)
    pins = {"module": str(module), "label": label, "old": throw_away, "so": new_pin(), "user": pin}
    _run((sys.executable, "-m", "keystead.hsm.provision"), env, json.dumps(pins))


def _run(command: tuple[str, ...], env: Mapping[str, str], given: str = "") -> None:
    root = str(Path(keystead.__file__).resolve().parents[1])
    environment = {**os.environ, **env, "PYTHONPATH": root}
    done = subprocess.run(  # noqa: S603 - our own argument list, no shell; nothing secret that outlives the call
        command, env=environment, input=given, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise HsmSetupError(
            f"the token cannot be initialised: {Path(command[0]).name} ended with {done.returncode}"
            + (f" ({words[-1]})" if words else "")
        )


def replace_pins(module: str, label: str, old: str, so: str, user: str) -> None:
    """Set the user PIN and then the SO PIN, as the SO whose PIN is `old`. Runs in the helper process."""
    import pkcs11  # noqa: PLC0415 - the caller of this module loads no PKCS#11 binding for it

    token = pkcs11.lib(module).get_token(token_label=label)
    with token.open(rw=True, so_pin=old) as session:
        session.init_pin(user)
        session.set_pin(old, so)


@dataclass(frozen=True, slots=True)
class TokenDraft:
    """A SoftHSM token in the making.

    The ceremony works on it in `work`; `commit` puts a finished copy into place by one rename. A copy, because the
    ceremony's session stays open on `work`, and logging in again on the final folder would put it at risk: SoftHSM
    truncates token.object while it logs in (ARCHITECTURE 6).
    """

    folder: Path
    draft: Path
    pin: str

    @property
    def work(self) -> Path:
        """Where the ceremony's session has its token."""
        return self.draft / "work"

    @property
    def conf(self) -> Path:
        """The configuration of the ceremony's session (SOFTHSM2_CONF)."""
        return self.work / CONF_NAME

    @property
    def pin_file(self) -> Path:
        """The PIN of the ceremony's session."""
        return self.work / PIN_NAME

    def commit(self) -> None:
        """The finished token appears at `folder`, durably, in one step."""
        final = self.draft / "final"
        _fill(final, self.folder, self.pin)
        try:
            shutil.copytree(self.work / TOKENS_NAME, final / TOKENS_NAME)
            _harden(final / TOKENS_NAME)
            sync_folder(final)
            final.rename(self.folder)
            sync_folder(self.folder.parent)
        except OSError as error:  # copytree's own has a list of errors in place of words
            words = error.strerror or "it cannot be copied whole; hint: is the disk full?"
            raise HsmSetupError(f"the new token cannot be moved to {self.folder}: {words}") from None


@contextmanager
def token_draft(folder: Path, module: Path, label: str) -> Iterator[TokenDraft]:
    """A fresh, empty SoftHSM token beside `folder`, in `<folder>.tmp-<hex>`, which is removed at the end.

    HsmSetupError where `folder` holds anything already. A kill leaves at most the `.tmp-` folder, never half a token.
    """
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HsmSetupError(f"{folder} is not empty; hint: a new token wants a folder of its own")
    draft = folder.with_name(f"{folder.name}.tmp-{secrets.token_hex(4)}")
    try:
        draft.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise HsmSetupError(f"{draft} cannot be made: {error.strerror}") from None
    try:
        made = TokenDraft(folder, draft, new_pin())
        _fill(made.work, made.work, made.pin)
        _make_folder(made.work / TOKENS_NAME)
        initialise_token(module, label, made.pin, {"SOFTHSM2_CONF": str(made.conf)})
        yield made
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fill(folder: Path, home: Path, pin: str) -> None:
    """Configuration (naming `home`) and PIN of a token folder."""
    _make_folder(folder)
    write_new(folder / CONF_NAME, conf_text(home).encode(), 0o600)
    write_new(folder / PIN_NAME, pin.encode(), 0o400)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise HsmSetupError(f"{folder} cannot be made: {error.strerror}") from None


def _harden(tokens: Path) -> None:
    """Private and durable: SoftHSM itself syncs nothing."""
    for path in [tokens, *tokens.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


if __name__ == "__main__":
    replace_pins(**json.load(sys.stdin))

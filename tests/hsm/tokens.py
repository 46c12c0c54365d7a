"""Fresh PKCS#11 tokens for tests: initialised, SO and user PIN set, empty (no domain).

Who calls it: tests.hsm.domains (which puts domains into them) and the end-to-end setup. A module reads its
configuration file from the environment at C_Initialize, so each token is used in a process that was started with
`TokenFiles.env`. How the PIN stays off command lines: keystead.hsm.provision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.hsm.kryoptic.build import build as build_kryoptic

from keystead.errors import HsmSetupError as ProvisionError
from keystead.hsm.provision import initialise_token, new_pin
from keystead.hsm.softhsm import TOKENS_NAME, conf_text, softhsm_module

__all__ = ["ProvisionError", "TokenFiles", "new_pin", "provision_kryoptic", "provision_softhsm", "softhsm_module"]

KRYOPTIC_CONF = """\
[[slots]]
slot = 0
dbtype = "sqlite"
dbargs = "{database}"
"""


@dataclass(frozen=True)
class TokenFiles:
    """How to reach one token: load `module` in a process with `env` added, find `label`, log in with `pin`."""

    module: Path
    label: str
    env: dict[str, str]  # SOFTHSM2_CONF or KRYOPTIC_CONF
    pin: str = field(repr=False)


def provision_softhsm(folder: Path, label: str, pin: str) -> TokenFiles:
    """A SoftHSM token in `folder`: `softhsm2.conf` and `tokens/<uuid>/`."""
    folder = _own_folder(folder)
    (folder / TOKENS_NAME).mkdir(mode=0o700)
    conf = folder / "softhsm2.conf"
    conf.write_text(conf_text(folder))
    token = TokenFiles(module=softhsm_module(), label=label, env={"SOFTHSM2_CONF": str(conf)}, pin=pin)
    initialise_token(token.module, label, pin, token.env)
    return token


def provision_kryoptic(folder: Path, label: str, pin: str) -> TokenFiles:
    """A kryoptic token in `folder`: `kryoptic.conf` and `token.sql`. Builds the module the first time."""
    folder = _own_folder(folder)
    conf = folder / "kryoptic.conf"
    conf.write_text(KRYOPTIC_CONF.format(database=folder / "token.sql"))
    token = TokenFiles(module=build_kryoptic(), label=label, env={"KRYOPTIC_CONF": str(conf)}, pin=pin)
    initialise_token(token.module, label, pin, token.env)
    return token


def _own_folder(folder: Path) -> Path:
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ProvisionError(f"{folder} is not empty: a fresh token wants a folder of its own")
    return folder

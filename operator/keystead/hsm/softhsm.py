"""The SoftHSM token folder: its layout, its travel in a Secret, and what is wrong with one that does not open.

    softhsm2.conf                   directories.tokendir = <folder>/tokens
    pin                             the user PIN, no newline
    tokens/<uuid>/token.object      label, PIN check; SoftHSM truncates it while it logs in, unless it is read-only
    tokens/<uuid>/<uuid>.object     DK_g, DM_g

In a Secret each file of tokens/ is one key, `/` written as `__`. A projected volume is useless to SoftHSM (symbolic
links), so an init container unpacks it to real folders (HSM.md A10). Lock and generation files are not needed to read
and do not travel; the PIN travels in a Secret of its own.
"""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from typing import Final

from keystead.errors import HsmSetupError
from keystead.hsm.durable import write_new

CONF_NAME: Final = "softhsm2.conf"
PIN_NAME: Final = "pin"
TOKENS_NAME: Final = "tokens"
SEPARATOR: Final = "__"
MODULES: Final = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
)
_TRAVELS: Final = ".object"
# No empty part, no `.` or `..`, no `/`: a name cannot lead out of the folder.
_PART = re.compile(r"[0-9A-Za-z-][0-9A-Za-z.-]*\Z")
_TOKENDIR = re.compile(r"^\s*directories\.tokendir\s*=\s*(.*\S)\s*$", re.MULTILINE)


def softhsm_module() -> Path:
    """Where this machine has SoftHSM's module."""
    found = next((path for path in MODULES if path.exists()), None)
    if found is None:
        raise HsmSetupError("SoftHSM is not installed; hint: apt-get install softhsm2")
    return found


def conf_text(folder: Path) -> str:
    """softhsm2.conf of a token folder at `folder`."""
    return (
        f"directories.tokendir = {folder / TOKENS_NAME}\n"
        "objectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )


def pack_token(folder: Path) -> dict[str, bytes]:
    """Secret data of a token folder: `tokens__<uuid>__token.object` and so on. No PIN, no configuration."""
    files = sorted(path for path in (folder / TOKENS_NAME).rglob(f"*{_TRAVELS}") if path.is_file())
    if not files:
        raise HsmSetupError(f"{folder} holds no token")
    return {SEPARATOR.join(path.relative_to(folder).parts): path.read_bytes() for path in files}


def unpack_token(source: Path, folder: Path) -> int:
    """Real folders (0700) and files (0400) in `folder` from the Secret volume `source`; answers how many files.

    HsmSetupError for names that lead out of the folder. Doing it again replaces the token: an init container may run
    twice.
    """
    packed = _read_volume(source)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = folder / f"{TOKENS_NAME}.tmp-{secrets.token_hex(4)}"
        fresh.mkdir(mode=0o700)
        for (_, token, name), data in packed:
            (fresh / token).mkdir(mode=0o700, exist_ok=True)
            write_new(fresh / token / name, data, 0o400)
        shutil.rmtree(folder / TOKENS_NAME, ignore_errors=True)
        fresh.rename(folder / TOKENS_NAME)
        (folder / CONF_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise HsmSetupError(f"the token cannot be unpacked to {folder}: {error.strerror}") from None
    write_new(folder / CONF_NAME, conf_text(folder.absolute()).encode(), 0o400)
    return len(packed)


def _read_volume(source: Path) -> list[tuple[list[str], bytes]]:
    try:
        # `..data` and `..<time>` are the volume's own links and folders.
        files = sorted(path for path in source.iterdir() if not (path.name.startswith("..") and path.is_dir()))
        packed = [(_parts(path.name), path.read_bytes()) for path in files]
    except OSError as error:
        raise HsmSetupError(f"the packed token {source} cannot be read: {error.strerror}") from None
    if not packed:
        raise HsmSetupError(f"{source} holds no packed token; hint: is the token Secret mounted there?")
    return packed


def _parts(name: str) -> list[str]:
    parts = name.split(SEPARATOR)
    if len(parts) != 3 or parts[0] != TOKENS_NAME or not all(map(_PART.match, parts)):
        raise HsmSetupError(f"the packed token has a file {name!r}, which is not of a token")
    return parts


def diagnose(conf: Path) -> str | None:
    """What is wrong with the token folder of a configuration, in words; None where it looks well."""
    try:
        match = _TOKENDIR.search(conf.read_text())
    except OSError as error:
        return f"{conf} cannot be read ({error.strerror}); hint: SOFTHSM2_CONF must name the token's configuration"
    if match is None:
        return f"{conf} names no directories.tokendir"
    tokens = Path(match[1])
    if not tokens.is_dir():
        return f"the token folder {tokens} does not exist; hint: is its volume mounted, or its init container broken?"
    folders = [path for path in tokens.iterdir() if path.is_dir()]
    if not folders:
        return (
            f"the token folder {tokens} is empty; hint: run `keystead hsm init`, or restore the domain from its backup"
        )
    for path in folders:
        token = path / "token.object"
        if not token.exists() or token.stat().st_size == 0:
            return (
                f"{token} is empty or missing: this token is destroyed, as a kill during login does it; "
                "hint: restore the domain with `keystead hsm init --from-backup` and mount the token read-only"
            )
    return None

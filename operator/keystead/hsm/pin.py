"""The PIN: read from a file, used once, and a marker that stops everybody after a refusal.

SoftHSM never locks, but kryoptic and hardware do, some for good: a crash loop must not burn a token's attempts. After
a refusal a marker names the PIN's version, and nobody logs in until that changes. For CLI and dev the marker is the
file `pin-refused` beside the PIN file; in a cluster it is a ConfigMap, which the operator reads before this module is
asked (store).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keystead.errors import HsmAuthError, HsmSetupError

MARKER_NAME = "pin-refused"


class PinMarker(Protocol):
    """Where a refusal is remembered."""

    def refused(self) -> str | None:
        """Why nobody may log in now, None where nothing stands against it."""

    def refuse(self) -> None:
        """Remember that this version of the PIN was refused."""


@dataclass(frozen=True, slots=True)
class FileMarker:
    """`pin-refused` in `folder`; it names the PIN file's inode, size and modification time, never the PIN."""

    pin_file: Path
    folder: Path

    def refused(self) -> str | None:
        """The hint, where the marker names this very PIN file. HsmAuthError where it cannot be read."""
        try:
            text = self._marker().read_text()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HsmAuthError(
                f"the marker {self._marker()} cannot be read ({error.strerror}); hint: remove it once the PIN is right"
            ) from None
        if text.strip() != self._version():
            return None
        return (
            f"the token refused this PIN before (marker {self._marker()}); "
            "hint: put the right PIN into the PIN file, then try again"
        )

    def refuse(self) -> None:
        """Write the marker. HsmAuthError where the folder takes none: nothing would stop the next attempt."""
        try:
            self._marker().write_text(self._version() + "\n")
        except OSError as error:
            raise HsmAuthError(
                f"the token refused the PIN, and the marker {self._marker()} cannot be written ({error.strerror}); "
                "hint: put the right PIN into the PIN file before anything tries again"
            ) from None

    def _marker(self) -> Path:
        return self.folder / MARKER_NAME

    def _version(self) -> str:
        try:
            facts = self.pin_file.stat()
        except OSError:
            return ""  # `read_pin` says what is wrong with it
        return f"{facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"


def read_pin(pin_file: Path) -> str:
    """The PIN of a file. HsmAuthError for an empty one, a newline or other white space around it, or odd bytes."""
    try:
        data = pin_file.read_bytes()
    except OSError as error:
        raise HsmSetupError(f"PIN file {pin_file} cannot be read: {error.strerror}") from None
    if not data:
        raise HsmAuthError(f"PIN file {pin_file} is empty")
    if data != data.strip():
        raise HsmAuthError(
            f"PIN file {pin_file} begins or ends with white space, most likely a newline; "
            "hint: write it with `printf %s`, not `echo`"
        )
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise HsmAuthError(f"PIN file {pin_file} has bytes that are not ASCII") from None

"""The fixed domain of the golden files: the fake HSM with DK and DM given as bytes, taken from a backup by its recovery key.

Who uses it: make.py, once a release, and test_golden.py for ever. The keys protect nothing.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from tests.hsm.fake import FakeHsm

from keystead.engine.backup import FINGERPRINT_PROBE, fingerprint, parse_backup, parse_recovery_key

RELEASE_1 = Path(__file__).with_name("release-1")
RELEASE_2 = Path(__file__).with_name("release-2")
RELEASE_3 = Path(__file__).with_name("release-3")
RELEASE_4 = Path(__file__).with_name("release-4")
BACKUP, RECOVERY = "domain-backup-1.ksdb", "recovery-key-1.txt"


class GoldenHsm(FakeHsm):
    """A fake whose domain keys are these and no others."""

    def __init__(self, dk: bytes, dm: bytes) -> None:
        super().__init__(b"golden")
        self._dk, self._dm = dk, dm
        self.fingerprint = fingerprint(self.mac, aes_key_wrap_with_padding(dk, FINGERPRINT_PROBE))


def restored(folder: Path) -> GoldenHsm:
    """The domain of a release, from its backup and recovery key alone, as after a disaster."""
    backup = parse_backup((folder / BACKUP).read_bytes())
    generation, recovery = parse_recovery_key((folder / RECOVERY).read_text())
    assert generation == backup.generation
    hsm = GoldenHsm(
        aes_key_unwrap_with_padding(recovery, backup.wrapped_dk),
        aes_key_unwrap_with_padding(recovery, backup.wrapped_dm),
    )
    backup.verify(hsm.mac)
    assert hsm.fingerprint == backup.fingerprint
    return hsm

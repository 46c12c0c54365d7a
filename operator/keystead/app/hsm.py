"""The hsm part of the commands' `Services`: settings and options -> token -> ceremony, probe, trial.

One module load per process: a PKCS#11 module reads its configuration from the environment at C_Initialize, so this sets
SOFTHSM2_CONF for a chosen token folder before anything loads the module.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from keystead.cli.services import BackupFacts, CheckRow, InitRequest, NewInstall, TokenChoice
from keystead.engine.backup import DomainBackup, parse_backup
from keystead.errors import HsmSetupError, InvalidSpecError
from keystead.hsm.backend import Hsm, open_hsm, open_token
from keystead.hsm.ceremony import FIRST_GENERATION, init_domain, restore_domain, verify_backup
from keystead.hsm.check import check_token
from keystead.hsm.deposit import FileDeposit, read_recipient
from keystead.hsm.domain import TokenDomain
from keystead.hsm.findings import Verdict
from keystead.hsm.memory import look
from keystead.hsm.pin import FileMarker
from keystead.hsm.provision import TokenDraft, token_draft
from keystead.hsm.softhsm import CONF_NAME, PIN_NAME, diagnose, pack_token, softhsm_module, unpack_token
from keystead.settings import HsmSettings, Settings

CONF_VARIABLE = "SOFTHSM2_CONF"
_INSTALL_ID_BYTES = 16


class HsmServices:
    """Implements the hsm methods of `cli.services.Services`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.hsm

    @contextmanager
    def init_hsm(self, request: InitRequest) -> Iterator[NewInstall]:
        """The ceremony, in a new SoftHSM token folder or in a token that is there."""
        with ExitStack() as stack:
            settings, draft = self._place(request, stack)
            restore = _read_restore(request)
            deposit = None if restore else _deposit(request)
            with _diagnosed():
                token = open_token(settings, _marker(settings), writable=True)
            stack.callback(token.close)
            if restore:
                domain = restore_domain(token, *restore)
                backup = restore[0]
            else:
                assert deposit is not None
                domain = init_domain(token, os.urandom(_INSTALL_ID_BYTES), deposit, os.urandom)
                backup = deposit.backup_file.read_bytes()
            files = {}
            if draft is not None:
                draft.commit()
                files = pack_token(draft.folder)
            yield _outcome(domain, parse_backup(backup), deposit, draft, files)

    def _place(self, request: InitRequest, stack: ExitStack) -> tuple[HsmSettings, TokenDraft | None]:
        choice = request.token
        if choice.softhsm_dir is None:
            return self._choose(choice), None
        if choice.pin_file is not None:
            raise InvalidSpecError("--pin-file", "a new SoftHSM token gets a PIN of its own, in its folder")
        settings = replace(
            self._settings,
            module=choice.module or softhsm_module(),
            token_label=choice.token_label or self._settings.token_label,
        )
        draft = stack.enter_context(token_draft(choice.softhsm_dir, settings.module, settings.token_label))
        os.environ[CONF_VARIABLE] = str(draft.conf)
        return replace(settings, pin_file=draft.pin_file), draft

    @contextmanager
    def open_hsm(self, token: TokenChoice, expect_fingerprint: str | None = None) -> Iterator[Hsm]:
        """An open token with a domain, closed at the end."""
        settings = self._choose(token)
        with _diagnosed():
            hsm = open_hsm(settings, _marker(settings), expect_fingerprint)
        try:
            yield hsm
        finally:
            hsm.close()

    def check_hsm(self, token: TokenChoice, expect_fingerprint: str | None) -> Iterator[CheckRow]:
        """The table of probes, row by row."""
        with self.open_hsm(token, expect_fingerprint) as hsm:
            for row in check_token(hsm):
                yield CheckRow(row.name, row.proves, row.verdict.value, row.detail)
        memory = look()
        verdict = Verdict.OK if memory.safe else Verdict.DEGRADED
        yield CheckRow("process memory", "keys in memory reach no core file and no swap", verdict.value, str(memory))

    def verify_backup(self, token: TokenChoice | None, backup: Path, recovery_key: Path) -> BackupFacts:
        """In the token chosen, or in a throw-away one."""
        data, line = _read(backup, "backup"), _read_line(recovery_key)
        with ExitStack() as stack:
            if token is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-")))
                request = InitRequest(token=TokenChoice(softhsm_dir=folder / "token"))
                settings, _ = self._place(request, stack)
            else:
                settings = self._choose(token)
            with _diagnosed():
                session = open_token(settings, _marker(settings))
            stack.callback(session.close)
            found = verify_backup(session, data, line)
        return BackupFacts(found.generation, found.install_id.hex(), found.fingerprint)

    def unpack_token(self, source: Path, folder: Path) -> int:
        """The init container's work."""
        return unpack_token(source, folder)

    def _choose(self, choice: TokenChoice) -> HsmSettings:
        """Settings with the options over them; a SoftHSM folder brings configuration and PIN file."""
        settings = self._settings
        if choice == TokenChoice() and not os.access(settings.pin_file, os.R_OK):
            raise HsmSetupError(
                f"PIN file {settings.pin_file} cannot be read, and no option names a token; hint: --softhsm-dir FOLDER, or --pin-file FILE "
                "with --module and --token-label, or the settings KEYSTEAD_HSM_*"
            )
        if choice.softhsm_dir is not None:
            folder = choice.softhsm_dir.absolute()
            if not (folder / CONF_NAME).exists():
                raise HsmSetupError(
                    f"{folder} is not a token folder: it has no {CONF_NAME}; hint: run `keystead hsm init`"
                )
            os.environ[CONF_VARIABLE] = str(folder / CONF_NAME)
            settings = replace(settings, module=softhsm_module(), pin_file=folder / PIN_NAME)
        return replace(
            settings,
            module=choice.module or settings.module,
            token_label=choice.token_label or settings.token_label,
            pin_file=choice.pin_file or settings.pin_file,
        )


def _marker(settings: HsmSettings) -> FileMarker:
    return FileMarker(settings.pin_file, settings.pin_file.parent)


@contextmanager
def _diagnosed() -> Iterator[None]:
    """SoftHSM calls a broken or empty folder `no such token`, or does not load: say what is wrong with it instead."""
    try:
        yield
    except HsmSetupError as error:
        conf = os.environ.get(CONF_VARIABLE)
        vague = any(words in str(error) for words in ("no token is called", "cannot be loaded"))
        words = diagnose(Path(conf)) if conf and vague else None
        if words is None:
            raise
        raise HsmSetupError(words) from None


def _read_restore(request: InitRequest) -> tuple[bytes, str] | None:
    if request.from_backup is None or request.recovery_key is None:
        return None
    return _read(request.from_backup, "backup"), _read_line(request.recovery_key)


def _deposit(request: InitRequest) -> FileDeposit:
    folder = request.token.softhsm_dir.absolute().parent if request.token.softhsm_dir else Path()
    recipient = read_recipient(request.recovery_recipient) if request.recovery_recipient else None
    suffix = "cms" if recipient else "txt"
    deposit = FileDeposit(
        request.backup_file or folder / f"domain-backup-{FIRST_GENERATION}.ksdb",
        request.recovery_file or folder / f"recovery-key-{FIRST_GENERATION}.{suffix}",
        recipient,
    )
    deposit.check()
    return deposit


def _outcome(
    domain: TokenDomain,
    backup: DomainBackup,
    deposit: FileDeposit | None,
    draft: TokenDraft | None,
    files: dict[str, bytes],
) -> NewInstall:
    given_out = deposit.recovery_file.read_bytes() if deposit else None
    encrypted = deposit is not None and deposit.recipient is not None
    wrote = {}
    if deposit is not None:
        wrote = {"backup": deposit.backup_file, "recoveryKey": deposit.recovery_file}
    if draft is not None:
        wrote["token"] = draft.folder
    return NewInstall(
        restored=deposit is None,
        install_id=backup.install_id,
        generation=domain.generation,
        fingerprint=domain.fingerprint,
        backup=backup.encode(),
        recovery_text=given_out.decode().strip() if given_out and not encrypted else None,
        recovery_cms=given_out if encrypted else None,
        token_files=files,
        pin=draft.pin if draft else None,
        domain=domain,
        wrote=wrote,
    )


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise HsmSetupError(f"the {what} {file} cannot be read: {error.strerror}") from None


def _read_line(file: Path) -> str:
    # Bytes that are no ASCII are no recovery key either; the parser says so without repeating them.
    return _read(file, "recovery key").decode("ascii", "replace")

"""The ceremony: how a domain comes into a token, once, and never without a backup that was tried (HSM.md A2, A3).

    init      DK and DM are made as SENSITIVE, EXTRACTABLE session objects and wrapped (AES-KWP) under a random recovery
              key R; backup and R go to the deposit, durably; what was written is read back; the rest is `restore`
    restore   R and backup are parsed; DK and DM are unwrapped as session objects; MAC and fingerprint of the backup are
              verified with them; only then C_UnwrapKey puts both into the token with the final templates, and the
              token's fingerprint is compared

So every new domain is restored from its backup, and a kill leaves a backup without a domain, never a domain without a
backup. R and the values of DK and DM are known to the token's process and to the deposit only; R exists in no log and
no argument. Only this module makes an extractable domain key, and it dies with the ceremony's session.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from keystead.engine.backup import (
    FINGERPRINT_PROBE,
    DomainBackup,
    fingerprint,
    format_recovery_key,
    make_backup,
    parse_backup,
    parse_recovery_key,
)
from keystead.engine.kdf import Kdf
from keystead.errors import BackupError, HsmSetupError, HsmUnavailableError
from keystead.hsm.domain import (
    DK_LABEL,
    DM_LABEL,
    TokenDomain,
    find_domain,
    import_secret,
    import_wrapping_key,
    probe_kwp,
)
from keystead.hsm.faults import Fault, classify
from keystead.hsm.templates import Template, domain_mac_key, domain_wrapping_key, extractable_secret
from keystead.hsm.token import TokenSession, translated

FIRST_GENERATION: Final = 1

# Takes the backup's bytes and the recovery line, keeps both durably, and answers what it read back from there.
Deposit: TypeAlias = Callable[[DomainBackup, str], tuple[bytes, str]]

_DK_IN_CEREMONY: Final[Template] = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: True,
    Attribute.WRAP: True,
    Attribute.UNWRAP: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
}


def init_domain(
    token: TokenSession, install_id: bytes, deposit: Deposit, random: Callable[[int], bytes]
) -> TokenDomain:
    """Make generation 1 in an empty token. HsmSetupError: the token has a domain, or half of one."""
    with translated("make a domain"):
        refuse_domain(token)
        kwp = probe_kwp(token.session)
        recovery = random(32)
        backup = _make(token, kwp, recovery, install_id)
        data, line = deposit(backup, format_recovery_key(backup.generation, recovery))
    if data != backup.encode():
        raise BackupError("the backup that was read back is not the one that was written; hint: try another disk")
    return restore_domain(token, data, line)


def restore_domain(token: TokenSession, data: bytes, line: str) -> TokenDomain:
    """Put the domain of a backup into an empty token. BackupError: they do not verify; nothing is made."""
    backup, recovery = match_recovery(data, line)
    with translated("take the domain"):
        refuse_domain(token)
        kwp = probe_kwp(token.session)
        with _opened(token.session, kwp, backup, recovery):
            pass
        _put_into_token(token.session, kwp, backup, recovery)
        try:
            return TokenDomain(token, backup.fingerprint)
        except HsmSetupError:
            _remove_domain(token)
            raise


def verify_backup(token: TokenSession, data: bytes, line: str) -> DomainBackup:
    """Whether a backup and a recovery key bring a domain back, tried with session objects. BackupError: no."""
    backup, recovery = match_recovery(data, line)
    with translated("try the backup"), _opened(token.session, probe_kwp(token.session), backup, recovery):
        return backup


def match_recovery(data: bytes, line: str) -> tuple[DomainBackup, bytes]:
    """Both parsed; BackupError where they are of different generations."""
    backup, (generation, recovery) = parse_backup(data), parse_recovery_key(line)
    if generation != backup.generation:
        raise BackupError(
            f"the recovery key is of generation {generation}, the backup of generation {backup.generation}; "
            "hint: each generation has a recovery key of its own"
        )
    return backup, recovery


def refuse_domain(token: TokenSession) -> None:
    """HsmSetupError unless the token is empty. `find_domain` refuses half a domain."""
    keys = find_domain(token.session)
    if keys is not None:
        raise HsmSetupError(
            f"the token {token.place.label!r} has a domain already (generation {keys.generation}); "
            "hint: a domain is never replaced; take a fresh token"
        )


def _make(token: TokenSession, kwp: Mechanism, recovery: bytes, install_id: bytes) -> DomainBackup:
    session = token.session
    wrapping = import_wrapping_key(session, recovery)
    dk = session.generate_key(
        KeyType.AES,
        256,
        store=False,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template=_DK_IN_CEREMONY,
    )
    dm = session.generate_key(
        KeyType.GENERIC_SECRET,
        512,
        store=False,
        capabilities=MechanismFlag(0),
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        template=extractable_secret(),
    )
    try:
        wrapped_dk, wrapped_dm = wrapping.wrap_key(dk, mechanism=kwp), wrapping.wrap_key(dm, mechanism=kwp)
        found = _fingerprint(session, kwp, dk, dm)
        return make_backup(_kdf(dm), FIRST_GENERATION, install_id, found, wrapped_dk, wrapped_dm)
    finally:
        for key in (wrapping, dk, dm):
            key.destroy()


@contextmanager
def _opened(session: pkcs11.Session, kwp: Mechanism, backup: DomainBackup, recovery: bytes) -> Iterator[None]:
    """The backup's keys as session objects, verified by MAC and fingerprint. BackupError where they do not fit."""
    made: list[pkcs11.Key] = [import_wrapping_key(session, recovery)]
    try:
        made.append(_unwrap(made[0], KeyType.AES, backup.wrapped_dk, kwp, _DK_IN_CEREMONY))
        made.append(_unwrap(made[0], KeyType.GENERIC_SECRET, backup.wrapped_dm, kwp, extractable_secret()))
        _, dk, dm = made
        backup.verify(_kdf(dm))
        if not hmac.compare_digest(_fingerprint(session, kwp, dk, dm), backup.fingerprint):
            raise BackupError("the backup's keys are not those of the domain fingerprint that it names")
        yield
    finally:
        for key in made:
            key.destroy()


def _unwrap(
    wrapping: pkcs11.SecretKey, key_type: KeyType, wrapped: bytes, kwp: Mechanism, template: Template
) -> pkcs11.SecretKey:
    try:
        return wrapping.unwrap_key(
            ObjectClass.SECRET_KEY, key_type, wrapped, mechanism=kwp, store=template[Attribute.TOKEN], template=template
        )
    except pkcs11.PKCS11Error as error:
        if classify(error) is Fault.SESSION:
            raise HsmUnavailableError(f"the token does not work: {type(error).__name__}") from None
        if template[Attribute.TOKEN]:  # it opened as a session object before
            raise HsmUnavailableError(
                f"the token cannot keep the domain ({type(error).__name__}); hint: is its disk full, or read-only?"
            ) from None
        raise BackupError(
            f"the recovery key does not open this backup ({type(error).__name__}); "
            "hint: take the one that was given out with it"
        ) from None


def _put_into_token(session: pkcs11.Session, kwp: Mechanism, backup: DomainBackup, recovery: bytes) -> None:
    """Both domain keys, or none: the first goes again where the second fails."""
    g = backup.generation
    wrapping = import_wrapping_key(session, recovery)
    made: list[pkcs11.Key] = []
    try:
        dk_template = domain_wrapping_key(DK_LABEL.format(g), g, kwp)
        made.append(_unwrap(wrapping, KeyType.AES, backup.wrapped_dk, kwp, dk_template))
        dm_template = domain_mac_key(DM_LABEL.format(g), g)
        made.append(_unwrap(wrapping, KeyType.GENERIC_SECRET, backup.wrapped_dm, kwp, dm_template))
    except BaseException:
        for key in made:
            with suppress(pkcs11.PKCS11Error):
                key.destroy()
        raise
    finally:
        wrapping.destroy()


def _remove_domain(token: TokenSession) -> None:
    keys = find_domain(token.session)
    if keys is not None:
        keys.dk.destroy()
        keys.dm.destroy()


def _kdf(dm: pkcs11.SecretKey) -> Kdf:
    def mac(message: bytes) -> bytes:
        value: bytes = dm.sign(message, mechanism=Mechanism.SHA512_HMAC)
        return value

    return mac


def _fingerprint(session: pkcs11.Session, kwp: Mechanism, dk: pkcs11.SecretKey, dm: pkcs11.SecretKey) -> str:
    probe = import_secret(session, FINGERPRINT_PROBE, extractable=True)
    try:
        return fingerprint(_kdf(dm), dk.wrap_key(probe, mechanism=kwp))
    finally:
        probe.destroy()

"""What the commands need from the outside. `app` implements it; the commands get it through click's context object.

A Protocol, because `cli` stands beside `hsm` and `store` and must not import them (ARCHITECTURE 3). Secrets in these
values are kept out of their repr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from keystead.cli.audit_services import AuditServices
from keystead.engine.ports import Domain


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChoice:
    """Which token; what is None comes from the settings.

    softhsm_dir   a folder made by `hsm init --softhsm-dir`: its configuration and PIN file are used
    """

    softhsm_dir: Path | None = None
    module: Path | None = None
    token_label: str | None = None
    pin_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """A ceremony. `softhsm_dir` of the token: a new token is made there. Without from_backup a new domain is made.

    recovery_file, backup_file   where they go; None: named by generation, beside the token folder or in the current one
    recovery_recipient           PEM certificate: the recovery key leaves as a CMS envelope for its holder only
    """

    token: TokenChoice
    recovery_recipient: Path | None = None
    recovery_file: Path | None = None
    backup_file: Path | None = None
    from_backup: Path | None = None
    recovery_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstall:
    """What a ceremony made, while its session is open.

    install_id      16 bytes, of the install record; a restored domain brings its own
    backup          the 201 bytes of Secret domain-backup-<generation>
    recovery_text   the line, for a new domain without a recipient; None otherwise
    recovery_cms    the envelope (DER), for a new domain with a recipient; None otherwise
    token_files     Secret data of a new SoftHSM token, `/` written as `__`; empty for any other token
    pin             the PIN of a new SoftHSM token, None for any other
    domain          open: seals the install record
    wrote           files that were written for people
    """

    restored: bool
    install_id: bytes
    generation: int
    fingerprint: str
    backup: bytes
    recovery_text: str | None = field(repr=False)
    recovery_cms: bytes | None = field(repr=False)
    token_files: Mapping[str, bytes] = field(repr=False)
    pin: str | None = field(repr=False)
    domain: Domain = field(repr=False)
    wrote: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One line of `hsm check`. verdict: ok, degraded, failed."""

    name: str
    proves: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """What a verified backup is of."""

    generation: int
    install_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CryptCall:
    """One `keystead crypt` call: operation by AWS's name, its request, the principal's ARN, one grant's id or None."""

    operation: str
    request: object = field(repr=False)
    principal: str
    grant: str | None
    token: TokenChoice


class RecordKinds(StrEnum):
    """`--kind`: the kinds of records that belong to objects, by the word in their Secret's name."""

    KEY = "key"
    ALIAS = "alias"
    GRANT = "grant"
    DATAKEY = "datakey"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """One key: by namespace and name, or by its id or ARN."""

    namespace: str = ""
    name: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptRequest:
    """Which records to take over. `name` None: all of the namespace that are an earlier one's; `everything`: of all namespaces."""

    namespace: str = ""
    name: str | None = None
    key_id: str = ""
    kind: RecordKinds = RecordKinds.KEY
    everything: bool = False
    as_new: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class AccessKey:
    """`--access-key ID:SECRET[:ACCOUNT]`. `account` "": that of --account."""

    id: str
    secret: str = field(repr=False)
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevRequest:
    """`keystead dev`. `state` None and not `memory`: the default folder of the user.

    quota    off, aws, or the path of a file: request quotas of each account (docs/quotas.md)
    audit    a folder for records of all calls, made if need be; None: none are kept
    tell     where the lines for people and for `eval` go
    """

    host: str
    port: int
    state: Path | None
    memory: bool
    account: str
    access_keys: tuple[AccessKey, ...]
    seeds: tuple[Path, ...]
    workers: int
    allow_reset: bool
    jwks: Path | None
    certificate: Path | None
    private_key: Path | None
    insecure: bool
    tell: Callable[[str], None]
    quota: str = "off"
    audit: Path | None = None


class Services(AuditServices, Protocol):
    """Raises KeysteadError and nothing else on purpose."""

    def init_hsm(self, request: InitRequest) -> AbstractContextManager[NewInstall]:
        """The ceremony. The token's session ends with the context."""

    def reach_cluster(self) -> None:
        """StoreError, or HsmSetupError, where an install could not be published: no cluster, no chart."""

    def publish_install(self, install: NewInstall) -> None:
        """Put install record, backup, recovery key, token and PIN into the cluster, create-only."""

    def check_hsm(self, token: TokenChoice, expect_fingerprint: str | None) -> Iterator[CheckRow]:
        """Probe a token with a domain."""

    def verify_backup(self, token: TokenChoice | None, backup: Path, recovery_key: Path) -> BackupFacts:
        """Try a backup and its recovery key with session objects; None: in a throw-away SoftHSM token."""

    def unpack_token(self, source: Path, folder: Path) -> int:
        """From a Secret volume to real folders; how many files."""

    def run_operator(self) -> int:
        """The operator until SIGTERM; the exit code."""

    def run_server(self) -> int:
        """The AWS KMS endpoint until SIGTERM; the exit code."""

    def run_dev(self, request: DevRequest) -> int:
        """The endpoint on this machine, without a cluster, until it is stopped; the exit code."""

    def release_finalizers(self) -> tuple[int, int]:
        """Take the Lease, and our finalizer from every key: (keys looked at, finalizers removed)."""

    def crypt(self, call: CryptCall) -> object:
        """Run one operation; the response of operations."""

    def list_records(self, token: TokenChoice, kinds: RecordKinds) -> tuple[list[dict[str, str]], list[str]]:
        """Rows of records, and what was refused."""

    def show_record(self, token: TokenChoice, target: KeyTarget) -> dict[str, str | int]:
        """One key record for people."""

    def adopt_records(self, token: TokenChoice, request: AdoptRequest, tell: Callable[[str], None]) -> list[dict[str, str]]:
        """A row a record: what was done (annotated, written, nothing to do, left, failed), and why."""

    def hold_key(self, token: TokenChoice, target: KeyTarget, reason: str | None, wait: bool) -> dict[str, str | int]:
        """Latch a hold, or release it (None). The token is opened only where there is no object."""

    def rotate_key(self, token: TokenChoice, target: KeyTarget, wait: bool) -> dict[str, str | int]:
        """Ask for a rotation."""

    def schedule_deletion(self, token: TokenChoice, target: KeyTarget, days: int | None, wait: bool) -> dict[str, str | int]:
        """Begin the waiting window, or cancel it (None)."""

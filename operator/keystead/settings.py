"""Settings: frozen groups, and the one place that reads the environment (STYLE 19).

Called by app (composition root). Every field names its unit, its default and the reason for it. A bad value is an
InvalidSpecError that names the variable. No secret is ever a setting: the PIN is a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from keystead.errors import InvalidSpecError


class SoftwareProtection(StrEnum):
    """Whether key specs that the token cannot wrap may live in process memory (ARCHITECTURE 5)."""

    FORBIDDEN = "Forbidden"
    ALLOWED = "Allowed"


class TokenKind(StrEnum):
    """What protectionLevel says of keys in this token: a hardware slot, or a software token such as SoftHSM."""

    HSM = "HSM"
    TOKEN = "TOKEN"  # noqa: S105 - AWS-like protection word


class NamespaceDefaultPolicy(StrEnum):
    """The policy with which a key is born whose spec says none."""

    RBAC = "rbac"
    """The default policy: the account, which is the namespace, decides through RBAC."""
    STRICT = "strict"
    """RBAC administers the key; its use is for principals that a statement or a grant names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HsmSettings:
    """The token.

    module              PKCS#11 module to load; default SoftHSM2's place in Debian packages
    token_label         label of the token, never a slot number (SoftHSM renumbers slots); default `keystead`
    pin_file            file with the user PIN and nothing else, no newline
    software_protection default Forbidden: nothing is SOFTWARE silently
    kind                default TOKEN; `HSM` only for a hardware slot
    slow_lanes          processes for RSA, EC and key generation; default 1 (2 cores)
    """

    module: Path = Path("/usr/lib/softhsm/libsofthsm2.so")
    token_label: str = "keystead"  # noqa: S105 - a label, not a secret
    pin_file: Path = Path("/run/keystead/pin/pin")
    software_protection: SoftwareProtection = SoftwareProtection.FORBIDDEN
    kind: TokenKind = TokenKind.TOKEN
    slow_lanes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Where things are in the cluster.

    namespace         the release's namespace (Lease, PIN marker); default keystead-system
    records_namespace the sealed records; fixed name
    region            region of new keys; default cluster-1, a name that AWS does not have
    kubeconfig        file to use instead of the Pod's ServiceAccount
    pin_secret        Secret of the PIN in `namespace`, read for its resourceVersion only
    watch_namespaces  namespaces to serve; empty: all
    keys_per_namespace 100,000, AWS's figure for an account: the operator makes no more, and CreateKey answers LimitExceededException
    """

    namespace: str = "keystead-system"
    records_namespace: str = "keystead-records"
    region: str = "cluster-1"
    kubeconfig: Path | None = None
    pin_secret: str = "keystead-pin"  # noqa: S105 - a name, not a secret
    watch_namespaces: tuple[str, ...] = ()
    keys_per_namespace: int = 100_000

    @property
    def reconciled(self) -> tuple[str, ...]:
        """Namespaces that the operator watches; empty: all. Keystead's own key lies in that of the records."""
        others = tuple(name for name in self.watch_namespaces if name != self.records_namespace)
        return (*others, self.records_namespace) if self.watch_namespaces else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """The operator process. Seconds unless said otherwise.

    lease_duration    15: another replica may take over this long after the last renewal
    renew_deadline    10: the leader stops when it could not renew for this long
    retry_period      2: between renewals and between attempts
    workers           16 keys reconciled at once
    refresh_period    300: each object is looked at this often, spread by hash
    probe_port        8080: /healthz, /readyz, /metrics; 0 = any free port, printed
    identity          name in the Lease and in the User-Agent (audit log); default the Pod's (hostname) and process id
    namespace_default_policy   of new keys whose spec says no policy; default rbac
    """

    lease_name: str = "keystead-operator"
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    workers: int = 16
    refresh_period: float = 300.0
    probe_port: int = 8080
    identity: str = ""
    namespace_default_policy: NamespaceDefaultPolicy = NamespaceDefaultPolicy.RBAC


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The AWS endpoint. Seconds unless said otherwise.

    port          8443: KMS and STS, TLS
    probe_port    8081: /healthz, /readyz, /metrics of the Pod; 0 = any free port, printed
    workers       1: processes that share the port; one a core is the most that helps
    tls_cert      PEM chain, read again when it changes
    tls_key       its private key
    max_stale     60: a worker cut off from the API server serves on for this long, then fails closed; 0 = not at all
    drain         20: after SIGTERM open calls may end within this time; the Pod's grace period must be longer
    lame_duck     5: after SIGTERM new connections are still taken for this long: a Service takes a moment to hear of it
    quota         off: request quotas of each account (docs/quotas.md): off, aws, JSON, or the path of a file with JSON
    quota_share   1: Pods among which each quota is divided; the workers of a Pod divide their Pod's part
    """

    port: int = 8443
    probe_port: int = 8081
    workers: int = 1
    tls_cert: Path = Path("/run/keystead/tls/tls.crt")
    tls_key: Path = Path("/run/keystead/tls/tls.key")
    max_stale: float = 60.0
    drain: float = 20.0
    lame_duck: float = 5.0
    quota: str = "off"
    quota_share: int = 1


class AuditMode(StrEnum):
    """Whether an answer waits for its record."""

    SYNC = "sync"
    """Decrypt, data keys, signatures and every change are answered when their record is durable."""
    BUFFERED = "buffered"
    """Nothing waits: a process that is killed loses what was not yet written."""
    OFF = "off"
    """No record is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """The audit trail of a process (docs/reference/audit-format.md). Bytes and seconds.

    mode            sync: the answer waits, so that no more was answered than is on record
    stdout          true: records go to standard output too
    folder          where files of records lie, one folder a replica; None: no files
    file_bytes      64 MiB: a file that has grown to this is closed, and compressed
    retain_bytes    10 GiB of files, compressed ones as they are; the oldest goes first, and that is on record
    buffer_seconds  0.2: how long a record that nobody waits for is kept back; the bound of what a killed process loses
    peers           none: host and port of names that lead to all replicas of the server, whose files a tenant reads through any of them
    """

    mode: AuditMode = AuditMode.SYNC
    stdout: bool = True
    folder: Path | None = None
    file_bytes: int = 64 * 1024 * 1024
    retain_bytes: int = 10 * 1024**3
    buffer_seconds: float = 0.2
    peers: tuple[tuple[str, int], ...] = ()

    @property
    def kept_in(self) -> Path | None:
        """The folder in which records are kept, and read by tenants; None where none are."""
        return None if self.mode is AuditMode.OFF else self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All groups."""

    hsm: HsmSettings = field(default_factory=HsmSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    operator: OperatorSettings = field(default_factory=OperatorSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)


_REGION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})\Z")


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from KEYSTEAD_* variables. InvalidSpecError names the variable and the fix."""
    env = os.environ if environ is None else environ
    hsm, cluster = HsmSettings(), ClusterSettings()
    kubeconfig = env.get("KEYSTEAD_KUBECONFIG") or env.get("KUBECONFIG")
    return Settings(
        hsm=HsmSettings(
            module=Path(env.get("KEYSTEAD_HSM_MODULE", str(hsm.module))),
            token_label=env.get("KEYSTEAD_HSM_TOKEN_LABEL", hsm.token_label),
            pin_file=Path(env.get("KEYSTEAD_HSM_PIN_FILE", str(hsm.pin_file))),
            software_protection=_choice(env, "KEYSTEAD_HSM_SOFTWARE_PROTECTION", SoftwareProtection.FORBIDDEN),
            kind=_choice(env, "KEYSTEAD_HSM_KIND", TokenKind.TOKEN),
            slow_lanes=int(_number(env, "KEYSTEAD_HSM_SLOW_LANES", 1, 1, 16)),
        ),
        cluster=ClusterSettings(
            namespace=env.get("KEYSTEAD_NAMESPACE", cluster.namespace),
            region=_region(env.get("KEYSTEAD_REGION", cluster.region)),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            pin_secret=env.get("KEYSTEAD_PIN_SECRET", cluster.pin_secret),
            watch_namespaces=tuple(filter(None, env.get("KEYSTEAD_WATCH_NAMESPACES", "").split(","))),
            keys_per_namespace=int(_number(env, "KEYSTEAD_KEYS_PER_NAMESPACE", cluster.keys_per_namespace, 1, 1_000_000)),
        ),
        operator=OperatorSettings(
            lease_duration=_number(env, "KEYSTEAD_LEASE_DURATION", 15.0, 1, 600),
            renew_deadline=_number(env, "KEYSTEAD_RENEW_DEADLINE", 10.0, 0.5, 600),
            retry_period=_number(env, "KEYSTEAD_RETRY_PERIOD", 2.0, 0.05, 60),
            workers=int(_number(env, "KEYSTEAD_WORKERS", 16, 1, 256)),
            refresh_period=_number(env, "KEYSTEAD_REFRESH_PERIOD", 300.0, 1, 86400),
            probe_port=int(_number(env, "KEYSTEAD_PROBE_PORT", 8080, 0, 65535)),
            identity=env.get("KEYSTEAD_IDENTITY", ""),
            namespace_default_policy=_choice(env, "KEYSTEAD_NAMESPACE_DEFAULT_POLICY", NamespaceDefaultPolicy.RBAC),
        ),
        server=_server(env),
        audit=_audit(env),
    )


def _server(env: Mapping[str, str]) -> ServerSettings:
    default = ServerSettings()
    return ServerSettings(
        port=int(_number(env, "KEYSTEAD_SERVER_PORT", default.port, 0, 65535)),
        probe_port=int(_number(env, "KEYSTEAD_SERVER_PROBE_PORT", default.probe_port, 0, 65535)),
        workers=int(_number(env, "KEYSTEAD_SERVER_WORKERS", default.workers, 1, 64)),
        tls_cert=Path(env.get("KEYSTEAD_TLS_CERT", str(default.tls_cert))),
        tls_key=Path(env.get("KEYSTEAD_TLS_KEY", str(default.tls_key))),
        max_stale=_number(env, "KEYSTEAD_MAX_STALE", default.max_stale, 0, 3600),
        drain=_number(env, "KEYSTEAD_DRAIN", default.drain, 0, 600),
        lame_duck=_number(env, "KEYSTEAD_LAME_DUCK", default.lame_duck, 0, 60),
        quota=env.get("KEYSTEAD_QUOTA", default.quota),
        quota_share=int(_number(env, "KEYSTEAD_QUOTA_SHARE", default.quota_share, 1, 1000)),
    )


def _audit(env: Mapping[str, str]) -> AuditSettings:
    default = AuditSettings()
    folder = env.get("KEYSTEAD_AUDIT_FOLDER")
    found = AuditSettings(
        mode=_choice(env, "KEYSTEAD_AUDIT_MODE", default.mode),
        stdout=_truth(env, "KEYSTEAD_AUDIT_STDOUT", default.stdout),
        folder=Path(folder) if folder else None,
        file_bytes=int(_number(env, "KEYSTEAD_AUDIT_FILE_BYTES", default.file_bytes, 64 * 1024, 2**40)),
        retain_bytes=int(_number(env, "KEYSTEAD_AUDIT_RETAIN_BYTES", default.retain_bytes, 64 * 1024, 2**50)),
        buffer_seconds=_number(env, "KEYSTEAD_AUDIT_BUFFER_SECONDS", default.buffer_seconds, 0, 60),
        peers=tuple(map(_place, filter(None, env.get("KEYSTEAD_AUDIT_PEERS", "").split(",")))),
    )
    if found.mode is not AuditMode.OFF and not found.stdout and found.folder is None:
        raise InvalidSpecError("KEYSTEAD_AUDIT_FOLDER", "nothing would keep the records: name a folder, or set KEYSTEAD_AUDIT_STDOUT=true")
    return found


T = TypeVar("T", bound=StrEnum)


def _choice(env: Mapping[str, str], name: str, default: T) -> T:
    text = env.get(name)
    if text is None:
        return default
    kind = type(default)
    try:
        return kind(text)
    except ValueError:
        raise InvalidSpecError(name, f"must be one of {', '.join(kind)}, not {text!r}") from None


def _number(env: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = env.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise InvalidSpecError(name, f"must be a number from {low} to {high}, not {text!r}") from None
    if not low <= value <= high:
        raise InvalidSpecError(name, f"must be from {low} to {high}, not {text}")
    return value


def _truth(env: Mapping[str, str], name: str, default: bool) -> bool:
    text = env.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise InvalidSpecError(name, f"must be true or false, not {text!r}")
    return text == "true"


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not _HOST.match(host) or not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise InvalidSpecError("KEYSTEAD_AUDIT_PEERS", f"HOST:PORT, several with commas, not {text!r}")
    return host, int(port)


def _region(text: str) -> str:
    if not _REGION.match(text):
        raise InvalidSpecError("KEYSTEAD_REGION", "lower-case letters, digits and hyphens, at most 63")
    return text

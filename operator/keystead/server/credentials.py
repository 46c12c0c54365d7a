"""Temporary credentials: an identity sealed by the domain, so that every replica opens them and none has to remember them.

    session token = base64url( body | MAC 32 ), without padding, 400 to 1,600 characters
    body          = 01 | u32 generation | access key id 20 | u64 issued | u64 expires | account 12 | texts | zeros up to 268 bytes
    texts         = u8 length, UTF-8; of: namespace, its uid, ServiceAccount, its uid, session name, Pod, its uid (Pod: empty if unknown)
    MAC           = HMAC-SHA-512(DM_g, "keystead/v1/credential" 00 u16 4 "seal" | u16 length | body)[:32]
    secret        = base64( HMAC-SHA-512(DM_g, "keystead/v1/credential" 00 u16 6 "secret" | u16 length | body)[:30] ), 40 characters

Times are seconds since 1970; integers are big-endian; the access key id and the account are ASCII. Whoever reads a token learns whom it
stands for, and nothing to sign with: the secret access key is another MAC over the same body, and is computed anew when a token is opened.

Called by sts.py (mint) and by whoever authenticates a request (SessionCache). Pure: domain, moment and entropy are arguments. A token or
secret may never enter a message, a repr or a log. A session lives until it expires, also when its Pod has gone: facts about its
ServiceAccount and namespace are the door's (server/facts.py). After a change of the domain generation no token opens any more.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from keystead.engine.labels import Label, domain_mac
from keystead.engine.ports import Domain
from keystead.errors import ExpiredTokenError, UnrecognizedClientError

MIN_LIFE: Final = timedelta(minutes=15)
DEFAULT_LIFE: Final = timedelta(hours=1)
MAX_LIFE: Final = timedelta(hours=12)

_VERSION: Final = 1
_MAC: Final = 32
_HEAD: Final = 53  # all before the texts
# Names of different lengths make tokens of one length, and none is shorter than clients know them from AWS.
_LEAST: Final = 268
_TEXTS: Final = 7
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{400,4096}\Z")
_SESSIONS: Final = 10_000


class TokenIdentity(Protocol):
    """Whose web identity token it was, as TokenReview (or dev's JWKS) says. `uid` is the ServiceAccount's; Pod "": not bound to one."""

    @property
    def namespace(self) -> str: ...
    @property
    def namespace_uid(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def service_account(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def pod_name(self) -> str: ...
    @property
    def pod_uid(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Session:
    """What a session token says, with the secret that belongs to it. A TokenIdentity too."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    issued: int
    expires: int
    account: str
    namespace: str
    namespace_uid: str
    service_account: str
    uid: str
    session_name: str
    pod_name: str = ""
    pod_uid: str = ""

    @property
    def expiration(self) -> datetime:
        """The moment from which on it is refused."""
        return datetime.fromtimestamp(self.expires, UTC)


@dataclass(frozen=True, slots=True)
class Minted:
    """New credentials."""

    session: Session
    session_token: str = field(repr=False)


def mint(
    domain: Domain,
    identity: TokenIdentity,
    session_name: str,
    now: datetime,
    entropy: Callable[[int], bytes],
    life: timedelta = DEFAULT_LIFE,
) -> Minted:
    """New credentials of a ServiceAccount. HsmUnavailableError where the token is away."""
    if not MIN_LIFE <= life <= MAX_LIFE:
        raise ValueError("temporary credentials live 15 minutes to 12 hours")
    access_key_id = "ASIA" + base64.b32encode(entropy(10)).decode()
    issued = int(now.timestamp())
    expires = issued + int(life.total_seconds())
    head = bytes([_VERSION]) + domain.generation.to_bytes(4, "big") + access_key_id.encode()
    head += issued.to_bytes(8, "big") + expires.to_bytes(8, "big") + identity.account.encode()
    if len(head) != _HEAD:
        raise ValueError("an account id has 12 digits")
    texts = (identity.namespace, identity.namespace_uid, identity.service_account, identity.uid, session_name)
    body = head + b"".join(map(_framed, (*texts, identity.pod_name, identity.pod_uid)))
    body = body.ljust(_LEAST, b"\0")
    token = base64.urlsafe_b64encode(body + _seal(domain, body)).rstrip(b"=").decode()
    return Minted(_read(domain, body), token)


def _framed(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data  # ValueError beyond 255: no name of Kubernetes is longer than 253


def _seal(domain: Domain, body: bytes) -> bytes:
    return domain_mac(domain.mac, Label.CREDENTIAL, b"seal", body)


def _secret(domain: Domain, body: bytes) -> str:
    return base64.b64encode(domain_mac(domain.mac, Label.CREDENTIAL, b"secret", body)[:30]).decode()


def open_session(domain: Domain, session_token: str, access_key_id: str, now: datetime) -> Session:
    """What a token says. UnrecognizedClient for one that this domain did not seal for this access key, ExpiredToken for an old one.

    Two calls of the token; SessionCache saves them.
    """
    body = _sealed_body(domain, session_token)
    if not hmac.compare_digest(body[5:25], access_key_id.encode()):
        raise unrecognized()
    if now.timestamp() >= int.from_bytes(body[33:41], "big"):
        raise expired()
    return _read(domain, body)


def unrecognized() -> UnrecognizedClientError:
    """An access key or session token that is none of ours: always the same words."""
    return UnrecognizedClientError("The security token included in the request is invalid.")


def expired() -> ExpiredTokenError:
    """Credentials that were ours."""
    return ExpiredTokenError("The security token included in the request is expired")


def _sealed_body(domain: Domain, token: str) -> bytes:
    """The body of a token with the right seal. Every way to be wrong is one error."""
    if not _TOKEN.match(token):
        raise unrecognized()
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise unrecognized() from None
    body, mac = data[:-_MAC], data[-_MAC:]
    if body[0] != _VERSION or int.from_bytes(body[1:5], "big") != domain.generation:
        raise unrecognized()
    # One text a token: spare bits of the last character would make others that decode alike.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != token:
        raise unrecognized()
    if not hmac.compare_digest(mac, _seal(domain, body)):
        raise unrecognized()
    return body


def _read(domain: Domain, body: bytes) -> Session:
    """The fields of a body that this domain sealed (or is about to)."""
    texts, at = [], _HEAD
    for _ in range(_TEXTS):
        end = at + 1 + body[at]
        texts.append(body[at + 1 : end].decode())
        at = end
    namespace, namespace_uid, service_account, uid, session_name, pod_name, pod_uid = texts
    return Session(
        access_key_id=body[5:25].decode(),
        secret_access_key=_secret(domain, body),
        issued=int.from_bytes(body[25:33], "big"),
        expires=int.from_bytes(body[33:41], "big"),
        account=body[41:53].decode(),
        namespace=namespace,
        namespace_uid=namespace_uid,
        service_account=service_account,
        uid=uid,
        session_name=session_name,
        pod_name=pod_name,
        pod_uid=pod_uid,
    )


class SessionCache:
    """The last sessions that were opened: a hot one costs no call of the token. Only sealed tokens enter, so junk drives none out."""

    def __init__(self, size: int = _SESSIONS) -> None:
        self._size = size
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, domain: Domain, session_token: str, access_key_id: str, now: datetime) -> Session:
        """As `open_session`."""
        session = self._sessions.get(session_token)
        if session is None:
            session = open_session(domain, session_token, access_key_id, now)
            self._sessions[session_token] = session
            if len(self._sessions) > self._size:
                self._sessions.popitem(last=False)
            return session
        if session.access_key_id != access_key_id:  # no secret: it stands in the token
            raise unrecognized()
        if now.timestamp() >= session.expires:
            del self._sessions[session_token]
            raise expired()
        self._sessions.move_to_end(session_token)
        return session

"""AWS Signature Version 4 of a whole request, header form: parse it, then check it under the secret that the caller found.

The door calls `parse`, looks for the access key's secret (credentials.py, dev's access keys), then calls `Verifier.check`. Pure: no
I/O, no clock; the moment is an argument. Facts: AWS.md (SigV4 as sent; Authentication errors); AWS General Reference, "Create a signed
AWS API request".

What makes it one request and no other:

* The payload hash is computed from the body. `x-amz-content-sha256`, where sent, must be that hash: UNSIGNED-PAYLOAD and STREAMING-* are
  none, so they are refused like any wrong signature.
* Headers are canonicalised in exactly the order of SignedHeaders; a header that steers us (host, date, target) must be among them.
* Nothing that steers us may be sent twice: one of two values would be signed and the other obeyed.
* Path and query enter as sent. Query (presigned) signatures are refused.

A header's value never enters a message unless it is part of a well-formed AWS4 header: people send bearer tokens there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NoReturn

from keystead.engine.values import per_call
from keystead.errors import IncompleteSignatureError, InvalidRequestSignatureError, MissingAuthenticationTokenError
from keystead.server.message import Asked

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
# Seconds that a client's clock may differ from ours, either way.
WINDOW: Final = 300
# Days, regions and services differ little: what is cached is bounded, and so is each text that is a cache's key.
_SIGNING_KEYS: Final = 4096
_MAX_PARAMETERS: Final = 2048
_MAX_DATE: Final = 64
_SHOWN: Final = 256

# A second one of these is refused. Every other header that is sent twice is joined with commas.
_SINGLE: Final = frozenset(
    {
        b"amz-sdk-invocation-id",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"date",
        b"host",
        b"x-amz-content-sha256",
        b"x-amz-date",
        b"x-amz-security-token",
        b"x-amz-target",
    }
)
_STEERING: Final = frozenset({b"host", b"x-amz-date", b"x-amz-target"})
_USUAL: Final = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^,\s]+), ?SignedHeaders=([^,\s]+), ?")
_SCHEME: Final = re.compile(r"AWS[0-9A-Z-]{0,40}\Z")
_STAMP: Final = re.compile(rb"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")
_HTTP_DATE: Final = re.compile(rb"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) (?:GMT|[+-]0000)")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_PARAMETERS: Final = ("Credential", "Signature", "SignedHeaders")
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
    "method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """The Credential parameter. `text` is `day/region/service/aws4_request`, as the string to sign has it."""

    access_key_id: str
    day: str
    region: str
    service: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Names:
    """SignedHeaders, and the canonical request around what differs: method, path, query, the headers' values, payload hash.

    usual  host, x-amz-date and x-amz-target are among them
    """

    names: tuple[bytes, ...]
    form: bytes = field(repr=False)
    usual: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """When the client says it signed: seconds since 1970, the same as YYYYMMDDTHHMMSSZ, and its first 8 characters."""

    seconds: int
    stamp: bytes
    day: str


@per_call
class Signed:
    """What a request says about its signature. Nothing of it is proven before `Verifier.check`.

    headers  by name in lower case, duplicates joined
    """

    scope: Scope
    signed_headers: Names
    moment: Moment
    signature: bytes = field(repr=False)
    headers: Mapping[bytes, bytes] = field(repr=False)

    @property
    def access_key_id(self) -> str:
        """Whose secret to look for."""
        return self.scope.access_key_id

    @property
    def session_token(self) -> str | None:
        """x-amz-security-token. Not proven to be signed: it need not be, since another token has another secret."""
        token = self.headers.get(b"x-amz-security-token")
        return None if token is None else token.decode("latin-1")


def parse(asked: Asked) -> Signed:
    """The signature of a request. MissingAuthenticationToken, IncompleteSignature, InvalidSignature (a header that must be signed)."""
    headers = dict(asked.headers)
    if len(headers) != len(asked.headers):
        headers = _joined(asked.headers)
    if b"?" in asked.target and b"x-amz-" in asked.target.lower():
        raise IncompleteSignatureError("Presigned requests are not supported: sign with the Authorization header.")
    authorization = headers.get(b"authorization")
    if not authorization:
        raise MissingAuthenticationTokenError("Request is missing Authentication Token")
    scope, names, signature = _parameters(authorization)
    date = headers.get(b"x-amz-date")
    dated = b"date" if date is None else b"x-amz-date"
    date = headers.get(b"date") if date is None else date
    if date is None:
        raise IncompleteSignatureError(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
            f"Authorization={_shown(authorization)}"
        )
    if not (names.usual and dated == b"x-amz-date"):
        _require(names.names, dated, b"x-amz-target" in headers)
    return Signed(scope, names, _parsed_moment(date[: _MAX_DATE + 1]), signature, headers)


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Duplicates joined with commas in the order sent. IncompleteSignature for a second header that steers us."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in joined:
            joined[name] = value
        elif name in _SINGLE:
            raise IncompleteSignatureError(f"The header '{name.decode()}' was sent more than once.")
        else:
            joined[name] += b"," + value
    return joined


def _parameters(authorization: bytes) -> tuple[Scope, Names, bytes]:
    """Credential, SignedHeaders, Signature. All before the signature is the same in each request that a client sends on one day."""
    head, _, signature = authorization.rpartition(b"Signature=")
    if len(head) > _MAX_PARAMETERS:
        raise IncompleteSignatureError(f"Authorization header must have at most {_MAX_PARAMETERS} characters.")
    usual = _parsed_head(head)
    if usual is not None and signature.isalnum():
        return *usual, signature
    found = _unusual(authorization)
    return _parsed_scope(found["Credential"]), _parsed_names(found["SignedHeaders"]), found["Signature"]


@lru_cache(maxsize=2048)
def _parsed_head(head: bytes) -> tuple[Scope, Names] | None:
    """None: not in the usual form."""
    usual = _USUAL.fullmatch(head)
    return None if usual is None else (_parsed_scope(usual[1]), _parsed_names(usual[2]))


def _unusual(authorization: bytes) -> dict[str, bytes]:
    """Of a header in another order, with other spaces, or wrong."""
    scheme, _, rest = authorization.strip().partition(b" ")
    if scheme != ALGORITHM:
        _refuse_scheme(scheme.decode("latin-1"))
    found: dict[str, bytes] = {}
    for part in filter(None, (part.strip() for part in rest.split(b","))):
        name, equals, value = part.partition(b"=")
        if not equals:
            raise IncompleteSignatureError(_no_pair(_clean(part), _shown(authorization)))
        key = name.decode("latin-1")
        if key in found:
            raise IncompleteSignatureError(f"Authorization header has more than one '{_clean(name)}' parameter.")
        found[key] = value
    missing = [name for name in _PARAMETERS if not found.get(name)]
    if missing:
        needs = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        raise IncompleteSignatureError(f"{needs} Authorization={_shown(authorization)}")
    return found


def _refuse_scheme(scheme: str) -> NoReturn:
    """Nothing of the header is shown, but the name of an AWS algorithm: what stands there may be a bearer token or a password."""
    if _SCHEME.match(scheme):
        raise IncompleteSignatureError(f"Unsupported AWS 'algorithm': '{scheme}'.")
    raise IncompleteSignatureError(_no_pair("...", "..."))


def _no_pair(part: str, header: str) -> str:
    return f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'"


def _shown(authorization: bytes) -> str:
    """An AWS4 header without its signature's value, which would be worth a replay."""
    return _clean(re.sub(rb"(Signature=)[^,\s]+", rb"\1...", authorization))


def _clean(text: bytes) -> str:
    """At most 256 characters, printable ASCII: it goes into JSON, XML and logs."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:_SHOWN].decode("latin-1"))


def _parsed_scope(credential: bytes) -> Scope:
    parts = credential.decode("latin-1").split("/")
    if len(parts) != 5 or not parts[0]:
        raise IncompleteSignatureError(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{_clean(credential)}'"
        )
    access_key_id, day, region, service, terminator = parts
    if terminator != TERMINATOR:
        raise InvalidRequestSignatureError(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    return Scope(access_key_id, day, region, service, credential.partition(b"/")[2])


def _parsed_names(signed_headers: bytes) -> Names:
    names = tuple(signed_headers.split(b";"))
    if len(set(names)) != len(names) or not all(names):  # twice the same: work for us, of no use to anybody
        raise IncompleteSignatureError("The 'SignedHeaders' parameter must name each header once.")
    lines = b"".join(name.replace(b"%", b"%%") + b":%b\n" for name in names)
    form = b"%b\n%b\n%b\n" + lines + b"\n" + signed_headers.replace(b"%", b"%%") + b"\n%b"
    return Names(names, form, usual=set(names) >= _STEERING)


@lru_cache(maxsize=1024)
def _parsed_moment(date: bytes) -> Moment:
    """Of x-amz-date (YYYYMMDDTHHMMSSZ) or of Date (that, or the form of RFC 9110). Cut one byte too long, it is no date."""
    try:
        when = _when(date)
    except ValueError:
        raise IncompleteSignatureError(
            f"Date must be in ISO-8601 'basic format'. Got '{_clean(date)}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None
    signed_at = stamp(when)
    return Moment(int(when.timestamp()), signed_at.encode(), signed_at[:8])


def _when(date: bytes) -> datetime:
    match = _STAMP.fullmatch(date)
    if match:
        year, month, day, hour, minute, second = map(int, match.groups())
    else:
        match = _HTTP_DATE.fullmatch(date)
        if match is None or match[2] not in _MONTHS:
            raise ValueError("not a date")
        day, year, hour, minute, second = map(int, match.group(1, 3, 4, 5, 6))
        month = _MONTHS.index(match[2]) + 1
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def stamp(when: datetime) -> str:
    """YYYYMMDDTHHMMSSZ. Not strftime: it writes years before 1000 with fewer digits."""
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("-", "").replace(":", "")[:15] + "Z"


def _require(names: Sequence[bytes], dated: bytes, targeted: bool) -> None:
    """What steers us must be signed: where it goes, when it was made, what it asks for."""
    if b"host" not in names:
        raise InvalidRequestSignatureError("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if dated not in names:
        shown = "X-Amz-Date" if dated == b"x-amz-date" else "Date"
        raise InvalidRequestSignatureError(f"'{shown}' must be a 'SignedHeader' in the AWS Authorization.")
    if targeted and b"x-amz-target" not in names:
        raise InvalidRequestSignatureError("'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.")


def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), service), "aws4_request")."""
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def _keyed(secret: str, day: str, region: str, service: str) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The two hashes of HMAC-SHA-256 (RFC 2104) after their key blocks. Copying both takes a third of a new HMAC's time."""
    block = signing_key(secret, day, region, service).ljust(64, b"\0")
    return hashlib.sha256(bytes(b ^ 0x36 for b in block)), hashlib.sha256(bytes(b ^ 0x5C for b in block))


def canonical_request(asked: Asked, signed: Signed, payload_hash: str) -> bytes:
    """Method, path, query, headers, their names, payload hash. InvalidSignature where a signed header was not sent."""
    names, form = signed.signed_headers.names, signed.signed_headers.form
    try:
        values = tuple(map(signed.headers.__getitem__, names))
    except KeyError:
        raise InvalidRequestSignatureError(_MISMATCH) from None
    path, _, query = asked.target.partition(b"?")
    method, hashed = asked.method, payload_hash.encode()
    canonical: bytes = form % (method, path, query, *values, hashed)
    # Rare: spaces to collapse. A newline in a value would make a line of its own; it becomes a space like any other white space.
    if (b" " in canonical and b"  " in canonical) or b"\t" in canonical or canonical.count(b"\n") != len(names) + 5:
        canonical = form % (method, path, query, *(b" ".join(value.split()) for value in values), hashed)
    return canonical


class Verifier:
    """Checks signatures for one service. `region` None: any (dev). Keeps the last signing keys: four of the five HMACs."""

    def __init__(self, *, region: str | None, service: str = "kms", signing_keys: int = _SIGNING_KEYS) -> None:
        self._region = region
        self._service = service
        self._key = lru_cache(maxsize=signing_keys)(_keyed)

    def check(self, asked: Asked, signed: Signed, secret: str, now: datetime) -> None:
        """Returns only if `secret` signed exactly this request, for us, within 5 minutes of `now`. Else InvalidSignature.

        Scope and window come before the signature: so only keys of two days, one region and one service enter the cache.
        """
        scope, moment = signed.scope, signed.moment
        self._check_scope(scope, moment)
        _check_window(moment, now)
        payload_hash = hashlib.sha256(asked.body).hexdigest()
        sent = signed.headers.get(b"x-amz-content-sha256")
        if sent is not None and sent != payload_hash.encode():
            raise InvalidRequestSignatureError(_MISMATCH)
        digest = hashlib.sha256(canonical_request(asked, signed, payload_hash)).hexdigest()
        to_sign = b"\n".join((ALGORITHM, moment.stamp, scope.text, digest.encode()))
        inner, outer = self._key(secret, scope.day, scope.region, scope.service)
        inner, outer = inner.copy(), outer.copy()
        inner.update(to_sign)
        outer.update(inner.digest())
        if not hmac.compare_digest(outer.hexdigest().encode(), signed.signature):
            raise InvalidRequestSignatureError(_MISMATCH)

    def _check_scope(self, scope: Scope, moment: Moment) -> None:
        if self._region is not None and scope.region != self._region:
            raise InvalidRequestSignatureError("Credential should be scoped to a valid region.")
        if scope.service != self._service:
            raise InvalidRequestSignatureError(f"Credential should be scoped to correct service: '{self._service}'.")
        if scope.day != moment.day:
            raise InvalidRequestSignatureError(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{_clean(scope.day.encode('latin-1'))}' != '{moment.day}', from '{moment.stamp.decode()}'."
            )


def _check_window(moment: Moment, now: datetime) -> None:
    """Whole seconds, both ends included, so that the texts say what was compared."""
    seconds = int(now.timestamp())
    if abs(seconds - moment.seconds) <= WINDOW:
        return
    signed_at, ours = moment.stamp.decode(), stamp(now)
    if moment.seconds < seconds:
        edge = stamp(datetime.fromtimestamp(seconds - WINDOW, UTC))
        raise InvalidRequestSignatureError(
            f"Signature expired: {signed_at} is now earlier than {edge} ({ours} - 5 min.)"
        )
    edge = stamp(datetime.fromtimestamp(seconds + WINDOW, UTC))
    raise InvalidRequestSignatureError(
        f"Signature not yet current: {signed_at} is still later than {edge} ({ours} + 5 min.)"
    )

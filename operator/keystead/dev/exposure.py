"""What `keystead dev` prints, and what a web page must not be able to do to it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

RESET_PATH: Final = b"/_keystead/reset"
_HEADER: Final = b"x-keystead-reset"


def export_lines(url: str, access_key_id: str, secret: str | None, region: str) -> Iterator[str]:
    """The lines that a person pastes, or that `eval` reads. `secret` None: it was given, and is not repeated."""
    yield f"export AWS_ENDPOINT_URL_KMS={url}"
    yield f"export AWS_ENDPOINT_URL_STS={url}"
    yield f"export AWS_ACCESS_KEY_ID={access_key_id}"
    if secret is not None:
        yield f"export AWS_SECRET_ACCESS_KEY={secret}"
    yield f"export AWS_DEFAULT_REGION={region}"
    yield f"export AWS_REGION={region}"


def address(host: str, port: int, *, tls: bool) -> str:
    """The URL of the endpoint. `0.0.0.0` and `::` are no addresses to call: this machine's own is shown."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


def may_reset(headers: Iterable[tuple[bytes, bytes]], listen_host: str) -> bool:
    """`X-Keystead-Reset: yes`, which no web page can send across origins unasked, and a Host that is really ours (DNS rebinding)."""
    sent: dict[bytes, bytes] = dict(headers)
    return sent.get(_HEADER) == b"yes" and b"origin" not in sent and _is_ours(sent.get(b"host", b""), listen_host)


def _is_ours(host: bytes, listen_host: str) -> bool:
    try:
        name = urlsplit(f"//{host.decode('ascii')}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", listen_host):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

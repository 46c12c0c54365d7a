"""The plaintexts of data keys and the secrets of an installation, as canaries, and the forms in which they could leak.

`python -m tests.operator.canaries` opens data keys on the token in a process of its own (as opener.py, which tells digests only):
stdin: record Secrets as JSON; stdout: the plaintexts in hex.
"""

from __future__ import annotations

import base64
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

from tests.operator.harness import ROOT, Installation

from keystead.engine.blob import open_message, read_ids
from keystead.engine.context import encode_context
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.material import find_version, material_of
from keystead.engine.record import DataKeyRecord, KeyRecord, open_sealed
from keystead.hsm.backend import Hsm, open_hsm
from keystead.resources.vocabulary import KeyState
from keystead.settings import from_environment
from keystead.store.pins import ClusterMarker
from keystead.store.records import parse_secret


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of everything that would give the secret away: raw, hex, base64 in 3 alignments, URL-encoded.

    The base64 of a part of a longer text depends on where in the text it begins: the inner characters of each alignment are looked
    for, without those that neighbours have a share in. base64 within base64 (a Secret in a Secret) too.
    """
    yield "raw", secret
    yield "hex", secret.hex().encode()
    yield "HEX", secret.hex().upper().encode()
    url = quote_from_bytes(secret)
    if url.encode() != secret:
        yield "url", url.encode()
        yield "url lower", "".join(c if url[max(i - 2, 0) : i].find("%") < 0 else c.lower() for i, c in enumerate(url)).encode()
    for shift, inner in _inner(secret):
        yield f"base64+{shift}", inner
        yield f"base64url+{shift}", inner.translate(bytes.maketrans(b"+/", b"-_"))
        for again, twice in _inner(inner):
            yield f"base64+{shift} in base64+{again}", twice


def _inner(secret: bytes) -> Iterator[tuple[int, bytes]]:
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + secret)
        first = -(-shift * 8 // 6)
        yield shift, text[first : (shift + len(secret)) * 8 // 6]


def found_in(haystack: bytes, secret: bytes) -> list[str]:
    """The forms of a secret that occur."""
    return sorted({name for name, form in forms(secret) if form in haystack})


def plaintexts(installation: Installation, secrets: list[Any]) -> list[bytes]:
    """The plaintext of every version of every data key in these record Secrets."""
    command = [sys.executable, "-m", "tests.operator.canaries"]
    environment = installation.environment()
    text = json.dumps(secrets)
    done = subprocess.run(command, env=environment, cwd=ROOT, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [bytes.fromhex(line) for line in done.stdout.split()]


def _open(hsm: Hsm, keys: dict[bytes, KeyRecord], record: DataKeyRecord) -> Iterator[bytes]:
    """Every version, whatever the state of its key; what a destroyed key left behind opens no more."""
    for version in record.versions:
        ids = read_ids(version.blob)
        key = keys[ids.key_id]
        if key.state is KeyState.DESTROYED:
            continue
        found = find_version(key, ids.material_id)
        assert found is not None
        material = material_of(key, found)
        context = encode_context(version.encryption_context)
        yield open_message(functools.partial(hsm.fast.derive, material), version.blob, context)


def main() -> None:
    """Open, print."""
    hsm = open_hsm(from_environment().hsm, ClusterMarker("", ""))
    stored = [parse_secret(secret).sealed for secret in json.load(sys.stdin)]
    keys: dict[bytes, KeyRecord] = {}
    for sealed in stored:
        if sealed.name.startswith(("key-", "orphan-")):
            key = open_sealed(hsm.domain, sealed, KeyRecord)
            known = keys.get(key_id_bytes(key.key_id))
            if known is None or known.seq < key.seq:
                keys[key_id_bytes(key.key_id)] = key
    for sealed in stored:
        if sealed.name.startswith("datakey-"):
            for plain in _open(hsm, keys, open_sealed(hsm.domain, sealed, DataKeyRecord)):
                print(plain.hex())
    hsm.close()


if __name__ == "__main__":
    main()

"""The two servers that ours is weighed against, on our HTTP layer: `python -m tests.bench.server.apps empty|reference FOLDER`.

    empty      answers 200 with nothing: what HTTP costs
    reference  checks the signature, reads and writes JSON, and lets the token compute one HMAC: what a call costs at least. No policy, no
               record, no state, no key id is looked at; every answer is the same key's

Runs on the image's Python: nothing of the development dependencies may be imported here. The secret access key comes on standard input.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from binascii import a2b_base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from pkcs11 import Mechanism

from keystead.engine.ports import Generate, GeneratedMaterial, Material
from keystead.hsm.backend import Hsm, open_hsm
from keystead.hsm.pin import FileMarker
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection
from keystead.server.http import Listen, run, serve
from keystead.server.message import Asked, Door, Reply
from keystead.server.sigv4 import Verifier, parse
from keystead.settings import HsmSettings


class Empty:
    """Answers 200 with nothing."""

    def handle(self, asked: Asked) -> Reply:
        """At once."""
        return Reply(200, b"")


class Reference:
    """Signature, JSON, one HMAC."""

    def __init__(self, secret: str, key: Any) -> None:
        self._secret = secret
        self._key = key
        self._verifier = Verifier(region=None)
        self._decode = msgspec.json.Decoder().decode
        self._encode = msgspec.json.Encoder().encode

    def handle(self, asked: Asked) -> Reply:
        """At once; a wrong signature ends the process, since this one is measured only."""
        self._verifier.check(asked, parse(asked), self._secret, datetime.now(UTC))
        request = self._decode(asked.body)
        message = os.urandom(77) + a2b_base64(request["Plaintext"])
        mac = self._key.sign(message, mechanism=Mechanism.SHA512_HMAC, buffer_size=64)
        return Reply(200, self._encode({"CiphertextBlob": message + mac, "KeyId": request["KeyId"]}))


def open_token(folder: Path) -> Hsm:
    """A new token in this folder."""
    token = folder / "token"
    command = [sys.executable, "-m", "keystead", "hsm", "init", "--softhsm-dir", str(token)]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    os.environ["SOFTHSM2_CONF"] = str(token / "softhsm2.conf")
    settings = HsmSettings(pin_file=token / "pin")
    return open_hsm(settings, FileMarker(settings.pin_file, folder))


def new_key(hsm: Hsm) -> Any:
    """The session object of a new symmetric key."""
    key_id, spec = os.urandom(16), KeySpec.SYMMETRIC_DEFAULT
    made = hsm.slow(Generate(key_id, spec, Protection.TOKEN, KeyUsage.ENCRYPT_DECRYPT))
    assert isinstance(made, GeneratedMaterial)
    return hsm.vault.handle(
        Material(
            key_id, spec, KeyUsage.ENCRYPT_DECRYPT, Protection.TOKEN, made.material_id, made.wrapped, made.plain_len
        )
    )


async def _serve(door: Door) -> None:
    await serve(door, Listen(host="127.0.0.1"), asyncio.Event(), lambda port: print(port, flush=True))


def main() -> int:
    """Serve until killed; the port is printed."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "empty":
        run(_serve(Empty()))
    else:
        secret = sys.stdin.readline().strip()
        run(_serve(Reference(secret, new_key(open_token(folder)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a call costs inside one process, without HTTP: `python -m tests.bench.server.inprocess FOLDER`, on the image's Python.

The door of `keystead dev` is put together here as app/dev does it. It tells its keys on standard output, reads signed requests
(pickled, base64) from standard input, and prints JSON: microseconds of processor time for SHA-256 of 600 bytes (`sha`), for handle()
by operation, for the bare token loop, and by stage.

A stage is measured twice: alone in a loop, and as what a whole Encrypt is shorter without it. The second is larger: a request's code
does not fit into the processor's first caches, and each stage runs as if for the first time.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pkcs11 import Mechanism

from keystead.app.dev.house import Premises
from keystead.app.dev.main import Dev, Estate, access_keys, accounts_of
from keystead.app.dev.seeds import load_seeds
from keystead.cli.services import AccessKey, DevRequest
from keystead.engine import blob
from keystead.hsm.fastlane import TokenFastLane
from keystead.operations import encryption
from keystead.operations.trail import NoAudit
from keystead.server.codec import Codec
from keystead.server.door import AwsDoor, _Passage
from keystead.server.identity import Identities
from keystead.server.message import Asked

ROUNDS, CALLS = 40, 150
Call = Callable[[], Any]


def microseconds(call: Call, count: int = CALLS) -> float:
    """Processor time of one call: these machines have other work to do."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count * 1e6


def rounds(calls: dict[str, Call]) -> dict[str, dict[str, float]]:
    """Each with SHA-256 beside it. `ratio`: median of the rounds; `least`: the quietest round, in microseconds."""
    data = bytes(600)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            yard = microseconds(lambda: hashlib.sha256(data).digest(), 2000)
            found[name].append((microseconds(call), yard))
    result = {
        name: {"least": min(a for a, _ in each), "ratio": statistics.median(a / b for a, b in each)}
        for name, each in found.items()
    }
    shas = [yard for each in found.values() for _, yard in each]
    return result | {"sha": {"least": min(shas), "ratio": 1.0}}


@contextmanager
def replaced(place: Any, name: str, stand_in: Any) -> Iterator[None]:
    """A stage that costs nothing."""
    real = getattr(place, name)
    setattr(place, name, stand_in)
    try:
        yield
    finally:
        setattr(place, name, real)


def stages(dev: Dev, asked: Asked, key: Any) -> dict[str, dict[str, float]]:
    """`alone`, and `within` a whole Encrypt: what it is shorter without the stage."""
    door: Any = dev._door
    parts = door._parts
    now = parts.now()
    identity = parts.authenticator.authenticate(asked, now)
    request = parts.wire.decode("Encrypt", asked.body)
    seen: dict[str, Any] = {}
    with (
        replaced(encryption, "admit", _spy(encryption.admit, seen)),
        replaced(TokenFastLane, "derive", _note(TokenFastLane.derive, seen)),
    ):
        answer = dev.handle(asked)
    derived, sealed = bytes(64), bytes(180)
    response = encryption.EncryptResponse(
        ciphertext_blob=sealed, key_id="arn", encryption_algorithm=request.encryption_algorithm
    )
    body = parts.wire.encode("Encrypt", response)

    def admitted(*_: Any) -> Any:
        return seen["record"]
        yield

    world, caller = seen["arguments"][:2]
    passage = _Passage(asked, dict(asked.headers), "i" * 36, now, "Encrypt", identity, request)
    table: dict[str, tuple[Any, str, Any, Call]] = {
        "signature (SigV4, session)": (
            Identities,
            "authenticate",
            lambda *_: identity,
            lambda: parts.authenticator.authenticate(asked, now),
        ),
        "request from JSON": (Codec, "decode", lambda *_: request, lambda: parts.wire.decode("Encrypt", asked.body)),
        "key, policy and grants": (
            encryption,
            "admit",
            admitted,
            lambda: parts.driver.run(encryption.admit(*seen["arguments"])),
        ),
        "HMAC in the token": (
            TokenFastLane,
            "derive",
            lambda *_: derived,
            lambda: world.fast.derive(seen["material"], bytes(109)),
        ),
        "AES-256-GCM": (
            blob,
            "_seal",
            lambda *_: sealed,
            lambda: blob._seal(derived, bytes(48), bytes(32), bytes(32), b"\0\0"),
        ),
        "answer to JSON": (Codec, "encode", lambda *_: body, lambda: parts.wire.encode("Encrypt", response)),
        "last use, ids, metrics": (
            AwsDoor,
            "_answered",
            lambda *_: answer,
            lambda: door._answered(passage, response),
        ),
    }
    result = {}
    for name, (place, attribute, stand_in, alone) in table.items():
        differences = []
        for _ in range(ROUNDS):
            whole = microseconds(lambda: dev.handle(asked))
            with replaced(place, attribute, stand_in):
                differences.append(whole - microseconds(lambda: dev.handle(asked)))
        result[name] = {
            "alone": min(microseconds(alone) for _ in range(ROUNDS)),
            "within": statistics.median(differences),
        }
    assert caller is identity.caller
    return result


def _spy(admit: Any, seen: dict[str, Any]) -> Any:
    def spy(*arguments: Any) -> Any:
        seen["arguments"] = arguments
        seen["record"] = yield from admit(*arguments)
        return seen["record"]

    return spy


def _note(derive: Any, seen: dict[str, Any]) -> Any:
    def note(lane: Any, material: Any, message: bytes) -> bytes:
        seen["material"] = material
        derived: bytes = derive(lane, material, message)
        return derived

    return note


async def _measure(folder: Path) -> None:
    first = json.loads(sys.stdin.readline())
    request = DevRequest(
        host="127.0.0.1", port=0, state=folder / "state", memory=False, account=first["account"],
        access_keys=(AccessKey(first["access_key"], first["secret"]),), seeds=(), workers=1, allow_reset=False, jwks=None,
        certificate=None, private_key=None, insecure=False, tell=lambda _: None,
    )  # fmt: skip
    with ExitStack() as stack:
        estate = Estate(request, stack)
        await estate.check_install()
        keys = access_keys(request)
        dev = Dev(
            estate, Premises(request, estate.folder, keys, accounts_of(request.account, keys), None), load_seeds(()), NoAudit()
        )
        await dev.start()

        async def call(encoded: str) -> dict[str, Any]:
            reply: Any = dev.handle(pickle.loads(base64.b64decode(encoded)))
            reply = reply if hasattr(reply, "status") else await reply
            assert reply.status == 200, reply.body
            answer: dict[str, Any] = json.loads(reply.body)
            return answer

        made = await call(first["create"])
        print(json.dumps({"key": made["KeyMetadata"]["KeyId"]}), flush=True)
        encrypted = await call(sys.stdin.readline())
        print(json.dumps({"blob": encrypted["CiphertextBlob"]}), flush=True)
        asked = {name: pickle.loads(base64.b64decode(text)) for name, text in json.loads(sys.stdin.readline()).items()}
        handle: Any = next(iter(estate.hsm.vault._entries.values())).handle
        calls: dict[str, Call] = {name: lambda each=each: dev.handle(each) for name, each in asked.items()}
        calls["token"] = lambda: handle.sign(bytes(109), mechanism=Mechanism.SHA512_HMAC, buffer_size=64)
        print(json.dumps({"calls": rounds(calls), "stages": stages(dev, asked["Encrypt"], handle)}), flush=True)
        await dev.stop()


if __name__ == "__main__":
    asyncio.run(_measure(Path(sys.argv[1])))

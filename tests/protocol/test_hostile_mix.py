"""10,000 hostile and good calls, mixed, on kept connections: all good ones are answered right, no other is a fault (SECURITY, promise 12).

And what was sent as a secret is in nothing that the process says (promise 8).
"""

from __future__ import annotations

import json
import random
from base64 import b32encode, b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.protocol.harness import House, Request, code_of, role, together
from tests.server.http_harness import Answer, Client

pytestmark = pytest.mark.token
CALLS = 10_000
LINES = 4
# 1 KiB that stays with each call would be 10 MiB.
GROWTH = 8 << 20
CANARY = b"canary-plaintext-7f3a9c1e5d"
SEED = 20261126


@dataclass(frozen=True)
class Call:
    """`good`: what the answer's Plaintext must be. None: it must be refused, or end the connection."""

    data: bytes
    good: bytes | None = None


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def memory(house: House) -> int:
    """Resident bytes of the process."""
    lines = Path(f"/proc/{house.endpoint.pid}/status").read_text().splitlines()
    (resident,) = (line for line in lines if line.startswith("VmRSS"))
    return int(resident.split()[1]) * 1024


def good_calls(house: House) -> Iterator[Call]:
    kms, key = house.client(), house.key()
    for n in range(40):
        plaintext = CANARY + bytes([n]) * (n + 1)
        context = {"n": str(n)}
        blob = kms.encrypt(KeyId=key, Plaintext=plaintext, EncryptionContext=context)["CiphertextBlob"]
        yield Call(house.signed("Decrypt", {"CiphertextBlob": b64(blob), "EncryptionContext": context}).bytes, plaintext)


def spoiled(request: Request, chance: random.Random) -> Request:
    """A signed request with one thing wrong about it."""
    match chance.randrange(6):
        case 0:
            return request.having("Authorization", request.header("Authorization")[:-1] + "x")
        case 1:
            return request.without("Authorization")
        case 2:
            return request.having("X-Amz-Target", "TrentService." + chance.choice(["Nothing", "encrypt", ""]))
        case 3:
            return request.having("X-Amz-Date", "19690101T000000Z")
        case 4:
            return request.adding("X-Amz-Target", "TrentService.Encrypt")
    return request.having("Authorization", chance.choice(["Bearer x", "Basic eDp5", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 a=b"]))


def bad_bodies(house: House, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    blob = house.client().encrypt(KeyId=house.key(), Plaintext=CANARY)["CiphertextBlob"]
    for _ in range(40):
        bad = bytearray(blob)
        # Not in the key id: an unknown key is waited for.
        place = chance.choice([*range(4), *range(20, len(bad))])
        bad[place] ^= 1 << chance.randrange(8)
        yield "Decrypt", json.dumps({"CiphertextBlob": b64(bytes(bad)), "KeyId": house.key()}).encode()
        yield "Decrypt", json.dumps({"CiphertextBlob": b64(chance.randbytes(chance.randrange(1, 300)))}).encode()
        yield "Encrypt", chance.randbytes(chance.randrange(1, 200))
        text = "".join(map(chr, chance.choices(range(0xD000), k=20)))
        yield "Encrypt", json.dumps({"KeyId": text, "Plaintext": "AAAA", "Evil": text}).encode()
        yield "DescribeKey", json.dumps({"KeyId": "!" + text.replace("arn:", "")[:10]}).encode()
        yield "GenerateDataKey", json.dumps({"KeyId": house.key(), "NumberOfBytes": chance.choice([0, -1, 1025, "32", 1e9, None])}).encode()
        yield "Decrypt", b'{"EncryptionContext": ' + b'{"a":' * chance.randrange(1, 2000) + b"1" + b"}" * 9
        yield "CreateCustomKeyStore", b"{}"
        yield "Encrypt", json.dumps({"KeyId": house.key(), "Plaintext": b64(CANARY * 200)}).encode()
        yield "Encrypt", json.dumps({"KeyId": house.key(who=house.second), "Plaintext": b64(CANARY)}).encode()
        yield "Encrypt", json.dumps({"KeyId": house.key(state="Disabled"), "Plaintext": b64(CANARY)}).encode()


def hostile_calls(house: House, chance: random.Random) -> Iterator[Call]:
    good = house.signed("GenerateDataKey", {"KeyId": house.key(), "KeySpec": "AES_256"})
    for _ in range(60):
        yield Call(spoiled(good, chance).bytes)
    for operation, body in bad_bodies(house, chance):
        yield Call(house.signed(operation, body).bytes)
    for path, method in (("/x", "POST"), ("/", "GET"), ("/", "DELETE"), ("/_keystead/reset", "POST")):
        yield Call(house.signed(path=path, method=method).bytes)
    # These end their connection.
    yield Call(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    yield Call(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    yield Call(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")
    yield Call(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
    yield Call(b"GET / HTTP/9.9\r\n\r\n")


def check(call: Call, answer: Answer) -> None:
    if call.good is None:
        assert answer.status in (400, 404, 405, 411, 413, 431, 505), answer
        assert CANARY not in answer.body
    else:
        assert (answer.status, b64decode(json.loads(answer.body)["Plaintext"])) == (200, call.good)


def play(house: House, calls: list[Call], chance: random.Random, number: int) -> int:
    """On one connection, until the server ends it; then on the next. How many good ones were answered right."""
    right, line = 0, Client(house.port)
    try:
        for _ in range(number):
            call = chance.choice(calls)
            answer = line.send(call.data).answer()
            check(call, answer)
            right += call.good is not None
            if answer.headers.get("connection") == "close":
                line.socket.close()
                line = Client(house.port)
    finally:
        line.socket.close()
    return right


def test_ten_thousand_mixed_calls_leave_every_good_one_right_and_the_memory_flat(house):
    chance = random.Random(SEED)
    good, hostile = list(good_calls(house)), list(hostile_calls(house, chance))
    calls = good * (len(hostile) // len(good) + 1) + hostile
    play(house, calls, chance, 1000)
    before = memory(house)
    each = CALLS // LINES
    right = sum(together([lambda n=n: play(house, calls, random.Random(n), each) for n in range(LINES)]))
    after = memory(house)
    print(f"{right} good calls, all right; resident KiB {before >> 10} before, {after >> 10} after")
    assert CALLS * 2 // 5 < right < CALLS * 3 // 5
    assert after - before < GROWTH
    assert code_of(house.call("ListKeys")) == ""


def forms(secret: bytes) -> set[str]:
    """The ways in which a secret shows: as it is, in hex, in URLs, in base32, in base64 at each of the three alignments."""
    found = {secret.decode("latin-1"), secret.hex(), quote(secret), b32encode(secret).decode().rstrip("=")[:-1]}
    for shift in range(3):
        found.add(b64encode(bytes(shift) + secret).decode().rstrip("=")[shift + 1 : -2])
    return found


def test_nothing_secret_is_in_what_the_process_says(house, kms):
    key, workload = house.fresh(), house.workload("canary")
    token = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "canary"), Operations=["Encrypt"])["GrantToken"]
    blob = kms.encrypt(KeyId=key, Plaintext=CANARY, EncryptionContext={"ctx": "visible"})["CiphertextBlob"]
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256")["Plaintext"]
    kms.decrypt(CiphertextBlob=blob, EncryptionContext={"ctx": "visible"})
    for body in (CANARY, b'{"KeyId": "' + CANARY, json.dumps({"KeyId": CANARY.decode(), "Plaintext": "*"}).encode()):
        house.call("Encrypt", body)
    house.ask(house.signed().having("Authorization", f"Bearer {CANARY.decode()}"))
    house.ask(house.signed().having("X-Amz-Target", CANARY.decode()))
    said = house.endpoint.output
    secrets = [CANARY, data_key, token.encode(), house.first.secret.encode(), house.second.secret.encode()]
    secrets += [workload.secret.encode(), workload.token.encode()]
    for number, secret in enumerate(secrets):
        shown = [form for form in forms(secret) if form in said]
        assert not shown, f"secret {number}"
    assert "Traceback" not in said

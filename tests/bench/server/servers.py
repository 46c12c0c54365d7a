"""The servers under test: each a process of its own on a free port of this machine, ended by its id. Called by measure.py and long.py.

What a server is asked is prepared here, too: keys, grants, blobs, temporary credentials, all made by boto3 through its own API.
"""

from __future__ import annotations

import base64
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.bench.http_layers import free_port
from tests.bench.server.pythons import environment
from tests.bench.server.signed import REGION, Body, Signer
from tests.clients.webidentity import Issuer

ACCOUNT = "111122223333"
ACCESS_KEY, SECRET = "AKIABENCHBENCHBENCH0", "bench-secret-bench-secret-bench-secret-0"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/bench"
"""Of the ServiceAccount that calls."""
REQUESTS = 256
GRANTS = 100
START_SECONDS = 60.0
OPERATIONS = ("Encrypt", "Decrypt", "GenerateDataKey", "Sign RSA_2048", "Sign P256", "DescribeKey")


@dataclass
class Server:
    """A running process. `load` by name: requests whose signatures are good for 5 minutes, made anew at each call."""

    name: str
    process: subprocess.Popen[Any]
    port: int
    load: dict[str, Callable[[], list[bytes]]] = field(default_factory=dict)
    authority: Path | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(
    stack: ExitStack,
    name: str,
    command: Sequence[str],
    folder: Path,
    env: dict[str, str],
    port: Callable[[str], int | None],
    say: str = "",
) -> Server:
    """Start it and wait for the line of its output that tells the port."""
    log = (folder / f"{name.replace(' ', '-')}.log").open("wb")
    stack.callback(log.close)
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    )
    server = Server(name, process, 0)
    stack.callback(server.stop)
    assert process.stdin is not None
    process.stdin.write(say)
    process.stdin.close()
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pass_on, args=(process, lines), daemon=True).start()
    end = time.monotonic() + START_SECONDS
    while True:
        line = lines.get(timeout=max(0.1, end - time.monotonic()))
        if line is None:
            raise RuntimeError(f"{name} ended: {Path(log.name).read_text()[-2000:]}")
        if found := port(line):
            server.port = found
            return server


def _pass_on(process: subprocess.Popen[Any], lines: queue.Queue[str | None]) -> None:
    """For ever, so that the process never waits for a full pipe."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _number(line: str) -> int | None:
    return int(line) if line.strip().isdigit() else None


def _address(line: str) -> int | None:
    """Of an `export AWS_ENDPOINT_URL_KMS=http://127.0.0.1:PORT` line."""
    if "AWS_ENDPOINT_URL_KMS" not in line:
        return None
    return int(line.rstrip("\n'\"").rpartition(":")[2])


def start_app(stack: ExitStack, python: Path, kind: str, folder: Path) -> Server:
    """`empty` or `reference` (apps.py)."""
    own = folder / kind
    own.mkdir()
    command = [str(python), "-m", "tests.bench.server.apps", kind, str(own)]
    server = start(stack, kind, command, own, environment(), _number, SECRET + "\n")
    # As long as a session token of ours: what is weighed is what is done with it.
    signer = Signer(ACCESS_KEY, SECRET, "A" * 516, f"127.0.0.1:{server.port}")
    key = "1234abcd-12ab-34cd-56ef-1234567890ab"
    server.load["any"] = lambda: signer.batch("Encrypt", encrypt_bodies(key))
    return server


def start_dev(
    stack: ExitStack,
    python: Path,
    folder: Path,
    name: str,
    options: Sequence[str],
    *,
    program: Sequence[str] = ("keystead",),
    authority: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[Server, Signer]:
    """`keystead dev`, and who signs as the ServiceAccount of ROLE. program: the module to run, and words before `dev`."""
    own = folder / name.replace(" ", "-")
    own.mkdir()
    issuer = Issuer()
    jwks = issuer.write_jwks(own / "jwks.json")
    command = [str(python), "-m", *program, "dev", "--listen", "127.0.0.1:0", "--jwks", str(jwks), *options]
    keys = {"KEYSTEAD_DEV_ACCESS_KEYS": f"{ACCESS_KEY}:{SECRET}"}
    server = start(stack, name, command, own, environment() | keys | dict(env or {}), _address)
    server.authority = authority
    given = client(server, "sts").assume_role_with_web_identity(
        RoleArn=ROLE, RoleSessionName="bench", WebIdentityToken=issuer.token("bench")
    )["Credentials"]
    return server, Signer(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], _host(server))


def start_keystead(
    stack: ExitStack,
    python: Path,
    folder: Path,
    name: str,
    *,
    workers: int = 1,
    tls: tuple[Path, Path, Path] | None = None,
) -> Server:
    """`keystead dev`, with keys, grants and a session. `tls`: certificate, key, authority."""
    state = folder / name.replace(" ", "-") / "state"
    options = ["--memory"] if workers == 1 else ["--state", str(state), "--workers", str(workers)]
    if tls is not None:
        options += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
    server, signer = start_dev(stack, python, folder, name, options, authority=None if tls is None else tls[2])
    kms, role = client(server, "kms"), ROLE
    prepare(server, kms, signer, role)
    crowded = kms.create_key()["KeyMetadata"]["KeyId"]
    for number in range(GRANTS):
        operations = ["Encrypt", "Decrypt"] if number == GRANTS // 2 else ["Decrypt", "DescribeKey"]
        kms.create_grant(KeyId=crowded, GranteePrincipal=role, Operations=operations, Name=f"bench-{number}")
    server.load[f"Encrypt, {GRANTS} grants"] = lambda: signer.batch("Encrypt", encrypt_bodies(crowded))
    root = Signer(ACCESS_KEY, SECRET, None, _host(server))
    server.load["Encrypt, root"] = lambda: root.batch("Encrypt", encrypt_bodies(crowded))
    return server


def _host(server: Server) -> str:
    return f"127.0.0.1:{server.port}" if server.authority is None else f"localhost:{server.port}"


def client(server: Server, service: str) -> Any:
    """boto3, as the root of the account."""
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=f"{'http' if server.authority is None else 'https'}://{_host(server)}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        verify=None if server.authority is None else str(server.authority),
        config=Config(retries={"mode": "standard", "max_attempts": 3}),
    )


def prepare(server: Server, kms: Any, signer: Signer, role: str | None) -> None:
    """Keys and blobs for every operation. `role`: who gets a grant on each key; None: whoever signs may do everything."""
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    rsa = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    p256 = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    if role is not None:
        kms.create_grant(
            KeyId=key, GranteePrincipal=role, Operations=["Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey"]
        )
        for each in (rsa, p256):
            kms.create_grant(KeyId=each, GranteePrincipal=role, Operations=["Sign"])
    blobs = [
        kms.encrypt(KeyId=key, Plaintext=os.urandom(32), EncryptionContext={"tenant": str(number)})["CiphertextBlob"]
        for number in range(16)
    ]
    bodies: dict[str, Callable[[], Iterable[Body]]] = {
        "Encrypt": lambda: encrypt_bodies(key),
        "Decrypt": lambda: ({"CiphertextBlob": text(blobs[n % 16]), **context(n % 16)} for n in range(REQUESTS)),
        "GenerateDataKey": lambda: ({"KeyId": key, "KeySpec": "AES_256", **context(n)} for n in range(REQUESTS)),
        "Sign RSA_2048": lambda: (sign_body(rsa, "RSASSA_PSS_SHA_256") for _ in range(REQUESTS)),
        "Sign P256": lambda: (sign_body(p256, "ECDSA_SHA_256") for _ in range(REQUESTS)),
        "DescribeKey": lambda: ({"KeyId": key} for _ in range(REQUESTS)),
    }
    for name, make in bodies.items():
        server.load[name] = lambda name=name, make=make: signer.batch(name.split()[0], make())  # type: ignore[misc]


def encrypt_bodies(key: str) -> Iterable[Body]:
    """Each another plaintext of 32 bytes in another context."""
    return ({"KeyId": key, "Plaintext": text(os.urandom(32)), **context(number)} for number in range(REQUESTS))


def context(number: int) -> Body:
    """One pair."""
    return {"EncryptionContext": {"tenant": str(number)}}


def sign_body(key: str, algorithm: str) -> Body:
    """Of a digest."""
    return {"KeyId": key, "Message": text(os.urandom(32)), "MessageType": "DIGEST", "SigningAlgorithm": algorithm}


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def started_on(
    stack: ExitStack,
    name: str,
    command: Callable[[int], Sequence[str]],
    folder: Path,
    env: Callable[[int], dict[str, str]],
) -> Server:
    """A server that does not tell when it is ready: asked until it answers ListKeys. Its keys are made here."""
    port, own = free_port(), folder / name.replace(" ", "-")
    own.mkdir()
    log = (own / "log").open("wb")
    stack.callback(log.close)
    process = subprocess.Popen(
        command(port), cwd=own, env=os.environ | env(port), stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    server = Server(name, process, port)
    stack.callback(server.stop)
    kms, end = client(server, "kms"), time.monotonic() + START_SECONDS
    while True:
        try:
            kms.list_keys()
            break
        except Exception:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.2)
    signer = Signer(ACCESS_KEY, SECRET, None, f"127.0.0.1:{port}")
    prepare(server, kms, signer, None)
    return server

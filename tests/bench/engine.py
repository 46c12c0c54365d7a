"""The engine on SoftHSM2, one process: Encrypt, Decrypt, GenerateDataKey with self-check, cold keys, and Encrypt beside RSA signatures."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pkcs11 import Mechanism
from tests.bench.rows import Row, percentile

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.blob import open_message, seal_message
from keystead.engine.context import EMPTY_CONTEXT
from keystead.engine.ports import Generate, GeneratedMaterial, Material, SignDigest
from keystead.hsm.backend import Hsm, open_hsm
from keystead.hsm.pin import FileMarker
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection
from keystead.settings import HsmSettings

CALLS = 30_000
SIGNATURES_PER_SECOND = 50


def measure_engine() -> list[Row]:
    """All rows of the engine."""
    with tempfile.TemporaryDirectory() as folder:
        hsm = _open(Path(folder))
        try:
            return [*_rates(hsm), *_cold(hsm), *_beside_rsa(hsm)]
        finally:
            hsm.close()


def _open(folder: Path) -> Hsm:
    token = folder / "token"
    command = [sys.executable, "-m", "keystead", "hsm", "init", "--softhsm-dir", str(token)]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    os.environ["SOFTHSM2_CONF"] = str(token / "softhsm2.conf")
    settings = HsmSettings(pin_file=token / "pin")
    return open_hsm(settings, FileMarker(settings.pin_file, folder))


def _material(hsm: Hsm, spec: KeySpec, usage: KeyUsage) -> Material:
    key_id = os.urandom(16)
    made = hsm.slow(Generate(key_id, spec, Protection.TOKEN, usage))
    assert isinstance(made, GeneratedMaterial)
    return Material(
        key_id=key_id,
        spec=spec,
        usage=usage,
        protection=Protection.TOKEN,
        material_id=made.material_id,
        wrapped=made.wrapped,
        plain_len=made.plain_len,
        spki=made.spki,
    )


def _rate(call: Callable[[], Any], count: int = CALLS) -> float:
    """Calls a second, best of three: the neighbours only ever slow it down."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = max(best, count / (time.perf_counter() - start))
    return best


def _rates(hsm: Hsm) -> list[Row]:
    material = _material(hsm, KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT)
    ids, plaintext, fast = material.ids, bytes(32), hsm.fast
    handle: Any = hsm.vault.handle(material)
    message = bytes(109)

    def kdf(data: bytes) -> bytes:
        return fast.derive(material, data)

    def encrypt() -> bytes:
        return seal_message(kdf, ids, os.urandom(32), plaintext, EMPTY_CONTEXT)

    blob = encrypt()

    def generate() -> None:
        secret = os.urandom(32)
        sealed = seal_message(kdf, ids, os.urandom(32), secret, EMPTY_CONTEXT)
        assert open_message(kdf, sealed, EMPTY_CONTEXT) == secret

    bare = _rate(lambda: handle.sign(message, mechanism=Mechanism.SHA512_HMAC))
    rows = [Row("bare HMAC-SHA-512 loop on the token (yardstick)", f"{bare:,.0f}/s")]
    for name, call, least in (
        ("Encrypt 32 bytes", encrypt, 25_000),
        ("Decrypt 32 bytes", lambda: open_message(kdf, blob, EMPTY_CONTEXT), 25_000),
    ):
        rate = _rate(call)
        good = rate >= least and rate >= bare / 3
        rows.append(Row(name, f"{rate:,.0f}/s, {rate / bare:.2f} of bare", f">= {least:,}/s and >= 1/3 of bare", good))
    rate = _rate(generate, CALLS // 2)
    rows.append(Row("GenerateDataKey with self-check", f"{rate:,.0f}/s", ">= 12,000/s", rate >= 12_000))
    return rows


def _cold(hsm: Hsm) -> list[Row]:
    """Every call a cache miss: unwrap, prove the material id, use, destroy."""
    material = _material(hsm, KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT)

    def cold() -> None:
        hsm.vault.forget(material)
        hsm.fast.derive(material, bytes(109))

    return [Row("derive with a cold key (unwrap, prove, use)", f"{_rate(cold, 3000):,.0f}/s")]


def _latencies(call: Callable[[], Any], seconds: float, signer: Callable[[], None] | None) -> list[float]:
    """Latency of each call in microseconds, while `signer` is called at its rate."""
    found, end, due = [], time.perf_counter() + seconds, time.perf_counter()
    while (now := time.perf_counter()) < end:
        if signer is not None and now >= due:
            signer()
            due += 1 / SIGNATURES_PER_SECOND
        start = time.perf_counter()
        call()
        found.append((time.perf_counter() - start) * 1e6)
    return found


def _beside_rsa(hsm: Hsm) -> list[Row]:
    """p99 of Encrypt alone and with 50 RSA-4096 signatures a second in the slow lane; median of five ratios."""
    material = _material(hsm, KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT)
    rsa = _material(hsm, KeySpec.RSA_4096, KeyUsage.SIGN_VERIFY)
    digest = hashlib.sha256(b"bench").digest()
    pending: list[Future[Any]] = []

    def encrypt() -> bytes:
        return seal_message(lambda data: hsm.fast.derive(material, data), material.ids, os.urandom(32), bytes(32), b"\0\0")

    def sign() -> None:
        """One more signature, unless a busy machine is far behind already: the lane would refuse it."""
        if sum(not future.done() for future in pending[-48:]) >= 32:
            return
        pending.append(hsm.lanes.submit(SignDigest(rsa, SigningAlgorithm.RSASSA_PSS_SHA_256, digest)))

    sign()
    pending[0].result()
    ratios, alone, beside = [], [], []
    for _ in range(5):
        first = percentile(_latencies(encrypt, 2.0, None), 0.99)
        second = percentile(_latencies(encrypt, 2.0, sign), 0.99)
        for future in pending:
            future.result()
        pending.clear()
        alone.append(first)
        beside.append(second)
        ratios.append(second / first)
    ratio = statistics.median(ratios)
    figure = f"{statistics.median(alone):.0f} us alone, {statistics.median(beside):.0f} us beside, ratio {ratio:.2f}"
    name = f"Encrypt p99 beside {SIGNATURES_PER_SECOND} RSA_4096 signatures/s (median of 5)"
    return [Row(name, figure, "ratio <= 2", ratio <= 2)]

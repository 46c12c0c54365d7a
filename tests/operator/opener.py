"""Opens every data key that was ever issued, on the real token, in a process of its own (a module is initialised once).

`python -m tests.operator.opener` with the environment of an installation; stdin: record Secrets as JSON. stdout: data key record
name -> SHA-256 of each version's plaintext, after all seals were verified. A plaintext never leaves this process.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace
from tests.operator.harness import ROOT, Installation

from keystead.engine.managed import DATA_KEYS_SERVICE
from keystead.engine.record import DataKeyRecord, DataKeyVersion, KeyRecord, open_sealed
from keystead.hsm.backend import Hsm, open_hsm
from keystead.operations.effects import drive
from keystead.operations.encryption import DecryptRequest, decrypt
from keystead.operations.world import World
from keystead.policy import root_caller
from keystead.policy.question import Carried
from keystead.reconciler.pipeline import NoNewKeys, OneKey
from keystead.settings import from_environment
from keystead.store.pins import ClusterMarker
from keystead.store.records import parse_secret


def opened(installation: Installation, secrets: list[Any]) -> dict[str, list[str]]:
    """What `main` prints, for the tests."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.operator.opener"],
        env=installation.environment(),
        cwd=ROOT,
        input=json.dumps(secrets),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer


def digests(hsm: Hsm, keys: Mapping[str, KeyRecord], record: DataKeyRecord) -> list[str]:
    """SHA-256 of the plaintext of each version, under the key that it names."""
    return [_digest(hsm, keys[version.key_arn.rpartition("/")[2]], version) for version in record.versions]


def _digest(hsm: Hsm, key: KeyRecord, version: DataKeyVersion) -> str:
    world = World(
        domain=hsm.domain,
        fast=hsm.fast,
        capabilities=NoNewKeys(),
        keys=OneKey(replace(key, policy=UNSET), key.namespace_uid),  # what is in a blob is asked, not who may open it
        region=key.region,
        now=datetime.now(UTC),
        entropy=os.urandom,
        carried=Carried(via_service=DATA_KEYS_SERVICE),
    )
    request = DecryptRequest(ciphertext_blob=version.blob, encryption_context=version.encryption_context)
    # As the operator asks: no review under the default policy.
    caller = root_caller(key.account, key.namespace)
    answer = drive(decrypt(world, caller, request), lambda _: False, hsm.slow)
    return hashlib.sha256(answer.plaintext).hexdigest()


def main() -> None:
    """Verify, open, print."""
    hsm = open_hsm(from_environment().hsm, ClusterMarker("", ""))
    stored = [parse_secret(secret).sealed for secret in json.load(sys.stdin)]
    keys = [open_sealed(hsm.domain, s, KeyRecord) for s in stored if s.name.startswith("key-")]
    by_id = {key.key_id: key for key in keys}
    data_keys = {s.name: open_sealed(hsm.domain, s, DataKeyRecord) for s in stored if s.name.startswith("datakey-")}
    found = {name: digests(hsm, by_id, record) for name, record in data_keys.items()}
    json.dump(found, sys.stdout)
    hsm.close()


if __name__ == "__main__":
    main()

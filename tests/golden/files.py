"""The golden files of a release, opened with a backend: the fake (test_golden.py) or a real token (test_golden_on_tokens.py)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Protocol

from keystead.engine.algorithms import KeyAgreementAlgorithm, MacAlgorithm, RsaPadding, SigningAlgorithm
from keystead.engine.blob import open_message, read_ids
from keystead.engine.context import encode_context
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.material import find_version, material_of
from keystead.engine.ports import Agree, DecryptRsa, Domain, FastLane, Material, SignDigest, SlowCall, SlowResult
from keystead.engine.publickey import signing_input, verify
from keystead.engine.record import (
    AccountRecord,
    AliasRecord,
    DataKeyRecord,
    GrantRecord,
    InstallRecord,
    KeyRecord,
    SealedRecord,
    open_sealed,
)
from keystead.engine.record.common import RecordBase
from keystead.resources.vocabulary import KeySpec, KeyState

TYPES: dict[str, type[RecordBase]] = {
    "key": KeyRecord,
    "alias": AliasRecord,
    "grant": GrantRecord,
    "account": AccountRecord,
    "datakey": DataKeyRecord,
    "install": InstallRecord,
}


class Backend(Protocol):
    """What opening needs."""

    @property
    def domain(self) -> Domain: ...
    @property
    def fast(self) -> FastLane: ...
    def slow(self, call: SlowCall) -> SlowResult: ...


def raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


class Golden:
    """One release's files on one backend. `without`: specs that this backend cannot hold (HSM facts, not formats)."""

    def __init__(self, folder: Path, hsm: Backend, without: tuple[KeySpec, ...] = ()) -> None:
        self._folder = folder
        self._hsm = hsm
        self._without = without
        self.records = [self._open(row) for row in self.rows("records")]
        self.keys = {record.key_id: record for record in self.records if isinstance(record, KeyRecord)}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A table of the folder."""
        rows: list[dict[str, Any]] = json.loads((self._folder / f"{name}.json").read_text())
        return rows

    def _open(self, row: dict[str, str]) -> RecordBase:
        sealed = SealedRecord(row["name"], row["record"].encode(), bytes.fromhex(row["seal"]))
        return open_sealed(self._hsm.domain, sealed, TYPES[row["kind"]])

    def _material(self, key_id: str) -> Material:
        record = self.keys[key_id]
        return material_of(record, record.current_version)

    def _usable(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.rows(name) if self.keys[row["keyId"]].spec not in self._without]

    def open_blob(self, blob: bytes, context: dict[str, str]) -> bytes:
        """The plaintext of a blob, found by what it says of itself."""
        ids = read_ids(blob)
        record = next(record for record in self.keys.values() if key_id_bytes(record.key_id) == ids.key_id)
        version = find_version(record, ids.material_id)
        assert version is not None
        material = material_of(record, version)
        return open_message(lambda message: self._hsm.fast.derive(material, message), blob, encode_context(context))

    def blobs(self) -> list[bool]:
        """Whether each blob gives its plaintext."""
        return [self.open_blob(raw(row["blob"]), row["context"]) == raw(row["plaintext"]) for row in self.rows("blobs")]

    def data_keys(self) -> list[bool]:
        """Whether each version of the data key, archives included, gives its plaintext."""
        plain = {row["version"]: raw(row["plaintext"]) for row in self.rows("data-keys")}
        records = [record for record in self.records if isinstance(record, DataKeyRecord)]
        versions = [version for record in records for version in record.versions]
        assert sorted(version.n for version in versions) == sorted(plain)
        return [self.open_blob(version.blob, version.encryption_context) == plain[version.n] for version in versions]

    def macs(self) -> list[bool]:
        """Whether each MAC verifies."""
        lane = self._hsm.fast
        return [
            lane.verify_mac(
                self._material(row["keyId"]), MacAlgorithm(row["algorithm"]), raw(row["message"]), raw(row["mac"])
            )
            for row in self._usable("macs")
        ]

    def signatures(self) -> list[bool]:
        """Whether each old signature verifies under the recorded public key."""
        return [self._verifies(row, raw(row["signature"])) for row in self.rows("signatures")]

    def new_signatures(self) -> list[bool]:
        """Whether the same keys sign today."""
        return [self._verifies(row, self._sign(row)) for row in self._usable("signatures")]

    def _sign(self, row: dict[str, str]) -> bytes:
        algorithm = SigningAlgorithm(row["algorithm"])
        call = SignDigest(self._material(row["keyId"]), algorithm, signing_input(algorithm, raw(row["message"])))
        made = self._hsm.slow(call)
        assert isinstance(made, bytes)
        return made

    def _verifies(self, row: dict[str, str], signature: bytes) -> bool:
        algorithm, spki = SigningAlgorithm(row["algorithm"]), self.keys[row["keyId"]].current_version.spki
        assert isinstance(spki, bytes)
        return verify(spki, algorithm, signing_input(algorithm, raw(row["message"])), signature)

    def rsa(self) -> list[bool]:
        """Whether each RSA ciphertext gives its plaintext."""
        return [
            self._hsm.slow(DecryptRsa(self._material(row["keyId"]), RsaPadding(row["padding"]), raw(row["ciphertext"])))
            == raw(row["plaintext"])
            for row in self._usable("rsa")
        ]

    def agreements(self) -> list[bool]:
        """Whether each agreement gives its secret."""
        return [
            self._hsm.slow(Agree(self._material(row["keyId"]), KeyAgreementAlgorithm.ECDH, raw(row["peer"])))
            == raw(row["secret"])
            for row in self._usable("agreements")
        ]

    def living(self) -> list[KeyRecord]:
        """Keys with material."""
        return [record for record in self.keys.values() if record.state is not KeyState.DESTROYED]

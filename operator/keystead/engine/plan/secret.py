"""The Secret of a data key: what it must hold, and when it is as it must be. A copy of the record, never its source.

Our own Secret (type kms.keystead.io/data-key): `ciphertext`, `ciphertext.<n>`, `public-key`, `meta.json`. In a Secret that is not ours
the same behind `kms.keystead.io.<name>.` (RECORDS, Secrets). Foreign keys and types stay; a conflict is a condition, never an
overwrite. No plaintext is anywhere near here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from msgspec import UNSET

from keystead.engine.plan.common import Obstacle
from keystead.engine.record.datakey import DataKeyRecord
from keystead.resources import names
from keystead.resources.kms_data_key import KmsDataKey
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import SecretDeletionPolicy

_OWN_KEY = re.compile(r"(ciphertext(\.\d+)?|public-key|meta\.json)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFacts:
    """A Secret as the API server has it."""

    uid: str
    resource_version: str
    type: str
    immutable: bool
    data: Mapping[str, bytes]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[Mapping[str, object], ...] = ()

    def is_own_of(self, name: str) -> bool:
        """Whether Keystead made it for the KmsDataKey `name`."""
        return self.type == names.DATA_KEY_SECRET_TYPE and self.annotations.get(names.DATA_KEY) == name

    def names_data_key(self, name: str) -> bool:
        """Whether it carries the data key `name`, made for it or injected."""
        return self.is_own_of(name) or any(key.startswith(prefix_of(name)) for key in self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredSecret:
    """What one field manager must own in the Secret. `force`: our own Secret, whose edits by others are undone."""

    namespace: str
    name: str
    injected: bool
    manager: str
    data: Mapping[str, bytes]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Mapping[str, object] | None
    immutable: bool
    data_key: str

    def satisfied_by(self, secret: SecretFacts) -> bool:
        """Whether nothing has to be written."""
        present = {key: value for key, value in secret.data.items() if self._is_ours(key)}
        return (
            present == dict(self.data)
            and self.labels.items() <= secret.labels.items()
            and self.annotations.items() <= secret.annotations.items()
            and (self.injected or (self._owned_as_wanted(secret) and secret.immutable >= self.immutable))
        )

    def stale(self, secret: SecretFacts) -> tuple[str, ...]:
        """Keys of our own Secret that must go. In a foreign one nothing is taken away but by the apply of what is ours."""
        return () if self.injected else tuple(key for key in secret.data if self._is_ours(key) and key not in self.data)

    def other_owners(self, secret: SecretFacts) -> tuple[Mapping[str, object], ...]:
        """The owner references that are not this data key's."""
        return tuple(owner for owner in secret.owners if not self._is_owner(owner))

    def _owned_as_wanted(self, secret: SecretFacts) -> bool:
        wanted = set() if self.owner is None else {self.owner["uid"]}
        return {owner["uid"] for owner in secret.owners if self._is_owner(owner)} == wanted

    def _is_owner(self, owner: Mapping[str, object]) -> bool:
        return owner.get("kind") == "KmsDataKey" and owner.get("name") == self.data_key

    def _is_ours(self, key: str) -> bool:
        if self.injected:
            return key.startswith(prefix_of(self.data_key))
        return _OWN_KEY.match(key) is not None


def prefix_of(name: str) -> str:
    """What keys in a foreign Secret begin with."""
    return f"kms.keystead.io.{name}."


def manager_of(namespace: str, name: str) -> str:
    """Field manager of one data key: two data keys in one Secret must not share one (KUBERNETES.md).

    From the name and not from the object's uid: a data key that was deleted and applied again must find that the fields are
    its own, or its first rotation conflicts with itself.
    """
    return f"keystead-dk-{hashlib.sha256(f'{namespace}/{name}'.encode()).hexdigest()[:8]}"


def secret_obstacle(data_key: KmsDataKey, record: DataKeyRecord, secret: SecretFacts | None) -> Obstacle | None:
    """Why an absent Secret is not made: it was somebody else's."""
    if secret is None and record.target.injected:
        name = data_key.spec.target.secret_name
        return Obstacle(
            Reason.TARGET_NOT_FOUND,
            f"Secret {name} was deleted; the data key is safe in its record and comes back when the Secret is made again",
        )
    return None


def desired_secret(
    data_key: KmsDataKey, record: DataKeyRecord, visible: tuple[int, ...], secret: SecretFacts | None
) -> DesiredSecret:
    """What the Secret must hold now, for these versions."""
    name = data_key.metadata.name
    injected = secret is not None and not secret.is_own_of(name)
    contents = _contents(record, visible)
    prefix = prefix_of(name) if injected else ""
    version_hash = hashlib.sha256(b"\0".join(contents[key] for key in sorted(contents))).hexdigest()[:16]
    labels, annotations = ({}, {}) if injected else _template(data_key)
    manager = manager_of(data_key.metadata.namespace, name)
    hash_name = names.VERSION_HASH if not injected else f"{names.VERSION_HASH}-{manager[-8:]}"
    return DesiredSecret(
        namespace=data_key.metadata.namespace,
        name=data_key.spec.target.secret_name,
        injected=injected,
        manager=manager,
        data={prefix + key: value for key, value in contents.items()},
        labels=labels,
        annotations={**annotations, hash_name: version_hash},
        owner=None if injected else _owner(data_key),
        immutable=data_key.spec.target.immutable and not injected,
        data_key=name,
    )


def _contents(record: DataKeyRecord, visible: tuple[int, ...]) -> dict[str, bytes]:
    by_number = {version.n: version for version in record.versions}
    current = record.current_version
    contents = {"ciphertext": current.blob, "meta.json": _meta(record, visible)}
    contents |= {f"ciphertext.{n}": by_number[n].blob for n in visible}
    if current.public_key is not UNSET:
        contents["public-key"] = pem(current.public_key)
    return contents


def _meta(record: DataKeyRecord, visible: tuple[int, ...]) -> bytes:
    by_number = {version.n: version for version in record.versions}
    current = record.current_version
    meta: dict[str, object] = {
        "version": current.n,
        "keyArn": current.key_arn,
        "keyMaterialId": current.key_material_id,
        "encryptionContext": current.encryption_context,
        "created": current.created,
        "versions": [
            {"version": n, "created": by_number[n].created, "keyMaterialId": by_number[n].key_material_id}
            for n in visible
        ],
    }
    if record.data_key_spec is not UNSET:
        meta["dataKeySpec"] = record.data_key_spec
    else:
        meta["numberOfBytes"] = record.number_of_bytes
    return json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()


def pem(spki: bytes) -> bytes:
    """PEM of a DER SubjectPublicKeyInfo."""
    key = serialization.load_der_public_key(spki)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _template(data_key: KmsDataKey) -> tuple[dict[str, str], dict[str, str]]:
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    template = data_key.spec.target.template
    if template is not UNSET and template.metadata is not UNSET:
        if template.metadata.labels is not UNSET:
            labels |= template.metadata.labels
        if template.metadata.annotations is not UNSET:
            annotations |= template.metadata.annotations
    labels[names.MANAGED_BY] = names.MANAGED_BY_KEYSTEAD
    annotations[names.DATA_KEY] = data_key.metadata.name
    return labels, annotations


def _owner(data_key: KmsDataKey) -> dict[str, object] | None:
    if data_key.spec.target.deletion_policy is not SecretDeletionPolicy.DELETE:
        return None
    return {
        "apiVersion": names.API_VERSION,
        "kind": "KmsDataKey",
        "name": data_key.metadata.name,
        "uid": data_key.metadata.uid,
        "blockOwnerDeletion": False,
    }

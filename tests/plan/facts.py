"""Builders for plans (STYLE 27): objects as the API server gives them, and the facts around them, each with changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace
from tests.builders import APP, CREATED, NAMESPACE, NOW, REGION, UID, a_grant, a_key, an_alias

from keystead.engine.identifiers import RecordKind, key_arn, record_name
from keystead.engine.plan.alias import AliasFacts
from keystead.engine.plan.common import CrdFacts, NamespaceFacts, Opened
from keystead.engine.plan.data_key import DataKeyFacts
from keystead.engine.plan.grant import GrantFacts
from keystead.engine.plan.key import KeyFacts
from keystead.engine.plan.secret import SecretFacts, desired_secret
from keystead.engine.record import AliasRecord, DataKeyRecord, DataKeyVersion, GrantRecord, KeyRecord, Rotation
from keystead.engine.record.datakey import DataKeyTarget
from keystead.resources import names
from keystead.resources.kms_alias import KmsAlias, parse_alias
from keystead.resources.kms_data_key import KmsDataKey, parse_data_key
from keystead.resources.kms_grant import KmsGrant, parse_grant
from keystead.resources.kms_key import KmsKey, parse_key
from keystead.resources.vocabulary import GrantOperation, Protection

DIGEST = "d1" * 32
CRD = CrdFacts("crd-1")
SPACE = NamespaceFacts(UID)
OWN_TYPE = names.DATA_KEY_SECRET_TYPE


def _body(kind: str, name: str, spec: dict[str, Any], status: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "uid": "object-1", "generation": 1, **about}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, "status": status}


def a_kms_key(
    *, status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, about: dict[str, Any] | None = None, **spec: Any
) -> KmsKey:
    """The KmsKey `key-1`, object-1; keywords are members of spec in camelCase."""
    metadata = {"annotations": annotations or {}, **(about or {})}
    return parse_key(_body("KmsKey", "key-1", spec, status or {}, metadata))


def a_kms_data_key(
    *, status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, about: dict[str, Any] | None = None, **spec: Any
) -> KmsDataKey:
    """The KmsDataKey `data-1` under key-1, into Secret `s`."""
    metadata = {"annotations": annotations or {}, **(about or {})}
    whole = {"keyRef": {"name": "key-1"}, "target": {"secretName": "s"}, **spec}
    return parse_data_key(_body("KmsDataKey", "data-1", whole, status or {}, metadata))


def key_facts(hsm: Any, **changes: Any) -> KeyFacts:
    """A Ready key with nothing to do: object-1 holds a bound record, in a live namespace under a live CRD."""
    record = changes.get("record", a_settled_key(hsm) if "record" not in changes else None)
    members: dict[str, Any] = {
        "key": a_kms_key(),
        "record": record,
        "opened": None if record is None else Opened(record_name(RecordKind.KEY, NAMESPACE, "key-1"), record.seq, DIGEST),
        "namespace": SPACE,
        "crd": CRD,
        "now": NOW,
        "region": REGION,
        "protection": Protection.TOKEN,
    }
    return KeyFacts(**{**members, **changes})


def a_settled_key(hsm: Any, **changes: Any) -> KeyRecord:
    """The record as `plan_key` leaves it for the KmsKey of `a_kms_key()`."""
    return a_key(hsm, **{"rotation": Rotation(enabled=False, period=365), **changes})


def a_data_key_version(n: int = 1, **changes: Any) -> DataKeyVersion:
    members: dict[str, Any] = {
        "n": n,
        "blob": f"blob-{n}".encode(),
        "encryption_context": {},
        "key_arn": key_arn(REGION, "111122223333", "x"),
        "key_material_id": "00" * 32,
        "created": CREATED,
    }
    return DataKeyVersion(**{**members, **changes})


def a_data_key(key: KeyRecord, *, versions: list[DataKeyVersion] | None = None, **changes: Any) -> DataKeyRecord:
    """The record of data-1: its blobs are under the key's current material, and Secret `s` is known as secret-1."""
    material = key.current_version.material_id
    own = versions or [a_data_key_version(key_material_id=material)]
    own = [replace(version, key_arn=key_arn(REGION, key.account, key.key_id)) for version in own]
    members: dict[str, Any] = {
        "domain_generation": key.domain_generation,
        "domain_fingerprint": key.domain_fingerprint,
        "namespace_uid": UID,
        "transition": 1,
        "seq": 1,
        "key_id": key.key_id,
        "region": REGION,
        "account": key.account,
        "namespace": NAMESPACE,
        "name": "data-1",
        "object_uid": "object-1",
        "crd_uid": "crd-1",
        "bound": True,
        "data_key_spec": "AES_256",
        "target": DataKeyTarget(secret_name="s", injected=False, secret_uid="secret-1"),
        "created": CREATED,
        "part": 0,
        "archives": 0,
        "versions": own,
        "first_version": 1,
        "current": len(own),
        "n_versions": len(own),
    }
    return DataKeyRecord(**{**members, **changes})


def a_secret(**changes: Any) -> SecretFacts:
    """A foreign Opaque Secret with one key."""
    members: dict[str, Any] = {
        "uid": "secret-1",
        "resource_version": "7",
        "type": "Opaque",
        "immutable": False,
        "data": {"password": b"theirs"},
    }
    return SecretFacts(**{**members, **changes})


def the_secret(data_key: KmsDataKey, record: DataKeyRecord, visible: tuple[int, ...] = (1,), **changes: Any) -> SecretFacts:
    """Our own Secret, as the record wants it."""
    wanted = desired_secret(data_key, record, visible, None)
    owners = () if wanted.owner is None else (wanted.owner,)
    members: dict[str, Any] = {
        "type": OWN_TYPE,
        "data": dict(wanted.data),
        "labels": dict(wanted.labels),
        "annotations": dict(wanted.annotations),
        "immutable": wanted.immutable,
        "owners": owners,
    }
    return a_secret(**{**members, **changes})


def data_key_facts(hsm: Any, **changes: Any) -> DataKeyFacts:
    """A Ready data key with nothing to do."""
    key = changes.get("key", a_settled_key(hsm) if "key" not in changes else None)
    data_key = changes.get("data_key", a_kms_data_key() if "data_key" not in changes else None)
    record = changes.get("record", a_data_key(key or a_settled_key(hsm)) if "record" not in changes else None)
    secret = the_secret(data_key, record) if data_key is not None and record is not None else None
    members: dict[str, Any] = {
        "data_key": data_key,
        "record": record,
        "opened": None if record is None else Opened(record_name(RecordKind.DATAKEY, NAMESPACE, "data-1"), record.seq, DIGEST),
        "namespace": SPACE,
        "crd": CRD,
        "key": key,
        "target": key,
        "secret": secret,
        "now": NOW,
    }
    return DataKeyFacts(**{**members, **changes})


def a_kms_alias(
    *, status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, about: dict[str, Any] | None = None, **spec: Any
) -> KmsAlias:
    """The KmsAlias `app`, object-2, which names key-1 by alias/app; made a day before NOW."""
    metadata = {"uid": "object-2", "creationTimestamp": "2026-11-25T08:00:00Z", "annotations": annotations or {}, **(about or {})}
    return parse_alias(_body("KmsAlias", "app", {"aliasName": "alias/app", "keyRef": {"name": "key-1"}, **spec}, status or {}, metadata))


def alias_facts(hsm: Any, **changes: Any) -> AliasFacts:
    """A Ready alias with nothing to do."""
    key = changes.get("key", a_settled_key(hsm) if "key" not in changes else None)
    own: AliasRecord | None = an_alias(key or a_settled_key(hsm))
    record = changes.get("record", own if "record" not in changes else None)
    members: dict[str, Any] = {
        "alias": a_kms_alias(),
        "record": record,
        "opened": None if record is None else Opened("alias-x", record.seq, DIGEST),
        "namespace": SPACE,
        "crd": CrdFacts("crd-2"),
        "key": key,
        "target": key,
        "destroyed_at": None,
        "now": NOW,
    }
    return AliasFacts(**{**members, **changes})


def a_kms_grant(
    *, status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, about: dict[str, Any] | None = None, **spec: Any
) -> KmsGrant:
    """The KmsGrant `grant-1`, object-2, of Decrypt to the ServiceAccount `app`; made a day before NOW."""
    metadata = {"uid": "object-2", "creationTimestamp": "2026-11-25T08:00:00Z", "annotations": annotations or {}, **(about or {})}
    whole = {"keyRef": {"name": "key-1"}, "operations": ["Decrypt"], **spec}
    if not {"granteePrincipal", "serviceAccountRef", "granteeServicePrincipal"} & set(spec):
        whole["granteePrincipal"] = APP
    return parse_grant(_body("KmsGrant", "grant-1", whole, status or {}, metadata))


def grant_facts(hsm: Any, **changes: Any) -> GrantFacts:
    """A Ready grant with nothing to do."""
    key = changes.get("key", a_settled_key(hsm) if "key" not in changes else None)
    own: GrantRecord | None = a_grant(key or a_settled_key(hsm), GrantOperation.DECRYPT)
    record = changes.get("record", own if "record" not in changes else None)
    members: dict[str, Any] = {
        "grant": a_kms_grant(),
        "record": record,
        "opened": None if record is None else Opened("grant-x", record.seq, DIGEST),
        "namespace": SPACE,
        "crd": CrdFacts("crd-2"),
        "key": key,
        "target": key,
        "destroyed_at": None,
        "now": NOW,
    }
    return GrantFacts(**{**members, **changes})


def at(text: str) -> datetime:
    """The moment of an RFC 3339 text."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))



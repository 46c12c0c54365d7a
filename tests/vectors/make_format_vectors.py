"""Makes format.json, the vectors of docs/reference/format.md: `python -m tests.vectors.make_format_vectors`.

Written from that page with hashlib, hmac and `cryptography` alone: it imports nothing of keystead, so it is a second
reader of the page. Every derived key is computed twice, by `hmac` and by KBKDFHMAC. Deterministic: tests/docs runs it
again and compares byte for byte. The keys in it protect nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

FILE = Path(__file__).with_name("format.json")

# The domain of all vectors.
GENERATION = 1
DK = bytes(range(0x40, 0x60))
DM = bytes(range(0x80, 0xC0))
RECOVERY = bytes(range(0x60, 0x80))
INSTALL_ID = bytes(range(0xF0, 0x100))

MATERIAL = bytes(range(64))
MATERIAL_2 = bytes(range(64, 128))
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
MRK_ID = "mrk-1234abcd12ab34cd56ef1234567890ac"
ED25519_ID = "1234abcd-12ab-34cd-56ef-1234567890ad"
N = bytes(range(0x20, 0x40))
CONTEXT = {"purpose": "test", "app": "keystead"}
PLAINTEXT = b"keystead test vector v1"

REGION, NAMESPACE, NAMESPACE_UID = "cluster-1", "team-a", "0a4c2d3e-0000-4000-8000-000000000001"
OBJECT_UID, CRD_UID = "0a4c2d3e-0000-4000-8000-0000000000aa", "0a4c2d3e-0000-4000-8000-0000000000bb"
TIMES = tuple(f"2026-11-0{day}T08:00:00Z" for day in range(1, 6))
LABELS = (
    "domain-id",
    "import-check",
    "credential",
    "grant-token",
    "import-token",
    "create-name",
    "list-marker",
    "data-key-record",
    "journal",
    "audit",
    "backup",
)


def u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def id_bytes(key_id: str) -> bytes:
    """Key id: the 16 bytes of either text form."""
    return bytes.fromhex(key_id.removeprefix("mrk-").replace("-", ""))


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha512")


# Derivation
def kdf_input(label: str, context: bytes) -> bytes:
    return u32(1) + label.encode() + b"\0" + context + u32(512)


def derive(key: bytes, label: str, context: bytes) -> bytes:
    """64 bytes, by `hmac` and by the oracle."""
    oracle = KBKDFHMAC(SHA512(), Mode.CounterMode, 64, 4, 4, CounterLocation.BeforeFixed, label.encode(), context, None)
    out = mac(key, kdf_input(label, context))
    assert out == oracle.derive(key)
    return out


def symmetric_id(material: bytes, key_id: bytes) -> bytes:
    return derive(material, "keystead/v1/material-id", key_id)[:32]


def pair_id(key_id: bytes, spki: bytes) -> bytes:
    return hashlib.sha256(b"keystead/v1/material-id\0" + key_id + spki).digest()


# Encryption context and blob
def encode_context(pairs: dict[str, str]) -> bytes:
    out = u16(len(pairs))
    for key, value in sorted((key.encode(), value.encode()) for key, value in pairs.items()):
        out += u16(len(key)) + key + u16(len(value)) + value
    return out


def make_blob(derived: bytes, ids: bytes, n: bytes, plaintext: bytes, context: bytes) -> bytes:
    header = b"KS\x01\x01" + ids + n + derived[32:]
    return header + AESGCM(derived[:32]).encrypt(bytes(12), plaintext, header + context)


def seal_message(material: bytes, ids: bytes, n: bytes, plaintext: bytes, context: bytes) -> bytes:
    return make_blob(derive(material, "keystead/v1/message", b"\x01" + ids + n), ids, n, plaintext, context)


def seal_software_key(ids: bytes, n: bytes, secret: bytes) -> bytes:
    return make_blob(derive(DM, "keystead/v1/software-key", b"\x01" + ids + n), ids, n, secret, b"\0\0")


# The domain
def domain_mac(label: str, *parts: bytes) -> bytes:
    framed = b"".join(u16(len(part)) + part for part in parts)
    return mac(DM, f"keystead/v1/{label}".encode() + b"\0" + framed)[:32]


def probe() -> bytes:
    return aes_key_wrap_with_padding(DK, bytes(range(32)))


def domain_fingerprint() -> str:
    return hashlib.sha256(domain_mac("domain-id") + probe()).hexdigest()


def make_backup() -> bytes:
    head = b"KSDB\x01" + u32(GENERATION) + INSTALL_ID + bytes.fromhex(domain_fingerprint())
    body = head + aes_key_wrap_with_padding(RECOVERY, DK) + aes_key_wrap_with_padding(RECOVERY, DM)
    return body + domain_mac("backup", body)


def recovery_line(generation: int, recovery: bytes) -> str:
    check = hashlib.sha256(b"keystead/v1/recovery-key\0" + u32(generation) + recovery).digest()[:4]
    return f"KSR1-{generation}-{recovery.hex()}-{check.hex()}"


# Names
def record_name(prefix: str, kind: str, *parts: str) -> str:
    return f"{prefix}-{hashlib.sha256(chr(0).join((kind, *parts)).encode()).hexdigest()[:40]}"


def account_id(namespace: str, n: int) -> str:
    text = b"\0".join((b"keystead/v1/account", INSTALL_ID, namespace.encode(), str(n).encode()))
    return str(int.from_bytes(hashlib.sha256(text).digest(), "big") % (9 * 10**11) + 10**11)


ACCOUNT = account_id(NAMESPACE, 0)
ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"
NAMES = {
    "key": record_name("key", "KmsKey", NAMESPACE, "app-key"),
    "alias": record_name("alias", "KmsAlias", ACCOUNT, REGION, "alias/app"),
    "grant": record_name("grant", "KmsGrant", NAMESPACE, "app-grant"),
    "account": record_name("account", "Account", ACCOUNT),
    "datakey": record_name("datakey", "KmsDataKey", NAMESPACE, "app-data"),
    "install": "install",
}


# Records
def dump(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii")


def seal_record(name: str, record: bytes) -> bytes:
    text = name.encode()
    message = b"keystead/v1/record-seal\0" + u32(GENERATION) + u16(len(text)) + text + u32(len(record)) + record
    return u32(GENERATION) + mac(DM, message)[:32]


def common(kind: str, seq: int = 1) -> dict[str, Any]:
    members = {
        "v": 1,
        "kind": kind,
        "domainGeneration": GENERATION,
        "domainFingerprint": domain_fingerprint(),
        "namespaceUid": NAMESPACE_UID,
        "transition": 3,
        "seq": seq,
        "ext": {},
    }
    return members if seq == 1 else {**members, "prev": "ab" * 32}


def claimant(name: str, *, bound: bool = True) -> dict[str, Any]:
    owner = {"region": REGION, "account": ACCOUNT, "namespace": NAMESPACE, "name": name}
    return {**owner, "objectUid": OBJECT_UID, "crdUid": CRD_UID, "bound": bound, "created": TIMES[0]}


def key_version(n: int, material: bytes, **more: str) -> dict[str, Any]:
    return {
        "n": n,
        "materialId": symmetric_id(material, id_bytes(KEY_ID)).hex(),
        "created": TIMES[n - 1],
        "origin": "AWS_KMS",
        "protection": "TOKEN",
        "wrap": "kwp",
        "wrapped": b64(aes_key_wrap_with_padding(DK, material)),
        "plainLen": len(material),
        **more,
    }


def key_record(versions: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    members = {
        **common("key", seq=2),
        **claimant("app-key"),
        "storeName": "default",
        "keyId": KEY_ID,
        "keyIdForm": "uuid",
        "spec": "SYMMETRIC_DEFAULT",
        "usage": "ENCRYPT_DECRYPT",
        "origin": "AWS_KMS",
        "multiRegion": False,
        "protection": "TOKEN",
        "description": "key of the vectors: é",
        "tags": {"team": "a", "ünit": "😀"},
        "enabled": True,
        "state": "Enabled",
        "pendingWindowInDays": 30,
        "deletionPolicy": "Retain",
        "onDemandRotations": 1,
        "versions": versions,
        "current": len(versions),
        "nVersions": len(versions),
    }
    return {**members, **more}


def full_key() -> dict[str, Any]:
    """Every member of a key that is alive."""
    versions = [key_version(1, MATERIAL), key_version(2, MATERIAL_2, importCheck="cd" * 32)]
    window = {"cron": "0 3 * * 6", "timezone": "Europe/Vienna", "duration": "4h"}
    return key_record(
        versions,
        policy=b64(b'{"Statement":[],"Version":"2012-10-17"}'),
        hold={"since": TIMES[2], "by": "responder"},
        state="PendingDeletion",
        deletionDate="2026-12-05T08:00:00Z",
        rotation={"enabled": True, "period": 365, "windows": [window]},
        lastRotateRequest=TIMES[1],
        ext={"later": [1, True, {"x": "y"}]},
    )


def tombstone() -> dict[str, Any]:
    versions = [key_version(1, MATERIAL), key_version(2, MATERIAL_2)]
    gone = [{name: version[name] for name in version if name not in ("wrapped", "plainLen")} for version in versions]
    return key_record(gone, state="Destroyed", enabled=False, bound=False)


def orphan() -> dict[str, Any]:
    return key_record([key_version(1, MATERIAL)], bound=False)


def software_key() -> dict[str, Any]:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    material_id = pair_id(id_bytes(ED25519_ID), spki)
    version = {
        **key_version(1, MATERIAL),
        "materialId": material_id.hex(),
        "protection": "SOFTWARE",
        "wrap": "suite1",
        "wrapped": b64(seal_software_key(id_bytes(ED25519_ID) + material_id, N, secret)),
        "plainLen": len(secret),
        "spki": b64(spki),
    }
    more = {"spec": "ECC_NIST_EDWARDS25519", "usage": "SIGN_VERIFY", "protection": "SOFTWARE", "keyId": ED25519_ID}
    return key_record([version], **more, name="software-key", onDemandRotations=0)


def alias_record() -> dict[str, Any]:
    more = {"keyId": KEY_ID, "aliasName": "alias/app", "updated": TIMES[1]}
    return {**common("alias", seq=2), **claimant("app"), **more}


def grant_record() -> dict[str, Any]:
    return {
        **common("grant"),
        **claimant("app-grant"),
        "keyId": MRK_ID,
        "grantId": bytes(range(32)).hex(),
        "grantName": "app",
        "granteePrincipal": f"arn:aws:iam::{ACCOUNT}:role/app",
        "retiringPrincipal": f"arn:aws:iam::{ACCOUNT}:role/admin",
        "operations": ["Decrypt", "Encrypt"],
        "constraints": {"encryptionContextEquals": {"app": "keystead"}, "sourceArn": ARN},
        "expiresAt": TIMES[4],
    }


def service_grant() -> dict[str, Any]:
    members = {**grant_record(), **common("grant", seq=2)}
    del members["granteePrincipal"], members["retiringPrincipal"]
    services = {"granteeServicePrincipal": "a.example", "retiringServicePrincipal": "b.example"}
    return {**members, **services, "constraints": {"encryptionContextSubset": {"app": "keystead"}}}


def account_record(seq: int = 1) -> dict[str, Any]:
    more = {"accountId": ACCOUNT, "n": 0, "namespace": NAMESPACE, "created": TIMES[0]}
    return {**common("account", seq), **more}


def install_record(seq: int = 1) -> dict[str, Any]:
    return {**common("install", seq), "installId": INSTALL_ID.hex(), "created": TIMES[0]}


def data_key_version(n: int, plaintext: bytes) -> dict[str, Any]:
    ids = id_bytes(KEY_ID) + symmetric_id(MATERIAL, id_bytes(KEY_ID))
    blob = seal_message(MATERIAL, ids, bytes([n]) * 32, plaintext, encode_context(CONTEXT))
    return {
        "n": n,
        "blob": b64(blob),
        "encryptionContext": CONTEXT,
        "keyArn": ARN,
        "keyMaterialId": ids[16:].hex(),
        "created": TIMES[n - 1],
    }


def data_key_record(part: int, first: int, last: int, **more: Any) -> dict[str, Any]:
    return {
        **common("datakey", seq=1 if part else 4),
        **claimant("app-data"),
        "keyId": KEY_ID,
        "dataKeySpec": "AES_256",
        "target": {"secretName": "app-secret", "injected": False, "secretUid": OBJECT_UID},
        "lastRotateRequest": TIMES[3],
        "part": part,
        "archives": 0 if part else 1,
        "versions": [data_key_version(n, bytes([n]) * 32) for n in range(first, last + 1)],
        "firstVersion": first,
        "current": last,
        "nVersions": last,
        **more,
    }


def data_key_pair() -> dict[str, Any]:
    """A data key given by its number of bytes has the one member that a spec excludes; a pair has a public key."""
    private = ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    version = {**data_key_version(1, b"not the private half of the vector"), "publicKey": b64(spki)}
    return data_key_record(0, 1, 1, versions=[version], archives=0, dataKeySpec="ECC_NIST_P256")


def data_key_bytes() -> dict[str, Any]:
    members = data_key_record(0, 1, 1, archives=0, numberOfBytes=48, versions=[data_key_version(1, bytes(48))])
    del members["dataKeySpec"]
    return members


def records() -> list[dict[str, Any]]:
    table = (
        ("key", "every member of a live key", NAMES["key"], full_key()),
        ("key", "tombstone: Destroyed, no material", NAMES["key"], tombstone()),
        ("key", "orphan under its own name", f"orphan-{id_bytes(KEY_ID).hex()}", orphan()),
        ("key", "SOFTWARE key", record_name("key", "KmsKey", NAMESPACE, "software-key"), software_key()),
        ("alias", "alias", NAMES["alias"], alias_record()),
        ("grant", "grant to a role", NAMES["grant"], grant_record()),
        ("grant", "grant to a service", NAMES["grant"], service_grant()),
        ("account", "account", NAMES["account"], account_record()),
        ("account", "account, written again", NAMES["account"], account_record(seq=2)),
        ("datakey", "main record with one archive", NAMES["datakey"], data_key_record(0, 3, 4)),
        ("datakey", "archive 1", NAMES["datakey"] + "-1", data_key_record(1, 1, 2)),
        ("datakey", "pair", NAMES["datakey"], data_key_pair()),
        ("datakey", "a number of bytes", NAMES["datakey"], data_key_bytes()),
        ("install", "install", NAMES["install"], install_record()),
        ("install", "install, written again", NAMES["install"], install_record(seq=2)),
    )
    return [record_row(*row) for row in table]


def record_row(kind: str, what: str, name: str, members: dict[str, Any]) -> dict[str, Any]:
    record = dump(members)
    digest, seal = hashlib.sha256(record).hexdigest(), seal_record(name, record).hex()
    return {"kind": kind, "what": what, "name": name, "record": record.decode(), "digest": digest, "seal": seal}


def refused_records() -> list[dict[str, Any]]:
    """Sealed rightly and yet no record: what a reader must refuse after the seal holds."""
    good = dump(full_key())
    rows = (
        ("another version of the format", good.replace(b'"v":1', b'"v":2')),
        ("a member that is not in the table", good[:-1] + b',"zzz":"x"}'),
        ("a member twice", good[:-1] + b',"v":1}'),
        ("a trailing newline", good + b"\n"),
        ("white space", good.replace(b'"v":1', b'"v": 1')),
        ("a float", good.replace(b'"v":1', b'"v":1.0')),
        ("text that is not ASCII", good.replace(b"\\u00e9", "é".encode())),
        ("null for absent", good.replace(b'"hold":{', b'"hold":null,"x":{')),
        ("prev at seq 1", good.replace(b'"seq":2', b'"seq":1')),
        ("versions that are not dense", good.replace(b'"nVersions":2', b'"nVersions":3')),
        ("another generation than the seal's", good.replace(b'"domainGeneration":1', b'"domainGeneration":2')),
    )
    name = NAMES["key"]
    return [
        {"what": what, "name": name, "record": data.decode(), "seal": seal_record(name, data).hex()}
        for what, data in rows
    ]


# Sections of the file
def domain_section() -> dict[str, Any]:
    return {
        "generation": GENERATION,
        "dk": DK.hex(),
        "dm": DM.hex(),
        "installId": INSTALL_ID.hex(),
        "domainId": domain_mac("domain-id").hex(),
        "wrappedProbe": probe().hex(),
        "fingerprint": domain_fingerprint(),
        "recovery": RECOVERY.hex(),
        "recoveryKey": recovery_line(GENERATION, RECOVERY),
        "backup": make_backup().hex(),
    }


def context_section() -> list[dict[str, Any]]:
    cases = (
        {},
        CONTEXT,
        {"ab": "c"},
        {"a": "bc"},
        {"é": "composed", "e\u0301": "decomposed"},
        {"\uffff": "by bytes, not by UTF-16 units", "\U00010000": "later"},
        {"": ""},
    )
    return [{"pairs": pairs, "bytes": encode_context(pairs).hex()} for pairs in cases]


def kdf_section() -> list[dict[str, Any]]:
    key_id = id_bytes(KEY_ID)
    ids = key_id + symmetric_id(MATERIAL, key_id)
    rows = (
        ("message", "keystead/v1/message", MATERIAL, b"\x01" + ids + N),
        ("message under imported 32 bytes", "keystead/v1/message", bytes(range(32)) + bytes(32), b"\x01" + ids + N),
        ("material id", "keystead/v1/material-id", MATERIAL, key_id),
        ("software key", "keystead/v1/software-key", DM, b"\x01" + ids + N),
    )
    return [
        {
            "what": what,
            "label": label,
            "key": key.hex(),
            "context": context.hex(),
            "input": kdf_input(label, context).hex(),
            "output": derive(key, label, context).hex(),
        }
        for what, label, key, context in rows
    ]


def blob_section() -> list[dict[str, Any]]:
    key_id = id_bytes(KEY_ID)
    ids = key_id + symmetric_id(MATERIAL, key_id)
    cases = (
        ("the vector", PLAINTEXT, CONTEXT),
        ("one byte, no context", b"\0", {}),
        ("the longest blob", bytes(6012), {"a": "b"}),
    )
    return [
        {
            "what": what,
            "keyId": key_id.hex(),
            "materialId": ids[16:].hex(),
            "material": MATERIAL.hex(),
            "n": N.hex(),
            "context": pairs,
            "plaintext": plaintext.hex(),
            "blob": seal_message(MATERIAL, ids, N, plaintext, encode_context(pairs)).hex(),
        }
        for what, plaintext, pairs in cases
    ]


def material_section() -> list[dict[str, Any]]:
    private = ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key_id = id_bytes(KEY_ID)
    return [
        {"rule": "symmetric", "keyId": KEY_ID, "from": MATERIAL.hex(), "id": symmetric_id(MATERIAL, key_id).hex()},
        {"rule": "pair", "keyId": KEY_ID, "from": spki.hex(), "id": pair_id(key_id, spki).hex()},
    ]


def label_section() -> list[dict[str, Any]]:
    cases = ((), (b"",), (b"ab", b"c"), (b"a", b"bc"))
    return [
        {"label": label, "parts": [part.hex() for part in parts], "mac": domain_mac(label, *parts).hex()}
        for label in LABELS
        for parts in cases
    ]


# What clients carry
def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def session_row(what: str, texts: list[str], issued: int, life: int) -> dict[str, Any]:
    access_key_id = "ASIA" + base64.b32encode(bytes(range(10))).decode()
    body = b"\x01" + u32(GENERATION) + access_key_id.encode() + u64(issued) + u64(issued + life) + ACCOUNT.encode()
    for text in texts:
        body += bytes([len(text.encode())]) + text.encode()
    body += bytes(max(0, 268 - len(body)))
    return {
        "what": what,
        "entropy": bytes(range(10)).hex(),
        "accessKeyId": access_key_id,
        "account": ACCOUNT,
        "texts": texts,
        "issued": issued,
        "expires": issued + life,
        "token": b64url(body + domain_mac("credential", b"seal", body)),
        "secret": b64(domain_mac("credential", b"secret", body)[:30]),
    }


def grant_token_row(what: str, grant_id: str, created: int) -> dict[str, Any]:
    body = b"\x01" + u32(GENERATION) + bytes.fromhex(grant_id) + u64(created)
    return {"what": what, "grantId": grant_id, "created": created, "token": b64url(body + domain_mac("grant-token", body))}


def marker_row(operation: str, scope: str, position: str) -> dict[str, Any]:
    about = [ACCOUNT, REGION, operation, scope]
    seal = domain_mac("list-marker", *(part.encode() for part in (*about, position)))[:16]
    return {"what": operation, "about": about, "position": position, "marker": b64url(seal + position.encode())}


def carried_section() -> dict[str, Any]:
    pod = ["app-7f9c", "0a4c2d3e-0000-4000-8000-0000000000f0"]
    session = [NAMESPACE, NAMESPACE_UID, "app", OBJECT_UID, "session-1"]
    long = ["n" * 63, NAMESPACE_UID, "a" * 253, OBJECT_UID, "s" * 64, "p" * 253, OBJECT_UID]
    return {
        "sessionTokens": [
            session_row("of a Pod", session + pod, 1795680000, 3600),
            session_row("of no Pod", [*session, "", ""], 1795680000, 900),
            session_row("long names", long, 1795680000, 43200),
        ],
        "grantTokens": [grant_token_row("a grant", "ab" * 32, 1795680000), grant_token_row("another", "00" * 32, 0)],
        "listMarkers": [
            marker_row("ListKeys", "", KEY_ID),
            marker_row("ListAliases", KEY_ID, "alias/app"),
            marker_row("ListGrants", KEY_ID, "ab" * 32),
        ],
    }


def name_section() -> dict[str, Any]:
    rows = [
        {"kind": "key", "parts": [NAMESPACE, "app-key"], "name": NAMES["key"]},
        {"kind": "alias", "parts": [ACCOUNT, REGION, "alias/app"], "name": NAMES["alias"]},
        {"kind": "grant", "parts": [NAMESPACE, "app-grant"], "name": NAMES["grant"]},
        {"kind": "account", "parts": [ACCOUNT], "name": NAMES["account"]},
        {"kind": "datakey", "parts": [NAMESPACE, "app-data"], "name": NAMES["datakey"]},
        {"kind": "install", "parts": [], "name": NAMES["install"]},
    ]
    orphans = [{"keyId": key, "name": f"orphan-{id_bytes(key).hex()}"} for key in (KEY_ID, MRK_ID)]
    archives = [{"of": NAMES["datakey"], "k": k, "name": f"{NAMES['datakey']}-{k}"} for k in (1, 12)]
    return {"records": rows, "orphans": orphans, "archives": archives}


def account_section() -> list[dict[str, Any]]:
    cases = ((NAMESPACE, 0), (NAMESPACE, 1), ("keystead-records", 0), ("default", 10))
    return [{"namespace": namespace, "n": n, "accountId": account_id(namespace, n)} for namespace, n in cases]


def make() -> str:
    """The file's text."""
    sections = {
        "about": "Vectors of docs/reference/format.md. Made by tests/vectors/make_format_vectors.py; do not edit.",
        "domain": domain_section(),
        "contexts": context_section(),
        "derivations": kdf_section(),
        "materialIds": material_section(),
        "blobs": blob_section(),
        "labels": label_section(),
        "names": name_section(),
        "accounts": account_section(),
        "records": records(),
        "refusedRecords": refused_records(),
        "carried": carried_section(),
    }
    return json.dumps(sections, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="ascii")

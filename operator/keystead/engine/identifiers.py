"""Names and numbers that identify things: key ids, ARNs, account ids, names of record Secrets.

Called by everything above. Rules: RECORDS (Identity; Where the facts are), docs/reference/format.md.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NewType
from urllib.parse import quote, unquote_to_bytes

KeyId = NewType("KeyId", str)
KeyArn = NewType("KeyArn", str)
AliasName = NewType("AliasName", str)
GrantId = NewType("GrantId", str)
AccountId = NewType("AccountId", str)

RECORDS_NAMESPACE = "keystead-records"
PARTITION = "aws"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_MRK = re.compile(r"mrk-[0-9a-f]{32}\Z")
SESSION_ARN = re.compile(r"arn:aws:sts::(\d{12}):assumed-role/([\w+=,.@%-]+)/([\w+=,.@-]{2,64})\Z", re.ASCII)
_USER_ARN = re.compile(r"arn:aws:iam::(\d{12}):user/(.+)\Z", re.ASCII)
_ENCODED = re.compile(r"(?:[\w+=,.@-]|%[0-9A-Fa-f]{2}){1,1024}\Z", re.ASCII)
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
SERVICE_ACCOUNT = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z", re.ASCII)
"""The name of a ServiceAccount, as the API server takes it (RFC 1123 subdomain)."""
_ACCOUNT_SPAN = 9 * 10**11
_ACCOUNT_BASE = 10**11


class KeyIdForm(StrEnum):
    """The two text forms of the same 16 bytes. Uniqueness is on the bytes."""

    UUID = "uuid"
    MRK = "mrk"


class RecordKind(StrEnum):
    """The `kind` member of a record, its label and the middle of its Secret type."""

    KEY = "key"
    ALIAS = "alias"
    GRANT = "grant"
    ACCOUNT = "account"
    DATAKEY = "datakey"
    INSTALL = "install"


# The word that enters the digest of a record's name (RECORDS, Where the facts are).
_DIGEST_KIND = {
    RecordKind.KEY: "KmsKey",
    RecordKind.ALIAS: "KmsAlias",
    RecordKind.GRANT: "KmsGrant",
    RecordKind.ACCOUNT: "Account",
    RecordKind.DATAKEY: "KmsDataKey",
}


def key_id_form(text: str) -> KeyIdForm | None:
    """The form of a well-formed key id, None for anything else (upper case included)."""
    if _UUID.match(text):
        return KeyIdForm.UUID
    if _MRK.match(text):
        return KeyIdForm.MRK
    return None


@lru_cache(maxsize=4096)
def key_id_bytes(key_id: str) -> bytes:
    """The 16 bytes that a key id stands for. ValueError for any other text."""
    form = key_id_form(key_id)
    if form is None:
        raise ValueError("not a key id")
    digits = key_id.replace("-", "") if form is KeyIdForm.UUID else key_id.removeprefix("mrk-")
    return bytes.fromhex(digits)


def new_key_id(random16: bytes) -> KeyId:
    """A version 4 UUID made of 16 random bytes."""
    return KeyId(str(uuid.UUID(bytes=random16, version=4)))


@lru_cache(maxsize=4096)
def key_arn(region: str, account: str, key_id: str) -> KeyArn:
    """ARN of a key."""
    return KeyArn(f"arn:{PARTITION}:kms:{region}:{account}:key/{key_id}")


def alias_arn(region: str, account: str, alias_name: str) -> str:
    """ARN of an alias; `alias_name` begins with `alias/`."""
    return f"arn:{PARTITION}:kms:{region}:{account}:{alias_name}"


def data_key_arn(region: str, account: str, name: str) -> str:
    """ARN of a KmsDataKey: the source (aws:SourceArn) of what its controller asks. Region of its key, account of its own namespace."""
    return f"arn:{PARTITION}:kms:{region}:{account}:datakey/{name}"


def root_arn(account: str) -> str:
    """The principal of a whole account, which is a namespace."""
    return f"arn:{PARTITION}:iam::{account}:root"


def role_arn(account: str, service_account: str) -> str:
    """The principal of a ServiceAccount."""
    return f"arn:{PARTITION}:iam::{account}:role/{service_account}"


def user_arn(account: str, name: str) -> str:
    """The principal of a person."""
    return f"arn:{PARTITION}:iam::{account}:user/{encoded_name(name)}"


def encoded_name(name: str) -> str:
    """The name of a person as an ARN has it: what an ARN cannot hold is percent-encoded."""
    # quote() leaves the tilde, which no form of principals has (RECORDS, Identity).
    return quote(name, safe="+=,.@-_").replace("~", "%7E")


def decoded_name(encoded: str) -> str | None:
    """The name that an ARN has encoded, however it is spelled; None for a text that `encoded_name` would have to encode."""
    if not _ENCODED.match(encoded):
        return None
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        return None


def session_arn(account: str, service_account: str, session: str) -> str:
    """One session of a ServiceAccount."""
    return f"arn:{PARTITION}:sts::{account}:assumed-role/{service_account}/{session}"


def account_in(arn: str) -> str:
    """The account id in any ARN; "" in the name of a service."""
    return arn.split(":", 5)[4] if arn.startswith("arn:") else ""


def canonical_principal(arn: str) -> str:
    """The form that grants store and compare: a session ARN becomes its role's, everything else stays."""
    match = SESSION_ARN.match(arn)
    return role_arn(match[1], match[2]) if match else arn


def one_spelling(arn: str) -> str:
    """The canonical form, and of a person the one spelling of her name; any other text stays."""
    match = _USER_ARN.match(arn)
    plain = decoded_name(match[2]) if match else None
    return canonical_principal(arn) if match is None or plain is None else user_arn(match[1], plain)


@dataclass(frozen=True, slots=True)
class KmsArn:
    """A parsed `arn:aws:kms:` ARN. `resource` is `key/<id>` or `alias/<name>`."""

    region: str
    account: str
    resource: str


def parse_kms_arn(text: str) -> KmsArn | None:
    """The parts of a KMS ARN, None where it is not one."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[:3] != ["arn", PARTITION, "kms"]:
        return None
    return KmsArn(parts[3], parts[4], parts[5])


def account_id(install_id: bytes, namespace: str, n: int) -> AccountId:
    """The n-th candidate for a namespace's account id, 12 digits (RECORDS, Identity). The account record claims it."""
    if len(install_id) != 16:
        raise ValueError("an install id has 16 bytes")
    text = b"\0".join((b"keystead/v1/account", install_id, namespace.encode(), str(n).encode()))
    number = int.from_bytes(hashlib.sha256(text).digest(), "big") % _ACCOUNT_SPAN + _ACCOUNT_BASE
    return AccountId(str(number))


def record_name(kind: RecordKind, *parts: str) -> str:
    """Name of the Secret of a record: kind, then 40 hex digits of SHA-256 over kind and parts, one 0 byte between them.

    Parts: namespace and name (key, grant, datakey); account, region, alias name (alias); the id (account); none (install).
    """
    if kind is RecordKind.INSTALL:
        return "install"
    text = "\0".join((_DIGEST_KIND[kind], *parts)).encode()
    return f"{kind.value}-{hashlib.sha256(text).hexdigest()[:40]}"


def orphan_name(key_id: str) -> str:
    """Name of the Secret of a key record that was moved aside (RECORDS, Rights)."""
    return f"orphan-{key_id_bytes(key_id).hex()}"


def archive_name(datakey_record: str, k: int) -> str:
    """Name of the k-th Secret that holds the oldest versions of a data key; k counts from 1."""
    if k < 1:
        raise ValueError("archives count from 1")
    return f"{datakey_record}-{k}"


def archive_of(name: str) -> str:
    """Name of the data key's record that an archive is of."""
    return name.rpartition("-")[0]

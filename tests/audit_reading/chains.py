"""A tiny writer of audit chains, for the tests of the reading side only: from docs/reference/audit-format.md, with nothing of ours.

    chain = a_chain("a", calls=5, sign=KEY)         # lines in memory
    chain.write(folder, per_file=3)                 # files, closed ones compressed on request
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
PUBLIC = KEY.public_key()
BEGIN = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
ACCOUNT, OTHER = "111122223333", "444455556666"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
Json = dict[str, Any]


def pem(key: ec.EllipticCurvePublicKey = PUBLIC) -> bytes:
    """SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def at(seconds: float) -> str:
    """A record's time."""
    return (BEGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def arn_of(key_id: str, account: str = ACCOUNT) -> str:
    """A key's ARN."""
    return f"arn:aws:kms:cluster-1:{account}:key/{key_id}"


def a_call(number: int = 0, **changes: Any) -> Json:
    """A record of a call. changes: action, key, account, caller_account, principal, namespace, code, reason, context, time, more."""
    want = {
        "action": "Encrypt", "key": KEY_ID, "account": ACCOUNT, "caller_account": ACCOUNT, "principal": "app", "namespace": "team-a",
        "code": "", "reason": "RBAC allows", "context": {"n": str(number)}, "time": at(number), "recipient": "", "more": {},
    } | changes  # fmt: skip
    role = f"arn:aws:iam::{want['caller_account']}:role/{want['principal']}"
    return {
        "keysteadType": "call",
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": f"arn:aws:sts::{want['caller_account']}:assumed-role/{want['principal']}/s",
            "accountId": want["caller_account"],
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": role}},
        },
        "eventTime": want["time"],
        "eventName": want["action"],
        **({"errorCode": want["code"], "errorMessage": "no"} if want["code"] else {}),
        "requestParameters": {"keyId": f"alias/{want['key'][:4]}", "encryptionContext": want["context"]},
        "responseElements": None,
        "additionalEventData": {"namespace": want["namespace"], "decision": {"by": "rbac", "reason": want["reason"]}},
        "requestID": f"request-{number}",
        "eventID": f"event-{number}",
        "resources": [{"ARN": arn_of(want["key"], want["account"]), "accountId": want["account"], "type": "AWS::KMS::Key"}],
        "recipientAccountId": want["recipient"] or want["caller_account"],
        **want["more"],
    }


@dataclass
class AChain:
    """The life of one process. sign: the key of its checkpoints, None: they carry no signature."""

    id: str
    sign: ec.EllipticCurvePrivateKey | None = KEY
    lines: list[bytes] = field(default_factory=list)

    @property
    def last_hash(self) -> str:
        """Of its last line."""
        return hashlib.sha256(self.lines[-1]).hexdigest() if self.lines else "0" * 64

    def add(self, record: Json) -> AChain:
        """One more record, linked."""
        link = {"id": self.id, "seq": len(self.lines), "prev": self.last_hash}
        self.lines.append(json.dumps({**record, "chain": link}, separators=(",", ":")).encode())
        return self

    def start(self, *previous: AChain, ended: bool = True, time: float = 0, replica: str = "") -> AChain:
        """The first record. previous: the chains that it found."""
        told = [{"id": each.id, "lastSeq": len(each.lines) - 1, "lastHash": each.last_hash, "ended": ended} for each in previous]
        return self.add({"keysteadType": "start", "time": at(time), "version": "1", "replica": replica or f"r-{self.id}", "previous": told})

    def calls(self, count: int, first: int = 0) -> AChain:
        """Records of calls."""
        for number in range(first, first + count):
            self.add(a_call(number))
        return self

    def checkpoint(self, time: float = 0, kind: str = "checkpoint") -> AChain:
        """A signature over all before it."""
        message = b"keystead/v1/audit-checkpoint\0" + self.id.encode() + b"\0"
        message += len(self.lines).to_bytes(8, "big") + bytes.fromhex(self.last_hash)
        made = None if self.sign is None else base64.b64encode(self.sign.sign(message, ec.ECDSA(SHA256()))).decode()
        return self.add(
            {"keysteadType": kind, "time": at(time), "keyArn": arn_of("k"), "algorithm": "ECDSA_SHA_256", "signature": made}
        )

    def removed(self, chain: str, number: int, lines: list[bytes], first: int) -> AChain:
        """Retention took a file with these lines."""
        last = hashlib.sha256(lines[-1]).hexdigest()
        told = {"firstSeq": first, "lastSeq": first + len(lines) - 1, "lastHash": last, "reason": "retention"}
        return self.add({"keysteadType": "removed", "time": at(0), "name": f"audit-{chain}-{number:06d}.jsonl.gz", **told})

    def end(self, time: float = 0) -> AChain:
        """The last record."""
        return self.add({"keysteadType": "end", "time": at(time)})

    def write(self, folder: Path, per_file: int = 10_000, packed: bool = False) -> list[Path]:
        """Its files. packed: the closed ones are compressed."""
        return write_lines(folder, self.id, self.lines, per_file, packed)


def write_lines(folder: Path, chain: str, lines: list[bytes], per_file: int = 10_000, packed: bool = False) -> list[Path]:
    """Lines as files of a chain, whatever they say."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, first in enumerate(range(0, len(lines), per_file)):
        text = b"".join(line + b"\n" for line in lines[first : first + per_file])
        path = folder / f"audit-{chain}-{number:06d}.jsonl"
        if packed and first + per_file < len(lines):
            path = path.with_name(path.name + ".gz")
            text = gzip.compress(text, 1)
        path.write_bytes(text)
        made.append(path)
    return made


def a_chain(name: str = "a", calls: int = 6, **changes: Any) -> AChain:
    """start, calls, checkpoint, calls, checkpoint, end."""
    chain = AChain(name, **changes).start()
    half = calls // 2
    return chain.calls(half).checkpoint().calls(calls - half, half).checkpoint().end()

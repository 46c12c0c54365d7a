"""What policy, grants, RBAC and audit cost a call, against the same server without them. Called by measure.py, or alone by `--rights`.

    bare      no policy is asked, and no audit is kept (variants.py)
    policy    a key with a policy of 10 statements and 100 grants, none of which decides: RBAC does, by a fact that is remembered
    buffered  the same with an audit trail whose records nobody waits for
    sync      the same with one whose records are on the disk before Decrypt and GenerateDataKey are answered
    crowded   as buffered, with a key of 5,000 grants, one of which allows: beside a key of buffered that has that one only

All run at the same time, rounds interleaved. The trails lie where temporary files do, not in memory; between the rounds the same disk is
asked for bare appends of 4 KiB, each with its fdatasync, by nobody else's leave: what one batch of the trail costs at least.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.rows import Row
from tests.bench.server.load import Sizes, Table, take
from tests.bench.server.servers import ACCOUNT, REQUESTS, ROLE, Server, client, context, encrypt_bodies, start_dev, text

NAMES = ("bare", "policy", "buffered", "sync")
CROWDED = "crowded"
OPERATIONS = ("Encrypt", "Decrypt", "GenerateDataKey")
DURABLE = ("Decrypt", "GenerateDataKey")
FEW, MANY = 100, 5_000
COUNTED = {"buffered": ("Encrypt, one grant", 1), CROWDED: (f"Encrypt, {MANY:,} grants", MANY)}
ADDED, CHANGED, SHARE = 0.25, 0.2, 0.6
"""The issue: at most 25 %; less than 20 %; at least 0.6."""
_APPEND = 4096
ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"
_USES = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"]


def role(name: str) -> str:
    """Of a ServiceAccount of the account."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def _statement(sid: str, effect: str, who: str, actions: Sequence[str], conditions: Any = None) -> dict[str, Any]:
    principal = "*" if who == "*" else {"AWS": who}
    said = {"Sid": sid, "Effect": effect, "Principal": principal, "Action": list(actions), "Resource": "*"}
    return said if conditions is None else said | {"Condition": conditions}


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        _statement("OnlyFromInside", "Deny", "*", _USES, {"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]}}),
        _statement("NobodyWithoutATenant", "Deny", "*", _USES, {"Null": {"kms:EncryptionContext:tenant": "true"}}),
        _statement("NotTheContractors", "Deny", "*", ["kms:*"], {"ArnLike": {"aws:PrincipalArn": role("contractor-*")}}),
        _statement(
            "OnlyAdministratorsDelete", "Deny", "*", ["kms:ScheduleKeyDeletion", "kms:DisableKey"],
            {"ArnNotEquals": {"aws:PrincipalArn": [role("key-admin"), ROOT_ARN]}},
        ),
        _statement("Administrators", "Allow", role("key-admin"), ["kms:Describe*", "kms:Put*", "kms:Tag*", "kms:ScheduleKeyDeletion"]),
        _statement("Reports", "Allow", role("reports"), ["kms:Decrypt"], {"StringEquals": {"kms:EncryptionContext:tenant": "reports"}}),
        _statement(
            "ThroughDataKeys", "Allow", ROLE, [*_USES, "kms:DescribeKey"],
            {"StringEquals": {"kms:ViaService": "datakeys.eu-central-1.amazonaws.com"}},
        ),
        _statement(
            "NightlyJobs", "Allow", ROLE, _USES,
            {"StringLike": {"kms:EncryptionContext:tenant": "nightly-*"}, "Bool": {"aws:SecureTransport": "true"}},
        ),
        _statement("Volumes", "Allow", role("volumes"), ["kms:CreateGrant"], {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        _statement("Account", "Allow", ROOT_ARN, ["kms:*"]),
    ],
}  # fmt: skip
"""Of its 10 statements an Encrypt of the bench has to look at six."""


@dataclass
class Disk:
    """Appends of 4 KiB, each with its fdatasync, in a folder; `rates`: a second, a number a round."""

    folder: Path
    rates: list[float] = field(default_factory=list)

    def take(self, seconds: float) -> None:
        """One round."""
        block, count = os.urandom(_APPEND), 0
        file = os.open(self.folder / "appends", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            began = time.monotonic()
            while (now := time.monotonic()) < began + seconds:
                os.write(file, block)
                os.fdatasync(file)
                count += 1
            self.rates.append(count / (now - began))
        finally:
            os.close(file)


def measure_rights(python: Path, folder: Path, sizes: Sizes, say: Callable[[str], None]) -> list[Row]:
    """The rows."""
    table: Table = {}
    with ExitStack() as stack:
        disk = Disk(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-bench-"))))
        servers = {name: _start(stack, python, folder, disk.folder, name, say) for name in (*NAMES, CROWDED)}
        for number in range(sizes.rounds):
            say(f"policy and audit, round {number + 1} of {sizes.rounds}")
            for operation in OPERATIONS:
                first = number % len(NAMES)  # who comes first in a round finds the machine as the disk left it
                for name in (*NAMES[first:], *NAMES[:first]):
                    take(table, servers[name], operation, sizes, folder)
            for name, (operation, _) in COUNTED.items():
                take(table, servers[name], operation, sizes, folder)
            disk.take(sizes.seconds / 2)
    return rows(table, disk, sizes.connections)


def _start(stack: ExitStack, python: Path, folder: Path, disk: Path, name: str, say: Callable[[str], None]) -> Server:
    program = ("tests.bench.server.variants", "bare" if name == "bare" else "rbac")
    options, env = ["--memory"], {}
    if name in ("buffered", "sync", CROWDED):
        options += ["--audit", str(disk / name)]
        env = {"KEYSTEAD_AUDIT_MODE": "sync" if name == "sync" else "buffered"}
    say(f"keys and grants: {name}")
    server, signer = start_dev(stack, python, folder, name, options, program=program, env=env)
    kms = client(server, "kms")
    key = _key(kms)
    _grants(kms, key, FEW, deciding=False)
    blobs = [
        kms.encrypt(KeyId=key, Plaintext=os.urandom(32), EncryptionContext={"tenant": str(number)})["CiphertextBlob"]
        for number in range(16)
    ]
    server.load["Encrypt"] = lambda: signer.batch("Encrypt", encrypt_bodies(key))
    server.load["Decrypt"] = lambda: signer.batch(
        "Decrypt", ({"CiphertextBlob": text(blobs[n % 16]), **context(n % 16)} for n in range(REQUESTS))
    )
    server.load["GenerateDataKey"] = lambda: signer.batch(
        "GenerateDataKey", ({"KeyId": key, "KeySpec": "AES_256", **context(n)} for n in range(REQUESTS))
    )
    if name in COUNTED:
        operation, count = COUNTED[name]
        granted = _key(kms)
        _grants(kms, granted, count, deciding=True)
        server.load[operation] = lambda: signer.batch("Encrypt", encrypt_bodies(granted))
    return server


def _key(kms: Any) -> str:
    key: str = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.put_key_policy(KeyId=key, Policy=json.dumps(POLICY))
    return key


def _grants(kms: Any, key: str, count: int, *, deciding: bool) -> None:
    """Half of them to the caller, each under a context of its own that no call has; the others to so many others. deciding: the
    first is the caller's, and allows.
    """

    def give(number: int) -> None:
        if deciding and number == 0:
            kms.create_grant(KeyId=key, GranteePrincipal=ROLE, Operations=["Encrypt", "Decrypt"])
            return
        held = {"EncryptionContextSubset": {"volume": f"v-{number}"}}
        to, constraints = (ROLE, {"Constraints": held}) if number % 2 else (role(f"role-{number}"), {})
        kms.create_grant(KeyId=key, GranteePrincipal=to, Operations=["Encrypt", "Decrypt", "GenerateDataKey"], **constraints)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(give, range(count)))


def rows(table: Table, disk: Disk, connections: int) -> list[Row]:
    """The gates, and what they are made of. A ratio is taken round by round, then the median: what else the machine does, both suffer."""

    def ratio(one: tuple[str, str], other: tuple[str, str]) -> float:
        return statistics.median(a / b for a, b in zip(table[one].cpu, table[other].cpu, strict=True))

    def cpu(server: str, operation: str) -> float:
        return table[server, operation].middle("cpu")

    found = []
    for operation in OPERATIONS:
        bare, asked, all_of_it = (cpu(name, operation) for name in NAMES[:3])
        added = ratio(("buffered", operation), ("bare", operation)) - 1
        policy = ratio(("policy", operation), ("bare", operation)) - 1
        figure = f"+ {added:.0%}, + {policy:.0%} without audit ({bare:.1f} us, {asked:.1f} with policy, {all_of_it:.1f} with audit too)"
        name = f"what a policy, {FEW} grants, RBAC and buffered audit add to {operation}"
        found.append(Row(name, figure, f"<= {ADDED:.0%}", added <= ADDED))
    few, many = ((name, operation) for name, (operation, _) in COUNTED.items())
    change = ratio(many, few) - 1
    figure = f"{change:+.0%} ({cpu(*few):.1f} us, {cpu(*many):.1f} us)"
    found.append(Row(f"what {MANY:,} grants on a key change of an Encrypt, beside one", figure, f"< {CHANGED:.0%}", change < CHANGED))
    appends = statistics.median(disk.rates)
    found.append(Row("appends of 4 KiB with fdatasync, one after another (yardstick)", f"{appends:,.0f}/s"))
    for operation in DURABLE:
        buffered, sync = (table[name, operation] for name in ("buffered", "sync"))
        rounds = zip(sync.rate, buffered.rate, disk.rates, strict=True)
        share = statistics.median(a / min(b, connections * c) for a, b, c in rounds)
        figure = f"{share:.2f} ({sync.middle('rate'):,.0f}/s, buffered {buffered.middle('rate'):,.0f}/s)"
        bound = f">= {SHARE} of min(buffered, {connections} x fdatasync)"
        found.append(Row(f"sync audit, {operation}, {connections} connections", figure, bound, share >= SHARE))
    return found

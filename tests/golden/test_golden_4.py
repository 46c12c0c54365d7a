"""What release 4 wrote opens and decides for ever: keys under policies of their own, grants with all members, Keystead's own keys.

In the domain of release 1, like release 2. `decisions.json`: a policy or grant of then must never let anybody do more, or less.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

import pytest
from msgspec import UNSET
from tests.golden.files import Golden, raw
from tests.golden.make_4 import MESSAGE, decided
from tests.golden.port import RELEASE_1, RELEASE_4, restored

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.identifiers import RECORDS_NAMESPACE, key_arn
from keystead.engine.managed import is_managed, is_own, serves_data_keys
from keystead.engine.publickey import signing_input, verify
from keystead.engine.record import DataKeyRecord, GrantRecord, KeyRecord, encode
from keystead.policy.compiled import compile_policy, policy_of
from keystead.resources import PARSERS


def told(name: str) -> Any:
    return json.loads((RELEASE_4 / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(RELEASE_4, restored(RELEASE_1))


def keys(golden: Golden) -> dict[str, KeyRecord]:
    return {record.name: record for record in golden.records if isinstance(record, KeyRecord)}


def test_the_files_are_those_of_the_release() -> None:
    lines = (RELEASE_4 / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) | {"SHA256SUMS"} == {path.name for path in RELEASE_4.iterdir()}
    for name, wanted in sums.items():
        assert hashlib.sha256((RELEASE_4 / name).read_bytes()).hexdigest() == wanted, name


def test_every_record_opens_and_would_be_written_alike(golden: Golden) -> None:
    assert [encode(record).decode() for record in golden.records] == [row["record"] for row in golden.rows("records")]


def test_the_data_keys_under_a_managed_key_and_a_key_abroad_open(golden: Golden) -> None:
    assert golden.blobs() == [True, True]
    issued = [record for record in golden.records if isinstance(record, DataKeyRecord)]
    own = {key.key_id: key for key in keys(golden).values()}
    assert sum(is_managed(own[record.key_id]) for record in issued) == 1
    assert sum(own[record.key_id].namespace != record.namespace for record in issued) == 1


def test_every_policy_is_read_and_the_managed_one_is_trusted(golden: Golden) -> None:
    found = keys(golden)
    written = {name for name, key in found.items() if key.policy is not UNSET}
    assert written == set(found) - {"plain", "theirs"}
    for key in found.values():
        assert policy_of(key) is not None, key.name
        if key.policy is not UNSET:
            compile_policy(key.policy, key_arn(key.region, key.account, key.key_id))
    assert serves_data_keys(found["aws-keystead"])
    assert is_own(found["audit-signing"].namespace) and found["audit-signing"].namespace == RECORDS_NAMESPACE


def test_every_grant_member_is_there(golden: Golden) -> None:
    grants = [record for record in golden.records if isinstance(record, GrantRecord)]
    members = {name for grant in grants for name in grant.__struct_fields__ if getattr(grant, name) is not UNSET}
    assert {
        "grantee_principal",
        "grantee_service_principal",
        "retiring_principal",
        "retiring_service_principal",
    } <= members
    assert {"constraints", "expires_at", "grant_name"} <= members


def test_the_same_is_decided_as_then(golden: Golden) -> None:
    accounts, rows = told("accounts"), told("decisions")
    grants = [record for record in golden.records if isinstance(record, GrantRecord)]
    found = [keys(golden)[name] for name in sorted(keys(golden))]
    now = decided(found, grants, (accounts["own"], accounts["other"]), datetime.fromisoformat(accounts["now"]))
    assert len(rows) > 2000
    assert {row[5] for row in rows if row[4] != "rbac"} == {"nothing", "statement", "grant"}
    assert [row for row, then in zip(now, rows, strict=True) if row != then] == []


def test_a_signature_of_the_trails_key_verifies_and_is_made_again(golden: Golden) -> None:
    (row,) = told("signatures")
    algorithm, key = SigningAlgorithm(row["algorithm"]), keys(golden)["audit-signing"]
    assert key.key_id == row["keyId"] and isinstance(key.current_version.spki, bytes)
    assert verify(key.current_version.spki, algorithm, signing_input(algorithm, MESSAGE), raw(row["signature"]))
    assert golden.signatures() == golden.new_signatures() == [True]


def test_every_object_with_its_status_is_read() -> None:
    bodies = told("objects")
    for body in bodies:
        PARSERS[body["kind"]](body)
    shown = {body["metadata"]["name"]: body["status"].get("policy") for body in bodies if body["kind"] == "KmsKey"}
    assert {name for name, policy in shown.items() if policy} == {"kept", "strict"}

"""Keystead's own keys do not exist for anybody who calls: every operation answers, and waits, as for a key that nobody made.

On the real read model: what hides them is the model (store/model.py), not the operations.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.builders import ACCOUNT, NAMESPACES, UID, a_control_world, a_grant, a_key, an_alias, an_app, root_of
from tests.hsm.fake import FakeHsm
from tests.operations.control.steps import Run
from tests.operations.requests import KEYS, a_blob, a_request

from keystead.engine.identifiers import RECORDS_NAMESPACE, RecordKind, alias_arn, key_arn, record_name
from keystead.engine.record import AccountRecord, KeyRecord, seal_record
from keystead.errors import AccessDeniedError, KmsError
from keystead.operations.control.registry import CONTROL
from keystead.operations.encryption import DecryptRequest
from keystead.policy import Caller, service_account_caller
from keystead.policy.caller import user_caller
from keystead.reconciler.ports import StoredRecord
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage
from keystead.store.model import RecordModel
from keystead.store.view import View

HSM = FakeHsm()
INSTALL = "999988887777"
ALIAS = "alias/audit"
PLACE = {"namespace": RECORDS_NAMESPACE, "account": INSTALL, "namespace_uid": UID}
ROOT = root_of(a_key(HSM, **PLACE))
WHO = {
    "root": ROOT,
    "person": user_caller(INSTALL, RECORDS_NAMESPACE, "jane", "uid", ("system:masters",)),
    "service account": service_account_caller(INSTALL, RECORDS_NAMESPACE, "keystead-server", uid="u"),
    "tenant": an_app(),
}
MEMBERS: dict[str, dict[str, Any]] = {
    "UpdateKeyDescription": {"description": "x"},
    "TagResource": {"tags": ()},
    "UntagResource": {"tag_keys": ("a",)},
    "PutKeyPolicy": {"policy": "{}"},
    "CreateGrant": {"operations": (GrantOperation.SIGN,), "grantee_principal": f"arn:aws:iam::{ACCOUNT}:role/app"},
    "RevokeGrant": {"grant_id": "0" * 64},
    "RetireGrant": {"grant_id": "0" * 64},
    "CreateAlias": {"alias_name": "alias/mine"},
    "UpdateAlias": {"alias_name": ALIAS},
    "DeleteAlias": {"alias_name": ALIAS},
    "ListRetirableGrants": {"retiring_principal": f"arn:aws:iam::{ACCOUNT}:role/app"},
}


def fields(request: type) -> set[str]:
    return {field.name for field in dataclasses.fields(request)}


NAMING = sorted(name for name, row in CONTROL.items() if fields(row.request) & {"key_id", "target_key_id", "alias_name"})


def an_own_key(name: str = "audit-signing", **changes: Any) -> KeyRecord:
    spec, usage = changes.pop("spec", KeySpec.ECC_NIST_P256), changes.pop("usage", KeyUsage.SIGN_VERIFY)
    return a_key(HSM, spec, usage=usage, name=name, **{**PLACE, **changes})


def model(key: KeyRecord, *, there: bool) -> RecordModel:
    """The read model of an install, with this key, an alias and a grant of it, or without."""
    made = RecordModel()
    account = AccountRecord(
        domain_generation=1,
        domain_fingerprint=HSM.fingerprint,
        namespace_uid=UID,
        transition=1,
        seq=1,
        account_id=INSTALL,
        n=0,
        namespace=RECORDS_NAMESPACE,
        created="2026-11-01T00:00:00Z",
    )
    records: list[tuple[str, Any]] = [(record_name(RecordKind.ACCOUNT, INSTALL), account)]
    if there:
        grant = a_grant(key, GrantOperation.SIGN, grant_id="0" * 64, retiring_principal=f"arn:aws:iam::{ACCOUNT}:role/app")
        records += [
            (record_name(RecordKind.KEY, key.namespace, key.name), key),
            (record_name(RecordKind.ALIAS, INSTALL, key.region, ALIAS), an_alias(key, ALIAS)),
            (record_name(RecordKind.GRANT, key.namespace, grant.name), grant),
        ]
    for name, record in records:
        made.take(HSM, StoredRecord(seal_record(HSM, name, record), "1"))
    assert len(made) == len(records)
    return made


def outcome(key: KeyRecord, request: Any, caller: Caller, *, there: bool) -> tuple[Any, ...]:
    """What a caller is told, and after how many waits."""
    uids = {**NAMESPACES, RECORDS_NAMESPACE: UID}
    run = Run(HSM, a_control_world(HSM, keys=View(model(key, there=there), uids)), homes=uids)
    try:
        answer: Any = run(request, caller)
    except KmsError as error:
        answer = (type(error), error.message, getattr(error, "__notes__", None))
    return answer, len(run.awaited), run.rbac.asked


def names_of(key: KeyRecord) -> list[str]:
    """Every way to name it."""
    return [
        key.key_id,
        key_arn(key.region, key.account, key.key_id),
        ALIAS,
        alias_arn(key.region, key.account, ALIAS),
    ]


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("operation", sorted(KEYS))
def test_no_call_that_uses_a_key_finds_it(operation: str, who: str) -> None:
    spec, usage = KEYS[operation]
    key = an_own_key(spec=spec, usage=usage)
    for name in names_of(key):
        request = a_request(HSM, operation, key, key_id=name)
        there = outcome(key, request, WHO[who], there=True)
        assert there == outcome(key, request, WHO[who], there=False)
        assert issubclass(there[0][0], KmsError)


@pytest.mark.parametrize("who", WHO)
def test_a_blob_of_such_a_key_is_one_of_a_key_that_nobody_made(who: str) -> None:
    key = an_own_key(spec=KeySpec.SYMMETRIC_DEFAULT, usage=KeyUsage.ENCRYPT_DECRYPT)
    request = DecryptRequest(ciphertext_blob=a_blob(HSM, key, context={}))
    there = outcome(key, request, WHO[who], there=True)
    assert there == outcome(key, request, WHO[who], there=False)
    assert there[0][0] is AccessDeniedError


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("operation", NAMING)
def test_no_call_that_reads_or_changes_a_key_finds_it(operation: str, who: str) -> None:
    key = an_own_key()
    make = CONTROL[operation].request
    member = next((name for name in ("key_id", "target_key_id") if name in fields(make)), None)
    for name in names_of(key) if member else [""]:
        request = make(**{**MEMBERS.get(operation, {}), **({member: name} if member else {})})
        assert outcome(key, request, WHO[who], there=True) == outcome(key, request, WHO[who], there=False)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("operation", ["ListKeys", "ListAliases", "ListRetirableGrants"])
def test_no_list_has_it(operation: str, who: str) -> None:
    key = an_own_key()
    request = CONTROL[operation].request(**MEMBERS.get(operation, {}))
    there = outcome(key, request, WHO[who], there=True)
    assert there == outcome(key, request, WHO[who], there=False)


def test_without_its_namespaces_name_the_same_key_would_be_found() -> None:
    """What the tests above compare is not empty: it is the namespace that hides it."""
    place = {"namespace": "team-a", "account": ACCOUNT}
    key = a_key(HSM, KeySpec.ECC_NIST_P256, usage=KeyUsage.SIGN_VERIFY, **place)
    request = CONTROL["GetKeyPolicy"].request(key_id=key.key_id)
    assert outcome(key, request, root_of(key), there=True) != outcome(key, request, root_of(key), there=False)


def test_a_change_of_the_record_and_its_end_show_nothing_either() -> None:
    key = an_own_key()
    made, name = model(key, there=True), record_name(RecordKind.KEY, key.namespace, key.name)
    later = a_key(HSM, KeySpec.ECC_NIST_P256, usage=KeyUsage.SIGN_VERIFY, name=key.name, seq=2, prev="ab" * 32, description="x", **PLACE)
    made.take(HSM, StoredRecord(seal_record(HSM, name, later), "2"))
    assert made.own_key(key.name) == later
    assert made.keys_of(INSTALL, key.region) == ()
    made.gone(name)
    assert made.own_key(key.name) is None

"""DryRun wherever AWS has it: every check, DryRunOperationException, nothing changed. A check that fails answers as the real call does."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name
from tests.protocol.harness import House, refused
from tests.protocol.test_key_states import Case
from tests.server.cases import SERVED, SHAPES, input_of

pytestmark = pytest.mark.token
DRY = sorted(name for name in SERVED if "DryRun" in SHAPES[input_of(name)]["members"])
every = pytest.mark.parametrize("operation", DRY)


def seen(house: House, key: str) -> Any:
    """All that can be read of a key and of its account."""
    kms = house.client()
    told = [kms.describe_key(KeyId=key), kms.list_grants(KeyId=key), kms.list_resource_tags(KeyId=key), kms.list_aliases(KeyId=key)]
    return [{name: value for name, value in one.items() if name != "ResponseMetadata"} for one in told]


def test_these_are_the_operations_with_a_dry_run():
    named = """CreateGrant Decrypt DeriveSharedSecret Encrypt GenerateDataKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext
    GenerateDataKeyWithoutPlaintext GenerateMac ReEncrypt RetireGrant RevokeGrant Sign Verify VerifyMac"""
    assert " ".join(DRY) == " ".join(named.split())


@every
def test_a_dry_run_changes_nothing_and_the_call_works_after_it(house, kms, operation):
    case, call = Case(house, operation), getattr(kms, xform_name(operation))
    before = seen(house, case.arn)
    told = refused(call, **case.members, DryRun=True)
    assert (told.status, told.code) == (400, "DryRunOperationException")
    assert told.message == "The request would have succeeded, but the DryRun option is set."
    assert seen(house, case.arn) == before
    call(**case.members, DryRun=False)


@every
def test_a_dry_run_of_what_is_denied_is_denied(house, operation):
    case = Case(house, operation)
    nobody = house.client(house.workload("nobody"))
    assert refused(getattr(nobody, xform_name(operation)), **case.members, DryRun=True).code == "AccessDeniedException"


@every
def test_a_dry_run_says_the_key_state(house, kms, operation):
    case = Case(house, operation)
    kms.disable_key(KeyId=case.arn)
    told = refused(getattr(kms, xform_name(operation)), **case.members, DryRun=True)
    ends = operation in ("RetireGrant", "RevokeGrant")
    assert told.code == ("DryRunOperationException" if ends else "DisabledException")


SENT = {"Decrypt": "CiphertextBlob", "ReEncrypt": "CiphertextBlob", "Verify": "Signature", "VerifyMac": "Mac"}


@pytest.mark.parametrize(("operation", "member"), SENT.items())
def test_a_dry_run_checks_what_was_sent(house, kms, operation, member):
    case = Case(house, operation)
    good = case.members[member]
    members = case.members | {member: good[:-1] + bytes([good[-1] ^ 1]), "DryRun": True}
    expected = {"Verify": "KMSInvalidSignatureException", "VerifyMac": "KMSInvalidMacException"}
    assert refused(getattr(kms, xform_name(operation)), **members).code == expected.get(operation, "InvalidCiphertextException")

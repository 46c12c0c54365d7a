"""Which operations are served; every other one of botocore's model answers UnsupportedOperationException with its reason."""

from __future__ import annotations

import pytest
from tests.protocol.harness import error_of
from tests.server.cases import RAW, SERVED, base

pytestmark = pytest.mark.token
# Issue 5, The protocol; DeriveSharedSecret was there already.
_NAMES = """CreateKey DescribeKey ListKeys EnableKey DisableKey UpdateKeyDescription ScheduleKeyDeletion CancelKeyDeletion CreateAlias
    UpdateAlias DeleteAlias ListAliases TagResource UntagResource ListResourceTags GetKeyPolicy PutKeyPolicy ListKeyPolicies
    EnableKeyRotation DisableKeyRotation GetKeyRotationStatus RotateKeyOnDemand ListKeyRotations CreateGrant ListGrants
    ListRetirableGrants RetireGrant RevokeGrant Encrypt Decrypt ReEncrypt GenerateDataKey GenerateDataKeyWithoutPlaintext
    GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GenerateRandom GenerateMac VerifyMac Sign Verify GetPublicKey
    GetKeyLastUsage DeriveSharedSecret"""
EXPECTED = set(_NAMES.split())
REASONS = {
    "ConnectCustomKeyStore": "Custom key stores",
    "CreateCustomKeyStore": "Custom key stores",
    "DeleteCustomKeyStore": "Custom key stores",
    "DescribeCustomKeyStores": "Custom key stores",
    "DisconnectCustomKeyStore": "Custom key stores",
    "UpdateCustomKeyStore": "Custom key stores",
    "DeleteImportedKeyMaterial": "Importing key material",
    "GetParametersForImport": "Importing key material",
    "ImportKeyMaterial": "Importing key material",
    "ReplicateKey": "Multi-Region keys",
    "UpdatePrimaryRegion": "Multi-Region keys",
    "Encapsulate": "ML-KEM keys",
    "Decapsulate": "ML-KEM keys",
}


def test_every_operation_of_the_model_is_served_or_has_a_reason():
    """A newer model fails here, and says what is new."""
    assert SERVED.keys() == EXPECTED
    assert RAW["operations"].keys() - EXPECTED - REASONS.keys() == set()
    assert EXPECTED | REASONS.keys() == RAW["operations"].keys()


@pytest.mark.parametrize("operation", sorted(REASONS))
def test_what_is_not_served_says_why(house, operation):
    told = error_of(house.call(operation, base(operation)))
    assert (told.status, told.code) == (400, "UnsupportedOperationException")
    assert told.message.startswith(f"{REASONS[operation]} ")
    assert "not supported" in told.message


@pytest.mark.parametrize("operation", sorted(EXPECTED))
def test_what_is_served_answers_an_empty_request_by_its_own_rules(house, operation):
    """Not 'unknown', not 'unsupported', not a fault."""
    answer = house.call(operation)
    if answer.status != 200:
        told = error_of(answer)
        assert (told.status, told.code) == (400, "ValidationException")


@pytest.mark.parametrize("target", ["TrentService.encrypt", "TrentService.Encrypt\u00e9", "Trent.Encrypt", "Encrypt"])
def test_a_target_of_no_operation_is_unknown(house, target):
    assert error_of(house.call("ListKeys", target=target)).code == "UnknownOperationException"

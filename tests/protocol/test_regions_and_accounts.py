"""Each region and each account is its own: ids, aliases, grants, blobs, lists and markers of one are nothing in another."""

from __future__ import annotations

import json

import pytest
from tests.protocol.harness import REGION, refused, role

pytestmark = pytest.mark.token
AWAY = "ap-south-1"


@pytest.fixture(scope="module")
def away(house):
    """The first account, in another region."""
    return house.client(region=AWAY)


def ids(client) -> set[str]:
    return {key["KeyArn"] for page in client.get_paginator("list_keys").paginate() for key in page["Keys"]}


def test_a_key_id_of_another_region_is_not_found(house, away):
    key_id = house.key().rpartition("/")[2]
    told = refused(away.describe_key, KeyId=key_id)
    assert (told.code, told.message) == (
        "NotFoundException",
        f"Key 'arn:aws:kms:{AWAY}:{house.first.id}:key/{key_id}' does not exist",
    )
    assert refused(away.encrypt, KeyId=key_id, Plaintext=b"x").code == "NotFoundException"
    assert refused(away.schedule_key_deletion, KeyId=key_id).code == "NotFoundException"


def test_an_arn_of_another_region_is_invalid_there(house, away):
    for call in (away.describe_key, away.disable_key, away.get_public_key):
        assert refused(call, KeyId=house.key()).message == f"Invalid arn {REGION}"
    told = refused(away.describe_key, KeyId=f"arn:aws:kms:{REGION}:{house.first.id}:alias/x")
    assert (told.code, told.message) == ("NotFoundException", f"Invalid arn {REGION}")


def test_a_key_is_made_where_it_was_asked_for_and_listed_there_only(kms, away):
    made = away.create_key()["KeyMetadata"]["Arn"]
    assert made.split(":")[3] == AWAY
    assert made in ids(away)
    assert made not in ids(kms)
    assert ids(away).isdisjoint(ids(kms))


def test_one_alias_name_in_two_regions_is_two_aliases(house, kms, away):
    there = away.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/both", TargetKeyId=house.key())
    away.create_alias(AliasName="alias/both", TargetKeyId=there)
    assert kms.describe_key(KeyId="alias/both")["KeyMetadata"]["Arn"] == house.key()
    assert away.describe_key(KeyId="alias/both")["KeyMetadata"]["Arn"] == there
    away.delete_alias(AliasName="alias/both")
    assert kms.describe_key(KeyId="alias/both")["KeyMetadata"]["Arn"] == house.key()


def test_an_alias_points_to_no_key_of_another_region(house, away):
    key_id = house.key().rpartition("/")[2]
    assert refused(away.create_alias, AliasName="alias/across", TargetKeyId=key_id).code == "NotFoundException"


def test_a_blob_of_another_region_is_not_opened(house, kms, away):
    blob = kms.encrypt(KeyId=house.key(), Plaintext=b"x")["CiphertextBlob"]
    told = refused(away.decrypt, CiphertextBlob=blob)
    assert told.code == "AccessDeniedException"
    assert told.message.startswith("The ciphertext refers to a customer master key that does not exist")


def test_grants_are_listed_in_their_region(house, kms, away):
    me = role(house.first, "regional")
    kms.create_grant(KeyId=house.key(), GranteePrincipal=me, RetiringPrincipal=me, Operations=["Decrypt"])
    assert len(kms.list_retirable_grants(RetiringPrincipal=me)["Grants"]) == 1
    assert away.list_retirable_grants(RetiringPrincipal=me)["Grants"] == []


def test_accounts_list_their_own_keys_only(house, kms, other):
    mine, theirs = house.key(), house.key(who=house.second)
    assert {mine in ids(kms), theirs in ids(other)} == {True}
    assert ids(kms).isdisjoint(ids(other))
    assert {arn.split(":")[4] for arn in ids(other)} == {house.second.id}


def test_one_alias_name_in_two_accounts_is_two_aliases(house, kms, other):
    kms.create_alias(AliasName="alias/shared-name", TargetKeyId=house.key())
    other.create_alias(AliasName="alias/shared-name", TargetKeyId=house.key(who=house.second))
    assert kms.describe_key(KeyId="alias/shared-name")["KeyMetadata"]["Arn"] == house.key()
    assert other.describe_key(KeyId="alias/shared-name")["KeyMetadata"]["Arn"] == house.key(who=house.second)
    other.delete_alias(AliasName="alias/shared-name")
    assert kms.describe_key(KeyId="alias/shared-name")["KeyMetadata"]["Arn"] == house.key()
    assert "alias/shared-name" not in {alias["AliasName"] for alias in other.list_aliases()["Aliases"]}


def test_an_alias_points_to_no_key_of_another_account(house, other):
    assert refused(other.create_alias, AliasName="alias/stolen", TargetKeyId=house.key()).code == "AccessDeniedException"
    key_id = house.key().rpartition("/")[2]
    assert refused(other.create_alias, AliasName="alias/stolen", TargetKeyId=key_id).code == "NotFoundException"


def test_a_grant_to_another_account_gives_it_what_the_grant_says_and_no_more(house, kms, other):
    allowed = ["Encrypt", "RetireGrant"]
    grant = kms.create_grant(KeyId=house.key(), GranteePrincipal=house.second.root, RetiringPrincipal=house.second.root, Operations=allowed)
    blob = other.encrypt(KeyId=house.key(), Plaintext=b"x", GrantTokens=[grant["GrantToken"]])["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    for call in (other.revoke_grant, other.retire_grant):
        assert refused(call, KeyId=house.key(), GrantId="0" * 64).code == "AccessDeniedException"
    for call, how in ((other.decrypt, {"CiphertextBlob": blob}), (other.describe_key, {"KeyId": house.key()})):
        assert refused(call, **how).code == "AccessDeniedException"
    assert refused(other.list_grants, KeyId=house.key()).code == "AccessDeniedException"
    assert refused(other.list_retirable_grants, RetiringPrincipal=house.first.root).code == "AccessDeniedException"
    listed = other.list_retirable_grants(RetiringPrincipal=house.second.root)["Grants"]
    assert [(each["GrantId"], each["IssuingAccount"]) for each in listed] == [(grant["GrantId"], house.first.root)]
    other.retire_grant(KeyId=house.key(), GrantId=grant["GrantId"])
    assert refused(other.encrypt, KeyId=house.key(), Plaintext=b"x").code == "AccessDeniedException"


def test_a_policy_that_names_another_account_lets_its_root_use_the_key_by_arn_and_alias_arn(house, kms, other):
    statement = {"Effect": "Allow", "Principal": {"AWS": [house.first.root, house.second.root]}, "Action": "kms:*", "Resource": "*"}
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/lent", TargetKeyId=key.rpartition("/")[2])
    blob = other.encrypt(KeyId=f"{key.rpartition(':')[0]}:alias/lent", Plaintext=b"x")["CiphertextBlob"]
    assert other.decrypt(CiphertextBlob=blob)["KeyId"] == key
    assert other.describe_key(KeyId=key)["KeyMetadata"]["AWSAccountId"] == house.first.id
    for call in (other.disable_key, other.get_key_policy, other.list_resource_tags, other.schedule_key_deletion):
        told = refused(call, KeyId=key)
        assert (told.code, "on this resource because the resource does not exist" in told.message) == ("AccessDeniedException", True)


def test_a_blob_of_another_account_is_not_opened(house, kms, other):
    blob = kms.encrypt(KeyId=house.key(), Plaintext=b"x")["CiphertextBlob"]
    assert refused(other.decrypt, CiphertextBlob=blob).code == "AccessDeniedException"
    assert refused(other.decrypt, CiphertextBlob=blob, KeyId=house.key()).code == "AccessDeniedException"
    own = house.key(who=house.second)
    assert refused(other.decrypt, CiphertextBlob=blob, KeyId=own).code == "IncorrectKeyException"


def test_a_marker_is_of_one_account_region_and_list(house, kms, other, away):
    house.key("ECC_NIST_P256")
    marker = kms.list_keys(Limit=1)["NextMarker"]
    assert kms.list_keys(Limit=1, Marker=marker)["Keys"]
    for call in (other.list_keys, away.list_keys, kms.list_aliases):
        assert refused(call, Marker=marker).code == "InvalidMarkerException"

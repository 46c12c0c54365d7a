"""Lists, page by page, through boto3's paginators: 25 of each at Limit 7; none twice, none missing, in a region of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.protocol.harness import House, refused, role

pytestmark = pytest.mark.token
REGION = "sa-east-1"
MANY, LIMIT = 25, 7
PAGES = [7, 7, 7, 4]


@pytest.fixture(scope="module")
def there(house: House) -> Any:
    """The first account, where nobody else works."""
    return house.client(region=REGION)


@pytest.fixture(scope="module")
def keys(there: Any) -> list[str]:
    return [there.create_key()["KeyMetadata"]["Arn"] for _ in range(MANY)]


@pytest.fixture(scope="module")
def retirer(house: House) -> str:
    return role(house.first, "retirer")


@pytest.fixture(scope="module")
def grants(house: House, there: Any, keys: list[str], retirer: str) -> list[str]:
    asked = {"KeyId": keys[0], "GranteePrincipal": role(house.first, "app"), "RetiringPrincipal": retirer, "Operations": ["Decrypt"]}
    return [there.create_grant(**asked, Name=f"g{n}")["GrantId"] for n in range(MANY)]


@pytest.fixture(scope="module")
def aliases(there: Any, keys: list[str]) -> list[str]:
    names = [f"alias/page-{n}" for n in range(MANY)]
    for name in names:
        there.create_alias(AliasName=name, TargetKeyId=keys[0])
    return names


def pages(client: Any, operation: str, **members: Any) -> Iterator[dict[str, Any]]:
    yield from client.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": LIMIT})


def check(found: list[dict[str, Any]], member: str, name: str, expected: list[str]) -> None:
    assert [len(page[member]) for page in found] == PAGES
    assert [page["Truncated"] for page in found] == [True, True, True, False]
    assert [("NextMarker" in page) for page in found] == [True, True, True, False]
    listed = [item[name] for page in found for item in page[member]]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(expected)


def test_keys(there, keys):
    check(list(pages(there, "list_keys")), "Keys", "KeyArn", keys)


def test_aliases(there, keys, aliases):
    check(list(pages(there, "list_aliases")), "Aliases", "AliasName", aliases)
    check(list(pages(there, "list_aliases", KeyId=keys[0])), "Aliases", "AliasName", aliases)
    assert there.list_aliases(KeyId=keys[1])["Aliases"] == []


def test_grants(there, keys, grants):
    check(list(pages(there, "list_grants", KeyId=keys[0])), "Grants", "GrantId", grants)


def test_retirable_grants(there, grants, retirer):
    check(list(pages(there, "list_retirable_grants", RetiringPrincipal=retirer)), "Grants", "GrantId", grants)


def test_tags(there, keys):
    tags = [{"TagKey": f"k{n}", "TagValue": str(n)} for n in range(MANY)]
    there.tag_resource(KeyId=keys[1], Tags=tags)
    check(list(pages(there, "list_resource_tags", KeyId=keys[1])), "Tags", "TagKey", [tag["TagKey"] for tag in tags])


def test_rotations(there, keys):
    for _ in range(MANY):
        there.rotate_key_on_demand(KeyId=keys[2])
    found = list(pages(there, "list_key_rotations", KeyId=keys[2]))
    assert [len(page["Rotations"]) for page in found] == PAGES
    dates = [rotation["RotationDate"] for page in found for rotation in page["Rotations"]]
    assert dates == sorted(dates) or dates == sorted(dates, reverse=True)
    assert {rotation["RotationType"] for page in found for rotation in page["Rotations"]} == {"ON_DEMAND"}


def test_policies_are_one_page(there, keys):
    assert [page["PolicyNames"] for page in pages(there, "list_key_policies", KeyId=keys[0])] == [["default"]]


def test_what_is_made_and_goes_between_two_pages_moves_no_other_item(there, keys, aliases):
    first = there.list_aliases(Limit=LIMIT)
    there.create_alias(AliasName="alias/a-before-all", TargetKeyId=keys[3])
    there.delete_alias(AliasName=first["Aliases"][-1]["AliasName"])
    second = there.list_aliases(Limit=1000, Marker=first["NextMarker"])
    listed = [alias["AliasName"] for page in (first, second) for alias in page["Aliases"]]
    assert sorted(listed) == sorted(aliases)
    there.delete_alias(AliasName="alias/a-before-all")
    there.create_alias(AliasName=first["Aliases"][-1]["AliasName"], TargetKeyId=keys[0])


def test_a_marker_is_of_one_list(there, keys, grants, aliases):
    marker = there.list_grants(KeyId=keys[0], Limit=LIMIT)["NextMarker"]
    assert refused(there.list_grants, KeyId=keys[1], Marker=marker).code == "InvalidMarkerException"
    assert refused(there.list_aliases, Marker=marker).code == "InvalidMarkerException"
    assert there.list_grants(KeyId=keys[0], Limit=LIMIT, Marker=marker)["Grants"]


@pytest.mark.parametrize("limit", [1, 24, 25, 26, 1000])
def test_a_limit_is_kept(there, keys, limit):
    told = there.list_keys(Limit=limit)
    assert (len(told["Keys"]), told["Truncated"]) == (min(limit, MANY), limit < MANY)

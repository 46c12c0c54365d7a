"""TagResource, UntagResource, ListResourceTags."""

from __future__ import annotations

import pytest

from keystead.errors import KmsError
from keystead.operations.control.state import DisableKeyRequest, EnableKeyRequest
from keystead.operations.control.tags import (
    ListResourceTagsRequest,
    Tag,
    TagResourceRequest,
    UntagResourceRequest,
)


def refusal(desk, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        desk.call(request, **how)
    return caught.value


def pairs(tags: dict[str, str]) -> tuple[Tag, ...]:
    return tuple(Tag(tag_key=key, tag_value=value) for key, value in tags.items())


def tag(desk, key, **tags):
    desk.call(TagResourceRequest(key_id=key.key_id, tags=pairs(tags)))


def untag(desk, key, *keys):
    desk.call(UntagResourceRequest(key_id=key.key_id, tag_keys=keys))


def tags_of(desk, key) -> dict[str, str]:
    found = desk.call(ListResourceTagsRequest(key_id=key.key_id)).tags
    return {entry.tag_key: entry.tag_value for entry in found}


def test_tags_are_added_changed_and_taken_away(desk):
    key = desk.apply("k")
    tag(desk, key, team="a", env="prod")
    tag(desk, key, team="b", empty="")
    assert tags_of(desk, key) == {"team": "b", "env": "prod", "empty": ""}
    untag(desk, key, "env", "never-there")
    assert tags_of(desk, key) == {"team": "b", "empty": ""}
    untag(desk, key, "team", "empty")
    assert tags_of(desk, key) == {}


def test_untagging_is_narrowing_and_tagging_is_not(desk):
    key = desk.apply("k")
    tag(desk, key, a="b")
    untag(desk, key, "a")
    assert [change.narrows for change in desk.changes] == [False, True]


def test_tags_that_are_so_already_are_not_written(desk):
    key = desk.apply("k", tags=[{"key": "a", "value": "b"}])
    tag(desk, key, a="b")
    assert desk.changes == []


@pytest.mark.parametrize("change", ["tag", "untag"])
def test_tags_that_only_the_record_has_stay(desk, change):
    """A key that lost its object and got a bare one again: absent tags are those of the record."""
    desk.apply("k", tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    key = desk.orphan("k")
    desk.call(DisableKeyRequest(key_id=key.key_id))
    desk.call(EnableKeyRequest(key_id=key.key_id))
    assert "tags" not in desk.body("k")["spec"]
    if change == "tag":
        tag(desk, key, c="3")
        assert tags_of(desk, key) == {"a": "1", "b": "2", "c": "3"}
    else:
        untag(desk, key, "a")
        assert tags_of(desk, key) == {"b": "2"}


def test_a_key_has_50_tags_at_most(desk):
    key = desk.apply("k")
    tag(desk, key, **{f"k{n}": "" for n in range(50)})
    assert len(tags_of(desk, key)) == 50
    for bad in ({"one-more": ""}, {f"n{n}": "" for n in range(51)}):
        error = refusal(desk, TagResourceRequest(key_id=key.key_id, tags=pairs(bad)))
        assert (error.code, error.message) == ("TagException", "Too many tags")
    tag(desk, key, k0="changed")
    assert tags_of(desk, key)["k0"] == "changed"


@pytest.mark.parametrize("name", ["aws:", "aws:x", "AWS:x", "Aws:cloudformation:stack"])
def test_tags_of_aws_are_reserved(desk, name):
    key = desk.apply("k")
    error = refusal(desk, TagResourceRequest(key_id=key.key_id, tags=pairs({name: "x"})))
    assert (error.code, error.message) == ("TagException", "Tags beginning with aws: are reserved")
    tag(desk, key, **{"awsx": "fine", "x-aws:": "fine"})


def test_keys_of_tags_are_compared_exactly(desk):
    key = desk.apply("k")
    tag(desk, key, Team="a", team="b")
    assert tags_of(desk, key) == {"Team": "a", "team": "b"}
    error = refusal(desk, TagResourceRequest(key_id=key.key_id, tags=(*pairs({"x": "1"}), *pairs({"x": "1"}))))
    assert (error.code, error.message) == ("TagException", "Duplicate tag keys")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("", "", "Value '' at 'tags.2.member.tagKey' failed to satisfy constraint: Member must have length greater than or equal to 1"),
        ("k" * 129, "", f"Value '{'k' * 129}' at 'tags.2.member.tagKey' failed to satisfy constraint: "
         "Member must have length less than or equal to 128"),
        ("k", "v" * 257, f"Value '{'v' * 257}' at 'tags.2.member.tagValue' failed to satisfy constraint: "
         "Member must have length less than or equal to 256"),
    ],
)
def test_a_tag_is_bounded_and_the_refusal_says_which(desk, name, value, message):
    key = desk.apply("k")
    error = refusal(desk, TagResourceRequest(key_id=key.key_id, tags=pairs({"fine": "", name: value})))
    assert (error.code, error.message) == ("ValidationException", f"1 validation error detected: {message}")


def test_tags_of_full_length_are_kept(desk):
    key = desk.apply("k")
    tag(desk, key, **{"k" * 128: "v" * 256})
    assert tags_of(desk, key) == {"k" * 128: "v" * 256}


def test_tags_are_listed_in_order_and_in_pages(desk):
    names = [f"k{n:02}" for n in range(50)]
    key = desk.apply("k", tags=[{"key": name, "value": "v"} for name in reversed(names)])
    assert [entry.tag_key for entry in desk.call(ListResourceTagsRequest(key_id=key.key_id)).tags] == names
    seen, marker = [], None
    for _ in range(4):
        answer = desk.call(ListResourceTagsRequest(key_id=key.key_id, limit=15, marker=marker))
        seen += [entry.tag_key for entry in answer.tags]
        marker = answer.next_marker
    assert (seen, marker) == (names, None)


def test_a_tag_that_goes_between_two_pages_moves_no_other(desk):
    key = desk.apply("k", tags=[{"key": name, "value": ""} for name in "abcdef"])
    first = desk.call(ListResourceTagsRequest(key_id=key.key_id, limit=3))
    untag(desk, key, "b", "c")
    second = desk.call(ListResourceTagsRequest(key_id=key.key_id, limit=3, marker=first.next_marker))
    assert [entry.tag_key for entry in (*first.tags, *second.tags)] == list("abcdef")


@pytest.mark.parametrize("verb", ["tagresource", "untagresource", "listresourcetags"])
def test_rbac_is_asked_for_the_operation(desk, verb):
    key = desk.apply("k", tags=[{"key": "a", "value": "b"}])
    desk.rbac.answer = False
    requests = {
        "tagresource": TagResourceRequest(key_id=key.key_id, tags=pairs({"a": "c"})),
        "untagresource": UntagResourceRequest(key_id=key.key_id, tag_keys=("a",)),
        "listresourcetags": ListResourceTagsRequest(key_id=key.key_id),
    }
    assert refusal(desk, requests[verb]).code == "AccessDeniedException"
    assert [review.verb for review in desk.rbac.asked] == [verb]
    assert desk.changes == []

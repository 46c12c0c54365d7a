"""What clients carry (docs/reference/format.md): the endpoint makes and reads exactly the texts of tests/vectors/format.json."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.builders import a_control_world
from tests.docs.domain import VectorDomain
from tests.hsm.fake import FakeHsm
from tests.server.identities import AnIdentity
from tests.vectors.make_format_vectors import FILE

from keystead.errors import ExpiredTokenError, InvalidGrantTokenError, InvalidMarkerError, UnrecognizedClientError
from keystead.operations.control.common import Listing, page
from keystead.operations.grant_tokens import make_token, read_token
from keystead.server.credentials import mint, open_session

VECTORS: dict[str, Any] = json.loads(FILE.read_text())
CARRIED = VECTORS["carried"]
DOMAIN = VectorDomain.of(VECTORS["domain"])


def rows(section: str) -> Any:
    return pytest.mark.parametrize("row", CARRIED[section], ids=lambda row: row["what"])


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def with_another_character(text: str) -> list[str]:
    return [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(0, len(text), 5)]


@rows("sessionTokens")
def test_session_token_is_minted_as_this_text_and_opens(row: dict[str, Any]) -> None:
    namespace, namespace_uid, name, uid, session_name, pod, pod_uid = row["texts"]
    who = AnIdentity(namespace, namespace_uid, row["account"], name, uid, pod, pod_uid)
    life = timedelta(seconds=row["expires"] - row["issued"])
    made = mint(DOMAIN, who, session_name, moment(row["issued"]), lambda _: bytes.fromhex(row["entropy"]), life)
    assert (made.session_token, made.session.secret_access_key) == (row["token"], row["secret"])
    assert made.session.access_key_id == row["accessKeyId"]
    last = moment(row["expires"] - 1)
    assert open_session(DOMAIN, row["token"], row["accessKeyId"], last) == made.session
    with pytest.raises(ExpiredTokenError):
        open_session(DOMAIN, row["token"], row["accessKeyId"], last + timedelta(seconds=1))


@rows("sessionTokens")
def test_another_session_token_opens_nothing(row: dict[str, Any]) -> None:
    for text in with_another_character(row["token"]):
        with pytest.raises(UnrecognizedClientError):
            open_session(DOMAIN, text, row["accessKeyId"], moment(row["issued"]))


@rows("grantTokens")
def test_grant_token_is_made_as_this_text_and_read(row: dict[str, Any]) -> None:
    assert make_token(DOMAIN, row["grantId"], moment(row["created"])) == row["token"]
    named = read_token(DOMAIN, row["token"])
    assert (named.grant_id, named.created, len(row["token"])) == (row["grantId"], row["created"], 103)
    for text in with_another_character(row["token"]):
        with pytest.raises(InvalidGrantTokenError):
            read_token(DOMAIN, text)


@rows("listMarkers")
def test_marker_is_made_as_this_text_and_goes_on_after_its_position(row: dict[str, Any]) -> None:
    account, region, operation, scope = row["about"]
    world = a_control_world(FakeHsm(b"carried"), region=region, domain=DOMAIN)
    listing = Listing(operation, account, scope)
    before, after = row["position"][:-1], row["position"] + "~"
    first = page(world, listing, [before, row["position"], after], str, 2, None)
    assert first.next_marker == row["marker"]
    assert page(world, listing, [before, row["position"], after], str, 2, row["marker"]).items == (after,)
    for text in with_another_character(row["marker"]):
        with pytest.raises(InvalidMarkerError):
            page(world, listing, [before, after], str, 2, text)

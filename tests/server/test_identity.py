"""Who calls: static keys, sealed credentials and Bearer tokens, through the real SigV4 and the real seal; facts are fakes of our ports."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.hsm.fake import FakeHsm
from tests.server.identities import ACCOUNT, NOW, AnIdentity
from tests.server.signing import BODY, having, sign, signed_at

from keystead.errors import (
    ExpiredTokenError,
    HsmUnavailableError,
    IdentityTokenError,
    IdentityTokenExpiredError,
    InvalidRequestSignatureError,
    KmsError,
    MissingAuthenticationTokenError,
    UnrecognizedClientError,
)
from keystead.operations.trail import Actor
from keystead.policy import CallerKind, service_account_caller
from keystead.server import identity as identity_module
from keystead.server.credentials import TokenIdentity, mint
from keystead.server.identity import Identities, Identity, StaticKey, actor_of
from keystead.server.message import Asked

KEY_ID, SECRET = "AKIAABCDEFGHIJKLMNOP", "a-secret-of-the-tests"
HSM = FakeHsm(b"identity")


class Alive:
    """`identity.Alive`."""

    def __init__(self, known: bool | None = True, asked: bool = True) -> None:
        self._known, self._asked = known, asked

    def known(self, who: TokenIdentity) -> bool | None:
        return self._known

    async def ask(self, who: TokenIdentity) -> bool:
        return self._asked


def identities(**changes: Any) -> Identities:
    static = {KEY_ID: StaticKey(SECRET, ACCOUNT, "default", "uid-d")}
    parts: dict[str, Any] = {"service": "kms", "region": None, "static": static, "domain": lambda: HSM, "alive": Alive(), "recognise": None}
    return Identities(**{**parts, **changes})


def by_key(**changes: Any) -> Asked:
    return sign(**{"access_key": KEY_ID, "secret": SECRET, "token": None, **changes})


def by_session(life: timedelta = timedelta(hours=1), at: datetime | None = None, **changes: Any) -> Asked:
    """Signed with credentials of STS."""
    made = mint(HSM, AnIdentity(), "session-1", at or signed_at(by_key()), lambda n: bytes(range(n)), life)
    session = made.session
    return sign(**{"access_key": session.access_key_id, "secret": session.secret_access_key, "token": made.session_token, **changes})


async def who(asked: Asked, at: datetime | None = None, **changes: Any) -> Identity:
    found = identities(**changes).authenticate(asked, at or NOW)
    return found if isinstance(found, Identity) else await found


def now(asked: Asked) -> datetime:
    return signed_at(asked)


async def test_a_static_key_is_the_root_of_its_account() -> None:
    asked = by_key()
    found = await who(asked, now(asked))
    assert (found.caller.kind, found.caller.account, found.namespace_uid) == (CallerKind.ROOT, ACCOUNT, "uid-d")


async def test_a_static_key_with_another_secret_is_refused() -> None:
    asked = by_key(secret="another-secret")
    with pytest.raises(InvalidRequestSignatureError):
        await who(asked, now(asked))


async def test_an_unknown_key_without_a_session_token_is_unrecognised() -> None:
    asked = by_key(access_key="AKIAUNKNOWNUNKNOWN00")
    with pytest.raises(UnrecognizedClientError, match="security token included in the request is invalid"):
        await who(asked, now(asked))


async def test_credentials_are_their_service_account() -> None:
    asked = by_session()
    found = await who(asked, now(asked))
    assert found.caller.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/app/session-1"
    assert found.namespace_uid == AnIdentity().namespace_uid


async def test_the_signature_comes_before_the_facts() -> None:
    """A thief of a session token alone does not learn whether its ServiceAccount is there, and makes nobody ask."""
    asked = replace(by_session(), body=BODY + b" ")
    with pytest.raises(InvalidRequestSignatureError):
        await who(asked, now(asked), alive=Alive(known=False))


@pytest.mark.parametrize("alive", [Alive(known=False), Alive(known=None, asked=False)])
async def test_credentials_of_a_service_account_that_is_gone_are_unrecognised(alive: Alive) -> None:
    asked = by_session()
    with pytest.raises(UnrecognizedClientError):
        await who(asked, now(asked), alive=alive)


async def test_a_service_account_that_is_not_known_is_asked_for() -> None:
    asked = by_session()
    assert (await who(asked, now(asked), alive=Alive(known=None))).caller.kind is CallerKind.SERVICE_ACCOUNT


async def test_gone_is_gone_for_a_session_that_was_seen_before() -> None:
    alive, asked = Alive(), by_session()
    door = identities(alive=alive)
    assert isinstance(door.authenticate(asked, now(asked)), Identity)
    alive._known = False
    with pytest.raises(UnrecognizedClientError):
        door.authenticate(asked, now(asked))


async def test_credentials_that_are_over_are_expired() -> None:
    asked = by_session(timedelta(minutes=15), signed_at(by_key()) - timedelta(minutes=16))
    with pytest.raises(ExpiredTokenError):
        await who(asked, now(asked))


async def test_a_session_token_of_another_key_is_unrecognised() -> None:
    asked = by_session(access_key="ASIAAAAAAAAAAAAAAAAA")
    with pytest.raises(UnrecognizedClientError):
        await who(asked, now(asked))


async def test_a_token_that_is_away_is_no_refusal() -> None:
    def away() -> Any:
        raise HsmUnavailableError("away")

    asked = by_session()
    with pytest.raises(HsmUnavailableError):
        await who(asked, now(asked), domain=away)


async def test_a_cluster_has_one_region_and_dev_has_any() -> None:
    asked = by_key(region="eu-west-1")
    assert (await who(asked, now(asked))).region == "eu-west-1"
    with pytest.raises(InvalidRequestSignatureError, match="valid region"):
        await who(asked, now(asked), region="cluster-1")


@pytest.mark.parametrize("region", ["eu-West-1", "a" * 33, "x-", "eu/west"])
async def test_a_region_that_no_arn_could_hold_is_refused(region: str) -> None:
    asked = by_key(region=region)
    with pytest.raises(KmsError):
        await who(asked, now(asked))


async def test_credentials_for_sts_do_not_sign_kms() -> None:
    asked = by_key(service="sts")
    with pytest.raises(InvalidRequestSignatureError, match="correct service"):
        await who(asked, now(asked))
    assert (await actor_of(identities(service="sts"), asked, now(asked))).caller.account == ACCOUNT


async def test_identities_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of dev chooses its region: it must not choose how much is remembered."""
    monkeypatch.setattr(identity_module, "_IDENTITIES", 8)
    door = identities()
    for letters in itertools.product("abc", repeat=3):
        asked = by_key(region="".join(letters))
        door.authenticate(asked, now(asked))
    assert len(door._made) <= 8


# -- Bearer


def bearer(token: str = "a.b.c", *, secure: bool = True) -> Asked:
    return Asked(b"POST", b"/", ((b"authorization", f"Bearer {token}".encode()),), BODY, secure=secure)


async def recognise(token: str) -> tuple[Actor, str]:
    if token == "old":
        raise IdentityTokenExpiredError("expired")
    if token != "a.b.c":
        raise IdentityTokenError("none of ours")
    return Actor(service_account_caller(ACCOUNT, "team-a", "app", uid="sa-1")), "uid-a"


async def test_a_bearer_token_is_its_service_account_in_the_clusters_region() -> None:
    found = await who(bearer(), region="cluster-1", recognise=recognise)
    assert (found.caller.name, found.region, found.namespace_uid) == ("app", "cluster-1", "uid-a")


async def test_a_bearer_token_is_refused_on_plain_http_and_never_looked_at() -> None:
    async def must_not(_token: str) -> Any:
        raise AssertionError("the token was looked at")

    with pytest.raises(UnrecognizedClientError, match="plain HTTP"):
        await who(bearer(secure=False), region="cluster-1", recognise=must_not)


@pytest.mark.parametrize("region", [None, "cluster-1"])
async def test_dev_knows_no_bearer_token(region: str | None) -> None:
    with pytest.raises(KmsError) as caught:
        await who(bearer(), region=region, recognise=None)
    assert "a.b.c" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("token", ["x", "old"])
async def test_a_bearer_token_that_nobody_vouches_for_is_refused(token: str) -> None:
    with pytest.raises((UnrecognizedClientError, ExpiredTokenError)):
        await who(bearer(token), region="cluster-1", recognise=recognise)


async def test_two_authorisations_are_no_bearer_token() -> None:
    twice = replace(bearer(), headers=bearer().headers * 2)  # type: ignore[operator]
    with pytest.raises(KmsError):
        await who(twice, region="cluster-1", recognise=recognise)


async def test_no_authorisation_is_missing() -> None:
    with pytest.raises(MissingAuthenticationTokenError):
        await who(Asked(b"POST", b"/", (), BODY), region="cluster-1", recognise=recognise)


def test_no_secret_is_in_a_repr() -> None:
    asked = having(by_session(), b"authorization", b"Bearer sesame-sesame")
    made = mint(HSM, AnIdentity(), "session-1", NOW, lambda n: bytes(range(n)))
    text = repr((asked, StaticKey(SECRET, ACCOUNT, "default", "u"), made, made.session))
    assert not any(secret in text for secret in ("sesame", SECRET, made.session.secret_access_key, made.session_token, BODY.decode()))

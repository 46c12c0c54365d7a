"""Temporary credentials: one suite on the fake and on real tokens. What was sealed opens; nothing else does, and nothing leaks."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import Hsm
from tests.hsm.fake import FakeHsm
from tests.operations.conftest import _backends
from tests.server.identities import ACCOUNT, NOW, AnIdentity

from keystead.engine.labels import Label, domain_mac
from keystead.errors import ExpiredTokenError, HsmUnavailableError, UnrecognizedClientError
from keystead.server.credentials import Minted, SessionCache, mint, open_session

INVALID = "The security token included in the request is invalid."
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module", params=_backends())
def hsm(request: pytest.FixtureRequest) -> Iterator[Hsm]:
    backend = request.param()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def fake() -> FakeHsm:
    return FakeHsm()


class Counted:
    """A domain that counts its MACs, and can be away."""

    def __init__(self, domain, generation: int | None = None) -> None:
        self._domain = domain
        self.calls = 0
        self.away = False
        self.generation = domain.generation if generation is None else generation
        self.fingerprint = domain.fingerprint

    def mac(self, message: bytes) -> bytes:
        self.calls += 1
        if self.away:
            raise HsmUnavailableError("away")
        return self._domain.mac(message)


def a_session(hsm, identity=None, name="s-1", entropy=os.urandom, **how) -> Minted:
    return mint(hsm.domain, identity or AnIdentity(), name, NOW, entropy, **how)


def opened(hsm, minted: Minted, now=NOW, **changes):
    key = changes.get("access_key_id", minted.session.access_key_id)
    return open_session(hsm.domain, changes.get("token", minted.session_token), key, now)


def resealed(hsm, body: bytes) -> str:
    """A token with a right seal over whatever body, as nobody but this domain could make it."""
    mac = domain_mac(hsm.domain.mac, Label.CREDENTIAL, b"seal", body)
    return base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()


def body_of(minted: Minted) -> bytes:
    return base64.urlsafe_b64decode(minted.session_token + "=" * (-len(minted.session_token) % 4))[:-32]


def test_what_was_minted_opens(hsm):
    minted = a_session(hsm)
    session = opened(hsm, minted)
    assert session == minted.session
    identity = AnIdentity()
    for member in AnIdentity.__dataclass_fields__:
        assert getattr(session, member) == getattr(identity, member)
    assert (session.session_name, session.expiration) == ("s-1", NOW + HOUR)


def test_forms_are_those_of_aws(hsm):
    session = a_session(hsm).session
    assert session.access_key_id[:4] == "ASIA"
    assert len(session.access_key_id) == 20
    assert set(session.access_key_id[4:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    assert len(base64.b64decode(session.secret_access_key, validate=True)) == 30


def test_two_sessions_of_one_moment_share_nothing_to_sign_with(hsm):
    one, two = a_session(hsm), a_session(hsm)
    assert one.session.access_key_id != two.session.access_key_id
    assert one.session.secret_access_key != two.session.secret_access_key


def test_the_secret_is_neither_in_the_token_nor_in_a_repr(hsm):
    minted = a_session(hsm)
    secret, token = minted.session.secret_access_key, minted.session_token
    raw = base64.b64decode(secret)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert raw not in data
    assert not any(raw[i : i + 6] in data for i in range(25))
    for shown in (repr(minted), repr(minted.session), str(minted)):
        assert secret not in shown
        assert token not in shown


@given(
    st.text("abcdefghij-0123456789", min_size=1, max_size=63),
    st.text("abcdefghij-.0123456789", min_size=1, max_size=253),
    st.text("abcXYZ0123456789+=,.@_-", min_size=2, max_size=64),
    st.text("abcdefghij-.0123456789", max_size=253),
    st.integers(900, 43200),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_come_back_as_they_were(fake, namespace, account, session_name, pod, seconds):
    identity = AnIdentity(namespace=namespace, service_account=account, pod_name=pod, pod_uid=pod[:36])
    minted = a_session(fake, identity, session_name, life=timedelta(seconds=seconds))
    assert 400 <= len(minted.session_token) <= 1600
    session = opened(fake, minted)
    assert (session.namespace, session.service_account, session.pod_name) == (namespace, account, pod)
    assert (session.session_name, session.expires - session.issued) == (session_name, seconds)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_token_is_refused(fake, data):
    minted = a_session(fake, entropy=bytes)
    token = minted.session_token
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from([c for c in "AZaz09-_+/=. \né" if c != token[at]]))
    with pytest.raises(UnrecognizedClientError, match=INVALID):
        opened(fake, minted, token=token[:at] + other + token[at + 1 :])


@given(st.text(max_size=5000) | st.text("AZaz09-_", min_size=390, max_size=420))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_is_refused(fake, junk):
    with pytest.raises(UnrecognizedClientError, match=INVALID):
        open_session(fake.domain, junk, "ASIAABCDEFGHIJKLMNOP", NOW)


def test_every_single_bit_counts(fake):
    minted = a_session(fake)
    data = base64.urlsafe_b64decode(minted.session_token + "=" * (-len(minted.session_token) % 4))
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnrecognizedClientError):
            opened(fake, minted, token=base64.urlsafe_b64encode(flipped).rstrip(b"=").decode())


def test_a_token_has_one_text(fake):
    minted = a_session(fake, AnIdentity(pod_name="x" * 200))
    token = minted.session_token
    assert len(token) % 4 != 0
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twins = [token[:-1] + c for c in alphabet if c != token[-1]]
    for other in (*twins, token + "=", token + "\n", token.replace("-", "+").replace("_", "/") + "=="):
        with pytest.raises(UnrecognizedClientError):
            opened(fake, minted, token=other)


@pytest.mark.parametrize("length", [0, 1, 399, 4097, 100_000])
def test_length_comes_first(fake, length):
    domain = Counted(fake.domain)
    with pytest.raises(UnrecognizedClientError, match=INVALID):
        open_session(domain, "A" * length, "ASIAABCDEFGHIJKLMNOP", NOW)
    assert domain.calls == 0


def test_another_access_key_does_not_open_it(hsm):
    one, two = a_session(hsm), a_session(hsm)
    for other in (two.session.access_key_id, "", "é", one.session.access_key_id.lower()):
        with pytest.raises(UnrecognizedClientError, match=INVALID):
            opened(hsm, one, access_key_id=other)


def test_another_domain_or_generation_or_label_does_not_open_it(fake):
    minted = a_session(fake)
    key = minted.session.access_key_id
    with pytest.raises(UnrecognizedClientError):
        open_session(FakeHsm(b"another").domain, minted.session_token, key, NOW)
    with pytest.raises(UnrecognizedClientError):
        open_session(Counted(fake.domain, generation=2), minted.session_token, key, NOW)
    body = body_of(minted)
    assert resealed(fake, body) == minted.session_token
    for label, first in ((Label.CREDENTIAL, b"secret"), (Label.GRANT_TOKEN, b"seal"), (Label.CREATE_NAME, b"seal")):
        forged = base64.urlsafe_b64encode(body + domain_mac(fake.domain.mac, label, first, body)).rstrip(b"=").decode()
        with pytest.raises(UnrecognizedClientError):
            opened(fake, minted, token=forged)


def test_a_version_to_come_is_refused_even_when_sealed(fake):
    minted = a_session(fake)
    with pytest.raises(UnrecognizedClientError):
        opened(fake, minted, token=resealed(fake, b"\2" + body_of(minted)[1:]))


def test_expires_on_the_second(hsm):
    minted = a_session(hsm, life=timedelta(minutes=15))
    end = NOW + timedelta(minutes=15)
    opened(hsm, minted, end - timedelta(milliseconds=1))
    with pytest.raises(ExpiredTokenError, match=r"^The security token included in the request is expired\Z"):
        opened(hsm, minted, end)


def test_a_stranger_learns_nothing_from_an_expired_token(hsm):
    minted = a_session(hsm)
    with pytest.raises(UnrecognizedClientError):
        opened(hsm, minted, NOW + 2 * HOUR, access_key_id="ASIAABCDEFGHIJKLMNOP")


@pytest.mark.parametrize("life", [timedelta(minutes=15) - SECOND, 12 * HOUR + SECOND, timedelta(0), -HOUR])
def test_a_life_out_of_bounds_is_never_minted(fake, life):
    with pytest.raises(ValueError, match="15 minutes to 12 hours"):
        a_session(fake, life=life)


def test_an_account_that_is_none_is_never_minted(fake):
    with pytest.raises(ValueError, match="12 digits"):
        a_session(fake, AnIdentity(account=ACCOUNT[1:]))


# --- the cache


def test_a_hot_session_costs_no_call_of_the_token(fake):
    minted, domain, cache = a_session(fake), Counted(fake.domain), SessionCache()
    key = minted.session.access_key_id
    first = cache.open(domain, minted.session_token, key, NOW)
    assert domain.calls == 2
    domain.away = True
    assert cache.open(domain, minted.session_token, key, NOW) is first
    assert domain.calls == 2


def test_a_cached_session_expires_and_leaves_the_cache(fake):
    minted, cache = a_session(fake), SessionCache()
    key = minted.session.access_key_id
    cache.open(fake.domain, minted.session_token, key, NOW)
    with pytest.raises(ExpiredTokenError):
        cache.open(fake.domain, minted.session_token, key, NOW + HOUR)
    assert len(cache) == 0
    with pytest.raises(ExpiredTokenError):
        cache.open(fake.domain, minted.session_token, key, NOW + HOUR)


def test_a_cached_session_is_refused_under_another_access_key(fake):
    minted, cache = a_session(fake), SessionCache()
    cache.open(fake.domain, minted.session_token, minted.session.access_key_id, NOW)
    with pytest.raises(UnrecognizedClientError, match=INVALID):
        cache.open(fake.domain, minted.session_token, "ASIAABCDEFGHIJKLMNOP", NOW)


def test_the_cache_is_bounded_and_forgets_the_longest_unused(fake):
    cache, domain = SessionCache(size=2), Counted(fake.domain)
    one, two, three = (a_session(fake) for _ in range(3))
    for minted in (one, two, one, three):
        cache.open(domain, minted.session_token, minted.session.access_key_id, NOW)
    assert len(cache) == 2
    calls = domain.calls
    cache.open(domain, one.session_token, one.session.access_key_id, NOW)
    assert domain.calls == calls
    cache.open(domain, two.session_token, two.session.access_key_id, NOW)
    assert domain.calls == calls + 2


def test_junk_drives_no_session_out(fake):
    cache, minted = SessionCache(size=1), a_session(fake)
    cache.open(fake.domain, minted.session_token, minted.session.access_key_id, NOW)
    for n in range(50):
        with pytest.raises(UnrecognizedClientError):
            cache.open(fake.domain, f"{n:0>400}", minted.session.access_key_id, NOW)
    domain = Counted(fake.domain)
    cache.open(domain, minted.session_token, minted.session.access_key_id, NOW)
    assert domain.calls == 0


def test_a_token_that_is_away_is_told_and_nothing_is_remembered(fake):
    cache, domain, minted = SessionCache(), Counted(fake.domain), a_session(fake)
    domain.away = True
    with pytest.raises(HsmUnavailableError):
        cache.open(domain, minted.session_token, minted.session.access_key_id, NOW)
    assert len(cache) == 0

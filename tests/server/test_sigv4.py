"""SigV4: what AWS's signer signed is accepted, every single change of it is refused, each refusal has AWS's name and text."""

from __future__ import annotations

import hashlib
import re
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.signing import (
    ACCESS_KEY,
    BODY,
    CLIENTS,
    JSON,
    REGION,
    SECRET,
    TOKEN,
    BodyHashed,
    adding,
    having,
    header,
    sign,
    signed_at,
    without,
)

from keystead.errors import KmsError
from keystead.server.message import Asked
from keystead.server.sigv4 import Verifier, parse

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
    "method. Consult the service documentation for details."
)
NOW = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
SCOPE = "20261126/cluster-1/kms/aws4_request"
KMS = Verifier(region=REGION)
URL_WITH = "https://kms:8443/?"
PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " \t"


def accept(asked: Asked, verifier: Verifier = KMS, *, secret: str = SECRET, now: datetime | None = None) -> None:
    signed = parse(asked)
    verifier.check(asked, signed, secret, now or signed_at(asked))


def refusal(asked: Asked, verifier: Verifier = KMS, *, secret: str = SECRET, now: datetime = NOW) -> tuple[str, str]:
    with pytest.raises(KmsError) as caught:
        verifier.check(asked, parse(asked), secret, now)
    return caught.value.code, caught.value.message


def is_refused(asked: Asked, now: datetime, secret: str = SECRET) -> bool:
    return refusal(asked, secret=secret, now=now)[0] in ("InvalidSignatureException", "IncompleteSignatureException")


def unproven(authorization: str, *more: tuple[bytes, bytes]) -> Asked:
    """A request with this header that nobody signed, for what is refused before the signature."""
    headers = (
        (b"host", b"kms"),
        (b"x-amz-date", b"20261126T080000Z"),
        (b"authorization", authorization.encode()),
        *more,
    )
    return Asked(b"POST", b"/", headers, BODY)


def an_authorization(
    credential: str = f"{ACCESS_KEY}/{SCOPE}", names: str = "host;x-amz-date", mac: str = "0" * 64
) -> str:
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={mac}"


# --- accepted


@pytest.mark.parametrize("client", CLIENTS)
def test_each_clients_header_set_is_accepted(client):
    asked = sign(CLIENTS[client], unsigned=[(b"user-agent", b"x"), (b"accept-encoding", b"identity")])
    accept(asked)
    names = re.search(rb"SignedHeaders=([^,]+)", header(asked, b"authorization"))[1].decode().split(";")
    assert set(names) >= {name.lower() for name in CLIENTS[client]} | {"host", "x-amz-date", "x-amz-security-token"}


def test_what_a_signed_request_says():
    signed = parse(sign())
    assert (signed.access_key_id, signed.session_token) == (ACCESS_KEY, TOKEN)
    assert parse(sign(token=None)).session_token is None
    assert TOKEN not in repr(signed)


# AWS's published test suite of Signature Version 4: get-vanilla, post-vanilla, get-header-value-trim, get-header-key-duplicate.
@pytest.mark.parametrize(
    ("method", "headers", "names", "mac"),
    [
        (b"GET", (), "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (b"POST", (), "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            b"GET",
            ((b"my-header1", b"value1"), (b"my-header2", b'"a   b   c"')),
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            b"GET",
            ((b"my-header1", b"value2"), (b"my-header1", b"value2"), (b"my-header1", b"value1")),
            "host;my-header1;x-amz-date",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
    ],
)
def test_vectors_of_the_aws_test_suite(method, headers, names, mac):
    authorization = an_authorization("AKIDEXAMPLE/20150830/us-east-1/service/aws4_request", names, mac)
    sent = (
        (b"host", b"example.amazonaws.com"),
        *headers,
        (b"x-amz-date", b"20150830T123600Z"),
        (b"authorization", authorization.encode()),
    )
    asked = Asked(method, b"/", sent, b"")
    accept(asked, Verifier(region="us-east-1", service="service"))


names_ = st.from_regex(r"\Ax-[a-z0-9][a-z0-9-]{0,20}\Z").filter(lambda name: not name.startswith(("x-amz-", "x-amzn-")))
values = st.text(PRINTABLE, max_size=40).filter(lambda text: text.strip())


@given(st.dictionaries(names_, values, max_size=5), st.binary(max_size=300), st.booleans())
def test_any_headers_spaces_and_body_that_botocore_signed_are_accepted(more, body, hashed):
    chosen = {**JSON, **more, **({"x-amz-content-sha256": ""} if hashed else {})}
    accept(sign(chosen, body))


@given(st.lists(values, min_size=2, max_size=4))
def test_duplicates_of_other_headers_are_joined_with_commas(several):
    joined = ",".join(" ".join(value.split()) for value in several)
    asked = sign({**JSON, "x-several": joined})
    parts = tuple((b"x-several", value.strip().encode()) for value in several)
    accept(replace(asked, headers=without(asked, b"x-several").headers + parts))


@pytest.mark.parametrize("url", ["https://kms:8443/", "https://kms/", "http://localhost:4599/", "https://[::1]:8443/"])
def test_the_host_is_signed_with_its_port_as_sent(url):
    asked = sign(url=url)
    accept(asked)
    assert is_refused(having(asked, b"host", b"kms:1"), signed_at(asked))


@pytest.mark.parametrize(
    "form",
    [
        "AWS4-HMAC-SHA256 Credential={},SignedHeaders={},Signature={}",
        "AWS4-HMAC-SHA256  Signature={2},  Credential={0} ,SignedHeaders={1}",
        "AWS4-HMAC-SHA256 SignedHeaders={1}, Signature={2}, Credential={0}",
    ],
)
def test_parameters_in_any_order_and_with_any_spaces(form):
    asked = sign()
    parts = re.findall(r"=([^,]+)", header(asked, b"authorization").decode())
    accept(having(asked, b"authorization", form.format(*parts).encode()))


def test_headers_are_taken_in_the_order_of_signed_headers():
    asked = sign()
    authorization = header(asked, b"authorization").decode()
    names = re.search("SignedHeaders=([^,]+)", authorization)[1]
    turned = authorization.replace(names, ";".join(reversed(names.split(";"))))
    assert is_refused(having(asked, b"authorization", turned.encode()), signed_at(asked))
    accept(replace(asked, headers=tuple(reversed(asked.headers))))


def test_a_date_header_stands_for_a_missing_x_amz_date():
    dated = sign({**JSON, "Date": "now"}, token=None)
    assert b"x-amz-date" not in dict(dated.headers)
    now = datetime.strptime(header(dated, b"date").decode()[:25], "%a, %d %b %Y %H:%M:%S").replace(tzinfo=UTC)
    accept(dated, now=now)
    assert refusal(dated, now=now + timedelta(seconds=301))[1].startswith("Signature expired: ")


# --- any change is refused


@given(st.data())
def test_any_single_change_is_refused(data):
    asked = sign(CLIENTS[data.draw(st.sampled_from(sorted(CLIENTS)))])
    now = signed_at(asked)
    what = data.draw(st.sampled_from(["method", "query", "body", "secret", "header", "gone"]))
    if what == "method":
        assert is_refused(replace(asked, method=b"PUT"), now)
    elif what == "query":
        assert is_refused(replace(asked, target=b"/?" + data.draw(st.binary(min_size=1, max_size=9))), now)
    elif what == "body":
        at, bit = data.draw(st.integers(0, len(BODY) - 1)), 1 << data.draw(st.integers(0, 7))
        assert is_refused(replace(asked, body=BODY[:at] + bytes([BODY[at] ^ bit]) + BODY[at + 1 :]), now)
    elif what == "secret":
        assert is_refused(asked, now, secret=SECRET + "x")
    else:
        names = [name for name, _ in asked.headers if name != b"authorization"]
        name = data.draw(st.sampled_from(names))
        value = header(asked, name)
        at = data.draw(st.integers(0, len(value) - 1))
        other = data.draw(st.sampled_from([c for c in b"0aZ!;%" if c != value[at]]))
        changed = having(asked, name, value[:at] + bytes([other]) + value[at + 1 :])
        assert is_refused(without(asked, name) if what == "gone" else changed, now)


@given(st.data())
def test_any_change_of_the_authorization_header_is_refused(data):
    asked = sign()
    value = header(asked, b"authorization")
    at = data.draw(st.integers(0, len(value) - 1))
    # the access key id is the door's to find: another one has another secret
    if value.index(b"=") < at < value.index(b"/"):
        return
    other = data.draw(st.sampled_from([c for c in b"0aZ!;=/" if c != value[at]]))
    changed = value[:at] + bytes([other]) + value[at + 1 :]
    if value[at] == ord(" ") or at == value.index(b"/"):
        with pytest.raises(KmsError):
            parse(having(asked, b"authorization", changed))
    else:
        assert is_refused(having(asked, b"authorization", changed), signed_at(asked))


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from(sorted(dict(sign().headers))), st.binary(max_size=60)), max_size=8),
)
def test_whatever_is_sent_the_answer_is_one_of_ours(authorization, headers):
    asked = Asked(b"POST", b"/", (*headers, (b"authorization", b"AWS4-HMAC-SHA256 " + authorization)), BODY)
    code, message = refusal(asked)
    assert code in ("IncompleteSignatureException", "InvalidSignatureException")
    assert message.isprintable()
    assert len(message) < 1000


def test_unsigned_headers_may_change_on_the_way():
    asked = sign(unsigned=[(b"accept", b"*/*")])
    accept(adding(having(asked, b"accept", b"x"), b"x-forwarded-for", b"10.0.0.1"))


@pytest.mark.parametrize("space", [b"\n", b"\r\n", b"\t", b"  ", b" \t "])
def test_white_space_in_a_value_is_one_space_and_a_newline_no_line_of_its_own(space):
    asked = sign({**JSON, "x-a": "1 x-b:2"})
    accept(having(asked, b"x-a", b"1" + space + b"x-b:2"))


# --- the table "Authentication errors" of AWS.md, row by row


def test_no_credentials():
    expected = ("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    assert refusal(without(sign(), b"authorization")) == expected
    assert refusal(having(sign(), b"authorization", b"")) == expected


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (
            "AWS4-HMAC-SHA256 abc",
            "'abc' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 abc'",
        ),
        (
            "AWS4-HMAC-SHA256",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
            "Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
        ),
        (
            an_authorization("", mac="ab"),
            "Authorization header requires 'Credential' parameter. Authorization=AWS4-HMAC-SHA256 Credential=, "
            "SignedHeaders=host;x-amz-date, Signature=...",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a, Credential=b",
            "Authorization header has more than one 'Credential' parameter.",
        ),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."),
        (
            an_authorization(f"{ACCESS_KEY}/kms/aws4_request"),
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{ACCESS_KEY}/kms/aws4_request'",
        ),
        (an_authorization(names="host;host;x-amz-date"), "The 'SignedHeaders' parameter must name each header once."),
        (an_authorization(names="host;;x-amz-date"), "The 'SignedHeaders' parameter must name each header once."),
        (an_authorization(names="x;" * 1100), "Authorization header must have at most 2048 characters."),
        ("AWS4-HMAC-SHA256 " + "x" * 9000, None),
    ],
)
def test_a_header_that_cannot_be_read(authorization, message):
    code, text = refusal(unproven(authorization))
    assert code == "IncompleteSignatureException"
    assert message is None or text == message
    assert len(text) < 1000


@pytest.mark.parametrize(
    "authorization", ["Bearer sk-canary-1", "Basic canary=1", "canary", "canary,canary=1", "aws4 canary"]
)
def test_a_header_of_another_kind_is_never_shown(authorization):
    code, text = refusal(unproven(authorization))
    assert code == "IncompleteSignatureException"
    assert text == "'...' not a valid key=value pair (missing equal-sign) in Authorization header: '...'"


def test_wrong_signature_or_secret():
    asked = sign()
    for wrong in ("0" * 64, header(asked, b"authorization").decode()[-64:].upper(), "ab", "é"):
        changed = header(asked, b"authorization")[:-64] + wrong.encode()
        assert refusal(having(asked, b"authorization", changed), now=signed_at(asked)) == (
            "InvalidSignatureException",
            MISMATCH,
        )
    assert refusal(asked, secret="other", now=signed_at(asked)) == ("InvalidSignatureException", MISMATCH)


@pytest.mark.parametrize(
    ("date", "message"),
    [
        (
            "20261126T075459Z",
            "Signature expired: 20261126T075459Z is now earlier than 20261126T075500Z (20261126T080000Z - 5 min.)",
        ),
        (
            "20261126T080501Z",
            "Signature not yet current: 20261126T080501Z is still later than 20261126T080500Z (20261126T080000Z + 5 min.)",
        ),
        ("20261126T075500Z", MISMATCH),
        ("20261126T080500Z", MISMATCH),
    ],
)
def test_the_window_is_five_minutes_both_ends_included(date, message):
    asked = having(unproven(an_authorization()), b"x-amz-date", date.encode())
    assert refusal(asked, now=NOW + timedelta(microseconds=999_999)) == ("InvalidSignatureException", message)


@pytest.mark.parametrize("year", ["0001", "1969", "2038", "9999"])
def test_a_signature_of_another_age_is_refused(year):
    scope = SCOPE.replace("2026", year)
    asked = having(unproven(an_authorization(f"{ACCESS_KEY}/{scope}")), b"x-amz-date", f"{year}1126T080000Z".encode())
    assert refusal(asked)[1].startswith(
        f"Signature {'expired' if year < '2026' else 'not yet current'}: {year}1126T080000Z is "
    )


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("20261126/us-east-1/kms/aws4_request", "Credential should be scoped to a valid region."),
        ("20261126/cluster-1/sts/aws4_request", "Credential should be scoped to correct service: 'kms'."),
        ("20261126/cluster-1/kms/aws5_request", "Credential should be scoped with a valid terminator: 'aws4_request'."),
        (
            "20261125/cluster-1/kms/aws4_request",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            "'20261125' != '20261126', from '20261126T080000Z'.",
        ),
    ],
)
def test_scope(scope, message):
    assert refusal(unproven(an_authorization(f"{ACCESS_KEY}/{scope}"))) == ("InvalidSignatureException", message)


def test_any_region_where_none_is_asked_for():
    accept(sign(region="eu-west-9"), Verifier(region=None))


def test_another_service_by_argument():
    asked = sign({"Content-Type": "application/x-www-form-urlencoded"}, service="sts")
    accept(asked, Verifier(region=REGION, service="sts"))
    assert refusal(asked, now=signed_at(asked))[1] == "Credential should be scoped to correct service: 'kms'."


# --- what steers us


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        ("x-amz-date", (), "'Host' must be a 'SignedHeader' in the AWS Authorization."),
        ("host", (), "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization."),
        (
            "date;host",
            ((b"date", b"20261126T080000Z"),),
            "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            "host;x-amz-date",
            ((b"x-amz-target", b"TrentService.Encrypt"),),
            "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization.",
        ),
    ],
)
def test_host_date_and_target_must_be_signed(names, more, message):
    assert refusal(unproven(an_authorization(names=names), *more)) == ("InvalidSignatureException", message)


@pytest.mark.parametrize("name", [name for name, _ in sign().headers] + [b"x-amz-content-sha256", b"date"])
def test_a_header_that_steers_us_is_refused_when_sent_twice(name):
    asked = sign({**JSON, "x-amz-content-sha256": ""})
    asked = asked if name in dict(asked.headers) else adding(asked, name, b"x")
    code, message = refusal(adding(asked, name, dict(asked.headers)[name]), now=signed_at(asked))
    assert (code, message) == ("IncompleteSignatureException", f"The header '{name.decode()}' was sent more than once.")


@pytest.mark.parametrize(
    "hashed", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", hashlib.sha256(b"x").hexdigest()]
)
def test_a_payload_hash_that_is_not_the_bodys_is_refused_even_when_signed(hashed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BodyHashed, "payload", lambda self, request: hashed)
        asked = sign({**JSON, "x-amz-content-sha256": ""})
    assert refusal(asked, now=signed_at(asked)) == ("InvalidSignatureException", MISMATCH)


def test_a_payload_hash_is_compared_even_when_it_was_not_signed():
    asked = sign()
    accept(adding(asked, b"x-amz-content-sha256", hashlib.sha256(BODY).hexdigest().encode()))
    for hashed in (
        b"UNSIGNED-PAYLOAD",
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        b"",
        hashlib.sha256(b"x").hexdigest().encode(),
    ):
        refused = adding(asked, b"x-amz-content-sha256", hashed)
        assert refusal(refused, now=signed_at(asked)) == ("InvalidSignatureException", MISMATCH)


@pytest.mark.parametrize("query", ["X-Amz-Signature=ab", "a=1&x-amz-credential=b", "X-Amz-Algorithm=AWS4-HMAC-SHA256"])
@pytest.mark.parametrize("also", [True, False])
def test_a_presigned_request_is_refused(query, also):
    asked = replace(sign(), target=b"/?" + query.encode())
    code, message = refusal(asked if also else without(asked, b"authorization"))
    assert (code, message) == (
        "IncompleteSignatureException",
        "Presigned requests are not supported: sign with the Authorization header.",
    )


def test_the_query_is_never_normalised():
    accept(sign(url=URL_WITH + "a=1&b=2"))
    asked = sign(url=URL_WITH + "a=1&b=2")
    for other in (b"/?b=2&a=1", b"/?a=%31&b=2", b"/?a=1&b=2&", b"/?A=1&b=2"):
        assert is_refused(replace(asked, target=other), signed_at(asked))


@pytest.mark.parametrize(
    "date",
    [
        "",
        "now",
        "20261126T080000",
        "2026-11-26T08:00:00Z",
        "20261326T080000Z",
        "2" * 999,
        "é",
        "Thu, 26 Foo 2026 08:00:00 GMT",
    ],
)
def test_a_date_that_is_none(date):
    code, message = refusal(having(unproven(an_authorization()), b"x-amz-date", date.encode()))
    assert code == "IncompleteSignatureException"
    assert message.startswith("Date must be in ISO-8601 'basic format'. Got '")


def test_no_date_at_all():
    code, message = refusal(without(unproven(an_authorization()), b"x-amz-date"))
    assert code == "IncompleteSignatureException"
    assert message.startswith("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    assert "0" * 64 not in message


# --- order of the checks: each request has all the faults that come later too


def test_order_of_the_checks():
    bad = unproven(an_authorization("a/20261125/r/s/x", "x-amz-date", "0"))
    faults = [
        (
            replace(adding(bad, b"host", b"b"), target=b"/?X-Amz-Signature=1"),
            "The header 'host' was sent more than once.",
        ),
        (replace(without(bad, b"authorization"), target=b"/?X-Amz-Signature=1"), "Presigned requests"),
        (without(bad, b"authorization"), "Request is missing"),
        (having(without(bad, b"x-amz-date"), b"authorization", b"AWS4-HMAC-SHA256 x"), "'x' not a valid"),
        (bad, "Credential should be scoped with a valid terminator"),
        (
            having(unproven(an_authorization("a/20261125/r/s/aws4_request", "x-amz-date")), b"x-amz-date", b"x"),
            "'Host' must be",
        ),
        (having(unproven(an_authorization("a/20261125/r/s/aws4_request")), b"x-amz-date", b"x"), "Date must be"),
        (unproven(an_authorization("a/20251125/r/s/aws4_request")), "Credential should be scoped to a valid region"),
        (
            unproven(an_authorization("a/20251125/cluster-1/s/aws4_request")),
            "Credential should be scoped to correct service",
        ),
        (unproven(an_authorization("a/20251125/cluster-1/kms/aws4_request")), "Date in Credential scope"),
        (having(unproven(an_authorization()), b"x-amz-date", b"20261126T000000Z"), "Signature expired"),
        (unproven(an_authorization()), MISMATCH),
    ]
    for asked, begins in faults:
        assert refusal(asked)[1].startswith(begins)


def test_signing_keys_are_cached_within_bounds_and_wrong_ones_never_help():
    verifier = Verifier(region=None, signing_keys=4)
    asked = sign()
    for n in range(20):
        assert refusal(asked, verifier, secret=str(n), now=signed_at(asked))[1] == MISMATCH
    accept(asked, verifier)
    accept(asked, verifier)
    assert verifier._key.cache_info().currsize == 4
    assert verifier._key.cache_info().hits == 1

"""Web identity by JWKS: only a token that the issuer's own key signed, for us, now. PyJWT makes the good tokens; forged ones are ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from keystead.dev.webidentity import LocalIdentity, WebIdentity
from keystead.errors import IdentityTokenError, IdentityTokenExpiredError, InvalidSpecError

NOW = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHARED = base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode()
KEYS = [
    json.loads(RSAAlgorithm.to_jwk(RSA.public_key())) | {"kid": "rsa", "alg": "RS256", "use": "sig"},
    json.loads(ECAlgorithm.to_jwk(EC.public_key())) | {"kid": "ec"},
    json.loads(OKPAlgorithm.to_jwk(ED.public_key())) | {"kid": "ed"},
    {"kty": "oct", "k": SHARED, "kid": "shared", "alg": "HS256"},
]


def place(namespace: str) -> tuple[str, str]:
    if namespace != "default":
        raise IdentityTokenError("no such namespace")
    return "uid-d", "111122223333"


@pytest.fixture
def verifier(tmp_path: Path) -> WebIdentity:
    return WebIdentity(written(tmp_path, {"keys": KEYS}), "keystead", place, lambda: NOW)


def written(folder: Path, content: Any) -> Path:
    file = folder / "jwks.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def claims(**changes: Any) -> dict[str, Any]:
    seconds = int(NOW.timestamp())
    said = {
        "iss": "https://issuer", "sub": "system:serviceaccount:default:app", "aud": ["keystead"], "exp": seconds + 60, "nbf": seconds,
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "app", "uid": "sa-1"}, "pod": {"name": "app-0", "uid": "p-1"}},
    }  # fmt: skip
    return {name: value for name, value in (said | changes).items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", kid: str | None = "rsa", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


def forged(header: dict[str, Any], key: bytes | None, **changes: Any) -> str:
    """A token with a header of one's own, with an HMAC under these bytes or no signature."""
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims(**changes)))
    mac = b"" if key is None else hmac.digest(key, head + b"." + body, hashlib.sha256)
    return (head + b"." + body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
async def test_a_token_of_the_issuer_is_its_service_account(verifier: WebIdentity, key: Any, algorithm: str, kid: str) -> None:
    app = LocalIdentity("default", "uid-d", "111122223333", "app", "sa-1", "app-0", "p-1")
    assert await verifier.identify(token(key, algorithm, kid)) == app


async def test_a_token_need_not_be_bound_to_a_pod_nor_say_more_than_its_subject(verifier: WebIdentity) -> None:
    found = await verifier.identify(token(**{"kubernetes.io": None, "nbf": None, "iss": None}))
    assert (found.uid, found.pod_name, found.pod_uid) == ("default/app", "", "")


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
FORGED = {
    "none": forged({"alg": "none", "kid": "rsa"}, None),
    "None": forged({"alg": "None", "kid": "rsa"}, None),
    "public key as a secret": forged({"alg": "HS256", "kid": "rsa"}, PEM),
    "public key as a secret, stripped": forged({"alg": "HS256", "kid": "rsa"}, PEM.strip()),
    "public key as a secret, DER": forged({"alg": "HS256", "kid": "rsa"}, DER),
    "a shared secret in the set": forged({"alg": "HS256", "kid": "shared"}, b"k" * 32),
    "its own key in the header": forged({"alg": "HS256", "kid": "rsa", "jwk": {"kty": "oct", "k": SHARED}}, b"k" * 32),
    "an algorithm of another kind of key": forged({"alg": "ES256", "kid": "rsa"}, b"k"),
    "an algorithm of another kind of key, EdDSA": forged({"alg": "EdDSA", "kid": "ec"}, b"k"),
    "an algorithm of another kind of key, RSA": forged({"alg": "RS256", "kid": "shared"}, b"k" * 32),
    "no algorithm": forged({"kid": "rsa"}, b"k"),
    "a stranger's key": token(STRANGER),
    "another key of the set": token(EC, "ES256", "rsa"),
    "an unknown key": token(kid="other"),
    "a weaker hash": token(algorithm="RS512"),
    "a padding that was not chosen": token(algorithm="PS256"),
    "another audience": token(aud=["https://kubernetes.default.svc"]),
    "no audience": token(aud=None),
    "an audience that is no text": token(aud={"keystead": 1}),
    "no subject": token(sub=None),
    "a user": token(sub="alice"),
    "a subject with a tail": token(sub="system:serviceaccount:default:app\n"),
    "a namespace in upper case": token(sub="system:serviceaccount:Default:app"),
    "another namespace": token(sub="system:serviceaccount:other:app"),
    "no end": token(exp=None),
    "not yet": token(nbf=int(NOW.timestamp()) + 61),
    "a beginning that is no time": token(nbf="soon"),
    "a critical header that is not known": jwt.encode(claims(), RSA, "RS256", {"kid": "rsa", "crit": ["x"], "x": 1}),
    "nothing": "",
    "dots": "..",
    "no JSON": "eyJ.eyJ.x",
}


@pytest.mark.parametrize("sent", FORGED.values(), ids=FORGED)
async def test_a_token_that_is_none_is_refused_and_not_quoted(verifier: WebIdentity, sent: str) -> None:
    with pytest.raises(IdentityTokenError) as caught:
        await verifier.identify(sent)
    assert not isinstance(caught.value, IdentityTokenExpiredError)
    assert len(sent) < 3 or sent.split(".")[1] not in str(caught.value)


@pytest.mark.parametrize("ends", [int(NOW.timestamp()), int((NOW - timedelta(days=1)).timestamp()), float("nan")])
async def test_a_token_whose_time_is_over_is_expired(verifier: WebIdentity, ends: float) -> None:
    with pytest.raises(IdentityTokenExpiredError):
        await verifier.identify(token(exp=ends))


async def test_a_flipped_bit_anywhere_is_refused(verifier: WebIdentity) -> None:
    sent = token()
    for at in range(0, len(sent), 7):
        changed = sent[:at] + ("A" if sent[at] != "A" else "B") + sent[at + 1 :]
        with pytest.raises(IdentityTokenError):
            await verifier.identify(changed)


async def test_without_a_key_id_the_first_key_is_meant(verifier: WebIdentity) -> None:
    assert (await verifier.identify(token(kid=None))).service_account == "app"


@pytest.mark.parametrize("inside", ["text", {"pod": "text", "serviceaccount": ["x"]}, {"pod": {"name": 7}}, {"pod": {"name": "n" * 999}}])
async def test_claims_of_another_form_are_left_out(verifier: WebIdentity, inside: Any) -> None:
    found = await verifier.identify(token(**{"kubernetes.io": inside}))
    assert len(found.pod_name) in (0, 253)


@pytest.mark.parametrize("content", ["", "[]", "7", "{", '{"keys": null}', '{"keys": []}', '{"keys": [7]}', json.dumps({"keys": KEYS[3:]})])
def test_a_file_without_keys_of_an_issuer_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"--jwks.*openid/v1/jwks"):
        WebIdentity(written(tmp_path, content), "keystead", place, lambda: NOW)
    with pytest.raises(InvalidSpecError, match="No such file"):
        WebIdentity(tmp_path / "none", "keystead", place, lambda: NOW)

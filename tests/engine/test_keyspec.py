"""The key spec table is total, and agrees with AWS's limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.engine.algorithms import DIGESTS, EncryptionAlgorithm, MacAlgorithm, RsaPadding, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS, Family, oaep_limit, row, usages, wrapped_length_fits
from keystead.engine.publickey import CURVES, OAEP_HASHES
from keystead.resources.vocabulary import USAGES, KeySpec, KeyUsage

specs = pytest.mark.parametrize("spec", list(KeySpec))


def test_every_spec_has_a_row():
    assert set(KEY_SPECS) == set(KeySpec) == set(USAGES)


@specs
def test_every_usage_of_a_spec_has_an_algorithm(spec):
    algorithms = {
        KeyUsage.ENCRYPT_DECRYPT: row(spec).encryption,
        KeyUsage.SIGN_VERIFY: row(spec).signing,
        KeyUsage.GENERATE_VERIFY_MAC: row(spec).macs,
        KeyUsage.KEY_AGREEMENT: row(spec).agreement,
    }
    assert {usage for usage, names in algorithms.items() if names} == set(usages(spec))


def test_every_algorithm_belongs_to_a_spec():
    rows = KEY_SPECS.values()
    assert {a for r in rows for a in r.encryption} == set(EncryptionAlgorithm)
    assert {a for r in rows for a in r.signing} == set(SigningAlgorithm)
    assert {a for r in rows for a in r.macs} == set(MacAlgorithm)


@specs
def test_secrets_have_a_length_and_pairs_do_not(spec):
    secret = row(spec).family in (Family.SYMMETRIC, Family.HMAC)
    assert bool(row(spec).secret_length) == secret


def test_every_curve_of_the_table_is_known():
    assert set(CURVES) == {spec for spec in KeySpec if row(spec).family is Family.EC}


def test_every_signing_algorithm_has_a_digest():
    assert set(DIGESTS) == set(SigningAlgorithm)
    assert all(length in (32, 48, 64) for _, length in DIGESTS.values())


def test_rsa_paddings_are_the_rsa_encryption_algorithms():
    assert {p.value for p in RsaPadding} == {a.value for a in EncryptionAlgorithm} - {"SYMMETRIC_DEFAULT"}
    assert set(OAEP_HASHES) == set(RsaPadding)


@pytest.mark.parametrize(
    ("spec", "sha1", "sha256"),
    [(KeySpec.RSA_2048, 214, 190), (KeySpec.RSA_3072, 342, 318), (KeySpec.RSA_4096, 470, 446)],
)
def test_oaep_limits_are_those_of_aws(spec, sha1, sha256):
    assert oaep_limit(spec, EncryptionAlgorithm.RSAES_OAEP_SHA_1) == sha1
    assert oaep_limit(spec, EncryptionAlgorithm.RSAES_OAEP_SHA_256) == sha256


@pytest.mark.parametrize(("length", "wrapped"), [(32, 40), (48, 56), (64, 72)])
def test_wrapped_secrets_have_one_length(length, wrapped):
    spec = next(s for s in KeySpec if row(s).secret_length == length)
    fitting = [n for n in range(200) if wrapped_length_fits(spec, n, length)]
    assert fitting == [wrapped]
    assert not any(wrapped_length_fits(spec, wrapped, n) for n in range(200) if n != length)


@given(st.sampled_from([s for s in KeySpec if not row(s).secret_length]), st.integers(-1, 20), st.integers(-1, 20))
def test_short_private_keys_never_fit(spec, wrapped, plain):
    assert not wrapped_length_fits(spec, wrapped, plain)

"""Bodies that are no request: JSON in every broken form, base64 in every form but one. All SerializationException, none shown."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.operations import OPERATIONS
from keystead.operations.datakeys import GenerateRandomRequest
from keystead.server.codec import Codec
from keystead.server.strictjson import DEPTH, parse_object
from keystead.server.wire_errors import SerializationError

CODEC = Codec(OPERATIONS)
GOOD = b'{"KeyId": "alias/x", "Plaintext": "AAAA"}'

BROKEN = {
    "no JSON": b"KeyId=alias/x",
    "half": GOOD[:-1],
    "empty text": b" ",
    "a list": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "a BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "bytes behind": GOOD + b"x",
    "a second object": GOOD + GOOD,
    "a NUL behind": GOOD + b"\0",
    "a duplicate": b'{"KeyId": "alias/x", "KeyId": "alias/y", "Plaintext": "AAAA"}',
    "a duplicate that is equal": b'{"KeyId": "alias/x", "KeyId": "alias/x", "Plaintext": "AAAA"}',
    "a duplicate in another spelling": b'{"KeyId": "alias/x", "Key\\u0049d": "alias/y", "Plaintext": "AAAA"}',
    "a duplicate of another type": b'{"KeyId": "alias/x", "DryRun": true, "DryRun": false, "Plaintext": "AAAA"}',
    "a duplicate of null": b'{"KeyId": "alias/x", "DryRun": null, "DryRun": null, "Plaintext": "AAAA"}',
    "a duplicate deep inside": b'{"KeyId": "x", "Plaintext": "AAAA", "EncryptionContext": {"a": "1", "a": "2"}}',
    "a duplicate deep inside, escaped": b'{"KeyId": "x", "Plaintext": "AAAA", "EncryptionContext": {"a": "1", "\\u0061": "2"}}',
    "a lone surrogate": b'{"KeyId": "\\ud800", "Plaintext": "AAAA"}',
    "a lone low surrogate": b'{"KeyId": "\\udc00", "Plaintext": "AAAA"}',
    "a surrogate in UTF-8": b'{"KeyId": "\xed\xa0\x80", "Plaintext": "AAAA"}',
    "no UTF-8": b'{"KeyId": "\xff", "Plaintext": "AAAA"}',
    "overlong UTF-8": b'{"KeyId": "\xc0\x80", "Plaintext": "AAAA"}',
    "no UTF-8 in a name": b'{"Key\xffId": "x"}',
    "a control character": b'{"KeyId": "a\tb", "Plaintext": "AAAA"}',
    "NaN": b'{"NumberOfBytes": NaN}',
    "Infinity": b'{"NumberOfBytes": Infinity}',
    "a number beyond floats": b'{"NumberOfBytes": 1e999}',
    "a number with a leading zero": b'{"NumberOfBytes": 032}',
    "a trailing comma": b'{"KeyId": "x",}',
    "a comment": b'{"KeyId": "x" /* y */}',
    "single quotes": b"{'KeyId': 'x'}",
    "10,000 lists": b"[" * 10_000 + b"]" * 10_000,
    "10,000 lists in a member": b'{"GrantTokens": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 lists never closed": b"[" * 100_000,
    "500 lists": b'{"GrantTokens": ' + b"[" * 500 + b"]" * 500 + b"}",
    "5,000 digits": b'{"NumberOfBytes": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("operation", ["Encrypt", "GenerateRandom"])
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_body_that_is_no_json_object_is_refused(operation, body):
    with pytest.raises(SerializationError) as refused:
        CODEC.decode(operation, body)
    assert len(refused.value.message) < 100
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_body_nests_to_its_bound_and_no_deeper():
    deep = b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1)
    assert parse_object(b'{"a": ' + deep + b"}")
    with pytest.raises(SerializationError, match="too deeply"):
        parse_object(b'{"a": [' + deep + b"]}")


def test_an_empty_body_counts_as_an_empty_object():
    assert CODEC.decode("GenerateRandom", b"") == CODEC.decode("GenerateRandom", b"{}") == GenerateRandomRequest()


def test_null_is_absent():
    assert CODEC.decode("GenerateRandom", b'{"NumberOfBytes": null}') == GenerateRandomRequest()


def test_escapes_and_spaces_are_read_as_json_has_them():
    body = b' {\n"Key\\u0049d" : "\\ud83d\\ude00\\/\\"" , "Plaintext":"AAAA","EncryptionContext":{"\\"":"\\\\"}}\r\n'
    request = CODEC.decode("Encrypt", body)
    assert (request.key_id, request.encryption_context) == ('😀/"', {'"': "\\"})


def test_names_are_exact():
    with pytest.raises(SerializationError):
        CODEC.decode("Encrypt", b'{"keyId": "alias/x", "Plaintext": "AAAA"}')


BASE64 = {
    "a line break": "AAAA\n",
    "a line break inside": "AA\nAA",
    "a space": "AA AA",
    "the alphabet of URLs": "-_-_",
    "one character of another alphabet": "AAA!",
    "no padding": "AAA",
    "half the padding": "AA=",
    "too much padding": "AAAA=",
    "padding only": "====",
    "padding inside": "AA==AAAA",
    "spare bits": "AB==",
    "spare bits of three": "AAB=",
    "one character": "A",
    "not ASCII": "AAA\u00e9",
    "full-width": "\uff21\uff21\uff21\uff21",
    "a NUL": "AAAA\0",
}


@pytest.mark.parametrize("text", BASE64.values(), ids=BASE64)
def test_base64_in_any_other_form_is_refused(text):
    with pytest.raises(SerializationError) as refused:
        CODEC.decode("Encrypt", json.dumps({"KeyId": "x", "Plaintext": text}).encode())
    assert refused.value.message == "A blob of the request is not valid base64."


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=200, deadline=None)
def test_every_blob_comes_through(blob):
    body = json.dumps({"KeyId": "x", "Plaintext": base64.b64encode(blob).decode()}).encode()
    assert CODEC.decode("Encrypt", body).plaintext == blob


@given(st.text(alphabet="AB+/=-_ \n", min_size=1, max_size=12))
@settings(max_examples=500, deadline=None)
def test_only_the_canonical_base64_of_some_bytes_is_read(text):
    body = json.dumps({"KeyId": "x", "Plaintext": text}).encode()
    try:
        blob = CODEC.decode("Encrypt", body).plaintext
    except SerializationError:
        with pytest.raises(ValueError):
            if base64.b64encode(base64.b64decode(text, validate=True)).decode() != text:
                raise ValueError from None
    else:
        assert base64.b64encode(blob).decode() == text


PAIRS = st.lists(st.tuples(st.text(alphabet='ab"\\:é{', max_size=3), st.text(alphabet='ab"\\:,é}', max_size=5)), max_size=5)


@given(PAIRS, st.booleans())
@settings(max_examples=500, deadline=None)
def test_a_name_twice_is_found_whatever_the_texts(pairs, ascii_only):
    def text(value):
        return json.dumps(value, ensure_ascii=ascii_only)

    inner = "{" + ", ".join(f"{text(name)}: {text(value)}" for name, value in pairs) + "}"
    body = f'{{"EncryptionContext": {inner}, "GrantTokens": [{inner}]}}'.encode()
    if len({name for name, _ in pairs}) == len(pairs):
        assert parse_object(body) == {"EncryptionContext": dict(pairs), "GrantTokens": [dict(pairs)]}
    else:
        with pytest.raises(SerializationError, match="twice"):
            parse_object(body)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0123dDeE-+. tfn', max_size=40).map(str.encode))
@settings(max_examples=1000, deadline=None)
def test_no_bytes_make_anything_but_a_request_or_a_kms_error(body):
    with suppress(SerializationError):
        assert type(CODEC.decode("GenerateRandom", body)) is GenerateRandomRequest

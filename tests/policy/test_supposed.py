"""What somebody says of a call becomes its facts; what nobody said is named."""

from __future__ import annotations

import pytest
from tests.builders import a_key
from tests.policy.documents import HSM

from keystead.errors import InvalidSpecError
from keystead.policy.actions import Action
from keystead.policy.conditionkeys import KEYS, NAMED
from keystead.policy.request import FEEDS
from keystead.policy.supposed import NONE, action_named, said_of, suppose
from keystead.resources.vocabulary import KeySpec

KEY = a_key(HSM)
RSA = a_key(HSM, KeySpec.RSA_2048)


@pytest.mark.parametrize("text", ["decrypt", "Decrypt", "kms:Decrypt", "DECRYPT"])
def test_an_action_is_known_in_every_writing(text: str) -> None:
    assert action_named(text) is Action.DECRYPT
    assert action_named("generate-data-key-without-plaintext") is Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT


@pytest.mark.parametrize(
    ("text", "words"), [("reencrypt", "two actions"), ("kms:ReEncrypt", "two actions"), ("fly", "there is no action fly")]
)
def test_what_is_no_action_is_refused_with_words(text: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        action_named(text)


def test_nothing_said_is_nothing_known() -> None:
    asked = suppose(Action.SIGN, RSA, said_of({}))
    assert {"kms:viaservice", "aws:sourceip", "aws:securetransport", "kms:signingalgorithm", "kms:messagetype"} <= asked.unsaid


def test_what_is_said_is_a_fact_and_no_longer_unsaid() -> None:
    said = {"kms:SigningAlgorithm": ("RSASSA_PSS_SHA_256",), "kms:viaservice": ("x.keystead.io",), "aws:SourceIp": ("10.0.0.1",)}
    asked = suppose(Action.SIGN, RSA, said_of(said))
    assert asked.facts.request.signing_algorithm == "RSASSA_PSS_SHA_256"  # type: ignore[attr-defined]
    assert (asked.facts.carried.via_service, asked.facts.carried.source_ip) == ("x.keystead.io", "10.0.0.1")
    assert not {"kms:signingalgorithm", "kms:viaservice", "aws:sourceip"} & asked.unsaid


def test_none_says_that_the_call_has_it_not() -> None:
    asked = suppose(Action.DECRYPT, KEY, said_of({"kms:ViaService": (NONE,), "kms:EncryptionContext": (NONE,)}))
    assert asked.facts.carried.via_service == "" and asked.context == {}
    assert not {"kms:viaservice", "kms:encryptioncontext:"} & asked.unsaid


@pytest.mark.parametrize(("text", "member"), [(NONE, None), ("false", False), ("True", True)])
def test_a_member_that_is_false_is_there_and_one_that_is_none_is_not(text: str, member: bool | None) -> None:
    asked = suppose(Action.PUT_KEY_POLICY, KEY, said_of({"kms:BypassPolicyLockoutSafetyCheck": (text,)}))
    assert asked.facts.request.bypass_policy_lockout_safety_check is member  # type: ignore[attr-defined]
    assert "kms:bypasspolicylockoutsafetycheck" not in asked.unsaid


def test_a_key_with_one_algorithm_leaves_no_choice() -> None:
    assert "kms:encryptionalgorithm" not in suppose(Action.DECRYPT, KEY, said_of({})).unsaid
    assert "kms:encryptionalgorithm" in suppose(Action.DECRYPT, RSA, said_of({})).unsaid


@pytest.mark.parametrize(
    ("name", "words"),
    [("kms:Nonsense", "no condition key"), ("kms:ResourceAliases", "KmsAliases"), ("aws:SourceAccount", "aws:SourceArn")],
)
def test_a_fact_that_cannot_be_said_is_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        said_of({name: ("x",)})


@pytest.mark.parametrize("text", ["999.1.1.1", "10.0.0.0/8", "localhost", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"--source-ip: .* is no IP address"):
        said_of({"aws:SourceIp": (text,)})


@pytest.mark.parametrize("text", ["10.1.2.3", "2001:db8::1", NONE])
def test_an_address_or_none_is_taken(text: str) -> None:
    assert said_of({"aws:sourceip": (text,)}).source_ip == text


def test_a_fact_of_another_action_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="no request of Decrypt says kms:SigningAlgorithm"):
        suppose(Action.DECRYPT, KEY, said_of({"kms:SigningAlgorithm": ("x",)}))


@pytest.mark.parametrize("action", list(Action))
def test_every_fact_that_a_request_feeds_can_be_said_and_is_unsaid_before(action: Action) -> None:
    """Totality: a condition key that the request may have is either derived from the key, or named until it is said."""
    nothing = suppose(action, RSA, said_of({}))
    for name in FEEDS.get(action, {}):
        single = name == "kms:EncryptionAlgorithm" and action is Action.SIGN
        assert single or name.lower() in nothing.unsaid or name == "kms:KeyAgreementAlgorithm", name
        assert name.lower() not in suppose(action, RSA, said_of({name: ("x",)})).unsaid


def test_every_condition_key_is_known_from_the_key_and_the_caller_or_can_be_unsaid() -> None:
    """A new key whose fact comes from the request must be added to policy.supposed: else `why` would take it for absent."""
    known = {
        "kms:calleraccount",
        "kms:customermasterkeyspec",
        "kms:customermasterkeyusage",
        "kms:keyorigin",
        "kms:keyspec",
        "kms:keyusage",
        "kms:multiregion",
        "kms:multiregionkeytype",
        "aws:currenttime",
        "aws:epochtime",
        "aws:principalaccount",
        "aws:principalarn",
    }
    unsaid: set[str] = set()
    provided: set[str] = set()
    for action in Action:
        unsaid |= suppose(action, RSA, said_of({})).unsaid
        unsaid |= suppose(action, KEY, said_of({})).unsaid
        provided |= {name for name, row in KEYS.items() if row.source(action) is not None}
    derived = {"kms:keyagreementalgorithm", "kms:macalgorithm"}  # said by other specs' only choice, or named
    assert provided - known - derived <= unsaid
    assert {prefix.lower() for prefix in NAMED} <= unsaid | {"aws:resourcetag/"}

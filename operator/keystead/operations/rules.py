"""One row an action: the API operation it belongs to, the key usage it needs, and whether an orphan answers it.

Sources: AWS 'Key type reference' (usages), RECORDS, Life of a key (orphans). The totality test holds it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from keystead.policy import Action
from keystead.resources.vocabulary import KeyUsage


class Rule(NamedTuple):
    """`usage` None: any key. `orphan`: a key whose KmsKey object is gone still answers it."""

    action: Action
    operation: str
    usage: KeyUsage | None
    orphan: bool


_ENCRYPT: Final = KeyUsage.ENCRYPT_DECRYPT
_SIGN: Final = KeyUsage.SIGN_VERIFY
_MAC: Final = KeyUsage.GENERATE_VERIFY_MAC

_ROWS: Final = (
    Rule(Action.ENCRYPT, "Encrypt", _ENCRYPT, False),
    Rule(Action.DECRYPT, "Decrypt", _ENCRYPT, True),
    Rule(Action.RE_ENCRYPT_FROM, "ReEncrypt", _ENCRYPT, True),
    Rule(Action.RE_ENCRYPT_TO, "ReEncrypt", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY, "GenerateDataKey", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, "GenerateDataKeyWithoutPlaintext", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY_PAIR, "GenerateDataKeyPair", _ENCRYPT, False),
    Rule(Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT, "GenerateDataKeyPairWithoutPlaintext", _ENCRYPT, False),
    Rule(Action.GENERATE_MAC, "GenerateMac", _MAC, False),
    Rule(Action.VERIFY_MAC, "VerifyMac", _MAC, True),
    Rule(Action.SIGN, "Sign", _SIGN, False),
    Rule(Action.VERIFY, "Verify", _SIGN, True),
    Rule(Action.DERIVE_SHARED_SECRET, "DeriveSharedSecret", KeyUsage.KEY_AGREEMENT, True),
    Rule(Action.GET_PUBLIC_KEY, "GetPublicKey", None, True),
    Rule(Action.DESCRIBE_KEY, "DescribeKey", None, True),
)

RULES: Final[dict[Action, Rule]] = {rule.action: rule for rule in _ROWS}

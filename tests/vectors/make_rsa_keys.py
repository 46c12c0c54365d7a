"""Made rsa_test_keys.json: RSA key pairs for the fake HSM, whose generation would take seconds a test run.

Not reproducible (RSA generation is random); they protect nothing. Run: python -m tests.vectors.make_rsa_keys
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

COUNTS = {2048: 3, 3072: 2, 4096: 2}


def _pkcs8(bits: int) -> str:
    key = rsa.generate_private_key(65537, bits)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return base64.b64encode(der).decode()


def main() -> None:
    keys = {str(bits): [_pkcs8(bits) for _ in range(count)] for bits, count in COUNTS.items()}
    path = Path(__file__).with_name("rsa_test_keys.json")
    path.write_text(json.dumps(keys, indent=1) + "\n")


if __name__ == "__main__":
    main()

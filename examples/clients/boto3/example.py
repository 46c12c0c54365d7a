"""Works, key disabled, key enabled: the three steps of examples/clients/README.md with boto3.

Endpoint, region and credentials come from the AWS SDK's own environment variables; the key from KEY_ID. Nothing here knows Keystead.
With --wait it leaves it to somebody else to disable and enable the key: a workload should not have the right.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import boto3

CONTEXT = {"app": "orders", "purpose": "example"}
MESSAGE = b"the card number of order 1001"


def switch(what: str, call: Callable[..., object]) -> None:
    """Disable or enable the key, or wait until somebody has."""
    if "--wait" in sys.argv[1:]:
        print(f"waiting: {what} the key, then press Enter", flush=True)
        sys.stdin.readline()
    else:
        call(KeyId=os.environ["KEY_ID"])


def main() -> None:
    kms = boto3.client("kms")
    print(f"caller: {boto3.client('sts').get_caller_identity()['Arn']}")

    ciphertext = kms.encrypt(KeyId=os.environ["KEY_ID"], Plaintext=MESSAGE, EncryptionContext=CONTEXT)["CiphertextBlob"]
    if kms.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)["Plaintext"] != MESSAGE:
        sys.exit("error: another plaintext came back")
    print(f"works: {len(ciphertext)} bytes of ciphertext opened")

    switch("disable", kms.disable_key)
    try:
        kms.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)
    except kms.exceptions.DisabledException as error:
        print(f"key disabled: {error}")
    else:
        sys.exit("error: a disabled key opened the ciphertext")
    finally:
        switch("enable", kms.enable_key)

    if kms.decrypt(CiphertextBlob=ciphertext, EncryptionContext=CONTEXT)["Plaintext"] != MESSAGE:
        sys.exit("error: another plaintext came back")
    print("key enabled: the old ciphertext opens")


if __name__ == "__main__":
    main()

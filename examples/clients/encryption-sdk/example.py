"""Works, key disabled, key enabled: the three steps of examples/clients/README.md with the AWS Encryption SDK for Python.

Then three refusals that the SDK's users count on: a data key without its encryption context, a provider in discovery mode whose filter
names another account, and a message without key commitment. Region, endpoint and credentials come from the environment variables of
boto3, on which the SDK stands; the key's ARN comes from KEY_ID.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable

import boto3
from aws_encryption_sdk import (
    CommitmentPolicy,
    DiscoveryAwsKmsMasterKeyProvider,
    EncryptionSDKClient,
    StrictAwsKmsMasterKeyProvider,
)
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.key_providers.kms import DiscoveryFilter
from botocore.exceptions import ClientError

CONTEXT = {"app": "orders", "purpose": "example"}
MESSAGE = b"the card number of order 1001"
KEY = os.environ["KEY_ID"]
ACCOUNT = KEY.split(":")[4]
CLIENT = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def opened(message: bytes, provider: StrictAwsKmsMasterKeyProvider | DiscoveryAwsKmsMasterKeyProvider) -> None:
    """Decrypts, and checks what a reader must check: the plaintext, the context, that the key was committed to."""
    plaintext, header = CLIENT.decrypt(source=message, key_provider=provider)
    if plaintext != MESSAGE or not CONTEXT.items() <= header.encryption_context.items():
        sys.exit("error: another message came back")
    if not header.algorithm.is_committing():
        sys.exit("error: the message does not commit to its key")


def refused(what: str, error_name: str, call: Callable[[], object]) -> None:
    """`call` must fail with this error at the bottom of it; says what it was."""
    try:
        call()
    except (AWSEncryptionSDKClientError, ClientError) as error:
        cause = root(error)
        if type(cause).__name__ != error_name:
            raise
        print(f"{what}: {error_name}: {cause}")
    else:
        sys.exit(f"error: {what}: nothing was refused")


def root(error: BaseException) -> BaseException:
    """The first cause: the SDK wraps what KMS said."""
    cause = error.__cause__ or error.__context__
    return root(cause) if cause is not None else error


def discovery(account: str) -> DiscoveryAwsKmsMasterKeyProvider:
    """A provider that tries whatever key a message names, of this account only."""
    return DiscoveryAwsKmsMasterKeyProvider(discovery_filter=DiscoveryFilter(account_ids=[account], partition="aws"))


def without_context(message: bytes) -> None:
    """Ask KMS for a message's data key as somebody would who does not know the context."""
    with CLIENT.stream(mode="d", source=io.BytesIO(message), key_provider=StrictAwsKmsMasterKeyProvider(key_ids=[KEY])) as stream:
        (data_key,) = stream.header.encrypted_data_keys
    boto3.client("kms").decrypt(CiphertextBlob=data_key.encrypted_data_key)


def main() -> None:
    logging.getLogger("aws_encryption_sdk").addHandler(logging.NullHandler())  # it logs a traceback for each refusal
    kms = boto3.client("kms")
    strict = StrictAwsKmsMasterKeyProvider(key_ids=[KEY])
    message, header = CLIENT.encrypt(source=MESSAGE, key_provider=strict, encryption_context=CONTEXT)
    opened(message, strict)
    print(f"works: {header.algorithm.name}, {len(message)} bytes of message opened")

    kms.disable_key(KeyId=KEY)
    try:
        refused("key disabled", "DisabledException", lambda: CLIENT.encrypt(source=MESSAGE, key_provider=strict))
        # Of several data keys one may still open: the SDK goes on to the next, and says at the end only that none did.
        refused("key disabled, an old message", "DecryptKeyError", lambda: opened(message, strict))
    finally:
        kms.enable_key(KeyId=KEY)
    opened(message, strict)
    print("key enabled: the old message opens")

    refused("without its context", "InvalidCiphertextException", lambda: without_context(message))
    opened(message, discovery(ACCOUNT))
    print("discovery in the key's account: the message opens")
    refused("discovery in another account", "MasterKeyProviderError", lambda: opened(message, discovery("999999999999")))

    lax = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
    uncommitted, _ = lax.encrypt(source=MESSAGE, key_provider=strict, encryption_context=CONTEXT)
    refused("without key commitment", "ActionNotAllowedError", lambda: opened(uncommitted, strict))


if __name__ == "__main__":
    main()

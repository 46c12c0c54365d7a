"""What a worker remembers of the use of keys: the last cryptographic call of each, by key id (AWS GetKeyLastUsage).

Noted by the door after each call that succeeded. Several replicas are merged by who keeps them (5 minutes' accuracy, AWS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from keystead.operations.world import LastUse

# AWS's cryptographic operations on a key. The others read, or need no key.
COUNTED: Final = frozenset(
    {
        "Decrypt",
        "DeriveSharedSecret",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)


class Uses:
    """One a worker. `new_id`: the id of the event, which the audit record of the call will carry."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._last: dict[str, LastUse] = {}

    def used(self, operation: str, response: Any, request_id: str, now: datetime) -> None:  # noqa: ANN401 - any response
        """A call succeeded. What is no cryptographic operation changes nothing."""
        if operation not in COUNTED:
            return
        use = LastUse(operation, now, self._new_id(), request_id)
        self._last[_key_id(response.key_id)] = use
        if operation == "ReEncrypt":
            self._last[_key_id(response.source_key_id)] = use

    def last_use(self, key_id: str) -> LastUse | None:
        """The last use of a key that this worker knows of."""
        return self._last.get(key_id)

    def merge(self, key_id: str, use: LastUse) -> None:
        """What another worker, or this one in an earlier life, knows."""
        known = self._last.get(key_id)
        if known is None or known.time < use.time:
            self._last[key_id] = use

    def all(self) -> Iterator[tuple[str, LastUse]]:
        """Everything known."""
        return iter(tuple(self._last.items()))


def _key_id(arn: str) -> str:
    return arn.rpartition("/")[2]

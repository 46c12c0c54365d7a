"""AWS JSON 1.1 for KMS: bytes -> request dataclass, response dataclass -> bytes, for every operation that a door serves.

Called by the door with the operation's name from X-Amz-Target. `served` is its table of operations (registry and control); all readers
and writers are compiled when the codec is made, so that a dataclass that does not fit the model stops the start and no request.
The rest of the model has its reasons in operations/unserved.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keystead.operations.registry import OperationRow
from keystead.operations.unserved import UNSERVED
from keystead.server.decode import request_decoder
from keystead.server.encode import response_encoder
from keystead.server.model import MODEL


class _Coding(NamedTuple):
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


class Codec:
    """The codec of a table of operations. TypeError, when it is made, for a row that does not fit the model."""

    def __init__(self, served: Mapping[str, OperationRow]) -> None:
        self._served = served
        self._codings = {name: _compile(name, row) for name, row in served.items()}

    def row(self, operation: str) -> OperationRow | None:
        """The operation, if it is served."""
        return self._served.get(operation)

    def unsupported(self, operation: str) -> str | None:
        """Why an operation of the model is not served. None: it is served, or AWS does not have it."""
        if operation in self._served or operation not in MODEL.operations:
            return None
        return UNSERVED.get(operation, f"{operation} is not served at this address.")

    def decode(self, operation: str, body: bytes) -> Any:  # noqa: ANN401 - the operation's request dataclass
        """The request of a served operation. KmsError, with AWS's code and text, for a body that is none."""
        return self._codings[operation].decode(body)

    def encode(self, operation: str, response: object) -> bytes:
        """The body of an answer of a served operation."""
        return self._codings[operation].encode(response)


def _compile(name: str, row: OperationRow) -> _Coding:
    operation = MODEL.operations.get(name)
    if operation is None:
        raise TypeError(f"{name} is no operation of the model")
    return _Coding(
        request_decoder(MODEL, operation.input, row.request),
        response_encoder(MODEL, operation.output, row.response),
    )

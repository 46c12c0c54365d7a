"""From the bytes of a request to the operation's request dataclass, by readers that are compiled once from model and dataclass.

Called by codec. The order: JSON (strictjson), types (SerializationException), the model's constraints (ValidationException, all of
them in one message), then what the model has and this version does not (UnsupportedOperationException). What operations say in their
own words ("NumberOfBytes is required.", alias prefix, tags) is no constraint of the model and is left to them.

Decided:
* `null` is the same as absent, as in AWS's JSON protocols; inside a list or map it is refused.
* A member that the model does not have is refused with SerializationException, and not named: it may be anything. AWS is known to
  ignore such members, but one that we ignore may be a later restriction of AWS (as Recipient was), and the caller would get more
  than was asked for.
* A member or enum value that the model has and our dataclass or vocabulary has not (DryRunModifiers, ML_DSA_44) is
  UnsupportedOperationException, after everything else was found valid.
* Base64 is the one canonical form: standard alphabet, padded, no line breaks, spare bits zero.
"""

from __future__ import annotations

import sys
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from keystead.errors import UnsupportedOperationError
from keystead.server.constraints import (
    MOST,
    Constraint,
    constraints_of,
    element,
    failure,
    missing,
    validation_error,
)
from keystead.server.hints import Hint, fields_of, item_hint
from keystead.server.model import Model, Shape
from keystead.server.strictjson import parse_object
from keystead.server.wire_errors import SerializationError

Failure = str | UnsupportedOperationError
Reader = Callable[[Any, str, list[Failure]], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INT: Final = 2**31
_SIMPLE: Final = frozenset({"string", "integer", "boolean", "blob", "timestamp"})
_TOKENS: Final = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE", type(None): "NULL_VALUE"}


def request_decoder(model: Model, shape: str, request: type) -> Callable[[bytes], Any]:
    """The decoder of one operation. TypeError where the dataclass is not the model's shape."""
    read = _reader(model, model.shapes[shape], request)

    def decode(body: bytes) -> Any:  # noqa: ANN401 - the request dataclass
        failures: list[Failure] = []
        value = read(parse_object(body), "", failures)
        if failures:
            raise _refusal(failures)
        return value

    return decode


def _refusal(failures: list[Failure]) -> Exception:
    texts = [one for one in failures if isinstance(one, str)]
    if texts:
        return validation_error(texts)
    return next(one for one in failures if not isinstance(one, str))


def _reader(model: Model, shape: Shape, hint: Hint) -> Reader:
    match shape.type:
        case "structure":
            return _structure(model, shape, hint)
        case "list":
            return _list(model, shape, hint)
        case "map":
            return _map(model, shape)
        case "string":
            return _enum(shape, hint) if shape.enum else _string(shape)
        case "integer":
            return _integer(shape)
        case "blob":
            return _blob(shape)
        case "boolean":
            return _boolean
        case "timestamp":
            return _timestamp
    raise TypeError(f"{shape.name}: no reader for {shape.type}")


class _Entry(NamedTuple):
    """A member. `path`: AWS's name for it in messages. `field` None: this version does not have it."""

    path: str
    field: str | None
    required: bool
    read: Reader


def _structure(model: Model, shape: Shape, hint: Hint) -> Reader:
    """`hint` a dataclass; or object, for what is validated and then only asked whether it was sent."""
    make: Callable[..., Any] = dict if hint is object else hint
    entries = _entries(model, shape, hint)
    entry_of = entries.get
    required = [(entry.field, entry.path) for entry in entries.values() if entry.required]

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not dict:
            raise _wrong(value, "a structure")
        prefix = at + "." if at else ""
        found = {}
        for wire, member in value.items():
            entry = entry_of(wire)
            if entry is None:
                raise SerializationError("The request has a member that the operation does not know.")
            if member is None:
                continue
            path, field, _, read_member = entry
            if field is None:
                read_member(member, prefix + path, failures)
                failures.append(UnsupportedOperationError(f"{wire} is not supported in this version."))
            else:
                found[field] = read_member(member, prefix + path, failures)
        for field, path in required:
            if field not in found:
                failures.append(missing(prefix + path))
        return None if failures else make(**found)

    return read


def _entries(model: Model, shape: Shape, hint: Hint) -> dict[str, _Entry]:
    fields = {} if hint is object else fields_of(hint, shape)
    entries = {}
    for wire, name in shape.members.items():
        known = fields.get(wire)
        inner = object if known is None else known.hint
        field = wire if hint is object else known.name if known else None
        needed = wire in shape.required or (known is not None and known.required)
        if needed and field is None:
            raise TypeError(f"{shape.name}: {hint} has no field for {wire}, which is required")
        entries[wire] = _Entry(wire[0].lower() + wire[1:], field, needed, _reader(model, model.shapes[name], inner))
    return entries


def _list(model: Model, shape: Shape, hint: Hint) -> Reader:
    item = model.shapes[shape.item]
    read_item = _reader(model, item, item_hint(hint))
    simple = item.type in _SIMPLE
    bounds = constraints_of(shape)
    must = element(constraints_of(item))

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not list:
            raise _wrong(value, "a list")
        _check(shape, bounds, value, at, failures)
        inner: list[Failure] = [] if simple else failures
        made = []
        for number, one in enumerate(value, 1):
            made.append(read_item(one, at if simple else f"{at}.{number}.member", inner))
            # Of simple values one broken one is enough: AWS names the list.
            if inner and (len(inner) >= MOST or (simple and isinstance(inner[-1], str))):
                break
        if simple and inner:
            failures.extend(one for one in inner if not isinstance(one, str))
            if isinstance(inner[-1], str):
                failures.append(failure(shape, value, at, must))
        return tuple(made)

    return read


def _map(model: Model, shape: Shape) -> Reader:
    for name in (shape.key, shape.value):
        if model.shapes[name].type != "string" or constraints_of(model.shapes[name]):
            raise TypeError(f"{shape.name}: a map with constraints on {name} has no reader yet")
    bounds = constraints_of(shape)

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not dict:
            raise _wrong(value, "a map")
        for one in value.values():
            if type(one) is not str:
                raise _wrong(one, "a String")
        if bounds:
            _check(shape, bounds, value, at, failures)
        return value

    return read


def _fast_bounds(shape: Shape) -> tuple[int, int]:
    """Lengths that break no constraint, found by one comparison; `_check` says the same of all others, with words."""
    if shape.pattern is not None:
        return 0, -1
    return shape.low or 0, sys.maxsize if shape.high is None else shape.high


def _string(shape: Shape) -> Reader:
    constraints = constraints_of(shape)
    low, high = _fast_bounds(shape)

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not str:
            raise _wrong(value, "a String")
        if not low <= len(value) <= high:
            _check(shape, constraints, value, at, failures)
        return value

    return read


def _enum(shape: Shape, hint: Hint) -> Reader:
    words = {one.value: one for one in hint} if isinstance(hint, type) and issubclass(hint, StrEnum) else None
    known: dict[str, Any] = {value: value if words is None else words.get(value) for value in shape.enum}
    must = constraints_of(shape)[0].must

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not str:
            raise _wrong(value, "a String")
        found = known.get(value)
        if found is None:
            if value in known:
                failures.append(UnsupportedOperationError(f"{value} is not supported in this version."))
            else:
                failures.append(failure(shape, value, at, must))
        return found

    return read


def _integer(shape: Shape) -> Reader:
    constraints = constraints_of(shape)

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not int or not -_INT <= value < _INT:
            raise _wrong(value, "an Integer")
        _check(shape, constraints, value, at, failures)
        return value

    return read


def _blob(shape: Shape) -> Reader:
    constraints = constraints_of(shape)
    low, high = _fast_bounds(shape)

    def read(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
        if type(value) is not str:
            raise _wrong(value, "a Blob")
        try:
            raw = a2b_base64(value)
            # Only the canonical form comes back: this finds what a2b_base64 passes over (line breaks, other alphabets, spare bits).
            canonical = b2a_base64(raw, newline=False) == value.encode()
        except ValueError:
            canonical = False
        if not canonical:
            raise SerializationError("A blob of the request is not valid base64.")
        if not low <= len(raw) <= high:
            _check(shape, constraints, raw, at, failures)
        return raw

    return read


def _boolean(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
    if type(value) is not bool:
        raise _wrong(value, "a Boolean")
    return value


def _timestamp(value: Any, at: str, failures: list[Failure]) -> Any:  # noqa: ANN401
    """Seconds since 1970, milliseconds at the finest."""
    if type(value) is not int and type(value) is not float:
        raise _wrong(value, "a Timestamp")
    try:
        return _EPOCH + timedelta(milliseconds=round(value * 1000))
    except OverflowError:
        raise SerializationError("A timestamp of the request is out of range.") from None


def _check(
    shape: Shape, constraints: tuple[Constraint, ...], value: Any, at: str, failures: list[Failure]  # noqa: ANN401
) -> None:
    for holds, must in constraints:
        if not holds(value):
            failures.append(failure(shape, value, at, must))


def _wrong(value: Any, wanted: str) -> SerializationError:  # noqa: ANN401
    """The words that AWS's JSON services use for a value of another type. They show its type only."""
    if type(value) is bool:
        return SerializationError(f"{'TRUE' if value else 'FALSE'}_VALUE can not be converted to {wanted}")
    if type(value) is dict:
        return SerializationError("Start of structure or map found where not expected.")
    if type(value) is list:
        return SerializationError("Start of list found where not expected.")
    return SerializationError(f"{_TOKENS[type(value)]} can not be converted to {wanted}")

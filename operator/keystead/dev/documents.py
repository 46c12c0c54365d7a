"""YAML as seeds are written in: several documents, of what JSON can say. Called by seeds.py. Pure.

Stricter than YAML, as a manifest has to be read one way only: a key twice is refused, and so are aliases (a small file could be made to
unfold without end) and what JSON has no word for. What is refused is told by line, never by its text: a seed has key material in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import yaml

from keystead.errors import InvalidSpecError

MAX_BYTES: Final = 1 << 20
MAX_DOCUMENTS: Final = 1000
_TEXT: Final = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"})
"""Tags that plain scalars do not get here: a date is text, as the API server takes it, and `<<` is a name."""

_MAX_DEPTH: Final = 100


class _Loader(yaml.SafeLoader):
    """SafeLoader with less."""

    _depth = 0
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in rows if tag not in _TEXT]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's
        if self.check_event(yaml.AliasEvent):
            _refuse(self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                    "an alias (*name) is not taken: write out what it stands for")
        self._depth += 1
        if self._depth > _MAX_DEPTH:  # the interpreter's own limit is somebody else's setting
            raise RecursionError
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            if name.tag != "tag:yaml.org,2002:str":
                _refuse(name.start_mark, "a name must be text: quote it")
            if name.value in seen:
                _refuse(name.start_mark, "a name stands here twice in one mapping: keep one")
            seen.add(name.value)
        return super().construct_mapping(node, deep=deep)


def _refuse(mark: yaml.Mark, problem: str) -> None:
    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=mark)


def read_documents(name: str, content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, document) of every document that is not empty; `where` names file and number. InvalidSpecError."""
    if len(content) > MAX_BYTES:
        raise InvalidSpecError(name, f"larger than {MAX_BYTES} bytes: split it, --seed can be given more than once")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSpecError(name, "not UTF-8 text: save it as such") from None
    number = 0
    try:
        loader = _Loader(text)
        while loader.check_data():  # type: ignore[no-untyped-call]
            number += 1
            document = loader.get_data()
            if document is not None:
                yield _checked(name, number, document)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        said = error.problem if isinstance(error, yaml.constructor.ConstructorError) else "not YAML that can be read"
        raise InvalidSpecError(f"{name}, document {number or 1}", f"{line}{said}") from None
    except (yaml.YAMLError, ValueError):
        raise InvalidSpecError(f"{name}, document {number or 1}", "not YAML that can be read") from None
    except RecursionError:
        raise InvalidSpecError(f"{name}, document {number or 1}", f"nested too deeply: {_MAX_DEPTH} levels are the most") from None


def _checked(name: str, number: int, document: object) -> tuple[str, dict[str, Any]]:
    where = f"{name}, document {number}"
    if number > MAX_DOCUMENTS:
        raise InvalidSpecError(name, f"more than {MAX_DOCUMENTS} documents: split it, --seed can be given more than once")
    if not isinstance(document, dict):
        raise InvalidSpecError(where, "not a manifest: give apiVersion, kind, metadata and spec")
    bad = next(_beyond_json(document), None)
    if bad is not None:
        raise InvalidSpecError(f"{where}: {bad}", "JSON has no such value: quote it")
    return where, document


def _beyond_json(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _beyond_json(below, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _beyond_json(item, f"{path}[{index}]")
    elif not (value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))):
        yield path

"""Writes operator/keystead/server/kms_model.json from the service model of the installed botocore: `make model`.

Kept: operations with their shapes and errors, and of every shape what a request or an answer can break. Left out: documentation,
and everything that the JSON protocol of KMS does not use. `news` says in words what a newer model has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.loaders

FILE = Path(__file__).resolve().parents[2] / "operator/keystead/server/kms_model.json"
KEPT = ("type", "required", "min", "max", "pattern", "enum", "sensitive", "exception", "fault")


def source() -> dict[str, Any]:
    """botocore's own model."""
    return botocore.loaders.Loader().load_service_model("kms", "service-2", api_version="2014-11-01")


def reduced(model: dict[str, Any]) -> dict[str, Any]:
    """What we keep of it."""
    return {
        "source": "botocore kms/2014-11-01/service-2.json; written by `make model`, do not edit",
        "operations": {name: _operation(row) for name, row in sorted(model["operations"].items())},
        "shapes": {name: _shape(row) for name, row in sorted(model["shapes"].items())},
    }


def text(model: dict[str, Any]) -> str:
    """The file: one operation or shape a line, so that a diff shows what changed."""
    parts = []
    for section in ("operations", "shapes"):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in model[section].items())
        parts.append(f' "{section}": {{\n{lines}\n }}')
    return "{\n" + f' "source": {json.dumps(model["source"])},\n' + ",\n".join(parts) + "\n}\n"


def news(known: dict[str, Any], newer: dict[str, Any]) -> list[str]:
    """What `newer` has and `known` has not, or has otherwise: one line each."""
    return [*_news("operation", known["operations"], newer["operations"]), *_news("shape", known["shapes"], newer["shapes"])]


def _news(noun: str, known: dict[str, Any], newer: dict[str, Any]) -> Iterator[str]:
    for name in sorted(set(known) - set(newer)):
        yield f"gone: {noun} {name}"
    for name, row in newer.items():
        if name not in known:
            yield f"new: {noun} {name}"
            continue
        for part in sorted(set(row) | set(known[name])):
            yield from _changes(f"{noun} {name}, {part}", known[name].get(part), row.get(part))


def _changes(what: str, known: Any, newer: Any) -> Iterator[str]:
    if known == newer:
        return
    if isinstance(known, list | dict) and isinstance(newer, list | dict):
        added, removed = sorted(set(newer) - set(known)), sorted(set(known) - set(newer))
        if added or removed:
            yield f"{what}: new {', '.join(added) or 'nothing'}; gone {', '.join(removed) or 'nothing'}"
            return
    yield f"{what}: {known} is now {newer}"


def _operation(row: dict[str, Any]) -> dict[str, Any]:
    kept = {side: row[side]["shape"] for side in ("input", "output") if side in row}
    return kept | {"errors": sorted(error["shape"] for error in row["errors"])}


def _shape(row: dict[str, Any]) -> dict[str, Any]:
    kept = {part: row[part] for part in KEPT if part in row}
    if "members" in row:
        kept["members"] = {name: member["shape"] for name, member in row["members"].items()}
    return kept | {part: row[part]["shape"] for part in ("member", "key", "value") if part in row}


if __name__ == "__main__":
    FILE.write_text(text(reduced(source())))
    print(f"wrote {FILE.name}")

"""Totality of the tables of the package, and the form of the generated files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.resources.__main__ import main, render
from keystead.resources.crd import KINDS, Kind, object_schema
from keystead.resources.reasons import REASONS, Outlook, Reason
from keystead.resources.schema import node_at
from keystead.resources.vocabulary import USAGES, AnyDataKeySpec, DataKeyPairSpec, DataKeySpec, KeySpec

CRDS = Path(__file__).parents[2] / "crds"


def test_every_key_spec_has_usages() -> None:
    assert set(USAGES) == set(KeySpec)
    assert all(usages for usages in USAGES.values())


def test_data_key_specs_are_the_union_of_the_two_enums() -> None:
    assert [spec.value for spec in AnyDataKeySpec] == [spec.value for spec in (*DataKeySpec, *DataKeyPairSpec)]


def test_a_data_key_pair_spec_is_told_from_a_symmetric_one() -> None:
    assert AnyDataKeySpec.RSA_2048.pair is DataKeyPairSpec.RSA_2048
    assert AnyDataKeySpec.AES_256.pair is None


def test_every_reason_has_a_row_with_something_to_do() -> None:
    assert set(REASONS) == set(Reason)
    assert all(row.meaning and row.remedy for row in REASONS.values())


def test_only_a_reason_in_progress_heals_alone() -> None:
    healing = [row for row in REASONS.values() if row.heals_within is not None]
    assert all(row.outlook is Outlook.IN_PROGRESS and row.heals_within for row in healing)


def test_reasons_are_camel_case_words() -> None:
    assert all(reason.value.isalpha() and reason.value[0].isupper() for reason in Reason)


def test_checked_in_crds_are_the_generated_ones() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in CRDS.glob("*.yaml")}
    assert there == dict(render()), "run `make crds`"


def test_the_command_writes_every_crd(tmp_path: Path) -> None:
    assert main(["crds", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(render())


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}".lstrip("."))
    for name, below in (("[]", schema.get("items")), ("{}", schema.get("additionalProperties"))):
        if isinstance(below, dict):
            yield from nodes(below, path + name)


def modelled(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    return [(path, node) for path, node in nodes(object_schema(kind)) if path.startswith(("spec", "status"))]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_described(kind: Kind) -> None:
    assert [path for path, node in modelled(kind) if "description" not in node and not path.endswith("[]")] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_string_list_and_map_under_spec_is_bounded(kind: Kind) -> None:
    bound = {"string": "maxLength", "array": "maxItems"}
    loose = [
        path
        for path, node in modelled(kind)
        if path.startswith("spec") and node["type"] in bound and bound[node["type"]] not in node
        if "enum" not in node and node.get("format") != "date-time"
    ]
    assert loose == []
    free = [
        node
        for _, node in modelled(kind)
        if "additionalProperties" in node or "x-kubernetes-preserve-unknown-fields" in node
    ]
    assert all("maxProperties" in node and node["x-kubernetes-map-type"] == "atomic" for node in free)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_list_is_a_typed_map_or_set(kind: Kind) -> None:
    lists = [node for _, node in modelled(kind) if node["type"] == "array"]
    assert all(node.get("x-kubernetes-list-type") in ("map", "set") for node in lists)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_columns_and_selectable_fields_exist_in_the_schema(kind: Kind) -> None:
    schema = object_schema(kind)
    paths = [path for _, _, path, _ in kind.columns if path.startswith((".spec", ".status")) and "[?" not in path]
    for path in (*paths, *kind.selectable):
        node_at(schema, path)


def test_fields_that_the_api_may_change_have_no_default() -> None:
    schema = object_schema(KINDS[0])
    changeable = ("description", "enabled", "policy", "tags", "rotation")
    found = [
        path
        for path, node in nodes(schema)
        if path.startswith(tuple(f"spec.{name}" for name in changeable)) and "default" in node
    ]
    assert found == ["spec.rotation.windows[].timezone"]  # a list key; the API never writes windows


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_status_is_never_observed_at_birth(kind: Kind) -> None:
    status = object_schema(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert status["properties"]["observedGeneration"]["default"] == -1
    assert "minimum" not in status["properties"]["observedGeneration"]

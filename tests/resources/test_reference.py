"""The reference is generated, and its sources agree: a field's text, its schema and its rules tell the same story."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from keystead.resources import names
from keystead.resources.__main__ import main
from keystead.resources.conditions import CONDITIONS, ConditionType
from keystead.resources.crd import KINDS, Kind, object_schema
from keystead.resources.events import EVENTS, WARNINGS, Event, is_warning
from keystead.resources.markdown import HEADER, code, table
from keystead.resources.metrics import METRICS, Metric, MetricType
from keystead.resources.names import ANNOTATIONS, FINALIZERS, LABELS, SECRET_TYPES
from keystead.resources.reasons import REASONS, Outlook, Reason
from keystead.resources.reference import pages
from keystead.resources.reference_kinds import Field, default, fields, immutable
from keystead.resources.rules import RULES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/reference"
KIND_NAMES = {kind.kind for kind in KINDS}
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def spec_fields(kind: Kind) -> list[Field]:
    return list(fields(object_schema(kind)["properties"]["spec"], "spec"))


def text(field: Field) -> str:
    said: str = field.schema.get("description", "")
    return said


@pytest.mark.parametrize("name", list(pages()))
def test_checked_in_pages_are_the_generated_ones(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "run `make reference`"


def test_the_command_writes_every_page(tmp_path: Path) -> None:
    assert main(["reference", str(tmp_path)]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == dict(pages())


def test_pages_are_headed_as_generated() -> None:
    assert all(page.startswith(HEADER) for page in pages().values())


def test_every_row_of_a_page_has_the_columns_of_its_head() -> None:
    cells = re.compile(r"(?<!\\)\|")
    for page in pages().values():
        for block in page.split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(cells.findall(row)) for row in rows}) <= 1, block[:200]


def test_a_cell_cannot_break_its_table() -> None:
    assert table(("a", "b"), [("x | y\nz", code("`"))]).splitlines()[-1] == "| x \\| y z | `` ` `` |"


@each_kind
def test_the_kinds_page_has_every_field(kind: Kind) -> None:
    part = pages()["kinds.md"].split(f"\n## {kind.kind}\n")[1].split("\n## ")[0]
    schema = object_schema(kind)["properties"]
    named = [field.path for top in ("spec", "status") for field in fields(schema[top], top)]
    assert re.findall(r"^\| `((?:spec|status)\.[^`]+)` \| (?:string|integer|boolean|enum|object|list|map|JSON|time)", part, re.M) == named


def test_the_kinds_page_has_every_rule_with_its_message() -> None:
    page = pages()["kinds.md"].replace("\\|", "|")
    assert [rule.name for rule in RULES if rule.message not in page or code(rule.cel) not in page] == []


@each_kind
def test_a_default_in_words_is_the_one_in_the_schema(kind: Kind) -> None:
    for field in spec_fields(kind):
        if "default" in field.schema and "Default: " in text(field):
            said = default(field._replace(schema={"description": text(field)}))
            assert said.split(" ")[0] == str(field.schema["default"]), field.path


@each_kind
def test_a_field_is_immutable_by_a_rule_where_its_text_says_so(kind: Kind) -> None:
    for field in spec_fields(kind):
        if "Immutable." in text(field):
            assert immutable(kind.kind, field.path), field.path
        if "Mutable" in text(field):
            assert not immutable(kind.kind, field.path), field.path


@each_kind
def test_a_field_that_a_rule_keeps_for_later_says_so(kind: Kind) -> None:
    later = {rule.path for rule in RULES if rule.kind == kind.kind and rule.name.endswith("-not-available")}
    said = {field.path for field in spec_fields(kind) if "not available in this version" in text(field).lower()}
    assert said == later


@each_kind
def test_every_optional_field_of_spec_says_what_its_absence_means_or_is_one_of_several(kind: Kind) -> None:
    several = {part for rule in RULES if rule.kind == kind.kind for part in re.findall(r"has\(self\.(\w+)\) \? 1", rule.cel)}
    silent = [field.path for field in spec_fields(kind) if not default(field) and field.schema["type"] != "object"]
    assert [path for path in silent if path.rpartition(".")[2] not in several] == []


def test_every_condition_has_a_row() -> None:
    assert set(CONDITIONS) == set(ConditionType)


def test_every_event_has_a_row_with_kinds_that_exist() -> None:
    assert set(EVENTS) == set(Event)
    assert all(row.when and row.kinds and set(row.kinds) <= KIND_NAMES for row in EVENTS.values())


def test_an_event_and_a_warning_never_share_a_name() -> None:
    assert not {event.value for event in Event} & {reason.value for reason in WARNINGS}


def test_only_what_stalls_is_a_warning_of_a_reason() -> None:
    assert all(is_warning(reason) is (REASONS[reason].outlook is Outlook.FAILED) for reason in Reason)
    assert is_warning(Event.DESTROYED)
    assert not is_warning(Event.CREATED)


def test_every_metric_has_a_row_and_its_name_the_form_of_its_type() -> None:
    assert set(METRICS) == set(Metric)
    for name, row in METRICS.items():
        assert re.fullmatch(r"keystead_[a-z_]+", name)
        assert name.endswith("_total") is (row.type is MetricType.COUNTER)


def test_every_name_of_ours_stands_in_a_table() -> None:
    constants = {value for key, value in vars(names).items() if key.isupper() and isinstance(value, str) and "/" in value}
    rows = {*ANNOTATIONS, *LABELS, *FINALIZERS, *SECRET_TYPES}
    assert {value.replace("{}", "<kind>") for value in constants} - {names.API_VERSION} == rows


def everything(folder: str, pattern: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).rglob(pattern)))


def test_a_name_that_is_reserved_is_used_nowhere_and_every_other_one_somewhere() -> None:
    used = {getattr(names, constant) for constant in re.findall(r"\bnames\.([A-Z_]+)\b", everything("operator/keystead", "*.py"))}
    used |= set(re.findall(r"kms\.keystead\.io/[a-z-]+", everything("charts/keystead/templates", "*.yaml")))
    tables = {**ANNOTATIONS, **LABELS, **FINALIZERS}
    assert [name for name, row in tables.items() if row.meaning.startswith("Reserved") is (name in used)] == []


def test_the_verb_of_an_annotation_is_the_one_that_the_admission_policy_asks() -> None:
    policy = (ROOT / "charts/keystead/templates/policy-keys.yaml").read_text(encoding="utf-8")
    asked = dict(re.findall(r'\(dict "note" "([a-z-]+)" "verb" "([a-z]+)"', policy))
    listed = {name.partition("/")[2]: re.split(r"[ ,]", row.verb)[0] for name, row in ANNOTATIONS.items() if row.verb}
    assert listed == asked


def test_metrics_that_the_chart_speaks_of_exist() -> None:
    named = set(re.findall(r"\bkeystead_[a-z_]+\b", everything("charts/keystead", "*.yaml")))
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= {metric.value for metric in Metric}


def test_no_public_name_is_described_outside_the_table() -> None:
    source = inspect.getsource(names).split('"""\n', 1)[1]
    assert re.findall(r'^[A-Z_]+: Final = "[^"]+"\n"""', source, re.M) == []

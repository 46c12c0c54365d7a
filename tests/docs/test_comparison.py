"""The comparison says of everybody the same questions, dates every answer, and hides no line where Keystead loses."""

from __future__ import annotations

import re

import pytest
from tests.docs.pages import ROOT, table_after

PAGE = (ROOT / "docs/comparison.md").read_text()
LOSSES = "Where Keystead loses"
QUESTIONS = [name for name in re.findall(r"^## (.*)$", PAGE, re.MULTILINE) if name != LOSSES]
OURS = "**Keystead**"
DATED = re.compile(r"20\d\d-\d\d")
TEST = re.compile(r"`tests/[\w/]+\.py")

question = pytest.mark.parametrize("name", QUESTIONS)


def rows(name: str) -> list[dict[str, str]]:
    return table_after(PAGE, f"## {name}\n")


def test_there_are_the_questions_that_a_person_chooses_by():
    asked = " ".join(QUESTIONS).lower()
    for word in (
        "root keys",
        "pkcs#11",
        "custom resources",
        "aws kms protocol",
        "rotation",
        "deletion",
        "aliases",
        "grants",
        "policies",
    ):
        assert word in asked
    for word in ("audit", "availability", "clusters", "certification", "maturity", "licence"):
        assert word in asked


@question
def test_every_question_is_asked_of_everybody(name):
    assert [row["who"] for row in rows(name)] == [row["who"] for row in rows(QUESTIONS[0])]


@question
def test_every_answer_has_a_date_and_a_source(name):
    for row in rows(name):
        assert row["answer"]
        assert DATED.search(row["as of"]), row
        assert "](" in row["source"] or TEST.search(row["source"]), row


@question
def test_what_keystead_claims_is_shown_by_a_test_or_is_called_a_loss(name):
    ours = next(row for row in rows(name) if row["who"] == OURS)
    assert TEST.search(ours["source"]) or "**Loses" in ours["answer"] or name == "Licence and price"


def test_every_loss_of_a_table_stands_in_the_list_above():
    listed = PAGE.split(f"## {LOSSES}", 1)[1].split("\n## ", 1)[0].lower()
    said = {name for name in QUESTIONS if "**Loses" in next(row["answer"] for row in rows(name) if row["who"] == OURS)}
    words = {
        "Your own HSM, by PKCS#11": "hardware hsm",
        "The AWS KMS protocol, for SDKs that exist": "aws kms protocol",
        "One key in several clusters or regions": "replication",
        "Certification": "certification",
        "Maturity and community": "nobody but its authors",
    }
    assert said == words.keys()
    assert [name for name, word in words.items() if word not in listed] == []


def test_the_short_version_of_the_readme_has_a_line_for_each_loss():
    short = (ROOT / "README.md").read_text().split("## What people use today", 1)[1].split("\n## ", 1)[0]
    for word in ("AWS KMS protocol", "replication", "certification", "hardware HSM"):
        assert word.lower() in short.lower(), word

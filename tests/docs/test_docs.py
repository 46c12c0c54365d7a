"""The pages hold together: links resolve, named tests exist, decision pages are whole, and no file names what it must not."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, anchors, links, pages, table_after, tracked
from tests.suites import SUITES

from keystead.cli.hsm import hsm

PAGES = pages()
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
HEADINGS = ["Context", "Options", "Outcome", "Must not"]
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
NAMED_PATH = re.compile(r"`((?:docs|tests|operator|charts|requirements|examples)/[\w./-]*[\w/])`")
COMMAND = re.compile(r"^\$ keystead hsm ([\w-]+)(.*)$", re.MULTILINE)
NAMED_PAGE = re.compile(r"\bdocs/[\w/-]+\.md\b")

# Words are put together here, so that this file does not name what it looks for.
REGISTRIES = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "registry.npm" + "js.org",
)
MACHINE = (
    "/wo" + "rk/",
    "/ro" + "ot/",
    "/ho" + "me/",
    "file:" + "///",
    "../sha" + "red",
    "sha" + "red/design",
    "sha" + "red/data",
)
FORBIDDEN = re.compile("|".join(re.escape(word) for word in (*REGISTRIES, *MACHINE)))

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
decision = pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)


@page
def test_links_resolve(page):
    for target in links(page):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


@page
def test_tests_that_are_named_exist(page):
    for file, name in NAMED_TEST.findall(page.read_text()):
        assert (ROOT / file).is_file(), file
        if name:
            assert name in names_in(ROOT / file), f"{file}::{name}"


@cache
def names_in(file: Path) -> frozenset[str]:
    return frozenset(re.findall(r"def (test_\w+)", file.read_text()))


@page
def test_paths_that_are_named_exist(page):
    for name in NAMED_PATH.findall(page.read_text()):
        assert "*" in name or (ROOT / name).exists(), name


@decision
def test_a_decision_has_its_four_headings(path):
    assert re.findall(r"^## (.*)$", path.read_text(), re.MULTILINE) == HEADINGS


@decision
def test_a_decision_is_one_short_page(path):
    text = path.read_text()
    assert text.startswith(f"# {int(path.stem[:4])}. ")
    assert len(text.splitlines()) <= 60
    assert all(re.search(rf"^## {heading}\n\n\S", text, re.MULTILINE) for heading in HEADINGS)


def test_decisions_are_numbered_without_a_gap():
    assert [int(path.stem[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_the_index_names_every_decision():
    index = (ROOT / "docs/decisions/README.md").read_text()
    assert [path.name for path in DECISIONS] == re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index)


def test_every_dependency_that_the_code_imports_has_a_decision():
    names = re.findall(r'^    "([a-z0-9-]+)>=', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    words = " ".join(path.read_text().lower() for path in DECISIONS)
    imported = {"pyyaml": "yaml", "python-pkcs11": "pkcs11", "prometheus-client": "prometheus_client"}
    code = "\n".join(path.read_text() for path in (ROOT / "operator/keystead").rglob("*.py"))
    for name in names:
        if re.search(rf"^(from|import) {imported.get(name, name)}\b", code, re.MULTILINE):
            assert name in words, name


def test_commands_of_the_token_page_have_these_options():
    commands = COMMAND.findall((ROOT / "docs/hsm.md").read_text())
    assert {name for name, _ in commands} == {"init", "check", "verify-backup"}
    for name, rest in commands:
        known = {option for parameter in hsm.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_the_testing_page_has_the_suites_with_their_budgets():
    rows = table_after((ROOT / "docs/testing.md").read_text(), "## Suites")
    listed = {row["suite"]: row["budget, warm"] for row in rows}
    assert {suite.name: f"{suite.budget} s" for suite in SUITES}.items() <= listed.items()


def test_pages_that_the_code_names_exist():
    for path in (ROOT / "operator/keystead").rglob("*.py"):
        for name in NAMED_PAGE.findall(path.read_text()):
            assert (ROOT / name).is_file(), f"{path.relative_to(ROOT)} names {name}"


def test_no_file_names_a_registry_a_machine_or_our_design_folder():
    assert tracked() or not (ROOT / ".git").exists()
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)

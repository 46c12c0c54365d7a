"""The Dockerfile's promises, read from its text: a build needs a container engine, which the tests do not have."""

from __future__ import annotations

import re

import pytest
from tests.cluster import toolset

DOCKERFILE = toolset.ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def arguments(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def test_the_base_is_an_argument_with_a_public_default() -> None:
    assert instructions()[0] == ("ARG", "BASE=debian:bookworm-slim")
    stages = {rest.split(" AS ")[-1] for rest in arguments("FROM") if " AS " in rest}
    assert {rest.split(" AS ")[0] for rest in arguments("FROM")} <= {"${BASE}", *stages}
    assert len(arguments("FROM")) > 1


def test_the_image_runs_as_nobody_of_the_system() -> None:
    assert arguments("USER") == ["65532:65532"]
    words = [word for word, _ in last_stage()]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words, "the last stage only copies"


def test_nothing_is_fetched_but_by_apt() -> None:
    text = DOCKERFILE.read_text()
    assert not arguments("ADD")
    assert not re.search(r"https?://|curl|wget|git clone|index-url", text)
    installs = re.findall(r"pip install (.*)", text)
    assert installs
    assert all("--no-index" in each and "--no-deps" in each for each in installs)


def test_the_entrypoint_is_the_cli() -> None:
    assert arguments("ENTRYPOINT") == ['["keystead"]']
    assert arguments("HEALTHCHECK") == ["NONE"]
    assert not arguments("CMD")


@pytest.mark.parametrize("label", ["title", "description", "licenses", "version", "revision"])
def test_the_image_says_what_it_is(label: str) -> None:
    assert f"org.opencontainers.image.{label}=" in arguments("LABEL")[0]


def test_only_wheels_enter_the_build() -> None:
    lines = (toolset.ROOT / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["*", "!wheelhouse", "!wheelhouse/*.whl"]
    assert {rest.split()[0] for rest in arguments("COPY")} == {"wheelhouse", "--from=packages"}

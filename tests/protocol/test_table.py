"""The README's table of laptop endpoints says of Keystead what Keystead does, and dates every cell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from tests.clients.build import ensure
from tests.clients.endpoint import PROGRAM, without_aws
from tests.protocol.table import HEADING, KILLED, PROBES, cells, kept, says_yes, survives

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SECTION = README.split(HEADING, 1)[1].split("\n## ", 1)[0]
OPENINGS = ("Keystead dev", "moto server", "LocalStack", "local-kms")
NOT_PROBED = {
    "where keys live",
    "start to first answer, medians of 5 starts, four runs on a busy machine",
    "licence, price",
}
SOURCED = OPENINGS[2:]


@pytest.mark.token
@pytest.mark.parametrize("question", PROBES)
def test_the_table_says_what_keystead_does(house, question):
    assert says_yes(cells("Keystead")[question]) == PROBES[question](house)


@pytest.mark.token
def test_the_table_says_what_keystead_keeps(tmp_path):
    assert says_yes(cells("Keystead")[KILLED]) == survives(kept(tmp_path))


def test_every_column_has_a_version_and_a_date():
    for name in OPENINGS:
        (heading,) = re.findall(
            rf"\| ([^|]*{name}[^|]*) ", SECTION.split("<!-- laptop endpoints -->")[1].split("\n|---")[0]
        )
        assert re.search(r"\d+\.\d+\.\d+|[0-9a-f]{7}", heading), heading
        assert re.search(r"20\d\d-\d\d-\d\d", heading), heading


def test_every_row_is_a_probe_or_has_its_source():
    assert set(cells("Keystead")) == {*PROBES, KILLED, *NOT_PROBED}
    for column in SOURCED:
        for question, cell in cells(column).items():
            assert "][" in cell or "not run here" in cell, (column, question)


def test_where_keystead_does_less_the_cell_says_so():
    for question, cell in cells("Keystead").items():
        assert question in NOT_PROBED or says_yes(cell) or cell.endswith("loses**"), question


def test_every_source_that_is_named_is_given():
    named = set(re.findall(r"\]\[([\w-]+)\]", SECTION))
    given = set(re.findall(r"^\[([\w-]+)\]: https://", SECTION, re.MULTILINE))
    assert named == given


@pytest.mark.clients
def test_the_commands_of_the_section_work_as_they_stand(tmp_path):
    """`make setup` is what made this environment; the port is a free one, because 4566 may be somebody's."""
    (block,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    lines = [line for line in block.splitlines() if line != "make setup"]
    assert len(lines) == 4
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/keystead").symlink_to(PROGRAM)
    script = "\n".join([*lines, "status=$?", "kill $!", "wait $!", "exit $status"])
    script = script.replace("keystead dev", "keystead dev --listen 127.0.0.1:0")
    folders = [*(str(folder) for folder in ensure().path), os.environ["PATH"]]
    environment = without_aws() | {"PATH": os.pathsep.join(folders), "AWS_PAGER": ""}
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as shell:
        try:
            out, error = shell.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    assert shell.returncode == 0, error.decode()
    assert "arn:aws:kms:" in out.decode()

"""Writes what docs/audit.md shows: the output of its commands on the trail of demo.py, and the example record.

    python -m tests.audit_reading.page        after a change of records, reports or commands; the test of the page says when
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.audit.events import KEY, a_call, a_request, a_response, judged
from tests.audit_reading import demo
from tests.docs.pages import ROOT

from keystead.audit import cloudtrail
from keystead.audit.lines import Chain
from keystead.policy import Action
from keystead.policy.question import By, Ground

PAGE = ROOT / "docs/audit.md"
CUT = "<!-- cut -->"
COMMAND = re.compile(r"\$ keystead (audit (?:verify|search|summary) [^\n]*)")
BLOCK = re.compile(r"```console\n(\$ keystead audit (?:verify|search|summary) .*?)```", re.DOTALL)
EXAMPLE = re.compile(r"```json\n.*?```", re.DOTALL)


def example() -> Any:
    """A record of Decrypt, as a line of a chain."""
    material = KEY.versions[0].material_id
    by = By(Ground.RBAC, "decrypt kmskeys/orders")
    reason = "RBAC gives system:serviceaccount:team-a:app the verb decrypt on orders in team-a"
    call = a_call(
        "Decrypt",
        request=a_request("Decrypt", key_id="alias/orders", dry_run=None),
        response=replace(a_response("Decrypt"), key_material_id=material),
        trail=(judged(action=Action.DECRYPT, reason=reason, by=by),),
    )
    (record,) = cloudtrail.call(call)
    return json.loads(Chain("keystead-server-0-20261126T080000Z-1f0c9a3e", 1041, "5e" * 32).link(record))


def _run(block: str, folder: Path) -> str:
    command = block.split("\n", 1)[0]
    match = COMMAND.match(command)
    assert match
    done = subprocess.run(
        [sys.executable, "-m", "keystead", *match[1].split()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [command, *(line.rstrip() for line in (done.stdout + done.stderr).splitlines())]
    return "```console\n" + "\n".join(lines) + "\n```"


def written(text: str) -> str:
    """The page with everything filled in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.write(folder)
        whole, mark, touched = text.partition(CUT)
        whole = BLOCK.sub(lambda found: _run(found[1], folder), whole)
        demo.cut(folder)
        touched = BLOCK.sub(lambda found: _run(found[1], folder), touched)
    shown = "```json\n" + json.dumps(example(), indent=2, ensure_ascii=False) + "\n```"
    return EXAMPLE.sub(lambda _: shown, whole + mark + touched, count=1)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""docs/endpoint.md names every operation that is served, and every one of AWS's that is not."""

from __future__ import annotations

import re
from pathlib import Path

from keystead.operations.control.registry import CONTROL
from keystead.operations.registry import OPERATIONS
from keystead.operations.unserved import UNSERVED

PAGE = (Path(__file__).resolve().parents[2] / "docs/endpoint.md").read_text()


def section(heading: str) -> str:
    return PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_the_table_of_operations_is_what_is_served():
    table, refused = section("Operations").split("UnsupportedOperationException", 1)
    named = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b|\b(?:Encrypt|Decrypt|Sign|Verify|ReEncrypt)\b", table))
    named -= {"AssumeRoleWithWebIdentity", "GetCallerIdentity", "DryRun"}
    assert named == set(OPERATIONS) | set(CONTROL)
    assert {name for name in UNSERVED if name not in refused} == set()

"""How the command line refuses: exit codes of cli.output.ERRORS, and the form of what it says."""

from __future__ import annotations

import re

from tests.hsm.domains import Done

AUTH, SETUP, SPEC, FORMAT = 7, 8, 2, 3


def refused(done: Done, code: int, words: str) -> None:
    """One lower-case line and a hint on stderr, nothing on stdout, no traceback, this exit code."""
    assert done.code == code, done.err
    assert done.out == ""
    lines = done.err.strip().splitlines()
    assert len(lines) == 2, done.err
    assert lines[0].startswith("error: ") and lines[1].startswith("hint: ")
    assert re.search(words, lines[0]), lines[0]

"""What must hold of the source tree as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_source_root_is_no_package() -> None:
    """`operator/__init__.py` would break the standard library's `operator` for everything started from here."""
    assert not (ROOT / "operator/__init__.py").exists()


def test_the_standard_library_operator_still_imports_from_the_root() -> None:
    code = "import operator, collections; assert operator.add(1, 2) == 3"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_layers_hold() -> None:
    # In a process of its own: import-linter switches off the loggers of whoever calls it.
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(config_filename='pyproject.toml', no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

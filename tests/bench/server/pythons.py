"""Which Python the servers run on: the image's. Called by servers.py and measure.py.

The image has Debian's python3 (Dockerfile), which is built with profile-guided optimisation; a Python that a developer built often is not,
and serves a fifth less. Where the machine has Debian's, the servers of this benchmark run on it, out of requirements/runtime.txt.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.clients.build import ROOT, digest, made, run

RUNTIME = ROOT / "requirements" / "runtime.txt"
DEBIAN = Path("/usr/bin/python3")
_VERSION = "import sys, ensurepip; assert sys.version_info >= (3, 11); print(sys.version)"


def image_python() -> tuple[Path, str]:
    """An interpreter with what the server needs, and the word for the page."""
    told = (
        subprocess.run([DEBIAN, "-c", _VERSION], capture_output=True, text=True, check=False)
        if DEBIAN.exists()
        else None
    )
    if told is None or told.returncode != 0:
        return Path(sys.executable), f"Python {sys.version.split()[0]} of this environment (the image has Debian's)"
    folder = made("bench-python", digest(RUNTIME.read_bytes(), told.stdout), 40, _install)
    return folder / "venv/bin/python", f"Debian's Python {told.stdout.split()[0]}, as in the image"


def _install(folder: Path) -> None:
    venv = folder / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    run([str(DEBIAN), "-m", "venv", str(venv)], ROOT)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--require-hashes", "-r", str(RUNTIME)], ROOT)


def environment() -> dict[str, str]:
    """Where that interpreter finds our code."""
    return {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}

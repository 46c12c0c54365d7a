"""Ends by pid what up.py started: `python -m tests.cluster.down --state DIR [--delete]`. Idempotent."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.cluster import build, controlplane


def down(state: Path, *, delete: bool = False) -> bool:
    """Ends what runs in `state` and waits until it is gone; False where nothing ever was. `delete`: the folder too."""
    plane = controlplane.load(state)
    if plane is None:
        return False
    plane.stop()
    if delete:
        shutil.rmtree(state)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.down", description="end a control plane")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the folder given to up")
    parser.add_argument("--delete", action="store_true", help="delete the folder with its data afterwards")
    arguments = parser.parse_args()
    ended = down(arguments.state.resolve(), delete=arguments.delete)
    build.say("down" if ended else f"nothing to end in {arguments.state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

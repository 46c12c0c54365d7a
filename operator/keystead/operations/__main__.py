"""Writes what is generated from the tables of this package: `python -m keystead.operations reference FOLDER...`.

`make reference` calls it. The only I/O of this package. `open` instead of pathlib, which the layer's contract keeps out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keystead.operations.reference import pages


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every page into every folder named."""
    parser = argparse.ArgumentParser(prog="python -m keystead.operations", description="write the generated pages")
    parser.add_argument("what", choices=("reference",), help="the pages as Markdown")
    parser.add_argument("folder", nargs="+", help="folder to write into; it must exist")
    given = parser.parse_args(arguments)
    for folder in given.folder:
        for name, text in pages().items():
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:  # noqa: PTH123 - see above
                file.write(text)
            sys.stderr.write(f"wrote {folder}/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes what is generated from the models: `python -m keystead.resources crds FOLDER...` and `... reference FOLDER...`.

`make crds` and `make reference` call it. The only I/O of this package. `open` instead of pathlib, which the layer's contract keeps out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import yaml

from keystead.resources.crd import KINDS, definition
from keystead.resources.reference import pages

HEADER = "# Generated from operator/keystead/resources by `make crds`: do not edit.\n"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - PyYAML's signature
        return True


def render() -> Mapping[str, str]:
    """File name -> text of each CRD."""
    return {
        kind.file_name: HEADER
        + yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for kind in KINDS
    }


_WHAT: Final[Mapping[str, Callable[[], Mapping[str, str]]]] = {"crds": render, "reference": pages}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every file of one sort into every folder named."""
    parser = argparse.ArgumentParser(prog="python -m keystead.resources", description="write the generated files")
    parser.add_argument("what", choices=_WHAT, help="crds: the CRDs as YAML; reference: the pages as Markdown")
    parser.add_argument("folder", nargs="+", help="folder to write into; it must exist")
    given = parser.parse_args(arguments)
    for folder in given.folder:
        for name, text in _WHAT[given.what]().items():
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:  # noqa: PTH123 - see above
                file.write(text)
            sys.stderr.write(f"wrote {folder}/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

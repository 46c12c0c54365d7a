"""`python -m keystead.resources FOLDER...`: write the CRDs as YAML into each folder (`make crds`).

The only I/O of this package. `open` instead of pathlib, which the layer's contract keeps out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from keystead.resources.crd import KINDS, definition

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every CRD into every folder named."""
    parser = argparse.ArgumentParser(prog="python -m keystead.resources", description="write the CRDs as YAML")
    parser.add_argument("folder", nargs="+", help="folder to write into; it must exist")
    for folder in parser.parse_args(arguments).folder:
        for name, text in render().items():
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:  # noqa: PTH123 - see above
                file.write(text)
            sys.stderr.write(f"wrote {folder}/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

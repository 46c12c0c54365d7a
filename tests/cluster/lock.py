"""Writes tools/<module>/go.mod and go.sum: `python -m tests.cluster.lock [FOLDER ...]`.

Run by a person who moves a version in toolset.py; the result is checked in and build.py never changes it. Needs Go
and a module proxy.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from tests.cluster import gotoolchain, toolset

STAGING = re.compile(r"^\s*(?:require\s+)?(k8s\.io/[\w-]+) v0\.0\.0(?:\s|$)", re.MULTILINE)


def staging_modules(go_mod: str) -> list[str]:
    """The k8s.io modules that Kubernetes' own go.mod requires at v0.0.0: exactly these live in its repository."""
    return sorted(set(STAGING.findall(go_mod)))


def render(module: toolset.Module, upstream: str) -> str:
    """The go.mod of a folder before `go mod tidy`; `upstream` is the text of the module's own go.mod."""
    text = f"module keystead/tools/{module.folder}\n\ngo {toolset.GO_DIRECTIVE}\n\n"
    text += f"require {module.path} v{module.version}\n\n"
    if staging := staging_modules(upstream):
        version = "v0." + module.version.partition(".")[2]
        text += "replace (\n" + "".join(f"\t{name} => {name} {version}\n" for name in staging) + ")\n\n"
    return text + "tool (\n" + "".join(f"\t{package}\n" for package in toolset.module_packages(module)) + ")\n"


def upstream_go_mod(go: gotoolchain.Go, module: toolset.Module) -> str:
    """The module's own go.mod, from Go's module cache."""
    command = [go.binary, "mod", "download", "-json", f"{module.path}@v{module.version}"]
    done = subprocess.run(command, env=go.environment(), check=True, stdout=subprocess.PIPE, text=True)
    return Path(json.loads(done.stdout)["GoMod"]).read_text(encoding="utf-8")


def lock(go: gotoolchain.Go, module: toolset.Module) -> None:
    """Writes go.mod and go.sum anew. Old sums go: a line that nobody needs would otherwise stay for ever."""
    module.directory.mkdir(parents=True, exist_ok=True)
    (module.directory / "go.mod").write_text(render(module, upstream_go_mod(go, module)), encoding="utf-8")
    (module.directory / "go.sum").unlink(missing_ok=True)
    environment = go.environment() | {"GOFLAGS": ""}
    subprocess.run([go.binary, "mod", "tidy"], cwd=module.directory, env=environment, check=True)


def main() -> int:
    """Locks the named folders, or all."""
    known = {module.folder: module for module in toolset.modules()}
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.lock", description="write go.mod and go.sum anew")
    parser.add_argument("folder", nargs="*", help=f"one of {', '.join(known)}; default: all")
    folders = parser.parse_args().folder or list(known)
    if unknown := [folder for folder in folders if folder not in known]:
        parser.error(f"unknown folder: {', '.join(unknown)}")
    go = gotoolchain.find()
    for folder in folders:
        print(f"locking {folder} {known[folder].version} ...", file=sys.stderr, flush=True)
        lock(go, known[folder])
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Build kryoptic, the second PKCS#11 test token, once a machine: `python -m tests.hsm.kryoptic.build`.

Who calls it: tests.hsm.tokens, and CI ahead of the token tests. stdout is one line, the path of the module; talk goes
to stderr. The result lies in `${KEYSTEAD_CACHE:-$XDG_CACHE_HOME or ~/.cache}/keystead/kryoptic/<digest of the crate's
files>/libkryoptic.so`. It installs nothing: a missing tool is named with the Debian package that has it.

The lock is a template, because Cargo writes the address of its registry beside every package and no file of ours names
one. Versions and checksums are those of the template; `@REGISTRY@` becomes whatever this machine's Cargo writes there.
To change a version: edit Cargo.toml, then run this module with `--update-lock`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "1.5.4"
CRATE = Path(__file__).resolve().parent
CRATE_FILES = ("Cargo.toml", "Cargo.lock.template", "src/lib.rs")
MODULE = "libkryoptic.so"
PLACEHOLDER = "@REGISTRY@"
SOURCE_LINE = re.compile(r'^source = "(registry\+[^"]+)"$', re.MULTILINE)
MINIMUM_RUST = (1, 89)  # the highest rust-version among the locked packages (uuid)
USUAL_SECONDS = 200  # 2 cores
REPORT_EVERY = 30.0  # seconds
LIBCLANG_FOLDERS = ("/usr/lib/llvm-*/lib", "/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/local/lib")


class BuildError(Exception):
    """The token cannot be built here; the message says what to install or where the log is."""


@dataclass(frozen=True)
class Toolchain:
    """One Cargo and the rustc beside it, if there is one: Debian's pair may stand behind an older rustup on PATH."""

    cargo: str
    rustc: str | None

    def environment(self) -> dict[str, str]:
        return {**os.environ, **({"RUSTC": self.rustc} if self.rustc else {})}


def module_path() -> Path:
    """Where the module of this crate lies once it is built."""
    digest = hashlib.sha256()
    for name in CRATE_FILES:
        content = (CRATE / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return _cache() / digest.hexdigest()[:16] / MODULE


def build() -> Path:
    """The path of the module, built first if it is not there. Two callers at once build once."""
    module = module_path()
    if module.exists():
        return module
    folder = module.parent
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder / "lock"):
        if not module.exists():  # the other caller may have built it
            _build_into(module, folder / "work")
    return module


def _build_into(module: Path, work: Path) -> None:
    toolchain = find_toolchain()
    check_tools()
    _say(f"building kryoptic {VERSION} (usually {USUAL_SECONDS} s) ...")
    started = time.monotonic()
    write_crate(work, registry_source(toolchain))
    # A killed build leaves `work`, and the next one goes on from there.
    _run_cargo(toolchain, work, started)
    finished = module.with_suffix(".new")
    shutil.copyfile(work / "target" / "release" / MODULE, finished)
    finished.chmod(0o755)
    finished.rename(module)
    shutil.rmtree(work)
    _say(f"built in {time.monotonic() - started:.0f} s")


def write_crate(folder: Path, source: str) -> None:
    """Copy the crate to `folder` with its lock filled in. Equal files are left alone: Cargo goes by their times."""
    for name in CRATE_FILES:
        text = (CRATE / name).read_text()
        target = folder / name.removesuffix(".template")
        if name.endswith(".template"):
            text = text.replace(PLACEHOLDER, source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text() != text:
            target.write_text(text)


def registry_source(toolchain: Toolchain) -> str:
    """What this machine's Cargo writes as the source of a package: asked with a crate of one dependency."""
    with tempfile.TemporaryDirectory(prefix="keystead-cargo-") as name:
        probe = Path(name)
        (probe / "src").mkdir()
        (probe / "src" / "lib.rs").touch()
        (probe / "Cargo.toml").write_text(
            '[package]\nname = "probe"\nversion = "0.0.0"\n[dependencies]\nlibc = "0.2"\n'
        )
        command = [toolchain.cargo, "generate-lockfile", "--quiet"]
        done = subprocess.run(
            command, cwd=probe, env=toolchain.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(f"cargo cannot reach its registry:\n{done.stderr.strip()}")
        found = SOURCE_LINE.search((probe / "Cargo.lock").read_text())
        if found is None:
            raise BuildError("cargo wrote a lock file without a registry")
        return found[1]


def find_toolchain() -> Toolchain:
    """The first Cargo that is new enough: PATH's, or Debian's /usr/bin/cargo (packages rustc-web and cargo-web)."""
    seen: list[str] = []
    for cargo in dict.fromkeys(filter(None, (shutil.which("cargo"), "/usr/bin/cargo"))):
        beside = Path(cargo).with_name("rustc")
        toolchain = Toolchain(cargo=cargo, rustc=str(beside) if beside.exists() else None)
        version = _version(cargo)
        if version is None:
            continue
        if version >= MINIMUM_RUST:
            return toolchain
        seen.append(f"{cargo} is {'.'.join(map(str, version))}")
    wanted = ".".join(map(str, MINIMUM_RUST))
    raise BuildError(
        f"kryoptic needs Rust {wanted} or newer ({'; '.join(seen) or 'no cargo found'})\n"
        "hint: apt-get install rustc-web cargo-web   (Debian's plain rustc and cargo are too old)"
    )


def check_tools() -> None:
    """Refuse before the long build what would fail in the middle of it."""
    missing = [
        package for tool, package in (("cc", "gcc"), ("make", "make"), ("perl", "perl")) if not shutil.which(tool)
    ]
    if not _has_libclang():
        missing.append("libclang-dev")
    if missing:
        raise BuildError(
            f"kryoptic cannot be built here: missing {', '.join(missing)}\nhint: apt-get install {' '.join(missing)}"
        )


def update_lock() -> None:
    """Resolve Cargo.toml anew and write the template."""
    toolchain = find_toolchain()
    with tempfile.TemporaryDirectory(prefix="keystead-cargo-") as name:
        write_crate(Path(name), registry_source(toolchain))
        (Path(name) / "Cargo.lock").unlink()
        command = [toolchain.cargo, "generate-lockfile"]
        subprocess.run(command, cwd=name, env=toolchain.environment(), check=True)
        lock = SOURCE_LINE.sub(f'source = "{PLACEHOLDER}"', (Path(name) / "Cargo.lock").read_text())
    (CRATE / "Cargo.lock.template").write_text(lock)


def _run_cargo(toolchain: Toolchain, work: Path, started: float) -> None:
    log = work / "cargo.log"
    command = [toolchain.cargo, "build", "--release", "--locked", "--target-dir", str(work / "target")]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=work, env=toolchain.environment(), stdout=output, stderr=output)
        try:
            while True:
                try:
                    code = process.wait(REPORT_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    _say(f"  {time.monotonic() - started:.0f} s: {_last_line(log)}")
        finally:
            process.kill()  # does nothing to a process that has ended
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise BuildError(f"cargo failed ({code}), the whole log is {log}:\n{tail}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "...")


def _version(cargo: str) -> tuple[int, ...] | None:
    try:
        done = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.match(r"cargo (\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else None


def _has_libclang() -> bool:
    if os.environ.get("LIBCLANG_PATH"):
        return True
    return any(path for pattern in LIBCLANG_FOLDERS for path in Path("/").glob(f"{pattern[1:]}/libclang*.so*"))


def _cache() -> Path:
    base = os.environ.get("KEYSTEAD_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "keystead" / "kryoptic"


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hsm.kryoptic.build", description="build the kryoptic test token"
    )
    parser.add_argument(
        "--update-lock", action="store_true", help="resolve Cargo.toml anew, write Cargo.lock.template, stop"
    )
    try:
        if parser.parse_args().update_lock:
            update_lock()
        else:
            print(build())
    except BuildError as error:
        _say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Tokens with a domain for tests, made by the real ceremony (`keystead hsm init` in a process of its own).

Who calls it: tests.hsm.backends and every test that needs a token for itself. `on_token` runs functions in a spawned
process that has the token's environment: one module load per process, and no token of one test in the process of
another.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hsm.tokens import TokenFiles, new_pin, provision_kryoptic, provision_softhsm, softhsm_module

from keystead.hsm.backend import Hsm, open_hsm
from keystead.hsm.pin import FileMarker
from keystead.settings import HsmSettings, SoftwareProtection

ROOT = Path(__file__).resolve().parents[2]
LABEL = "keystead"
KINDS = ("softhsm", "kryoptic")


@dataclass(frozen=True)
class DomainToken:
    """A token with a domain, and what was given out with it. Picklable."""

    kind: str
    module: Path
    label: str
    env: dict[str, str]
    pin_file: Path
    fingerprint: str
    backup: Path
    recovery_key: Path

    @property
    def options(self) -> tuple[str, ...]:
        """The CLI's options for this token; its `env` is needed too."""
        return token_options(self.module, self.label, self.pin_file)

    def settings(self, **changes: Any) -> HsmSettings:
        """Settings for this token, SOFTWARE keys allowed."""
        members: dict[str, Any] = {
            "module": self.module,
            "token_label": self.label,
            "pin_file": self.pin_file,
            "software_protection": SoftwareProtection.ALLOWED,
        }
        return HsmSettings(**{**members, **changes})

    def open(self) -> Hsm:
        """Open it in this process, whose environment must already have `env`."""
        return open_hsm(self.settings(), FileMarker(self.pin_file, self.pin_file.parent), self.fingerprint)


@dataclass(frozen=True)
class Done:
    """What a command answered."""

    code: int
    out: str
    err: str = field(repr=True)

    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str | Path) -> list[str]:
    """The command line of `keystead`."""
    return [sys.executable, "-m", "keystead", *map(str, arguments)]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment for `keystead`, with `env` added."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT / "operator"), **(env or {})}


def keystead(*arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Run `keystead`."""
    done = subprocess.run(
        command(*arguments), env=environment(env), cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def token_options(module: Path, label: str, pin_file: Path) -> tuple[str, ...]:
    return ("--module", str(module), "--token-label", label, "--pin-file", str(pin_file))


def empty_token(kind: str, folder: Path, label: str = LABEL) -> tuple[TokenFiles, Path]:
    """An initialised token without a domain, and a file with its PIN."""
    provision = {"softhsm": provision_softhsm, "kryoptic": provision_kryoptic}[kind]
    token = provision(folder / "token", label, new_pin())
    pin_file = folder / "pin"
    pin_file.write_text(token.pin)
    return token, pin_file


def new_domain(kind: str, folder: Path) -> DomainToken:
    """A new token with a new domain."""
    return _ceremony(kind, folder, (), folder / "domain.ksdb", folder / "recovery.txt")


def restored_domain(kind: str, folder: Path, of: DomainToken) -> DomainToken:
    """A new token with the domain of another, from nothing but its backup and recovery key."""
    given = ("--from-backup", str(of.backup), "--recovery-key", str(of.recovery_key))
    return _ceremony(kind, folder, given, of.backup, of.recovery_key)


def _ceremony(kind: str, folder: Path, given: tuple[str, ...], backup: Path, recovery_key: Path) -> DomainToken:
    given = given or ("--backup-out", str(backup), "--recovery-out", str(recovery_key))
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "softhsm":
        home = folder / "token"
        module, env, pin_file = softhsm_module(), {"SOFTHSM2_CONF": str(home / "softhsm2.conf")}, home / "pin"
        done = keystead("hsm", "init", "--softhsm-dir", home, *given, "-o", "json")
    else:
        files, pin_file = empty_token(kind, folder)
        module, env = files.module, files.env
        done = keystead("hsm", "init", *token_options(module, LABEL, pin_file), *given, "-o", "json", env=env)
    assert done.code == 0, done.err
    return DomainToken(kind, module, LABEL, env, pin_file, done.json()["fingerprint"], backup, recovery_key)


@contextmanager
def on_token(token: DomainToken) -> Iterator[Callable[..., Any]]:
    """`run(function, *arguments)` calls `function(hsm, *arguments)` in another process, on this token opened there."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_start, initargs=(token,)) as pool:
        try:
            yield lambda function, *arguments: pool.submit(_call, function, arguments).result(timeout=120)
        finally:
            with suppress(BrokenProcessPool):
                pool.submit(_finish).result(timeout=120)


_opened: list[Hsm] = []


def _start(token: DomainToken) -> None:
    os.environ.update(token.env)
    _opened.append(token.open())


def _finish() -> None:
    """Close it: a process of multiprocessing waits for its children, and slow lanes end with their Hsm only."""
    _opened.pop().close()


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(_opened[0], *arguments)


def on_process(env: Mapping[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function(*arguments)` in a spawned process with `env` added, for what opens a token its own way."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_environment, dict(env), function, arguments).result(timeout=120)


def _with_environment(env: dict[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    os.environ.update(env)
    return function(*arguments)

"""The real kubectl with our plugin on its PATH, as a person has it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster
from tests.operator.harness import ROOT

from keystead.app.kms.services import AppKmsServices
from keystead.cli.kms import run


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its data."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Plugin:
    """`kubectl kms`. `folder`: where kubectl finds `kubectl-kms`; `kubeconfig`: whose rights it has."""

    cluster: Cluster
    folder: Path
    kubeconfig: Path

    @classmethod
    def install(cls, cluster: Cluster, folder: Path) -> Plugin:
        """An executable of the name that kubectl looks for: what pip makes of [project.scripts], for this Python and this tree."""
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "kubectl-kms"
        program = "from keystead.app.kms.main import main; raise SystemExit(main())"
        script.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}' \"$@\"\n")
        script.chmod(0o755)
        return cls(cluster, folder, cluster.kubeconfig)

    def of(self, kubeconfig: Path) -> Plugin:
        """The same with somebody else's rights."""
        return Plugin(self.cluster, self.folder, kubeconfig)

    def __call__(self, *arguments: str, stdin: str = "") -> Done:
        """kubectl kms ARGUMENTS."""
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        environment = self.cluster.environment | {"KUBECONFIG": str(self.kubeconfig), "PATH": path, "PYTHONPATH": str(ROOT / "operator")}
        command = [str(self.cluster.binaries["kubectl"]), "kms", *arguments]
        done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def here(self, *arguments: str) -> Done:
        """The same command in this process, where there are many: without kubectl, and without Python's start."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run([*arguments, "--kubeconfig", str(self.kubeconfig)], AppKmsServices())
        return Done(code, out.getvalue(), err.getvalue())

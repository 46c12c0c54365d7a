"""Starts a control plane that stays: `python -m tests.cluster.up --state DIR`. Ends with down.py.

For the demo and for a shell beside the tests. Calling it again starts what is missing, on the same ports and data.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.cluster import build, controlplane, gotoolchain, toolset
from tests.cluster.controlplane import ControlPlane, StartError
from tests.cluster.flags import Options


def up(state: Path, options: Options) -> ControlPlane:
    """The running control plane in `state`. The options of an earlier start hold on: its data were made with them."""
    plane = controlplane.load(state)
    if plane is None:
        plane = ControlPlane(state, options, binaries=build.ensure(toolset.default_tools(toolset.kubernetes_minor())))
    elif not all(path.exists() for path in plane.binaries.values()):
        plane.binaries = build.ensure(toolset.default_tools(toolset.kubernetes_minor()))
    plane.start()
    return plane


def main() -> int:
    """Prints the path of the administrator's kubeconfig to stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.up", description="start a control plane that stays")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="its folder, made if missing")
    parser.add_argument("--audit", action="store_true", help="write DIR/audit.log")
    parser.add_argument("--fsync", action="store_true", help="a slower etcd that survives a crash of the machine")
    arguments = parser.parse_args()
    options = Options(unsafe_no_fsync=not arguments.fsync, audit=arguments.audit, detached=True)
    try:
        plane = up(arguments.state.resolve(), options)
    except (StartError, build.BuildError, gotoolchain.ToolchainError, ValueError) as error:
        build.say(f"error: {error}")
        return 1
    build.say(f"up at {plane.api_url}")
    print(plane.kubeconfig)
    return 0


if __name__ == "__main__":
    sys.exit(main())

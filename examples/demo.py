"""`make demo`: the main job on a real API server and a real PKCS#11 token. Every line it shows is asserted first.

It starts a control plane of its own, installs the chart, makes a domain, runs operator and server as processes with the chart's
ServiceAccounts and RBAC, and leaves all of them up for you. `make demo-down` ends them.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples import demo_end as end
from examples import demo_life as life
from examples.demo_serve import Serving, call_endpoint, deny_and_explain, serve, show_trail
from rich.console import Console
from rich.table import Table
from tests.cluster import kinds, up
from tests.cluster.cluster import Cluster, CommandError
from tests.cluster.controlplane import load
from tests.cluster.flags import Options
from tests.operator.chaos import ChaosProxy, kill_after
from tests.operator.harness import SYSTEM, Installation, OperatorProcess, install, wait_for, wait_reason

ROOT = Path(__file__).resolve().parents[1]
STATE = Path(os.environ.get("KEYSTEAD_DEMO_STATE", Path(tempfile.gettempdir()) / "keystead-demo"))
TRAIL = STATE / "install/audit"
INTERRUPTED = 130  # what a shell makes of SIGINT
CONTEXT = ("--encryption-context", "app=orders", "--encryption-context", "purpose=database")
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass
class Demo:
    """What the steps share, and the table at the end."""

    cluster: Cluster
    installation: Installation | None = None
    operator: OperatorProcess | None = None
    serving: Serving | None = None
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def step(self, title: str, work: Callable[[], str]) -> None:
        """Run a step, show what it found, remember how long it took."""
        console.print(f"\n[bold cyan]==> {title}[/]")
        start = time.monotonic()
        found = work()
        self.rows.append((title, found, time.monotonic() - start))
        console.print(f"[green]ok[/] {found}")

    @property
    def made(self) -> Installation:
        """The installation, once there is one."""
        assert self.installation is not None
        return self.installation

    @property
    def served(self) -> Serving:
        """The server, once there is one."""
        assert self.serving is not None
        return self.serving

    def say(self, text: str) -> None:
        """What a command wrote, as it is."""
        for line in text.splitlines():
            console.print(line, markup=False, soft_wrap=True)

    def key(self, name: str = "orders") -> dict[str, Any]:
        """A KmsKey."""
        body: dict[str, Any] = self.cluster.get("kmskey", name, "-n", "orders")
        return body

    def account(self) -> str:
        """The account id of namespace orders."""
        return str(self.key()["status"]["keyArn"]).split(":")[4]

    def decrypt(self, blob: bytes) -> str:
        """Decrypt with the CLI as the order service; the base64 of the plaintext."""
        done = self.try_decrypt(blob, "order-service")
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["Plaintext"])

    def try_decrypt(self, blob: bytes, service_account: str) -> subprocess.CompletedProcess[str]:
        """`keystead crypt decrypt` as a ServiceAccount, allowed or not."""
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(blob)
            return self.made.keystead(
                *("crypt", "decrypt", "--as", f"arn:aws:iam::{self.account()}:role/{service_account}"),
                *("--ciphertext-blob", file.name, *CONTEXT, "-o", "json"),
                check=False,
            )

    def blobs(self) -> dict[str, bytes]:
        """The data of Secret orders-db."""
        data = self.cluster.get("secret", "orders-db", "-n", "orders")["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}


def run() -> int:
    """The whole demo."""
    if _is_there():
        console.print(f"[yellow]{STATE} has a demo already:[/] it is ended first, and all that was made in it goes", soft_wrap=True)
    down()
    os.environ["KEYSTEAD_AUDIT_FOLDER"] = str(TRAIL)  # of all that is started here: operators, the server, each `keystead crypt`
    console.print("[bold]Keystead demo[/]: real kube-apiserver and etcd, real PKCS#11 token (SoftHSM2), real kubectl and Helm")
    start = time.monotonic()
    plane = up.up(STATE / "cluster", Options(detached=True))
    demo = Demo(kinds.of_plane(plane, _folder("scratch")))
    demo.rows.append(("start a control plane", demo.cluster.version(), time.monotonic() - start))
    demo.step("install the chart, make a domain", lambda: install_all(demo))
    demo.step("apply examples/", lambda: apply_examples(demo))
    demo.step("show the keys", lambda: show(demo))
    opened: dict[str, Any] = {}
    demo.step("decrypt a data key with the CLI", lambda: open_data_key(demo, opened))
    demo.step("refuse everybody else", lambda: refuse(demo, opened))
    demo.step("rotate the key", lambda: rotate(demo, opened))
    demo.step("rotate the data key: old and new side by side", lambda: rotate_data_key(demo, opened))
    demo.step("kill the operator in the middle of a rotation", lambda: kill_in_rotation(demo))
    demo.step("move an alias to another key", lambda: life.move_alias(demo))
    demo.step("let a grant expire", lambda: life.expire_grant(demo, opened["blob"]))
    demo.step("hold a key", lambda: life.hold(demo, opened["blob"]))
    demo.step("schedule a deletion and cancel it", lambda: life.schedule_and_cancel(demo))
    demo.serving = serve(demo, STATE / "server.pid", TRAIL)
    demo.step("call the AWS endpoint with boto3, as a ServiceAccount", lambda: call_endpoint(demo.served))
    demo.step("refuse a call, and say why", lambda: deny_and_explain(demo.served))
    demo.step("read the audit trail", lambda: show_trail(demo.served))
    demo.step("delete the key object", lambda: delete_key(demo, opened))
    demo.step("apply it again", lambda: bring_back(demo, opened))
    console.print(end.table(demo.rows))
    end.show_commands(demo)
    return 0


def install_all(demo: Demo) -> str:
    """helm install, keystead hsm init, the operator."""
    console.print("[yellow]risk accepted:[/] hsm.softhsm.acceptRisk=true keeps the token beside its PIN: not for production")
    demo.cluster.kubectl("apply", "-f", str(ROOT / "examples/00-namespace.yaml"))
    demo.installation = install(demo.cluster, STATE / "install", (), values=("dataKeys.namespaces={orders}",))
    demo.operator = start_operator(demo, "demo-1")
    leader = demo.cluster.get("lease", "keystead-operator", "-n", SYSTEM)["spec"]["holderIdentity"]
    assert leader == "demo-1", leader
    return f"the operator leads as {leader}, with the chart's ServiceAccount and rights"


def start_operator(demo: Demo, name: str, server: str | None = None) -> OperatorProcess:
    """Start an operator and note its pid for `--down`."""
    operator = demo.made.start(name, server, refresh_period="5", lease_duration="4", renew_deadline="3", retry_period="0.5")
    (STATE / "operator.pid").write_text(str(operator.child.pid))
    operator.wait_leading()
    operator.wait_ready()
    return operator


def apply_examples(demo: Demo) -> str:
    """kubectl apply -f examples/, and wait as a pipeline would."""
    demo.cluster.kubectl("apply", "-f", str(ROOT / "examples"))
    demo.cluster.kubectl("wait", "--for=condition=Ready", "kms", "--all", "-n", "orders", "--timeout=60s")
    count = len(demo.cluster.get("kms", "-n", "orders")["items"])
    assert count == 10, count  # aws-keystead, which no file names, is one of them
    return f"{count} objects Ready"


def show(demo: Demo) -> str:
    """kubectl get kms -A."""
    for line in demo.cluster.kubectl("get", "kms", "-A").splitlines():
        console.print(line, markup=False)
    injected = demo.cluster.get("secret", "app-config", "-n", "orders")["data"]
    assert base64.b64decode(injected["log-level"]) == b"info"
    assert "kms.keystead.io.cache.ciphertext" in injected
    return "a data key in its own Secret, and one injected beside somebody else's `log-level`"


def open_data_key(demo: Demo, opened: dict[str, Any]) -> str:
    """The encrypted data key opens; the plaintext is in no Secret."""
    opened["key"] = demo.key()["status"]
    opened["blob"] = demo.blobs()["ciphertext"]
    opened["plaintext"] = demo.decrypt(opened["blob"])
    assert len(base64.b64decode(opened["plaintext"])) == 32
    assert base64.b64decode(opened["plaintext"]) not in demo.cluster.etcd_dump()
    return f"{len(opened['blob'])} bytes of ciphertext -> 32 bytes; etcd's raw bytes do not hold them"


def refuse(demo: Demo, opened: dict[str, Any]) -> str:
    """Another ServiceAccount is refused, and so is another context."""
    file = STATE / "blob"
    file.write_bytes(opened["blob"])
    base = ("crypt", "decrypt", "--ciphertext-blob", str(file))
    stranger = demo.made.keystead(*base, "--as", f"arn:aws:iam::{demo.account()}:role/default", *CONTEXT, check=False)
    assert stranger.returncode != 0 and "AccessDeniedException" in stranger.stderr, stranger.stderr
    wrong = ("--as", f"arn:aws:iam::{demo.account()}:role/order-service", "--encryption-context", "app=other")
    other = demo.made.keystead(*base, *wrong, check=False)
    assert other.returncode != 0 and "InvalidCiphertextException" in other.stderr, other.stderr
    return "no right: AccessDeniedException; wrong encryption context: InvalidCiphertextException"


def rotate(demo: Demo, opened: dict[str, Any]) -> str:
    """A rotation on demand; the old blob still opens, the data key is re-wrapped."""
    demo.cluster.kubectl("annotate", "kmskey", "orders", "-n", "orders", "kms.keystead.io/rotate-requested-at=first")
    before = opened["key"]["currentKeyMaterialId"]

    def rotated() -> str | None:
        material = str(demo.key()["status"]["currentKeyMaterialId"])
        shown = demo.cluster.get("kmsdatakey", "orders-db", "-n", "orders")["status"].get("keyMaterialId")
        return material if material != before and shown == material else None

    material = wait_for("rotation and re-wrap", rotated)
    fresh = demo.blobs()["ciphertext"]
    assert fresh != opened["blob"]
    assert demo.decrypt(opened["blob"]) == demo.decrypt(fresh) == opened["plaintext"]
    return f"material {before[:8]}.. -> {material[:8]}..; old and re-wrapped blob open to the same data key"


def rotate_data_key(demo: Demo, opened: dict[str, Any]) -> str:
    """The data key gets a second version; both stand in the Secret for the overlap."""
    annotation = "kms.keystead.io/rotate-requested-at=second"
    demo.cluster.kubectl("annotate", "kmsdatakey", "orders-db", "-n", "orders", annotation)
    data = wait_for("version 2", lambda: data if "ciphertext.2" in (data := demo.blobs()) else None)
    table = Table("key in Secret orders-db", "bytes", "opens to", box=None)
    for name in ("ciphertext", "ciphertext.2", "ciphertext.1"):
        same = "the data key of before" if demo.decrypt(data[name]) == opened["plaintext"] else "the new data key"
        table.add_row(name, str(len(data[name])), same)
    console.print(table)
    assert data["ciphertext"] == data["ciphertext.2"] != data["ciphertext.1"]
    assert demo.decrypt(data["ciphertext.1"]) == opened["plaintext"] != demo.decrypt(data["ciphertext.2"])
    return "two versions side by side; the old one leaves after the overlap"


def kill_in_rotation(demo: Demo) -> str:
    """kill -9 after the record is committed and before anybody knows it; the next operator finishes: one version, not two."""
    assert demo.operator is not None
    demo.operator.stop()
    count = len(demo.key()["status"]["keyMaterials"])
    with ChaosProxy(demo.cluster) as proxy:
        victim = start_operator(demo, "demo-2", proxy.url)
        proxy.rule(lambda request: request.method == "PUT" and "/secrets/key-" in request.path, kill_after(lambda: victim))
        demo.cluster.kubectl(
            "annotate", "--overwrite", "kmskey", "orders", "-n", "orders", "kms.keystead.io/rotate-requested-at=third"
        )
        wait_for("the operator killed", lambda: victim.child.poll() is not None)
    demo.operator = start_operator(demo, "demo-3")
    wait_for("recovery", lambda: demo.key()["status"].get("lastHandledRotateAt") == "third")
    after = len(demo.key()["status"]["keyMaterials"])
    assert after == count + 1, (count, after)
    return f"killed with SIGKILL at the write; recovered with exactly one new version ({count} -> {after})"


def delete_key(demo: Demo, opened: dict[str, Any]) -> str:
    """Deleting the object of a Retain key makes no stored data unreadable."""
    demo.cluster.kubectl("delete", "kmskey", "orders", "-n", "orders", "--wait=true")

    def orphan() -> bool:
        rows = json.loads(demo.made.keystead("records", "list", "-o", "json").stdout)
        return any(row["name"] == "orders" and row["object"] == "none" for row in rows)

    wait_for("the record without an object", orphan, every=0.5)
    record = json.loads(demo.made.keystead("records", "show", "orders", "orders", "-o", "json").stdout)
    account = record["account"]
    file = STATE / "blob"
    file.write_bytes(opened["blob"])
    answer = demo.made.keystead(
        *("crypt", "decrypt", "--as", f"arn:aws:iam::{account}:role/order-service", "--ciphertext-blob", str(file)),
        *(*CONTEXT, "-o", "json"),
    )
    assert json.loads(answer.stdout)["Plaintext"] == opened["plaintext"]
    return f"the object is gone, the key record {record['keyId'][:8]}.. is not: its data still opens"


def bring_back(demo: Demo, opened: dict[str, Any]) -> str:
    """The same manifest continues with the same key."""
    demo.cluster.kubectl("apply", "-f", str(ROOT / "examples/10-keys.yaml"))
    body = wait_reason(demo.cluster, "kmskey", "orders", "orders", "Available")
    assert body["status"]["keyId"] == opened["key"]["keyId"]
    return f"key id {body['status']['keyId']} as before"


def _folder(name: str) -> Path:
    folder = STATE / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_there() -> bool:
    """A demo was begun and not ended, whether or not it still runs."""
    return (STATE / "cluster").exists()


def down() -> None:
    """End server, operator and cluster of an earlier run, and remove what they left."""
    for pid in (STATE / "server.pid", STATE / "operator.pid"):
        if pid.exists():
            _stop(int(pid.read_text()))
            pid.unlink()
    plane = load(STATE / "cluster")
    if plane is not None:
        plane.stop()
    if STATE.exists():
        for path in STATE.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(STATE)


def finish() -> int:
    """make demo-down."""
    down()
    print("nothing of the demo is left")
    return 0


def _stop(pid: int) -> None:
    """SIGTERM by pid, then SIGKILL; only a process that is ours."""
    command = Path(f"/proc/{pid}/cmdline")
    if not command.exists() or b"keystead" not in command.read_bytes():
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pid, number)
        try:
            wait_for("the process gone", lambda: not command.exists() or not command.read_bytes(), seconds=10)
        except AssertionError:
            continue
        return


def main() -> int:
    """Arguments: --down."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo")
    parser.add_argument("--down", action="store_true", help="end what a demo left running")
    work = finish if parser.parse_args().down else run
    try:
        return work()
    except (AssertionError, CommandError, SystemError) as error:
        console.print(f"[bold red]the demo failed:[/] {error}", markup=True)
        print(f"its state is in {STATE}; {end.ending()} removes it", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        left = f"the cluster, and what was started in it, is still up; {end.ending()} ends it" if _is_there() else "nothing of it is up"
        print(f"\nthe demo was interrupted: {left}", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())

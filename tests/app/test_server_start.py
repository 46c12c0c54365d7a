"""`keystead server` before there is anything to serve: it waits for the API server, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.certificates import make_self_signed

from keystead.app.server.main import run_server
from keystead.errors import InvalidSpecError
from keystead.settings import ServerSettings, Settings

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: none}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_waits_for_the_api_server_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        config = tmp_path / "kubeconfig"
        config.write_text(KUBECONFIG.format(port=nobody.getsockname()[1]))
        made = make_self_signed(["localhost"], datetime.now(UTC))
        (tmp_path / "tls.crt").write_bytes(made.certificate)
        (tmp_path / "tls.key").write_bytes(made.key)
        environment = dict(os.environ) | {"KEYSTEAD_KUBECONFIG": str(config), "PYTHONPATH": "operator", "KEYSTEAD_SERVER_PORT": "0"}
        environment |= {"KEYSTEAD_TLS_CERT": str(tmp_path / "tls.crt"), "KEYSTEAD_TLS_KEY": str(tmp_path / "tls.key")}
        with subprocess.Popen(
            [sys.executable, "-m", "keystead", "server"], env=environment, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stderr is not None
            while "waiting for the API server" not in (line := child.stderr.readline()):
                assert line, "it ended by itself"
            child.send_signal(number)
            child.stderr.read()
            assert child.wait(20) == 0


def test_a_quota_that_is_none_ends_the_start_by_name() -> None:
    settings = Settings(server=ServerSettings(port=0, probe_port=0, quota='{"limits": {"Encrypt": 5}}'))
    with pytest.raises(InvalidSpecError, match=r"KEYSTEAD_QUOTA.*Encrypt"):
        run_server(settings)

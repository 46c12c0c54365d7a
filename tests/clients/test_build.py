"""The clients' locks are whole: a version and a hash for everything, an address for nothing. Installs nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.clients import build, examples

JAVASCRIPT = build.EXAMPLES / "javascript"


def test_every_javascript_package_has_a_hash_and_no_address() -> None:
    packages = json.loads((JAVASCRIPT / "package-lock.json").read_text())["packages"]
    locked = {name: entry for name, entry in packages.items() if name}
    assert "node_modules/@aws-sdk/client-kms" in locked
    assert all(entry["integrity"].startswith("sha512-") for entry in locked.values())
    assert not any("resolved" in entry for entry in locked.values())


def test_every_javascript_package_runs_on_debians_node() -> None:
    packages = json.loads((JAVASCRIPT / "package-lock.json").read_text())["packages"]
    for name, entry in packages.items():
        wanted = re.findall(r"\d+", entry.get("engines", {}).get("node", ""))
        assert not wanted or int(wanted[0]) <= build.OLDEST_NODE, name


def test_go_example_and_sops_have_the_same_sdk() -> None:
    sdk = re.compile(r"(github\.com/aws/aws-sdk-go-v2(?:/config|/service/kms|/service/sts)?) (v[\d.]+)")
    example = dict(sdk.findall((build.EXAMPLES / "go" / "go.mod").read_text()))
    assert len(example) == 4
    assert example.items() <= dict(sdk.findall((build.SOPS.module.directory / "go.mod").read_text())).items()


def test_sops_lock_holds_what_the_table_says() -> None:
    module = build.SOPS.module
    assert f"{module.path} v{module.version}" in (module.directory / "go.mod").read_text()
    assert f"{module.path} v{module.version} h1:" in (module.directory / "go.sum").read_text()


def test_every_example_is_run() -> None:
    folders = {path.name for path in build.EXAMPLES.iterdir() if path.is_dir()}
    assert folders == set(examples.NAMES)
    for name in examples.NAMES:
        commands, output = examples.section(name)
        assert commands and output


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.ClientsError, match="apt-get install nodejs npm openssl"):
        build.check_tools()

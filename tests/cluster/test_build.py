"""The table, the locks and the builder agree. Compiles nothing that would take time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.cluster import build, gotoolchain, lock, toolset

GO = gotoolchain.Go("go", (1, 26))


@pytest.mark.parametrize("module", toolset.modules(), ids=lambda module: module.folder)
def test_lock_holds_what_the_table_says(module: toolset.Module) -> None:
    go_mod = (module.directory / "go.mod").read_text()
    assert f"{module.path} v{module.version}" in go_mod
    for package in toolset.module_packages(module):
        assert package in go_mod
    assert f"{module.path} v{module.version} h1:" in (module.directory / "go.sum").read_text()


def test_only_kubernetes_own_modules_are_replaced() -> None:
    upstream = "require (\n\tk8s.io/api v0.0.0\n\tk8s.io/utils v0.0.0-20260101-abc\n)\n"
    assert lock.staging_modules(upstream) == ["k8s.io/api"]
    text = lock.render(toolset.kubernetes_module("1.37"), upstream)
    assert "\tk8s.io/api => k8s.io/api v0.37.2\n" in text
    assert "k8s.io/utils =>" not in text


def test_digest_follows_flags_and_go_release() -> None:
    tool = toolset.default_tools("1.37")[0]
    other = dataclasses.replace(tool, module=dataclasses.replace(tool.module, ldflags="-s"))
    assert len({build.digest(tool, "go1.26"), build.digest(tool, "go1.27"), build.digest(other, "go1.26")}) == 3
    assert build.digest(tool, "go1.26") == build.digest(tool, GO.major)


def test_unknown_minor_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_KUBERNETES", "1.12")
    with pytest.raises(ValueError, match=r"1\.12 is not one of 1\.37, 1\.36"):
        toolset.kubernetes_minor()


def test_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEYSTEAD_CACHE", str(tmp_path))
    assert build.binary_path(toolset.default_tools("1.37")[0], GO).is_relative_to(f"{tmp_path}/keystead/bin")


@pytest.mark.cluster
def test_failed_build_shows_the_logs_tail_and_leaves_no_binary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_CACHE", str(tmp_path))
    found = gotoolchain.inspect("go")
    if found is None or found.version < gotoolchain.OLDEST:
        pytest.skip("no fitting Go on PATH")
    broken = toolset.Tool("broken", toolset.ETCD, "example.com/no/such/package", 1)
    with pytest.raises(build.BuildError, match="cannot find module providing package"):
        build.ensure((broken,))
    assert "building broken 3.7.3 (usually 1 s) ..." in capsys.readouterr().err
    assert not build.binary_path(broken, found).exists()

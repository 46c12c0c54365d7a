"""Which kubeconfig and which namespace `kubectl kms` takes: as kubectl does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from keystead.errors import StoreError
from keystead.store.kube import connect
from keystead.store.kubeconfig import chosen, namespace_of


def write(path: Path, current: str = "one", **namespaces: str) -> Path:
    """A kubeconfig with a context for each name."""
    contexts = [
        {"name": name, "context": {"cluster": "c", "user": "u", **({"namespace": space} if space else {})}}
        for name, space in namespaces.items()
    ]
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": contexts,
        "current-context": current,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(body))
    return path


def test_the_flag_goes_before_the_variable_and_that_before_the_home(tmp_path: Path) -> None:
    given, named, home = (write(tmp_path / name, one="") for name in ("given", "named", "home/.kube/config"))
    environment = {"KUBECONFIG": str(named), "HOME": str(tmp_path / "home")}
    assert chosen(given, environment) == given
    assert chosen(None, environment) == named
    assert chosen(None, {"HOME": environment["HOME"]}) == home


def test_a_flag_that_names_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no file"):
        chosen(tmp_path / "nothing", {})


@pytest.mark.parametrize(("context", "namespace"), [("", "team-a"), ("one", "team-a"), ("two", "team-b"), ("bare", "default")])
def test_the_namespace_is_the_contexts(tmp_path: Path, context: str, namespace: str) -> None:
    assert namespace_of(write(tmp_path / "config", one="team-a", two="team-b", bare=""), context) == namespace


def test_several_files_are_taken_together(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first", one="team-a"), write(tmp_path / "second", "two", two="team-b")
    assert namespace_of(Path(f"{first}:{second}"), "two") == "team-b"


def test_a_context_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no context nowhere; hint: kubectl config get-contexts"):
        namespace_of(write(tmp_path / "config", one=""), "nowhere")


@pytest.mark.parametrize("text", ["", "[]", "{}", "current-context: x"])
def test_what_is_no_kubeconfig_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(StoreError, match="no access to an API server"):
        namespace_of(path, "")


async def test_a_context_is_connected_to(tmp_path: Path) -> None:
    path = write(tmp_path / "config", one="", two="")
    await (await connect(path, context="two")).close()
    with pytest.raises(StoreError):
        await connect(path, context="nowhere")

"""The audit trail in the chart: what the Pods are told, where files lie, and values that would keep nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chart.rendering import EXTERNAL, RefusedError, Renderer, one

from keystead.settings import AuditMode, from_environment

pytestmark = pytest.mark.helm
WHO = ("server", "operator")


def container(objects: list[Any], who: str) -> Any:
    return pod(objects, who)["containers"][0]


def pod(objects: list[Any], who: str) -> Any:
    return one(objects, "Deployment", f"keystead-{who}")["spec"]["template"]["spec"]


def settings(objects: list[Any], who: str) -> Any:
    """As the process reads them."""
    return from_environment({each["name"]: each["value"] for each in container(objects, who)["env"] if "value" in each}).audit


@pytest.mark.parametrize("who", WHO)
def test_by_default_records_are_durable_first_in_a_volume_and_on_stdout(render: Renderer, who: str) -> None:
    objects = render(*EXTERNAL)
    found = settings(objects, who)
    assert (found.mode, found.stdout, found.folder) == (AuditMode.SYNC, True, Path(f"/var/lib/keystead/audit/{who}"))
    (mount,) = [mount for mount in container(objects, who)["volumeMounts"] if mount["name"] == "audit"]
    assert found.folder.is_relative_to(mount["mountPath"])
    (volume,) = [volume for volume in pod(objects, who)["volumes"] if volume["name"] == "audit"]
    assert set(volume["emptyDir"]) == {"sizeLimit"}


@pytest.mark.parametrize("who", WHO)
def test_the_default_volume_holds_what_is_retained(render: Renderer, who: str) -> None:
    objects = render(*EXTERNAL)
    (volume,) = [volume for volume in pod(objects, who)["volumes"] if volume["name"] == "audit"]
    size = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 1024**3
    found = settings(objects, who)
    assert found.retain_bytes + 4 * found.file_bytes <= size


@pytest.mark.parametrize("who", WHO)
def test_files_can_lie_in_a_claim(render: Renderer, who: str) -> None:
    sets = ("volume.type=existingClaim", "volume.claimName=audit", "retainBytes=200000000000")
    objects = render(*EXTERNAL, *(f"{who}.audit.{each}" for each in sets))
    (volume,) = [volume for volume in pod(objects, who)["volumes"] if volume["name"] == "audit"]
    assert volume["persistentVolumeClaim"] == {"claimName": "audit"}
    assert settings(objects, who).retain_bytes == 200_000_000_000


@pytest.mark.parametrize("who", WHO)
def test_without_a_volume_there_is_stdout_only(render: Renderer, who: str) -> None:
    objects = render(
        *EXTERNAL, f"{who}.audit.volume.type=none", f"{who}.audit.mode=buffered", f"{who}.audit.bufferSeconds=2"
    )
    found = settings(objects, who)
    assert (found.mode, found.stdout, found.folder, found.buffer_seconds) == (AuditMode.BUFFERED, True, None, 2.0)
    assert "audit" not in {volume["name"] for volume in pod(objects, who)["volumes"]}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("stdout=false", "volume.type=none"), "keeps no record anywhere"),
        (("volume.type=existingClaim",), "needs {who}.audit.volume.claimName"),
        (("volume.claimName=audit",), "would not use it"),
        (("mode=never",), "mode"),
        (("volume.sizeLimit=lots",), "sizeLimit"),
    ],
)
def test_values_that_would_keep_nothing_are_refused(render: Renderer, who: str, values: tuple[str, ...], words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render(*EXTERNAL, *(f"{who}.audit.{value}" for value in values))
    assert words.format(who=who) in str(refused.value)

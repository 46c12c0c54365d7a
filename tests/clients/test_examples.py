"""Unmodified clients against `keystead dev`: works, key disabled, key enabled; and who signs wrongly gets nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.clients import examples
from tests.clients.build import Clients
from tests.clients.endpoint import Endpoint

pytestmark = pytest.mark.clients
every_client = pytest.mark.parametrize("name", examples.NAMES)

WRONG_SIGNATURE = "The request signature we calculated does not match the signature you provided"
UNKNOWN_KEY = "The security token included in the request is invalid"


@every_client
def test_client_works_is_refused_while_its_key_is_disabled_and_works_again(
    name: str, clients: Clients, endpoint: Endpoint, environment: dict[str, str], key: str, folder: Path
) -> None:
    ran = examples.run(name, clients, environment, folder)
    assert ran.code == 0, ran
    assert re.search(r"^works: ", ran.stdout, re.MULTILINE), ran
    assert re.search(rf"^key disabled: .*DisabledException.*{re.escape(key)} is disabled", ran.stdout, re.MULTILINE), (
        ran
    )
    assert re.search(r"^key enabled: ", ran.stdout, re.MULTILINE), ran
    assert examples.shape(ran.stdout) == examples.shape(examples.section(name)[1]), (
        "examples/clients/<name>/README.md shows something else"
    )
    assert endpoint.admin().describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_large_file_is_restored_as_its_page_says(clients: Clients, environment: dict[str, str], folder: Path) -> None:
    ran = examples.run(
        "openssl", clients, environment, folder, *examples.restore("openssl"), "cmp backup.img restored.img"
    )
    assert ran.code == 0, ran
    left = {path.name for path in (folder / "openssl").iterdir()}
    assert left == {"README.md", "example.sh", "backup.img", "backup.img.enc", "backup.img.key", "restored.img"}


@every_client
def test_client_with_a_wrong_secret_is_refused(
    name: str, clients: Clients, environment: dict[str, str], folder: Path
) -> None:
    ran = examples.run(name, clients, environment | {"AWS_SECRET_ACCESS_KEY": "wrong-secret-wrong-secret"}, folder)
    assert ran.code != 0
    assert WRONG_SIGNATURE in ran.stdout + ran.stderr, ran
    assert "works: " not in ran.stdout


@every_client
def test_client_with_an_unknown_access_key_is_refused(
    name: str, clients: Clients, environment: dict[str, str], folder: Path
) -> None:
    ran = examples.run(name, clients, environment | {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, folder)
    assert ran.code != 0
    assert UNKNOWN_KEY in ran.stdout + ran.stderr, ran
    assert "works: " not in ran.stdout

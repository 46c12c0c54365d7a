"""The table "What a client needs" of examples/clients/README.md: with these variables a client works, without them it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients import examples
from tests.clients.build import Clients
from tests.clients.endpoint import Endpoint, certificates

pytestmark = pytest.mark.clients
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
TRUSTS = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """With a certificate of a private authority."""
    folder = tmp_path_factory.mktemp("endpoint-needs")
    running = Endpoint(folder, tls=certificates(folder / "tls"))
    yield running
    running.stop()


def only(environment: dict[str, str], *kept: str) -> dict[str, str]:
    """The environment with these of the variables in question and no others."""
    return {name: value for name, value in environment.items() if name not in (*REGIONS, *TRUSTS) or name in kept}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("boto3", ("AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")),
        ("aws-cli", ("AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")),
        ("encryption-sdk", ("AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")),
        ("javascript", ("AWS_REGION", "NODE_EXTRA_CA_CERTS")),
        ("go", ("AWS_REGION", "AWS_CA_BUNDLE")),
        ("go", ("AWS_DEFAULT_REGION", "SSL_CERT_FILE")),
        ("sops", ("AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")),
    ],
)
def test_these_variables_are_enough(
    name: str, kept: tuple[str, ...], clients: Clients, environment: dict[str, str], folder: Path
) -> None:
    ran = examples.run(name, clients, only(environment, *kept), folder)
    assert ran.code == 0, ran


@pytest.mark.parametrize(
    ("name", "kept", "words"),
    [
        ("boto3", ("AWS_REGION", *TRUSTS), "You must specify a region"),
        ("boto3", (*REGIONS, "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), "CERTIFICATE_VERIFY_FAILED"),
        ("aws-cli", ("AWS_REGION", *TRUSTS), "You must specify a region"),
        ("javascript", ("AWS_DEFAULT_REGION", *TRUSTS), "Region is missing"),
        ("javascript", (*REGIONS, "AWS_CA_BUNDLE", "SSL_CERT_FILE"), "certificate"),
        ("go", (*REGIONS, "NODE_EXTRA_CA_CERTS"), "failed to verify certificate"),
        ("sops", (*REGIONS, "NODE_EXTRA_CA_CERTS"), "failed to verify certificate"),
    ],
)
def test_without_its_own_variable_a_client_does_not_work(
    name: str, kept: tuple[str, ...], words: str, clients: Clients, environment: dict[str, str], folder: Path
) -> None:
    ran = examples.run(name, clients, only(environment, *kept), folder)
    assert ran.code != 0
    assert words in ran.stdout + ran.stderr, ran
    assert "works: " not in ran.stdout

"""One address for STS and KMS: unmodified SDKs change a ServiceAccount's projected token for credentials and work with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients import examples
from tests.clients.build import Clients
from tests.clients.endpoint import Endpoint, certificates
from tests.clients.webidentity import Issuer

pytestmark = pytest.mark.clients
every_sdk = pytest.mark.parametrize("name", ("boto3", "javascript", "go"))
SERVICE_ACCOUNT = "orders"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def endpoint(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """With TLS, as in a cluster."""
    folder = tmp_path_factory.mktemp("endpoint-web-identity")
    running = Endpoint(folder, tls=certificates(folder / "tls"), jwks=issuer.write_jwks(folder / "jwks.json"))
    yield running
    running.stop()


@pytest.fixture
def role(key: str) -> str:
    """The ARN of the ServiceAccount's role."""
    return f"arn:aws:iam::{key.split(':')[4]}:role/{SERVICE_ACCOUNT}"


@pytest.fixture
def granted(endpoint: Endpoint, key: str, role: str) -> None:
    """What a workload should have, and no more."""
    endpoint.admin().create_grant(KeyId=key, GranteePrincipal=role, Operations=["Encrypt", "Decrypt"])


@pytest.fixture
def workload(environment: dict[str, str], role: str, issuer: Issuer, folder: Path) -> dict[str, str]:
    """What a Pod has instead of an access key. The token file ends in a newline, as one written by hand does."""
    token = folder / "token"
    token.write_text(issuer.token(SERVICE_ACCOUNT) + "\n")
    kept = {name: value for name, value in environment.items() if "ACCESS_KEY" not in name}
    return kept | {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_SESSION_NAME": "orders-0"}


@every_sdk
@pytest.mark.usefixtures("granted")
def test_service_account_works_is_refused_while_its_key_is_disabled_and_works_again(
    name: str, clients: Clients, endpoint: Endpoint, workload: dict[str, str], key: str, folder: Path
) -> None:
    admin = endpoint.admin()
    steps = {"disable": admin.disable_key, "enable": admin.enable_key}
    with examples.started(name, clients, workload, folder, "--wait") as running:
        said = running.until("waiting: disable")
        assert f":assumed-role/{SERVICE_ACCOUNT}/orders-0" in said[0]
        assert said[1].startswith("works: ")
        steps["disable"](KeyId=key)
        running.enter()
        (refusal,) = running.until("waiting: enable")
        assert refusal.startswith("key disabled: ")
        assert f"{key} is disabled" in refusal
        steps["enable"](KeyId=key)
        running.enter()
        assert running.rest() == (0, ["key enabled: the old ciphertext opens"])


@every_sdk
@pytest.mark.usefixtures("granted")
def test_service_account_cannot_disable_its_key(
    name: str, clients: Clients, endpoint: Endpoint, workload: dict[str, str], key: str, folder: Path
) -> None:
    ran = examples.run(name, clients, workload, folder)
    assert ran.code != 0
    assert "AccessDeniedException" in ran.stderr, ran
    assert "works: " in ran.stdout
    assert endpoint.admin().describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


@every_sdk
def test_service_account_without_a_grant_is_refused(
    name: str, clients: Clients, workload: dict[str, str], folder: Path
) -> None:
    ran = examples.run(name, clients, workload, folder)
    assert ran.code != 0
    assert "AccessDeniedException" in ran.stderr, ran
    assert "works: " not in ran.stdout


@every_sdk
@pytest.mark.parametrize(
    ("made", "error"),
    [
        ({"audience": "https://kubernetes.default.svc"}, "InvalidIdentityToken"),
        ({"age": 7200}, "ExpiredToken"),
    ],
    ids=["another audience", "expired"],
)
@pytest.mark.usefixtures("granted")
def test_token_that_is_not_for_keystead_is_refused(
    name: str,
    made: dict[str, str],
    error: str,
    clients: Clients,
    workload: dict[str, str],
    issuer: Issuer,
    folder: Path,
) -> None:
    Path(workload["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(issuer.token(SERVICE_ACCOUNT, **made))
    ran = examples.run(name, clients, workload, folder)
    assert ran.code != 0
    assert error in ran.stderr, ran


@every_sdk
@pytest.mark.usefixtures("granted")
def test_another_service_accounts_role_is_refused(
    name: str, clients: Clients, workload: dict[str, str], issuer: Issuer, folder: Path
) -> None:
    Path(workload["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(issuer.token("billing"))
    ran = examples.run(name, clients, workload, folder)
    assert ran.code != 0
    assert "AccessDenied" in ran.stderr, ran

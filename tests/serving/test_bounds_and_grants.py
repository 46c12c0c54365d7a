"""Grants that make and end grants, 50 aliases of a key, and the chart's quota: on a real API server, by boto3 and by kubectl.

Their rules are in tests/operations/control and tests/server; here is that nothing of them is lost between the API, the objects and the
processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from tests.operator.direct import path_of
from tests.operator.harness import CHART, SYSTEM, OperatorProcess, wait_for
from tests.serving.desk import ALIAS, Desk, Worker, code_of
from tests.serving.harness import Authority, server
from tests.serving.test_audit import named

pytestmark = pytest.mark.cluster
NAMESPACE, GRANTS = "serve-b", "serve-grants"
DENIED = "AccessDeniedException"
MOST_ALIASES = 50
RED = {"team": "red"}
SUBSET = {"EncryptionContextSubset": RED}
TOO_FAST = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."


@pytest.fixture(scope="module")
def admin(desk: Desk) -> Worker:
    return desk.worker(GRANTS, "bounds-admin", "*")


@pytest.fixture(scope="module")
def kms(admin: Worker) -> Any:
    return admin.kms(attempts=5)


@pytest.fixture(scope="module")
def roles(desk: Desk) -> dict[str, Worker]:
    """ServiceAccounts to which RBAC gives nothing."""
    return {name: desk.worker(GRANTS, f"bounds-{name}") for name in ("maker", "leaf", "retirer")}


@pytest.fixture(scope="module")
def key(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def test_a_grant_gives_on_no_more_than_it_has_and_its_child_outlives_it(kms: Any, key: str, roles: dict[str, Worker]) -> None:
    maker, leaf = roles["maker"].kms(), roles["leaf"].kms()
    parent = kms.create_grant(
        KeyId=key, GranteePrincipal=roles["maker"].role, Operations=["CreateGrant", "Encrypt"], Constraints=SUBSET
    )["GrantId"]
    asked = {"KeyId": key, "GranteePrincipal": roles["leaf"].role}
    wider: list[dict[str, Any]] = [
        {"Operations": ["Encrypt"]},
        {"Operations": ["Decrypt"], "Constraints": SUBSET},
        {"Operations": ["Encrypt", "Decrypt"], "Constraints": SUBSET},
        {"Operations": ["Encrypt"], "Constraints": {"EncryptionContextSubset": {"team": "blue"}}},
    ]
    assert {code_of(maker.create_grant, **asked, **more) for more in wider} == {DENIED}
    child = maker.create_grant(**asked, Operations=["Encrypt"], Constraints={"EncryptionContextSubset": RED | {"row": "1"}})
    call = {"KeyId": key, "Plaintext": b"x", "GrantTokens": [child["GrantToken"]]}
    assert code_of(leaf.encrypt, **call, EncryptionContext=RED | {"row": "1"}) == ""
    assert code_of(leaf.encrypt, **call, EncryptionContext=RED) == DENIED
    kms.revoke_grant(KeyId=key, GrantId=parent)
    assert code_of(maker.create_grant, **asked, Operations=["Encrypt"], Constraints=SUBSET) == DENIED
    assert code_of(leaf.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext=RED | {"row": "1"}) == ""


@pytest.mark.parametrize("way", ["ids", "token"])
def test_the_retiring_principal_ends_a_grant_and_its_grantee_does_not(kms: Any, key: str, roles: dict[str, Worker], way: str) -> None:
    leaf, retirer = roles["leaf"].kms(), roles["retirer"].kms()
    made = kms.create_grant(
        KeyId=key, GranteePrincipal=roles["leaf"].role, Operations=["Decrypt"], RetiringPrincipal=roles["retirer"].role, Name=way
    )
    how = {"GrantToken": made["GrantToken"]} if way == "token" else {"KeyId": key, "GrantId": made["GrantId"]}
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert leaf.decrypt(CiphertextBlob=blob, GrantTokens=[made["GrantToken"]])["Plaintext"] == b"x"
    assert code_of(leaf.retire_grant, **how) == DENIED
    assert code_of(retirer.decrypt, CiphertextBlob=blob) == DENIED
    listed = retirer.list_retirable_grants(RetiringPrincipal=roles["retirer"].role)["Grants"]
    assert [grant["GrantId"] for grant in listed] == [made["GrantId"]]
    retirer.retire_grant(**how)
    assert code_of(leaf.decrypt, CiphertextBlob=blob) == DENIED
    assert made["GrantId"] not in [grant["GrantId"] for grant in kms.list_grants(KeyId=key)["Grants"]]


# -- 50 aliases


@pytest.fixture(scope="module")
def full(kms: Any, desk: Desk) -> Iterator[str]:
    """A key with 50 aliases of the API; its KmsKey's name."""
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    name = str(desk.named(GRANTS, key_id)["metadata"]["name"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: kms.create_alias(AliasName=f"alias/full-{n}", TargetKeyId=key_id), range(MOST_ALIASES)))
    yield name


def test_a_key_has_50_aliases_whoever_makes_the_next_one(kms: Any, desk: Desk, full: str) -> None:
    key_id = desk.object("KmsKey", GRANTS, full)["status"]["keyId"]
    assert len(kms.list_aliases(KeyId=key_id, Limit=100)["Aliases"]) == MOST_ALIASES
    with pytest.raises(kms.exceptions.LimitExceededException) as caught:
        kms.create_alias(AliasName="alias/one-more", TargetKeyId=key_id)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "alias/one-more" not in [alias["AliasName"] for alias in kms.list_aliases(Limit=100)["Aliases"]]
    desk.apply(ALIAS, GRANTS, "by-kubectl", aliasName="alias/by-kubectl", keyRef={"name": full})

    def ready() -> dict[str, Any]:
        found = desk.object(ALIAS, GRANTS, "by-kubectl")["status"]["conditions"]
        return next(each for each in found if each["type"] == "Ready")

    assert (ready()["status"], ready()["reason"]) == ("False", "QuotaExceeded")
    assert str(MOST_ALIASES) in ready()["message"]
    kms.delete_alias(AliasName="alias/full-0")
    wait_for("there is room", lambda: ready()["status"] == "True")


# -- quota


def chart_environment(desk: Desk, quota: str) -> dict[str, str]:
    """KEYSTEAD_QUOTA* of the server's container, as the chart renders this server.quota; without the prefix."""
    values = ("hsm.init.mode=external", "hsm.softhsm.acceptRisk=true", "server.replicas=1")
    sets = ["--kube-version", "1.36.0", "--set-json", f"server.quota={quota}", *(part for value in values for part in ("--set", value))]
    text = desk.installation.cluster.helm("template", "keystead", str(CHART), "-n", SYSTEM, *sets)
    found = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "Deployment"]
    (pod,) = (each["spec"]["template"]["spec"] for each in found if each["metadata"]["name"] == "keystead-server")
    variables = {each["name"]: each.get("value", "") for each in pod["containers"][0]["env"]}
    prefix = "KEYSTEAD_"
    return {name.removeprefix(prefix).lower(): value for name, value in variables.items() if name.startswith(f"{prefix}QUOTA")}


def test_the_charts_quota_throttles_a_tenant_and_leaves_the_others_alone(desk: Desk, authority: Authority, admin: Worker, key: str) -> None:
    settings = chart_environment(desk, '{"preset": "aws", "limits": {"ListKeys": 0.01}}')
    assert settings, "the chart says nothing of a quota"
    other = desk.worker(NAMESPACE, "bounds-other", "*")
    with server(desk.installation, authority, "quota", **settings) as process:
        process.wait_ready()
        one, two = admin.at(process).kms(), other.at(process).kms()
        one.list_keys()
        with pytest.raises(one.exceptions.ClientError) as caught:
            one.list_keys()
        told = caught.value.response
        assert (told["Error"]["Code"], told["Error"]["Message"]) == ("ThrottlingException", TOO_FAST)
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert one.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]  # another class
        two.list_keys()  # another account
        assert 'keystead_quota_throttled_total{class="ListKeys"} 1' in process.get("/metrics")[1]


# -- the controller's own deeds


def test_what_the_controller_does_to_a_key_is_on_record_each(desk: Desk, leader: OperatorProcess) -> None:
    """The end of a key is in tests/operator/test_key_life.py."""
    namespace, names = "serve-a", {"annotations": {"kms.keystead.io/rotate-requested-at": "now"}}
    desk.direct.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": "deeds"}})
    arn = desk.apply("KmsKey", namespace, "deeds")["status"]["keyArn"]
    desk.apply("KmsDataKey", namespace, "deeds", keyRef={"name": "deeds"}, target={"secretName": "deeds"})  # that Secret is somebody's
    path = path_of("KmsKey", namespace, "deeds")
    desk.direct.merge(path, {"metadata": names})
    wanted = {"CreateKey", "IssueDataKey", "InjectDataKey", "RotateKey", "ReWrapDataKey", "ScheduleKeyDeletion", "CancelKeyDeletion"}

    def told() -> dict[str, dict[str, Any]]:
        found = [each for name in wanted for each in named(leader.text, name, name="deeds")]
        return {each["eventName"]: each for each in found if each["resources"][0]["ARN"] == arn}

    wait_for("the re-wrap on record", lambda: "ReWrapDataKey" in told())
    desk.direct.merge(path, {"spec": {"scheduledDeletion": {"pendingWindowInDays": 7}}})
    wait_for("the scheduled end on record", lambda: "ScheduleKeyDeletion" in told())
    desk.direct.merge(path, {"spec": {"scheduledDeletion": None}})
    wait_for("its cancellation on record", lambda: "CancelKeyDeletion" in told())
    assert told().keys() == wanted
    assert {each["eventType"] for each in told().values()} == {"AwsServiceEvent"}
    assert {each["recipientAccountId"] for each in told().values()} == {arn.split(":")[4]}
    assert told()["RotateKey"]["serviceEventDetails"]["rotationType"] == "ON_DEMAND"
    assert told()["InjectDataKey"]["serviceEventDetails"]["secretName"] == "deeds"

"""kill -9 of `keystead dev --state`, and what is there afterwards: everything that was ever answered (SECURITY, promise 1)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.clients.endpoint import PROGRAM, Endpoint
from tests.clients.webidentity import Issuer
from tests.protocol.harness import House, account, code_of, error_of, open_house, refused, role

pytestmark = pytest.mark.token
ROUNDS = 5
MADE = 20
LATER = Path(__file__).with_name("laterclock.py")
# Longer than the life of the shortest temporary credentials, and of a grant token.
AHEAD = timedelta(minutes=16)


class Home:
    """One state folder, and the process that has it now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first, self._second, self._issuer = account("111122223333"), account("444455556666"), Issuer()
        self._jwks = self._issuer.write_jwks(folder / "jwks.json")
        self.house: House | None = None

    @property
    def state(self) -> Path:
        """The folder."""
        return self._folder / "state"

    @property
    def running(self) -> House:
        """Started where it is not."""
        return self.house or self.start()

    def start(self, ahead: float = 0) -> House:
        """`ahead`: seconds that the machine's clock is."""
        given = [(one.access_key_id, one.secret, one.id) for one in (self._first, self._second)]
        options = ("--state", str(self.state))
        program = (sys.executable, str(LATER), str(ahead)) if ahead else (str(PROGRAM),)
        endpoint = Endpoint(self._folder, jwks=self._jwks, options=options, access_keys=given, program=program)
        self.house = House(endpoint, self._issuer, self._first, self._second)
        return self.house

    def kill(self) -> None:
        assert self.house is not None
        self._close(self.house.endpoint.kill)

    def stop(self) -> None:
        if self.house is not None:
            self._close(self.house.endpoint.stop)

    def _close(self, end: Callable[[], None]) -> None:
        assert self.house is not None
        end()
        for client in self.house.clients.values():
            client.close()
        self.house = None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One folder for all: a start takes seconds."""
    made = Home(tmp_path_factory.mktemp("home"))
    yield made
    made.stop()


def all_keys(kms: Any) -> set[str]:
    return {key["KeyArn"] for page in kms.get_paginator("list_keys").paginate() for key in page["Keys"]}


def plain(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "ResponseMetadata"}


def readings(kms: Any, keys: list[str]) -> list[Any]:
    """All that the control plane says of these keys."""
    told = [plain(kms.list_aliases())]
    for key in keys:
        told += [plain(call(KeyId=key)) for call in (kms.describe_key, kms.list_grants, kms.list_resource_tags, kms.get_key_policy)]
    return told


def test_what_was_there_before_a_kill_is_there_after_it(home):
    house = home.running
    kms = house.client()
    plain_key = kms.create_key(Description="kept", Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=plain_key, Plaintext=b"old", EncryptionContext={"a": "b"})["CiphertextBlob"]
    kms.rotate_key_on_demand(KeyId=plain_key)
    newer = kms.encrypt(KeyId=plain_key, Plaintext=b"newer")["CiphertextBlob"]
    signer, mac = house.fresh("ECC_NIST_P256"), house.fresh("HMAC_256")
    signature = kms.sign(KeyId=signer, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    made_mac = kms.generate_mac(KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_256")["Mac"]
    disabled, pending = house.fresh(state="Disabled"), house.fresh(state="PendingDeletion")
    theirs = house.fresh(who=house.second)
    kms.create_alias(AliasName="alias/kept", TargetKeyId=plain_key)
    kms.create_grant(KeyId=plain_key, GranteePrincipal=role(house.first, "app"), Operations=["Decrypt"])
    keys = [plain_key, signer, mac, disabled, pending]
    before, listed = readings(kms, keys), all_keys(kms)
    home.kill()

    house = home.running
    kms = house.client()
    assert readings(kms, keys) == before
    assert all_keys(kms) == listed
    assert all_keys(house.client(house.second)) == {theirs}
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"old"
    assert kms.decrypt(CiphertextBlob=newer)["Plaintext"] == b"newer"
    assert kms.encrypt(KeyId="alias/kept", Plaintext=b"x")["KeyId"] == plain_key
    assert kms.verify(KeyId=signer, Message=b"m", Signature=signature, SigningAlgorithm="ECDSA_SHA_256")["SignatureValid"]
    assert kms.generate_mac(KeyId=mac, Message=b"m", MacAlgorithm="HMAC_SHA_256")["Mac"] == made_mac
    assert refused(kms.encrypt, KeyId=disabled, Plaintext=b"x").code == "DisabledException"
    app = house.client(house.workload("app"))
    assert app.decrypt(CiphertextBlob=newer)["Plaintext"] == b"newer"


def test_a_second_process_does_not_take_the_folder_of_a_living_one(home, tmp_path):
    before = all_keys(home.running.client())
    with pytest.raises(AssertionError, match="ended before it was ready"):
        open_house(tmp_path, options=("--state", str(home.state)))
    assert all_keys(home.running.client()) == before


def make_until_it_ends(house: House, answered: dict[str, bytes], enough: threading.Event, limit: int) -> None:
    """Creates and encrypts; only what was answered is written down."""
    kms = house.client()
    try:
        while True:
            key = kms.create_key()["KeyMetadata"]["Arn"]
            answered[key] = b""
            answered[key] = kms.encrypt(KeyId=key, Plaintext=key.encode())["CiphertextBlob"]
            if len(answered) >= limit:
                enough.set()
    except (BotoCoreError, ClientError):
        enough.set()


def test_every_key_that_was_answered_is_there_after_five_kills_in_a_loop_of_creates(home):
    there_before = all_keys(home.running.client())
    answered: dict[str, bytes] = {}
    for _ in range(ROUNDS):
        house = home.running
        enough = threading.Event()
        maker = threading.Thread(target=make_until_it_ends, args=(house, answered, enough, len(answered) + MADE))
        maker.start()
        assert enough.wait(60)
        home.kill()
        maker.join()
    kms = home.running.client()
    listed = all_keys(kms) - there_before
    assert len(answered) >= ROUNDS * MADE
    assert answered.keys() <= listed
    # A create that was under way when the process was killed may have been done: one a round, and it is a whole key.
    assert len(listed - answered.keys()) <= ROUNDS
    for key in listed:
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    for key, blob in answered.items():
        if blob:
            assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == key.encode()


def test_temporary_credentials_and_grant_tokens_end_with_their_time(home):
    """The last test: the records of a clock that is ahead are later than the machine's time. Grants themselves stay."""
    house = home.running
    kms, app = house.client(), house.workload("expiring", duration=900)
    key = house.fresh()
    asked = {"KeyId": key, "GranteePrincipal": role(house.first, "expiring"), "Operations": ["Encrypt", "RetireGrant"]}
    token = kms.create_grant(**asked)["GrantToken"]
    body = {"KeyId": key, "Plaintext": "AAAA", "GrantTokens": [token]}
    assert code_of(house.call("Encrypt", body, who=app)) == ""
    home.kill()

    house = home.start(AHEAD.total_seconds())
    then = datetime.now(UTC) + AHEAD
    told = error_of(house.call("Encrypt", body, who=app, moment=then))
    assert (told.status, told.code) == (400, "ExpiredTokenException")
    assert told.message == "The security token included in the request is expired"
    again = house.workload("expiring")
    assert code_of(house.call("Encrypt", {"KeyId": key, "Plaintext": "AAAA"}, who=again, moment=then)) == ""
    assert code_of(house.call("RetireGrant", {"GrantToken": token}, who=again, moment=then)) == "InvalidGrantTokenException"
    assert code_of(house.call("ListKeys", moment=datetime.now(UTC))) == "InvalidSignatureException"

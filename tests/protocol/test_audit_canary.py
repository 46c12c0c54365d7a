"""The audit trail of a real process, over HTTP: nothing secret is in it, and every line is one bounded line of JSON, whatever was sent.

All operations, well and badly: secrets stand in every member that holds bytes or a token, in headers, in bodies that cannot be read.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from tests.audit.sinks import read_chain
from tests.audit.test_sinks import all_of
from tests.clients.endpoint import Endpoint
from tests.operator.canaries import found_in
from tests.protocol.harness import House, open_house, role
from tests.server.http_harness import Client

from keystead.app.frontdoor import SERVED
from keystead.audit.folder import files_in
from keystead.audit.reading.report import Verdict
from keystead.audit.reading.verify import verify
from keystead.audit.table import TABLE

pytestmark = pytest.mark.token
CANARY = b"canary-plaintext-5b81d7c0e2"
MODEL = botocore.session.get_session().get_service_model("kms")
TOKENS = ("GrantTokens", "GrantToken", "Marker")
HOSTILE = 600
MOST = 200 * 1024
SEED = 20261126
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("trail")) / "audit"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, trail: Path) -> Iterator[House]:
    """A process of its own: it ends in the last test."""
    opened = open_house(tmp_path_factory.mktemp("audited"), ("--memory", "--audit", str(trail)))
    yield opened
    if opened.endpoint.pid:
        opened.endpoint.stop()


def lines(trail: Path) -> bytes:
    (chain,) = {file.chain for file in files_in(trail)}
    return all_of(trail, chain)


def shaped(shape: Any, name: str, house: House) -> Any:
    """A value of a shape: the canary where bytes or a token are, else what is plausible."""
    if name in TOKENS:
        return [CANARY.decode()] if shape.type_name == "list" else CANARY.decode()
    if name.endswith("KeyId"):
        return house.key()
    match shape.type_name:
        case "blob":
            return b64encode(CANARY).decode()
        case "string":
            return shape.enum[0] if getattr(shape, "enum", None) else f"alias/a-{name}"
        case "integer" | "long":
            return 32
        case "boolean":
            return False
        case "list":
            return [shaped(shape.member, name, house)]
        case "map":
            return {"tenant": "acme"}
        case "structure":
            return {each: shaped(inner, each, house) for each, inner in shape.members.items()}
    return None


def every_operation(house: House) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each with all members, with those that are required, and with one that is too long."""
    for operation in sorted(SERVED):
        shape = MODEL.operation_model(operation).input_shape
        full = shaped(shape, operation, house)
        yield operation, full
        yield operation, {name: full[name] for name in shape.required_members}
        for name, value in full.items():
            inner = shape.members[name]
            if inner.type_name == "blob":
                yield operation, full | {name: b64encode(CANARY * 400).decode()}
            elif name in TOKENS:
                if name != "Marker":  # one that is too long is none of ours, and AWS quotes it
                    yield operation, full | {name: [CANARY.decode() * 400] if isinstance(value, list) else CANARY.decode() * 400}
                yield operation, full | {name: [CANARY.decode()] * 50 if isinstance(value, list) else "\ud800" + CANARY.decode()}


def secrets_of_what_succeeds(house: House) -> list[bytes]:
    """What clients usually do, and what of it must stay between them and us."""
    kms, key = house.client(), house.key()
    workload = house.workload("canary")
    token = house.issuer.token("canary")
    grant = kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "canary"), Operations=["Encrypt", "Decrypt", "RetireGrant"])
    granted = house.client(workload)
    blob = granted.encrypt(KeyId=key, Plaintext=CANARY, GrantTokens=[grant["GrantToken"]])["CiphertextBlob"]
    granted.decrypt(CiphertextBlob=blob, GrantTokens=[grant["GrantToken"]])
    data = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256")
    again = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key)["CiphertextBlob"]
    mac = kms.generate_mac(KeyId=house.key("HMAC_256"), Message=CANARY, MacAlgorithm="HMAC_SHA_256")["Mac"]
    kms.verify_mac(KeyId=house.key("HMAC_256"), Message=CANARY, MacAlgorithm="HMAC_SHA_256", Mac=mac)
    signing = house.key("ECC_NIST_P256")
    signature = kms.sign(KeyId=signing, Message=CANARY, SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    kms.verify(KeyId=signing, Message=CANARY, SigningAlgorithm="ECDSA_SHA_256", Signature=signature)
    number = kms.generate_random(NumberOfBytes=64)["Plaintext"]
    marker = kms.list_keys(Limit=1)["NextMarker"]
    kms.list_keys(Limit=1, Marker=marker)
    house.client(workload, service="sts").get_caller_identity()
    with pytest.raises(ClientError, match="AccessDenied"):
        house.client(service="sts").assume_role_with_web_identity(
            RoleArn=role(house.first, "another"), RoleSessionName="session", WebIdentityToken=token
        )
    for secret in (workload.token, token):  # in places where they do not belong
        house.call("DescribeKey", {"KeyId": key, "GrantTokens": [secret]})
        house.call("ListKeys", {"Marker": secret})
    granted.retire_grant(GrantToken=grant["GrantToken"])
    assert workload.token is not None
    texts = [grant["GrantToken"], house.first.secret, house.second.secret, workload.secret, workload.token, token, marker]
    values = [CANARY, blob, again, data["Plaintext"], data["CiphertextBlob"], pair["PrivateKeyPlaintext"], mac, signature, number]
    return [*values, pair["PrivateKeyCiphertextBlob"], *(text.encode() for text in texts), *(part.encode() for part in token.split("."))]


def pin_of(house: House) -> bytes:
    """Of the process's token, which lies in memory."""
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    pins = {path.read_bytes().strip() for place in places for path in place.glob(f"keystead-dev-{house.endpoint.pid}-*/**/pin")}
    (pin,) = pins
    assert len(pin) >= 22  # 128 bits
    return pin


def test_nothing_secret_of_any_operation_is_on_record(audited: House, trail: Path) -> None:
    secrets = [*secrets_of_what_succeeds(audited), pin_of(audited)]
    for operation, body in every_operation(audited):
        answer = audited.call(operation, body)
        assert answer.status in (200, 400), (operation, answer)
    for request in (CANARY, b'{"Plaintext": "' + CANARY, json.dumps({"KeyId": 7, "Plaintext": CANARY.decode()}).encode()):
        audited.call("Encrypt", request)
    audited.ask(audited.signed(cookie=CANARY.decode(), x_secret=CANARY.decode()))
    audited.call("GenerateMac", {"KeyId": audited.key("HMAC_256"), "Message": "AA==", "MacAlgorithm": "HMAC_SHA_256"})  # waits for all
    text = lines(trail)
    names = {record["eventName"] for record in read_chain(text[: text.rfind(b"\n") + 1]) if record["keysteadType"] == "call"}
    assert names == {*TABLE, "AssumeRoleWithWebIdentity", "GetCallerIdentity"}
    assert found_in(text, b"tenant")  # the search finds what may be there
    assert [number for number, secret in enumerate(secrets) if found_in(text, secret)] == []
    assert [number for number, secret in enumerate(secrets) if found_in(audited.endpoint.output.encode(), secret)] == []


def hostile(house: House, chance: random.Random) -> bytes:
    """A call that is rightly signed, and says evil things where it may say something."""
    evil = ["\u2028", "\x00", "\x1b[2J", "\ud800", "\udfff\ud800", '"}\\', "\x7f\x85", "é" * 9, "\U0001f600", "},\"chain\":{\"id\":\"x\""]
    text = "".join(chance.choices(evil, k=chance.randrange(1, 6)))
    context = {text: text} if chance.random() < 0.5 else {"k": chance.choice(["a", "\x01", "\u2028"]) * chance.randrange(1, 8200)}
    operation = chance.choice(["Encrypt", "GenerateDataKey", "DescribeKey", "CreateAlias", "CreateGrant", "TagResource", "PutKeyPolicy"])
    body = {
        "KeyId": chance.choice([house.key(), text, "alias/" + text, "x" * 3000]), "Plaintext": "AAAA", "KeySpec": "AES_256",
        "EncryptionContext": context, "AliasName": "alias/" + text, "TargetKeyId": house.key(), "Policy": text * 200,
        "GranteePrincipal": text, "Operations": ["Encrypt"], "Constraints": {"EncryptionContextEquals": context},
        "Tags": [{"TagKey": text, "TagValue": text}],
    }  # fmt: skip
    wanted = MODEL.operation_model(operation).input_shape.members
    sent = json.dumps({name: value for name, value in body.items() if name in wanted}).encode()
    raw = [b"\xff\xfe\xfd", "\u2028".encode(), b"a\tb", b"x" * 1500, b'","chain":{"id":"x","seq":0', b"\xc3\x28", b"\x85\xa0", b"%0d%0a"]
    request = house.signed(operation, sent).bytes
    head, _, rest = request.partition(b"\r\n\r\n")
    for name in (b"user-agent", b"x-keystead-justification"):
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(name)]
        head = b"\r\n".join([*kept, name + b": " + chance.choice(raw) * chance.randrange(1, 3)])
    return head + b"\r\n\r\n" + rest


def test_whatever_is_sent_each_record_is_one_bounded_line_of_json(audited: House, trail: Path) -> None:
    """Last: it ends the process, so that all is written."""
    chance = random.Random(SEED)
    answered, line = 0, Client(audited.port)
    for _ in range(HOSTILE):
        answer = line.send(hostile(audited, chance)).answer()
        assert answer.status in (200, 400), answer
        answered += 1
        if answer.headers.get("connection") == "close":
            line.socket.close()
            line = Client(audited.port)
    line.socket.close()
    stopped: Endpoint = audited.endpoint
    stopped.stop()
    text = lines(trail)
    assert text.endswith(b"\n")
    every = text[:-1].split(b"\n")
    assert max(map(len, every)) < MOST
    for each in every:
        assert len(each.decode().splitlines()) == 1
        assert not CONTROL.search(each.decode())
        assert list(json.loads(each))[-1] == "chain"
    records = read_chain(text)
    assert sum(record["keysteadType"] == "call" for record in records) >= answered
    assert {record["chain"]["id"] for record in records} == {files_in(trail)[0].chain}
    report = verify([trail])
    assert (report.verdict, [finding for chain in report.chains for finding in chain.findings]) == (Verdict.UNSIGNED, [])
    assert "cannot be written down" not in stopped.output
    assert "Traceback" not in stopped.output

"""Who holds a token, in the words of the door: ServiceAccounts, persons, and accounts of namespaces that have none yet."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from keystead.app.whois import Accounts, Recogniser, StillThere
from keystead.engine.identifiers import RECORDS_NAMESPACE, account_id
from keystead.engine.record import AccountRecord, InstallRecord
from keystead.errors import IdentityTokenError, KmsInternalError
from keystead.policy.bearer import Bearer, NotBearer
from keystead.policy.caller import CallerKind
from keystead.server.facts import Facts

INSTALL_ID = bytes(range(16))
GROUPS = ("system:authenticated",)
COMMON: dict[str, Any] = {"domain_generation": 1, "domain_fingerprint": "00" * 32, "transition": 0, "seq": 1}
INSTALL = InstallRecord(**COMMON, namespace_uid="r-1", install_id=INSTALL_ID.hex(), created="2026-01-01T00:00:00Z")
APP = Bearer("system:serviceaccount:team:app", "sa-1", GROUPS, "team", "app")


class Records:
    """What the read model answers."""

    def __init__(self) -> None:
        self.records: dict[str, AccountRecord] = {}
        self.told: InstallRecord | None = INSTALL

    def claim(self, namespace: str, uid: str, n: int) -> None:
        made = AccountRecord(
            **COMMON, namespace_uid=uid, account_id=account_id(INSTALL_ID, namespace, n), n=n, namespace=namespace,
            created="2026-01-01T00:00:00Z",
        )  # fmt: skip
        self.records[made.account_id] = made

    def account_of(self, namespace: str, uid: str) -> str:
        found = [r.account_id for r in self.records.values() if (r.namespace, r.namespace_uid) == (namespace, uid)]
        return found[0] if found else ""

    def account(self, number: str) -> AccountRecord | None:
        return self.records.get(number)

    def install(self) -> InstallRecord | None:
        return self.told


class Cluster:
    """Implements `server.facts.ClusterFacts`."""

    def __init__(self) -> None:
        self.namespaces = {"team": "ns-1", RECORDS_NAMESPACE: "r-1"}
        self.accounts = {("team", "app"): "sa-1"}
        self.tokens: dict[str, Bearer] = {"app": APP, "anna": Bearer("anna@example.com", "u-1", GROUPS)}

    async def review(self, question: object) -> bool:
        raise AssertionError("nobody asks for rights here")

    async def namespace_uid(self, namespace: str) -> str | None:
        return self.namespaces.get(namespace)

    async def service_account_uid(self, namespace: str, name: str) -> str | None:
        return self.accounts.get((namespace, name))

    async def token_review(self, token: str) -> Bearer | NotBearer:
        return self.tokens.get(token, NotBearer())


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def accounts(records: Records) -> Accounts:
    return Accounts(records)  # type: ignore[arg-type]  # what Accounts asks of a model


def facts(cluster: Cluster, records: Records) -> Facts:
    return Facts(cluster, accounts(records).account_of)


def test_a_namespace_without_an_account_has_the_one_that_will_be_claimed(records: Records) -> None:
    of = accounts(records).account_of
    assert of("team", "ns-1") == account_id(INSTALL_ID, "team", 0)
    records.claim("team", "ns-1", 0)
    assert of("team", "ns-1") == account_id(INSTALL_ID, "team", 0)
    assert of("team", "ns-2") == account_id(INSTALL_ID, "team", 1)
    records.claim("team", "ns-2", 1)
    assert [of("team", uid) for uid in ("ns-1", "ns-2")] == [account_id(INSTALL_ID, "team", n) for n in (0, 1)]


def test_before_the_install_record_is_known_nobody_has_an_account(records: Records) -> None:
    records.told = None
    with pytest.raises(KmsInternalError):
        accounts(records).account_of("team", "ns-1")


async def test_a_token_whose_account_was_made_again_or_is_gone_is_nobodys(cluster: Cluster, records: Records) -> None:
    """The API server's own cache may still say yes to it."""
    for uid in ("sa-2", None):
        cluster.accounts = {} if uid is None else {("team", "app"): uid}
        recogniser = Recogniser(facts(cluster, records), accounts(records))
        for ask in (recogniser.identify, recogniser.recognise):
            with pytest.raises(IdentityTokenError):
                await ask("app")


async def test_a_person_is_a_user_of_the_installs_own_account(cluster: Cluster, records: Records) -> None:
    caller, uid = await Recogniser(facts(cluster, records), accounts(records)).recognise("anna")
    own = account_id(INSTALL_ID, RECORDS_NAMESPACE, 0)
    assert (caller.kind, caller.account, caller.namespace, uid) == (CallerKind.USER, own, RECORDS_NAMESPACE, "r-1")
    assert caller.arn == f"arn:aws:iam::{own}:user/anna@example.com"


async def test_a_person_gets_no_role(cluster: Cluster, records: Records) -> None:
    with pytest.raises(IdentityTokenError):
        await Recogniser(facts(cluster, records), accounts(records)).identify("anna")


async def test_a_session_ends_with_each_of_what_it_was_made_for(cluster: Cluster, records: Records) -> None:
    who = await Recogniser(facts(cluster, records), accounts(records)).identify("app")

    async def alive() -> bool:
        return await StillThere(facts(cluster, records), accounts(records)).ask(who)

    assert await alive()
    cluster.accounts["team", "app"] = "sa-2"
    assert not await alive()
    cluster.accounts["team", "app"] = "sa-1"
    cluster.namespaces["team"] = "ns-2"
    assert not await alive()
    cluster.namespaces["team"] = "ns-1"
    assert await alive()
    records.claim("team", "another", 0)  # an administrator gave the account away: this namespace's next one is another
    assert not await alive()


async def test_what_is_remembered_decides_as_what_is_asked(cluster: Cluster, records: Records) -> None:
    known = facts(cluster, records)
    who = await Recogniser(known, accounts(records)).identify("app")
    there = StillThere(facts(cluster, records), accounts(records))
    assert there.known(who) is None
    assert await there.ask(who) and there.known(who) is True
    assert there.known(who.__class__(**{**{f: getattr(who, f) for f in who.__slots__}, "uid": "sa-0"})) is False


def test_a_record_of_another_install_gives_other_accounts(records: Records) -> None:
    records.told = replace(INSTALL, install_id=bytes(16).hex())
    assert accounts(records).account_of("team", "ns-1") == account_id(bytes(16), "team", 0)

"""Who holds a token, in a cluster: accounts before the first key, credentials of what is gone, people and ServiceAccounts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.server.identities import ACCOUNT, AnIdentity

from keystead.app.server.whois import Accounts, Recogniser, StillThere
from keystead.engine.identifiers import RECORDS_NAMESPACE, account_id
from keystead.errors import IdentityTokenError, KmsInternalError
from keystead.policy import CallerKind
from keystead.policy.bearer import Bearer
from keystead.server.facts import WebIdentity

INSTALL = "f0" * 16
APP = Bearer("system:serviceaccount:team-a:app", AnIdentity().uid, (), "team-a", "app")


@dataclass
class Model:
    """`store.model.RecordModel`, as far as accounts go. `owners`: (namespace, uid) -> account."""

    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    installed: bool = True

    def account_of(self, namespace: str, uid: str) -> str:
        return self.owners.get((namespace, uid), "")

    def account(self, account: str) -> object | None:
        return next((owner for owner, known in self.owners.items() if known == account), None)

    def install(self) -> Any:
        return SimpleNamespace(install_id=INSTALL) if self.installed else None


@dataclass
class Known:
    """`server.facts.Facts`: uids by name. `silent`: nothing is remembered."""

    namespaces: dict[str, str] = field(default_factory=lambda: {"team-a": AnIdentity().namespace_uid, RECORDS_NAMESPACE: "uid-r"})
    accounts: dict[tuple[str, str], str] = field(default_factory=lambda: {("team-a", "app"): AnIdentity().uid})
    silent: bool = False
    who: Bearer = APP

    def known_namespace(self, name: str) -> str | None:
        return None if self.silent else self.namespaces.get(name)

    def known_service_account(self, namespace: str, name: str) -> str | None:
        return None if self.silent else self.accounts.get((namespace, name))

    async def namespace(self, name: str) -> str | None:
        return self.namespaces.get(name)

    async def service_account(self, namespace: str, name: str) -> str | None:
        return self.accounts.get((namespace, name))

    async def bearer(self, _token: str) -> Bearer:
        return self.who

    async def token(self, _token: str) -> WebIdentity:
        who = self.who
        return WebIdentity(who.namespace, self.namespaces[who.namespace], ACCOUNT, who.name, who.uid, who.pod_name, who.pod_uid)


def accounts(model: Model) -> Accounts:
    return Accounts(model)  # type: ignore[arg-type]


def a_model() -> Model:
    return Model({("team-a", AnIdentity().namespace_uid): ACCOUNT})


def test_a_namespace_has_its_account() -> None:
    assert accounts(a_model()).account_of("team-a", AnIdentity().namespace_uid) == ACCOUNT


def test_before_its_first_key_a_namespace_has_the_account_that_the_claim_will_find() -> None:
    first, second = (account_id(bytes.fromhex(INSTALL), "new", n) for n in (0, 1))
    assert accounts(Model()).account_of("new", "uid-1") == first
    taken = Model({("new", "an earlier one"): first})
    assert accounts(taken).account_of("new", "uid-1") == second  # an account is never freed


def test_without_the_install_record_nobody_has_an_account() -> None:
    with pytest.raises(KmsInternalError):
        accounts(Model(installed=False)).account_of("new", "uid-1")


def still_there(facts: Known, model: Model | None = None) -> StillThere:
    return StillThere(facts, accounts(model or a_model()))  # type: ignore[arg-type]


async def test_credentials_live_with_their_service_account() -> None:
    assert still_there(Known()).known(AnIdentity()) is True
    assert still_there(Known(silent=True)).known(AnIdentity()) is None
    assert await still_there(Known(silent=True)).ask(AnIdentity())


@pytest.mark.parametrize(
    "facts",
    [
        Known(accounts={}),
        Known(namespaces={}),
        Known(accounts={("team-a", "app"): "another uid"}),
        Known(namespaces={"team-a": "another uid"}),
    ],
    ids=["account gone", "namespace gone", "account made again", "namespace made again"],
)
async def test_credentials_end_with_their_service_account_or_namespace(facts: Known) -> None:
    assert not still_there(facts).known(AnIdentity())
    assert not await still_there(facts).ask(AnIdentity())


async def test_credentials_of_another_account_than_the_namespaces_are_none() -> None:
    other = replace(AnIdentity(), account="444455556666")
    assert still_there(Known()).known(other) is False
    assert await still_there(Known()).ask(other) is False


async def test_a_bearer_token_of_a_service_account_is_that() -> None:
    actor, uid = await Recogniser(Known(), accounts(a_model())).recognise("t")  # type: ignore[arg-type]
    caller = actor.caller
    assert (caller.kind, caller.name, caller.account, uid) == (CallerKind.SERVICE_ACCOUNT, "app", ACCOUNT, AnIdentity().namespace_uid)


async def test_a_person_is_a_user_of_the_installs_own_account() -> None:
    said = (("example.org/office", ("Bern",)),)
    facts = Known(who=Bearer("alice@example.com", "u-1", ("system:authenticated",), extra=said))
    actor, uid = await Recogniser(facts, accounts(a_model())).recognise("t")  # type: ignore[arg-type]
    caller = actor.caller
    own = account_id(bytes.fromhex(INSTALL), RECORDS_NAMESPACE, 0)
    assert (caller.kind, caller.account, caller.namespace, uid) == (CallerKind.USER, own, RECORDS_NAMESPACE, "uid-r")
    assert (caller.name, caller.uid, caller.groups, caller.extra) == ("alice@example.com", "u-1", ("system:authenticated",), said)
    facts.namespaces.clear()
    with pytest.raises(IdentityTokenError):
        await Recogniser(facts, accounts(a_model())).recognise("t")  # type: ignore[arg-type]


async def test_who_calls_again_is_the_same_and_who_has_changed_is_another() -> None:
    """Policies and the audit remember callers by the object: one that is new with each call would push all others out."""
    facts = Known()
    recogniser = Recogniser(facts, accounts(a_model()))  # type: ignore[arg-type]
    anna = Bearer("anna", "u-1", ("people",), extra=(("a/b", ("1",)),))
    people = [anna, replace(anna, groups=()), replace(anna, uid="u-2"), replace(anna, extra=()), replace(anna, user="anne")]
    found = []
    for who in (APP, replace(APP, pod_name="p-2"), *people):
        facts.who = who
        actors = [(await recogniser.recognise("t"))[0] for _ in range(2)]
        assert actors[0] is actors[1]
        found.append(actors[0])
    assert [actor.pod_name for actor in found[:2]] == ["", "p-2"]
    assert len({id(actor) for actor in found}) == len(found)

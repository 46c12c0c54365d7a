"""Any order of making, using, retiring, revoking and outliving grants, against a naive list (grant_model.py), RBAC saying no to everything.

The real operations write to the store of `keystead dev`, the real operator makes the records, the real read model answers. After each step
every principal is asked for every action under every context, and every list is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.builders import NAMESPACE, OTHER_UID, UID, Hsm
from tests.operations.control.desk import Desk
from tests.operations.control.grant_model import CONTEXTS, KEYS, VALUES, Model, Terms
from tests.reconciler.fakes import FakeEngine

from keystead.engine.identifiers import canonical_principal, data_key_arn, role_arn
from keystead.engine.plan.common import NamespaceFacts
from keystead.errors import AccessDeniedError, DisabledError, InvalidGrantTokenError, KmsError, NotFoundException
from keystead.operations.control.grant_ends import RetireGrantRequest, RevokeGrantRequest
from keystead.operations.control.grant_lists import (
    GrantListEntry,
    ListGrantsRequest,
    ListGrantsResponse,
    ListRetirableGrantsRequest,
)
from keystead.operations.control.grants import CreateGrantRequest, GrantConstraints
from keystead.operations.pipeline import Asked, admit
from keystead.operations.rules import RULES
from keystead.policy import Action, Caller, service_account_caller
from keystead.policy.caller import service_caller
from keystead.policy.question import Carried
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.vocabulary import ObjectKind

SERVICE = "datakeys.kms.keystead.io"
PEOPLE = ("app", "reader", "third")
KEY_NAMES = ("key-1", "key-2")
USES = (Action.ENCRYPT, Action.DECRYPT, Action.GENERATE_DATA_KEY, Action.DESCRIBE_KEY)
ASKED = [context for context in CONTEXTS if "d" not in context or context == {"a": "x", "d": "x"}]
OPERATIONS = ("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "RetireGrant")
EXAMPLES = int(os.environ.get("GRANT_MACHINE_EXAMPLES", "50"))

people = st.sampled_from(PEOPLE)
keys = st.sampled_from(KEY_NAMES)
operations = st.sets(st.sampled_from(OPERATIONS), min_size=1).map(frozenset)
pairs = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), min_size=1, max_size=2, unique_by=lambda pair: pair[0])
constraints = st.one_of(st.just(("", ())), st.tuples(st.sampled_from(["equals", "subset"]), pairs.map(tuple)))

Change = Callable[[Terms], Terms]


def _with_pair(terms: Terms) -> Terms:
    """One pair more, under a key that it has not; a free one becomes constrained."""
    key = next((key for key in KEYS if key not in dict(terms.pairs)), None)
    return terms if key is None else replace(terms, kind=terms.kind or "subset", pairs=(*terms.pairs, (key, "x")))


def _without_pair(terms: Terms) -> Terms:
    return replace(terms, kind=terms.kind if terms.pairs[1:] else "", pairs=terms.pairs[1:])


CHANGES: list[Change] = [
    lambda terms: terms,
    lambda terms: replace(terms, operations=frozenset({"CreateGrant"})),
    lambda terms: replace(terms, operations=terms.operations | {"Encrypt"}),
    _with_pair,
    _without_pair,
    lambda terms: replace(terms, kind="equals" if terms.kind else ""),
    lambda terms: replace(terms, kind="subset" if terms.kind else ""),
    lambda terms: replace(terms, source=""),
]


class Grants(RuleBasedStateMachine):
    """Two keys of team-a, three ServiceAccounts of it, and the controller of data keys."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = self.open()
        self.desk.rbac.answer = False
        self.ids = {name: self.desk.apply(name).key_id for name in KEY_NAMES}
        self.model = Model(self.desk.world.clock.moment)
        self.sources = [data_key_arn("cluster-1", self.desk.account, name) for name in ("d1", "d2")]
        self.disabled: set[str] = set()
        self.tokens: dict[str, tuple[str, datetime]] = {}
        self.applied = 0

    def open(self) -> Desk:
        """On the fake token."""
        return Desk()

    def teardown(self) -> None:
        self.desk.close()

    # -- who asks

    def caller(self, who: str) -> Caller:
        """A ServiceAccount in a session, the root, or the service."""
        if who == "root":
            return self.desk.root
        if who == SERVICE:
            return service_caller(self.desk.account, NAMESPACE, SERVICE)
        return service_account_caller(self.desk.account, NAMESPACE, who, session=f"{who}-1")

    def arn(self, who: str) -> str:
        """As a request names it: by its session, which stands for its role."""
        return self.caller(who).arn

    def tried(self, request: Any, who: str, source: str = "") -> Any:
        """The answer, or the KmsError."""
        self.desk.carried = Carried(source_arn=source)
        try:
            return self.desk.call(request, caller=self.caller(who))
        except KmsError as error:
            return error

    # -- what people do

    @rule(who=st.sampled_from(["root", "root", "root", *PEOPLE]), key=keys, to=people, what=operations, constraint=constraints,
          retiring=st.sampled_from(["", *PEOPLE]), name=st.sampled_from(["", "n"]))  # fmt: skip
    def create(self, who: str, key: str, to: str, what: frozenset[str], constraint: Any, retiring: str, name: str) -> None:
        kind, held = constraint
        self.create_of(who, Terms(key, to, what, kind, held, retiring=retiring, name=name))

    @rule(who=st.sampled_from(["root", "root", SERVICE]), key=keys, to=st.sampled_from([SERVICE, "app"]), what=operations,
          constraint=constraints, retiring=st.sampled_from([SERVICE, "reader"]),
          source=st.integers(0, 1), behalf=st.integers(0, 1))  # fmt: skip
    def create_for_a_source(
        self, who: str, key: str, to: str, what: frozenset[str], constraint: Any, retiring: str, source: int, behalf: int
    ) -> None:
        """For the controller, on behalf of one of two data keys; and for a principal, who never asks on anybody's behalf."""
        kind, held = constraint
        self.create_of(who, Terms(key, to, what, kind, held, self.sources[source], retiring), self.sources[behalf])

    @precondition(lambda self: any("CreateGrant" in terms.operations for terms in self.model.grants.values()))
    @rule(data=st.data(), to=people, change=st.sampled_from(CHANGES))
    def create_a_child(self, data: st.DataObject, to: str, change: Change) -> None:
        """By the grantee of a grant that may let it: of the same, or of a little less or more."""
        parents = [terms for terms in self.model.grants.values() if "CreateGrant" in terms.operations]
        parent = data.draw(st.sampled_from(parents))
        child = change(replace(parent, grantee=to, retiring="", name="", expires=None))
        self.create_of(parent.grantee, child, parent.source)

    @precondition(lambda self: any(terms.name for terms in self.model.grants.values()))
    @rule(data=st.data(), what=st.one_of(st.none(), operations))
    def create_again(self, data: st.DataObject, what: frozenset[str] | None) -> None:
        """Under a name that is there: the same grant for the same parameters, and another one for others."""
        terms = data.draw(st.sampled_from([terms for terms in self.model.grants.values() if terms.name]))
        self.create_of("root", terms if what is None else replace(terms, operations=what))

    def create_of(self, who: str, terms: Terms, behalf: str = "") -> None:
        behalf = behalf if who == SERVICE else ""
        answer = self.tried(self.request(terms), who, behalf)
        may = self.model.home if who == "root" else self.model.may_create(who, terms, behalf)
        if not may:
            assert type(answer) in (AccessDeniedError, NotFoundException), (who, terms, answer)
        elif terms.key in self.disabled:
            assert type(answer) is DisabledError, answer
        else:
            same = self.model.the_same(terms)
            assert same in (None, answer.grant_id)
            assert same is not None or answer.grant_id not in self.model.grants
            self.model.grants[answer.grant_id] = terms
            self.tokens[answer.grant_id] = answer.grant_token, self.model.now

    def request(self, terms: Terms) -> CreateGrantRequest:
        context: Any = {"equals": "encryption_context_equals", "subset": "encryption_context_subset"}
        held: Any = {context[terms.kind]: dict(terms.pairs)} if terms.kind else {}
        members: Any = {"grantee": terms.grantee, "retiring": terms.retiring}
        parties = {
            f"{role}{'_service' if who == SERVICE else ''}_principal": who if who == SERVICE else self.arn(who)
            for role, who in members.items()
            if who
        }
        if terms.grantee == SERVICE and not terms.retiring:
            parties["retiring_service_principal"] = SERVICE
        return CreateGrantRequest(
            key_id=self.ids[terms.key],
            operations=tuple(sorted(terms.operations, reverse=True)),
            constraints=GrantConstraints(**held, source_arn=terms.source or None) if held or terms.source else None,
            name=terms.name or None,
            **parties,
        )

    @precondition(lambda self: self.model.home)
    @rule(key=keys, to=people, what=operations | st.just(frozenset(OPERATIONS)), minutes=st.integers(1, 20),
          retiring=st.sampled_from(["", *PEOPLE]))  # fmt: skip
    def apply(self, key: str, to: str, what: frozenset[str], minutes: int, retiring: str) -> None:
        """kubectl apply of a KmsGrant that ends: only an object can say that."""
        self.applied += 1
        ref = ObjectRef(Kind.GRANT, NAMESPACE, f"g{self.applied}")
        spec = {"keyRef": {"name": key}, "serviceAccountRef": {"name": to}, "operations": sorted(what), "ttl": f"{minutes}m"}
        if retiring:
            spec["retiringPrincipal"] = self.arn(retiring)
        self.desk.world.apply(ref, **spec)
        self.desk.reconcile(ref)
        made = self.desk.model.grant_named(NAMESPACE, ref.name)
        assert (made is None) is (key in self.disabled)
        if made is None:
            self.desk.world.delete(ref)
            return
        expires = self.model.now + timedelta(minutes=minutes)
        self.model.grants[made.grant_id] = Terms(key, to, what, retiring=retiring, expires=expires)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), who=st.sampled_from(["root", "app", SERVICE]))
    def revoke(self, data: st.DataObject, who: str) -> None:
        """No grant lets revoke."""
        grant_id = data.draw(st.sampled_from(list(self.model.grants)))
        request = RevokeGrantRequest(key_id=self.ids[self.model.grants[grant_id].key], grant_id=grant_id)
        self.ended(self.tried(request, who), grant_id, who == "root" and self.model.home)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), token=st.booleans())
    def retire(self, data: st.DataObject, token: bool) -> None:
        """By those who are named in it more often than by others."""
        grant_id = data.draw(st.sampled_from(list(self.model.grants)))
        terms = self.model.grants[grant_id]
        who = data.draw(st.sampled_from([terms.grantee, terms.retiring or terms.grantee, "root", *PEOPLE, SERVICE]))
        may = self.model.home if who == "root" else self.model.may_retire(who, grant_id)
        if token and grant_id in self.tokens:
            text, made = self.tokens[grant_id]
            answer = self.tried(RetireGrantRequest(grant_token=text), who)
            if self.model.now - made > timedelta(minutes=5):
                assert type(answer) is InvalidGrantTokenError
                return
        else:
            key_id = self.ids[self.model.grants[grant_id].key]
            answer = self.tried(RetireGrantRequest(key_id=key_id, grant_id=grant_id), who)
        self.ended(answer, grant_id, may)

    def ended(self, answer: Any, grant_id: str, may: bool) -> None:
        if may:
            assert not isinstance(answer, KmsError), answer
            # Those that were made by it stay: they are grants of their own.
            del self.model.grants[grant_id]
        else:
            assert type(answer) in (AccessDeniedError, NotFoundException), answer

    @rule(data=st.data(), past=st.integers(-1, 1))
    def wait(self, data: st.DataObject, past: int) -> None:
        """Until a grant ends, where one does: the second before, that very second, the one after. Else longer than tokens are worth."""
        ends = [terms.expires for terms in self.model.grants.values() if terms.expires and self.model.in_time(terms)]
        until = data.draw(st.sampled_from(ends)) if ends else self.model.now + timedelta(minutes=6)
        self.desk.world.clock.advance(seconds=max((until - self.model.now).total_seconds() + past, 0))
        self.model.now = self.desk.world.clock.moment

    @precondition(lambda self: self.model.home)
    @rule(key=keys, off=st.sampled_from([False, False, True]))
    def toggle(self, key: str, off: bool) -> None:
        """A disabled key is used by nobody, and keeps its grants."""
        self.disabled = self.disabled | {key} if off else self.disabled - {key}
        self.desk.apply(key, enabled=key not in self.disabled)

    @rule(away=st.sampled_from([False, False, False, True]))
    def move(self, away: bool) -> None:
        """The namespace is made again, or is the old one again after etcd was restored."""
        self.model.home = not away
        self.desk.world.objects.namespaces[NAMESPACE] = NamespaceFacts(UID if self.model.home else OTHER_UID)

    @rule()
    def look(self) -> None:
        """The operator passes over all grants, once more than it has to."""
        for ref in [ref for ref in self.desk.world.objects.bodies if ref.kind is ObjectKind.GRANT]:
            self.desk.reconcile(ref)

    # -- what must hold

    @invariant()
    def everybody_may_do_what_the_list_says(self) -> None:
        self.desk.refresh()
        for who, source in [*((who, "") for who in PEOPLE), *((SERVICE, source) for source in ("", *self.sources))]:
            self.desk.carried = Carried(source_arn=source)
            world, caller = self.desk.control_world(), self.caller(who)
            for key, key_id in self.ids.items():
                for action in USES:
                    for context in ASKED if action is not Action.DESCRIBE_KEY else ASKED[:1]:
                        admitted = is_admitted(
                            lambda: self.desk.drive(admit(world, caller, RULES[action], key_id, Asked(None, context)))  # noqa: B023
                        )
                        assert admitted is self.model.allows(key, who, action.value, context, source), (who, key, action, context, source)

    @invariant()
    def lists_are_the_list(self) -> None:
        for key, key_id in self.ids.items():
            wanted = {grant_id: terms for grant_id, terms in self.model.grants.items() if terms.key == key}
            found = self.tried(ListGrantsRequest(key_id=key_id), "root")
            if not self.model.home:
                assert type(found) in (AccessDeniedError, NotFoundException)
                continue
            assert isinstance(found, ListGrantsResponse)
            assert {entry.grant_id: self.told(entry) for entry in found.grants} == {g: self.meant(t) for g, t in wanted.items()}
            for who in (*PEOPLE, SERVICE):
                named = {"grantee_service_principal": who} if who == SERVICE else {"grantee_principal": self.arn(who)}
                some = self.tried(ListGrantsRequest(key_id=key_id, **named), "root")
                assert {entry.grant_id for entry in some.grants} == {g for g, t in wanted.items() if t.grantee == who}

    @invariant()
    def everybody_lists_what_it_may_retire(self) -> None:
        for who in (*PEOPLE, SERVICE):
            named = {"retiring_service_principal": who} if who == SERVICE else {"retiring_principal": self.arn(who)}
            found = self.tried(ListRetirableGrantsRequest(**named), who)
            meant = {g for g, t in self.model.grants.items() if self.retires(t) == who and self.model.home}
            assert {entry.grant_id for entry in found.grants} == meant

    @staticmethod
    def retires(terms: Terms) -> str:
        return terms.retiring or (SERVICE if terms.grantee == SERVICE else "")

    def meant(self, terms: Terms) -> tuple[object, ...]:
        def named(who: str) -> str | None:
            return who if who in ("", SERVICE) else role_arn(self.desk.account, who)

        grantee, retiring = named(terms.grantee), named(self.retires(terms)) or None
        return grantee, retiring, tuple(sorted(terms.operations)), terms.kind, dict(terms.pairs), terms.source, terms.name

    @staticmethod
    def told(entry: GrantListEntry) -> tuple[object, ...]:
        held = entry.constraints or GrantConstraints()
        kind = "equals" if held.encryption_context_equals else "subset" if held.encryption_context_subset else ""
        return (
            entry.grantee_principal or entry.grantee_service_principal,
            entry.retiring_principal or entry.retiring_service_principal,
            entry.operations,
            kind,
            held.encryption_context_equals or held.encryption_context_subset or {},
            held.source_arn or "",
            entry.name or "",
        )


def is_admitted(ask: Callable[[], Any]) -> bool:
    """Policy says yes: the key's state is another question."""
    try:
        ask()
    except DisabledError:
        return True
    except (AccessDeniedError, NotFoundException):
        return False
    return True


def test_the_model_of_the_tests_says_itself_what_is_no_wider() -> None:
    what = frozenset({"Decrypt"})
    free, one = Terms("k", "a", what), Terms("k", "a", what, "subset", (("a", "x"),))
    two = Terms("k", "a", what, "equals", (("A", "x"),))
    assert [two.is_no_wider(one), one.is_no_wider(two), one.is_no_wider(free), free.is_no_wider(one)] == [True, False, True, False]
    assert canonical_principal("arn:aws:sts::111122223333:assumed-role/app/app-1") == role_arn("111122223333", "app")


class WholeToken:
    """A backend as the one object that the fake is: what seals records, what keys are made by, what calls are answered by."""

    def __init__(self, hsm: Hsm) -> None:
        self.parts = (hsm, hsm.domain, hsm.fast, hsm.capabilities)
        self.domain, self.fast, self.capabilities = self.parts[1:]
        self.entropy = os.urandom

    def __getattr__(self, name: str) -> Any:
        return next(getattr(part, name) for part in self.parts if hasattr(part, name))


def test_a_few_steps_on_every_token(hsm: Hsm) -> None:
    """Records are sealed, and keys are made, by the token."""

    class OnToken(Grants):
        def open(self) -> Desk:
            engine: Any = FakeEngine(WholeToken(hsm))  # type: ignore[arg-type]
            return Desk(engine)

    run_state_machine_as_test(OnToken, settings=settings(TestGrants.settings, max_examples=3, stateful_step_count=8))


TestGrants = Grants.TestCase
TestGrants.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=24, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)

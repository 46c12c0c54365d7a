"""The control plane over the store of `keystead dev` and the real reconciler: what an operation writes is admitted, planned and read again.

    call(request)   runs the operation, with the answers that a front door gives: RBAC, the token, and for a Change the real writer, then
                    passes of the operator over that object, then the read model (store/model.py) over the records

Nothing here knows an operation. `fail(error)` makes the next write fail; `changes` has every Change that was asked for. `carried`: how
calls come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

from tests.builders import NAMESPACE, REGION, UID, Entropy, Rbac
from tests.reconciler.fakes import FakeEngine
from tests.reconciler.sqlite_world import SqliteWorld

from keystead.engine.record import KeyRecord
from keystead.errors import DependencyTimeoutError, KeysteadError
from keystead.operations import OPERATIONS
from keystead.operations.control.registry import CONTROL
from keystead.operations.effects import Await, Change, Effect, Home, Need, Probe, Slow
from keystead.operations.world import Call, ControlWorld
from keystead.operations.writes import CreateObject
from keystead.policy import Caller, root_caller, service_account_caller
from keystead.policy.question import Carried
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.store.model import RecordModel
from keystead.store.view import View

_FUNCTIONS = {row.request: row.function for row in [*OPERATIONS.values(), *CONTROL.values()]}
_PASSES = 4
_NO_CALL = Call()


class Desk:
    """One namespace, `team-a`. `app` is its ServiceAccount, `root` the root of its account. engine: the fake one, if none is given."""

    def __init__(self, engine: FakeEngine | None = None) -> None:
        self._runner = asyncio.Runner()
        self.world = SqliteWorld(engine)
        self.model = RecordModel()
        self.rbac, self.entropy = Rbac(), Entropy()
        self.changes: list[Change] = []
        self.carried = Carried()
        self._errors: list[KeysteadError] = []
        self.keys_per_namespace = 100
        hsm, now = self.world.engine.hsm, self.world.clock.moment
        self.account = self._runner.run(self.world.accounts.claim(hsm, NAMESPACE, UID, 1, now))
        self.app = service_account_caller(self.account, NAMESPACE, "app", session="s-1")
        self.root = root_caller(self.account, NAMESPACE)

    def close(self) -> None:
        self.world.sqlite.close()
        self._runner.close()

    def call(
        self,
        request: Any,
        *,
        caller: Caller | None = None,
        invocation: str = "",
        region: str = REGION,
    ) -> Any:
        """The operation's answer, or its KmsError. `invocation`: the SDK's invocation id."""
        self.refresh()
        world = self.control_world(Call(repr(request).encode(), invocation), region)
        running = _FUNCTIONS[type(request)](world, caller or self.app, request)
        try:
            return self.drive(running)
        finally:
            running.close()

    def control_world(self, call: Call = _NO_CALL, region: str = REGION) -> ControlWorld:
        """What an operation looks at, at this moment."""
        hsm = self.world.engine.hsm
        uids = {name: facts.uid for name, facts in self.world.objects.namespaces.items()}
        return ControlWorld(
            domain=hsm.domain,
            fast=hsm.fast,
            capabilities=hsm.capabilities,
            keys=View(self.model, uids),
            region=region,
            now=self.world.clock.moment,
            entropy=self.entropy,
            call=call,
            carried=self.carried,
            keys_per_namespace=self.keys_per_namespace,
        )

    def fail(self, *errors: KeysteadError) -> None:
        """Errors of the next writes: nothing is written by them."""
        self._errors.extend(errors)

    def apply(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> KeyRecord:
        """kubectl apply of a KmsKey, carried out; its record."""
        ref = ObjectRef(Kind.KEY, NAMESPACE, name)
        self.world.apply(ref, annotations=annotations, **spec)
        return self.look(name)

    def annotate(self, name: str, **annotations: str) -> KeyRecord:
        """kubectl annotate of a KmsKey with annotations of ours, carried out."""
        body = self.body(name)
        ours = {f"kms.keystead.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
        body["metadata"]["annotations"] = {**body["metadata"]["annotations"], **ours}
        return self.look(name)

    def rewrite(self, name: str, **members: Any) -> KeyRecord:
        """The record of a KmsKey as an earlier version may have left it."""
        self._runner.run(self.world.rewrite(ObjectRef(Kind.KEY, NAMESPACE, name), **members))
        self.refresh()
        return self.record(name)

    def orphan(self, name: str) -> KeyRecord:
        """kubectl delete of a KmsKey, carried out."""
        self.world.delete(ObjectRef(Kind.KEY, NAMESPACE, name))
        return self.look(name)

    def look(self, name: str) -> KeyRecord:
        """A pass of the operator over a KmsKey; its record."""
        self.reconcile(ObjectRef(Kind.KEY, NAMESPACE, name))
        return self.record(name)

    def reconcile(self, ref: ObjectRef) -> None:
        """A pass of the operator, and the read model sees what it did."""
        self._runner.run(self.world.reconcile(ref))
        self.refresh()

    def record(self, name: str) -> KeyRecord:
        """The record of a KmsKey, as the read model has it."""
        found = self.model.key_named(NAMESPACE, name)
        assert found is not None, f"no record of {name}"
        return found

    def body(self, name: str) -> dict[str, Any]:
        """The KmsKey."""
        return self.world.objects.bodies[ObjectRef(Kind.KEY, NAMESPACE, name)]

    def refresh(self) -> None:
        """The read model is what lies in the store now."""
        stored = dict(self.world.records.stored)
        self.model.keep(set(stored))
        for record in stored.values():
            self.model.take(self.world.engine.hsm, record)

    def drive(self, running: Generator[Effect, Any, Any]) -> Any:
        """The answer of an operation, or of a part of one; its KmsError."""
        try:
            effect = next(running)
            while True:
                try:
                    answer = self._answer(effect)
                except KeysteadError as error:
                    effect = running.throw(error)
                else:
                    effect = running.send(answer)
        except StopIteration as stop:
            return stop.value

    def _answer(self, effect: Effect) -> Any:
        hsm = self.world.engine.hsm
        match effect:
            case Need(review):
                return self.rbac(review)
            case Home(namespace):
                found = self.world.objects.namespaces.get(namespace)
                return found.uid if found is not None else None
            case Slow(call):
                return hsm.slow(call)
            case Probe(spec):
                return hsm.protection(spec)
            case Await():
                return self.refresh()
            case Change():
                return self._change(effect)

    def _change(self, change: Change) -> object:
        self.changes.append(change)
        if self._errors:
            raise self._errors.pop(0)
        self._runner.run(self.world.sqlite.writer.write(change.write))
        where = change.write if isinstance(change.write, CreateObject) else change.write.target
        for _ in range(_PASSES):
            self.reconcile(ObjectRef(where.kind, where.namespace, where.name))
            shown = change.done()
            if shown is not None:
                return shown
        raise DependencyTimeoutError("nothing shows the change")

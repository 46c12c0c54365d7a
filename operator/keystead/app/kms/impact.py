"""`kubectl kms impact`: what stops working when a key does: who called, what points at it, and which Pods have its data keys.

Shown before a deletion is scheduled. What this person may not see is said: the operator counts dependants of all namespaces in the key's
status, and the difference is named. No Secret is read: names only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from keystead.app.kms.keys import Target, find
from keystead.app.kms.view import Body, Unread, View
from keystead.cli.kms_services import Callers, Dependant, ImpactAnswer, Mount
from keystead.engine.clock import format_time, read_time
from keystead.engine.managed import MANAGED_KEY
from keystead.reconciler.ports import Kind
from keystead.resources.conditions import stalled_of
from keystead.resources.kms_data_key import KEY_ARNS_SHOWN
from keystead.resources.vocabulary import KeyState

SPAN: Final = timedelta(days=90)
# Where workloads keep the template of their Pods: kind, API path, way to the Pod spec. A CronJob's Pods may come next year.
_WORKLOADS: Final = (
    ("Deployment", "/apis/apps/v1", "deployments", ("spec", "template", "spec")),
    ("StatefulSet", "/apis/apps/v1", "statefulsets", ("spec", "template", "spec")),
    ("DaemonSet", "/apis/apps/v1", "daemonsets", ("spec", "template", "spec")),
    ("Job", "/apis/batch/v1", "jobs", ("spec", "template", "spec")),
    ("CronJob", "/apis/batch/v1", "cronjobs", ("spec", "jobTemplate", "spec", "template", "spec")),
)


async def impact(view: View, namespace: str, name: str, callers: Callers) -> ImpactAnswer:
    """The whole answer."""
    target = await find(view, namespace, name)
    aliases = await _aliases(view, target)
    dependants = [*aliases, *await _grants(view, target)]
    every = await _every_data_key(view, target)
    names = {alias.name for alias in aliases}
    data_keys = [body for body in every if _is_under(body, target, names)]
    secrets = {(body["metadata"]["namespace"], body["spec"]["target"]["secretName"]) for body in data_keys}
    dependants += [_data_key(body, target) for body in data_keys]
    hidden = _hidden(target, dependants)
    used = await callers.callers(target.arn, view.kube.clock.now() - SPAN)
    return ImpactAnswer(
        key=f"{target.record.namespace}/{target.record.name}",
        key_arn=target.arn,
        name=target.record.name,
        namespace=target.record.namespace,
        state=_state(target),
        last_used=_last_used(target),
        callers=used,
        dependants=tuple(dependants),
        mounts=tuple([mount async for mount in Mounts(view, secrets).found()]),
        hidden=hidden,
        unclear=tuple(_unclear(target, [body for body in every if body not in data_keys], hidden)),
        notes=target.notes,
        unread=tuple(f"you may not {what}" for what in view.unread),
    )


def _state(target: Target) -> str:
    ends = target.key.status.deletion_time
    state = target.record.state
    return f"{state.value} until {format_time(ends)}" if state is KeyState.PENDING_DELETION and ends else state.value


def _last_used(target: Target) -> str:
    used = target.key.status.last_used_time
    return format_time(used) if used else "not shown by the KmsKey; ask the endpoint: aws kms get-key-last-usage"


async def _aliases(view: View, target: Target) -> list[Dependant]:
    found = await view.objects(Kind.ALIAS, target.record.namespace)
    return [_alias(body) for body in _listed(found) if _names(body, target)]


def _alias(body: Body) -> Dependant:
    words = f"{body['spec'].get('aliasName', '')}{_stalled(body)}"
    return Dependant(Kind.ALIAS.value, body["metadata"]["namespace"], body["metadata"]["name"], words)


async def _grants(view: View, target: Target) -> list[Dependant]:
    found = await view.objects(Kind.GRANT, target.record.namespace)
    now = view.kube.clock.now()
    return [_grant(body, now) for body in _listed(found) if _names(body, target)]


def _names(body: Body, target: Target) -> bool:
    """Whether an alias or a grant is of the key: as recorded, and where nothing is recorded, as wanted."""
    status = body.get("status") or {}
    recorded = status.get("targetKeyId") or status.get("keyId")
    if recorded:
        return bool(recorded == target.record.key_id)
    return bool((body["spec"].get("keyRef") or {}).get("name") == target.record.name)


def _stalled(body: Body) -> str:
    """A mark for what its owner must mend first: an alias that another one holds, a grant that says something impossible."""
    stalled = stalled_of(body)
    return f" (Stalled: {stalled[0]})" if stalled else ""


def _grant(body: Body, now: datetime) -> Dependant:
    spec, status = body["spec"], body.get("status") or {}
    local = (spec.get("serviceAccountRef") or {}).get("name")
    grantee = status.get("granteePrincipal") or spec.get("granteePrincipal") or spec.get("granteeServicePrincipal") or local
    end = str(status.get("expirationTime") or "")
    over = bool(end) and read_time(end) <= now
    ends = f", {'ended at' if over else 'until'} {end}" if end else ""
    words = f"{grantee}: {', '.join(spec.get('operations') or ())}{ends}{'' if over else _stalled(body)}"
    return Dependant(Kind.GRANT.value, body["metadata"]["namespace"], body["metadata"]["name"], words)


async def _every_data_key(view: View, target: Target) -> tuple[Body, ...]:
    """In every namespace that may be read; else in the key's own."""
    found = await view.objects(Kind.DATA_KEY)
    if isinstance(found, Unread):
        found = await view.objects(Kind.DATA_KEY, target.record.namespace)
    return _listed(found)


def _is_under(body: Body, target: Target, aliases: set[str]) -> bool:
    """Under the key, whichever version of it, or at its next rotation: by the ARNs in status, or by what its spec points at."""
    spec, namespace = body["spec"], body["metadata"]["namespace"]
    status = body.get("status") or {}
    if target.arn == status.get("keyArn") or target.arn in (status.get("keyArns") or ()):
        return True
    here = namespace == target.record.namespace
    if "keyRef" in spec:
        ref = spec["keyRef"]
        return bool(ref["name"] == target.record.name and ref.get("namespace", namespace) == target.record.namespace)
    if "aliasRef" in spec:
        return here and spec["aliasRef"]["name"] in aliases
    return here and target.record.name == MANAGED_KEY


def _unclear(target: Target, others: Iterable[Body], hidden: Mapping[str, int]) -> Iterator[str]:
    """KmsDataKeys of which nobody can say here whether older versions are under the key, where the operator's count leaves room for one.

    Their status is of a version of Keystead before keyArns, or tells of as many keys as a status can.
    """
    if target.key.status.dependents and Kind.DATA_KEY.value not in hidden:
        return
    for body in others:
        status = body.get("status") or {}
        told = status.get("keyArns")
        if status.get("version", 1) > 1 and (told is None or len(told) >= KEY_ARNS_SHOWN):
            yield f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _data_key(body: Body, target: Target) -> Dependant:
    status = body.get("status") or {}
    older = target.arn in (status.get("keyArns") or ()) and status.get("keyArn") != target.arn
    words = f"Secret {body['spec']['target']['secretName']}, version {status.get('version', 'not made yet')}"
    words += f"{', older versions under this key' if older else ''}{_stalled(body)}"
    return Dependant(Kind.DATA_KEY.value, body["metadata"]["namespace"], body["metadata"]["name"], words)


def _hidden(target: Target, seen: Iterable[Dependant]) -> dict[str, int]:
    counted = target.key.status.dependents
    if not counted:
        return {}
    shown = Counter(item.kind for item in seen)
    every = {Kind.ALIAS.value: counted.aliases, Kind.GRANT.value: counted.grants, Kind.DATA_KEY.value: counted.data_keys}
    return {kind: number - shown[kind] for kind, number in every.items() if number > shown[kind]}


def _listed(found: tuple[Body, ...] | Unread) -> tuple[Body, ...]:
    return () if isinstance(found, Unread) else found


class Mounts:
    """Pods, and templates of Pods, that have one of these Secrets (namespace, name)."""

    def __init__(self, view: View, secrets: set[tuple[str, str]]) -> None:
        self._view = view
        self._secrets = secrets
        self._owners: dict[tuple[str, str], str] = {}

    async def found(self) -> AsyncIterator[Mount]:
        """One a Pod or workload and Secret."""
        for namespace in sorted({namespace for namespace, _ in self._secrets}):
            pods = await self._view.items(f"/api/v1/namespaces/{namespace}/pods", f"list pods in {namespace}")
            for body in _listed(pods):
                for secret, how in self._in(namespace, body["spec"]):
                    yield Mount("Pod", namespace, body["metadata"]["name"], await self._owner(namespace, body), secret, how)
            for kind, group, plural, way in _WORKLOADS:
                bodies = await self._view.items(f"{group}/namespaces/{namespace}/{plural}", f"list {plural} in {namespace}")
                for body in _listed(bodies):
                    for secret, how in self._in(namespace, _at(body, way)):
                        yield Mount(kind, namespace, body["metadata"]["name"], "", secret, how)

    def _in(self, namespace: str, spec: Body) -> Iterator[tuple[str, str]]:
        wanted = {name for place, name in self._secrets if place == namespace}
        ways: dict[str, dict[str, None]] = {}
        for name, how in uses(spec):
            if name in wanted:
                ways.setdefault(name, {})[how] = None
        for name, hows in ways.items():
            yield name, ", ".join(hows)

    async def _owner(self, namespace: str, body: Body) -> str:
        owner = _controller(body)
        if owner is None:
            return ""
        if owner["kind"] != "ReplicaSet":
            return f"{owner['kind']} {owner['name']}"
        place = (namespace, owner["name"])
        if place not in self._owners:
            path = f"/apis/apps/v1/namespaces/{namespace}/replicasets/{owner['name']}"
            found = await self._view.get(path, f"get replicasets in {namespace}")
            above = _controller(found) if isinstance(found, dict) else None
            self._owners[place] = f"{above['kind']} {above['name']}" if above else f"ReplicaSet {owner['name']}"
        return self._owners[place]


def _at(body: Body, way: tuple[str, ...]) -> Body:
    found = body
    for member in way:
        found = found.get(member) or {}
    return found


def _controller(body: Body) -> Body | None:
    owners: list[Body] = body["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def uses(spec: Body) -> Iterator[tuple[str, str]]:
    """Each Secret that a Pod spec names, and how."""
    for volume in spec.get("volumes") or ():
        if "secret" in volume:
            yield volume["secret"].get("secretName", ""), f"volume {volume['name']}"
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "secret" in source:
                yield source["secret"].get("name", ""), f"projected volume {volume['name']}"
    for member in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(member) or ():
            for source in container.get("envFrom") or ():
                if "secretRef" in source:
                    yield source["secretRef"].get("name", ""), f"envFrom of {container['name']}"
            for variable in container.get("env") or ():
                if "secretKeyRef" in (variable.get("valueFrom") or {}):
                    yield variable["valueFrom"]["secretKeyRef"].get("name", ""), f"env {variable['name']} of {container['name']}"

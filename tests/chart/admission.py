"""The table of what the admission policies ask, and one or more writes for each row. docs/security.md has the same rows.

Read by test_policies_render.py (the page, the messages) and test_policies_cluster.py (each write, with and without the right, with and
without the policies). `asks` are rights as people.py writes them, in the namespace `team`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chart.people import EVERYWHERE, KMS

TEAM, ABROAD, KEY = "team", "abroad", "k"
Object = dict[str, Any]

CREATE, UPDATE, DELETE = "create", "update", "delete"
KINDS = {"kmskeys": "KmsKey", "kmsaliases": "KmsAlias", "kmsgrants": "KmsGrant", "kmsdatakeys": "KmsDataKey"}
NAMES = {"kmskeys": KEY, "kmsaliases": "a", "kmsgrants": "g", "kmsdatakeys": "d"}
HAS = f"annotation {KMS}/"


@dataclass(frozen=True, slots=True)
class Side:
    """An object before or after a write."""

    spec: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def body(self, resource: str) -> Object:
        metadata = {"name": self.name or NAMES[resource], "namespace": TEAM}
        metadata |= {"annotations": {f"{KMS}/{key}": value for key, value in self.annotations.items()}} if self.annotations else {}
        metadata |= {"labels": dict(self.labels)} if self.labels else {}
        return {"apiVersion": f"{KMS}/v1alpha1", "kind": KINDS[resource], "metadata": metadata, "spec": dict(self.spec)}


@dataclass(frozen=True, slots=True)
class Case:
    """One write. `says`: what a refusal names besides the verb. `asks` empty: nothing but the verb of RBAC is needed."""

    name: str
    resource: str
    before: Side | None
    after: Side | None
    asks: tuple[str, ...] = ()
    says: str = ""

    @property
    def verb(self) -> str:
        if self.before is None:
            return CREATE
        return DELETE if self.after is None else UPDATE

    @property
    def row(self) -> str:
        """Its row in docs/security.md."""
        kind = KINDS[self.resource]
        fields = self.resource == "kmskeys" and self.verb != DELETE and self.says not in ("", kind)
        if fields or self.says.startswith(HAS):
            return f"{kind} {self.says.removeprefix(HAS)}"
        return f"{kind}, {self.verb}"

    @property
    def base(self) -> str:
        """The one right of RBAC that carries the request: an update is a PATCH."""
        return f"{'patch' if self.verb == UPDATE else self.verb} {self.resource}"


def _key(verb: str, name: str = KEY) -> str:
    return f"{verb} kmskeys/{name}"


def _all(verb: str) -> str:
    return f"{verb} kmskeys {EVERYWHERE}"


MAKE = "createkey kmskeys"
POLICY = {"Version": "2012-10-17", "Statement": []}
A, B = [{"key": "a", "value": "1"}], [{"key": "b", "value": "2"}]
WINDOWS = [{"cron": "0 3 * * *", "duration": "1h"}]

# field, value at first, value then, what setting it asks, and whether a CREATE with it asks that too.
_FIELDS: tuple[tuple[str, Any, Any, str, bool], ...] = (
    ("policy", None, POLICY, _key("putkeypolicy"), True),
    ("policy", {"Id": "x"}, POLICY, _key("putkeypolicy"), False),
    ("enabled", None, True, _key("enablekey"), True),
    ("enabled", False, True, _key("enablekey"), False),
    ("enabled", True, False, _key("disablekey"), False),
    ("enabled", None, False, _key("disablekey"), True),
    ("tags", None, A, _key("tagresource"), True),
    ("tags", A, [*A, *B], _key("tagresource"), False),
    ("tags", A, [{"key": "a", "value": "2"}], _key("tagresource"), False),
    ("tags", [*A, *B], A, _key("untagresource"), False),
    ("description", "x", "y", _key("updatekeydescription"), False),
    ("rotation", {"enabled": False}, {"enabled": True}, _key("enablekeyrotation"), False),
    ("rotation", {"enabled": True}, {"enabled": False}, _key("disablekeyrotation"), False),
    ("rotation", {"periodInDays": 90}, {"periodInDays": 91}, _key("enablekeyrotation"), False),
    ("rotation", None, {"windows": WINDOWS}, _key("enablekeyrotation"), False),
    ("scheduledDeletion", None, {}, _key("schedulekeydeletion"), True),
    ("scheduledDeletion", {}, {"pendingWindowInDays": 7}, _key("schedulekeydeletion"), False),
    ("scheduledDeletion", {}, None, _key("cancelkeydeletion"), False),
    ("deletionPolicy", None, "ScheduleDeletion", _key("schedulekeydeletion"), True),
    ("deletionPolicy", "ScheduleDeletion", "Retain", _key("schedulekeydeletion"), False),
    ("pendingWindowInDays", None, 7, _key("schedulekeydeletion"), True),
    ("deletionProtection", None, True, _key("schedulekeydeletion"), True),
    ("deletionProtection", True, False, _key("schedulekeydeletion"), False),
    ("adoptKeyId", None, "mrk-0", _all("adopt"), True),
    # What is left out is as the record has it: taking a field away changes nothing.
    ("policy", POLICY, None, "", False),
    ("enabled", False, None, "", False),
    ("tags", A, None, "", False),
    ("rotation", {"enabled": True}, None, "", False),
    ("suspend", None, True, "", False),
)
# annotation, what it asks, whether taking it away asks too.
_NOTES = (
    ("hold", _key("hold"), True),
    ("allow-deletion", _key("hold"), True),
    ("cancel-deletion", _key("cancelkeydeletion"), False),
    ("rotate-requested-at", _key("rotatekeyondemand"), False),
    ("adopt", _all("adopt"), False),
    ("new-key-after-destruction", _all("adopt"), False),
    ("reconcile-requested-at", "", False),
)


def _spec(field_name: str, value: Any) -> Side:
    return Side({} if value is None else {field_name: value})


def _key_cases() -> list[Case]:
    keys = [Case("a key is created", "kmskeys", None, Side({"description": "x", "rotation": {"enabled": True}}), (MAKE,), "KmsKey")]
    keys.append(Case("a key is created with no tags", "kmskeys", None, Side({"tags": []}), (MAKE, _key("untagresource")), "spec.tags"))
    for name, old, new, ask, at_create in _FIELDS:
        asks = (ask,) if ask else ()
        keys.append(Case(f"{name}: {old} to {new}", "kmskeys", _spec(name, old), _spec(name, new), asks, f"spec.{name}"))
        if at_create:
            keys.append(Case(f"a key is created with {name}: {new}", "kmskeys", None, _spec(name, new), (MAKE, ask), f"spec.{name}"))
    for name, ask, both in _NOTES:
        note, asks = Side(annotations={name: "true"}), (ask,) if ask else ()
        says = f"{HAS}{name}"
        keys.append(Case(f"{name} is annotated", "kmskeys", Side(), note, asks, says))
        keys.append(Case(f"{name} is taken away", "kmskeys", note, Side(), asks if both else (), says))
        keys.append(Case(f"a key is created with {name}", "kmskeys", None, note, (MAKE, *asks), says if asks else "KmsKey"))
    ends = _key("schedulekeydeletion")
    keys += [
        Case("a Retain key is deleted", "kmskeys", Side(), None),
        Case("a ScheduleDeletion key is deleted", "kmskeys", Side({"deletionPolicy": "ScheduleDeletion"}), None, (ends,), "DELETE"),
        Case("a protected key is deleted as allowed", "kmskeys", Side({"deletionProtection": True}, {"allow-deletion": "true"}), None),
    ]
    return keys


def _ref(name: str) -> Object:
    return {"keyRef": {"name": name}}


_ALIAS = {"aliasName": "alias/one"}
_GRANT = {**_ref(KEY), "granteePrincipal": "arn:aws:iam::111122223333:role/app", "operations": ["Decrypt"]}
_OF_API = {f"{KMS}/created-by": "api"}
_PATCH = "patch secrets/s"
_ISSUE, _PAIR = "generatedatakeywithoutplaintext", "generatedatakeypairwithoutplaintext"


def _data_key(**spec: Any) -> Side:
    return Side({"target": {"secretName": "s"}, **spec})


def _data_key_case(name: str, ask: str, *more: str, says: str = "spec.target.secretName", **spec: Any) -> Case:
    return Case(name, "kmsdatakeys", None, _data_key(**spec), (ask, *more, _PATCH), says)


_RESTARTS = [{"kind": kind, "name": "w"} for kind in ("Deployment", "StatefulSet", "DaemonSet")]
_WORKLOADS = tuple(f"patch {kind}s/w" for kind in ("deployment", "statefulset", "daemonset"))
_ROTATED = Side(_data_key(**_ref(KEY)).spec, {"rotate-requested-at": "now"})

_OTHERS = (
    Case("an alias is created", "kmsaliases", None, Side(_ALIAS | _ref(KEY)), ("createalias kmsaliases/a", _key("createalias"))),
    Case(
        "an alias is retargeted",
        "kmsaliases",
        Side(_ALIAS | _ref("k2")),
        Side(_ALIAS | _ref(KEY)),
        ("updatealias kmsaliases/a", _key("updatealias"), _key("updatealias", "k2")),
    ),
    Case(
        "an alias is suspended",
        "kmsaliases",
        Side(_ALIAS | _ref(KEY)),
        Side({**_ALIAS, **_ref(KEY), "suspend": True}),
        ("updatealias kmsaliases/a", _key("updatealias")),
    ),
    Case(
        "an alias is created as the API's",
        "kmsaliases",
        None,
        Side(_ALIAS | _ref(KEY), labels=_OF_API),
        ("createalias kmsaliases/a", _key("createalias"), _key("putkeypolicy")),
    ),
    Case(
        "an alias is said to be the API's",
        "kmsaliases",
        Side(_ALIAS | _ref(KEY)),
        Side(_ALIAS | _ref(KEY), labels=_OF_API),
        ("putkeypolicy kmskeys",),
        f"label {KMS}/created-by=api",
    ),
    Case(
        "an alias of the API is retargeted",
        "kmsaliases",
        Side(_ALIAS | _ref("k2"), labels=_OF_API),
        Side(_ALIAS | _ref(KEY), labels=_OF_API),
        ("updatealias kmsaliases/a", *(_key(verb, k) for verb in ("updatealias", "putkeypolicy") for k in (KEY, "k2"))),
    ),
    Case(
        "an alias of the API is taken from it and retargeted",
        "kmsaliases",
        Side(_ALIAS | _ref("k2"), labels=_OF_API),
        Side(_ALIAS | _ref(KEY)),
        ("updatealias kmsaliases/a", _key("updatealias"), _key("updatealias", "k2")),
    ),
    Case(
        "an alias of the API is annotated",
        "kmsaliases",
        Side(_ALIAS | _ref(KEY), labels=_OF_API),
        Side(_ALIAS | _ref(KEY), {"x": "y"}, labels=_OF_API),
    ),
    Case("an alias is annotated", "kmsaliases", Side(_ALIAS | _ref(KEY)), Side(_ALIAS | _ref(KEY), {"x": "y"})),
    Case("an alias is deleted", "kmsaliases", Side(_ALIAS | _ref(KEY)), None, ("deletealias kmsaliases/a", _key("deletealias"))),
    Case("a grant is created", "kmsgrants", None, Side(_GRANT), (_key("creategrant"),), "KmsGrant"),
    Case(
        "a grant is created as the API's",
        "kmsgrants",
        None,
        Side(_GRANT, labels=_OF_API),
        (_key("creategrant"), _key("putkeypolicy")),
        f"label {KMS}/created-by=api",
    ),
    Case("a grant is annotated", "kmsgrants", Side(_GRANT), Side(_GRANT, {"x": "y"})),
    Case("a grant is deleted", "kmsgrants", Side(_GRANT), None, (_key("revokegrant"),), "KmsGrant"),
    _data_key_case("a data key is created", _key(_ISSUE), **_ref(KEY)),
    _data_key_case("a data key of bytes is created", _key(_ISSUE), numberOfBytes=64, **_ref(KEY)),
    _data_key_case("a data key pair is created", _key(_PAIR), dataKeySpec="ECC_NIST_P256", **_ref(KEY)),
    _data_key_case("a data key is created by alias", f"{_ISSUE} kmsaliases/a", aliasRef={"name": "a"}),
    _data_key_case("a data key of the default key is created", _key(_ISSUE, "aws-keystead")),
    _data_key_case(
        "a data key of a key abroad is created",
        f"{_ISSUE} kmskeys/{KEY} in {ABROAD}",
        keyRef={"name": KEY, "namespace": ABROAD},
    ),
    _data_key_case(
        "a data key with restarts is created", _key(_ISSUE), *_WORKLOADS, rolloutRestartTargets=_RESTARTS, **_ref(KEY)
    ),
    Case(
        "a restart is added",
        "kmsdatakeys",
        _data_key(rolloutRestartTargets=_RESTARTS[:2], **_ref(KEY)),
        _data_key(rolloutRestartTargets=_RESTARTS, **_ref(KEY)),
        (_key(_ISSUE), _PATCH, _WORKLOADS[2]),
    ),
    Case(
        "a data key's rotation is changed",
        "kmsdatakeys",
        _data_key(**_ref(KEY)),
        _data_key(rotation={"periodInDays": 1}, **_ref(KEY)),
        (_key(_ISSUE), _PATCH),
    ),
    Case(
        "a data key pair's rotation is changed",
        "kmsdatakeys",
        _data_key(dataKeySpec="RSA_2048", **_ref(KEY)),
        _data_key(dataKeySpec="RSA_2048", rotation={"periodInDays": 1}, **_ref(KEY)),
        (_key(_PAIR), _PATCH),
    ),
    Case("a data key is rotated", "kmsdatakeys", _data_key(**_ref(KEY)), _ROTATED, (_key(_ISSUE),), "KmsDataKey"),
    Case("a data key is annotated", "kmsdatakeys", _data_key(**_ref(KEY)), Side(_data_key(**_ref(KEY)).spec, {"x": "y"})),
    Case("a data key is deleted", "kmsdatakeys", _data_key(**_ref(KEY)), None),
    *(
        Case(f"{kind} is adopted", kind, Side(spec), Side(spec, {"adopt": "true"}), (_all("adopt"),), f"{HAS}adopt")
        for kind, spec in (("kmsaliases", _ALIAS | _ref(KEY)), ("kmsgrants", _GRANT), ("kmsdatakeys", _data_key(**_ref(KEY)).spec))
    ),
)
CASES: tuple[Case, ...] = (*_key_cases(), *_OTHERS)

# Everything at once, which costs the most.
COSTLY = (
    Case(
        "a key that asks all",
        "kmskeys",
        None,
        Side(
            {
                "policy": POLICY,
                "enabled": True,
                "tags": [{"key": f"k{n}", "value": "v" * 256} for n in range(50)],
                "description": "x" * 8192,
                "rotation": {"enabled": True, "periodInDays": 90, "windows": WINDOWS},
                "scheduledDeletion": {},
                "deletionPolicy": "ScheduleDeletion",
                "pendingWindowInDays": 7,
                "deletionProtection": True,
                "adoptKeyId": "mrk-0",
            },
            {name: "true" for name, _, _ in _NOTES},
        ),
    ),
    Case(
        "a key that changes all",
        "kmskeys",
        Side({"scheduledDeletion": {}, "tags": [{"key": f"a{n}", "value": "v" * 256} for n in range(50)], "rotation": {"enabled": False}}),
        Side(
            {
                "policy": POLICY,
                "enabled": False,
                "tags": [{"key": f"k{n}", "value": "v" * 256} for n in range(50)],
                "description": "x" * 8192,
                "rotation": {"enabled": True, "periodInDays": 90, "windows": WINDOWS},
                "deletionPolicy": "ScheduleDeletion",
                "pendingWindowInDays": 7,
                "deletionProtection": True,
                "adoptKeyId": "mrk-0",
            },
            {name: "true" for name, _, _ in _NOTES},
        ),
    ),
    Case(
        "a data key with 16 restarts",
        "kmsdatakeys",
        None,
        _data_key(rolloutRestartTargets=[{"kind": "Deployment", "name": f"w{n}"} for n in range(16)], **_ref(KEY)),
    ),
)

"""The table of every right that the chart grants, with its reason. The rendered RBAC must equal it.

Read by test_chart_rights.py and test_chart_cluster.py. `used_by` lets a check of the audit log tick rights off: a row
that nothing uses must go, and a request that no row covers is a missing right. Rights of people (ClusterRoles that the
chart binds to nobody) are in PEOPLE.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

RELEASE = "keystead-system"
RECORDS = "keystead-records"
KINDS = ("kmskeys", "kmsaliases", "kmsgrants", "kmsdatakeys")
SERVED_KINDS = KINDS  # what the operator reconciles; the same list: templates/_helpers.tpl
API_MADE_KINDS = ("kmskeys", "kmsaliases", "kmsgrants")
KMS = "kms.keystead.io"
CORE = ""
ANY = "*"  # every namespace, or every name


class Where(StrEnum):
    """In which namespaces a right holds."""

    CLUSTER = "cluster"  # the object has no namespace
    SERVED = "served"  # every namespace, or each of operator.namespaces
    RECONCILED = "reconciled"  # the same, and the records': Keystead's own key lies there
    NAMESPACE_OBJECTS = "namespace objects"  # the Namespaces themselves, those served and the records'
    RELEASE = "release"
    RECORDS = "records"
    DATAKEYS = "datakeys"  # each of dataKeys.namespaces, or every one with dataKeys.allNamespaces


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource. `name` ANY: RBAC cannot or need not bind it to a name."""

    verb: str
    group: str
    resource: str
    where: Where
    name: str
    why: str


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A right as RBAC gives it: in one namespace (ANY: all, and objects without one) and for one name."""

    group: str
    resource: str
    verb: str
    namespace: str
    name: str


def _rows(
    verbs: dict[str, str], group: str, resources: Iterable[str], where: Where, names: Iterable[str] = (ANY,)
) -> list[Right]:
    """A row for each verb (with its reason), resource and name."""
    return [
        Right(verb, group, resource, where, name, why)
        for resource in resources
        for name in names
        for verb, why in verbs.items()
    ]


OPERATOR: tuple[Right, ...] = (
    *_rows(
        {
            "get": "reconcile reads the live object before it plans",
            "list": "Kopf's watch begins with a list",
            "watch": "Kopf's watch",
        },
        KMS,
        SERVED_KINDS,
        Where.RECONCILED,
    ),
    *_rows({"patch": "server-side apply of status"}, KMS, [f"{kind}/status" for kind in SERVED_KINDS], Where.RECONCILED),
    *_rows(
        {
            "patch": "the finalizer kms.keystead.io/in-use, by a JSON patch that tests the uid; an admission policy narrows it",
            "create": "aws-keystead on first use, and audit-signing; an admission policy narrows it",
        },
        KMS,
        ["kmskeys"],
        Where.RECONCILED,
    ),
    *_rows(
        {"delete": "an object that the API made goes after its key's destruction; an admission policy narrows it"},
        KMS,
        API_MADE_KINDS,
        Where.RECONCILED,
    ),
    *_rows({"create": "the chosen events, each under a name of its own"}, CORE, ["events"], Where.RECONCILED),
    *_rows(
        {"get": "`Gone` compares the live CRD's uid with the record's; start waits for the CRDs"},
        "apiextensions.k8s.io",
        ["customresourcedefinitions"],
        Where.CLUSTER,
        [f"{kind}.{KMS}" for kind in SERVED_KINDS],
    ),
    *_rows(
        {"get": "a namespace's uid decides who may adopt a record; a terminating one is left alone"},
        CORE,
        ["namespaces"],
        Where.NAMESPACE_OBJECTS,
    ),
    *_rows(
        {
            "get": "a record is read before it is written",
            "list": "the watch of records begins with a list",
            "watch": "the read model of records",
            "create": "a new record; create-only is the claim",
            "update": "PUT with resourceVersion: the fence",
            "delete": "alias and grant records end with their objects; an admission policy refuses every other one",
        },
        CORE,
        ["secrets"],
        Where.RECORDS,
    ),
    *_rows(
        {"get": "the PIN Secret's resourceVersion, which the marker names"},
        CORE,
        ["secrets"],
        Where.RELEASE,
        ["keystead-pin"],
    ),
    *_rows(
        {"get": "every replica reads the marker before it logs in", "patch": "a refused PIN is marked"},
        CORE,
        ["configmaps"],
        Where.RELEASE,
        ["keystead-pin-refused"],
    ),
    *_rows(
        {"create": "the first leader makes the Lease; RBAC cannot bind create to a name"},
        "coordination.k8s.io",
        ["leases"],
        Where.RELEASE,
    ),
    *_rows(
        {"get": "who leads", "update": "renew, take over, release"},
        "coordination.k8s.io",
        ["leases"],
        Where.RELEASE,
        ["keystead-operator"],
    ),
    *_rows(
        {
            "get": "uid and resourceVersion of the target, always read before an apply",
            "patch": "server-side apply of our keys",
            "create": "a Secret of our own",
        },
        CORE,
        ["secrets"],
        Where.DATAKEYS,
    ),
)

SERVER: tuple[Right, ...] = (
    *_rows(
        {
            "get": "the live object is read before a change: its uid is the fence",
            "list": "RECORDS, Rights",
            "create": "CreateKey, CreateAlias, CreateGrant; an orphan's KmsKey is written again",
            "patch": "fields of spec and two annotations; an admission policy narrows it",
            "delete": "DeleteAlias, RetireGrant, RevokeGrant; an admission policy refuses it for keys",
        },
        KMS,
        API_MADE_KINDS,
        Where.SERVED,
    ),
    *_rows({"get": "the caller's uids: callers live in any namespace"}, CORE, ["namespaces", "serviceaccounts"], Where.CLUSTER),
    *_rows({"create": "whose token it is"}, "authentication.k8s.io", ["tokenreviews"], Where.CLUSTER),
    *_rows({"create": "what the caller may"}, "authorization.k8s.io", ["subjectaccessreviews"], Where.CLUSTER),
    *_rows(
        {
            "get": "the install record, before the token is believed",
            "list": "the stream of records begins with a list",
            "watch": "the stream of records",
        },
        CORE,
        ["secrets"],
        Where.RECORDS,
    ),
    *_rows({"update": "a sign of life that comes back through the stream"}, CORE, ["secrets"], Where.RECORDS, ["heartbeat"]),
    *_rows(
        {"get": "the PIN Secret's resourceVersion, which the marker names"},
        CORE,
        ["secrets"],
        Where.RELEASE,
        ["keystead-pin"],
    ),
    *_rows(
        {
            "list": "the last use of a key is merged over the replicas",
            "create": "keystead-usage-<n>; RBAC knows no prefix, an admission policy does",
            "update": "keystead-usage-<n>",
        },
        CORE,
        ["configmaps"],
        Where.RELEASE,
    ),
    *_rows(
        {"get": "every worker reads the marker before it logs in", "patch": "a refused PIN is marked"},
        CORE,
        ["configmaps"],
        Where.RELEASE,
        ["keystead-pin-refused"],
    ),
)

HSM_INIT: tuple[Right, ...] = (
    *_rows({"create": "token, PIN and, if accepted, recovery key"}, CORE, ["secrets"], Where.RELEASE),
    *_rows({"create": "the install record and the sealed domain backup"}, CORE, ["secrets"], Where.RECORDS),
    *_rows({"get": "whether the cluster belongs to an install already"}, CORE, ["secrets"], Where.RECORDS, ["install"]),
    *_rows({"get": "the namespace's uid is in the install record"}, CORE, ["namespaces"], Where.RECORDS, [RECORDS]),
)

UNINSTALL: tuple[Right, ...] = (
    *_rows(
        {
            "list": "every key that could hold our finalizer",
            "patch": "a JSON patch that tests uid and finalizer, and removes the finalizer",
            "get": "a patch that was refused because the key changed is made anew from the live key",
        },
        KMS,
        ["kmskeys"],
        Where.SERVED,
    ),
    *_rows(
        {"get": "who leads", "update": "the Lease is taken, so that no operator puts a finalizer back"},
        "coordination.k8s.io",
        ["leases"],
        Where.RELEASE,
        ["keystead-operator"],
    ),
)


def grants(
    rights: Iterable[Right],
    *,
    served: tuple[str, ...] = (),
    data_keys: tuple[str, ...] = (),
    everywhere: bool = False,
) -> set[Grant]:
    """The rights as RBAC gives them under operator.namespaces, dataKeys.namespaces and dataKeys.allNamespaces."""
    namespaces = {
        Where.CLUSTER: (ANY,),
        Where.SERVED: served or (ANY,),
        Where.RECONCILED: (*served, RECORDS) if served else (ANY,),
        Where.NAMESPACE_OBJECTS: (ANY,),
        Where.RELEASE: (RELEASE,),
        Where.RECORDS: (RECORDS,),
        Where.DATAKEYS: (ANY,) if everywhere else data_keys,
    }
    return {
        Grant(right.group, right.resource, right.verb, namespace, name)
        for right in rights
        for namespace in namespaces[right.where]
        for name in _names(right, served)
    }


def _names(right: Right, served: tuple[str, ...]) -> tuple[str, ...]:
    if right.where is Where.NAMESPACE_OBJECTS and served:
        return (*served, RECORDS)
    return (right.name,)


_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")
_ALIAS = ("createalias", "updatealias", "deletealias")
_ISSUE = ("generatedatakeywithoutplaintext", "generatedatakeypairwithoutplaintext")
_EDIT = (
    "createkey",
    *_ALIAS,
    "updatekeydescription",
    "enablekeyrotation",
    "disablekeyrotation",
    "rotatekeyondemand",
)
_ADMIN = (
    "putkeypolicy",
    "creategrant",
    "revokegrant",
    "tagresource",
    "untagresource",
    "enablekey",
    "disablekey",
    "schedulekeydeletion",
    "cancelkeydeletion",
)
_LOOK = (
    "describekey",
    "getkeypolicy",
    "getkeylastusage",
    "getkeyrotationstatus",
    "getpublickey",
    "listaliases",
    "listgrants",
    "listkeypolicies",
    "listkeyrotations",
    "listkeys",
    "listresourcetags",
    "listretirablegrants",
)
# What gives plaintext, a signature, a MAC, a secret or a ciphertext: in no aggregated role, and not in key-admin.
USE = (
    "encrypt",
    "decrypt",
    "reencryptfrom",
    "reencryptto",
    "generatedatakey",
    "generatedatakeypair",
    "sign",
    "verify",
    "generatemac",
    "verifymac",
    "derivesharedsecret",
)

# ClusterRole -> (aggregated into, {(group, resource, name): verbs}); RECORDS, Rights.
PEOPLE: dict[str, tuple[str | None, dict[tuple[str, str, str], tuple[str, ...]]]] = {
    "keystead-view": ("view", {(KMS, kind, ANY): _READ for kind in KINDS}),
    "keystead-edit": (
        "edit",
        {
            (KMS, "kmskeys", ANY): (*_WRITE, *_EDIT, *_ISSUE),
            (KMS, "kmsaliases", ANY): (*_WRITE, *_ALIAS, *_ISSUE),
            (KMS, "kmsgrants", ANY): _WRITE,
            (KMS, "kmsdatakeys", ANY): _WRITE,
        },
    ),
    "keystead-admin": (
        "admin",
        {
            (KMS, "kmskeys", ANY): _ADMIN,
            ("rbac.authorization.k8s.io", "clusterroles", "keystead-key-user"): ("bind",),
        },
    ),
    "keystead-key-user": (None, {(KMS, "kmskeys", ANY): (*USE, *_ISSUE, "generaterandom", "getpublickey", "describekey")}),
    "keystead-key-admin": (
        None,
        {
            (KMS, "kmskeys", ANY): (*_READ, *_WRITE, *_EDIT, *_ADMIN, *_LOOK),
            (KMS, "kmsaliases", ANY): (*_READ, *_WRITE, *_ALIAS),
            (KMS, "kmsgrants", ANY): (*_READ, *_WRITE),
            (KMS, "kmsdatakeys", ANY): _READ,
        },
    ),
    "keystead-auditor": (
        None,
        {(KMS, "kmskeys", ANY): (*_READ, *_LOOK, "audit")} | {(KMS, kind, ANY): _READ for kind in KINDS[1:]},
    ),
}


def used_by(granted: Iterable[Grant], event: dict[str, object]) -> set[Grant]:
    """The grants that an allowed request in the API server's audit log (audit.k8s.io/v1 Event) made use of."""
    ref = event.get("objectRef")
    if not isinstance(ref, dict):
        return set()
    resource = "/".join(part for part in (ref.get("resource"), ref.get("subresource")) if part)
    return {
        grant
        for grant in granted
        if (grant.group, grant.resource, grant.verb) == (ref.get("apiGroup", ""), resource, event.get("verb"))
        and grant.namespace in (ANY, ref.get("namespace"))
        and grant.name in (ANY, ref.get("name"))
    }

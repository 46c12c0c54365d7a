"""ONE suite of manifests for the API server and for the Python rules: a bad one beside its nearest good twin.

Each row names the rule (rules.py) or `schema` (types and bounds) that refuses the bad one, and the field that the
refusal must name. With `old`, both are tried as updates of that object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keystead.resources.names import API_VERSION

Json = dict[str, Any]
SCHEMA = "schema"
UNIQUE = "unique"


@dataclass(frozen=True, kw_only=True)
class Row:
    kind: str
    rule: str
    field: str
    good: Json
    bad: Json
    old: Json | None = None
    good_name: str = ""
    bad_name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}-{self.rule}-{self.field}"


def manifest(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


WINDOW = {"cron": "0 3 * * 6", "timezone": "Europe/Berlin", "duration": "4h"}
OTHER = {"cron": "0 4 * * 0", "duration": "1h"}
GRANT = {"keyRef": {"name": "k"}, "serviceAccountRef": {"name": "app"}, "operations": ["Decrypt", "Encrypt"]}
ALIAS = {"aliasName": "alias/app", "keyRef": {"name": "k"}}
DATA = {"keyRef": {"name": "k"}, "target": {"secretName": "s"}}
SPECS: dict[str, Json] = {"KmsKey": {}, "KmsAlias": ALIAS, "KmsGrant": GRANT, "KmsDataKey": DATA}
"""Kind -> a spec that is as short as it may be."""
PRINCIPAL = "arn:aws:iam::123456789012:role/app"


def key(rule: str, field: str, good: Json, bad: Json, old: Json | None = None, **names: str) -> Row:
    return Row(kind="KmsKey", rule=rule, field=field, good=good, bad=bad, old=old, **names)


def rotation(rule: str, field: str, good: Json, bad: Json) -> Row:
    return key(rule, f"spec.rotation.{field}", {"rotation": good}, {"rotation": bad})


def window(rule: str, field: str, good: Json, bad: Json) -> Row:
    return rotation(rule, f"windows.{field}", {"windows": [WINDOW | good]}, {"windows": [OTHER, WINDOW | bad]})


def alias(rule: str, field: str, good: Json, bad: Json, old: Json | None = None) -> Row:
    return Row(
        kind="KmsAlias", rule=rule, field=field, good=ALIAS | good, bad=ALIAS | bad, old=ALIAS | old if old else None
    )


def grant(rule: str, field: str, good: Json, bad: Json, old: Json | None = None) -> Row:
    return Row(
        kind="KmsGrant", rule=rule, field=field, good=GRANT | good, bad=GRANT | bad, old=GRANT | old if old else None
    )


def data(rule: str, field: str, good: Json, bad: Json, old: Json | None = None, **names: str) -> Row:
    return Row(
        kind="KmsDataKey",
        rule=rule,
        field=field,
        good=DATA | good,
        bad=DATA | bad,
        old=DATA | old if old else None,
        **names,
    )


def without(spec: Json, *names: str) -> Json:
    return {name: value for name, value in spec.items() if name not in names}


HMAC = {"keySpec": "HMAC_256", "keyUsage": "GENERATE_VERIFY_MAC"}
SIGN = {"keySpec": "ECC_NIST_P256", "keyUsage": "SIGN_VERIFY"}

KEY_ROWS = (
    key("name-not-reserved", "metadata.name", {}, {}, good_name="awsome", bad_name="aws-s3"),
    key("region-immutable", "spec.region", {"region": "a-1", "description": "x"}, {"region": "a-2"}, {"region": "a-1"}),
    key("region-immutable", "spec.region", {"enabled": False}, {"region": "a-2"}, {"enabled": True}),
    key("keySpec-immutable", "spec.keySpec", SIGN, SIGN | {"keySpec": "ECC_NIST_P384"}, SIGN),
    key("keyUsage-immutable", "spec.keyUsage", SIGN, SIGN | {"keyUsage": "KEY_AGREEMENT"}, SIGN),
    key("key-usage-fits-key-spec", "spec.keyUsage", HMAC, without(HMAC, "keyUsage")),
    key(
        "key-usage-fits-key-spec",
        "spec.keyUsage",
        {"keySpec": "ECC_NIST_P521", "keyUsage": "KEY_AGREEMENT"},
        {"keySpec": "ECC_NIST_EDWARDS25519", "keyUsage": "KEY_AGREEMENT"},
    ),
    key(
        "rotation-only-symmetric",
        "spec.rotation",
        {"rotation": {"enabled": True, "periodInDays": 90}, "enabled": True},
        HMAC | {"rotation": {"enabled": True}},
    ),
    key(
        "rotation-only-symmetric",
        "spec.rotation",
        HMAC | {"rotation": {"enabled": False}},
        HMAC | {"rotation": {"periodInDays": 365}},
    ),
    window("cron-five-fields", "cron", {"cron": "0  3 * * MON-FRI"}, {"cron": "0 3 * * 6 *"}),
    window("duration-bounds", "duration", {"duration": "15m"}, {"duration": "14m59s"}),
    window("duration-bounds", "duration", {"duration": "168h"}, {"duration": "168h1s"}),
    window(SCHEMA, "duration", {"duration": "1h30m"}, {"duration": "1d"}),
    window(SCHEMA, "cron", {"cron": "*/5 * * * *"}, {"cron": "0 3 * * 6\n"}),
    window(SCHEMA, "timezone", {"timezone": "UTC"}, {"timezone": "../../etc passwd"}),
    rotation(
        UNIQUE,
        "windows",
        {"windows": [OTHER, OTHER | {"timezone": "Asia/Tokyo"}]},
        {"windows": [OTHER, OTHER | {"timezone": "UTC"}]},
    ),
    rotation(
        SCHEMA,
        "windows",
        {"windows": [WINDOW | {"cron": f"{n} 3 * * 6"} for n in range(16)]},
        {"windows": [WINDOW | {"cron": f"{n} 3 * * 6"} for n in range(17)]},
    ),
    rotation(SCHEMA, "periodInDays", {"periodInDays": 90}, {"periodInDays": 89}),
    rotation(SCHEMA, "periodInDays", {"periodInDays": 2560}, {"periodInDays": 2561}),
    rotation(SCHEMA, "periodInDays", {"periodInDays": 365}, {"periodInDays": 0}),
    rotation(SCHEMA, "periodInDays", {"periodInDays": 365}, {"periodInDays": 10**18}),
    key(
        "tag-key-not-reserved",
        "spec.tags.key",
        {"tags": [{"key": "team", "value": "aws:x"}]},
        {"tags": [{"key": "a", "value": ""}, {"key": "aws:x", "value": ""}]},
    ),
    key(UNIQUE, "spec.tags", {"tags": [{"key": "a"}, {"key": "A"}]}, {"tags": [{"key": "a"}, {"key": "a"}]}),
    key(SCHEMA, "spec.tags.key", {"tags": [{"key": "k" * 128}]}, {"tags": [{"key": "k" * 129}]}),
    key(
        SCHEMA,
        "spec.tags",
        {"tags": [{"key": str(n)} for n in range(50)]},
        {"tags": [{"key": str(n)} for n in range(51)]},
    ),
    key("keyStoreRef-not-available", "spec.keyStoreRef", {}, {"keyStoreRef": {"name": "hsm"}}),
    key("keyStoreRef-immutable", "spec.keyStoreRef", {}, {"keyStoreRef": {"name": "hsm"}}, {"enabled": True}),
    key("multiRegion-not-available", "spec.multiRegion", {"multiRegion": False}, {"multiRegion": True}),
    key(
        "multiRegion-immutable",
        "spec.multiRegion",
        {"multiRegion": False, "enabled": False},
        {"enabled": False},
        {"multiRegion": False},
    ),
    key("origin-not-available", "spec.origin", {"origin": "AWS_KMS"}, {"origin": "EXTERNAL"}),
    key("origin-immutable", "spec.origin", {}, {"origin": "EXTERNAL"}, {"origin": "AWS_KMS"}),
    key("adoptKeyId-not-available", "spec.adoptKeyId", {}, {"adoptKeyId": "0a1b2c3d-0000-4000-8000-000000000000"}),
    key(SCHEMA, "spec.keySpec", {"keySpec": "SYMMETRIC_DEFAULT"}, {"keySpec": "AES_256"}),
    key(SCHEMA, "spec.keySpec", {}, {"keySpec": "SM2", "keyUsage": "SIGN_VERIFY"}),
    key(SCHEMA, "spec.region", {"region": "cluster-1"}, {"region": "Cluster 1"}),
    key(SCHEMA, "spec.description", {"description": "d" * 8192}, {"description": "d" * 8193}),
    key(SCHEMA, "spec.description", {"description": ""}, {"description": 7}),
    key(SCHEMA, "spec.enabled", {"enabled": False}, {"enabled": "false"}),
    key(SCHEMA, "spec.policy", {"policy": {"Version": "2012-10-17", "Statement": []}}, {"policy": "{}"}),
    key(SCHEMA, "spec.pendingWindowInDays", {"pendingWindowInDays": 7}, {"pendingWindowInDays": 6}),
    key(SCHEMA, "spec.pendingWindowInDays", {"pendingWindowInDays": 30}, {"pendingWindowInDays": 31}),
    key(SCHEMA, "spec.deletionPolicy", {"deletionPolicy": "Retain"}, {"deletionPolicy": "Delete"}),
)

ALIAS_ROWS = (
    alias("aliasName-immutable", "spec.aliasName", {"keyRef": {"name": "k2"}}, {"aliasName": "alias/x"}, ALIAS),
    alias("alias-not-aws", "spec.aliasName", {"aliasName": "alias/awsome"}, {"aliasName": "alias/aws/s3"}),
    alias(SCHEMA, "spec.aliasName", {"aliasName": "alias/a/b_c-D"}, {"aliasName": "app"}),
    alias(SCHEMA, "spec.aliasName", {}, {"aliasName": "alias/app\n"}),
    alias(SCHEMA, "spec.aliasName", {"aliasName": "alias/" + "a" * 250}, {"aliasName": "alias/" + "a" * 251}),
    alias(SCHEMA, "spec.keyRef.name", {"keyRef": {"name": "k.k"}}, {"keyRef": {"name": "K_1"}}),
    Row(kind="KmsAlias", rule=SCHEMA, field="spec.keyRef", good=ALIAS, bad=without(ALIAS, "keyRef")),
)

TIMES = {"expiresAt": "2030-01-01T00:00:00Z"}
GRANT_ROWS = (
    grant("spec-immutable", "spec", {"operations": ["Encrypt", "Decrypt"]}, {"operations": ["Decrypt"]}, GRANT),
    grant(
        "spec-immutable",
        "spec",
        {"expiresAt": "2030-01-01T00:00:00.000Z"},
        {"expiresAt": "2031-01-01T00:00:00Z"},
        TIMES,
    ),
    Row(
        kind="KmsGrant",
        rule="one-of-granteePrincipal-serviceAccountRef-granteeServicePrincipal",
        field="spec",
        good=without(GRANT, "serviceAccountRef") | {"granteePrincipal": PRINCIPAL},
        bad=without(GRANT, "serviceAccountRef"),
    ),
    grant(
        "one-of-granteePrincipal-serviceAccountRef-granteeServicePrincipal",
        "spec",
        {},
        {"granteePrincipal": PRINCIPAL},
    ),
    grant(
        "one-of-retiringPrincipal-retiringServicePrincipal",
        "spec.retiringServicePrincipal",
        {"retiringPrincipal": PRINCIPAL},
        {"retiringPrincipal": PRINCIPAL, "retiringServicePrincipal": "s3.amazonaws.com"},
    ),
    grant("one-of-expiresAt-ttl", "spec.ttl", TIMES, TIMES | {"ttl": "1h"}),
    grant(
        "one-of-encryptionContextEquals-encryptionContextSubset",
        "spec.constraints.encryptionContextSubset",
        {"constraints": {"encryptionContextEquals": {"a": "b"}, "sourceArn": "arn:aws:s3:::b"}},
        {"constraints": {"encryptionContextEquals": {"a": "b"}, "encryptionContextSubset": {"a": "b"}}},
    ),
    grant(
        "encryptionContextEquals-keys",
        "spec.constraints.encryptionContextEquals",
        {"constraints": {"encryptionContextEquals": {"k" * 384: "b"}}},
        {"constraints": {"encryptionContextEquals": {"k" * 385: "b"}}},
    ),
    grant(
        "encryptionContextSubset-keys",
        "spec.constraints.encryptionContextSubset",
        {"constraints": {"encryptionContextSubset": {"k": ""}}},
        {"constraints": {"encryptionContextSubset": {"": "b"}}},
    ),
    grant(
        SCHEMA,
        "spec.constraints.encryptionContextEquals",
        {"constraints": {"encryptionContextEquals": {str(n): "v" * 384 for n in range(8)}}},
        {"constraints": {"encryptionContextEquals": {str(n): "v" for n in range(9)}}},
    ),
    grant(
        SCHEMA,
        "spec.constraints.encryptionContextEquals",
        {"constraints": {"encryptionContextEquals": {"a": ""}}},
        {"constraints": {"encryptionContextEquals": {}}},
    ),
    grant(
        SCHEMA,
        "spec.constraints.encryptionContextSubset",
        {"constraints": {"encryptionContextSubset": {"a": ""}}},
        {"constraints": {"encryptionContextSubset": {}}},
    ),
    grant("ttl-bounds", "spec.ttl", {"ttl": "1m"}, {"ttl": "59s"}),
    grant("ttl-bounds", "spec.ttl", {"ttl": "87600h"}, {"ttl": "99999h"}),
    grant(SCHEMA, "spec.expiresAt", TIMES, {"expiresAt": "tomorrow"}),
    grant(SCHEMA, "spec.operations", {"operations": ["DeriveSharedSecret"]}, {"operations": []}),
    grant(SCHEMA, "spec.operations", {"operations": ["Decrypt"]}, {"operations": ["decrypt"]}),
    grant(UNIQUE, "spec.operations", {"operations": ["Sign"]}, {"operations": ["Sign", "Sign"]}),
    grant(SCHEMA, "spec.retiringPrincipal", {"retiringPrincipal": PRINCIPAL}, {"retiringPrincipal": "a b"}),
    grant(SCHEMA, "spec.grantName", {"grantName": "IT/app:1_-"}, {"grantName": "a b"}),
)


def _template(field: str, name: str) -> Json:
    return {"target": {"secretName": "s", "template": {"metadata": {field: {name: "x"}}}}}


def _context(size: int) -> Json:
    return {"encryptionContext": {"k" * size: "v"}}


WEEKLY = {"rotation": {"periodInDays": 7}}
WORKLOAD = {"kind": "Deployment", "name": "app"}
DATA_ROWS = (
    data("name-length", "metadata.name", {}, {}, good_name="a" * 63, bad_name="b" * 64),
    data("one-of-keyRef-aliasRef", "spec.aliasRef", {}, {"aliasRef": {"name": "a"}}),
    data(
        "one-of-dataKeySpec-numberOfBytes",
        "spec.numberOfBytes",
        {"numberOfBytes": 64},
        {"numberOfBytes": 32, "dataKeySpec": "AES_256"},
    ),
    data("keyRef-immutable", "spec.keyRef", WEEKLY, {"keyRef": {"name": "k", "namespace": "other"}}, DATA),
    Row(
        kind="KmsDataKey",
        rule="aliasRef-immutable",
        field="spec.aliasRef",
        old=without(DATA, "keyRef") | {"aliasRef": {"name": "a"}},
        good=without(DATA, "keyRef") | {"aliasRef": {"name": "a"}, "suspend": True},
        bad=without(DATA, "keyRef"),
    ),
    data("dataKeySpec-immutable", "spec.dataKeySpec", {}, {"dataKeySpec": "AES_128"}, DATA),
    data(
        "numberOfBytes-immutable",
        "spec.numberOfBytes",
        {"numberOfBytes": 1},
        {"numberOfBytes": 2},
        {"numberOfBytes": 1},
    ),
    data("encryptionContext-immutable", "spec.encryptionContext", _context(1), _context(2), _context(1)),
    data(
        "secretName-immutable",
        "spec.target.secretName",
        {"target": {"secretName": "s", "deletionPolicy": "Delete"}},
        {"target": {"secretName": "t"}},
        DATA,
    ),
    data(
        "immutable-excludes-rotation",
        "spec.rotation",
        WEEKLY | {"target": {"secretName": "s", "immutable": False}},
        WEEKLY | {"target": {"secretName": "s", "immutable": True}},
    ),
    data(
        "overlap-bounds",
        "spec.rotation.overlap",
        {"rotation": {"periodInDays": 1, "overlap": "8760h"}},
        {"rotation": {"periodInDays": 1, "overlap": "8760h1s"}},
    ),
    data("encryption-context-keys", "spec.encryptionContext", _context(384), _context(385)),
    data(
        "template-labels-not-reserved",
        "spec.target.template.metadata.labels",
        _template("labels", "app"),
        _template("labels", "app.kubernetes.io/name"),
    ),
    data(
        "template-labels-not-reserved",
        "spec.target.template.metadata.labels",
        _template("labels", "notkubernetes.io/name"),
        _template("labels", "kms.keystead.io/record"),
    ),
    data(
        "template-annotations-not-reserved",
        "spec.target.template.metadata.annotations",
        _template("annotations", "example.com/kubernetes.io"),
        _template("annotations", "kustomize.toolkit.fluxcd.io/prune"),
    ),
    data(SCHEMA, "spec.dataKeySpec", {"dataKeySpec": "RSA_4096"}, {"dataKeySpec": "AES_192"}),
    data(SCHEMA, "spec.numberOfBytes", {"numberOfBytes": 1024}, {"numberOfBytes": 1025}),
    data(SCHEMA, "spec.numberOfBytes", {"numberOfBytes": 1}, {"numberOfBytes": 0}),
    data(SCHEMA, "spec.rotation.periodInDays", WEEKLY, {"rotation": {"overlap": "1h"}}),
    data(SCHEMA, "spec.rotation.periodInDays", WEEKLY, {"rotation": {"periodInDays": 0}}),
    data(SCHEMA, "spec.rotation.periodInDays", WEEKLY, {"rotation": {"periodInDays": 10**18}}),
    data(SCHEMA, "spec.target.secretName", {}, {"target": {}}),
    data(
        UNIQUE,
        "spec.rolloutRestartTargets",
        {"rolloutRestartTargets": [WORKLOAD]},
        {"rolloutRestartTargets": [WORKLOAD] * 2},
    ),
    data(
        SCHEMA,
        "spec.encryptionContext",
        {"encryptionContext": {str(n): "v" * 1024 for n in range(32)}},
        {"encryptionContext": {str(n): "v" for n in range(33)}},
    ),
)

ROWS: tuple[Row, ...] = (*KEY_ROWS, *ALIAS_ROWS, *GRANT_ROWS, *DATA_ROWS)

UNKNOWN = "unknown"
STRICT_ROWS: tuple[Row, ...] = (
    key(UNKNOWN, "spec.colour", {"description": "red"}, {"colour": "red"}),
    key(UNKNOWN, "spec.keySpce", {"keySpec": "SYMMETRIC_DEFAULT"}, {"keySpce": "SYMMETRIC_DEFAULT"}),
    key(UNKNOWN, "spec.rotation.perid", {"rotation": {"periodInDays": 90}}, {"rotation": {"perid": 90}}),
    key(UNKNOWN, "spec.tags[1].Key", {"tags": [{"key": "a"}]}, {"tags": [{"key": "a"}, {"key": "b", "Key": "a"}]}),
    alias(UNKNOWN, "spec.keyRef.namespace", {"keyRef": {"name": "k"}}, {"keyRef": {"name": "k", "namespace": "n"}}),
    grant(UNKNOWN, "spec.constraints.sourceARN", {"constraints": {"sourceArn": "a"}}, {"constraints": {"sourceARN": "a"}}),
)
"""What no model knows: refused by strict field validation, and by nothing else."""

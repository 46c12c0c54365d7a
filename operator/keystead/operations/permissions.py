"""The permission table: what each thing that can be done asks for. A missing row fails the build
(tests/operations/control/test_permissions.py, tests/docs/test_permissions_page.py).

    API         operations of the endpoint: asked of key policy, grants and RBAC by the pipeline, in this order
    CONTROLLER  what the operator does by itself: on whose word, and what asked for his right (names of audit records)
    COMMANDS    the command line: what a command works with

Nothing is decided here: the tests hold the pipeline, the admission policies and the commands against it, docs/reference/permissions.md is
made of it, and `kubectl kms` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from keystead.policy import Action
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY


class On(StrEnum):
    """What a right is on."""

    KEY = "kmskeys"
    ALIAS = "kmsaliases"
    ACCOUNT = "kmskeys of the namespace"
    """No key is named: RBAC alone decides."""


class Right(NamedTuple):
    """One right. `member`: of the request, that names the key or alias; "" for the account."""

    action: Action
    on: On
    member: str = ""

    @property
    def verb(self) -> str:
        """RBAC's."""
        return ACTIONS[self.action].verb


def _key(action: Action, member: str = "KeyId") -> Right:
    return Right(action, On.KEY, member)


def _alias(action: Action) -> Right:
    return Right(action, On.ALIAS, "AliasName")


def _account(action: Action) -> Right:
    return Right(action, On.ACCOUNT)


_A = Action
# Those whose action has their name and whose key is KeyId.
_PLAIN: Final = (
    _A.CANCEL_KEY_DELETION, _A.CREATE_GRANT, _A.DERIVE_SHARED_SECRET, _A.DESCRIBE_KEY, _A.DISABLE_KEY, _A.DISABLE_KEY_ROTATION,
    _A.ENABLE_KEY, _A.ENABLE_KEY_ROTATION, _A.ENCRYPT, _A.GENERATE_DATA_KEY, _A.GENERATE_DATA_KEY_PAIR,
    _A.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT, _A.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, _A.GENERATE_MAC, _A.GET_KEY_LAST_USAGE,
    _A.GET_KEY_POLICY, _A.GET_KEY_ROTATION_STATUS, _A.GET_PUBLIC_KEY, _A.LIST_GRANTS, _A.LIST_KEY_POLICIES, _A.LIST_KEY_ROTATIONS,
    _A.LIST_RESOURCE_TAGS, _A.PUT_KEY_POLICY, _A.REVOKE_GRANT, _A.ROTATE_KEY_ON_DEMAND, _A.SCHEDULE_KEY_DELETION, _A.SIGN,
    _A.TAG_RESOURCE, _A.UNTAG_RESOURCE, _A.UPDATE_KEY_DESCRIPTION, _A.VERIFY, _A.VERIFY_MAC,
)  # fmt: skip

API: Final[Mapping[str, tuple[Right, ...]]] = {
    **{action.value: (_key(action),) for action in _PLAIN},
    "Decrypt": (_key(_A.DECRYPT, "KeyId, else the key that the blob names"),),
    "ReEncrypt": (
        _key(_A.RE_ENCRYPT_FROM, "SourceKeyId, else the key that the blob names"),
        _key(_A.RE_ENCRYPT_TO, "DestinationKeyId"),
    ),
    "RetireGrant": (_key(_A.RETIRE_GRANT, "KeyId, else the key of the GrantToken"),),
    "CreateAlias": (_alias(_A.CREATE_ALIAS), _key(_A.CREATE_ALIAS, "TargetKeyId")),
    "UpdateAlias": (
        _alias(_A.UPDATE_ALIAS),
        _key(_A.UPDATE_ALIAS, "the key that the alias has"),
        _key(_A.UPDATE_ALIAS, "TargetKeyId"),
    ),
    "DeleteAlias": (_alias(_A.DELETE_ALIAS), _key(_A.DELETE_ALIAS, "the key that the alias has")),
    "CreateKey": (_account(_A.CREATE_KEY),),
    "GenerateRandom": (_account(_A.GENERATE_RANDOM),),
    "ListAliases": (_account(_A.LIST_ALIASES),),
    "ListKeys": (_account(_A.LIST_KEYS),),
    "ListRetirableGrants": (_account(_A.LIST_RETIRABLE_GRANTS),),
}
"""Operation -> its rights, in the order in which they are asked."""


def is_abroad(right: Right) -> bool:
    """Whether another account can be given it at all."""
    return right.on is On.KEY and right.action in ABROAD


def by_policy(right: Right) -> bool:
    """Whether a key policy that names a principal gives it."""
    return right.on is On.KEY and right.action not in BY_GRANT_ONLY


def by_grant(right: Right) -> bool:
    """Whether a grant can give it."""
    return right.on is On.KEY and ACTIONS[right.action].grantable is not None


class Deed(NamedTuple):
    """Something that Keystead does by itself.

    on      the kind that it is done to
    word    on whose word: the field, annotation or rule
    verbs   of RBAC: what admission asks the author of that word for, one or the other as the word is; () where nobody says it
    asked   actions that the key's policy and grants are asked for then
    caller  as whom
    """

    on: On | str
    word: str
    verbs: tuple[str, ...] = ()
    asked: tuple[Action, ...] = ()
    caller: str = ""


_DATA_KEY: Final = "kmsdatakeys"
_ISSUE: Final = (_A.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, _A.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT)
_ISSUES: Final = tuple(ACTIONS[action].verb for action in _ISSUE)
_SETTINGS: Final = ("updatekeydescription", "tagresource", "untagresource", "enablekeyrotation", "disablekeyrotation")
_AS_NAMESPACE: Final = (
    "the root of the data key's account by kms:ViaService datakeys.kms.keystead.io; "
    "for a key of its own account, where no Deny said no, then the service itself"
)

_DENY_ALONE: Final = "the root of the account: a Deny alone stops it; of {} that the API made, its caller, before"

CONTROLLER: Final[Mapping[str, Deed]] = {
    "CreateKey": Deed(
        On.KEY,
        "a KmsKey without a record; the first KmsDataKey that names no key (aws-keystead); the leader (audit-signing)",
        ("createkey", "adopt"),
    ),
    "UpdateKey": Deed(
        On.KEY,
        "spec.description, tags, rotation, deletionPolicy, pendingWindowInDays; an object that goes or comes back",
        (*_SETTINGS, "schedulekeydeletion", "createkey"),
    ),
    "PutKeyPolicy": Deed(
        On.KEY, "spec.policy; the lock-out check, unless the annotation bypasses it", ("putkeypolicy",)
    ),
    "EnableKey": Deed(On.KEY, "spec.enabled: true", ("enablekey",)),
    "DisableKey": Deed(On.KEY, "spec.enabled: false", ("disablekey",)),
    "HoldKey": Deed(On.KEY, "the annotation hold", ("hold",)),
    "ReleaseKey": Deed(On.KEY, "the annotation hold with the value released", ("hold",)),
    "RotateKey": Deed(
        On.KEY,
        "spec.rotation, when its period is over; the annotation rotate-requested-at",
        ("enablekeyrotation", "rotatekeyondemand"),
    ),
    "ScheduleKeyDeletion": Deed(
        On.KEY,
        "spec.scheduledDeletion; deletion of a KmsKey with deletionPolicy ScheduleDeletion",
        ("schedulekeydeletion",),
    ),
    "CancelKeyDeletion": Deed(
        On.KEY,
        "spec.scheduledDeletion taken away; the annotation cancel-deletion; a deleted KmsKey applied again",
        ("cancelkeydeletion", "createkey"),
    ),
    "DeleteKey": Deed(
        On.KEY, "the end of the waiting window, seen twice, ten minutes apart; recorded before the material goes"
    ),
    "AdoptKey": Deed(On.KEY, "the annotation adopt", ("adopt",)),
    "CreateAlias": Deed(
        On.ALIAS,
        "a KmsAlias (that the API made: with putkeypolicy too)",
        ("createalias", "putkeypolicy"),
        (_A.CREATE_ALIAS,),
        _DENY_ALONE.format("an alias"),
    ),
    "UpdateAlias": Deed(
        On.ALIAS,
        "spec.keyRef of a KmsAlias (that the API made: with putkeypolicy too); the annotation adopt",
        ("updatealias", "putkeypolicy", "adopt"),
        (_A.UPDATE_ALIAS,),
        f"{_DENY_ALONE.format('an alias')}; of both keys",
    ),
    "DeleteAlias": Deed(On.ALIAS, "deletion of a KmsAlias; the end of its key", ("deletealias",)),
    "CreateGrant": Deed(
        "kmsgrants",
        "a KmsGrant (that the API made: with putkeypolicy too)",
        ("creategrant", "putkeypolicy"),
        (_A.CREATE_GRANT,),
        _DENY_ALONE.format("a grant"),
    ),
    "UpdateGrant": Deed("kmsgrants", "the annotation adopt", ("adopt",)),
    "RevokeGrant": Deed("kmsgrants", "deletion of a KmsGrant; the end of its key", ("revokegrant",)),
    "IssueDataKey": Deed(
        _DATA_KEY,
        "a KmsDataKey; spec.rotation of it; its annotation rotate-requested-at",
        _ISSUES,
        _ISSUE,
        _AS_NAMESPACE,
    ),
    "ReWrapDataKey": Deed(
        _DATA_KEY, "new material of the key", (), (_A.RE_ENCRYPT_FROM, _A.RE_ENCRYPT_TO), _AS_NAMESPACE
    ),
    "UpdateDataKey": Deed(_DATA_KEY, "spec of a KmsDataKey; the annotation adopt", (*_ISSUES, "adopt")),
    "InjectDataKey": Deed(
        _DATA_KEY,
        "a version that was issued or re-wrapped; a Secret that was changed: patch on secrets/<target>",
        ("patch",),
    ),
    "ReadAuditRecords": Deed(
        On.KEY, "`kubectl kms audit`, by the server: its caller is asked for audit on the key", ("audit",)
    ),
}
"""Name of a service event in the audit trail -> the deed. Whoever caused it by the endpoint has a record of its call as well."""


class With(StrEnum):
    """What a command works with. Nobody's rights are widened by it."""

    KUBECONFIG = "kubeconfig"
    TOKEN = "token, PIN"  # noqa: S105 - words for people
    SERVICE_ACCOUNT = "ServiceAccount"
    """The chart's, in the cluster."""
    BEARER = "Bearer token"
    """Of a ServiceAccount, made for ten minutes by TokenRequest, or given as a file."""
    FILES = "files"


class Command(NamedTuple):
    """One command. `rights`: what that which it works with must allow."""

    works_with: tuple[With, ...]
    rights: str


_RECORDS: Final = (
    "get and list secrets in keystead-records; list kmskeys, kmsaliases, kmsgrants, kmsdatakeys, namespaces"
)
_CRYPT: Final = (
    "list secrets in keystead-records; create subjectaccessreviews; {rights}: of the principal of --as, or by --grant"
)
_LOOK: Final = "get and list kmskeys, kmsaliases, kmsgrants"
_PRINCIPAL_OF: Final = (
    "Decrypt", "DeriveSharedSecret", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "GenerateRandom", "GetPublicKey", "ReEncrypt",
    "Sign", "Verify", "VerifyMac",
)  # fmt: skip


def _dashed(operation: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("-")


def _crypt(operation: str) -> Command:
    verbs = " and ".join(right.verb for right in API[operation])
    return Command((With.TOKEN, With.KUBECONFIG), _CRYPT.format(rights=verbs))


_W = With
COMMANDS: Final[Mapping[str, Command]] = {
    "keystead operator": Command(
        (_W.SERVICE_ACCOUNT, _W.TOKEN), "ClusterRole keystead-operator and the Roles of the chart"
    ),
    "keystead server": Command(
        (_W.SERVICE_ACCOUNT, _W.TOKEN), "ClusterRole keystead-server and the Roles of the chart"
    ),
    "keystead release-finalizers": Command(
        (_W.SERVICE_ACCOUNT,), "the uninstall Job's: the Lease; list and patch of the four kinds"
    ),
    "keystead dev": Command(
        (_W.FILES,), "its folder, with token and PIN in it; clients bring access keys, roots of their accounts"
    ),
    "keystead hsm init": Command(
        (_W.TOKEN, _W.FILES), "an empty token; with --to-cluster create of secrets in the release and keystead-records"
    ),
    "keystead hsm check": Command((_W.TOKEN,), "none beyond"),
    "keystead hsm verify-backup": Command(
        (_W.FILES,), "the backup and its recovery key, which together are the domain"
    ),
    "keystead hsm unpack-token": Command((_W.FILES,), "a mounted Secret"),
    **{f"keystead crypt {_dashed(operation)}": _crypt(operation) for operation in _PRINCIPAL_OF},
    "keystead records list": Command((_W.TOKEN, _W.KUBECONFIG), _RECORDS),
    "keystead records show": Command((_W.TOKEN, _W.KUBECONFIG), _RECORDS),
    "keystead records adopt": Command(
        (_W.TOKEN, _W.KUBECONFIG), f"adopt on all kmskeys; create and patch of the objects; {_RECORDS}"
    ),
    "keystead records hold": Command(
        (_W.KUBECONFIG, _W.TOKEN),
        "hold and patch on kmskeys; without the object createkey, create, token and records",
    ),
    "keystead records rotate": Command(
        (_W.KUBECONFIG,), "rotatekeyondemand and patch on the kmskey; with --key-id the token and the records"
    ),
    "keystead records schedule-deletion": Command(
        (_W.KUBECONFIG, _W.TOKEN),
        "schedulekeydeletion (--cancel: cancelkeydeletion) and patch on kmskeys; without the object createkey, create, token and records",
    ),
    "keystead audit verify": Command((_W.FILES,), "the folders of the trail, and the public key"),
    "keystead audit search": Command((_W.FILES,), "the folders of the trail: all tenants' records"),
    "keystead audit summary": Command(
        (_W.FILES, _W.KUBECONFIG), "the folders of the trail; with --ask-cluster list kmskeys"
    ),
    "keystead audit key": Command((_W.KUBECONFIG,), "get kmskeys/audit-signing in keystead-records"),
    "kubectl kms why": Command(
        (_W.KUBECONFIG,),
        f"{_LOOK}; create subjectaccessreviews (not about oneself); to name a binding, list of RBAC's objects",
    ),
    "kubectl kms who-can": Command(
        (_W.KUBECONFIG,), f"{_LOOK}; list roles, rolebindings, clusterroles, clusterrolebindings"
    ),
    "kubectl kms impact": Command(
        (_W.KUBECONFIG, _W.FILES, _W.BEARER),
        f"{_LOOK}, kmsdatakeys, pods, workloads; with --audit-log the folders of the trail; with --endpoint those of audit",
    ),
    "kubectl kms schedule-deletion": Command(
        (_W.KUBECONFIG, _W.FILES, _W.BEARER), "those of impact; schedulekeydeletion and patch on the kmskey"
    ),
    "kubectl kms audit": Command(
        (_W.KUBECONFIG, _W.BEARER),
        "create serviceaccounts/token, or --token-file; the ServiceAccount has audit on the kmskey",
    ),
    "kubectl kms usage": Command((_W.KUBECONFIG,), "list configmaps in the release's namespace; list kmskeys"),
}
"""Command -> what it works with. A hidden command has a row, too."""

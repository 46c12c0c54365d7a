"""KmsKeys, data keys and grants under key policies: what is refused and where, what stays in force, as whom the controller asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET
from tests.builders import OTHER_UID
from tests.reconciler.fakes import INSTALL_ID, World

from keystead.engine.identifiers import account_id, data_key_arn, role_arn, root_arn
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.plan.key_settings import default_policy, policy_bytes, strict_policy
from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord
from keystead.policy import Action, compile_policy
from keystead.policy.documents import parse
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

KEY = ObjectRef(Kind.KEY, "team-a", "k")
ALIAS = ObjectRef(Kind.ALIAS, "team-a", "a")
GRANT = ObjectRef(Kind.GRANT, "team-a", "g")
REF = ObjectRef(Kind.DATA_KEY, "team-a", "d")
SPEC: dict[str, Any] = {"keyRef": {"name": "k"}, "target": {"secretName": "s"}}
ACCOUNT = account_id(bytes.fromhex(INSTALL_ID), "team-a", 0)
ROOT = root_arn(ACCOUNT)
SERVICE = "datakeys.kms.keystead.io"
GENERATE = "kms:GenerateDataKeyWithoutPlaintext"
ROTATE = names.ROTATE_REQUESTED_AT
BYPASS = {names.BYPASS_LOCKOUT_CHECK: "true"}
Document = dict[str, Any]


def allow(action: Any = "kms:*", principal: Any = None, **members: Any) -> Document:
    return {"Effect": "Allow", "Principal": principal or {"AWS": ROOT}, "Action": action, "Resource": "*", **members}


def deny(action: Any, **members: Any) -> Document:
    return {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*", **members}


def policy(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


ADMINISTERED = policy(allow(["kms:PutKeyPolicy", "kms:DescribeKey"]))
CLOSED = policy(allow("kms:DescribeKey"))


def record(world: World) -> KeyRecord:
    return world.record(KEY, KeyRecord)


def blobs(world: World) -> list[bytes]:
    return [version.blob for version in world.record(REF, DataKeyRecord).versions]


def message(world: World, ref: ObjectRef) -> str:
    return next(str(c["message"]) for c in world.status(ref)["conditions"] if c["type"] == "Ready")


async def apply(world: World, ref: ObjectRef, annotations: dict[str, str] | None = None, **spec: Any) -> str:
    """Applied and looked at; the reason."""
    world.apply(ref, annotations=annotations, **spec)
    await world.reconcile(ref)
    return world.ready(ref)


async def data_key(world: World, annotations: dict[str, str] | None = None) -> str:
    return await apply(world, REF, annotations, **SPEC)


async def granted(world: World, **spec: Any) -> str:
    return await apply(world, GRANT, keyRef={"name": "k"}, operations=["GenerateDataKeyWithoutPlaintext"], **spec)


# What spec.policy may say

BAD: list[tuple[Document, str]] = [
    ({"Version": "2012-10-17", "Statement": []}, "spec.policy.Statement: "),
    (policy(allow(), allow("kms:Decript")), "spec.policy.Statement[1].Action: there is no action kms:Decript"),
    (policy(allow(Condition={"StringEquals": {"aws:SourceVpce": "x"}})), "spec.policy.Statement[0].Condition.StringEquals"),
    (policy({**allow(), "Ressource": "*"}), "spec.policy.Statement[0].Ressource"),
    (policy(allow(Resource="arn:aws:kms:elsewhere:1:key/x")), "spec.policy.Statement[0].Resource"),
    (policy(allow(principal={"AWS": "arn:aws:iam::1:root"})), "spec.policy.Statement[0].Principal"),
    ({**policy(allow()), "Id": "x" * 33_000}, "spec.policy: "),
    ({**policy(allow()), "Version": "2020-01-01"}, "spec.policy.Version"),
    (policy(allow(principal={"AWS": "111122223333"})), f"spec.policy: nobody in this namespace's account {ACCOUNT} could replace"),
]
bad = pytest.mark.parametrize(("document", "place"), BAD, ids=[place for _, place in BAD])


@bad
async def test_a_bad_policy_makes_no_key_and_says_where(world: World, document: Document, place: str) -> None:
    assert await apply(world, KEY, policy=document) == "InvalidSpec"
    assert place in message(world, KEY)
    assert not world.has_record(KEY)
    assert world.records.writes == []  # no account is claimed for it either


@bad
async def test_a_bad_policy_leaves_the_old_one_in_force_and_all_else_is_carried_out(
    world: World, document: Document, place: str
) -> None:
    await apply(world, KEY, policy=ADMINISTERED)
    assert await apply(world, KEY, policy=document, enabled=False, description="new") == "InvalidSpec"
    assert place in message(world, KEY)
    assert (record(world).policy, record(world).enabled, record(world).description) == (policy_bytes(ADMINISTERED), False, "new")
    assert world.status(KEY)["policy"] == ADMINISTERED
    assert await apply(world, KEY, policy=ADMINISTERED, enabled=True) == "Available"
    assert "policy" not in world.status(KEY)


async def test_a_hold_reaches_a_key_with_a_bad_policy(world: World) -> None:
    await apply(world, KEY)
    await apply(world, KEY, {names.HOLD: "incident"}, policy=CLOSED)
    assert record(world).hold is not UNSET


async def test_what_nobody_could_replace_is_taken_with_the_annotation_and_asked_only_once(world: World) -> None:
    assert await apply(world, KEY, BYPASS, policy=CLOSED) == "Available"
    assert record(world).policy == policy_bytes(CLOSED)
    assert await apply(world, KEY, policy=CLOSED) == "Available"
    assert await apply(world, KEY, policy=policy(allow("kms:GetKeyPolicy"))) == "InvalidSpec"


async def test_an_absent_policy_keeps_the_recorded_one_which_status_shows(world: World) -> None:
    await apply(world, KEY, policy=ADMINISTERED)
    assert await apply(world, KEY, description="x") == "Available"
    assert (record(world).policy, world.status(KEY)["policy"]) == (policy_bytes(ADMINISTERED), ADMINISTERED)


async def test_a_recorded_policy_that_cannot_be_read_is_told(world: World) -> None:
    """Of a version that stored policies and enforced none."""
    await apply(world, KEY)
    await world.rewrite(KEY, policy=b"{}")
    assert await apply(world, KEY, description="x") == "InvalidSpec"
    assert "cannot be read by this version" in message(world, KEY)
    assert await apply(world, KEY, policy=default_policy(ACCOUNT)) == "Available"


async def test_a_namespace_that_was_made_again_is_judged_by_the_account_that_it_would_have(world: World) -> None:
    await apply(world, KEY, policy=ADMINISTERED)
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    world.objects.bodies.clear()
    world.restart()
    other = ObjectRef(Kind.KEY, "team-a", "other")
    assert await apply(world, other, policy=ADMINISTERED) == "InvalidSpec"
    following = account_id(bytes.fromhex(INSTALL_ID), "team-a", 1)
    assert following in message(world, other)
    own = json.loads(json.dumps(ADMINISTERED).replace(ACCOUNT, following))
    assert await apply(world, other, policy=own) == "Available"
    assert world.record(other, KeyRecord).account == following


# As whom the controller asks


VIA = {"StringEquals": {"kms:ViaService": SERVICE}}
SOURCE = {"ArnLike": {"aws:SourceArn": "arn:aws:kms:*:*:datakey/d"}}


@pytest.mark.parametrize(
    "statement",
    [
        allow(GENERATE),
        allow(GENERATE, Condition=VIA),
        allow(GENERATE, Condition=SOURCE),
        allow(GENERATE, {"Service": SERVICE}),
        allow(GENERATE, "*", Condition=VIA),
        allow(GENERATE, Condition={"StringEquals": {"kms:EncryptionContext:team": "a"}}),
        allow(GENERATE, Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/a"}}),
    ],
    ids=["root", "via", "source", "service", "everybody via", "context", "alias"],
)
async def test_a_policy_that_allows_the_controller_serves_a_data_key(world: World, statement: Document) -> None:
    await apply(world, KEY, policy=policy(*ADMINISTERED["Statement"], statement))
    await apply(world, ALIAS, aliasName="alias/a", keyRef={"name": "k"})
    assert await apply(world, REF, **SPEC, encryptionContext={"team": "a"}) == "Available"
    assert world.secrets.secrets["team-a", "s"].data["ciphertext"] == blobs(world)[0]


@pytest.mark.parametrize(
    "statement",
    [
        allow(GENERATE, Condition={"StringNotEquals": {"kms:ViaService": SERVICE}}),
        allow(GENERATE, {"AWS": role_arn(ACCOUNT, "author")}),
        allow(GENERATE, {"Service": "audit.kms.keystead.io"}),
        allow(GENERATE, Condition={"StringEquals": {"kms:EncryptionContext:team": "b"}}),
        allow(GENERATE, Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/b"}}),
        allow("kms:Decrypt"),
    ],
    ids=["only direct", "the author", "another service", "context", "alias", "another action"],
)
async def test_a_policy_that_does_not_allow_it_makes_nothing_and_says_what_would(world: World, statement: Document) -> None:
    await apply(world, KEY, policy=policy(*ADMINISTERED["Statement"], statement))
    await apply(world, ALIAS, aliasName="alias/a", keyRef={"name": "k"})
    assert await apply(world, REF, **SPEC, encryptionContext={"team": "a"}) == "AccessDenied"
    assert (world.has_record(REF), world.secrets.secrets) == (False, {})
    told = message(world, REF)
    assert all(word in told for word in ("KmsKey k", GENERATE, ROOT, SERVICE, "KmsGrant"))
    world.apply(KEY, policy=policy(*ADMINISTERED["Statement"], allow(GENERATE)))
    await world.reconcile(KEY)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


@pytest.mark.parametrize(
    "statement",
    [deny(GENERATE), deny("*", Condition=VIA), deny(GENERATE, Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/a"}})],
    ids=["plain", "via", "alias"],
)
async def test_a_deny_wins_over_every_way_and_is_named(world: World, statement: Document) -> None:
    await apply(world, KEY, policy=policy(allow(), allow(GENERATE, {"Service": SERVICE}), statement))
    await apply(world, ALIAS, aliasName="alias/a", keyRef={"name": "k"})
    await granted(world, granteePrincipal=ROOT)
    assert await data_key(world) == "AccessDenied"
    assert 'statement "No" of the key policy denies it' in message(world, REF)
    assert not world.has_record(REF)


async def test_a_rotation_that_is_denied_loses_nothing_and_the_secret_comes_back(world: World) -> None:
    await apply(world, KEY)
    await data_key(world)
    before, secret = blobs(world), dict(world.secrets.secrets["team-a", "s"].data)
    await apply(world, KEY, policy=policy(allow(), deny(GENERATE)))
    del world.secrets.secrets["team-a", "s"]
    assert await data_key(world, {ROTATE: "1"}) == "AccessDenied"
    assert (blobs(world), world.secrets.secrets["team-a", "s"].data) == (before, secret)
    assert world.status(REF)["version"] == 1
    await apply(world, KEY, policy=policy(allow()))
    await world.reconcile(REF)
    assert (world.ready(REF), len(blobs(world))) == ("Available", 2)


@pytest.mark.parametrize("action", ["kms:ReEncrypt*", "kms:ReEncryptFrom", "kms:ReEncryptTo"])
async def test_a_rewrap_that_is_denied_is_told_and_the_old_blob_stays(world: World, action: str) -> None:
    await apply(world, KEY)
    await data_key(world)
    before = blobs(world)
    await apply(world, KEY, {ROTATE: "1"}, policy=policy(allow(), deny(action)))
    del world.secrets.secrets["team-a", "s"]
    await world.reconcile(REF)
    assert (world.ready(REF), blobs(world)) == ("AccessDenied", before)
    assert world.secrets.secrets["team-a", "s"].data["ciphertext"] == before[0]
    assert 'statement "No"' in message(world, REF)
    # A rotation needs no re-wrap: it goes on.
    assert await data_key(world, {ROTATE: "1"}) == "AccessDenied"
    assert (len(blobs(world)), blobs(world)[0]) == (2, before[0])
    await apply(world, KEY, policy=policy(allow()))
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert blobs(world)[0] != before[0]


@pytest.mark.parametrize("to", ["root", "service"])
async def test_a_grant_to_whom_the_controller_asks_as_serves_a_data_key(world: World, to: str) -> None:
    await apply(world, KEY, policy=policy(allow(["kms:PutKeyPolicy", "kms:CreateGrant"])))
    assert await data_key(world) == "AccessDenied"
    source = data_key_arn("cluster-1", ACCOUNT, "d")
    grantee = {"granteePrincipal": ROOT} if to == "root" else {"granteeServicePrincipal": SERVICE, "constraints": {"sourceArn": source}}
    assert await granted(world, **grantee) == "Available"
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert world.index.grants_to(record(world).key_id, ROOT if to == "root" else SERVICE) != ()
    world.delete(GRANT)
    await world.reconcile(GRANT)
    assert await data_key(world, {ROTATE: "1"}) == "AccessDenied"
    assert len(blobs(world)) == 1


@pytest.mark.parametrize("grantee", [role_arn(ACCOUNT, "author"), root_arn("444455556666")])
async def test_a_grant_to_somebody_else_does_not(world: World, grantee: str) -> None:
    await apply(world, KEY, policy=ADMINISTERED)
    assert await granted(world, granteePrincipal=grantee) == "Available"
    assert await data_key(world) == "AccessDenied"


# Grants


async def test_a_grant_on_a_key_with_a_policy_of_its_own_is_made(world: World) -> None:
    await apply(world, KEY, policy=ADMINISTERED)
    assert await granted(world, serviceAccountRef={"name": "app"}) == "Available"
    assert world.record(GRANT, GrantRecord).grantee_principal == role_arn(ACCOUNT, "app")


NO_DECRYPT = deny("kms:CreateGrant", Condition={"ForAnyValue:StringEquals": {"kms:GrantOperations": "Decrypt"}})


@pytest.mark.parametrize(("operation", "made"), [("Decrypt", False), ("Encrypt", True)])
async def test_a_grant_that_a_deny_is_about_is_not_made(world: World, operation: str, made: bool) -> None:
    await apply(world, KEY, policy=policy(allow(), NO_DECRYPT))
    spec: dict[str, Any] = {"keyRef": {"name": "k"}, "operations": [operation], "serviceAccountRef": {"name": "app"}}
    assert await apply(world, GRANT, **spec) == ("Available" if made else "AccessDenied")
    assert world.has_record(GRANT) is made
    if not made:
        assert 'statement "No" of the key policy denies it' in message(world, GRANT)
        await apply(world, KEY, policy=policy(allow()))
        await world.reconcile(GRANT)
        assert world.ready(GRANT) == "Available"


async def test_a_policy_that_cannot_be_read_lets_nobody_make_a_grant_or_an_alias(world: World) -> None:
    """Nobody knows what it denies: it serves nobody, by the API or by objects."""
    await apply(world, KEY)
    await world.rewrite(KEY, policy=b"{}")
    assert await granted(world, serviceAccountRef={"name": "app"}) == "AccessDenied"
    assert await apply(world, ALIAS, aliasName="alias/a", keyRef={"name": "k"}) == "AccessDenied"
    assert "cannot be read by this version" in message(world, GRANT)
    assert not world.has_record(GRANT)
    assert not world.has_record(ALIAS)
    await apply(world, KEY, policy=default_policy(ACCOUNT))
    for ref in (GRANT, ALIAS):
        await world.reconcile(ref)
        assert world.ready(ref) == "Available"


async def test_a_grant_that_is_there_stays_whatever_a_later_policy_denies(world: World) -> None:
    await apply(world, KEY)
    await granted(world, serviceAccountRef={"name": "app"})
    before = world.record(GRANT, GrantRecord)
    await apply(world, KEY, policy=policy(allow(), deny("kms:CreateGrant")))
    await world.reconcile(GRANT)
    assert (world.ready(GRANT), world.record(GRANT, GrantRecord)) == ("Available", before)


async def test_of_a_grant_that_the_api_made_the_policy_was_asked_before(world: World) -> None:
    spared = {"StringNotEquals": {"aws:PrincipalArn": role_arn(ACCOUNT, "admin")}}
    await apply(world, KEY, policy=policy(allow(), deny("kms:CreateGrant", Condition=spared)))
    world.apply(GRANT, keyRef={"name": "k"}, operations=["Decrypt"], serviceAccountRef={"name": "app"})
    world.objects.bodies[GRANT]["metadata"]["labels"] = {names.CREATED_BY: names.CREATED_BY_API}
    await world.reconcile(GRANT)
    assert world.ready(GRANT) == "Available"


# Aliases


K2 = ObjectRef(Kind.KEY, "team-a", "k2")
SPARES_ADMIN = {"StringNotEquals": {"aws:PrincipalArn": role_arn(ACCOUNT, "admin")}}


async def alias(world: World, key: str = "k", *, api: bool = False) -> str:
    world.apply(ALIAS, aliasName="alias/a", keyRef={"name": key})
    world.objects.bodies[ALIAS]["metadata"]["labels"] = {names.CREATED_BY: names.CREATED_BY_API if api else "somebody"}
    await world.reconcile(ALIAS)
    return world.ready(ALIAS)


def target(world: World) -> str:
    """The key that the name leads to, by the record and by what is shown of it."""
    found = world.record(ALIAS, AliasRecord)
    assert world.status(ALIAS)["targetKeyId"] == found.key_id
    return next(ref.name for ref in (KEY, K2) if world.record(ref, KeyRecord).key_id == found.key_id)


async def test_an_alias_that_a_deny_is_about_claims_no_name_until_it_goes(world: World) -> None:
    await apply(world, KEY, policy=policy(allow(), deny("kms:CreateAlias")))
    assert await alias(world) == "AccessDenied"
    assert not world.has_record(ALIAS)
    told = "the policy of KmsKey k does not let this namespace do kms:CreateAlias"
    assert f'{told}: statement "No" of the key policy denies it' in message(world, ALIAS)
    await apply(world, KEY, policy=policy(allow(), deny("kms:UpdateAlias")))
    await world.reconcile(ALIAS)
    assert (world.ready(ALIAS), target(world)) == ("Available", "k")


@pytest.mark.parametrize("side", [KEY, K2])
async def test_an_alias_moves_where_both_policies_let_it_and_names_its_old_key_until_then(world: World, side: ObjectRef) -> None:
    await apply(world, KEY)
    await apply(world, K2)
    assert await alias(world) == "Available"
    before = world.record(ALIAS, AliasRecord)
    await apply(world, side, policy=policy(allow(), deny("kms:UpdateAlias")))
    assert await alias(world, "k2") == "AccessDenied"
    assert f"the policy of KmsKey {side.name} does not let this namespace do kms:UpdateAlias" in message(world, ALIAS)
    assert (world.record(ALIAS, AliasRecord), target(world)) == (before, "k")
    await apply(world, side, policy=policy(allow(), deny("kms:CreateAlias")))
    await world.reconcile(ALIAS)
    assert (world.ready(ALIAS), target(world)) == ("Available", "k2")


async def test_an_alias_that_stays_or_goes_is_asked_nothing(world: World) -> None:
    await apply(world, KEY)
    await alias(world)
    before = world.record(ALIAS, AliasRecord)
    await apply(world, KEY, policy=policy(allow(), deny("kms:*Alias")))
    assert await alias(world) == "Available"
    assert world.record(ALIAS, AliasRecord) == before
    world.delete(ALIAS)
    await world.reconcile(ALIAS)
    assert not world.has_record(ALIAS)


@pytest.mark.parametrize("denied", ["kms:CreateAlias", "kms:UpdateAlias"])
async def test_an_alias_that_was_made_again_with_another_key_is_made(world: World, denied: str) -> None:
    await apply(world, KEY)
    await apply(world, K2, policy=policy(allow(), deny(denied)))
    await alias(world)
    world.delete(ALIAS)
    made = denied == "kms:UpdateAlias"
    assert await alias(world, "k2") == ("Available" if made else "AccessDenied")
    assert target(world) == ("k2" if made else "k")


@pytest.mark.parametrize(
    ("condition", "made"),
    [
        ({"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/other"}}, False),
        ({"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/a"}}, True),
        ({"StringEquals": {"kms:RequestAlias": "alias/a"}}, True),
        ({"StringEquals": {"aws:PrincipalArn": ROOT}}, False),
        (SPARES_ADMIN, False),
    ],
)
async def test_conditions_look_at_an_alias_as_at_create_alias(world: World, condition: Document, made: bool) -> None:
    """The key has alias/other already; CreateAlias names its key by an id, never by an alias."""
    await apply(world, KEY)
    assert await apply(world, ObjectRef(Kind.ALIAS, "team-a", "other"), aliasName="alias/other", keyRef={"name": "k"}) == "Available"
    await apply(world, KEY, policy=policy(allow(), deny("kms:CreateAlias", Condition=condition)))
    assert await alias(world) == ("Available" if made else "AccessDenied")


async def test_of_an_alias_that_the_api_made_and_moves_the_policies_were_asked_before(world: World) -> None:
    spared = policy(allow(), deny(["kms:CreateAlias", "kms:UpdateAlias"], Condition=SPARES_ADMIN))
    await apply(world, KEY, policy=spared)
    await apply(world, K2, policy=spared)
    assert await alias(world, api=True) == "Available"
    assert await alias(world, "k2", api=True) == "Available"
    assert target(world) == "k2"


async def test_a_destroyed_key_whose_policy_nobody_can_replace_holds_no_alias_back(world: World) -> None:
    await apply(world, KEY, policy=policy(allow(), deny("kms:UpdateAlias")))
    await apply(world, K2)
    await alias(world)
    assert await alias(world, "k2") == "AccessDenied"
    await apply(world, KEY, scheduledDeletion={"pendingWindowInDays": 7})
    for wait in ({"days": 8}, {"minutes": 11}):
        world.clock.advance(**wait)
        await world.reconcile(KEY)
    assert record(world).state is KeyState.DESTROYED
    await world.reconcile(ALIAS)
    assert (world.ready(ALIAS), target(world)) == ("Available", "k2")


# The policy at birth


def strict(world: World, on: bool = True) -> None:
    world.strict_policies = on
    world.restart()


async def test_under_strict_a_new_key_is_for_nobody_until_somebody_is_named(world: World) -> None:
    strict(world)
    assert await apply(world, KEY) == "Available"
    assert record(world).policy == policy_bytes(strict_policy(ACCOUNT))
    assert world.status(KEY)["policy"] == strict_policy(ACCOUNT)
    assert await data_key(world) == "AccessDenied"
    assert await granted(world, granteePrincipal=ROOT) == "Available"
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


async def test_the_setting_opens_and_closes_no_key_that_is_there(world: World) -> None:
    await apply(world, KEY)
    strict(world)
    await world.reconcile(KEY)
    assert record(world).policy is UNSET
    late = ObjectRef(Kind.KEY, "team-a", "late")
    await apply(world, late)
    strict(world, on=False)
    await apply(world, late, description="x")
    assert world.record(late, KeyRecord).policy == policy_bytes(strict_policy(ACCOUNT))


async def test_under_strict_a_policy_that_is_said_is_taken_and_the_default_one_too(world: World) -> None:
    strict(world)
    await apply(world, KEY, policy=default_policy(ACCOUNT))
    assert record(world).policy is UNSET
    assert await data_key(world) == "Available"


def test_the_strict_policy_administers_and_uses_nothing() -> None:
    text = policy_bytes(strict_policy(ACCOUNT))
    (statement,) = parse(text).statements
    compile_policy(text, f"arn:aws:kms:cluster-1:{ACCOUNT}:key/x")
    use = {
        Action.DECRYPT,
        Action.ENCRYPT,
        Action.RE_ENCRYPT_FROM,
        Action.RE_ENCRYPT_TO,
        Action.GENERATE_DATA_KEY,
        Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
        Action.GENERATE_DATA_KEY_PAIR,
        Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
        Action.GENERATE_MAC,
        Action.VERIFY_MAC,
        Action.SIGN,
        Action.VERIFY,
        Action.DERIVE_SHARED_SECRET,
        Action.GET_PUBLIC_KEY,
    }
    keyless = {Action.GENERATE_RANDOM, Action.CREATE_KEY, Action.LIST_KEYS, Action.LIST_ALIASES, Action.LIST_RETIRABLE_GRANTS}
    assert statement.actions == frozenset(Action) - use - keyless


# Whom a policy names that nobody can be


async def test_people_of_an_account_that_has_none_are_told_once_and_the_key_works(world: World) -> None:
    people = account_id(bytes.fromhex(INSTALL_ID), "keystead-records", 0)
    admin = allow("kms:*", {"AWS": f"arn:aws:iam::{ACCOUNT}:user/KeyAdmin"}, Sid="admin")
    assert await apply(world, KEY, policy=policy(*ADMINISTERED["Statement"], admin)) == "Available"
    assert await world.reconcile(KEY)
    told = f'statement "admin" names arn:aws:iam::{ACCOUNT}:user/KeyAdmin, who is nobody: people and groups are of account {people}'
    assert told in message(world, KEY)
    assert [str(reason) for _, reason, _ in world.objects.events] == ["Created", "NobodyNamed"]
    jane = allow("kms:*", {"AWS": f"arn:aws:iam::{people}:user/jane"})
    assert await apply(world, KEY, policy=policy(*ADMINISTERED["Statement"], jane)) == "Available"
    assert message(world, KEY) == "the key can be used"


async def test_a_policy_in_force_may_name_whom_no_new_one_may(world: World) -> None:
    dead = policy(*ADMINISTERED["Statement"], allow("kms:Sign", {"Service": "lambda.amazonaws.com"}))
    assert await apply(world, KEY, policy=dead) == "InvalidSpec"
    assert "spec.policy.Statement[1].Principal.Service" in message(world, KEY)
    assert not world.has_record(KEY)
    await apply(world, KEY, policy=ADMINISTERED)
    await world.rewrite(KEY, policy=policy_bytes(dead))
    assert await apply(world, KEY, policy=dead) == "Available"
    assert "lambda.amazonaws.com, who is nobody" in message(world, KEY)

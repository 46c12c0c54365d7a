"""Proof that the tests bite: each seeded fault must turn the tests named beside it red. `python -m tests.mutants [NAME...]`.

Works on a copy of the tree, one fault at a time; the source of this checkout is never touched. Without a fault the same tests
must be green, and a fault whose text is no longer in the source is an error: the table then wants care.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREES = 2
PARTS = ("operator", "tests", "crds", "charts", "examples", "docs", "requirements", "pyproject.toml", "README.md", "Makefile", "Dockerfile")


@dataclass(frozen=True)
class Mutant:
    """A fault: in `file`, `old` becomes `new`. `tests`: pytest arguments of what must turn red."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


ENGINE = "operator/keystead/engine"
SERVER = "operator/keystead/server"
READING = "operator/keystead/audit/reading"
AUDIT = "operator/keystead/audit"
MUTANTS = (
    Mutant(
        "seal not verified",
        f"{ENGINE}/seal.py",
        "if not hmac.compare_digest(given, seal(",
        "if False and not hmac.compare_digest(given, seal(",
        ("tests/engine/test_seal.py::test_every_flipped_byte_of_record_and_seal_is_refused",),
    ),
    Mutant(
        "seal does not cover the Secret's name",
        f"{ENGINE}/seal.py",
        "text = name.encode()",
        'text = b""',
        ("tests/engine/test_seal.py::test_two_records_that_were_swapped_are_refused",),
    ),
    Mutant(
        "parse before verify",
        f"{ENGINE}/record/sealed.py",
        "    verify_seal(domain.mac",
        "    decode(sealed.record, kind)\n    verify_seal(domain.mac",
        ("tests/engine/test_seal.py::test_nothing_is_parsed_before_the_seal_holds",),
    ),
    Mutant(
        "commitment not compared",
        f"{ENGINE}/blob.py",
        "if not hmac.compare_digest(derived[32:], blob[84:116]):",
        "if False:",
        ("tests/engine/test_blob.py::test_the_commitment_is_compared_before_gcm",),
    ),
    Mutant(
        "context not bound",
        f"{ENGINE}/blob.py",
        "blob[116:], blob[:116] + context)",
        'blob[116:], blob[:116] + b"\\0\\0")',
        ("tests/engine/test_blob.py",),
    ),
    Mutant(
        "N is not fresh",
        "operator/keystead/operations/symmetric.py",
        "world.entropy(NONCE_LENGTH)",
        "bytes(NONCE_LENGTH)",
        ("tests/operations/test_encryption.py",),
    ),
    Mutant(
        "self-check skipped",
        "operator/keystead/operations/symmetric.py",
        "        opened = _open(world, material, blob, context)",
        "        opened = secret",
        ("tests/operations/test_datakeys.py",),
    ),
    Mutant(
        "older record believed",
        f"{ENGINE}/freshness.py",
        "if found.seq < known.seq:",
        "if False:",
        ("tests/engine/test_seal.py::test_an_older_record_under_a_newer_status_is_refused",),
    ),
    Mutant(
        "generate on missing",
        f"{ENGINE}/plan/common.py",
        "if names_something or status.record_seq is not UNSET:",
        "if False:",
        ("tests/plan",),
    ),
    Mutant(
        "a made-again namespace inherits",
        f"{ENGINE}/plan/common.py",
        "record.namespace_uid != namespace.uid:",
        "False:",
        ("tests/plan",),
    ),
    Mutant(
        "state not checked",
        "operator/keystead/operations/pipeline.py",
        "    if error is not None:\n        raise error",
        "    if False:\n        raise error",
        ("tests/operations/test_states.py",),
    ),
    Mutant(
        "hold ignored",
        f"{ENGINE}/plan/key_life.py",
        "    return KeyState.DISABLED",
        "    return record.state",
        ("tests/operations/test_states.py",),
    ),
    Mutant(
        "hold lifted by removing its annotation",
        f"{ENGINE}/plan/key_life.py",
        "    return record.hold\n",
        "    return UNSET\n",
        ("tests/plan/test_plan_key.py",),
    ),
    Mutant(
        "the true time between two looks at a window is not seen",
        "operator/keystead/reconciler/windows.py",
        "now + min(max(APART - waited, timedelta(seconds=1)), EVERY)",
        "now + max(APART - waited, timedelta(seconds=1))",
        ("tests/reconciler/test_windows.py",),
    ),
    Mutant(
        "a missed rotation window is made up for at once",
        f"{ENGINE}/rotation.py",
        "due if now is None else max(due, now)",
        "due",
        ("tests/plan/test_rotation.py",),
    ),
    Mutant(
        "the copy of a move that was broken off keeps its material",
        "operator/keystead/reconciler/key.py",
        "                await end_copy(context, held.record.key_id)\n",
        "",
        ("tests/reconciler/test_key_life.py",),
    ),
    Mutant(
        "a hold at birth is latched a write later",
        f"{ENGINE}/births.py",
        "hold=hold_of(key, record, birth.now)",
        "hold=UNSET",
        ("tests/reconciler/test_key_life.py",),
    ),
    Mutant(
        "a closed key is opened by a silent manifest",
        f"{ENGINE}/plan/key_settings.py",
        "enabled=given(spec.enabled, record.enabled if record else True)",
        "enabled=given(spec.enabled, True)",
        ("tests/plan/test_plan_key.py",),
    ),
    Mutant(
        "grant's constraint not compared",
        "operator/keystead/policy/grants.py",
        "            return _context_fits(constraints, question.context)",
        "            return True",
        ("tests/policy/test_grants.py",),
    ),
    Mutant(
        "grant never expires",
        "operator/keystead/policy/grants.py",
        "or question.now < grant.expires_at",
        "or True",
        ("tests/policy/test_grants.py",),
    ),
    Mutant(
        "a service is granted what it asks on behalf of anybody",
        "operator/keystead/policy/grants.py",
        "    return wanted == question.carried.source_arn",
        "    return True",
        ("tests/policy/test_grants.py",),
    ),
    Mutant(
        "a grant made on a source's behalf makes others on anybody's",
        "operator/keystead/operations/control/child_grants.py",
        "constraints=UNSET if source is UNSET else GrantConstraints(source_arn=source)",
        "constraints=UNSET",
        ("tests/operations/control/test_grants.py", "-k", "fake"),
    ),
    Mutant(
        "a revoked grant stays where calls look for it",
        "operator/keystead/store/grant_shelf.py",
        "            owned.found.drop(place, name)",
        "            pass",
        ("tests/store/test_grant_shelf.py",),
    ),
    Mutant(
        "the account's root does not retire what its key's policy does not leave to it",
        "operator/keystead/policy/evaluate.py",
        "        return _BACKUP",
        "        pass",
        ("tests/operations/control/test_grant_ends.py", "-k", "fake"),
    ),
    Mutant(
        "another account needs no consent of its own",
        "operator/keystead/policy/evaluate.py",
        "            return rule.decision if not _is_foreign(question) else _callers_side(question, rule.decision)",
        "            return rule.decision",
        ("tests/policy/test_key_policies.py", "tests/policy/test_against_naive.py"),
    ),
    Mutant(
        "a grant alone opens a key to another account",
        "operator/keystead/policy/evaluate.py",
        "            return consent if not _is_foreign(question) else _callers_side(question, consent)",
        "            return consent",
        ("tests/policy/test_evaluate.py",),
    ),
    Mutant(
        "an explicit deny denies nothing",
        "operator/keystead/policy/evaluate.py",
        "(_misplaced, _not_abroad, _deny, ",
        "(_misplaced, _not_abroad, ",
        ("tests/policy/test_key_policies.py",),
    ),
    Mutant(
        "a deny comes after the names",
        "operator/keystead/policy/evaluate.py",
        "_deny, _only_grant, _named, ",
        "_only_grant, _named, _deny, ",
        ("tests/policy/test_key_policies.py::test_an_explicit_deny_overrides_names_grants_and_the_account",),
    ),
    Mutant(
        "a namespace made again is served",
        "operator/keystead/policy/evaluate.py",
        "(_misplaced, _not_abroad, ",
        "(_not_abroad, ",
        ("tests/policy/test_key_policies.py",),
    ),
    Mutant(
        "a policy that cannot be read is the default one",
        "operator/keystead/policy/evaluate.py",
        "    if question.action in _OF_POLICY:",
        "    if True:",
        ("tests/policy/test_evaluate.py",),
    ),
    Mutant(
        "what is ambiguous opens",
        "operator/keystead/policy/conditions.py",
        "        if not isinstance(given, str):\n            return deny",
        "        if not isinstance(given, str):\n            return not deny",
        ("tests/policy/test_conditions.py",),
    ),
    Mutant(
        "an absent key satisfies",
        "operator/keystead/policy/conditions.py",
        "return condition.if_exists or operator.negated",
        "return True",
        ("tests/policy/test_conditions.py",),
    ),
    Mutant(
        "an action that does not exist is taken",
        "operator/keystead/policy/documents.py",
        "        if not names:",
        "        if False:",
        ("tests/policy/test_documents.py",),
    ),
    Mutant(
        "a condition key that is not known is taken for an absent one",
        "operator/keystead/policy/conditionkeys.py",
        "source(name[len(prefix) :]))\n    return None",
        "source(name[len(prefix) :]))\n    return ConditionKey(name, Type.TEXT, _nowhere)",
        ("tests/policy/test_conditions.py", "tests/policy/test_documents.py"),
    ),
    Mutant(
        "what one address may is remembered for all",
        "operator/keystead/policy/reach.py",
        "id(caller), carried.source_ip, carried.secure,",
        "id(caller), carried.secure,",
        ("tests/policy/test_reach.py",),
    ),
    Mutant(
        "what is remembered of a caller is believed of the next one in its place",
        "operator/keystead/policy/reach.py",
        "_reach(policy, question), caller",
        "_reach(policy, question), None",
        ("tests/policy/test_reach.py",),
    ),
    Mutant(
        "a call that cannot be written down leaves no gap",
        "operator/keystead/audit/journal.py",
        "                records = (bare(\"gap\", {\"time\": now, **told}),)",
        "                records = ()",
        ("tests/audit/test_journal.py",),
    ),
    Mutant(
        "what is left to the account needs no RBAC",
        "operator/keystead/policy/evaluate.py",
        "        return asked_of(caller, question.action, key.namespace, key.name, rule.left)",
        "        return rule.root",
        ("tests/policy/test_key_policies.py",),
    ),
    Mutant(
        "whoever calls is the service",
        "operator/keystead/policy/conditionkeys.py",
        "question.facts.carried.via_service or None",
        'question.facts.carried.via_service or "datakeys.kms.keystead.io"',
        ("tests/operations/test_attacks.py::test_who_calls_is_never_the_service_that_a_key_is_for",),
    ),
    Mutant(
        "constraints that constrain nothing pass for some",
        "operator/keystead/policy/request.py",
        'return (None if given.source_arn is None or given.source_arn is UNSET else "SourceArn"), {}',
        'return "SourceArn", {}',
        ("tests/policy/test_attacks.py::test_constraints_that_constrain_nothing_are_none",),
    ),
    Mutant(
        "a moved alias takes a ciphertext where its policy was not asked about",
        "operator/keystead/operations/encryption.py",
        "    if record.key_id != named:",
        "    if False:",
        ("tests/operations/test_attacks.py::test_an_alias_that_moves_while_rbac_is_asked_takes_nothing_to_another_key",),
    ),
    Mutant(
        "a key policy lets another account retire grants",
        "operator/keystead/policy/evaluate.py",
        "        if _is_foreign(question):\n            return None\n        if question.caller.kind",
        "        if question.caller.kind",
        ("tests/policy/test_attacks.py::test_a_policy_lets_no_other_account_retire_grants",),
    ),
    Mutant(
        "a request with more values than can be looked at is looked at",
        "operator/keystead/policy/conditions.py",
        "        if not isinstance(given, tuple) or len(given) > MOST_VALUES:",
        "        if not isinstance(given, tuple):",
        ("tests/policy/test_attacks.py::test_a_context_of_more_pairs_than_anybody_means_opens_nothing",),
    ),
    Mutant(
        "one namespace's questions take all the room",
        f"{SERVER}/facts.py",
        "        async with _turn(self._reviews_at_once[hash(review.namespace) % _PLACES]):",
        "        if True:",
        ("tests/server/test_facts.py::test_a_namespace_that_asks_for_hundreds_of_rights_leaves_room_for_the_others",),
    ),
    Mutant(
        "a statement of another key covers this one",
        "operator/keystead/policy/documents.py",
        "        if not any(text == \"*\" or matcher(text)(arn) for text in statement.resources):",
        "        if False:",
        ("tests/policy/test_documents.py",),
    ),
    Mutant(
        "lock-out check off",
        "operator/keystead/operations/control/policies.py",
        "    if why:",
        "    if False:",
        ("tests/operations/control/test_policies.py",),
    ),
    Mutant(
        "a bad grant token tells that a foreign key exists",
        "operator/keystead/operations/pipeline.py",
        "    if asked.tokens:\n        yield from await_grants(world, caller, asked.tokens)\n    record = _at_once(",
        "    yield from resolve(world, caller, rule.action, key_id)\n    if asked.tokens:\n"
        "        yield from await_grants(world, caller, asked.tokens)\n    record = _at_once(",
        ("tests/operations/test_key_policies.py",),
    ),
    Mutant(
        "a key abroad whose namespace was made again is used",
        "operator/keystead/operations/pipeline.py",
        "    return decision if live == record.namespace_uid else _GONE",
        "    return decision",
        ("tests/operations/test_abroad.py", "-k", "gone_or_whose_namespace or namespace_is_deleted"),
    ),
    Mutant(
        "an account that nobody has claimed is lent keys",
        "operator/keystead/operations/pipeline.py",
        "    if not world.keys.has_account(caller.namespace, caller.account):",
        "    if False:",
        ("tests/operations/test_abroad.py", "-k", "nobody_has_claimed"),
    ),
    Mutant(
        "where a key abroad lives is asked before it consents",
        "operator/keystead/operations/pipeline.py",
        "    if record.account != caller.account and decision.allowed is True:",
        "    if record.account != caller.account:",
        ("tests/operations/test_abroad_alike.py",),
    ),
    Mutant(
        "a blob of another account's key is refused sooner than one of none",
        "operator/keystead/operations/pipeline.py",
        "    if record is None or record.account != caller.account:\n        # The wait",
        "    if record is None:\n        # The wait",
        ("tests/operations/test_abroad_alike.py",),
    ),
    Mutant(
        "the time of RetireGrant tells whether somebody else's grant exists",
        "operator/keystead/operations/control/grant_ends.py",
        "    return grant.account == caller.account or caller.principal in",
        "    return True or caller.principal in",
        ("tests/operations/test_abroad_alike.py",),
    ),
    Mutant(
        "a data key takes a key abroad without its consent",
        f"{ENGINE}/plan/data_key.py",
        "    return None if namespace is None or facts.granted else not_granted(namespace)",
        "    return None",
        ("tests/reconciler/test_data_key_abroad.py", "-k", "without_consent"),
    ),
    Mutant(
        "a data key asks a key abroad as the root of the key's account",
        "operator/keystead/reconciler/pipeline.py",
        "    if asker is not None:\n        return ((root_caller(asker.account, asker.namespace)",
        "    if asker is not None:\n        return ((root_caller(key.account, key.namespace)",
        ("tests/reconciler/test_data_key_abroad.py",),
    ),
    Mutant(
        "fence off",
        "operator/keystead/reconciler/book.py",
        "if held.record.transition > transition:",
        "if False:",
        ("tests/reconciler",),
    ),
    Mutant(
        "one request rotates for ever",
        f"{ENGINE}/plan/common.py",
        "and value[:256] == record.last_rotate_request",
        "and False",
        ("tests/plan",),
    ),
    Mutant(
        "vanished record is an empty place",
        "operator/keystead/reconciler/book.py",
        "            if before is None:\n                return None",
        "            return None",
        ("tests/reconciler/test_book.py",),
    ),
    Mutant(
        "refreshes before new objects",
        "operator/keystead/reconciler/queue.py",
        "        if self._ready[Class.NEW]:\n            return Class.NEW\n        running",
        "        if self._ready[Class.NEW] and not self._ready[Class.REFRESH]:\n            return Class.NEW\n        running",
        ("tests/reconciler/test_queue.py",),
    ),
    Mutant(
        "a new object that failed once waits behind refreshes",
        "operator/keystead/reconciler/queue.py",
        "kind = self._working[key] if kind is None else kind",
        "kind = Class.REFRESH",
        ("tests/reconciler/test_queue.py",),
    ),
    Mutant(
        "a leader past its deadline looks alive",
        "operator/keystead/store/lease.py",
        "return self._transition is not None and time.monotonic() >= self._valid_until",
        "return False",
        ("tests/reconciler/test_leadership.py",),
    ),
    Mutant(
        "operators look alike in the audit log",
        "operator/keystead/store/kube.py",
        'return f"keystead-operator/{__version__} ({shown})"',
        'return f"keystead-operator/{__version__}"',
        ("tests/reconciler/test_leadership.py",),
    ),
    Mutant(
        "OAEP padding not checked",
        "operator/keystead/hsm/oaep.py",
        "    if not good:",
        "    if False:",
        ("tests/hsm", "-k", "oaep and not kryoptic"),
    ),
    Mutant(
        "material id not checked after unwrap",
        "operator/keystead/hsm/vault.py",
        "            if not hmac.compare_digest(found[:32], material.material_id):",
        "            if False:",
        ("tests/hsm/test_port_suite.py", "-k", "not kryoptic"),
    ),
    Mutant(
        "a taken alias name is taken over",
        f"{ENGINE}/plan/alias.py",
        "    if record is None or _ours(alias, record):\n        return None",
        "    if True:\n        return None",
        ("tests/plan/test_plan_alias.py",),
    ),
    Mutant(
        "another tenant learns whose alias it was",
        f"{ENGINE}/plan/alias.py",
        "        _earlier_tenant(facts, alias)\n        or _taken(alias, facts.record)",
        "        _taken(alias, facts.record)\n        or _earlier_tenant(facts, alias)",
        ("tests/plan/test_plan_alias.py",),
    ),
    Mutant(
        "an alias moves to another region",
        f"{ENGINE}/plan/alias.py",
        "record is None or key is None or record.region == key.region",
        "True",
        ("tests/plan/test_plan_alias.py",),
    ),
    Mutant(
        "a new key inherits the destroyed one's aliases",
        f"{ENGINE}/plan/reference.py",
        "made is not None and made <= destroyed_at",
        "False",
        ("tests/plan/test_plan_alias.py",),
    ),
    Mutant(
        "a new key inherits the destroyed one's grants",
        f"{ENGINE}/plan/reference.py",
        "made is not None and made <= destroyed_at",
        "False",
        ("tests/plan/test_plan_grant.py",),
    ),
    Mutant(
        "a grant made again is the old one",
        f"{ENGINE}/plan/grant.py",
        "    return facts.crd is not None and record.crd_uid == facts.crd.uid",
        "    return False",
        ("tests/plan/test_plan_grant.py",),
    ),
    Mutant(
        "a grant's ttl counts from now",
        f"{ENGINE}/plan/grant.py",
        "facts.now if record is None else parse_time(record.created)",
        "facts.now",
        ("tests/reconciler/test_grant.py",),
    ),
    Mutant(
        "a grant that is over is made",
        f"{ENGINE}/plan/grant.py",
        "over = _expired_at_birth(facts, terms)",
        "over = None",
        ("tests/plan/test_plan_grant.py",),
    ),
    Mutant(
        "a held key is granted",
        f"{ENGINE}/plan/grant.py",
        "    if key.hold is not UNSET:",
        "    if False:",
        ("tests/plan/test_plan_grant.py",),
    ),
    Mutant(
        "a session is granted, not its role",
        f"{ENGINE}/plan/grant_terms.py",
        "grantee = canonical_principal(spec.grantee_principal)",
        "grantee = spec.grantee_principal",
        ("tests/plan/test_plan_grant.py",),
    ),
    Mutant(
        "re-wrap under another key than the version's own",
        f"{ENGINE}/plan/data_key_versions.py",
        'return [version for version in record.versions if version.key_arn.endswith(f":key/{key.key_id}")]',
        "return list(record.versions)",
        ("tests/plan/test_plan_data_key_alias.py",),
    ),
    Mutant(
        "keys of old versions have no dependants",
        "operator/keystead/reconciler/index.py",
        '{record.key_id, *(version.key_arn.rpartition("/")[2] for version in record.versions)}',
        "{record.key_id}",
        ("tests/reconciler/test_index.py",),
    ),
    Mutant(
        "a destroyed key is told to the next tenant",
        "operator/keystead/reconciler/index.py",
        "if each is not None and each[1] == namespace_uid",
        "if each is not None",
        ("tests/reconciler/test_index.py",),
    ),
    Mutant(
        "a rotated key wakes no data key behind an alias",
        "operator/keystead/reconciler/feed.py",
        "by_alias = [user for ref in named for user in self._users.get(ref, ())]",
        "by_alias: list[ObjectRef] = []",
        ("tests/reconciler/test_feed.py",),
    ),
    Mutant(
        "a lost reply of a delete is an integrity fault",
        "operator/keystead/reconciler/book.py",
        "            self.memory.forget(held.opened.name)  # it may be gone, and then its absence is no fault\n",
        "",
        ("tests/reconciler/test_grant.py",),
    ),
    Mutant(
        "an alias of an earlier namespace leads a data key",
        "operator/keystead/reconciler/lookup.py",
        " and held.record.namespace_uid == namespace_uid",
        "",
        ("tests/reconciler/test_data_key_alias.py",),
    ),
    Mutant(
        "one look ends a window",
        "operator/keystead/reconciler/windows.py",
        "return at - first.monotonic >= APART.total_seconds() and now - first.now >= APART",
        "return True",
        ("tests/reconciler/test_windows.py",),
    ),
    Mutant(
        "refreshes take every worker",
        "operator/keystead/reconciler/queue.py",
        "room = self._refreshes is None or running < self._refreshes",
        "room = True",
        ("tests/reconciler/test_queue.py",),
    ),
    Mutant(
        "a read that crossed a write is judged",
        "operator/keystead/reconciler/book.py",
        "            if self.memory.known(name) != before:\n                continue\n",
        "",
        ("tests/reconciler/test_book.py",),
    ),
    Mutant(
        "a key in use gets its window",
        f"{ENGINE}/plan/key_life.py",
        "waits = record.state is KeyState.PENDING_DELETION or in_use",
        "waits = record.state is KeyState.PENDING_DELETION",
        ("tests/plan/test_key_life.py",),
    ),
    Mutant(
        "a cancelled deletion ends in Enabled",
        f"{ENGINE}/plan/key_life.py",
        "enabled = record.enabled and not cancelled",
        "enabled = record.enabled",
        ("tests/plan/test_key_life.py",),
    ),
    Mutant(
        "another CRD's absence is believed",
        f"{ENGINE}/plan/common.py",
        "if crd.uid != record_crd_uid:",
        "if False:",
        ("tests/plan/test_key_life.py", "tests/plan/test_plan_alias.py"),
    ),
    Mutant(
        "adoption without being asked",
        f"{ENGINE}/plan/key.py",
        "    if adopting(key.metadata) or adopting_as_new(key.metadata):\n        return None",
        "    return None",
        ("tests/reconciler/test_adoption.py",),
    ),
    Mutant(
        "nothing is set aside before its place is taken",
        "operator/keystead/reconciler/key.py",
        "            await self._set_aside(gathered)",
        "            pass",
        ("tests/reconciler/test_adoption.py",),
    ),
    Mutant(
        "an expired grant says nothing",
        f"{ENGINE}/plan/grant.py",
        "if record.expires_at is UNSET or parse_time(record.expires_at) > now:\n        return None\n    return Obstacle",
        "if True:\n        return None\n    return Obstacle",
        ("tests/plan/test_plan_grant.py",),
    ),
    Mutant(
        "only the newest version depends on its key",
        "operator/keystead/reconciler/index.py",
        '*(version.key_arn.rpartition("/")[2] for version in record.versions)',
        "",
        ("tests/reconciler/test_index.py",),
    ),
    Mutant(
        "a list's marker is not checked",
        "operator/keystead/operations/control/common.py",
        "if len(mac) != _MAC or not hmac.compare_digest(",
        "if len(mac) != _MAC and not hmac.compare_digest(",
        ("tests/operations/control/test_common.py",),
    ),
    Mutant(
        "a name of a create does not depend on who creates",
        "operator/keystead/operations/control/common.py",
        "place = (caller.principal.encode(), ",
        "place = (",
        ("tests/operations/control/test_common.py",),
    ),
    Mutant(
        "a record set aside writes over the key that has its name",
        "operator/keystead/operations/control/common.py",
        "if named is None or named.key_id != record.key_id:",
        "if named is None:",
        ("tests/operations/control/test_control_states.py",),
    ),
    Mutant(
        "a hold does not stop EnableKey",
        "operator/keystead/operations/control/state.py",
        "if not isinstance(record.hold, UnsetType):",
        "if False:",
        ("tests/operations/control/test_state.py",),
    ),
    Mutant(
        "a disabled key is not disabled once more",
        "operator/keystead/operations/control/state.py",
        "if record.bound or record.enabled:",
        "if record.enabled:",
        ("tests/operations/control/test_state.py",),
    ),
    Mutant(
        "tags that only the record has go with the next change",
        "operator/keystead/operations/control/tags.py",
        "put=put, recorded=record.tags",
        "put=put",
        ("tests/operations/control/test_tags.py",),
    ),
    Mutant(
        "a retry of RotateKeyOnDemand rotates again",
        "operator/keystead/operations/control/rotation.py",
        'f"RotateKeyOnDemand {record.key_id}"',
        'f"RotateKeyOnDemand {record.seq}"',
        ("tests/operations/control/test_rotation.py",),
    ),
    Mutant(
        "a policy may have a member twice",
        "operator/keystead/policy/documents.py",
        "object_pairs_hook=_pairs, ",
        "",
        ("tests/policy/test_documents.py::test_a_member_twice_is_refused_for_two_readers_could_read_two_things",),
    ),
    Mutant(
        "a new key takes the id of the destroyed one before it",
        "operator/keystead/reconciler/key.py",
        "seed = None if step.aside else context.seeds(ref)",
        "seed = context.seeds(ref)",
        ("tests/reconciler/test_seeds.py",),
    ),
    Mutant(
        "short material is padded in front",
        f"{ENGINE}/imported.py",
        'plaintext.ljust(length, b"\\0")',
        'plaintext.rjust(length, b"\\0")',
        ("tests/hsm/test_import.py::test_imported_symmetric_key_derives_what_its_bytes_derive[fake-32]",),
    ),
    Mutant(
        "a key of another curve is imported",
        f"{ENGINE}/imported.py",
        "if _name(key) != _wanted(spec):",
        "if False:",
        ("tests/hsm/test_import.py::test_what_is_no_key_of_the_spec_is_refused",),
    ),
    Mutant(
        "a start does not wait for its seeds",
        "operator/keystead/app/dev/seeds.py",
        "while self._waiting and self._stalled is None:",
        "while False:",
        ("tests/dev/test_planting.py",),
    ),
    Mutant(
        "a seed may say a name twice",
        "operator/keystead/dev/documents.py",
        "if name.value in seen:",
        "if False:",
        ("tests/dev/test_seeds.py",),
    ),
    Mutant(
        "a payload hash that was sent is not compared",
        f"{SERVER}/sigv4.py",
        "if sent is not None and sent != payload_hash.encode():",
        "if False:",
        ("tests/server/test_sigv4.py", "-k", "payload_hash or scope"),
    ),
    Mutant(
        "credentials of another service sign",
        f"{SERVER}/sigv4.py",
        "if scope.service != self._service:",
        "if False:",
        ("tests/server/test_sigv4.py", "-k", "payload_hash or scope"),
    ),
    Mutant(
        "a session token's seal is not compared",
        f"{SERVER}/credentials.py",
        "if not hmac.compare_digest(mac, _seal(domain, body)):",
        "if False:",
        ("tests/server/test_credentials.py", "-k", "single_bit or secret"),
    ),
    Mutant(
        "the secret access key stands in the session token",
        f"{SERVER}/credentials.py",
        'Label.CREDENTIAL, b"secret", body)',
        'Label.CREDENTIAL, b"seal", body)',
        ("tests/server/test_credentials.py", "-k", "single_bit or secret"),
    ),
    Mutant(
        "the body is read before the signature holds",
        f"{SERVER}/door.py",
        "            identity = self._parts.authenticator.authenticate(asked, passage.now)\n",
        "            self._parts.wire.decode(passage.operation, asked.body)\n"
        "            identity = self._parts.authenticator.authenticate(asked, passage.now)\n",
        ("tests/server/test_door.py",),
    ),
    Mutant(
        "a call is begun while no audit record can be kept",
        f"{SERVER}/door.py",
        "        if parts.audit.stopped:\n",
        "        if False:\n",
        ("tests/server/test_door_audit.py",),
    ),
    Mutant(
        "an answer does not wait for its audit record",
        f"{SERVER}/door.py",
        "        return reply if recorded is None else self._when_recorded(passage, recorded, reply)\n\n    def _refused",
        "        return reply\n\n    def _refused",
        ("tests/server/test_door_audit.py",),
    ),
    Mutant(
        "a read model that is behind is believed",
        f"{SERVER}/door.py",
        "        if stale is not None:",
        "        if False:",
        ("tests/server/test_door.py",),
    ),
    Mutant(
        "a bucket holds one call more",
        f"{SERVER}/quota.py",
        "if due - now > rate.slack:",
        "if due - now > rate.slack + rate.interval:",
        ("tests/server/test_quota.py",),
    ),
    Mutant(
        "accounts share a bucket",
        f"{SERVER}/quota.py",
        "caller.principal if caller.kind is CallerKind.USER else caller.account, region)",
        "caller.kind.value, region)",
        ("tests/server/test_quota.py",),
    ),
    Mutant(
        "a refused call does not keep its bucket",
        f"{SERVER}/quota.py",
        "            self._young[place] = due\n",
        "",
        ("tests/server/test_quota.py",),
    ),
    Mutant(
        "the door asks for no quota",
        f"{SERVER}/door.py",
        "        parts.quota.charge(operation, request, identity.caller, identity.region)\n",
        "",
        ("tests/server/test_door_quota.py",),
    ),
    Mutant(
        "one caller waits without bound",
        f"{SERVER}/driver.py",
        "if self.waiters[by] >= MAX_WAITERS:",
        "if False:",
        ("tests/server/test_driver.py",),
    ),
    Mutant(
        "a narrowing change does not wait for the siblings",
        f"{SERVER}/driver.py",
        "if change.narrows and not await self.siblings.confirm(SIBLING_SECONDS):",
        "if False:",
        ("tests/server/test_driver.py",),
    ),
    Mutant(
        "a no lives as long as a yes",
        f"{SERVER}/factcache.py",
        "fact is not None and now < fact.at + NO_SECONDS",
        "fact is not None and now < fact.at + YES_SECONDS",
        ("tests/server/test_facts.py",),
    ),
    Mutant(
        "a foreign key's refusal names the key",
        "operator/keystead/operations/refusals.py",
        "on this resource because {_FOREIGN}",
        "on a resource of another account because {_FOREIGN}",
        ("tests/operations/test_pipeline.py", "-k", "not token and another_tenants"),
    ),
    Mutant(
        "a Recipient is ignored",
        "operator/keystead/operations/validate.py",
        "    if recipient is not None:",
        "    if False:",
        ("tests/operations/test_encryption.py", "-k", "recipient"),
    ),
    Mutant(
        "a member that the operation does not know is ignored",
        f"{SERVER}/decode.py",
        '                raise SerializationError("The request has a member that the operation does not know.")',
        "                continue",
        ("tests/server/test_bad_json.py",),
    ),
    Mutant(
        "a web page resets",
        "operator/keystead/dev/exposure.py",
        'sent.get(_HEADER) == b"yes" and b"origin" not in sent and ',
        "",
        ("tests/dev/test_exposure.py",),
    ),
    Mutant(
        "a random key is enough beyond this machine",
        "operator/keystead/cli/dev.py",
        "    if not request.access_keys:",
        "    if False:",
        ("tests/cli/test_dev.py",),
    ),
    Mutant(
        "a write changes the object that has the name now",
        "operator/keystead/store/writes.py",
        '    if found["metadata"]["uid"] != target.uid:',
        "    if False:",
        ("tests/store/test_kube_writer_fences.py",),
    ),
    Mutant(
        "a bad policy is put in force",
        f"{ENGINE}/plan/key.py",
        "spec = replace(key.spec, policy=UNSET) if facts.policy_fault else key.spec",
        "spec = key.spec",
        ("tests/reconciler/test_key_policy.py", "-k", "leaves_the_old_one"),
    ),
    Mutant(
        "after a Deny the controller asks once more, as the service",
        "operator/keystead/reconciler/pipeline.py",
        "            if judged.decision.explicit:\n                break",
        "",
        ("tests/reconciler/test_key_policy.py", "-k", "deny_wins"),
    ),
    Mutant(
        "the strict policy is for the moment only",
        "operator/keystead/reconciler/key.py",
        "draft = replace(draft, policy=policy_bytes(strict_policy(account)))",
        "pass",
        ("tests/reconciler/test_key_policy.py", "-k", "strict or setting"),
    ),
    Mutant(
        "a denied re-wrap or rotation keeps the Secret from coming back",
        f"{ENGINE}/plan/data_key.py",
        "or facts.refused.get(step)",
        "",
        ("tests/reconciler/test_key_policy.py", "-k", "rewrap"),
    ),
    Mutant(
        "why: facts that nobody gave taken for good",
        "operator/keystead/policy/explain.py",
        "elif (statement.effect is Effect.ALLOW) is hopeful:",
        "elif statement.effect is Effect.ALLOW:",
        ("tests/policy/test_explain.py::test_whatever_the_facts_are_the_answer_lies_between_worst_and_best",),
    ),
    Mutant(
        "why: a right on named objects counts for all",
        "operator/keystead/policy/rbac.py",
        'and (not names or (right.name != "" and right.name in names))',
        "and True",
        ("tests/policy/test_rbac.py::test_a_rule_gives_what_it_says",),
    ),
    Mutant(
        "why: grants that may not be read count as none",
        "operator/keystead/app/kms/why.py",
        "if best.allowed is False and (best.explicit or not grants_unread):",
        "if best.allowed is False:",
        ("tests/app/test_kms_why.py::test_grants_that_may_not_be_read_leave_a_no_open_but_not_a_yes",),
    ),
    Mutant(
        "why: an account that is not known is taken for none",
        "operator/keystead/app/kms/why.py",
        "    known = account != UNKNOWN_ACCOUNT\n",
        "    known = True\n",
        ("tests/app/test_kms_why.py::test_an_account_that_is_not_known_is_not_assumed",),
    ),
    Mutant(
        "kubectl kms: any name schedules a deletion",
        "operator/keystead/cli/kms.py",
        "if typed != shown.name:",
        "if not typed:",
        ("tests/cli/test_kms.py::test_another_name_than_the_keys_changes_nothing",),
    ),
    Mutant(
        "hash of the record before not compared",
        f"{READING}/walk.py",
        "elif link.prev != self._hash:",
        "elif False:",
        ("tests/audit_reading/test_verify.py::test_a_changed_byte_is_found",),
    ),
    Mutant(
        "claims of a start not compared",
        f"{READING}/walk.py",
        "if self._next and seq >= self._next:",
        "if False:",
        ("tests/audit_reading/test_verify.py::test_a_chain_cut_at_its_tail_is_told_by_the_next_one",),
    ),
    Mutant(
        "any signature will do",
        f"{READING}/signatures.py",
        "return any(_verifies",
        "return True or any(_verifies",
        ("tests/audit_reading/test_verify.py::test_a_chain_made_anew_with_another_key_is_found",),
    ),
    Mutant(
        "a removal explains whatever hole",
        f"{READING}/verify.py",
        "if item.last == hole.last and item.hash == hole.hash]",
        "]",
        ("tests/audit_reading/test_verify.py::test_what_retention_took_must_be_what_its_record_says",),
    ),
    Mutant(
        "a tenant reads what is another account's",
        f"{READING}/tenant.py",
        ' or record.get("recipientAccountId") != account',
        "",
        ("tests/audit_reading/test_route.py::test_a_holder_of_the_verb_reads_the_records_of_its_key_and_no_others",),
    ),
    Mutant(
        "a tenant reads why another account's key refused",
        f"{READING}/tenant.py",
        '"chain", "operatorOnly", "keysteadType"',
        '"chain",',
        ("tests/audit_reading/test_route.py::test_nothing_of_the_chain_and_of_foreign_policies_is_told",),
    ),
    Mutant(
        "Keystead's own keys are found by whoever asks",
        "operator/keystead/store/model.py",
        "return isinstance(record, KeyRecord | AliasRecord | GrantRecord) and is_own(record.namespace)",
        "return False",
        ("tests/operations/control/test_own_keys.py",),
    ),
    Mutant(
        "a managed key of anybody's making is used",
        f"{ENGINE}/plan/data_key.py",
        "if names_no_key(spec) and not serves_data_keys(key):",
        "if False and names_no_key(spec) and not serves_data_keys(key):",
        ("tests/plan/test_plan_managed_key.py::test_a_key_that_somebody_else_made_under_the_name_is_not_used",),
    ),
    Mutant(
        "a grant of a manifest opens the managed key to an application",
        f"{ENGINE}/plan/reference.py",
        "if is_managed(key) or is_own(key.namespace):",
        "if False:",
        ("tests/reconciler/test_managed_key.py::test_no_grant_and_no_alias_of_a_manifest_is_bound_to_it",),
    ),
    Mutant(
        "an audit file is not cut back after a fault",
        f"{AUDIT}/sinks.py",
        "        if self._torn:\n            self._cut_back(file)\n        self._torn = True\n",
        "        self._torn = True\n",
        ("tests/audit/test_sinks.py::test_after_a_fault_the_file_is_cut_back_and_the_chain_is_whole",),
    ),
    Mutant(
        "a record is answered for whose file was taken away",
        f"{AUDIT}/sinks.py",
        "        if not there:\n",
        "        if False:\n",
        ("tests/audit/test_attacked_folder.py::test_a_record_is_answered_for_only_while_its_file_is_in_the_folder",),
    ),
    Mutant(
        "a damaged file ends the housekeeping",
        f"{AUDIT}/folder.py",
        "_DAMAGED: Final = (gzip.BadGzipFile, EOFError, zlib.error)\n",
        "_DAMAGED: Final = (gzip.BadGzipFile,)\n",
        ("tests/audit/test_attacked_folder.py::test_a_damaged_file_does_not_end_the_housekeeping",),
    ),
    Mutant(
        "an emptied chain is as if it had never been",
        f"{READING}/walk.py",
        "        return bool(self.report.records or self.report.findings) or self.vanished\n",
        "        return True\n",
        ("tests/audit_reading/test_attacks.py::TestFound::test_all_files_of_an_older_chain_emptied",),
    ),
    Mutant(
        "the owner of one key of a ReEncrypt reads of the other",
        f"{AUDIT}/cloudtrail.py",
        "        record.requestParameters = sides.of_one_key(record.requestParameters or {}, actions)\n",
        "",
        ("tests/audit/test_cloudtrail.py::TestAcrossAccounts::test_of_a_re_encrypt_the_owner_learns_nothing_of_the_other_key",),
    ),
    Mutant(
        "STS gives credentials without a record",
        "operator/keystead/server/sts.py",
        "        await self._recorded(asked, request_id, actor, request, minted)\n",
        "",
        ("tests/server/test_sts_audit.py::test_credentials_are_on_record_in_cloudtrails_shape",),
    ),
    Mutant(
        "the journal answers before its sinks have the record",
        f"{AUDIT}/journal.py",
        "        batch.waiters.append(waiter)\n        return waiter\n",
        "        return None\n",
        ("tests/audit/test_journal.py::test_a_durable_record_is_waited_for_until_every_sink_has_it",),
    ),
    Mutant(
        "a sink that does not answer stops nothing",
        f"{AUDIT}/journal.py",
        'watch = loop.call_at(late, self._stop, "a sink has not acknowledged in time")',
        "watch = loop.call_at(late, str)",
        ("tests/audit/test_journal.py::test_a_sink_that_does_not_answer_refuses_who_waits_within_a_second",),
    ),
    Mutant(
        "a refused call abroad shows the key's side to the caller's account",
        f"{AUDIT}/cloudtrail.py",
        "    if not allowed:\n        record = _record(event, [",
        "    if not allowed:\n        record = _record(event, event.trail or [",
        ("tests/audit/test_cloudtrail.py::TestAcrossAccounts",),
    ),
    Mutant(
        "a key's material goes before its end is on record",
        "operator/keystead/reconciler/book.py",
        "        await self.chronicle.begins(held.record, record)\n",
        "        self.chronicle.check()\n",
        ("tests/audit/test_chronicle.py::test_a_keys_end_waits_until_it_is_durable_that_it_begins",),
    ),
    Mutant(
        "the controller writes what cannot be recorded",
        "operator/keystead/reconciler/chronicle.py",
        "            raise AuditUnavailableError(_WORDS)",
        "            return",
        ("tests/audit/test_chronicle.py::test_nothing_is_written_while_nothing_can_be_recorded",),
    ),
)


def run_tests(tree: Path, arguments: tuple[str, ...]) -> bool:
    """Whether these tests are green in the tree."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not cluster and not helm", *arguments]
    environment = dict(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-500:]}")
    return done.returncode == 0


def try_mutant(tree: Path, mutant: Mutant) -> str:
    """What became of it: `caught`, or what is wrong."""
    file = tree / mutant.file
    source = file.read_text()
    if source.count(mutant.old) != 1:
        return f"the text to change stands {source.count(mutant.old)} times in {mutant.file}"
    file.write_text(source.replace(mutant.old, mutant.new))
    try:
        return "SURVIVED" if run_tests(tree, mutant.tests) else "caught"
    finally:
        file.write_text(source)


def copy_of(folder: Path) -> Path:
    """A tree of its own."""
    for part in PARTS:
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
    return folder


def main(names: list[str]) -> int:
    """Try the mutants whose name contains one of the words, or all: two at a time, each in a tree of its own."""
    chosen = [m for m in MUTANTS if not names or any(word in m.name for word in names)]
    with ExitStack() as stack, ThreadPoolExecutor(TREES) as pool:
        trees: queue.Queue[Path] = queue.Queue()
        for _ in range(TREES):
            trees.put(copy_of(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-mutants-")))))

        def within(work: Callable[[Path], str]) -> tuple[str, float]:
            tree, start = trees.get(), time.monotonic()
            try:
                return work(tree), time.monotonic() - start
            finally:
                trees.put(tree)

        alive = 0
        for mutant, (found, seconds) in zip(chosen, pool.map(lambda m: within(partial(try_mutant, mutant=m)), chosen), strict=True):
            alive += found != "caught"
            print(f"{found:<10} {seconds:5.1f} s  {mutant.name}  ({' '.join(mutant.tests)})", flush=True)
        green = sorted({mutant.tests for mutant in chosen})
        checked = pool.map(lambda tests: within(lambda tree: "green" if run_tests(tree, tests) else "RED"), green)
        for arguments, (found, _) in zip(green, checked, strict=True):
            if found != "green":
                print(f"RED without a mutant: {' '.join(arguments)}", flush=True)
                alive += 1
    print(f"{len(chosen) - alive} passed, {alive} failed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

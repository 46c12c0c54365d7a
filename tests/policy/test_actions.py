"""The table of actions is total."""

from __future__ import annotations

from keystead.policy import Action
from keystead.policy.actions import ACTIONS, KEYLESS, Constraint
from keystead.resources.vocabulary import GrantOperation


def test_every_action_has_a_row():
    assert set(ACTIONS) == set(Action)


def test_every_grant_operation_is_an_action_that_a_grant_of_it_allows():
    grantable = {action.value: row.grantable for action, row in ACTIONS.items() if row.grantable is not None}
    assert grantable == {operation.value: operation for operation in GrantOperation}


def test_no_grant_allows_what_changes_a_key():
    changing = [action for action in Action if action.name.endswith(("_KEY", "_TAGS", "_RESOURCE", "_POLICY", "_ALIAS"))]
    others = [action for action in changing if action.value not in ("DescribeKey", "GenerateDataKey", "GetPublicKey")]
    assert len(others) > 10
    assert all(ACTIONS[action].grantable is None for action in others)


def test_keyless_actions_are_those_that_name_no_key():
    assert {action.value for action in KEYLESS} == {
        "GenerateRandom",
        "CreateKey",
        "ListKeys",
        "ListAliases",
        "ListRetirableGrants",
    }


def test_verbs_are_the_actions_in_lower_case():
    assert ACTIONS[Action.RE_ENCRYPT_FROM].verb == "reencryptfrom"
    assert ACTIONS[Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT].verb == "generatedatakeywithoutplaintext"
    assert all(row.verb == action.value.lower() and row.verb.isalpha() for action, row in ACTIONS.items())


def test_only_describe_and_retire_ignore_a_constraint():
    ignoring = {action for action, row in ACTIONS.items() if row.constraint is Constraint.IGNORED}
    assert ignoring == {Action.DESCRIBE_KEY, Action.RETIRE_GRANT}


def test_asymmetric_and_mac_actions_refuse_a_constraint():
    refusing = {
        action
        for action, row in ACTIONS.items()
        if row.constraint is Constraint.REFUSED and row.grantable is not None
    }
    assert refusing == {
        Action.GENERATE_MAC,
        Action.VERIFY_MAC,
        Action.SIGN,
        Action.VERIFY,
        Action.GET_PUBLIC_KEY,
        Action.DERIVE_SHARED_SECRET,
        Action.CREATE_GRANT,
    }

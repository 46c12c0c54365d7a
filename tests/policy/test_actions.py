"""The table of actions is total."""

from __future__ import annotations

from keystead.policy import Action
from keystead.policy.actions import ACTIONS, Constraint
from keystead.resources.vocabulary import GrantOperation


def test_every_action_has_a_row():
    assert set(ACTIONS) == set(Action)


def test_every_grant_operation_is_an_action_and_only_generate_random_is_no_grant_operation():
    grantable = {row.grantable for row in ACTIONS.values() if row.grantable is not None}
    assert grantable == set(GrantOperation)
    assert [action for action, row in ACTIONS.items() if row.grantable is None] == [Action.GENERATE_RANDOM]


def test_verbs_are_the_actions_in_lower_case():
    assert ACTIONS[Action.RE_ENCRYPT_FROM].verb == "reencryptfrom"
    assert ACTIONS[Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT].verb == "generatedatakeywithoutplaintext"
    assert all(row.verb == action.value.lower() and row.verb.isalpha() for action, row in ACTIONS.items())


def test_only_describe_and_retire_ignore_a_constraint():
    ignoring = {action for action, row in ACTIONS.items() if row.constraint is Constraint.IGNORED}
    assert ignoring == {Action.DESCRIBE_KEY, Action.RETIRE_GRANT}


def test_asymmetric_and_mac_actions_refuse_a_constraint():
    refusing = {action for action, row in ACTIONS.items() if row.constraint is Constraint.REFUSED}
    assert refusing == {
        Action.GENERATE_RANDOM,
        Action.GENERATE_MAC,
        Action.VERIFY_MAC,
        Action.SIGN,
        Action.VERIFY,
        Action.GET_PUBLIC_KEY,
        Action.DERIVE_SHARED_SECRET,
        Action.CREATE_GRANT,
    }

"""docs/policies.md: every policy on it is parsed and asked each question of the table below it, and its tables are those of the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from tests.builders import NOW, a_key
from tests.chart.rights import PEOPLE
from tests.docs.pages import ROOT, table_after
from tests.hsm.fake import FakeHsm
from tests.policy.documents import Request

from keystead.engine.identifiers import key_arn
from keystead.engine.managed import managed_policy
from keystead.engine.plan.key_settings import default_policy, strict_policy
from keystead.errors import MalformedPolicyDocumentError
from keystead.operations.control.grants import GrantConstraints
from keystead.policy import Action, Caller, Decision, Question, evaluate, root_caller, service_account_caller
from keystead.policy.actions import ABROAD, ACTIONS, KEYLESS
from keystead.policy.caller import user_caller
from keystead.policy.compiled import compile_policy
from keystead.policy.conditionkeys import KEYS, NAMED, ConditionKey, condition_key
from keystead.policy.evaluate import RULES
from keystead.policy.lockout import closes
from keystead.policy.operators import OPERATORS
from keystead.policy.question import Carried, RequestFacts

PAGE = (ROOT / "docs/policies.md").read_text()
EXAMPLES = ROOT / "examples/policies"
ACCOUNT, OTHER, INSTALL = "111122223333", "444455556666", "999988887777"
NAMESPACE, NAME, KEY_ID, REGION = "shop", "orders", "1234abcd-12ab-34cd-56ef-1234567890ab", "cluster-1"
ARN = key_arn(REGION, ACCOUNT, KEY_ID)
HSM = FakeHsm()
POLICY = re.compile(r"<!-- policy: ([\w ]+) -->\n\n```json\n(.*?)\n```\n\n", re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
_QUESTIONS = "| caller | action | with | answer |"


@dataclass(frozen=True)
class Case:
    """A policy, a line of the table below it."""

    name: str
    policy: str
    row: dict[str, str]

    def __str__(self) -> str:
        return "-".join(re.sub(r"[^\w.=]+", "_", text).strip("_") for text in (self.name, *list(self.row.values())[:3]))


def documents() -> dict[str, str]:
    return dict(POLICY.findall(PAGE))


def cases() -> Iterator[Case]:
    for found in POLICY.finditer(PAGE):
        rest = PAGE[found.end() :].split("<!-- policy:")[0]
        if _QUESTIONS in rest:
            table = _QUESTIONS + rest.split(_QUESTIONS, 1)[1]
            for row in table_after(f"\x00{table}", "\x00"):
                yield Case(found[1], found[2], row)


def caller_of_cell(cell: str, asked: str) -> Caller:
    name, account = CODE.findall(cell)[0], OTHER if OTHER in cell else INSTALL if INSTALL in cell else ACCOUNT
    namespace = {ACCOUNT: NAMESPACE, OTHER: "their-namespace", INSTALL: "keystead-records"}[account]
    if name == "root":
        return root_caller(account, namespace)
    kind, _, plain = name.partition("/")
    if kind == "user":
        return user_caller(account, namespace, unquote(plain), "u-1", tuple(said(asked, "group")))
    return service_account_caller(account, namespace, plain, session="s-1")


def said(cell: str, word: str) -> list[str]:
    """The code spans of `word ...` in a cell whose parts are divided by commas."""
    part = next((part.strip() for part in cell.split(",") if part.strip().split(" ")[0].rstrip("s") == word), "")
    return CODE.findall(part)


def pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def question_of(case: Case) -> Question:
    asked = case.row["with"]
    secure = False if "no TLS" in asked else True if "TLS" in asked else None
    carried = Carried("".join(said(asked, "from")), secure, "".join(said(asked, "via")))
    within = pairs(said(asked, "constraint"))
    request = Request(
        operations=tuple(said(asked, "operation")),
        constraints=GrantConstraints(encryption_context_subset=within) if within else None,
    )
    record = a_key(
        HSM, policy=case.policy.encode(), account=ACCOUNT, namespace=NAMESPACE, name=NAME, key_id=KEY_ID, region=REGION
    )
    facts = RequestFacts(request, carried, "".join(said(asked, "alia")))
    action = Action(CODE.findall(case.row["action"])[0].removeprefix("kms:"))
    return Question(
        caller_of_cell(case.row["caller"], asked), action, record, (), pairs(said(asked, "context")), NOW, facts
    )


@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_the_evaluator_answers_as_the_page_says(case: Case) -> None:
    answer = evaluate(question_of(case))
    told = case.row["answer"]
    if isinstance(answer, Decision):
        assert told == ("yes" if answer.allowed else "no"), answer.reason
        return
    review = answer.review
    on = "the ARN" if review.name == ARN else f"`{review.name}`"
    assert told == f"RBAC: `{review.verb}` on {on} in `{review.namespace}`"


def test_every_policy_of_the_page_is_asked_and_parsed() -> None:
    assert {case.name for case in cases()} == set(documents()) - {"locked out"}
    assert PAGE.count("```json") == len(documents())
    assert len(list(cases())) > 40
    for text in documents().values():
        compile_policy(text, ARN)


def test_the_policies_that_keystead_writes_are_those_of_the_code() -> None:
    written = {name: json.loads(text) for name, text in documents().items()}
    assert written["default"] == default_policy(ACCOUNT)
    assert written["strict"] == strict_policy(ACCOUNT)
    assert written["managed"] == managed_policy(ACCOUNT)


def manifests(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((EXAMPLES / name).read_text()) if each]


@pytest.mark.parametrize(("number", "file"), [("70", "70-own-policy.yaml"), ("81", "81-shared-key.yaml")])
def test_the_policies_of_the_examples_are_those_of_the_page(number: str, file: str) -> None:
    (key,) = manifests(file)
    assert key["spec"]["policy"] == json.loads(documents()[f"example {number}"])


def test_the_examples_name_one_key_and_two_accounts() -> None:
    (role, _binding) = manifests("82-use-abroad.yaml")
    assert role["rules"][0]["resourceNames"] == [ARN]
    (grant,) = manifests("90-grant-abroad.yaml")
    assert OTHER in grant["spec"]["granteePrincipal"]
    assert {path.name for path in EXAMPLES.iterdir()} == set(re.findall(r"examples/policies/([\w-]+\.yaml)", PAGE))


def test_the_rules_stand_in_the_order_in_which_they_are_asked() -> None:
    rows = table_after(PAGE, "([kubectl kms](kubectl-kms.md)); the [audit trail](audit.md) has it for every call.")
    assert [row["rule"].replace(" ", "_") for row in rows] == [rule.__name__.strip("_") for rule in RULES]


def test_what_locks_everybody_out_is_found() -> None:
    assert closes(compile_policy(documents()["locked out"], ARN), ACCOUNT)
    assert not any(
        closes(compile_policy(text, ARN), ACCOUNT)
        for name, text in documents().items()
        if name not in ("locked out", "managed", "conditions")
    )


def refusals() -> list[tuple[str, str]]:
    rows = table_after(PAGE, "over in a Deny would open the key.")
    return [(CODE.findall(row["in a statement"])[0], CODE.findall(row["refused with"])[0]) for row in rows]


@pytest.mark.parametrize(("fragment", "words"), refusals())
def test_what_the_page_says_is_refused_is_refused_with_these_words(fragment: str, words: str) -> None:
    given = json.loads("{" + fragment + "}")
    principal = {} if given.keys() & {"Principal", "NotPrincipal"} else {"Principal": "*"}
    statement = {"Effect": "Allow", "Action": "kms:*", "Resource": "*", **principal, **given}
    with pytest.raises(MalformedPolicyDocumentError, match=re.escape(words)):
        compile_policy(json.dumps({"Version": "2012-10-17", "Statement": [statement]}), ARN)


def test_every_principal_of_the_page_is_one() -> None:
    for row in table_after(PAGE, "### Principals\n"):
        for text in CODE.findall(row["principal"]):
            statement = {"Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": json.loads(text)}
            compile_policy(json.dumps({"Version": "2012-10-17", "Statement": [statement]}), ARN)


def test_every_operator_has_its_place() -> None:
    rows = table_after(PAGE, "<!-- operators -->")
    assert sorted(name for row in rows for name in CODE.findall(row["operators"])) == sorted(OPERATORS)


def feeds(row: ConditionKey) -> str:
    """Which calls have a condition key."""
    asked = [action for action in Action if action not in KEYLESS]
    having = [action for action in asked if row.source(action) is not None]
    if having == asked:
        return "every call"
    return ", ".join(action.value for action in having) or "never: for operations that this version does not serve"


def test_the_table_of_condition_keys_is_that_of_the_code() -> None:
    rows = [row._replace(name=row.name) for row in KEYS.values()]
    for prefix in NAMED:
        row = condition_key(f"{prefix}x")
        assert row is not None
        rows.append(row._replace(name=f"{prefix}<key>"))
    expected = [(f"`{row.name}`", row.type.value + (", several" if row.multi else ""), feeds(row)) for row in rows]
    assert [tuple(row.values()) for row in table_after(PAGE, "<!-- condition keys -->")] == expected


def verbs(role: str) -> set[str]:
    return {verb for verbs in PEOPLE[role][1].values() for verb in verbs}


def test_the_clusterroles_of_the_page_are_those_of_the_chart() -> None:
    rows = {
        CODE.findall(row["ClusterRole"])[0]: row
        for row in table_after(PAGE, "<!-- roles -->")
        if "`" in row["ClusterRole"]
    }
    assert set(rows) == set(PEOPLE)
    for name, row in rows.items():
        assert row["part of"].strip("`") == (PEOPLE[name][0] or "")


def test_users_cannot_administer_and_administrators_cannot_use() -> None:
    uses = {row.verb for action, row in ACTIONS.items() if row.grantable is not None} - {
        "creategrant",
        "retiregrant",
        "describekey",
        "getpublickey",
    }
    assert uses <= verbs("keystead-key-user")
    without_plaintext = {verb for verb in uses if verb.endswith("withoutplaintext")}
    for name in PEOPLE:
        if name != "keystead-key-user":
            assert verbs(name) & uses <= (without_plaintext if name == "keystead-edit" else set())
    changes = {"putkeypolicy", "creategrant", "disablekey", "schedulekeydeletion", "create", "patch", "delete"}
    assert not verbs("keystead-key-user") & changes
    assert not {"hold", "adopt"} & {verb for name in PEOPLE for verb in verbs(name)}


def test_what_can_be_lent_is_what_aws_lets_other_accounts_do() -> None:
    (text,) = re.findall(r"What can be lent at all: (.*?)\. Everything else", PAGE, re.DOTALL)
    named = {Action(name) for name in re.findall(r"\b(?:Describe|Get|Create|List|Retire|Revoke)\w+", text)}
    assert named <= ABROAD
    cryptographic = ABROAD - named
    assert all(ACTIONS[action].grantable is not None for action in cryptographic)

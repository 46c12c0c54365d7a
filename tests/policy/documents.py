"""Builders of key policies, and a question about one."""

from __future__ import annotations

import json
from typing import Any

from tests.builders import ACCOUNT, NOW, a_key, an_app
from tests.hsm.fake import FakeHsm

from keystead.policy import Action, Decision, Question, evaluate
from keystead.policy.question import Answer, Carried, RequestFacts

HSM = FakeHsm()
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def role(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def statement(principal: Any = "*", action: Any = "kms:*", effect: str = "Allow", **members: Any) -> dict[str, Any]:
    """A statement. A text that is a principal, or an object as it is."""
    named = {"AWS": principal} if principal != "*" and isinstance(principal, str | list) else principal
    return {"Effect": effect, "Principal": named, "Action": action, "Resource": "*", **members}


def policy(*statements: dict[str, Any], version: str | None = "2012-10-17") -> bytes:
    document = {"Statement": list(statements)}
    return json.dumps({"Version": version, **document} if version else document).encode()


class Request:
    """A request with these members."""

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def ask(document: bytes, action: Action = Action.DECRYPT, caller: Any = None, **how: Any) -> Answer:
    """What is answered to the ServiceAccount `app` about a key with this policy.

    how: context, grants, now, record (changes of the key), request (members), source_ip, secure, via_service,
    source_arn; the rest as RequestFacts
    """
    key = a_key(HSM, policy=document, **how.pop("record", {}))
    sent = how.pop("source_ip", ""), how.pop("secure", None)
    carried = Carried(*sent, how.pop("via_service", ""), how.pop("source_arn", ""))
    aliases = how.pop("aliases", ())
    context, grants, now = how.pop("context", {}), how.pop("grants", ()), how.pop("now", NOW)
    facts = RequestFacts(Request(**how.pop("request", {})), carried, aliases=lambda: aliases, **how)
    return evaluate(Question(caller or an_app(), action, key, grants, context, now, facts))


def holds(operator, key, values, action=Action.DECRYPT, *, effect="Allow", **how) -> bool:
    """Whether a statement with this one condition applies to `app`."""
    one = statement(role("app"), effect=effect, Condition={operator: {key: values}})
    every = statement(role("app"))
    answer = ask(policy(one) if effect == "Allow" else policy(one, every), action, **how)
    if isinstance(answer, Decision):
        return answer.allowed if effect == "Allow" else not answer.allowed
    raise AssertionError(answer)

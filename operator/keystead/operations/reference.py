"""The page of permissions, made from permissions.py. `python -m keystead.operations reference docs/reference` writes it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from keystead.operations.permissions import API, COMMANDS, CONTROLLER, Deed, On, Right, by_grant, by_policy, is_abroad
from keystead.operations.unserved import UNCALLED, UNSERVED
from keystead.resources.markdown import code, page, table

_YES: Final = "yes"


def pages() -> Mapping[str, str]:
    """File name -> text of each page."""
    return {"permissions.md": _permissions()}


def _permissions() -> str:
    text = page(
        "Permissions",
        "What each thing that can be done asks for. How a decision is made: [policies](../policies.md). "
        "Who has which verb by the chart's ClusterRoles: [there](../policies.md#rbac-who-may-what).",
        "## The endpoint",
        "All rights of an operation are asked, in this order; the first no ends the call. A verb is RBAC's on the resource `on`; where a "
        "key policy or a grant decides, RBAC is not asked. *Abroad*: may be given to another account, which asks its own RBAC too.",
        table(
            ("operation", "action", "on", "named by", "verb", "key policy", "grant", "abroad"),
            (_api(operation, n, right) for operation, rights in sorted(API.items()) for n, right in enumerate(rights)),
        ),
        "## Not served",
        "Nobody has a right to these: the endpoint answers each operation with UnsupportedOperationException and the reason. "
        "A key policy may name the actions, as one written for AWS does; that gives and takes nothing.",
        table(
            ("operation", "action", "reason"),
            (
                *((code(name), code(f"kms:{name}"), reason) for name, reason in sorted(UNSERVED.items())),
                *(("", code(f"kms:{name}"), reason) for name, reason in sorted(UNCALLED.items())),
            ),
        ),
        "## The controller",
        "What Keystead does by itself, by the names of its [audit records](../audit.md). Admission asks the author of the word for a verb: "
        "that of what he writes ([the table](../security.md#admission-policies-what-each-asks-and-what-holds-without-them)). "
        "Who came by the endpoint was asked there.",
        table(
            ("does", "to", "on whose word", "admission asks for", "key policy and grants are asked", "as whom"),
            _deeds(),
        ),
        "## The command line",
        "A command has the rights of what it works with, and no others. With the token and its PIN alone somebody can use every key "
        "([who can read the keys](../security.md#who-can-read-the-keys)).",
        table(
            ("command", "works with", "which must allow"),
            ((code(name), ", ".join(command.works_with), command.rights) for name, command in sorted(COMMANDS.items())),
        ),
    )
    return text.replace("operator/keystead/resources by", "operator/keystead/operations/permissions.py by", 1)


def _api(operation: str, n: int, right: Right) -> tuple[str, ...]:
    on = "kmskeys" if right.on is On.ACCOUNT else right.on.value
    named = f"`{right.member}`" if right.member.isidentifier() else right.member or "nothing: the caller's namespace"
    given = (by_policy(right), by_grant(right), is_abroad(right))
    first = code(operation) if n == 0 else ""
    return (first, code(f"kms:{right.action}"), on, named, code(right.verb), *(_YES if yes else "" for yes in given))


def _deeds() -> Iterator[tuple[str, ...]]:
    for name, deed in CONTROLLER.items():
        yield (
            code(name),
            _on(deed),
            deed.word,
            _codes(deed.verbs),
            _codes(f"kms:{action}" for action in deed.asked),
            deed.caller,
        )


def _on(deed: Deed) -> str:
    return deed.on.value if isinstance(deed.on, On) else deed.on


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(code(text) for text in texts)

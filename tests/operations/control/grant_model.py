"""A second, naive idea of what grants do, written only for the tests: a list that is walked from end to end, straight from AWS's words.

It shares nothing with keystead.policy. Whether one constraint is as strict as another is found by trying every context there is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime

# Context keys and values of constraints. `d` is in no constraint: a context can always have more than a constraint names.
KEYS, VALUES = ("a", "B"), ("x", "y")
CONTEXTS = [
    {key: value for key, value in zip(("a", "b", "d"), values, strict=True) if value}
    for values in itertools.product(("", "x", "y"), ("", "x", "y"), ("", "x"))
]
WITH_CONTEXT = {"Encrypt", "Decrypt", "GenerateDataKey"}
WITHOUT = {"DescribeKey", "RetireGrant"}


@dataclass(frozen=True)
class Terms:
    """kind: equals, subset or "" (no context constraint). source: of the SourceArn constraint, "" for none."""

    key: str
    grantee: str
    operations: frozenset[str]
    kind: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    source: str = ""
    retiring: str = ""
    name: str = ""
    expires: datetime | None = None

    def constraint_holds(self, context: dict[str, str]) -> bool:
        given = {(key.lower(), value) for key, value in context.items()}
        wanted = {(key.lower(), value) for key, value in self.pairs}
        return {"": True, "equals": given == wanted, "subset": all(pair in given for pair in wanted)}[self.kind]

    def is_no_wider(self, parent: Terms) -> bool:
        """Everything that this allows, the parent allows too, and for as long."""
        return (
            self.operations <= parent.operations
            and parent.expires is None
            and (not parent.source or parent.source == self.source)
            and all(parent.constraint_holds(context) for context in CONTEXTS if self.constraint_holds(context))
        )


@dataclass
class Model:
    """All grants that there are, in the order in which they were made: id -> terms."""

    now: datetime
    grants: dict[str, Terms] = field(default_factory=dict)
    home: bool = True  # the namespace is the one in which the keys were made

    def in_time(self, terms: Terms) -> bool:
        return terms.expires is None or self.now < terms.expires

    def allows(self, key: str, who: str, action: str, context: dict[str, str], source: str = "") -> bool:
        """By one of the grants: nothing else gives anybody anything here."""
        for terms in self.grants.values():
            if not self.home or terms.key != key or terms.grantee != who or action not in terms.operations or not self.in_time(terms):
                continue
            if terms.source and terms.source != source:
                continue
            if action in WITHOUT or (action in WITH_CONTEXT and terms.constraint_holds(context)):
                return True
        return False

    def may_create(self, who: str, wanted: Terms, source: str = "") -> bool:
        """By one grant that has CreateGrant; two do not add up."""
        return self.home and any(
            terms.key == wanted.key
            and terms.grantee == who
            and "CreateGrant" in terms.operations
            and (not terms.source or terms.source == source)
            and self.in_time(terms)
            and wanted.is_no_wider(terms)
            for terms in self.grants.values()
        )

    def may_retire(self, who: str, grant_id: str) -> bool:
        """Its retiring principal whenever, its grantee if it has the operation and the time has not come."""
        terms = self.grants[grant_id]
        as_grantee = terms.grantee == who and "RetireGrant" in terms.operations and self.in_time(terms)
        return self.home and (terms.retiring == who or as_grantee)

    def the_same(self, wanted: Terms) -> str | None:
        """The grant that CreateGrant answers again: with a Name, and every other parameter the same."""
        if not wanted.name:
            return None
        return next((grant_id for grant_id, terms in self.grants.items() if terms == wanted), None)

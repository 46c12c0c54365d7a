"""How `kubectl kms` shows its answers: blocks of a few lines for people, or every member as JSON or YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import click

from keystead.cli.kms_services import Considered, ImpactAnswer, Review, Unknown, Verdict, WhoCanAnswer, WhyAnswer
from keystead.cli.output import Format, dump, show_rows


def show_why(answer: WhyAnswer, output: Format) -> None:
    """Verdict first; then what was considered; then what to do."""
    if output is not Format.TABLE:
        dump(plain(answer), output)
        return
    click.echo(f"{answer.verdict.value}: {answer.who}, {answer.action}{f' with {answer.key}' if answer.key else ''}")
    _line("decided by", answer.decided_by)
    _line("because", answer.reason if answer.verdict is not Verdict.UNDECIDED else "")
    _lines("depends on", answer.depends_on)
    _lines("but", answer.obstacles)
    _rows("statement", answer.statements)
    _rows("grant", answer.grants)
    _reviews(answer.reviews)
    _lines("change", answer.changes, blank=True)
    _lines("note", answer.notes, blank=True)
    _lines("unread", answer.unread)


def show_who_can(answer: WhoCanAnswer, output: Format) -> None:
    """Holders, then the Deny statements."""
    if output is not Format.TABLE:
        dump(plain(answer), output)
        return
    rows = [
        {
            "who": holder.who,
            f"may {answer.action}": holder.may.value,
            "through": holder.through,
            "wildcard": holder.wildcard or "-",
            "note": holder.note,
        }
        for holder in answer.holders
    ]
    if rows:
        show_rows(rows, Format.TABLE)
    else:
        click.echo(f"nobody may do {answer.action} with {answer.key}, as far as you may read")
    _rows("deny", answer.denies)
    _lines("but", answer.obstacles, blank=True)
    _lines("note", answer.notes, blank=True)
    _lines("unread", answer.unread, blank=True)


def show_impact(answer: ImpactAnswer, output: Format, *, err: bool = False) -> None:
    """err: talk, beside data of another form."""
    if output is not Format.TABLE:
        dump(plain(answer), output)
        return
    lines = [f"{answer.key}  {answer.key_arn}  {answer.state}", f"last used: {answer.last_used}"]
    lines += _callers(answer)
    lines += [f"{item.kind} {item.namespace}/{item.name}: {item.detail}" for item in answer.dependants]
    lines += _unseen(answer)
    for mount in answer.mounts:
        owner = f" of {mount.owner}" if mount.owner else ""
        lines.append(f"{mount.kind} {mount.namespace}/{mount.name}{owner}: Secret {mount.secret} ({mount.how})")
    if not answer.mounts:
        lines.append("no Pod or workload that you may see has a Secret of its data keys")
    lines += [f"note: {text}" for text in answer.notes] + [f"unread: {text}" for text in answer.unread]
    for line in lines:
        click.echo(line, err=err)


def _unseen(answer: ImpactAnswer) -> list[str]:
    """What was not found, in words that promise nothing where something may be there."""
    if not answer.dependants and not answer.hidden and not answer.unclear:
        return ["nothing points at it"]
    lines = [] if answer.dependants else ["nothing that you may see points at it"]
    for kind, number in answer.hidden.items():
        older = ", or that has older versions under this key" if kind == "KmsDataKey" and answer.unclear else ""
        lines.append(f"and {number} {kind} that you may not see{older}")
    if answer.unclear:
        lines.append(f"of older versions nothing is known yet: KmsDataKey {', '.join(answer.unclear)}")
    return lines


def _callers(answer: ImpactAnswer) -> list[str]:
    if isinstance(answer.callers, Unknown):
        return [f"callers of the last 90 days: {answer.callers.reason}"]
    known = answer.callers
    lines = [f"callers of the last 90 days, of which records reach back to {known.reaches_back}:{'' if known.uses else ' none'}"]
    for use in known.uses:
        counts = ", ".join(f"{name} {count}" for name, count in use.operations.items())
        lines.append(f"  {use.principal}: {counts}; last {use.last}{f'; denied {use.denied}' if use.denied else ''}")
    return lines


def _rows(kind: str, considered: Sequence[Considered]) -> None:
    if not considered:
        return
    click.echo()
    objects = any(item.object for item in considered)
    rows = []
    for item in considered:
        name = f"{item.object} ({item.name[:8]})" if objects else item.name
        rows.append({kind: name, "effect": item.effect, "came to": item.came_to, "why": item.why})
    show_rows(rows, Format.TABLE)


def _reviews(reviews: Iterable[Review]) -> None:
    for review in reviews:
        word = {True: "yes", False: "no", None: "not known"}[review.allowed]
        click.echo(f"\nRBAC: {review.asked}: {word}{f' ({review.reason})' if review.reason else ''}")
        for rule in review.rules:
            wild = f"  [wildcard: {', '.join(rule.wildcard)}]" if rule.wildcard else ""
            click.echo(f"  {rule.binding} of {rule.role}: {rule.rule}{wild}")


def _line(word: str, text: str) -> None:
    if text:
        click.echo(f"{word}: {text}")


def _lines(word: str, texts: Sequence[str], *, blank: bool = False) -> None:
    if texts and blank:
        click.echo()
    for text in texts:
        click.echo(f"{word}: {text}")


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """As JSON: members in camelCase, closed sets as their words."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

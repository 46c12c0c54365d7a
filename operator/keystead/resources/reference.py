"""The reference pages, from the tables of this package. `python -m keystead.resources reference docs/reference` writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from keystead.resources.conditions import CONDITIONS
from keystead.resources.events import EVENTS, TYPICAL, WARNINGS
from keystead.resources.markdown import code, page, table
from keystead.resources.metrics import METRICS
from keystead.resources.names import ANNOTATIONS, FINALIZERS, LABELS, SECRET_TYPES, NameRow
from keystead.resources.reasons import REASONS, Outlook, ReasonRow
from keystead.resources.reference_kinds import kinds_page

_OUTLOOKS: Final = (
    (Outlook.CURRENT, "True", "False", "False", "nothing to do"),
    (Outlook.IN_PROGRESS, "False", "True", "False", "Keystead goes on by itself; a waiting tool waits"),
    (Outlook.WAITING, "Unknown", "False", "False", "paused on purpose"),
    (Outlook.FAILED, "False", "False", "True", "somebody must act; a waiting tool fails at once"),
)

# A command in a remedy: from its first word to what ends it in a sentence.
_COMMAND: Final = re.compile(r"\b(?:kubectl|keystead) .+?(?=[;,]| \(| and | or | shows |\.?$)")


def pages() -> Mapping[str, str]:
    """File name -> text of each page."""
    return {
        "kinds.md": kinds_page(),
        "conditions.md": _conditions(),
        "events.md": _events(),
        "metrics.md": _metrics(),
        "annotations.md": _annotations(),
    }


def _conditions() -> str:
    return page(
        "Conditions and reasons",
        "Every kind has Ready, Reconciling and Stalled, by the rules of kstatus: Flux, Argo CD and `kubectl wait` understand them. "
        "`kubectl describe` shows the reason and a message with the particulars.",
        "## Conditions",
        table(("condition", "kinds", "True means"), ((code(kind), *row) for kind, row in CONDITIONS.items())),
        "## Outlooks",
        "A reason's outlook decides the three.",
        table(("outlook", "Ready", "Reconciling", "Stalled", "what comes next"), _OUTLOOKS),
        "## Reasons",
        table(
            ("reason", "outlook", "heals alone", "meaning", "what to do"),
            ((code(reason), row.outlook, _heals(row), row.meaning, _remedy(row)) for reason, row in REASONS.items()),
        ),
    )


def _heals(row: ReasonRow) -> str:
    if row.heals_within is not None:
        return f"within {row.heals_within} s"
    if row.outlook is Outlook.IN_PROGRESS:
        return "once its cause is gone"
    return "no" if row.outlook is not Outlook.CURRENT else ""


def _remedy(row: ReasonRow) -> str:
    """A remedy with its commands shown as code."""
    return _COMMAND.sub(lambda found: code(found[0]), row.remedy)


def _events() -> str:
    return page(
        "Events",
        "Each is emitted once for what it tells of: a restart or another leader emits the same one, and the API server knows it.",
        table(
            ("event", "type", "kinds", "when"),
            ((code(name), "Warning" if row.warning else "Normal", ", ".join(row.kinds), row.when) for name, row in EVENTS.items()),
        ),
        "A key with a data key, made, looked at ten times and rotated once, emits "
        f"{', '.join(code(name) for name in TYPICAL[:-1])} and {code(TYPICAL[-1])}, and nothing else.",
        "## Warnings of a reason",
        "A reason that stalls an object is also a Warning under its own name, once a generation. What it means and what to type: "
        "[conditions](conditions.md#reasons).",
        "\n".join(f"* {code(reason)}" for reason in WARNINGS),
    )


def _metrics() -> str:
    return page(
        "Metrics",
        "`/metrics` of every replica, in the Prometheus text format. Series of a key vanish with the key. A label never holds a "
        "secret, a blob or a key's id. Where a server has several workers (`server.workers`), each of its samples has the label `worker` "
        "as well: `sum without (worker)`.",
        table(
            ("metric", "type", "labels", "meaning"),
            ((code(name), row.type, ", ".join(map(code, row.labels)), row.meaning) for name, row in METRICS.items()),
        ),
    )


def _annotations() -> str:
    return page(
        "Annotations, labels, finalizer, Secret types",
        "Whoever writes an annotation needs the right to write the object. Where a verb is named, an admission policy asks RBAC for it "
        "as well: on `kmskeys` with the key's name, unless the row says otherwise.",
        "## Annotations",
        _names("annotation", ANNOTATIONS, verbs=True),
        "## Labels",
        _names("label", LABELS),
        "## Finalizer",
        _names("finalizer", FINALIZERS),
        "## Secret types",
        _names("type", SECRET_TYPES),
    )


def _names(what: str, rows: Mapping[str, NameRow], *, verbs: bool = False) -> str:
    head = (what, "on", "meaning", "who writes it", *(("verb",) if verbs else ()))
    return table(
        head, ((code(name), row.on, row.meaning, row.writer, *((row.verb,) if verbs else ())) for name, row in rows.items())
    )

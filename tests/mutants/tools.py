"""Faults of what a person calls: `keystead dev`, the command line, `kubectl kms`. Tried by `make mutants`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MUTANTS = (
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
        "kubectl kms: any name schedules a deletion",
        "operator/keystead/cli/kms.py",
        "if typed != shown.name:",
        "if not typed:",
        ("tests/cli/test_kms.py::test_another_name_than_the_keys_changes_nothing",),
    ),
)

"""Faults of the stores: the API server's objects, the lease, the read model. Tried by `make mutants`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "a revoked grant stays where calls look for it",
        "operator/keystead/store/grant_shelf.py",
        "            offer.drop(entry)",
        "            pass",
        ("tests/store/test_grant_shelf.py",),
    ),
    Mutant(
        "of grants alike one that is over stands before one that is not",
        "operator/keystead/policy/grant_needs.py",
        '"1" + grant.expires_at.translate(_LATER_FIRST)',
        '"1" + grant.expires_at',
        ("tests/store/test_grant_shelf.py",),
    ),
    Mutant(
        "a grant that needs a source is found before one that needs none",
        "operator/keystead/policy/grant_needs.py",
        "            needs.add(_source(source))",
        "            pass",
        ("tests/store/test_grant_shelf.py",),
    ),
    Mutant(
        "a crowd of grants is looked at one by one",
        "operator/keystead/store/grant_shelf.py",
        "            if len(filed) > FEW:",
        "            if False:",
        ("tests/store/test_grant_shelf.py",),
    ),
    Mutant(
        "of a crowd of grants the wrong one is found",
        "operator/keystead/store/sieve.py",
        "                lacking |= bits",
        "                lacking &= bits",
        ("tests/store/test_grant_shelf.py",),
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
        "a write changes the object that has the name now",
        "operator/keystead/store/writes.py",
        '    if found["metadata"]["uid"] != target.uid:',
        "    if False:",
        ("tests/store/test_kube_writer_fences.py",),
    ),
    Mutant(
        "Keystead's own keys are found by whoever asks",
        "operator/keystead/store/model.py",
        "return isinstance(record, KeyRecord | AliasRecord | GrantRecord) and is_own(record.namespace)",
        "return False",
        ("tests/operations/control/test_own_keys.py",),
    ),
    Mutant(
        "of every token that is not for us the API server is asked once more",
        "operator/keystead/store/reviews.py",
        "not found.expired and is_for_us(token)",
        "not found.expired",
        ("tests/store/test_bearer.py",),
    ),
    Mutant(
        "a token of a ServiceAccount for the API server is its Bearer",
        "operator/keystead/store/reviews.py",
        "return NotBearer() if isinstance(found, Bearer) and found.user.startswith(SERVICE_ACCOUNT) else found",
        "return found",
        ("tests/store/test_bearer.py",),
    ),
)

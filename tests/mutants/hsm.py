"""Faults of the token's own part: padding, unwrapped material. Tried by `make mutants`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "OAEP padding not checked",
        "operator/keystead/hsm/oaep.py",
        "    if not good:",
        "    if False:",
        ("tests/hsm", "-k", "oaep and not kryoptic"),
    ),
    Mutant(
        "material id not checked after unwrap",
        "operator/keystead/hsm/vault.py",
        "            if not hmac.compare_digest(found[:32], material.material_id):",
        "            if False:",
        ("tests/hsm/test_port_suite.py", "-k", "not kryoptic"),
    ),
)

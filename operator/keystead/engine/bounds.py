"""How many there may be: AWS KMS, 'Resource quotas' (2026). Asked by operations (the API) and by the plans (kubectl apply).

A bound is no promise to the last one: what is made at the same moment, by several replicas or workers, can each be the last that fits.
"""

from __future__ import annotations

from typing import Final

KEYS_PER_NAMESPACE: Final = 100_000
"""Keys in an account, whatever their state; tombstones and AWS managed keys are none. A setting says otherwise."""
ALIASES_PER_KEY: Final = 50
"""Aliases of a key."""
GRANTS_PER_KEY: Final = 50_000
"""Grants of a key."""

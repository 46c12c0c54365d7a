"""The use cases: one generator function an API operation, one pipeline to a key (operations.pipeline).

Called by the front doors (CLI, server, reconciler) through `registry.OPERATIONS` or by name, and run by a driver. What
may never enter: I/O, a clock, randomness, logging; they arrive in `World` or as the answer to an effect.
"""

from keystead.operations.effects import Effect, Need, Running, Slow, drive
from keystead.operations.refusals import DryRunError
from keystead.operations.registry import OPERATIONS, OperationRow
from keystead.operations.world import Keys, World

__all__ = [
    "OPERATIONS",
    "DryRunError",
    "Effect",
    "Keys",
    "Need",
    "OperationRow",
    "Running",
    "Slow",
    "World",
    "drive",
]

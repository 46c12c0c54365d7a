"""The pure domain: key specs and states, byte layouts, sealed records, plans and the ports to the outside.

Called by operations, reconciler, hsm and store. What may never enter: I/O, a clock, randomness, the environment,
logging. They arrive as arguments or through the ports in `engine.ports`.
"""

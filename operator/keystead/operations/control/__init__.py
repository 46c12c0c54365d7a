"""The control plane: one generator an operation, which never writes a record (RESOURCES, API calls as writes).

An operation yields `Change(write, done)`: a writer changes the custom resource, the operator (the same plan in a cluster and in
`keystead dev`) writes the record, `done` sees it in the read model. Called by the server's door through `registry.CONTROL`. What may never
enter: I/O, a clock, randomness, logging, and any way to a record but the read model.
"""

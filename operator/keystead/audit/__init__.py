"""The audit trail: what is written down of each call, how it is chained, and where it goes. Beside server, store and cli.

    table       what of each operation's request and answer may be written, and what never
    cloudtrail  from an event to the texts of its records, each for one account
    shape       a record, in CloudTrail's shape; usual: of a call like its caller's last one
    text        JSON, and what of others' texts a record may have
    sessions    what is written of STS; sides: what each of two accounts may read of a call between them
    lines       the chain: one line a record, each with the hash of the one before
    journal     takes events, hands lines to sinks, tells when they are durable; fails closed
    checkpoints the signed lines, which vouch for those before; rules: what the journal waits for, and how long
    flush       the thread of one sink
    sinks       standard output and files with rotation; folder: what lies in a folder, and retention; keeping: the housekeeping
    press       one standard output for several processes
    reserve     room on the disk that retention alone may use
    reading/    verify, search, summary

What may never enter a record: a plaintext, a blob, a data key, a token of any kind, a secret, the Authorization header.
The format: docs/reference/audit-format.md.
"""

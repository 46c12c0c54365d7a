"""The reading side of the audit trail: verify, search, summary, and what tenants read of their own keys.

It knows the files only (docs/audit.md, Files), never the writer: what was changed on a disk must be found by somebody else's code.
"""

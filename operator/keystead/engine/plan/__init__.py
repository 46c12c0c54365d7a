"""Plans: one pure function a kind turns (resource, record, now) into work. Steps are data; the reconciler carries them out.

`dev` drives the same functions without a cluster. Nothing here writes, waits or generates.
"""

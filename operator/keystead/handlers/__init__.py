"""Kopf, and nothing else: events of the four kinds into the reconciler's feed. The only user of kopf."""

"""The composition root: the only place that wires settings, token, store and front doors together."""

"""Fixtures that every suite shares: the cluster and its powers (tests/cluster/plugin.py), Keystead in it (tests/operator/plugin.py)."""

pytest_plugins = ["tests.cluster.plugin", "tests.operator.plugin"]

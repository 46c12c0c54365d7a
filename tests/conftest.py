"""Fixtures that every suite shares. The cluster's fixture and its powers: tests/cluster/plugin.py."""

pytest_plugins = ["tests.cluster.plugin"]

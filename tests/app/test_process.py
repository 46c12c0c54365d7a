"""What a serving process asks of the machine."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator

import pytest

from keystead.app.process import freeze_memory, raise_file_limit


@pytest.fixture
def few_files() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(soft, 512)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_may_open_as_many_files_as_the_machine_allows(few_files: int) -> None:
    assert raise_file_limit() == few_files
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few_files, few_files)


def test_what_was_there_at_the_start_is_not_looked_at_again() -> None:
    kept = [[] for _ in range(1000)]
    freeze_memory()
    try:
        assert gc.get_freeze_count() > len(kept)
        assert not any(known is kept[0] for known in gc.get_objects())
    finally:
        gc.unfreeze()

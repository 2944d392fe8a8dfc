"""A process that runs a strategy has a memory limit of the machine's, or of its control group's."""

import os
from pathlib import Path

import pytest

from workers.processes import memory_limit
from workers.processes.memory_limit import _limits_above, default_limit


@pytest.fixture
def fresh():
    default_limit.cache_clear()
    yield
    default_limit.cache_clear()


def test_it_is_half_of_the_machine_s_memory_at_most(fresh) -> None:
    assert 0 < default_limit() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def test_it_is_half_of_what_a_container_has(fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "_control_group_limits", lambda: iter([1 << 60, 512_000_000]))

    assert default_limit() == 256_000_000


def test_the_limits_of_all_groups_around_it_count(tmp_path: Path) -> None:
    inner = tmp_path / "system.slice" / "worker.service"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("2000000\n")
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path.parent / "memory.max").write_text("1\n")

    assert [*_limits_above(inner, tmp_path, "memory.max")] == [2_000_000, 3_000_000]

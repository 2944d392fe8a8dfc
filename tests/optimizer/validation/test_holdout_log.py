"""Holdout log."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from optimizer.validation.holdout_log import HOLDOUT, LOG_NAME, log_access, read_holdout_log
from tradeschool.errors import StoreUnwritable

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_each_holdout_look_is_one_line_in_order(tmp_path: Path) -> None:
    assert log_access(tmp_path, "validation", level="1", attempt=1, trials=[3, 5], now=NOW)
    assert log_access(tmp_path, "test", level="1", attempt=1, trials=[5], now=NOW)
    assert log_access(tmp_path, HOLDOUT, level=None, attempt=None, trials=[5], now=NOW)

    assert [(line["part"], line["level"], line["trials"]) for line in read_holdout_log(tmp_path)] == [
        ("validation", "1", [3, 5]),
        ("test", "1", [5]),
        ("holdout", None, [5]),
    ]


def test_a_look_interrupted_by_a_kill_is_logged_once(tmp_path: Path) -> None:
    log_access(tmp_path, "test", level="1", attempt=1, trials=[5], now=NOW)

    assert not log_access(tmp_path, "test", level="1", attempt=1, trials=[5], now=NOW)
    assert log_access(tmp_path, "test", level="1", attempt=2, trials=[5], now=NOW)
    assert len((tmp_path / LOG_NAME).read_text().splitlines()) == 2


def test_a_truncated_line_damages_no_other(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text('{"time": "2026-01-01", "par')

    log_access(tmp_path, "test", level="1", attempt=1, trials=[5], now=NOW)

    assert [line["part"] for line in read_holdout_log(tmp_path)] == ["test"]


def test_a_failed_log_write_prevents_the_look(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).mkdir()

    with pytest.raises(StoreUnwritable):
        log_access(tmp_path, "test", level="1", attempt=1, trials=[5], now=NOW)

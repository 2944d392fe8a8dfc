"""Holdout log."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from optimizer.level.spec import Part
from optimizer.validation.holdout_log import (
    HOLDOUT,
    LOG_NAME,
    holdout_days,
    log_access,
    looked_at,
    part_days,
    read_holdout_log,
)
from tests.factories.levels import level_of
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


BTC, EUR = "coinbase:BTC/USD", "oanda:EUR/USD"


def test_each_day_has_the_number_of_its_looks(tmp_path: Path) -> None:
    looks = (
        (
            "validation",
            1,
            [3, 5],
            [(BTC, date(2021, 1, 1), date(2021, 3, 1)), (EUR, date(2021, 1, 1), date(2021, 2, 1))],
        ),
        ("test", 1, [5], [(BTC, date(2021, 3, 1), date(2021, 4, 1))]),
        ("validation", 2, [7, 8, 9], [(BTC, date(2021, 2, 1), date(2021, 4, 1))]),
    )
    for part, attempt, trials, days in looks:
        log_access(tmp_path, part, level="1", attempt=attempt, trials=trials, now=NOW, days=days)

    found = looked_at(read_holdout_log(tmp_path))

    assert [(each.market, str(each.start), str(each.end), each.looks, each.parameter_sets) for each in found] == [
        (BTC, "2021-01-01", "2021-02-01", 1, 2),
        (BTC, "2021-02-01", "2021-03-01", 2, 5),
        (BTC, "2021-03-01", "2021-04-01", 2, 4),
        (EUR, "2021-01-01", "2021-02-01", 1, 2),
    ]
    assert found[2].parts == ("test", "validation")
    assert found[0].to_json()["start"] == "2021-01-01"


def test_timeframes_of_one_market_are_one_look(tmp_path: Path) -> None:
    level = level_of(("coinbase/BTC-USD/H1", "coinbase/BTC-USD/H1"))
    log_access(tmp_path, "test", level="1", attempt=1, trials=[5], now=NOW, days=part_days(level, Part.TEST)[:1] * 2)

    (found,) = looked_at(read_holdout_log(tmp_path))
    assert found.looks == 1


def test_the_days_of_the_holdout_period_are_those_of_each_market() -> None:
    level = level_of(("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1"))

    assert holdout_days(level) == [(market, date(2024, 4, 1), date(2025, 1, 1)) for market in (BTC, EUR)]


@pytest.mark.parametrize("days", [None, "x", [1], [["a", "b"]], [["a", "2021-01-01", "soon"]], [[1, 2, 3]]])
def test_an_entry_without_readable_days_is_not_counted(days: object) -> None:
    assert looked_at([{"part": "test", "trials": [1], "days": days}]) == []

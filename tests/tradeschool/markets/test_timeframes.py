from itertools import pairwise

import pytest

from tradeschool.errors import SettingsError
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe, find_timeframe, find_timeframes

SPELLINGS = {
    Timeframe.M1: ("M1", "m1", "1m", "1min", "1", "60s", "1 minute", "PERIOD_M1", "1t"),
    Timeframe.M5: ("M5", "m5", "5m", "5M", "5min", "5", "300s", "05m"),
    Timeframe.M15: ("M15", "m15", "15m", "15", "15min", "900s"),
    Timeframe.M30: ("M30", "30m", "30", "30minutes"),
    Timeframe.H1: ("H1", "h1", "1h", "1H", "60m", "60", "M60", "hourly", "1hour", "H"),
    Timeframe.H4: ("H4", "h4", "4h", "4H", "240", "240m", "4 hours", "M240"),
    Timeframe.D1: ("D1", "d1", "1d", "1D", "D", "1440", "24h", "daily", "1day", "PERIOD_D1"),
}


@pytest.mark.parametrize(
    ("text", "timeframe"), [(text, timeframe) for timeframe, texts in SPELLINGS.items() for text in texts]
)
def test_a_timeframe_is_found_as_people_write_it(text: str, timeframe: Timeframe) -> None:
    assert find_timeframe(text) is timeframe
    assert find_timeframe(f" {text} ") is timeframe


@pytest.mark.parametrize("timeframe", Timeframe)
def test_name_and_alias_are_the_timeframe(timeframe: Timeframe) -> None:
    assert find_timeframe(timeframe.name) is find_timeframe(timeframe.alias) is timeframe


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("2h", "H1 or H4"),
        ("M3", "M1 or M5"),
        ("90m", "H1 or H4"),
        ("10s", "M1"),
        ("1w", "D1"),
        ("1M", "D1"),
        ("MN1", "D1"),
        ("6h", "H4 or D1"),
        ("H1m", "H1"),
        ("M", "M1"),
        ("1y", "M1"),
        ("", "M1"),
        ("99999999999999", "M1"),
    ],
)
def test_an_unknown_timeframe_is_told_with_the_nearest_and_all(text: str, nearest: str) -> None:
    with pytest.raises(SettingsError) as raised:
        find_timeframe(text)

    told = str(raised.value)
    assert told.startswith(f"unknown timeframe {text!r}, nearest ")
    if text not in ("", "M", "1y", "99999999999999"):
        assert f"nearest {nearest}: " in told
    assert told.endswith("M1 (1m), M5 (5m), M15 (15m), M30 (30m), H1 (1h), H4 (4h), D1 (1d)")
    assert "\n" not in told


def test_a_list_of_timeframes_is_in_order_and_without_repetition() -> None:
    assert find_timeframes("1d, M5,5m,h1") == (Timeframe.M5, Timeframe.H1, Timeframe.D1)


def test_each_timeframe_divides_the_next_one() -> None:
    lengths = [timeframe.seconds for timeframe in Timeframe]

    assert lengths == sorted(lengths)
    assert all(longer % shorter == 0 for shorter, longer in pairwise(lengths))


def test_an_hour_has_at_least_one_bar() -> None:
    assert [timeframe.bars_an_hour for timeframe in Timeframe] == [60, 12, 4, 2, 1, 1, 1]


def test_the_default_timeframes_are_three() -> None:
    assert [timeframe.name for timeframe in DEFAULT_TIMEFRAMES] == ["M5", "M15", "H1"]

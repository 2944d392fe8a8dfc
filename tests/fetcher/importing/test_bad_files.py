"""A damaged file is refused in one line that names the file and the line, and nothing is stored."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fetcher.importing.importer import ImportResult
from tests.factories.candle_files import START, strftime, table, times, unix, written
from tradeschool.atomic_files import is_swept
from tradeschool.errors import InvalidCandles, SettingsError, TradeschoolError
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.store.frame_store import FrameStore

Import = Callable[..., ImportResult]
BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
HEADER = "ts,open,high,low,close,volume"
SPRING, AUTUMN = datetime(2024, 3, 10, 6, 30, tzinfo=UTC), datetime(2024, 11, 3, 4, 30, tzinfo=UTC)


def lines() -> list[str]:
    return [HEADER, *table(times(12), unix())]


def damaged(at: int, damage: Callable[[str], str]) -> list[str]:
    """The lines of a sound file with one of them damaged."""
    every = lines()
    every[at - 1] = damage(every[at - 1])
    return every


def moved(at: int, to: int) -> list[str]:
    every = lines()
    every.insert(to - 1, every.pop(at - 1))
    return every


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (damaged(7, lambda line: line[:24]), "x.csv, line 7: has 3 of 6 fields: the row is cut off"),
        (damaged(13, lambda line: line[:24]), "x.csv, line 13: has 3 of 6 fields: the row is cut off"),
        (damaged(7, lambda line: line.replace(",", ";")), "x.csv, line 7: is separated by ';', the lines"),
        (damaged(7, lambda line: line.replace(",", "\t")), "x.csv, line 7: is separated by '\\t', the lines before"),
        (damaged(7, lambda line: HEADER), "x.csv, line 7: repeats the header; remove it"),
        (damaged(2, lambda line: line[:24]), "x.csv, line 2: has 3 fields, expected 6"),
        (damaged(7, lambda line: line.replace("100.05", "100.x")), "x.csv, line 7: open '100.x': expected a number"),
        (damaged(7, lambda line: line.replace("100.05", "")), "x.csv, line 7: open is missing"),
        (damaged(7, lambda line: line.replace("100.05", "NaN")), "x.csv, line 7: open must be a finite number"),
        (damaged(7, lambda line: line.replace("100.05", "inf")), "x.csv, line 7: open must be a finite number"),
        (damaged(7, lambda line: line.replace("99.98", "-99.98")), "x.csv, line 7: low must be positive"),
        (damaged(7, lambda line: line.replace("99.98", "0")), "x.csv, line 7: low must be positive"),
        (damaged(7, lambda line: line.replace("100.14", "90")), "x.csv, line 7: low must be the lowest price"),
        (damaged(7, lambda line: line.replace("100.14", "100")), "x.csv, line 7: high must be the highest price"),
        (damaged(7, lambda line: line[:-1] + "-6"), "x.csv, line 7: volume must not be negative"),
        (damaged(7, lambda line: line.replace("100.14", '"1,100.14"')), "line 7: high '1,100.14' has a thousands"),
        (damaged(7, lambda line: line.replace("100.14", "1 100.14")), "x.csv, line 7: high '1 100.14' has a thousands"),
        (damaged(7, lambda line: "noon" + line[10:]), "x.csv, line 7: time 'noon': expected"),
        (damaged(7, lambda line: line[10:]), "x.csv, line 7: the time is missing"),
        (damaged(7, lambda line: "9" + line[1:]), "x.csv, line 7: time '9704155100' is not in 1900..2200"),
        ([*lines(), lines()[-1]], "x.csv, line 14: the time 2024-01-02 00:55:00 is that of line 13 again"),
        (moved(9, 5), "x.csv, line 6: the time 2024-01-02 00:15:00 is before that of line 5"),
        ([HEADER, *lines()[:1:-1], lines()[-1]], "line 13: the time 2024-01-02 00:55:00 is after that of line 12"),
        (["", ""], "x.csv: is empty; expected candles"),
        ([HEADER], "x.csv: has no candles after its header"),
        (["<html>", "<body>no such file</body>"], "x.csv: is no table with at least 5 columns"),
    ],
    ids=[
        *("cut", "cut at the end", "semicolons", "tabs", "header", "first row", "no number", "no value", "NaN"),
        *("infinite", "negative", "zero", "high below low", "high below open", "negative volume", "thousands"),
        *("thousands with spaces", "no time", "time missing", "time range", "doubled", "unsorted", "newest first"),
        *("blank", "header only", "page"),
    ],
)  # fmt: skip
def test_a_damaged_file(tmp_path: Path, store: FrameStore, run_import: Import, body: list[str], told: str) -> None:
    path = written(tmp_path / "x.csv", body)
    with pytest.raises(InvalidCandles) as caught:
        run_import(path, dataset=BTC)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    assert store.seals(BTC) == []
    assert not list(store.root.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (SPRING, "x.csv, line 4: the time 2024-03-10 02:00:00 does not exist in America/New_York"),
        (AUTUMN, "x.csv, line 4: the time 2024-11-03 01:00:00 exists twice in America/New_York"),
    ],
)
def test_local_times_around_a_change_of_the_clock(
    tmp_path: Path, run_import: Import, start: datetime, told: str
) -> None:
    """A clock that ignores the change: a quarter of an hour after the other, also where an hour is skipped."""
    offset = start.hour - (1 if start is SPRING else 0)
    moments = times(12, 900, start.replace(hour=1 if start is SPRING else 0))
    assert offset in (5, 4)
    path = written(tmp_path / "x.csv", [HEADER, *table(moments, strftime("%Y-%m-%d %H:%M"))])

    with pytest.raises(InvalidCandles, match=told):
        run_import(path, dataset=BTC.at(Timeframe.M15), zone="America/New_York")


def test_of_many_files_one_is_damaged(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    """Files of two pairs: what comes before the damaged one is not stored either."""
    for name in ("BTCUSD", "ETHUSD"):
        written(tmp_path / "coinbase" / f"{name}_1.csv", lines())
    written(
        tmp_path / "coinbase" / "ETHUSD_2.csv", [HEADER, *table(times(12, start=START.replace(day=3)), unix()), "x"]
    )

    with pytest.raises(InvalidCandles, match=r"ETHUSD_2\.csv, line 14: has 1 of 6 fields"):
        run_import(tmp_path / "coinbase")
    assert not list(store.root.rglob("*.parquet"))
    assert not list(store.root.rglob("*.json"))
    assert is_swept(store.root)


def test_files_of_two_pairs_are_two_datasets(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    for name in ("BTCUSD", "ETHUSD"):
        written(tmp_path / "coinbase" / f"{name}_1.csv", lines())
    found = [each.ready.dataset.name for each in run_import(tmp_path / "coinbase").datasets]

    assert found == ["coinbase/BTC-USD/M5", "coinbase/ETH-USD/M5"]
    assert is_swept(store.root)


def test_files_of_two_pairs_are_not_one_dataset(tmp_path: Path, run_import: Import) -> None:
    for name in ("BTCUSD", "ETHUSD"):
        written(tmp_path / "coinbase" / f"{name}_1.csv", lines())

    with pytest.raises(InvalidCandles, match=r"ETHUSD_1\.csv: is named ETH/USD, but .*BTCUSD_1\.csv is named BTC/USD"):
        run_import(tmp_path / "coinbase", dataset=BTC)


def test_the_same_candle_in_two_files_is_used_once(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    written(tmp_path / "in" / "month.csv", lines())
    written(tmp_path / "in" / "day.csv", lines()[:6])
    (dataset,) = run_import(tmp_path / "in", dataset=BTC).datasets

    assert dataset.ready.rows == 12
    assert dataset.notes == ("5 candles of 2024 are in two files alike; each was used once",)


def test_the_same_time_with_other_prices_in_two_files_is_told(tmp_path: Path, run_import: Import) -> None:
    written(tmp_path / "in" / "a.csv", lines())
    written(tmp_path / "in" / "b.csv", [HEADER, *table(times(3), unix(), level=100.5)])

    with pytest.raises(
        InvalidCandles, match=r"b\.csv, line 2: the candle 2024-01-02 00:00 is also in .*a\.csv, line 2"
    ):
        run_import(tmp_path / "in", dataset=BTC)


@pytest.mark.parametrize(
    ("level", "start", "is_refused"),
    [
        (200.0, START.replace(hour=1), True),
        (120.0, START.replace(hour=1), False),
        (200.0, START.replace(month=3), False),
        (900.0, START.replace(month=3), True),
        (200.0, START.replace(year=2023), False),
        (900.0, START.replace(year=2023), False),
        (90_000.0, START.replace(year=2023), True),
    ],
    ids=[
        "twice, next hour",
        "near, next hour",
        "twice, later",
        "nine times, later",
        "twice, before",
        "nine times, a year before",
        "nine hundred times, a year before",
    ],
)
def test_prices_are_compared_with_stored_ones(
    tmp_path: Path, store: FrameStore, run_import: Import, level: float, start: datetime, is_refused: bool
) -> None:
    run_import(written(tmp_path / "a.csv", lines()), dataset=BTC)
    path = written(tmp_path / "b.csv", [HEADER, *table(times(12, start=start), unix(), level=level)])
    if not is_refused:
        run_import(path, dataset=BTC)
        assert len(store.seals(BTC)) == 2
        return

    with pytest.raises(InvalidCandles, match=r"b\.csv, line (2|13): prices of about .* is it a file of another pair"):
        run_import(path, dataset=BTC)
    assert len(store.seals(BTC)) == 1


def test_another_pair_of_fx_is_recognised_at_the_same_time(tmp_path: Path, run_import: Import) -> None:
    """Prices of GBP/USD are 16 % above those of EUR/USD; another timeframe is compared, too."""
    eur = Dataset(instrument=EUR_USD, timeframe=Timeframe.M5)
    run_import(
        written(tmp_path / "a.csv", [HEADER, *table(times(12), unix(), level=1.09, digits=5)]),
        dataset=eur,
        spread_pips=1.0,
    )
    path = written(tmp_path / "b.csv", [HEADER, *table(times(12, 900), unix(), level=1.27, digits=5)])

    with pytest.raises(InvalidCandles, match=r"differ by a factor of 1\.1[67] from the 1\.09\d* of oanda/EUR-USD/M5"):
        run_import(path, dataset=eur.at(Timeframe.M15), spread_pips=1.0)


def test_a_wrong_import_can_be_replaced_by_the_right_one(tmp_path: Path, run_import: Import) -> None:
    run_import(written(tmp_path / "a.csv", lines()), dataset=BTC)
    right = written(tmp_path / "b.csv", [HEADER, *table(times(12), unix(), level=5000.0)])

    assert run_import(right, dataset=BTC).datasets[0].seal


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({}, SettingsError, "the file name says no known instrument: give --dataset"),
        ({"dataset": BTC, "zone": "UTC"}, SettingsError, "times such as 1704153600 are in UTC already; omit it"),
        ({"dataset": BTC, "columns": "ts=0,open=9"}, SettingsError, "has no column '9'; found ts, open"),
        ({"dataset": BTC, "columns": "when=0"}, SettingsError, "expected NAME=COLUMN with NAME of ts, open"),
        ({"dataset": BTC, "columns": "open=0+1"}, SettingsError, "only ts may have two columns"),
        ({"dataset": BTC, "spread_pips": 1.0}, SettingsError, "has no spread; omit the option"),
        ({"pair": "BTC/USD", "resample": True}, SettingsError, "give the timeframe to make, such as --timeframe H1"),
        ({"pair": "NO/PAIR"}, SettingsError, "unknown pair"),
        ({"tick": "0.01"}, SettingsError, "the file name says no pair: give it with --tick"),
        ({"pair": "SOL/USD", "tick": "x"}, SettingsError, "tick"),
        ({"dataset": BTC.at(Timeframe.H1)}, InvalidCandles, "300 s apart, expected 3600 s; add --resample to make H1"),
        ({"dataset": BTC, "now": START}, InvalidCandles, "line 3: the time 2024-01-02 00:05 UTC is in the future"),
    ],
    ids=[
        *("no pair", "zone", "no column", "no meaning", "two columns", "spread", "timeframe", "pair", "tick alone"),
        *("tick", "finer", "future"),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit(
    tmp_path: Path, store: FrameStore, run_import: Import, options: dict, error: type[TradeschoolError], told: str
) -> None:
    path = written(tmp_path / "x.csv", lines())
    with pytest.raises(error) as caught:
        run_import(path, **options)

    assert told in str(caught.value)
    assert not list(store.root.rglob("*.*"))


@pytest.mark.parametrize(
    ("rows", "given", "is_read"),
    [
        (["1,10;1,20;1,05;1,15", "1,101;1,202;1,05;1,151"], None, True),
        (["1,100;1,200;1,050;1,150", "0,900;1,200;0,850;1,150"], None, True),
        (["1,100;1,200;1,050;1,150", "1,101;1,202;1,051;1,151"], None, False),
        (["1,100;1,200;1,050;1,150", "1,101;1,202;1,051;1,151"], ",", True),
        (["1.100,5;1.200,5;1.050,5;1.150,5"], None, False),
        (["1.100,5;1.200,5;1.050,5;1.150,5"], ",", False),
    ],
    ids=["two decimals", "less than one", "three decimals", "three, given", "thousands", "thousands, given"],
)
def test_a_decimal_comma_is_certain_or_refused(
    tmp_path: Path, run_import: Import, rows: list[str], given: str | None, is_read: bool
) -> None:
    header = HEADER.replace(",", ";")
    body = [f"{unix()(moment)};{row};5" for moment, row in zip(times(2), rows, strict=False)]
    path = written(tmp_path / "x.csv", [header, *body])
    if is_read:
        result = run_import(path, dataset=BTC, decimal_mark=given)
        assert result.datasets[0].files[0].first["high"] == pytest.approx(1.2)
        return

    with pytest.raises(InvalidCandles, match=r"x\.csv, line 2: .*--decimal-mark ','"):
        run_import(path, dataset=BTC, decimal_mark=given)

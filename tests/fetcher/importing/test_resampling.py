"""Candles of a shorter timeframe become those of a longer one, across batches and files."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from fetcher.importing.files.csv_table import CsvTable
from fetcher.importing.importer import ImportResult
from tests.factories.candle_files import START, table, times, unix, written
from tradeschool.errors import InvalidCandles
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import FindingKind
from tradeschool.store.frame_store import FrameStore

Import = Callable[..., ImportResult]
BTC = Dataset(instrument=BTC_USD, timeframe=Timeframe.M5)
HEADER = "ts,open,high,low,close,volume"
MINUTES = table(times(61, 60), unix())


def candles(result: ImportResult, store: FrameStore) -> pl.DataFrame:
    (dataset,) = result.datasets
    return store.candles(dataset.ready.dataset, dataset.ready.window).frame


def expected(minutes: int = 60) -> list[tuple[float, ...]]:
    """Open, high, low, close and volume of each five rows that `table` wrote."""
    found = []
    for at in range(0, minutes, 5):
        prices = (100 + at / 100, 100 + (at + 13) / 100, 100 + (at - 7) / 100, 100 + (at + 5) / 100)
        found.append((*(round(price, 2) for price in prices), float(sum(range(at + 1, at + 6)))))
    return found


def test_a_last_candle_without_all_its_rows_is_left_out(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    result = run_import(written(tmp_path / "x.csv", [HEADER, *MINUTES]), dataset=BTC, resample=True)

    assert candles(result, store).drop("ts").rows() == expected()
    (finding,) = result.datasets[0].ready.findings
    assert finding.kind is FindingKind.UNFINISHED
    assert finding.message == "left out 2024-01-02 01:00, because the file has 1 of its 5 candles"


def test_a_first_candle_without_its_begin_is_left_out(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    result = run_import(written(tmp_path / "x.csv", [HEADER, *MINUTES[2:60]]), dataset=BTC, resample=True)

    assert candles(result, store).drop("ts").rows() == expected()[1:]


@pytest.mark.parametrize("is_newest_first", [False, True])
@pytest.mark.parametrize("cut", [1, 7, 23, 60])
def test_a_candle_may_begin_in_one_file_and_end_in_the_next(
    tmp_path: Path, store: FrameStore, run_import: Import, cut: int, is_newest_first: bool
) -> None:
    for name, part in (("b", MINUTES[:cut]), ("a", MINUTES[cut:])):
        written(tmp_path / "in" / f"{name}.csv", [HEADER, *(part[::-1] if is_newest_first else part)])
    result = run_import(tmp_path / "in", dataset=BTC, resample=True)

    assert candles(result, store).drop("ts").rows() == expected()


@pytest.mark.parametrize("is_newest_first", [False, True])
@pytest.mark.parametrize("size", [100, 1_000, 10_000])
def test_a_candle_may_begin_in_one_block_and_end_in_the_next(
    tmp_path: Path,
    store: FrameStore,
    run_import: Import,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    is_newest_first: bool,
) -> None:
    monkeypatch.setattr(CsvTable.__init__, "__defaults__", (size,))
    lines = MINUTES[::-1] if is_newest_first else MINUTES
    result = run_import(written(tmp_path / "x.csv", [HEADER, *lines]), dataset=BTC, resample=True)

    assert candles(result, store).drop("ts").rows() == expected()


def test_missing_rows_inside_do_not_leave_a_candle_out(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    lines = [*MINUTES[:11], *MINUTES[14:20], *MINUTES[25:60]]
    frame = candles(run_import(written(tmp_path / "x.csv", [HEADER, *lines]), dataset=BTC, resample=True), store)

    assert frame["volume"].to_list()[2] == 11 + 15
    assert frame["ts"].diff().max().total_seconds() == 600


def test_the_same_rows_in_two_files_count_once(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    for name in ("a", "b"):
        written(tmp_path / "in" / f"{name}.csv", [HEADER, *MINUTES[:60]])
    result = run_import(tmp_path / "in", dataset=BTC, resample=True)

    assert candles(result, store).drop("ts").rows() == expected()


def test_rows_of_two_files_that_overlap_are_refused(tmp_path: Path, run_import: Import) -> None:
    for name, part in (("a", MINUTES[:32]), ("b", MINUTES[31:60])):
        written(tmp_path / "in" / f"{name}.csv", [HEADER, *part])

    with pytest.raises(
        InvalidCandles, match=r"b\.csv, line 2: the candle 2024-01-02 00:30 is also in .*a\.csv, line 32"
    ):
        run_import(tmp_path / "in", dataset=BTC, resample=True)


def test_seven_minutes_do_not_make_an_hour(tmp_path: Path, run_import: Import) -> None:
    path = written(tmp_path / "x.csv", [HEADER, *table(times(30, 420), unix())])

    with pytest.raises(InvalidCandles, match="candles 420 s apart cannot be resampled to 3600 s"):
        run_import(path, dataset=BTC.at(Timeframe.H1), resample=True)


def test_a_candle_that_a_range_cuts_is_left_out(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    window = Window(START.replace(minute=2), START.replace(minute=28))
    path = written(tmp_path / "x.csv", [HEADER, *MINUTES])
    frame = candles(run_import(path, dataset=BTC, resample=True, window=window), store)

    assert frame.drop("ts").rows() == expected()[1:5]


@pytest.mark.parametrize("summer", [datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 10, 25, tzinfo=UTC)])
@pytest.mark.parametrize("timeframe", [Timeframe.H4, Timeframe.D1])
def test_days_of_fx_begin_at_five_in_new_york(
    tmp_path: Path, store: FrameStore, run_import: Import, timeframe: Timeframe, summer: datetime
) -> None:
    """Over a change of the clock, hours of the market's opening times make whole candles at its hours."""
    h1 = Dataset(instrument=EUR_USD, timeframe=Timeframe.H1)
    hours = expected_slots(h1, Window(summer, summer + timedelta(days=21)))
    moments = [datetime.fromtimestamp(time, UTC) for time in hours.tolist()]
    path = written(tmp_path / "x.csv", [HEADER, *table(moments, unix(), level=1.1, digits=5)])
    result = run_import(path, dataset=h1.at(timeframe), resample=True, spread_pips=1.0)
    ready = result.datasets[0].ready
    local = [time.astimezone(ZoneInfo("America/New_York")).hour for time in candles(result, store)["ts"]]

    assert set(local) == ({17} if timeframe is Timeframe.D1 else {17, 21, 1, 5, 9, 13})
    assert ready.gaps == ()
    assert ready.rows == ready.expected
    assert candles(result, store)["volume"].sum() <= sum(range(1, len(moments) + 1))


def test_minutes_are_a_timeframe_of_their_own(tmp_path: Path, run_import: Import) -> None:
    result = run_import(written(tmp_path / "coinbase" / "btcusd_1-min.csv", [HEADER, *MINUTES]))

    assert (result.datasets[0].ready.dataset, result.datasets[0].ready.rows) == (BTC.at(Timeframe.M1), 61)


def test_years_are_read_written_and_inspected_one_by_one(
    tmp_path: Path, store: FrameStore, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No frame of more than a year and a week is inspected or written, and a gap over New Year is one gap."""
    hours = times(3 * 8_784, 3600, datetime(2021, 3, 1, tzinfo=UTC))
    lines = [
        line
        for at, line in zip(hours, table(hours, unix()), strict=True)
        if (at.month, at.day) not in {(12, 31), (1, 1)}
    ]
    largest = []
    real = FrameStore.write_year

    def write_year(self, candles, window: Window, year: int):
        largest.append(len(candles))
        return real(self, candles, window, year)

    monkeypatch.setattr(FrameStore, "write_year", write_year)
    result = run_import(written(tmp_path / "x.csv", [HEADER, *lines]), dataset=BTC.at(Timeframe.H1))
    ready = result.datasets[0].ready

    assert len(largest) == 4
    assert max(largest) <= 366 * 24
    assert sum(largest) == ready.rows == len(lines)
    assert [gap.slots for gap in ready.gaps] == [48, 48, 48]
    assert ready.expected == ready.rows + 3 * 48
    assert store.arrays(ready.dataset, ready.window).close.tolist() == [float(line.split(",")[4]) for line in lines]


def test_a_price_that_jumps_at_new_year_is_found(tmp_path: Path, run_import: Import) -> None:
    before = table(times(48, 3600, datetime(2022, 12, 30, tzinfo=UTC)), unix())
    after = table(times(48, 3600, datetime(2023, 1, 1, tzinfo=UTC)), unix(), level=900.0)
    path = written(tmp_path / "x.csv", [HEADER, *before, *after])

    with pytest.raises(InvalidCandles, match=r"price scale in 2023-01-01\.\."):
        run_import(path, dataset=BTC.at(Timeframe.H1))


def test_a_random_walk_equals_what_polars_makes_of_it(tmp_path: Path, store: FrameStore, run_import: Import) -> None:
    random = np.random.default_rng(3)
    close = np.round(100 + random.normal(0, 0.05, 5_000).cumsum(), 2)
    frame = pl.DataFrame(
        {
            "ts": times(5_000, 60, START),
            "open": np.concatenate(([100.0], close[:-1])),
            "high": np.round(np.maximum(close, np.concatenate(([100.0], close[:-1]))) + 0.03, 2),
            "low": np.round(np.minimum(close, np.concatenate(([100.0], close[:-1]))) - 0.02, 2),
            "close": close,
            "volume": np.round(random.uniform(0, 9, 5_000), 4),
        }
    ).filter(pl.Series(random.uniform(size=5_000) < 0.7) | pl.Series(np.arange(5_000) % 15 == 0))
    frame = frame.filter(pl.col("ts") < times(1, 1, START.replace(day=5, hour=11))[0])
    frame.write_csv(tmp_path / "x.csv")
    result = run_import(tmp_path / "x.csv", dataset=BTC.at(Timeframe.M15), resample=True)
    direct = frame.group_by_dynamic("ts", every="15m").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )

    found = candles(result, store)
    assert found.select("open", "high", "low", "close").equals(
        direct.head(found.height).select("open", "high", "low", "close")
    )
    assert found["volume"].to_list() == pytest.approx(direct.head(found.height)["volume"].to_list())
    assert found.height >= direct.height - 1

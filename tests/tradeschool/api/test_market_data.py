"""Tests of `tradeschool.candles` and `tradeschool.datasets`, and of the import of the package."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import tradeschool
from tradeschool.errors import DataIncomplete, SettingsError
from tradeschool.ohlcv.arrays import CandleArrays

BTC = "coinbase/BTC-USD/M5"


@pytest.fixture
def sealed(seal_random_walk) -> CandleArrays:
    """Eleven days of a synthetic market in the data folder."""
    return seal_random_walk(BTC, "20210104-20210115")


def test_candles_are_those_of_the_store(sealed: CandleArrays) -> None:
    found = tradeschool.candles(BTC, "20210105-20210107")

    start, end = datetime(2021, 1, 5, tzinfo=UTC), datetime(2021, 1, 7, tzinfo=UTC)
    within = (sealed.time >= start.timestamp()) & (sealed.time < end.timestamp())
    assert found.columns == ["ts", "open", "high", "low", "close", "volume"]
    assert found["close"].to_list() == sealed.numbers["close"][within].tolist()
    assert (found["ts"].min(), found["ts"].dtype) == (start, pl.Datetime("us", "UTC"))


def test_candles_are_by_default_everything_sealed(sealed: CandleArrays) -> None:
    assert len(tradeschool.candles(BTC)) == len(sealed.time)


def test_candles_that_are_not_sealed_are_an_error(sealed: CandleArrays) -> None:
    with pytest.raises(DataIncomplete, match="is not sealed"):
        tradeschool.candles(BTC, "20210105-20210117")
    with pytest.raises(DataIncomplete, match="no sealed candles"):
        tradeschool.candles("oanda/EUR-USD/H1")


def test_datasets_lists_what_is_sealed(sealed: CandleArrays) -> None:
    found = tradeschool.datasets().row(0, named=True)

    assert len(tradeschool.datasets()) == 1
    assert (found["dataset"], found["rows"], found["expected"]) == (BTC, len(sealed.time), 11 * 288)
    assert found["coverage"] == pytest.approx(len(sealed.time) / (11 * 288), abs=1e-6)
    first, last = (datetime.fromtimestamp(int(sealed.time[each]), UTC) for each in (0, -1))
    assert (found["first"], found["last"]) == (first, last)


def test_datasets_of_an_empty_folder_have_the_same_columns(sealed: CandleArrays, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('data_dir = "elsewhere"\n')

    assert tradeschool.datasets(config=other).schema == tradeschool.datasets().schema
    assert tradeschool.datasets(config=other).is_empty()


def test_a_missing_settings_file_is_an_error() -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        tradeschool.datasets(config="nowhere.toml")


def test_the_import_loads_no_library() -> None:
    code = (
        "import sys, tradeschool; "
        "heavy = {'polars', 'numpy', 'optuna', 'numba', 'pydantic', 'rich', 'click', 'redis', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported_and_completed() -> None:
    for name in tradeschool.__all__:
        assert getattr(tradeschool, name).__name__ == name
        assert name in dir(tradeschool)
    with pytest.raises(AttributeError, match="no attribute 'candle'"):
        _ = tradeschool.candle

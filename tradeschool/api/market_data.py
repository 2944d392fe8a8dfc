"""Sealed candles and datasets as polars frames."""

from datetime import datetime
from pathlib import Path

import polars as pl

from tradeschool.app.context import read_settings, sealed_datasets
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timerange import parse_range, window_among
from tradeschool.markets.windows import merge
from tradeschool.ohlcv.frame import TIME
from tradeschool.store.frame_store import FrameStore
from tradeschool.store.inventory import inventory_of


def candles(dataset: str, timerange: str | None = None, *, config: Path | str | None = None) -> pl.DataFrame:
    """Return sealed candles, one row per candle in time order; `.to_pandas()` converts the frame.

    Columns: `ts` (open of the candle, UTC), `open`, `high`, `low`, `close` (quote per base), `volume` (base units;
    for OANDA the number of prices), and for FX `half_spread` (quote per base). A slot without a candle has no row.

    `dataset` is a name such as `coinbase/BTC-USD/H1`. `timerange` is a range such as `2023`, `2023-05` or
    `20230101-20240101`, by default everything that is sealed. The holdout period is a separate store and is never
    returned.

    Raises:
        SettingsError: If the name or the range cannot be read.
        DataIncomplete: If a part of the range is not sealed, or nothing is.
    """
    store = FrameStore(read_settings(_path(config)).data_location())
    source = find_dataset(dataset)
    windows = merge([seal.window for seal in store.seals(source)])
    if not windows:
        raise DataIncomplete(f"{source}: no sealed candles in {store}; run: tradeschool fetch")
    if timerange:
        windows = [window_among(parse_range(timerange), windows)]
    for window in windows:
        store.require(source, window)
    return pl.concat([store.candles(source, window).frame for window in windows])


def datasets(*, config: Path | str | None = None) -> pl.DataFrame:
    """Return the sealed datasets, one row each, in the order of the catalogue.

    Columns: `dataset`, `rows`, `expected` (slots), `coverage` (0 to 1), `first` and `last` (open of a candle, UTC).
    """
    store = FrameStore(read_settings(_path(config)).data_location())
    found = [held for dataset in sealed_datasets(store) if (held := inventory_of(store, dataset))]
    return pl.DataFrame(
        {
            "dataset": [each.dataset for each in found],
            "rows": [each.rows for each in found],
            "expected": [each.expected for each in found],
            "coverage": [each.coverage for each in found],
            "first": [_time(each.first) for each in found],
            "last": [_time(each.last) for each in found],
        },
        schema_overrides={
            "dataset": pl.String,
            "rows": pl.Int64,
            "expected": pl.Int64,
            "coverage": pl.Float64,
            "first": TIME,
            "last": TIME,
        },
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _path(config: Path | str | None) -> Path | None:
    return Path(config) if config is not None else None

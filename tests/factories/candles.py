"""Candles for tests: hand-written candles, random walks, and real candles from the shared folder."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from optimizer.bars.preparation import Prepared, prepare
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

BTC = find_dataset("coinbase/BTC-USD/M5")
EUR = find_dataset("oanda/EUR-USD/H1")
START = datetime(2021, 3, 1, tzinfo=UTC)


def arrays_of(
    ticks: list[tuple[int, int, int, int]],
    *,
    dataset: Dataset = BTC,
    times: list[int] | None = None,
    half_spread_ticks: float | list[float] | None = None,
) -> CandleArrays:
    """Candles of rows (open, high, low, close) in ticks, from `START` on without a gap unless `times` are given."""
    prices = np.array(ticks, dtype=np.float64).reshape(-1, 4) * dataset.instrument.tick
    step = dataset.timeframe.seconds
    time = np.arange(len(prices)) * step + int(START.timestamp()) if times is None else np.array(times)
    spread = None
    if half_spread_ticks is not None:
        spread = np.broadcast_to(half_spread_ticks, len(prices)) * dataset.instrument.tick
    return CandleArrays(
        dataset=dataset,
        time=time.astype(np.int64),
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=np.ones(len(prices)),
        half_spread=spread,
    )


def whole_window(candles: CandleArrays) -> Window:
    """Window from the midnight before the first candle to the midnight after the last."""
    day = 86_400
    return Window.of_seconds(int(candles.time[0]) // day * day, (int(candles.time[-1]) // day + 1) * day)


def prepared_of(
    ticks: list[tuple[int, int, int, int]],
    *,
    warm_up: int = 0,
    dataset: Dataset = BTC,
    times: list[int] | None = None,
    half_spread_ticks: float | list[float] | None = None,
) -> Prepared:
    candles = arrays_of(ticks, dataset=dataset, times=times, half_spread_ticks=half_spread_ticks)
    return prepare(candles, whole_window(candles), warm_up)


def random_ticks(seed: int, count: int, *, start: int = 20_000, swing: int = 60) -> list[tuple[int, int, int, int]]:
    """A random walk with gaps, flat bars, exact touches and ties; never below 1 tick."""
    random = np.random.default_rng(seed)
    rows, close = [], start
    for _ in range(count):
        opened = max(2, close + int(random.integers(-swing, swing + 1)) * int(random.random() < 0.3))
        close = max(2, opened + int(random.integers(-swing, swing + 1)))
        high = max(opened, close) + int(random.integers(0, swing))
        low = max(1, min(opened, close) - int(random.integers(0, swing)))
        rows.append((opened, opened, opened, opened) if random.random() < 0.05 else (opened, high, low, close))
        close = opened if rows[-1][1] == rows[-1][2] else close
    return rows


def random_prepared(seed: int, count: int, *, warm_up: int, dataset: Dataset = BTC, swing: int = 60) -> Prepared:
    """A random walk with missing bars, so that days and weekends are missing too; half-spreads for FX."""
    random = np.random.default_rng(seed + 1)
    steps = random.choice([1, 1, 1, 1, 2, 40], size=count)
    times = (np.cumsum(steps) * dataset.timeframe.seconds + int(START.timestamp())).tolist()
    spreads = (random.integers(0, 9, size=count) / 2).tolist() if dataset is EUR else None
    ticks = random_ticks(seed, count, swing=swing)
    return prepared_of(ticks, warm_up=warm_up, dataset=dataset, times=times, half_spread_ticks=spreads)


def shared_frame(name: str) -> pl.DataFrame:
    """Real candles; skips the test if the folder of real candles is missing."""
    beside = Path(__file__).parents[2].parent / "shared"
    path = Path(os.environ.get("SHARED_FOLDER", beside)) / "data" / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no real candles at {path}: set SHARED_FOLDER")
    return pl.read_parquet(path)


def real_btc(window: Window, dataset: Dataset = BTC) -> CandleArrays:
    frame = _cut(shared_frame("binance_BTC-USDT_5m"), window)
    return _arrays(frame, dataset, None)


def real_eur(window: Window) -> CandleArrays:
    """OANDA's mid candles with half of ask - bid at the open."""
    frame = _cut(shared_frame("oanda_EUR-USD_1h"), window)
    quotes = shared_frame("oanda-bidask_EUR-USD_1h").select("ts", spread=(pl.col("ask_o") - pl.col("bid_o")) / 2)
    frame = frame.join(quotes, on="ts", how="inner", maintain_order="left")
    return _arrays(frame, EUR, frame["spread"].to_numpy())


def _cut(frame: pl.DataFrame, window: Window) -> pl.DataFrame:
    return frame.filter(pl.col("ts").is_between(window.start, window.end, closed="left"))


def _arrays(frame: pl.DataFrame, dataset: Dataset, half_spread: np.ndarray | None) -> CandleArrays:
    columns = {name: frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    time = frame["ts"].dt.epoch("s").to_numpy()
    return CandleArrays(dataset=dataset, time=time, half_spread=half_spread, **columns)


SHARED = (
    *((f"binance_{coin}-USDT_5m", f"coinbase/{coin}-USD/M5") for coin in ("BTC", "ETH")),
    *(
        (f"binance-freqtrade2022_{coin}-USDT_{name}", f"coinbase/{coin}-USD/{timeframe}")
        for coin in ("BTC", "ETH")
        for name, timeframe in (("5m", "M5"), ("15m", "M15"), ("1h", "H1"))
    ),
    *((f"coinbase_{coin}-USD_1m", f"coinbase/{coin}-USD/M5") for coin in ("BTC", "ETH")),
    ("coinbase-cdd_BTC-USD_1h", "coinbase/BTC-USD/H1"),
    *(
        (f"{source}_{coin}-USD_{name}", f"oanda/{coin}-USD/{timeframe}")
        for coin in ("EUR", "GBP")
        for source, name, timeframe in (
            ("mt5a", "5m", "M5"),
            ("mt5b", "15m", "M15"),
            ("oanda", "1h", "H1"),
            ("oanda2024", "5m", "M5"),
            ("oanda2024", "15m", "M15"),
        )
    ),
)
"""Every file of real candles that is not bid and ask, and the dataset that it stands in for."""


def shared_candles(file: str, dataset_name: str) -> CandleArrays:
    """All candles of a file, minutes joined to five of them; FX pays the quotes' spread or, without any, 1.4 pips."""
    dataset = find_dataset(dataset_name)
    frame = shared_frame(file)
    if file.endswith("_1m"):
        frame = frame.group_by_dynamic("ts", every="5m").agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
    spread = None
    if dataset.instrument.market is Market.FX:
        spread = np.full(frame.height, 7e-5)
        if file.startswith("oanda_"):
            quotes = shared_frame(file.replace("oanda_", "oanda-bidask_"))
            frame = frame.join(quotes.drop("volume"), on="ts", how="inner", maintain_order="left")
            spread = ((frame["ask_o"] - frame["bid_o"]) / 2).to_numpy()
    return _arrays(frame, dataset, spread)

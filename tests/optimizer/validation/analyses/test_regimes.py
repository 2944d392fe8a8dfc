"""Regime analysis: days by trend and volatility, and results per regime."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.level.spec import Part
from optimizer.objective.metrics import summarise
from optimizer.objective.objective import backtest, prepare_level
from optimizer.validation.analyses.regimes import CELLS, TREND_DAYS, UNLABELLED, Trend, Volatility, label, regime_table
from tests.factories.candles import BTC
from tests.factories.levels import PARAMETERS, level_of, read_made
from tradeschool.ohlcv.arrays import CandleArrays

DAY = 86_400
FIRST = 18_000  # days since 1970


def candles_of(closes: np.ndarray) -> CandleArrays:
    time = (FIRST + np.arange(len(closes), dtype=np.int64)) * DAY
    return CandleArrays(
        dataset=BTC, time=time, open=closes, high=closes, low=closes, close=closes, volume=closes, half_spread=None
    )


def walk(seed: int, drift: float, spread: float | np.ndarray, days: int = 500) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(drift, spread, days)))


def cells(closes: np.ndarray) -> list[tuple[Trend, Volatility] | None]:
    return [None if cell == UNLABELLED else CELLS[cell] for cell in label(candles_of(closes)).cells]


@pytest.mark.parametrize(
    ("drift", "trend"), [(0.01, Trend.BULL), (-0.01, Trend.BEAR), (0.0, Trend.SIDEWAYS)], ids=["up", "down", "nowhere"]
)
def test_most_days_are_labelled_with_the_trend_of_the_market(drift: float, trend: Trend) -> None:
    found = [cell[0] for cell in cells(walk(3, drift, 0.01 if drift else 0.02)) if cell]

    shares = {each: found.count(each) / len(found) for each in Trend}
    assert max(shares, key=lambda each: shares[each]) is trend or trend is Trend.SIDEWAYS
    assert shares[trend] > (0.9 if drift else 0.2)


def test_volatility_is_ranked_among_previous_days() -> None:
    spread = np.where(np.arange(500) < 250, 0.01, 0.05)
    found = cells(walk(5, 0.0, spread))

    assert {cell[1] for cell in found[280:320] if cell} == {Volatility.HIGH}


def test_the_first_days_have_no_label() -> None:
    found = cells(walk(1, 0.0, 0.01))

    assert found[: TREND_DAYS + 1] == [None] * (TREND_DAYS + 1)
    assert None not in found[TREND_DAYS + 1 :]


@settings(max_examples=20)
@given(st.integers(60, 200), st.integers(0, 1000))
def test_future_prices_change_no_label(day: int, seed: int) -> None:
    """The label of a day is known before the day begins."""
    closes = walk(seed, 0.0, 0.02, days=210)
    other = closes.copy()
    other[day:] = walk(seed + 1, 0.05, 0.1, days=210)[day:]

    assert (label(candles_of(closes)).cells[: day + 1] == label(candles_of(other)).cells[: day + 1]).all()


def test_flat_prices_have_labels() -> None:
    assert {cell for cell in cells(np.full(200, 100.0)) if cell} == {(Trend.SIDEWAYS, Volatility.LOW)}


@pytest.fixture(scope="module")
def table():
    level = level_of(("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1"))
    prepared = prepare_level(level, Part.TRAIN, read_made)
    runs = [backtest(level, each, PARAMETERS) for each in prepared]
    labels = {each.dataset: label(candles_of(walk(number, 0.0, 0.02))) for number, each in enumerate(level.datasets)}
    start = prepared[0].first_day - 100
    labels = {name: type(each)(first_day=start, cells=each.cells) for name, each in labels.items()}
    return regime_table({Part.TRAIN: list(zip(prepared, runs, strict=True))}, labels)[Part.TRAIN], runs


def test_every_trade_and_day_is_in_one_cell(table) -> None:
    found, runs = table

    assert len(found["cells"]) == 10
    assert sum(row["trades"] for row in found["cells"]) == summarise(runs)["trades"]
    assert sum(row["dataset_days"] for row in found["cells"]) == sum(len(run.equity) for run in runs)
    earned = sum(run.trades["net"].sum() / run.initial_equity for run in runs)
    assert sum(row["net"] for row in found["cells"]) == pytest.approx(earned)


def test_the_best_regime_is_reported_with_its_share(table) -> None:
    found, _ = table
    gains = [max(0.0, row["net"]) for row in found["cells"]]

    assert found["best_share"] == pytest.approx(max(gains) / sum(gains))
    best = found["cells"][int(np.argmax(gains))]
    assert found["best_cell"] == {"trend": best["trend"], "volatility": best["volatility"]}
    assert found["one_cell_carries"] is (found["best_share"] >= 0.8)


def test_every_value_of_a_regime_is_a_number_or_null(table) -> None:
    for row in table[0]["cells"]:
        assert all(value is None or isinstance(value, str) or math.isfinite(value) for value in row.values())

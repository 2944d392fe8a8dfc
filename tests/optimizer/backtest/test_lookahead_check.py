"""Look-ahead check: it names bar and column of a leak and passes valid strategies."""

from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.backtest.engine import warm_up_bars
from optimizer.backtest.lookahead_check import is_repeatable, look_ahead, short_warm_up, signals_of
from optimizer.bars.preparation import Prepared, prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.spec import Direction
from optimizer.strategies import built_in as built_in_strategies
from optimizer.strategies.protocol import completed, load
from tests.factories.strategies import FIRST_RISE
from tradeschool import plugins
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timerange import parse_timerange

WINDOW = parse_timerange("20210301-20210321")


def candles(dataset: str = "coinbase/BTC-USD/M5", warm_up: int = 100) -> Prepared:
    return prepare(random_walk(find_dataset(dataset), WINDOW, seed=3), WINDOW, warm_up)


def sign(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.sign(values)).astype(np.int8)


def shifted(prepared: Prepared) -> np.ndarray:
    """Uses the next close, by shift(-1)."""
    return sign(np.append(np.diff(prepared.close.astype(float)), 0))


def above_the_whole_mean(prepared: Prepared) -> np.ndarray:
    """Uses the mean of the whole series."""
    return sign(prepared.close - prepared.close.mean())


def above_a_centred_mean(prepared: Prepared) -> np.ndarray:
    """Uses a centred window of 21 bars, ten of them in the future."""
    padded = np.pad(prepared.high.astype(float), 10, mode="edge")
    return sign(prepared.high - np.convolve(padded, np.ones(21) / 21, mode="valid"))


def above_the_open_hour(prepared: Prepared) -> np.ndarray:
    """Joins H1 candles on the hour, so that each bar uses the final low of its hour."""
    hours = prepared.time // 3600
    _, inverse = np.unique(hours, return_inverse=True)
    lows = np.full(inverse.max() + 1, 2**31)
    np.minimum.at(lows, inverse, prepared.low)
    return sign((prepared.low > lows[inverse]) * 1.0)


def next_spread(prepared: Prepared) -> np.ndarray:
    """Uses the spread of the next open."""
    return sign(np.append(prepared.half_spread[1:], 0) - 6.0)


PEEKING = [
    (shifted, ("close",)),
    (above_the_whole_mean, ("close",)),
    (above_a_centred_mean, ("high",)),
    (above_the_open_hour, ("low",)),
    (next_spread, ("half_spread",)),
]


@pytest.mark.parametrize(("peek", "columns"), PEEKING, ids=[peek.__name__ for peek, _ in PEEKING])
def test_a_strategy_with_lookahead_is_detected(peek, columns):
    prepared = candles("oanda/EUR-USD/M5")

    leak = look_ahead(peek, prepared, seed=1)

    assert leak is not None
    assert leak.columns == columns
    assert prepared.first_evaluated <= leak.bar < leak.cut
    assert leak.signal == peek(prepared)[leak.bar] != leak.without


def test_counting_future_bars_is_reported_without_a_column():
    leak = look_ahead(lambda prepared: np.full(len(prepared), len(prepared) % 2, dtype=np.int8), candles(), seed=1)

    assert leak is not None
    assert leak.columns == ()


def test_a_short_warm_up_is_detected():
    """An average over all previous bars always depends on the first one."""

    def above_the_mean_so_far(prepared: Prepared) -> np.ndarray:
        closes = prepared.close.astype(float)
        return sign(closes - np.cumsum(closes) / np.arange(1, len(closes) + 1))

    leak = short_warm_up(above_the_mean_so_far, candles(), 100, seed=1)

    assert leak is not None
    assert leak.bar >= leak.cut + 100
    assert look_ahead(above_the_mean_so_far, candles(), seed=1) is None


def test_a_random_strategy_is_not_repeatable():
    random = np.random.default_rng(1)

    assert not is_repeatable(lambda prepared: random.integers(-1, 2, len(prepared)).astype(np.int8), candles())


@pytest.mark.parametrize("name", sorted(plugins.entries(built_in_strategies, "STRATEGY")))
@pytest.mark.parametrize("dataset", ["coinbase/BTC-USD/M5", "oanda/EUR-USD/M15", "coinbase/ETH-USD/H1"])
def test_no_built_in_strategy_has_lookahead_or_a_short_warm_up(name, dataset):
    strategy = load(name)
    short = {"slow": 40, "fast": 10, "channel": 20, "period": 5, "hour_fast": 5, "hour_slow": 12, "pullback": 9}
    known = {parameter.name for parameter in strategy.parameters}
    parameters = completed(strategy, {each: value for each, value in short.items() if each in known})
    bounds = {each: (value, value) for each, value in parameters.items()}
    warm_up = warm_up_bars(strategy, bounds, find_dataset(dataset).timeframe)
    prepared = candles(dataset, warm_up)
    signals = signals_of(strategy, parameters, Direction.BOTH)

    assert np.count_nonzero(signals(prepared)) > 5
    assert look_ahead(signals, prepared, seed=2) is None
    assert short_warm_up(signals, prepared, warm_up, seed=2) is None
    assert is_repeatable(signals, prepared)


def test_a_decision_engine_with_state_across_runs_is_not_repeatable():
    """One engine instance for all runs keeps state of the first."""
    kept = FIRST_RISE.decider(None, {}, Direction.BOTH)
    shared = SimpleNamespace(name="shared", parameters=(), warm_up=max, repair=dict, decider=lambda *_: kept)
    prepared = candles("coinbase/BTC-USD/H1", 0)

    assert is_repeatable(signals_of(FIRST_RISE, {}, Direction.BOTH), prepared)
    assert not is_repeatable(signals_of(shared, {}, Direction.BOTH), prepared)

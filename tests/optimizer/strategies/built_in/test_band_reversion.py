"""Band reversion: signals by hand and against exact fractions, exits at the mean and by time."""

from fractions import Fraction

import numpy as np
import pytest

from optimizer.backtest.costs import CostRates
from optimizer.backtest.engine import run_strategy
from optimizer.backtest.result import TradingRules
from optimizer.level.spec import Direction
from optimizer.strategies.built_in import band_reversion
from optimizer.strategies.built_in.band_reversion import STRATEGY
from optimizer.strategies.protocol import completed
from tests.factories.backtests import fills
from tests.factories.candles import prepared_of, random_prepared
from tradeschool.markets.catalogue import find_dataset

M15 = find_dataset("coinbase/BTC-USD/M15")


def signals_of(prepared, period: int, width: float) -> list[int]:
    parameters = completed(STRATEGY, {"period": period, "width": width})
    return STRATEGY.signals(prepared, parameters, Direction.BOTH).tolist()


def flat(closes: list[int]) -> list[tuple[int, int, int, int]]:
    return [(close,) * 4 for close in closes]


def test_signals_by_hand() -> None:
    """Means of three closes; the largest z-score that one of three closes can have is sqrt(2) = 1.414.

    | bar | closes | mean | z | signal |
    | 3 | 20 20 23 | 21 | 1.41 | beyond the upper band: short |
    | 4 | 20 23 20 | 21 | -0.71 | other side of the mean: exit |
    | 5 | 23 20 20 | 21 | -0.71 | |
    | 6 | 20 20 20 | 20 | 0 | on the mean: exit |
    | 7 | 20 20 17 | 19 | -1.41 | beyond the lower band: long |
    | 8 | 20 17 14 | 17 | -1.22 | |
    | 9 | 17 14 20 | 17 | 1.22 | exit |
    | 10 | 14 20 20 | 18 | 0.71 | |
    """
    prepared = prepared_of(flat([20, 20, 20, 23, 20, 20, 20, 17, 14, 20, 20]), dataset=M15)

    assert signals_of(prepared, period=3, width=1.41) == [0, 0, 0, -1, 2, 0, 2, 1, 0, 2, 0]


def test_one_close_that_crosses_the_mean_and_the_other_band_reverses() -> None:
    prepared = prepared_of(flat([20, 20, 20, 26, 2]), dataset=M15)

    assert signals_of(prepared, period=3, width=1.3) == [0, 0, 0, -1, 1], "z of 2 among 20, 26, 2 is -1.36"


def test_a_close_on_the_band_is_beyond_it() -> None:
    """The closes 1, 1, 1, 1, 6 have mean 2 and deviation 2: the z-score of 6 is 2 exactly."""
    prepared = prepared_of(flat([1, 1, 1, 1, 1, 6]), dataset=M15)

    assert signals_of(prepared, period=5, width=2.0)[-1] == -1
    assert signals_of(prepared, period=5, width=2.0 + 1e-9)[-1] == 2, "inside the band, but above the mean for once"


def plain_signals(prepared, period: int, width: float) -> list[int]:
    closes = [int(close) for close in prepared.close]
    states = []
    for bar in range(len(closes)):
        if bar < period - 1:
            states.append((0, 0))
            continue
        window = closes[bar + 1 - period : bar + 1]
        mean = Fraction(sum(window), period)
        variance = sum((close - mean) ** 2 for close in window) / period
        distance = closes[bar] - mean
        side = (distance > 0) - (distance < 0)
        states.append((side, side if distance**2 >= Fraction(width) ** 2 * variance else 0))
    found = [0] * period
    for bar in range(period, len(closes)):
        (before, beyond_before), (side, beyond) = states[bar - 1], states[bar]
        if beyond and beyond != beyond_before:
            found.append(-beyond)
        else:
            found.append(2 if side != before else 0)
    return found


@pytest.mark.parametrize(("period", "width"), [(2, 1.0), (5, 1.5), (20, 2.0), (100, 2.5)])
def test_signals_equal_those_of_exact_fractions(period: int, width: float) -> None:
    prepared = random_prepared(8, 600, warm_up=0, dataset=M15)

    expected = plain_signals(prepared, period, width)

    assert signals_of(prepared, period, width) == expected
    assert {1, -1, 2} <= set(expected)


@pytest.mark.parametrize("name", ["_mark_exactly", "_mark_by_window"])
@pytest.mark.parametrize(("period", "width"), [(5, 1.5), (50, 2.0)])
def test_prices_of_any_size_have_the_same_signals(name: str, period: int, width: float) -> None:
    """Prices a billion times as large, whose squares exceed 64 bits, and small ones, in both ways of summation."""
    close = random_prepared(9, 400, warm_up=0, dataset=M15).close.astype(np.int64)
    expected = np.zeros(len(close), dtype=np.int8)
    band_reversion._mark_by_window(close, period, width**2, 20_000, expected)

    signals = np.zeros(len(close), dtype=np.int8)
    larger = close * 10_000_000 if name == "_mark_by_window" else close
    getattr(band_reversion, name)(larger, period, width**2, int(larger[0]), signals)

    assert signals.tolist() == expected.tolist()
    assert {1, -1, 2} <= set(expected.tolist())


def test_wide_ranges_are_summed_by_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four billion is the bound of period times range."""
    used = []
    for name in ("_mark_exactly", "_mark_by_window"):
        monkeypatch.setattr(band_reversion, name, lambda *_, name=name: used.append(name))
    for highest in (100_000, 2_000_000_000):
        prepared = prepared_of(flat([*[1] * 10, highest]), dataset=M15)
        signals_of(prepared, period=5, width=2.0)

    assert used == ["_mark_exactly", "_mark_by_window"]


def traded(closes: list[int], **chosen: float) -> list[tuple[int, int, int, int, int, str]]:
    prepared = prepared_of(flat(closes), dataset=M15, warm_up=5)
    parameters = completed(STRATEGY, {"period": 5, "width": 1.9, "atr_period": 2, "stop_atr": 20.0, **chosen})
    rules = TradingRules(
        direction=Direction.BOTH, rates=CostRates(fee=0.0, slippage=0.0), max_bars=int(parameters["max_bars"])
    )
    return fills(run_strategy(STRATEGY, prepared, parameters, rules))


def test_a_position_ends_when_closes_reach_the_mean() -> None:
    """The close of 90 at bar 6 is below the band; 101 at bar 9 is above the mean of its window."""
    closes = [100, 101, 100, 101, 100, 101, 90, 91, 90, 101, 100, 100]

    assert traded(closes, max_bars=40) == [(7, 91, 10, 100, 1, "signal")]


def test_a_position_ends_after_max_bars() -> None:
    closes = [100, 101, 100, 101, 100, 101, 90, 89, 88, 87, 86, 85, 84]

    assert traded(closes, max_bars=3) == [(7, 89, 10, 86, 1, "time")]


def test_constant_closes_have_no_signal() -> None:
    assert set(signals_of(prepared_of(flat([7] * 50), dataset=M15), period=5, width=0.5)) == {0}


def test_stop_and_time_stop_are_searched_and_a_target_is_not() -> None:
    searched = [each.name for each in STRATEGY.parameters if not each.fixed]

    assert searched == ["period", "width", "max_bars", "atr_period", "stop_atr"]
    assert completed(STRATEGY, {})["target_atr"] == 0.0

"""Robustness tests: the winner on validation under higher costs, delayed orders, missing bars and price noise.

The results are reported and decide nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from optimizer.backtest.result import BacktestRun
from optimizer.level.spec import Part
from optimizer.objective import metrics
from optimizer.objective.metrics import profit_factor
from optimizer.objective.objective import prepare_level
from optimizer.objective.trial_result import finite_or_none
from optimizer.validation.analyses.stress import StressCase, delayed_by_one_bar, missing_bars, with_costs
from optimizer.validation.analyses.surrogate_markets import whole_ticks
from optimizer.validation.evidence import RobustnessCase
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import PRICES, CandleArrays

COST_FACTORS = (2.0, 3.0, 5.0)
MISSING_FRACTIONS = (0.01, 0.05)
CRYPTO_SPREAD_BPS = 2.0
"""Half-width of the price noise in basis points if no spread is stored (crypto); equals the paid slippage."""
MAX_SLIPPAGE_BPS = 200.0
"""Upper limit of the break-even search; a larger break-even slippage is reported as this value."""
BISECTIONS = 12


def robustness_cases(stress_case: StressCase) -> tuple[RobustnessCase, ...]:
    """Return the base case and all robustness cases."""
    base = metrics.figures(stress_case.runs[Part.VALIDATION])
    return tuple(_robustness_case(name, metrics.figures(runs), base["sharpe"]) for name, runs in _cases(stress_case))


def break_even_bps(stress_case: StressCase) -> float | None:
    """Return the break-even slippage in basis points per side, at which the profit factor on validation falls to 1.

    Zero if the profit factor is not above 1 without slippage; the upper limit of the search if it never falls; None
    without trades.
    """

    def is_gone(bps: float) -> bool:
        return not _factor(_with_slippage(stress_case, bps)) > 1.0

    if math.isnan(_factor(stress_case.runs[Part.VALIDATION])):
        return None
    low, high = 0.0, MAX_SLIPPAGE_BPS
    if is_gone(low):
        return low
    if not is_gone(high):
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_gone(middle) else (middle, high)
    return high


def _cases(stress_case: StressCase) -> Iterator[tuple[str, Sequence[BacktestRun]]]:
    yield "base case", stress_case.runs[Part.VALIDATION]
    for factor in COST_FACTORS:
        yield f"costs x{factor:g}", with_costs(stress_case, factor)
    yield "orders delayed by one bar", delayed_by_one_bar(stress_case)
    for fraction in MISSING_FRACTIONS:
        draws = missing_bars(stress_case, fraction)
        yield f"{fraction:.0%} of bars missing", sorted(draws, key=_sharpe)[len(draws) // 2]
    yield "price noise within one spread", _with_wider_spread(stress_case)


def _robustness_case(name: str, figures: dict[str, float], base: float) -> RobustnessCase:
    return RobustnessCase(
        name=name,
        sharpe=finite_or_none(figures["sharpe"]),
        sharpe_kept=finite_or_none(figures["sharpe"] / base) if base > 0 else None,
        profit_factor=finite_or_none(figures["profit_factor"]),
        max_drawdown_intrabar=finite_or_none(figures["max_drawdown_intrabar"]),
        trades=int(figures["trades"]),
    )


def _with_slippage(stress_case: StressCase, bps: float) -> list[BacktestRun]:
    costs = stress_case.level.costs.model_copy(update={"crypto_slippage_bps": bps, "fx_slippage_bps": bps})
    level = stress_case.level.model_copy(update={"costs": costs})
    return stress_case.trade(stress_case.prepared[Part.VALIDATION], level)


def _with_wider_spread(stress_case: StressCase) -> list[BacktestRun]:
    places = count()

    def read(dataset: Dataset, window: Window) -> CandleArrays:
        return _with_noise(stress_case.read(dataset, window), [stress_case.seed, next(places)])

    return stress_case.trade(prepare_level(stress_case.level, Part.VALIDATION, read))


def _with_noise(candles: CandleArrays, seed: Sequence[int]) -> CandleArrays:
    """Move each price by up to half a spread either way, in whole ticks."""
    random, instrument = np.random.default_rng(list(seed)), candles.dataset.instrument
    half = candles.half_spread if candles.half_spread is not None else candles.close * CRYPTO_SPREAD_BPS / 1e4
    moved = {
        name: whole_ticks(getattr(candles, name) + half * random.uniform(-1, 1, len(candles)), instrument)
        for name in PRICES
    }
    ends = np.maximum(moved["open"], moved["close"]), np.minimum(moved["open"], moved["close"])
    return replace(
        candles,
        open=moved["open"],
        high=np.maximum(moved["high"], ends[0]),
        low=np.minimum(moved["low"], ends[1]),
        close=moved["close"],
    )


def _factor(runs: Sequence[BacktestRun]) -> float:
    return profit_factor(np.concatenate([run.trades["net"] for run in runs]))


def _sharpe(runs: Sequence[BacktestRun]) -> float:
    found = metrics.figures(runs)["sharpe"]
    return -math.inf if math.isnan(found) else found

"""Excess return: the winner's daily returns minus those of buy-and-hold at the same risk."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.costs import CostRates
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction, Level
from optimizer.objective import metrics
from optimizer.objective.metrics import DAYS_A_YEAR
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.sizing import held_size
from optimizer.objective.trial_result import finite_or_none, rounded
from optimizer.validation.evaluated_winner import EvaluatedWinner
from optimizer.validation.evidence import (
    Benchmark,
    ExcessReturn,
)
from optimizer.validation.statistics.bootstrap import interval

Floats = NDArray[np.float64]
HeldPosition = tuple[Benchmark, int]


HeldSizes = Mapping[Benchmark, float]
"""Size of each benchmark's account: that of the same risk on train."""


LONG: HeldPosition = (Benchmark.HOLD_LONG, 1)


SHORT: HeldPosition = (Benchmark.HOLD_SHORT, -1)


HELD_POSITIONS: Mapping[Direction, tuple[HeldPosition, ...]] = {
    Direction.LONG: (LONG,),
    Direction.SHORT: (SHORT,),
    Direction.BOTH: (LONG, SHORT),
}
"""Benchmarks of each direction, with the side of their position."""


def held_sizes(level: Level, train: Sequence[Prepared]) -> HeldSizes:
    """Return the size of each benchmark's account by the level's risk budget; 1 without one."""
    return {
        benchmark: held_size(level, benchmark_account(level, train, side))
        for benchmark, side in HELD_POSITIONS[level.direction]
    }


def excess(
    subject: EvaluatedWinner, part: str, account: Portfolio, prepared: Sequence[Prepared], held: HeldSizes
) -> ExcessReturn:
    """Return the winner's daily returns minus those of buy-and-hold at the same risk."""
    benchmark, passive = benchmark_of(subject.level, prepared, held)
    difference = account.returns - passive.returns

    def mean_a_year(resampled: Floats) -> Floats:
        means: Floats = resampled.mean(axis=0) * DAYS_A_YEAR
        return means

    low, high = interval(difference, mean_a_year, subject.seed, resamples=2_000)
    return ExcessReturn(
        part=part,
        benchmark=benchmark,
        a_year=float(difference.mean()) * DAYS_A_YEAR if len(difference) else None,
        low=finite_or_none(low),
        high=finite_or_none(high),
        sharpe=finite_or_none(rounded(metrics.sharpe(account.returns))),
        benchmark_sharpe=finite_or_none(rounded(metrics.sharpe(passive.returns))),
    )


def benchmark_of(level: Level, prepared: Sequence[Prepared], held: HeldSizes) -> tuple[Benchmark, Portfolio]:
    """Return the benchmark of the level's direction with the highest mean return, and its account."""
    found = [
        (benchmark, benchmark_account(level, prepared, side).sized(held[benchmark]))
        for benchmark, side in HELD_POSITIONS[level.direction]
    ]
    return max(found, key=lambda pair: float(pair[1].returns.mean()))


def benchmark_account(level: Level, prepared: Sequence[Prepared], side: int) -> Portfolio:
    """Return the account that holds every dataset from its first bar, long (1) or short (-1)."""
    return portfolio(
        [buy_and_hold(each, side, CostRates.of(level.costs, each.dataset.instrument.market)) for each in prepared]
    )

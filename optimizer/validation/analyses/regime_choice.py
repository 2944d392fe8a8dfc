"""Parameters by trend regime: the trial that each regime takes on train, and the account that they trade in turn."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from optimizer.backtest.result import BacktestRun
from optimizer.bars.preparation import DAY_SECONDS, Prepared
from optimizer.level.spec import Level, Part, trades_needed
from optimizer.objective import metrics
from optimizer.objective.choices import Choice, cash
from optimizer.objective.portfolio import portfolio
from optimizer.objective.set_rotation import NO_SET, rotate, signals_of_set
from optimizer.objective.sizing import WHOLE, sized, solve_size
from optimizer.objective.trial_result import finite_or_none, rounded
from optimizer.strategies.protocol import load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.analyses.regimes import CELLS, UNLABELLED, RegimeLabels, Trend
from optimizer.validation.selection import ranked

MAX_CANDIDATES = 20
"""Best feasible trials on train among which each regime chooses."""
TRENDS = tuple(Trend)
TREND_OF_CELL = np.array([TRENDS.index(trend) for trend, _ in CELLS])
Labels = Mapping[str, RegimeLabels]
"""Labels by dataset name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeSearch:
    """A search of the level, and the bars out of sample that judge its choice."""

    number: int
    """Number of the window; that of the last search is the highest one."""
    trials: Sequence[FrozenTrial]
    train: Sequence[Prepared]
    single: Choice
    """The single set that the level trades."""
    judged: Mapping[Part, Sequence[Prepared]]
    """Bars out of sample; empty for the last search of a walk-forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeChoice:
    """The trial that a regime chose on train."""

    trial: int | None
    """None: no trial had enough trades there, so the single set trades the regime, too."""
    parameters: Mapping[str, float]
    sharpe: float
    """Annualised Sharpe ratio on train with entries in this regime alone; NaN without a trial."""
    trades: int

    def as_json(self) -> dict[str, object]:
        """Return the choice for a file."""
        return {
            "trial": self.trial,
            "parameters": dict(self.parameters),
            "train_sharpe": finite_or_none(rounded(self.sharpe)),
            "train_trades": self.trades,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSets:
    """The sets of one search, their size, and their runs."""

    search: RegimeSearch
    by_trend: Mapping[Trend, RegimeChoice]
    size: float
    train: Sequence[BacktestRun]
    judged: Mapping[Part, Sequence[BacktestRun]]
    candidates: int
    """Number of trials among which each regime chose."""


def candidates_of(search: RegimeSearch) -> list[FrozenTrial]:
    """Return the trials among which each regime chooses."""
    return ranked(search.trials)[:MAX_CANDIDATES]


def min_trades_of(level: Level) -> int:
    """Return the trades on train that a set needs in its regime: the level's minimum divided by the regimes."""
    return -(-trades_needed(level, Part.TRAIN) // len(TRENDS))


def choose_sets(level: Level, search: RegimeSearch, labels: Labels) -> ChosenSets:
    """Choose the set of each regime on train, and run them in turn on train and out of sample."""
    single = search.single.parameters or {}
    by_trend = {
        trend: found or RegimeChoice(trial=None, parameters=single, sharpe=math.nan, trades=0)
        for trend, found in _best_by_trend(level, search, labels).items()
    }
    sets = [*(each.parameters for each in by_trend.values()), single]
    train = _rotated(level, search.train, sets, labels)
    size = _size(level, sets, train)
    return ChosenSets(
        search=search,
        by_trend=by_trend,
        size=size,
        train=sized(train, size),
        judged={part: sized(_rotated(level, bars, sets, labels), size) for part, bars in search.judged.items()},
        candidates=len(candidates_of(search)),
    )


def _best_by_trend(level: Level, search: RegimeSearch, labels: Labels) -> dict[Trend, RegimeChoice | None]:
    """Return the trial of each regime with the highest Sharpe ratio; None if none has enough trades there."""
    places = [places_of(labels[bars.dataset.name], bars) for bars in search.train]
    best: dict[Trend, RegimeChoice | None] = dict.fromkeys(TRENDS)
    for trial in candidates_of(search):
        signals = [signals_of_set(level, bars, trial.params) for bars in search.train]
        for number, trend in enumerate(TRENDS):
            runs = [each.run(own[each.entries.bar] == number) for each, own in zip(signals, places, strict=True)]
            trades, sharpe = sum(len(run.trades) for run in runs), metrics.sharpe(portfolio(runs).returns)
            before = best[trend]
            if trades >= min_trades_of(level) and sharpe > (before.sharpe if before else -math.inf):
                parameters = dict(trial.params)
                best[trend] = RegimeChoice(trial=trial.number, parameters=parameters, sharpe=sharpe, trades=trades)
    return best


def _rotated(
    level: Level,
    prepared: Sequence[Prepared],
    sets: Sequence[Mapping[str, float]],
    labels: Labels,
) -> list[BacktestRun]:
    """Return the run of the sets in turn on each dataset; `sets`: one per trend, then that of unlabelled bars.

    Regimes with equal parameters are one set. A set without parameters does not enter.
    """
    distinct = [dict(each) for each in dict.fromkeys(tuple(sorted(each.items())) for each in sets if each)]
    if not distinct:
        return [cash(bars) for bars in prepared]
    number = np.array([distinct.index(dict(each)) if each else NO_SET for each in sets])
    return [
        rotate(
            [signals_of_set(level, bars, each) for each in distinct], number[places_of(labels[bars.dataset.name], bars)]
        )
        for bars in prepared
    ]


def _size(level: Level, sets: Sequence[Mapping[str, float]], runs: Sequence[BacktestRun]) -> float:
    """Return the size of the account on train, at most that of the set with the largest positions."""
    strategy, account = load(level.strategy), portfolio(runs)
    managed = [TradeManagement.of(repaired(strategy, each)) for each in sets if each]
    return min((solve_size(level, each, account, runs) for each in managed), default=WHOLE)


def places_of(labels: RegimeLabels, bars: Prepared) -> NDArray[np.int64]:
    """Return the trend regime in which each bar closes, as an index into `Trend`; the number of trends if unlabelled.

    A signal is decided at its bar's close. The label of that day uses closes of earlier days, which are known then.
    """
    cells = labels.of(bars.closes(np.arange(len(bars), dtype=np.int32)) // DAY_SECONDS)
    return np.where(cells == UNLABELLED, len(TRENDS), TREND_OF_CELL[cells])

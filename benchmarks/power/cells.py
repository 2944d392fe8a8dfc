"""Cells of the power bench: a kind of market, the true Sharpe ratio of its edge, and the levels that search it.

The levels are the project's own, on M15, M30 and H1 instead of M5, M15 and H1: a run has 1.3 million candles instead
of 3.3 million, and the timeframes remain short enough for the quarter of EUR/USD in level 1. Markets that revert are
searched with `band_reversion`, trends and markets without an edge that a rule could trade with `momentum`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from benchmarks.power.market import CORRELATION, TIMEFRAMES, YEARLY_VOLATILITY, Kind
from optimizer.curriculum.level_files import load_levels
from optimizer.curriculum.levels.level_4 import FILTERS
from optimizer.level.holdout import Holdout
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Bounds, Level, Parameters
from tradeschool.markets.catalogue import CURRICULUM_WINDOW
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES
from tradeschool.markets.windows import Window

WINDOW = Window(CURRICULUM_WINDOW.start, datetime(2026, 7, 1, tzinfo=UTC))
"""All days of a made market."""
HOLDOUT = Holdout(start=date(2024, 4, 1), end=date(2026, 7, 1))
SHARPES = (0.5, 1.0, 1.5, 2.0, 3.0)
DRIFT_SHARPE = 1.0
"""Sharpe ratio of buy-and-hold in the cell that only drifts."""
CALIBRATION = Path(__file__).with_name("calibration.json")
LONGER = {each.name: longer for each, longer in zip(DEFAULT_TIMEFRAMES, TIMEFRAMES, strict=True)}
"""Timeframe of the bench by that of the project."""
STRATEGIES: dict[Kind, str] = {Kind.REVERSION: "band_reversion"}
"""Searched strategy by kind; `momentum` in all others."""
RANGES: dict[str, dict[str, Bounds]] = {
    "momentum": {
        "lookback": (24, 120),
        "hold": (4, 48),
        "atr_period": (7, 28),
        "stop_atr": (4.0, 20.0),
        "target_atr": (2.0, 20.0),
    },
    "band_reversion": {
        "period": (10, 100),
        "width": (1.5, 3.0),
        "max_bars": (10, 120),
        "atr_period": (7, 28),
        "stop_atr": (2.0, 12.0),
    },
}
"""Searched ranges of the first attempt; level 4 adds its filters.

Those of the strategies, with the stop and target of `momentum` that give it a win rate above that of the gates.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Markets of one kind and one strength of their edge."""

    kind: Kind
    sharpe: float
    """True Sharpe ratio: of the best known rule of the searched strategy that meets the gates of the last level, after
    costs, on unlimited data.
    """
    strength: float
    whole_seeds: int
    """Number of runs of the whole bench."""

    @property
    def name(self) -> str:
        """Such as `trend-2`."""
        return f"{self.kind}-{self.sharpe:g}" if self.sharpe else self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a trader who knows the edge and the gates trades: of the parameters that meet them in a long simulation,
    those with the highest Sharpe ratio.
    """

    kind: Kind
    strategy: str
    parameters: Parameters


@cache
def calibration() -> dict[str, dict[str, object]]:
    """Return what `calibrate.py` has written, by kind."""
    found: dict[str, dict[str, object]] = json.loads(CALIBRATION.read_text())
    return found


def strategy_of(kind: Kind) -> str:
    """Return the strategy that is searched in markets of a kind."""
    return STRATEGIES.get(kind, "momentum")


def rule_of(kind: Kind) -> Rule:
    """Return the calibrated rule of a kind with an edge."""
    return Rule(kind=kind, strategy=strategy_of(kind), parameters=calibration()[kind]["parameters"])


def cells() -> tuple[Cell, ...]:
    """Return all cells, those without skill first."""
    without = (
        Cell(kind=Kind.NONE, sharpe=0.0, strength=0.0, whole_seeds=200),
        Cell(kind=Kind.DRIFT, sharpe=0.0, strength=DRIFT_SHARPE / drift_sharpe_per_strength(), whole_seeds=200),
        Cell(kind=Kind.PHASES, sharpe=0.0, strength=0.0, whole_seeds=200),
    )
    strengths = {kind: calibration()[kind]["strengths"] for kind in (Kind.TREND, Kind.REVERSION)}
    return (
        *without,
        *(
            Cell(kind=kind, sharpe=sharpe, strength=strengths[kind][f"{sharpe:g}"], whole_seeds=100)
            for kind in strengths
            for sharpe in SHARPES
        ),
    )


def drift_sharpe_per_strength() -> float:
    """Return the Sharpe ratio of buy-and-hold of the four pairs, equally weighted, at a strength of one.

    With the pairs' volatilities s and the correlation c of the two pairs of a market it is
    sum(s) / sqrt(sum over markets of 2 * s^2 * (1 + c)).
    """
    total = 2 * sum(YEARLY_VOLATILITY.values())
    variance = sum(2 * volatility**2 * (1 + CORRELATION) for volatility in YEARLY_VOLATILITY.values())
    return total / variance**0.5


def levels_of(kind: Kind) -> tuple[Level, ...]:
    """Return the project's levels for markets of a kind."""
    return tuple(_level(level, kind) for level in load_levels())


def _level(level: Level, kind: Kind) -> Level:
    datasets = tuple(_longer(dataset) for dataset in level.datasets)
    filters = {name: bounds for name, bounds in level.ranges.items() if name in FILTERS}
    ranges = {**RANGES[strategy_of(kind)], **filters}
    changes = {"datasets": datasets, "holdout": HOLDOUT, "strategy": strategy_of(kind), "ranges": ranges}
    return level.model_copy(update=changes)


def _longer(dataset: LevelDataset) -> LevelDataset:
    pair, _, timeframe = dataset.dataset.rpartition("/")
    return LevelDataset(dataset=f"{pair}/{LONGER[timeframe]}", start=dataset.start, end=dataset.end)

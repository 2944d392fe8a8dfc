"""Level 4: both directions in all regimes, with filters and stress tests."""

from optimizer.curriculum.levels.level_3 import LEVEL as LEVEL_3
from optimizer.level.constraints import Analysis, StressLimits
from optimizer.level.risk import Risk
from optimizer.level.spec import Bounds, Direction, Gate, Level, Scheme, Split

FILTERS: dict[str, Bounds] = {
    "vol_low": (0.0, 0.5),
    "vol_high": (0.5, 1.0),
    "trend": (0, 1),
    "trend_period": (50, 400),
    "hour_start": (0, 23),
    "hour_length": (4, 24),
    "cooldown_bars": (0, 48),
}
"""Volatility band as ATR percentiles, H1 trend, trading hours, and cooldown after a loss."""

LEVEL = Level(
    name="4",
    title="All regimes, robust",
    direction=Direction.BOTH,
    trials=200,
    datasets=LEVEL_3.datasets,
    split=Split(scheme=Scheme.WALK_FORWARD),
    risk=Risk(),
    min_density=0.95,
    gate=Gate(win_rate=0.53, sharpe=1.2, max_drawdown_intrabar=0.15, profit_factor=1.3),
    ranges={**LEVEL_3.ranges, **FILTERS},
    stress=StressLimits(),
    analyses=(Analysis.STABILITY,),
)

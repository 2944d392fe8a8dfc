"""Level 3: both directions over full market cycles of four instruments."""

from datetime import date

from optimizer.level.constraints import Analysis
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.risk import Risk
from optimizer.level.spec import Direction, Gate, Level, Scheme, Split

CYCLES = (date(2020, 1, 1), date(2024, 1, 1))

LEVEL = Level(
    name="3",
    title="Both ways, full cycles",
    direction=Direction.BOTH,
    trials=150,
    datasets=tuple(
        LevelDataset(dataset=f"{pair}/{timeframe}", start=CYCLES[0], end=CYCLES[1])
        for pair in ("coinbase/BTC-USD", "coinbase/ETH-USD", "oanda/EUR-USD", "oanda/GBP-USD")
        for timeframe in ("M5", "M15", "H1")
    ),
    split=Split(scheme=Scheme.WALK_FORWARD),
    risk=Risk(),
    min_density=0.95,
    gate=Gate(win_rate=0.52, sharpe=1.0, max_drawdown_intrabar=0.15, profit_factor=1.3),
    ranges={
        "fast": (5, 60),
        "slow": (20, 250),
        "atr_period": (7, 28),
        "stop_atr": (0.8, 5.0),
        "target_atr": (0.8, 8.0),
    },
    analyses=(Analysis.REGIMES, Analysis.REGIME_SETS),
)

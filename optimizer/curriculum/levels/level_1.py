"""Level 1: long positions in bull markets."""

from datetime import date

from optimizer.level.level_dataset import LevelDataset
from optimizer.level.risk import Risk
from optimizer.level.spec import Direction, Gate, Level, Scheme, Split

BTC_BULL_MARKET = (date(2020, 1, 1), date(2022, 1, 1))
EUR_BULL_MARKET = (date(2024, 1, 1), date(2024, 4, 1))

LEVEL = Level(
    name="1",
    title="Long in bull markets",
    direction=Direction.LONG,
    trials=100,
    datasets=tuple(
        LevelDataset(dataset=f"{pair}/{timeframe}", start=start, end=end)
        for pair, (start, end) in (("coinbase/BTC-USD", BTC_BULL_MARKET), ("oanda/EUR-USD", EUR_BULL_MARKET))
        for timeframe in ("M5", "M15", "H1")
    ),
    split=Split(scheme=Scheme.WALK_FORWARD),
    risk=Risk(),
    min_density=0.95,
    gate=Gate(win_rate=0.50, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3),
    ranges={
        "fast": (5, 50),
        "slow": (20, 200),
        "atr_period": (7, 28),
        "stop_atr": (1.0, 5.0),
        "target_atr": (1.0, 8.0),
    },
)

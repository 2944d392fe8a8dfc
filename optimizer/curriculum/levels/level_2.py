"""Level 2: short positions in bear markets."""

from datetime import date

from optimizer.level.constraints import Analysis
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.risk import Risk
from optimizer.level.spec import Direction, Gate, Level, Scheme, Split

BTC_BEAR_MARKET = (date(2022, 1, 1), date(2023, 1, 1))
EUR_DECLINE = (date(2023, 7, 1), date(2023, 11, 1))

LEVEL = Level(
    name="2",
    title="Short in bear markets",
    direction=Direction.SHORT,
    trials=100,
    datasets=tuple(
        LevelDataset(dataset=f"{pair}/{timeframe}", start=start, end=end)
        for pair, (start, end) in (("coinbase/BTC-USD", BTC_BEAR_MARKET), ("oanda/EUR-USD", EUR_DECLINE))
        for timeframe in ("M5", "M15", "H1")
    ),
    split=Split(scheme=Scheme.WALK_FORWARD),
    risk=Risk(),
    min_density=0.95,
    gate=Gate(win_rate=0.50, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3),
    ranges={
        "fast": (3, 40),
        "slow": (15, 150),
        "atr_period": (7, 28),
        "stop_atr": (0.8, 4.0),
        "target_atr": (0.8, 6.0),
    },
    analyses=(Analysis.SIMILARITY,),
)

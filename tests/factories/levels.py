"""A small level and its synthetic candles."""

from datetime import date
from functools import cache

import numpy as np

from optimizer.curriculum.attempts import at_attempt
from optimizer.curriculum.retry_plan import AttemptFacts, RetryPlan, plan_retry
from optimizer.level.costs import Costs
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Direction, Gate, Level, MinTrades
from tests.factories.candles import random_ticks
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

RANGES = {
    "fast": (5.0, 30.0),
    "slow": (20.0, 60.0),
    "atr_period": (7.0, 28.0),
    "stop_atr": (1.0, 5.0),
    "target_atr": (1.0, 8.0),
}
PARAMETERS = {"fast": 5, "slow": 20, "atr_period": 14, "stop_atr": 2.0, "target_atr": 3.0}
DATASETS = ("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1", "coinbase/ETH-USD/M15")


def level_of(datasets: tuple[str, ...] = DATASETS, **fields: object) -> Level:
    """A level over forty days from 1 March 2021; each dataset starts two days after the previous one."""
    given = {
        "name": "1",
        "title": "Made",
        "direction": Direction.BOTH,
        "trials": 10,
        "datasets": tuple(
            LevelDataset(dataset=name, start=date(2021, 3, 1 + 2 * number), end=date(2021, 4, 10 + 2 * number))
            for number, name in enumerate(datasets)
        ),
        "gate": Gate(win_rate=0.5, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3),
        "min_trades": MinTrades(train=30, validation=10),
        "costs": Costs(),
        "ranges": RANGES,
        "retries": 0,
    }
    return Level(**{**given, **fields})


NOTHING_FEASIBLE = AttemptFacts(feasible=False, parameters=None)
"""An attempt without a complete trial: the next one widens every range."""


def retries_of(
    level: Level, attempt: int, facts: AttemptFacts = NOTHING_FEASIBLE, inherited: dict[str, float] | None = None
) -> list[RetryPlan]:
    """The plans of all retries up to an attempt, if each attempt before found the same facts."""
    plans: list[RetryPlan] = []
    for number in range(1, attempt):
        plans.append(plan_retry(at_attempt(level, number, inherited, plans), number + 1, facts))
    return plans


def level_at(
    level: Level, attempt: int, facts: AttemptFacts = NOTHING_FEASIBLE, inherited: dict[str, float] | None = None
) -> Level:
    """The level as an attempt searches it, if each attempt before found the same facts."""
    return at_attempt(level, attempt, inherited, retries_of(level, attempt, facts, inherited))


def read_made(dataset: Dataset, window: Window) -> CandleArrays:
    """A random walk seeded by the dataset, without missing bars; half-spreads for FX."""
    times = np.arange(window.start_seconds, window.end_seconds, dataset.timeframe.seconds, dtype=np.int64)
    seed = sum(dataset.name.encode())
    tick = dataset.instrument.tick
    prices = np.array(random_ticks(seed, len(times), start=100_000, swing=300), dtype=np.float64) * tick
    is_fx = dataset.instrument.market is Market.FX
    return CandleArrays(
        dataset=dataset,
        time=times,
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=np.ones(len(times)),
        half_spread=np.full(len(times), 7 * tick) if is_fx else None,
    )


def read_flat(dataset: Dataset, window: Window) -> CandleArrays:
    """Prices that never move: no strategy can trade them."""
    times = np.arange(window.start_seconds, window.end_seconds, dataset.timeframe.seconds, dtype=np.int64)
    price = np.full(len(times), 100.0)
    return CandleArrays(
        dataset=dataset, time=times, open=price, high=price, low=price, close=price, volume=price, half_spread=None
    )


@cache
def read_trending(dataset: Dataset, window: Window) -> CandleArrays:
    """A market with trends of about fifty bars, so that a strategy can find an edge."""
    times = np.arange(window.start_seconds, window.end_seconds, dataset.timeframe.seconds, dtype=np.int64)
    random = np.random.default_rng(3)
    turns = random.random(len(times)) < 1 / 50
    direction = np.where(np.cumsum(turns) % 2, 1.0, -1.0)
    moves = 0.0012 * direction + random.normal(0, 0.003, len(times))
    close = np.rint(2_000_000 * np.exp(np.cumsum(moves - moves.mean())))
    opened = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opened, close) + 300, np.minimum(opened, close) - 300
    prices = {"open": opened / 100, "high": high / 100, "low": low / 100, "close": close / 100}
    return CandleArrays(dataset=dataset, time=times, volume=np.ones(len(times)), half_spread=None, **prices)

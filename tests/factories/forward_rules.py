"""Rules of forward tests, over made candles."""

from datetime import UTC, date, datetime

from optimizer.forward.rule import ForwardDataset, ForwardLimits, ForwardRule
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction

START = date(2021, 3, 11)
CREATED = datetime(2021, 3, 1, tzinfo=UTC)
DATASETS = ("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1")


def make_rule(
    *, datasets: tuple[str, ...] = DATASETS, limits: dict[str, float] | None = None, **fields: object
) -> ForwardRule:
    """A rule for a crossover with a warm-up of 50 bars, from 11 March 2021 on."""
    given = {
        "name": "live",
        "run": "r1",
        "level": "1",
        "attempt": 1,
        "trial": 3,
        "created": CREATED,
        "start": START,
        "end": None,
        "data_end": START,
        "strategy": "sma_cross",
        "direction": Direction.BOTH,
        "parameters": {"fast": 5, "slow": 20, "atr_period": 14, "stop_atr": 2.0, "target_atr": 3.0},
        "position_fraction": 1.0,
        "size": 0.25,
        "costs": Costs(crypto_financing_bps=1.0, fx_financing_bps=0.5),
        "datasets": tuple(
            ForwardDataset(dataset=name, warm_up_bars=50, candles_from=date(2021, 3, 4)) for name in datasets
        ),
        "code": "code",
        "deviation": 0.005,
        "bound": 0.04,
        "limits": ForwardLimits(**{"max_drawdown": 1.0, **(limits or {})}),
    }
    return ForwardRule(**{**given, **fields})

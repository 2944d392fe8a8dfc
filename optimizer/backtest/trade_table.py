"""Trade table with times and prices, for export."""

import numpy as np
import polars as pl

from optimizer.backtest.result import BacktestRun, ExitReason
from optimizer.bars.preparation import Prepared

MICROSECONDS = 1_000_000


def trade_table(run: BacktestRun, prepared: Prepared) -> pl.DataFrame:
    """Return one row per trade, ordered by entry: prices in quote per base, money in the quote currency.

    A time is the open of the bar in which the fill happened. Uses polars: do not call in a process that will fork.
    """
    trades, tick = run.trades, prepared.dataset.instrument.tick
    time = prepared.time * MICROSECONDS
    decimals = prepared.dataset.instrument.decimals
    return pl.DataFrame(
        {
            "dataset": [run.dataset.name] * len(trades),
            "entry_time": pl.Series(time[trades["entry_bar"]], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "entry_price": np.round(trades["entry_price"] * tick, decimals),
            "exit_time": pl.Series(time[trades["exit_bar"]], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "exit_price": np.round(trades["exit_price"] * tick, decimals),
            "side": ["long" if side > 0 else "short" for side in trades["side"]],
            "units": trades["units"],
            "fees": trades["fees"],
            "net": trades["net"],
            "reason": [ExitReason(reason).name.lower() for reason in trades["reason"]],
        },
        schema_overrides={"dataset": pl.String, "side": pl.String, "reason": pl.String},
    )

"""Download candles, search strategy parameters, and validate the result against overfitting.

The Python API is imported on first use, so `import tradeschool as ts` is fast:

    candles(dataset, timerange)                        sealed candles as a polars frame
    datasets()                                         the sealed datasets as a polars frame
    backtest(strategy, parameters, datasets, ...)      a backtest with trades, equity, metrics and a chart
    optimize(curriculum, workers=2)                    a search from its first trial to its recommendation
    runs(), run(name)                                  recorded runs: trials, best trial, report, Optuna study

Each function reads the settings as the command does: from `tradeschool.toml` in the working folder and the environment;
`config` names another settings file. Errors are subclasses of `TradeschoolError`. docs/how-to/python.md has examples.

The folders below it hold the domain that all packages share: markets, candles, the store, settings and errors. They
never import another package, except in the command line and the Python API: `cli`, `api`, `app` and `views`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradeschool.api.backtests import BacktestResult, Chart, backtest
    from tradeschool.api.market_data import candles, datasets
    from tradeschool.api.runs import BestTrial, Run, optimize, run, runs
    from tradeschool.errors import TradeschoolError

_API = {
    "BacktestResult": "tradeschool.api.backtests",
    "BestTrial": "tradeschool.api.runs",
    "Chart": "tradeschool.api.backtests",
    "Run": "tradeschool.api.runs",
    "TradeschoolError": "tradeschool.errors",
    "backtest": "tradeschool.api.backtests",
    "candles": "tradeschool.api.market_data",
    "datasets": "tradeschool.api.market_data",
    "optimize": "tradeschool.api.runs",
    "run": "tradeschool.api.runs",
    "runs": "tradeschool.api.runs",
}
"""Public name -> module that defines it."""

__all__ = [
    "BacktestResult",
    "BestTrial",
    "Chart",
    "Run",
    "TradeschoolError",
    "backtest",
    "candles",
    "datasets",
    "optimize",
    "run",
    "runs",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_API[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names, for completion in a shell or notebook."""
    return sorted([*globals(), *_API])

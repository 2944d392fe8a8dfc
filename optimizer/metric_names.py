"""What the metrics are called, for whoever names one before there is anything to measure."""

METRICS = (
    *("trades", "trades_open_at_end", "win_rate", "win_rate_low", "win_rate_high", "profit_factor"),
    *("sharpe", "sortino", "cagr", "max_drawdown", "max_drawdown_intrabar", "calmar", "days", "exposure"),
)
"""Names of `metrics.summarise`, in its order."""
SHORT_NAMES = {"drawdown": "max_drawdown_intrabar", "max_drawdown": "max_drawdown_intrabar"}
"""What people call a metric, and what it is called here: gates read the intrabar drawdown."""

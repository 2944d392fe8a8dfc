"""Metric names, for modules that refer to metrics without computing them."""

METRICS = (
    *("trades", "trades_open_at_end", "win_rate", "win_rate_low", "win_rate_high", "profit_factor"),
    *("sharpe", "sortino", "cagr", "max_drawdown", "max_drawdown_intrabar", "calmar", "days", "exposure"),
)
"""Names of `metrics.summarise`, in its order."""
SIZE, LEVERAGE = "size", "leverage"
RISK_METRICS = (SIZE, LEVERAGE)
"""Further metrics of a trial whose level has a risk budget: the share of the account that is traded, and the largest
notional of a position over the equity.
"""
COUNTS = ("trades", "trades_open_at_end", "days")
"""Metrics that are whole numbers."""
GATE_DRAWDOWN = "max_drawdown_intrabar"
"""The drawdown that gates read. A curriculum file may write `max_drawdown` in a gate and `drawdown` in a constraint."""

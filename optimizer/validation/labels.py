"""Display labels of metrics, criteria and checks: the published name and a one-line meaning.

`docs/glossary.md` has every term with its formula or source.
"""

from collections.abc import Mapping
from typing import NamedTuple

GATE = "gate_"
"""Begin of the name of a gate's check; the name of its level follows."""


class Term(NamedTuple):
    """A name for display and its meaning."""

    label: str
    meaning: str


TERMS: Mapping[str, Term] = {
    "coverage": Term("Coverage", "Share of the expected candles that is stored or confirmed not to exist."),
    "density": Term("Density", "Share of the expected candles that is stored: how often the market traded."),
    "win_rate": Term("Win rate", "Share of closed trades with a net profit after costs."),
    "win_rate_low": Term("Win rate, lower limit", "Lower limit of the 95 % Wilson score interval of the win rate."),
    "win_rate_high": Term("Win rate, upper limit", "Upper limit of the 95 % Wilson score interval of the win rate."),
    "sharpe": Term("Sharpe ratio", "Mean over standard deviation of daily returns, annualised, risk-free rate zero."),
    "sortino": Term("Sortino ratio", "Mean daily return over downside deviation, annualised, target zero."),
    "cagr": Term("CAGR", "Compound annual growth rate of the portfolio."),
    "calmar": Term("Calmar ratio", "CAGR over the maximum intrabar drawdown."),
    "max_drawdown": Term("Max drawdown", "Largest fall of daily closes from their peak, as a share of the peak."),
    "max_drawdown_intrabar": Term(
        "Max drawdown, intrabar", "Largest fall from a daily close to the worst price of a later bar with a position."
    ),
    "profit_factor": Term("Profit factor", "Gross profit over gross loss, after costs."),
    "expectancy": Term("Expectancy", "Mean net result of a closed trade, as a share of the initial equity."),
    "total_return": Term("Total return", "Return of the portfolio from its start to its end."),
    "trades": Term("Trades", "Number of closed trades."),
    "trades_open_at_end": Term("Trades open at end", "Trades that the end of the data closed."),
    "days": Term("Days", "Number of calendar days judged."),
    "exposure": Term("Exposure", "Share of bars with an open position."),
    "size": Term("Size", "Share of the account that is traded, solved on train so that it meets the risk budget."),
    "leverage": Term("Leverage", "Largest notional of a position over the equity of its share of the account."),
    "window_drawdown": Term("Max drawdown in stress windows", "Maximum intrabar drawdown inside named market crises."),
    "late_sharpe_kept": Term(
        "Sharpe retained, orders delayed", "Share of the Sharpe ratio retained if every order fills one bar later."
    ),
    "shuffled_drawdown": Term("Shuffled drawdown", "95th percentile of the drawdown over random orders of the trades."),
    "no_look_ahead": Term("Look-ahead check", "No signal of the winner changes when later bars are removed."),
    "alpha": Term("Alpha", "Mean return that buy and hold of the same datasets does not explain, annualised."),
    "t_alpha": Term("t-statistic of alpha", "Alpha over its Newey-West standard error, from daily returns."),
    "skill": Term("Evidence of skill", "Combined p-value of no skill, out of sample and on the holdout period."),
    "skill_strong": Term("Strong evidence of skill", "The same p-value with the bound for deployment."),
    "deflated_sharpe": Term(
        "Deflated Sharpe ratio (DSR)",
        "Probability that the true Sharpe ratio exceeds the best one expected from as many trials without skill.",
    ),
    "deflated_sharpe_out_of_sample": Term(
        "Deflated Sharpe ratio (DSR), out of sample",
        "The same statistic out of sample, over the attempts that read any of these days.",
    ),
    "overfitting": Term(
        "Probability of backtest overfitting (PBO)",
        "Share of splits in which the best trial on one half of the days is below the median on the other half.",
    ),
    "cross_validation": Term(
        "Combinatorial purged cross-validation (CPCV)",
        "Sharpe ratios that the choice among the trials makes on days that it was not made on, over all combinations.",
    ),
    "null": Term(
        "False-positive rate (null test)",
        "Upper limit of the share of surrogate markets without skill in which every gate passes.",
    ),
    "stable": Term("Parameter sensitivity", "Whether neighbouring parameters retain most of the Sharpe ratio."),
    "more_than_one_regime": Term("Market regimes", "Whether the profit comes from more than one market regime."),
    "targets_unchanged": Term("Gate targets", "Whether every gate was passed with its original targets."),
    "null_test": Term("Null test", "Whether the search was repeated in surrogate markets without skill."),
    "nothing_mixed": Term("Unchanged inputs", "Whether code, settings and candles stayed the same during the run."),
    "holdout": Term("Holdout period", "Whether the period that no search reads was evaluated."),
    "holdout_sharpe": Term("Holdout Sharpe ratio", "Sharpe ratio on the holdout period."),
    "holdout_sharpe_low": Term(
        "Holdout Sharpe ratio, lower limit", "Lower limit of the 95 % bootstrap confidence interval of that ratio."
    ),
    "holdout_drawdown": Term("Holdout max drawdown", "Maximum intrabar drawdown on the holdout period."),
    "holdout_trades": Term("Holdout trades", "Number of closed trades on the holdout period."),
    "holdout_excess": Term("Holdout excess return", "Annual return above buy and hold on the holdout period."),
}


def label(name: str) -> str:
    """Return the display label of a metric, criterion or check; its words if it has no entry."""
    if name.startswith(GATE):
        return f"Gate of level {name.removeprefix(GATE)}"
    return TERMS[name].label if name in TERMS else str(name).replace("_", " ")


def meaning(name: str) -> str:
    """Return the one-line meaning of a name; empty if it has no entry."""
    if name.startswith(GATE):
        return "Whether the gate of this level was passed."
    return TERMS[name].meaning if name in TERMS else ""

"""Each metric against values computed by hand."""

import math
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.backtest.result import TRADE, BacktestRun, ExitReason
from optimizer.backtest.trade_totals import trade_totals
from optimizer.level.metric_names import METRICS
from optimizer.objective import metrics
from tests.factories.candles import BTC


def net(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def run_of(
    equity: list[float], lows: list[float] | None = None, trades: list[tuple] = (), judged_bars: int = 10
) -> BacktestRun:
    """Trades as rows of entry bar, exit bar, reason and net."""
    records = np.zeros(len(trades), dtype=TRADE)
    for record, (entry, left, reason, gained) in zip(records, trades, strict=True):
        record["entry_bar"], record["exit_bar"], record["reason"], record["net"] = entry, left, reason, gained
    return BacktestRun(
        dataset=BTC,
        trades=records,
        initial_equity=10_000.0,
        first_day=100,
        equity=np.array(equity),
        lows=np.array(equity if lows is None else lows),
        max_intrabar_drawdown=0.0,
        evaluated_bars=judged_bars,
        stopped=False,
    )


def test_a_break_even_trade_is_not_a_win():
    assert metrics.win_rate(net(5, 0, -1, 2)) == 0.5


def test_without_trades_there_is_no_win_rate():
    assert math.isnan(metrics.win_rate(net()))
    assert all(math.isnan(bound) for bound in metrics.wilson_interval(0, 0))


@pytest.mark.parametrize(
    ("won", "trades", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662)],
)
def test_the_wilson_interval_equals_the_published_one(won, trades, low, high):
    """81 of 263: Newcombe, Two-sided confidence intervals for the single proportion (1998), table I."""
    assert metrics.wilson_interval(won, trades) == pytest.approx((low, high), abs=6e-5)


def test_profit_factor_is_gains_over_losses():
    assert metrics.profit_factor(net(30, -10, 15, -5)) == 3.0
    assert metrics.profit_factor(net(-1)) == 0.0
    assert metrics.profit_factor(net(1)) == math.inf
    assert math.isnan(metrics.profit_factor(net()))
    assert math.isnan(metrics.profit_factor(net(0, 0)))


def test_sharpe_is_mean_over_sample_deviation_a_year():
    returns = [0.01, -0.02, 0.03, 0.0]

    assert metrics.sharpe(net(*returns)) == pytest.approx(mean(returns) / stdev(returns) * math.sqrt(365))


@pytest.mark.parametrize("returns", [[], [0.1], [0.0, 0.0], [0.1] * 7])
def test_constant_returns_have_no_sharpe_ratio(returns):
    assert math.isnan(metrics.sharpe(net(*returns)))


def test_sortino_divides_losses_by_all_days():
    assert metrics.sortino(net(0.03, -0.01, 0.02, -0.03)) == pytest.approx(
        0.0025 / math.sqrt((0.01**2 + 0.03**2) / 4) * math.sqrt(365)
    )
    assert math.isnan(metrics.sortino(net(0.01, 0.0)))


def test_cagr_compounds_to_a_year():
    assert metrics.cagr(1.21, 730) == pytest.approx(0.1)
    assert metrics.cagr(1.1, 365) == pytest.approx(0.1)
    assert metrics.cagr(0.0, 10) == -1.0
    assert metrics.cagr(-0.5, 10) == -1.0
    assert metrics.cagr(1e9, 1) == math.inf


def test_max_drawdown_starts_from_one():
    assert metrics.max_drawdown(net(0.9, 1.2, 0.6, 1.3)) == pytest.approx(0.5)
    assert metrics.max_drawdown(net(0.8, 0.9)) == pytest.approx(0.2)
    assert metrics.max_drawdown(net(1.1, 1.2)) == 0.0


def test_calmar_is_growth_over_drawdown():
    assert metrics.calmar(0.3, 0.15) == 2.0
    assert math.isnan(metrics.calmar(0.3, 0.0))


def test_exposure_counts_a_bar_with_an_exit_inside_not_at_its_open():
    stopped = (2, 4, ExitReason.STOP, -1.0)
    reversed_at_open = (6, 8, ExitReason.SIGNAL, 1.0)

    runs = [run_of([10_000], trades=[stopped, reversed_at_open])]

    assert metrics.exposure(runs, trade_totals(runs)) == 0.5


def test_trade_metrics_follow_the_formulas_over_all_trades():
    nets = np.random.default_rng(4).normal(size=200).round(1)
    rows = [(bar, bar + 3, ExitReason(bar % 5), gained) for bar, gained in enumerate(nets)]
    total = trade_totals([run_of([1.0], trades=rows[:90]), run_of([1.0], trades=rows[90:])])

    assert (total.profit, total.loss) == pytest.approx(metrics.profit_and_loss(nets))
    assert total.wins / total.trades == metrics.win_rate(nets)
    assert total.open_at_end == 40
    assert total.held_bars == 200 * 3 + 120


def test_daily_metrics_equal_those_of_empyrical():
    empyrical = pytest.importorskip("empyrical")
    returns = np.random.default_rng(4).normal(0.001, 0.01, 500)
    account = np.cumprod(1 + returns)

    assert metrics.sharpe(returns) == pytest.approx(empyrical.sharpe_ratio(returns, annualization=365), rel=1e-12)
    assert metrics.sortino(returns) == pytest.approx(empyrical.sortino_ratio(returns, annualization=365), rel=1e-12)
    assert metrics.max_drawdown(account) == pytest.approx(-empyrical.max_drawdown(returns), rel=1e-12)
    assert metrics.cagr(float(account[-1]), 500) == pytest.approx(empyrical.cagr(returns, annualization=365), rel=1e-12)


def test_a_summary_lists_every_metric_in_order():
    summary = metrics.summarise([run_of([10_100, 9_999, 10_200])])

    assert tuple(summary) == METRICS


def test_a_summary_pools_trades_and_reads_the_intrabar_low():
    first = run_of(
        [11_000, 10_450], [10_000, 8_800], trades=[(0, 1, ExitReason.TARGET, 500), (2, 3, ExitReason.END, -50)]
    )
    second = run_of([10_000, 10_000], trades=[(4, 5, ExitReason.STOP, -250)])

    summary = metrics.summarise([first, second])

    assert summary["trades"] == 3
    assert summary["trades_open_at_end"] == 1
    assert summary["win_rate"] == pytest.approx(1 / 3)
    assert summary["profit_factor"] == pytest.approx(500 / 300)
    assert summary["max_drawdown"] == pytest.approx(0.025)
    assert summary["max_drawdown_intrabar"] == pytest.approx(0.1)
    assert summary["days"] == 2


def test_without_trades_metrics_are_nan_and_drawdown_is_zero():
    summary = metrics.summarise([run_of([10_000, 10_000])])

    assert {name for name, value in summary.items() if math.isnan(value)} == {
        *("win_rate", "win_rate_low", "win_rate_high", "profit_factor", "sharpe", "sortino", "calmar")
    }
    assert summary["max_drawdown_intrabar"] == 0.0
    assert summary["cagr"] == 0.0


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=50))
def test_the_intrabar_drawdown_is_at_least_the_daily_one(returns):
    equity = 10_000 * np.cumprod(1 + np.array(returns))
    starts = np.concatenate(([10_000], equity[:-1]))
    summary = metrics.summarise([run_of(equity.tolist(), np.minimum(starts, equity).tolist())])

    assert summary["max_drawdown_intrabar"] >= summary["max_drawdown"] - 1e-12

"""Portfolio: a day's return is the mean over the datasets that judge it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.backtest.result import TRADE, BacktestRun
from optimizer.objective.metrics import max_drawdown_intrabar, sharpe
from optimizer.objective.portfolio import portfolio
from tests.factories.candles import BTC


def run_of(first_day: int, equity: list[float], lows: list[float] | None = None) -> BacktestRun:
    return BacktestRun(
        dataset=BTC,
        trades=np.zeros(0, dtype=TRADE),
        initial_equity=10_000.0,
        first_day=first_day,
        equity=np.array(equity, dtype=np.float64),
        lows=np.array(equity if lows is None else lows, dtype=np.float64),
        max_intrabar_drawdown=0.0,
        evaluated_bars=10,
        stopped=False,
    )


def test_equal_windows_take_the_mean_of_each_day():
    account = portfolio([run_of(5, [11_000, 11_000]), run_of(5, [9_000, 9_900])])

    assert account.days.tolist() == [5, 6]
    assert account.returns.tolist() == pytest.approx([0.0, 0.05])


def test_overlapping_windows_average_the_available_datasets():
    account = portfolio([run_of(5, [11_000, 11_000]), run_of(6, [9_000, 9_900])])

    assert account.days.tolist() == [5, 6, 7]
    assert account.returns.tolist() == pytest.approx([0.1, -0.05, 0.1])


def test_days_between_disjoint_windows_are_skipped():
    account = portfolio([run_of(100, [9_000]), run_of(5, [11_000, 12_100])])

    assert account.days.tolist() == [5, 6, 100]
    assert account.returns.tolist() == pytest.approx([0.1, 0.1, -0.1])
    assert account.equity.tolist() == pytest.approx([1.1, 1.21, 1.089])


def test_skipped_days_do_not_change_the_sharpe_ratio():
    apart = portfolio([run_of(0, [10_100, 10_000, 10_200]), run_of(1_000, [10_300, 10_100])])
    returns = apart.returns

    assert len(returns) == 5
    assert sharpe(returns) == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365))


def test_the_low_is_the_mean_low_applied_to_the_chained_value():
    account = portfolio([run_of(0, [11_000, 11_000], [10_000, 9_900]), run_of(0, [9_000, 9_000], [8_000, 9_000])])

    assert account.lows.tolist() == pytest.approx([0.9, 0.95])
    assert max_drawdown_intrabar(account) == pytest.approx(0.1)


def test_the_low_is_measured_from_the_previous_highest_close():
    account = portfolio([run_of(0, [12_000, 15_000], [10_000, 9_000])])

    assert max_drawdown_intrabar(account) == pytest.approx(1 - 9 / 12)


def test_days_after_a_total_loss_return_zero():
    account = portfolio([run_of(0, [0.0, 0.0]), run_of(0, [10_000, 11_000])])

    assert account.returns.tolist() == pytest.approx([-0.5, 0.05])


runs = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.integers(5_000, 20_000), min_size=1, max_size=6)), min_size=1, max_size=5
)


@given(runs)
def test_arbitrary_windows_give_the_exact_mean(drawn):
    """Compared with exact fractions, computed day by day."""
    account = portfolio([run_of(first, equity) for first, equity in drawn])
    by_day: dict[int, list[Fraction]] = {}
    for first, equity in drawn:
        for number, (start, end) in enumerate(zip([10_000, *equity], equity, strict=False)):
            by_day.setdefault(first + number, []).append(Fraction(end, start) - 1)

    assert account.days.tolist() == sorted(by_day)
    expected = [float(sum(by_day[day]) / len(by_day[day])) for day in sorted(by_day)]
    assert account.returns.tolist() == pytest.approx(expected, abs=1e-12)


@given(runs, st.randoms())
def test_the_dataset_order_does_not_change_the_portfolio(drawn, random):
    shuffled = random.sample(drawn, len(drawn))
    one, other = (portfolio([run_of(first, equity) for first, equity in order]) for order in (drawn, shuffled))

    assert one.days.tolist() == other.days.tolist()
    assert one.returns.tolist() == pytest.approx(other.returns.tolist(), abs=1e-15)

"""Paired differences: equal to the metrics, antisymmetric, as `arch` computes them, and with the nominal coverage."""

import math

import numpy as np
import pytest

from optimizer.objective import metrics
from optimizer.objective.portfolio import Portfolio
from optimizer.validation.statistics.bootstrap import block_length
from optimizer.validation.statistics.paired_difference import daily_metrics, paired_differences


def account(returns: np.ndarray, first_day: int = 18_000) -> Portfolio:
    days = first_day + np.arange(len(returns), dtype=np.int64)
    return Portfolio(days=days, returns=returns, low_returns=np.minimum(returns, 0.0) - 0.002)


def pair(seed: int, days: int = 500, edge: float = 0.0) -> tuple[Portfolio, Portfolio]:
    """Two accounts that share most of their returns."""
    random = np.random.default_rng(seed)
    market = random.normal(0.0005, 0.01, days)
    one, other = (market + random.normal(0, 0.002, days) for _ in range(2))
    return account(one), account(other + edge)


def test_daily_metrics_equal_those_of_a_run() -> None:
    one, _ = pair(3)
    growth = metrics.cagr(float(one.equity[-1]), len(one.days))
    found = {name: values[0] for name, values in daily_metrics(one.returns[:, None], one.low_returns[:, None]).items()}

    assert found == pytest.approx(
        {
            "sharpe": metrics.sharpe(one.returns),
            "sortino": metrics.sortino(one.returns),
            "cagr": growth,
            "max_drawdown": metrics.max_drawdown(one.equity),
            "max_drawdown_intrabar": one.max_drawdown_intrabar,
            "calmar": metrics.calmar(growth, one.max_drawdown_intrabar),
        }
    )


def test_exchanging_the_accounts_changes_the_sign() -> None:
    one, other = pair(1)
    there, back = paired_differences(one, other, 7), paired_differences(other, one, 7)

    assert there is not None and back is not None
    for name, found in there.by_metric.items():
        assert (found.value, found.low, found.high) == pytest.approx(
            (-back.by_metric[name].value, -back.by_metric[name].high, -back.by_metric[name].low)
        )


def test_an_account_does_not_differ_from_itself() -> None:
    one, _ = pair(1)
    found = paired_differences(one, one, 7)

    assert found is not None
    assert {(each.value, each.low, each.high) for each in found.by_metric.values()} == {(0.0, 0.0, 0.0)}


def test_the_interval_equals_that_of_arch() -> None:
    """Random draws differ between the libraries; the limits agree within a tenth of the width."""
    arch = pytest.importorskip("arch.bootstrap")
    one, other = pair(5, edge=0.0006)
    block = max(block_length(one.returns), block_length(other.returns))
    both = np.column_stack([one.returns, other.returns])

    def difference(drawn: np.ndarray) -> float:
        ratios = drawn.mean(axis=0) / drawn.std(axis=0, ddof=1) * math.sqrt(365)
        return float(ratios[1] - ratios[0])

    low, high = arch.StationaryBootstrap(block, both, seed=1).conf_int(difference, 3_000, method="percentile").ravel()
    found = paired_differences(one, other, 7, resamples=3_000)

    assert found is not None
    assert found.by_metric["sharpe"].value == pytest.approx(difference(both))
    assert found.by_metric["sharpe"].low == pytest.approx(low, abs=(high - low) / 10)
    assert found.by_metric["sharpe"].high == pytest.approx(high, abs=(high - low) / 10)


def test_the_interval_covers_the_true_difference() -> None:
    """Both accounts have the same distribution: the true difference is zero."""
    covered = 0
    for seed in range(200):
        one, other = pair(seed, days=300)
        found = paired_differences(one, other, seed, resamples=400)
        assert found is not None
        covered += found.by_metric["sharpe"].low <= 0 <= found.by_metric["sharpe"].high

    assert 0.90 <= covered / 200 <= 0.99


def test_pairing_narrows_the_interval() -> None:
    one, other = pair(2)
    shuffled = account(np.random.default_rng(0).permutation(other.returns))
    paired, unpaired = paired_differences(one, other, 7), paired_differences(one, shuffled, 7)

    assert paired is not None and unpaired is not None
    widths = [each.by_metric["sharpe"].high - each.by_metric["sharpe"].low for each in (paired, unpaired)]
    assert widths[0] < widths[1] / 2


def test_only_common_days_count() -> None:
    one, other = pair(4)
    later = Portfolio(days=other.days + 400, returns=other.returns, low_returns=other.low_returns)
    found = paired_differences(one, later, 7)

    assert found is not None
    assert (found.days, found.first_day, found.last_day) == (100, 18_400, 18_499)
    expected = metrics.sharpe(later.returns[:100]) - metrics.sharpe(one.returns[400:])
    assert found.by_metric["sharpe"].value == pytest.approx(expected)


def test_accounts_without_common_days_have_no_difference() -> None:
    one, other = pair(4)
    later = Portfolio(days=other.days + 500, returns=other.returns, low_returns=other.low_returns)

    assert paired_differences(one, later, 7) is None


def test_a_constant_account_has_no_sharpe_ratio_to_compare() -> None:
    one, _ = pair(4)
    flat = Portfolio(days=one.days, returns=np.zeros(len(one.days)), low_returns=np.zeros(len(one.days)))
    found = paired_differences(one, flat, 7)

    assert found is not None
    assert math.isnan(found.by_metric["sharpe"].value)
    assert math.isnan(found.by_metric["sharpe"].low)
    assert found.by_metric["max_drawdown"].value < 0

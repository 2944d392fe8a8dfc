"""Decisions of a forward test, by its rule alone."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from optimizer.forward.day_log import ForwardAction, ForwardDay
from optimizer.forward.decision import judged_days
from optimizer.forward.rule import ForwardRule, bound_of
from tests.factories.forward_rules import START, make_rule

NOW = datetime(2021, 4, 1, tzinfo=UTC)


def judged(rule: ForwardRule, returns: list[float]) -> list[ForwardDay]:
    days: list[date] = [START + timedelta(days=number) for number in range(len(returns))]
    return list(judged_days(rule, days, returns, [min(0.0, each) for each in returns], NOW))


def steady(mean: float, days: int = 1_000, seed: int = 1) -> list[float]:
    return (mean + 0.005 * np.random.default_rng(seed).standard_normal(days)).tolist()


def test_an_edge_is_deployed_once_the_lower_limit_is_above_zero() -> None:
    days = judged(make_rule(), steady(0.001))
    last = days[-1]

    assert last.action is ForwardAction.DEPLOY
    assert last.lower is not None
    assert last.lower >= 0
    assert last.e_value >= 20
    assert all(each.action is ForwardAction.CONTINUE for each in days[:-1])
    assert "e-value" in last.reason


def test_nothing_is_deployed_before_the_minimum_number_of_days() -> None:
    days = judged(make_rule(), [0.01] * 60)

    assert days[-1].number == 30
    assert days[10].e_value < 20 < days[28].e_value


def test_a_loss_beyond_the_bound_stops_whatever_the_evidence_is() -> None:
    days = judged(make_rule(), [*[0.004] * 20, -0.05, 0.01])

    assert (days[-1].number, days[-1].action) == (21, ForwardAction.STOP)
    assert "more than the bound of 4.00%" in days[-1].reason


def test_a_drawdown_beyond_the_limit_stops() -> None:
    days = judged(make_rule(limits={"max_drawdown": 0.10}), [0.02, *[-0.01] * 30])

    assert days[-1].action is ForwardAction.STOP
    assert "drawdown" in days[-1].reason
    assert 0.10 < days[-1].drawdown < 0.12


def test_a_mean_below_what_is_worthwhile_stops() -> None:
    days = judged(make_rule(), steady(-0.0008))

    assert days[-1].action is ForwardAction.STOP
    assert days[-1].upper is not None
    assert days[-1].upper <= 0.005 / 365**0.5
    assert "a Sharpe ratio of 1" in days[-1].reason


def test_no_decision_stops_after_the_last_day() -> None:
    days = judged(make_rule(limits={"max_days": 40}), [0.0] * 60)

    assert (len(days), days[-1].action) == (40, ForwardAction.STOP)
    assert days[-1].reason == "no decision after 40 days"


def test_equity_and_drawdown_are_those_of_the_returns() -> None:
    days = judged(make_rule(), [0.01, -0.02, 0.03])

    assert [each.equity for each in days] == pytest.approx([1.01, 1.01 * 0.98, 1.01 * 0.98 * 1.03])
    assert [each.drawdown for each in days] == pytest.approx([0.0, 0.02, 0.02])


def test_the_bound_is_generous_to_the_deviation_and_the_worst_day() -> None:
    assert bound_of(0.005, -0.01) == pytest.approx(0.04)
    assert bound_of(0.005, -0.06) == pytest.approx(0.09)


def test_a_rule_says_all_of_its_limits() -> None:
    told = " ".join(make_rule(limits={"max_days": 700, "min_days": 20, "max_drawdown": 0.2}).sentences)

    assert all(part in told for part in ("day 20", "700 days", "20.0%", "4.00%", "Sharpe ratio of 1", "0.05"))

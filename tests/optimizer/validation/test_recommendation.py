"""Recommendation: the deciding rule; unknown values never count as passed."""

from dataclasses import dataclass

import pytest

from optimizer.curriculum.state_machine import RunOutcome
from optimizer.validation.evidence import (
    BacktestOverfitting,
    Benchmark,
    DeflatedSharpe,
    Evidence,
    ExcessReturn,
    HoldoutResult,
    NullTest,
)
from optimizer.validation.gate import Criterion
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.recommendation import RecommendedAction, Tier, recommend
from tests.factories.levels import level_of

LEVELS = tuple(level_of(name=name, title=f"Level {name}") for name in "123")
PARAMETERS = {"fast": 9, "slow": 44}


@dataclass(frozen=True)
class Verdict:
    passed: bool = True
    relaxed: float = 0.0
    reason: str = "all criteria met on validation"


MET = {name: Verdict() for name in "123"}
MISSED = Verdict(passed=False, reason="missed on validation: sharpe")


def reading(name: str, value: float, target: float, low: float, *, is_ceiling: bool = False) -> Criterion:
    return Criterion(name=name, value=value, target=target, is_ceiling=is_ceiling, low=low, high=9.0, trades=40)


def look(sharpe: float = 2.0, low: float = 0.4, fall: float = 0.1, trades: float = 40.0) -> HoldoutResult:
    return HoldoutResult(
        window="2024",
        datasets=("coinbase/BTC-USD/H1",),
        readings=(
            reading("sharpe", sharpe, 0.8, low),
            reading("max_drawdown_intrabar", fall, 0.15, 0.05, is_ceiling=True),
            reading("trades", trades, 10, float("nan")),
        ),
        metrics={},
        psr=0.99,
        days_needed=200.0,
        benchmark=Benchmark.HOLD_LONG,
        days=(1,),
        equity=(1.0,),
        drawdown=(0.0,),
        buy_and_hold=(1.0,),
    )


def evidence(**changes: object) -> Evidence:
    """Evidence on a winner that meets all conditions."""
    excess = ExcessReturn(
        part=HOLDOUT, benchmark=Benchmark.HOLD_LONG, a_year=0.1, low=-0.1, high=0.3, sharpe=2.0, benchmark_sharpe=1.0
    )
    given = {
        "level": "3",
        "attempt": 1,
        "trial": 5,
        "parameters": PARAMETERS,
        "deflation": deflation(0.99),
        "overfit": BacktestOverfitting(probability=0.1, trials=80, left_out=20, parts=16),
        "excess": (excess,),
        "looks_ahead": None,
        "robustness": (),
        "break_even_bps": 12.0,
        "holdout": look(),
        "holdout_missing": None,
    }
    return Evidence(**{**given, **changes})


def deflation(probability: float | None) -> DeflatedSharpe:
    return DeflatedSharpe(
        sharpe=2.0,
        days=700,
        trials=350,
        expected_maximum=0.9,
        probability=probability,
        effective_trials=60.0,
        effective_probability=probability,
    )


def null(high: float) -> NullTest:
    return NullTest(
        surrogates=40,
        passed=1,
        pass_rate=0.025,
        low=0.0,
        high=high,
        attempts=1,
        block_days=10.0,
        met={},
        quantiles={},
    )


def make_evidence(found: Evidence | None, **changes: object):
    given = {
        "outcome": RunOutcome.PASSED,
        "levels": LEVELS,
        "verdicts": MET,
        "forced": [],
        "evidence": found,
        "null_tests": {"3": null(0.13)},
        "analyses": {
            "stability": {"stable": True, "median_kept": 0.9},
            "regimes": {"validation": {"one_cell_carries": False}},
        },
    }
    return recommend(**{**given, **changes})


def missed(found) -> list[str]:
    return [check.name for check in found.checks if not check.met]


def test_all_conditions_met_recommends_deployment() -> None:
    found = make_evidence(evidence())

    assert (found.action, found.tier, missed(found)) == (RecommendedAction.DEPLOY, Tier.TARGET, [])
    assert (found.level, found.parameters) == ("3", PARAMETERS)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"deflation": deflation(0.94)}, "deflated_sharpe_95"),
        ({"overfit": BacktestOverfitting(probability=0.3, trials=80, left_out=0, parts=16)}, "overfitting_20"),
        ({"holdout": look(low=-0.1)}, "holdout_sharpe_low"),
        ({"holdout": look(low=0.0)}, "holdout_sharpe_low"),
        ({"holdout": look(low=float("nan"))}, "holdout_sharpe_low"),
        ({"holdout": look(fall=0.2)}, "holdout_drawdown"),
        ({"holdout": look(trades=9)}, "holdout_trades"),
        ({"holdout": None, "holdout_missing": "not there"}, "holdout"),
        ({"excess": ()}, "holdout_excess"),
    ],
)
def test_an_unmet_deployment_condition_recommends_paper_trading(changes: dict, check: str) -> None:
    found = make_evidence(evidence(**changes))

    assert (found.action, missed(found)) == (RecommendedAction.PAPER_TRADE, [check])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"null_tests": {"3": null(0.21)}}, "null_20"),
        ({"analyses": {}}, "stable"),
        ({"analyses": {"stability": {"stable": False, "median_kept": None}}}, "stable"),
        (
            {"analyses": {"stability": {"stable": True}, "regimes": {"validation": {"one_cell_carries": True}}}},
            "more_than_one_regime",
        ),
        ({"forced": ["code", "code"]}, "nothing_mixed"),
        ({"verdicts": {**MET, "2": Verdict(relaxed=0.1)}}, "targets_unchanged"),
    ],
)
def test_a_gap_of_the_run_recommends_paper_trading(changes: dict, check: str) -> None:
    found = make_evidence(evidence(), **changes)

    assert (found.action, missed(found)) == (RecommendedAction.PAPER_TRADE, [check])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"looks_ahead": "bar 7 knows bar 8"}, "no_look_ahead"),
        ({"holdout": look(sharpe=0.0)}, "holdout_sharpe"),
        ({"holdout": look(sharpe=-1.0, low=-3.0)}, "holdout_sharpe"),
        ({"overfit": BacktestOverfitting(probability=0.51, trials=80, left_out=0, parts=16)}, "overfitting"),
        ({"deflation": deflation(0.49)}, "deflated_sharpe"),
    ],
)
def test_an_unmet_basic_condition_recommends_no_trading(changes: dict, check: str) -> None:
    found = make_evidence(evidence(**changes))

    assert found.action is RecommendedAction.DO_NOT_DEPLOY
    assert check in missed(found)
    assert found.reason == "; ".join(each.found for each in found.checks if each.name == check)


@pytest.mark.parametrize(
    ("changes", "run", "checks"),
    [
        (
            {"overfit": BacktestOverfitting(probability=None, trials=1, left_out=0, parts=16)},
            {},
            ["overfitting", "overfitting_20"],
        ),
        ({"deflation": deflation(None)}, {}, ["deflated_sharpe", "deflated_sharpe_95"]),
        ({}, {"null_tests": {}}, ["null", "null_20"]),
        ({}, {"null_tests": {"2": null(0.1)}}, ["null", "null_20"]),
    ],
)
def test_an_unknown_value_does_not_prevent_paper_trading(changes: dict, run: dict, checks: list[str]) -> None:
    found = make_evidence(evidence(**changes), **run)

    assert (found.action, missed(found)) == (RecommendedAction.PAPER_TRADE, checks)
    assert found.rule == "no check failed, but a check for deployment has no result"


def test_a_gate_with_a_high_false_positive_rate_recommends_no_trading() -> None:
    found = make_evidence(evidence(), null_tests={"3": null(0.9).model_copy(update={"pass_rate": 0.51})})

    assert (found.action, missed(found)) == (RecommendedAction.DO_NOT_DEPLOY, ["null", "null_20"])


def test_missing_only_the_last_gate_allows_paper_trading() -> None:
    found = make_evidence(
        evidence(level="2"),
        outcome=RunOutcome.ESCALATED,
        verdicts={**MET, "3": MISSED},
        null_tests={"2": null(0.1)},
    )

    assert (found.action, found.tier, missed(found)) == (RecommendedAction.PAPER_TRADE, Tier.MINIMUM, ["gate_3"])


def test_missing_an_earlier_gate_prevents_deployment() -> None:
    found = make_evidence(evidence(level="2"), outcome=RunOutcome.ESCALATED, verdicts={"1": Verdict(), "2": MISSED})

    assert (found.action, found.tier) == (RecommendedAction.DO_NOT_DEPLOY, Tier.ESCALATED)
    assert found.reason == "gate of level 2: missed on validation: sharpe"
    assert "not reached" in next(check.found for check in found.checks if check.name == "gate_3")


def test_without_a_winner_no_trading_is_recommended() -> None:
    found = make_evidence(
        None, outcome=RunOutcome.ESCALATED, verdicts={"1": Verdict(passed=False, reason="no trial met it")}
    )

    assert (found.action, found.level, found.parameters, found.evidence) == (
        RecommendedAction.DO_NOT_DEPLOY,
        None,
        None,
        None,
    )


def test_a_single_level_must_pass_its_gate_for_any_trading() -> None:
    found = make_evidence(
        evidence(level="1"),
        levels=LEVELS[:1],
        outcome=RunOutcome.ESCALATED,
        verdicts={"1": MISSED},
        null_tests={"1": null(0.1)},
    )

    assert (found.action, found.tier) == (RecommendedAction.DO_NOT_DEPLOY, Tier.ESCALATED)


def test_without_a_stable_winner_the_tier_is_minimum() -> None:
    assert make_evidence(evidence(), analyses={}).tier is Tier.MINIMUM
    assert make_evidence(evidence(), analyses={"stability": {"stable": False}}).tier is Tier.MINIMUM

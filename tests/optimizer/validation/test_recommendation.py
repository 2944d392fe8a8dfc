"""Recommendation: mandate and evidence of skill, blocking checks, diagnostics, and what would change the answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from optimizer.curriculum.state_machine import RunOutcome
from optimizer.validation.checks.check import Axis, months_of
from optimizer.validation.checks.skill import Strength
from optimizer.validation.evidence import (
    BacktestOverfitting,
    Benchmark,
    DeflatedSharpe,
    Evidence,
    ExcessReturn,
    HoldoutResult,
    NullTest,
    Skill,
)
from optimizer.validation.gate import Criterion
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.recommendation import (
    RecommendedAction,
    Tier,
    examined_level,
    may_open_holdout,
    recommend,
)
from optimizer.validation.statistics.alpha import upper_tail
from tests.factories.levels import level_of

LEVELS = tuple(level_of(name=name, title=f"Level {name}") for name in "123")
PARAMETERS = {"fast": 9, "slow": 44}
DEPLOY, PAPER, NO = RecommendedAction.DEPLOY, RecommendedAction.PAPER_TRADE, RecommendedAction.DO_NOT_DEPLOY


def reading(name: str, value: float, target: float, low: float, *, is_ceiling: bool = False) -> Criterion:
    return Criterion(name=name, value=value, target=target, is_ceiling=is_ceiling, low=low, high=9.0, trades=40)


READINGS = (reading("sharpe", 1.2, 0.8, 0.3),)


@dataclass(frozen=True)
class Verdict:
    passed: bool = True
    relaxed: float = 0.0
    reason: str = "all criteria met on validation"
    readings: Sequence[Criterion] = READINGS
    validation_days: float = 300.0
    nearest: Mapping[str, float] = field(default_factory=dict)


MET = {name: Verdict() for name in "123"}
MISSED = Verdict(passed=False, reason="missed on validation: sharpe", readings=(reading("sharpe", 0.62, 0.8, -0.3),))
NO_WINNER = Verdict(
    passed=False,
    reason="no trial met all constraints on train",
    readings=(),
    nearest={"sharpe": -0.2, "drawdown": 0.03},
)


def skill(t: float, days: int = 900, part: str = "test") -> Skill:
    return Skill(
        part=part,
        first_day=18_000,
        last_day=18_000 + days - 1,
        days=days,
        alpha_a_year=0.1,
        standard_error_a_year=0.05,
        beta=0.3,
        t=t,
        lags=6,
        p=upper_tail(t, days - 2),
        sharpe=1.5,
        sharpe_low=0.4,
        sharpe_high=2.6,
        skewness=0.0,
        kurtosis=3.0,
    )


def look(
    sharpe: float = 2.0, low: float = 0.4, fall: float = 0.1, trades: float = 40.0, t: float = 3.0
) -> HoldoutResult:
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
        skill=skill(t, 600, HOLDOUT),
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
        "out_of_sample": skill(3.0),
        "deflation": deflation(0.99),
        "out_of_sample_deflation": deflation(0.99),
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


def null(*t: float, high: float = 0.13) -> NullTest:
    drawn = t or tuple(number / 10 - 1 for number in range(20))
    return NullTest(
        surrogates=len(drawn),
        t=drawn,
        sharpe=(-1.0, 0.0, 1.0),
        mandates=0,
        pass_rate=0.0,
        low=0.0,
        high=high,
        passed={},
        block_days=10.0,
    )


def make_recommendation(found: Evidence | None, **changes: object):
    given = {
        "outcome": RunOutcome.PASSED,
        "levels": LEVELS,
        "verdicts": MET,
        "forced": [],
        "evidence": found,
        "null_test": null(),
        "analyses": {
            "stability": {"stable": True, "median_kept": 0.9},
            "regimes": {"validation": {"one_cell_carries": False}},
        },
    }
    return recommend(**{**given, **changes})


def missed(found) -> list[str]:
    return [check.name for check in found.checks if not check.met]


WEAK = {"out_of_sample": skill(0.2), "holdout": look(t=0.1)}
"""No evidence of skill."""
SOME = {"out_of_sample": skill(3.0), "holdout": look(t=1.0)}
"""A combined p-value between 0.01 and 0.05: 1/21 and 0.16."""
GATE_3 = {"verdicts": {**MET, "3": MISSED}, "outcome": RunOutcome.ESCALATED}


def test_mandate_and_strong_evidence_recommend_deployment() -> None:
    found = make_recommendation(evidence())

    assert (found.action, found.tier, missed(found)) == (DEPLOY, Tier.TARGET, [])
    assert (found.mandate, found.strength, found.would_change) == (True, Strength.STRONG, ())
    assert found.rule == "mandate met, strong evidence of skill"
    assert (found.level, found.parameters) == ("3", PARAMETERS)


@pytest.mark.parametrize(
    ("changes", "run", "action", "rule"),
    [
        ({}, {}, DEPLOY, "mandate met, strong evidence of skill"),
        ({}, GATE_3, PAPER, "mandate missed, strong evidence of skill"),
        (SOME, {}, PAPER, "mandate met, some evidence of skill"),
        (SOME, GATE_3, PAPER, "mandate missed, some evidence of skill"),
        (WEAK, {}, NO, "mandate met, no evidence of skill"),
        (WEAK, GATE_3, NO, "mandate missed, no evidence of skill"),
    ],
)
def test_mandate_and_evidence_are_two_axes(changes: dict, run: dict, action: RecommendedAction, rule: str) -> None:
    found = make_recommendation(evidence(**changes), **run)

    assert (found.action, found.rule) == (action, rule)


def test_evidence_without_the_mandate_says_which_gate_is_missed_and_by_how_much() -> None:
    found = make_recommendation(evidence(), **GATE_3)

    assert found.reason == "gate of level 3: missed on validation: sharpe"
    assert found.would_change == (
        "Gate of level 3: sharpe 0.62 misses 0.8 by 0.18: no further days at this level would change it, but its 95 % "
        "interval includes the target",
    )


@pytest.mark.parametrize(
    ("changes", "run", "check"),
    [
        ({}, {"forced": ["code", "code"]}, "nothing_mixed"),
        (
            {"holdout": None, "holdout_missing": "not there", "out_of_sample": skill(5.0)},
            {"null_test": null(*[0.0] * 200)},
            "holdout",
        ),
        ({}, {"null_test": None}, "null_test"),
    ],
)
def test_a_blocking_check_leaves_a_paper_trade(changes: dict, run: dict, check: str) -> None:
    found = make_recommendation(evidence(**changes), **run)

    assert (found.action, missed(found)[0]) == (PAPER, check)
    assert found.rule == "mandate met, strong evidence of skill, deployment blocked"


def test_relaxed_targets_do_not_meet_the_mandate() -> None:
    found = make_recommendation(evidence(), verdicts={**MET, "2": Verdict(relaxed=0.1)})

    assert (found.action, found.mandate, missed(found)) == (PAPER, False, ["targets_unchanged"])


def test_a_look_ahead_leaves_no_evidence() -> None:
    found = make_recommendation(evidence(looks_ahead="bar 7 knows bar 8"))

    assert (found.action, found.strength) == (NO, Strength.NONE)
    assert found.reason == "look-ahead found: bar 7 knows bar 8"


@pytest.mark.parametrize(
    ("changes", "run", "check"),
    [
        ({"deflation": deflation(0.94)}, {}, "deflated_sharpe"),
        ({"deflation": deflation(None)}, {}, "deflated_sharpe"),
        ({"out_of_sample_deflation": deflation(0.9)}, {}, "deflated_sharpe_out_of_sample"),
        ({"overfit": BacktestOverfitting(probability=0.6, trials=80, left_out=0, parts=16)}, {}, "overfitting"),
        ({"holdout": look(low=-0.1)}, {}, "holdout_sharpe_low"),
        ({"holdout": look(sharpe=-1.0)}, {}, "holdout_sharpe"),
        ({"holdout": look(low=float("nan"))}, {}, "holdout_sharpe_low"),
        ({"holdout": look(fall=0.2)}, {}, "holdout_drawdown"),
        ({"holdout": look(trades=9)}, {}, "holdout_trades"),
        ({"excess": ()}, {}, "holdout_excess"),
        ({}, {"null_test": null(high=0.21)}, "null"),
        ({}, {"analyses": {}}, "stable"),
        ({}, {"analyses": {"stability": {"stable": False, "median_kept": None}}}, "stable"),
        (
            {},
            {"analyses": {"stability": {"stable": True}, "regimes": {"validation": {"one_cell_carries": True}}}},
            "more_than_one_regime",
        ),
    ],
)
def test_a_diagnostic_warns_and_decides_nothing(changes: dict, run: dict, check: str) -> None:
    found = make_recommendation(evidence(**changes), **run)

    assert (found.action, missed(found)) == (DEPLOY, [check])
    assert next(each.axis for each in found.checks if each.name == check) is Axis.DIAGNOSTIC


def test_the_p_value_is_that_of_the_null_test_combined_with_the_holdout_period() -> None:
    found = make_recommendation(evidence(out_of_sample=skill(0.55), holdout=look(t=2.0)))

    assert found.skill.p_out_of_sample == pytest.approx(5 / 21), "0.6, 0.7, 0.8, 0.9 and the run itself"
    assert (found.skill.surrogates, found.skill.at_least) == (20, 4)
    assert found.skill.p_holdout == pytest.approx(upper_tail(2.0, 598))
    assert "out of sample t = 0.55, p = 0.238 (null test of 20 surrogate markets)" in found.skill.sentence


def test_without_a_null_test_the_t_distribution_is_used_and_named_and_nothing_is_deployed() -> None:
    found = make_recommendation(evidence(), null_test=None)

    assert found.skill.p_out_of_sample == pytest.approx(upper_tail(3.0, 898))
    assert "Student's t distribution, because no null test was run" in found.skill.sentence
    assert (found.action, found.strength) == (PAPER, Strength.STRONG)
    assert found.would_change == ("Null test: tradeschool optimize null",)


def test_a_lucky_search_is_no_evidence_where_surrogate_markets_do_as_well() -> None:
    """The t distribution alone would call t = 3 strong."""
    found = make_recommendation(evidence(holdout=look(t=0.5)), null_test=null(*[3.5] * 20))

    assert (found.action, found.skill.p_out_of_sample) == (NO, 1.0)


def test_missed_evidence_says_how_many_more_months_change_it() -> None:
    found = make_recommendation(evidence(**SOME))
    days = found.skill.further_days[Strength.STRONG]

    assert missed(found) == ["skill_strong"]
    assert found.skill.further_days[Strength.SOME] == 0
    assert (math.sqrt(600) + (90 + math.sqrt(600)) / 1500 * days) / math.sqrt(600 + days) == pytest.approx(1.9, abs=0.1)
    assert found.would_change == (
        f"Strong evidence of skill: {months_of(days)} at the level seen so far; "
        "20 surrogate markets give no p-value below 0.0476, more of them may",
    )


def test_without_a_positive_alpha_no_number_of_months_is_enough() -> None:
    found = make_recommendation(evidence(out_of_sample=skill(-1.0), holdout=look(t=-1.0)))

    assert found.skill.further_days == {Strength.SOME: None, Strength.STRONG: None}
    assert "no further days at the level seen so far would change it: alpha is not positive" in found.would_change[0]


def test_few_trades_say_how_many_more_months_are_needed() -> None:
    few = Verdict(passed=False, readings=(reading("trades", 6, 10, float("nan")),), validation_days=90.0)
    found = make_recommendation(evidence(), verdicts={**MET, "3": few})

    assert found.would_change == ("Gate of level 3: trades 6 misses 10 by 4: about 2 more months at this level",)


def test_without_a_winner_the_nearest_trial_is_named() -> None:
    found = make_recommendation(None, outcome=RunOutcome.ESCALATED, verdicts={"1": NO_WINNER}, null_test=None)

    assert (found.action, found.level, found.parameters, found.skill) == (NO, None, None, None)
    assert found.reason.startswith("p-value of no skill: unknown, no winner out of sample, required <= 0.05; gate of")
    assert found.would_change[0] == "Gate of level 1: the nearest trial misses drawdown by 0.03 on train"
    assert "not reached" in next(check.found for check in found.checks if check.name == "gate_3")


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (10.0, "about 1 more month"),
        (200.0, "about 7 more months"),
        (1e9, "more than 10 more years"),
        (float("inf"), "more than 10 more years"),
    ],
)
def test_days_are_said_in_months(days: float, said: str) -> None:
    assert months_of(days) == said


def test_the_examined_level_is_the_latest_with_a_winner() -> None:
    assert examined_level(LEVELS, MET, "3") == "3"
    assert examined_level(LEVELS, {"1": Verdict(), "2": MISSED}, "2") == "2"
    assert examined_level(LEVELS, {"1": MISSED, "3": Verdict()}, "1") == "3"
    assert examined_level(LEVELS, {"1": MISSED, "3": NO_WINNER}, "1") == "1"
    assert examined_level(LEVELS, {"1": NO_WINNER}, "1") == "1"


def test_the_holdout_period_is_opened_once_the_last_level_was_judged() -> None:
    assert may_open_holdout(LEVELS, {"1": MISSED, "3": MISSED})
    assert not may_open_holdout(LEVELS, {"1": Verdict(), "2": MISSED})


def test_without_a_stable_winner_the_tier_is_minimum() -> None:
    assert make_recommendation(evidence(), analyses={}).tier is Tier.MINIMUM
    assert make_recommendation(evidence(), analyses={"stability": {"stable": False}}).tier is Tier.MINIMUM
    assert make_recommendation(evidence(), **GATE_3).tier is Tier.MINIMUM
    assert make_recommendation(evidence(), outcome=RunOutcome.ESCALATED, verdicts={"1": MISSED}).tier is Tier.ESCALATED


@pytest.mark.parametrize(
    ("attempts", "told"), [(1, "DSR, 1 attempt on its days)"), (2, "DSR, 2 attempts on its days)")]
)
def test_a_number_of_attempts_is_counted_in_words(attempts: int, told: str) -> None:
    seen = deflation(0.99).model_copy(update={"trials": attempts})
    found = make_recommendation(evidence(out_of_sample_deflation=seen))

    assert told in next(check.found for check in found.checks if check.name == "deflated_sharpe_out_of_sample")

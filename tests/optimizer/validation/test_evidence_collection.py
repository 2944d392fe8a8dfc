"""Evidence on a winner: each value equals an independent computation."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime

import empyrical
import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.costs import CostRates
from optimizer.bars.lead_in import JudgedWindow
from optimizer.level.costs import Costs
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.risk import Risk
from optimizer.level.spec import Direction, Gate, Level, MinTrades, Part
from optimizer.objective import metrics
from optimizer.objective.choices import Choice
from optimizer.objective.objective import backtest, prepare_level, prepare_windows
from optimizer.objective.portfolio import portfolio
from optimizer.strategies.protocol import IntParameter, Parameter
from optimizer.validation.analyses.deflated_sharpe import deflate, deflate_out_of_sample
from optimizer.validation.analyses.excess_return import excess, held_sizes
from optimizer.validation.analyses.robustness import break_even_bps, robustness_cases
from optimizer.validation.analyses.stress import StressCase
from optimizer.validation.evaluated_winner import EvaluatedWinner
from optimizer.validation.evidence import Benchmark, Skill
from optimizer.validation.evidence_collection import daily_returns, gather_evidence
from optimizer.validation.statistics.alpha import alpha_of
from optimizer.validation.statistics.overfitting import overfitting
from optimizer.validation.statistics.sharpe import (
    ReturnMoments,
    deflated_sharpe,
    effective_trials,
    probabilistic_sharpe,
)
from tests.factories.levels import PARAMETERS, level_of, read_flat, read_made, read_trending
from tradeschool.markets.windows import Window

DATASETS = ("coinbase/BTC-USD/H1", "oanda/EUR-USD/H1")
DAYS = (date(2021, 3, 1), date(2021, 6, 9))
LATER = Window(datetime(2021, 7, 1, tzinfo=UTC), datetime(2021, 8, 20, tzinfo=UTC))
YEAR = math.sqrt(365)
FREE = Costs(crypto_fee_bps=0, crypto_slippage_bps=0, fx_fee_bps=0, fx_slippage_bps=0)


def later(level: Level) -> list[JudgedWindow]:
    return [JudgedWindow(source=each.source, window=LATER) for each in level.datasets]


def make_level(**fields: object):
    given = {
        "gate": Gate(win_rate=0.1, sharpe=0.1, max_drawdown_intrabar=0.9, profit_factor=0.1),
        "min_trades": MinTrades(train=1, validation=1),
        **fields,
    }
    datasets = tuple(LevelDataset(dataset=name, start=DAYS[0], end=DAYS[1]) for name in DATASETS)
    return level_of(DATASETS, **given).model_copy(update={"datasets": datasets})


@dataclass(frozen=True)
class Peeking:
    """A strategy with lookahead that buys before a rise."""

    name: str = "peeking"
    parameters: tuple[Parameter, ...] = (IntParameter(name="wait", low=1, high=9, default=1, meaning="Bars."),)

    def warm_up(self, bounds, timeframe) -> int:
        return 10

    def repair(self, parameters):
        return dict(parameters)

    def signals(self, candles, parameters, direction) -> np.ndarray:
        return np.sign(np.append(np.diff(candles.close.astype(float)), 0)).astype(np.int8)


PEEKING = Peeking()


def trial(number: int, value: float | None, state: TrialState = TrialState.COMPLETE, **parameters: float):
    made = create_trial(state=state, value=value, params={}, distributions={})
    made.number = number
    made.params = {**PARAMETERS, **parameters}
    return made


TRIALS = [
    trial(0, 1.0),
    trial(1, 0.4, fast=8),
    trial(2, -0.6, fast=12),
    trial(3, 1.0),  # the first one's parameters again
    trial(4, 0.2, TrialState.PRUNED, fast=14),
    trial(5, None, TrialState.FAIL, fast=15),
]


def subject(level, **changes: object) -> EvaluatedWinner:
    given = {
        "level": level,
        "attempt": 1,
        "trial": 0,
        "parameters": PARAMETERS,
        "size": 1.0,
        "trials": TRIALS,
        "trials_of_run": 40,
        "seed": 7,
    }
    return EvaluatedWinner(**{**given, **changes})


def make_evidence(level, *, holdout: bool = False, **changes: object):
    prepared = {part: prepare_level(level, part, read_made) for part in Part}
    train = prepared[Part.TRAIN]
    opened = prepare_windows(level, later(level), read_made) if holdout else None

    def measure(sets):
        return [daily_returns(level, train, each) for each in sets]

    missing = None if holdout else "it is not there"
    return gather_evidence(subject(level, **changes), prepared, read_made, measure, opened, missing)


def columns(level) -> np.ndarray:
    train = prepare_level(level, Part.TRAIN, read_made)
    sets = [PARAMETERS, {**PARAMETERS, "fast": 8}, {**PARAMETERS, "fast": 12}]
    return np.column_stack([portfolio([backtest(level, each, one) for each in train]).returns for one in sets])


def test_the_sharpe_ratio_is_deflated_by_every_trial_of_the_run() -> None:
    level = make_level()
    returns = columns(level)
    found = make_evidence(level).deflation

    moments = ReturnMoments.of(returns[:, 0])
    variance = float(np.var(np.array([1.0, 0.4, -0.6, 1.0]) / YEAR, ddof=1))
    assert (found.trials, found.days) == (40, len(returns))
    assert found.sharpe == pytest.approx(metrics.sharpe(returns[:, 0]))
    assert found.probability == pytest.approx(deflated_sharpe(moments, variance, 40))
    effective = effective_trials(returns) / 3 * 40
    assert found.effective_trials == pytest.approx(effective)
    assert found.effective_probability == pytest.approx(deflated_sharpe(moments, variance, effective))
    assert 1 < found.effective_trials < 40
    assert found.probability < found.effective_probability


def test_a_single_trial_has_no_deflated_sharpe_ratio() -> None:
    level = make_level()
    returns = columns(level)[:, :1]

    found = deflate(subject(level, trials=TRIALS[:1], trials_of_run=1), returns[:, 0], returns)

    assert (found.expected_maximum, found.probability) == (None, None)


def test_overfitting_uses_distinct_complete_trials() -> None:
    level = make_level()
    found, returns = make_evidence(level).overfit, columns(level)

    assert found.probability == pytest.approx(overfitting(returns).probability)
    assert (found.trials, found.left_out, found.parts) == (3, 2, 16)


def held(level, part: Part, side: int):
    prepared = prepare_level(level, part, read_made)
    return portfolio(
        [buy_and_hold(each, side, CostRates.of(level.costs, each.dataset.instrument.market)) for each in prepared]
    )


@pytest.mark.parametrize(
    ("direction", "benchmark", "side"),
    [(Direction.LONG, Benchmark.HOLD_LONG, 1), (Direction.SHORT, Benchmark.HOLD_SHORT, -1)],
)
def test_excess_is_the_return_above_buy_and_hold_of_the_same_side(direction, benchmark, side: int) -> None:
    level = make_level(direction=direction)
    found = {each.part: each for each in make_evidence(level).excess}

    assert [*found] == ["train", "validation", "test"]
    prepared = prepare_level(level, Part.VALIDATION, read_made)
    winner = portfolio([backtest(level, each, PARAMETERS) for each in prepared])
    other = held(level, Part.VALIDATION, side)
    validation = found["validation"]
    assert validation.benchmark is benchmark
    assert validation.a_year == pytest.approx(365 * (winner.returns.mean() - other.returns.mean()))
    assert validation.low < validation.a_year < validation.high
    assert validation.sharpe == pytest.approx(metrics.sharpe(winner.returns))
    assert validation.benchmark_sharpe == pytest.approx(metrics.sharpe(other.returns))


def test_two_sided_trading_is_compared_with_the_better_hold() -> None:
    level = make_level()
    prepared = prepare_level(level, Part.TRAIN, read_made)
    better = max((1, -1), key=lambda side: held(level, Part.TRAIN, side).returns.mean())

    winner = portfolio([backtest(level, each, PARAMETERS) for each in prepared])
    found = excess(subject(level), "train", winner, prepared, held_sizes(level, prepared))

    assert found.benchmark is {1: Benchmark.HOLD_LONG, -1: Benchmark.HOLD_SHORT}[better]


def test_buy_and_hold_has_no_excess() -> None:
    level = make_level(direction=Direction.LONG)
    prepared = prepare_level(level, Part.TRAIN, read_made)

    found = excess(subject(level), "train", held(level, Part.TRAIN, 1), prepared, held_sizes(level, prepared))

    assert (found.a_year, found.low, found.high) == (0.0, 0.0, 0.0)


def test_buy_and_hold_has_the_risk_of_the_budget_on_train() -> None:
    """An account of a tenth of the volatility is not compared with one of the whole."""
    level = make_level(direction=Direction.LONG, risk=Risk(target_volatility=0.03))
    prepared = {part: prepare_level(level, part, read_made) for part in Part}
    sizes = held_sizes(level, prepared[Part.TRAIN])
    passive = held(level, Part.TRAIN, 1)
    found = excess(subject(level), "train", passive.sized(0.5), prepared[Part.TRAIN], sizes)

    assert sizes == {
        Benchmark.HOLD_LONG: pytest.approx(0.03 / empyrical.annual_volatility(passive.returns, annualization=365))
    }
    difference = (0.5 - sizes[Benchmark.HOLD_LONG]) * passive.returns.mean()
    assert found.a_year == pytest.approx(365 * difference)


def test_the_evidence_reads_the_account_at_its_size() -> None:
    whole, small = make_evidence(make_level(), holdout=True), make_evidence(make_level(), holdout=True, size=0.25)

    assert small.holdout.metrics["sharpe"] == pytest.approx(whole.holdout.metrics["sharpe"])
    fallen = [each.holdout.metrics["max_drawdown_intrabar"] for each in (small, whole)]
    assert 0.2 * fallen[1] < fallen[0] < 0.3 * fallen[1]
    for one, other in zip(small.robustness, whole.robustness, strict=True):
        assert one.sharpe == pytest.approx(other.sharpe)
        assert one.max_drawdown_intrabar < 0.35 * other.max_drawdown_intrabar
    assert small.deflation == whole.deflation or small.deflation.probability == pytest.approx(
        whole.deflation.probability
    )
    assert small.overfit == whole.overfit


def test_the_holdout_look_evaluates_the_winner_on_other_days() -> None:
    level = make_level()
    found = make_evidence(level, holdout=True)
    look = found.holdout

    opened = prepare_windows(level, later(level), read_made)
    runs = [backtest(level, each, PARAMETERS) for each in opened]
    account, figures = portfolio(runs), metrics.summarise(runs)
    assert look.metrics["sharpe"] == pytest.approx(figures["sharpe"])
    assert {each.name: each.value for each in look.readings}["sharpe"] == pytest.approx(figures["sharpe"])
    assert all(each.low < each.value < each.high for each in look.readings if each.name in {"sharpe", "win_rate"})
    assert look.psr == pytest.approx(probabilistic_sharpe(ReturnMoments.of(account.returns)))
    assert look.days == tuple(account.days.tolist())
    assert look.equity == pytest.approx(account.equity.tolist(), abs=1e-6)
    assert (look.window, look.datasets) == ("2021-07-01..2021-08-20", DATASETS)
    assert found.holdout_missing is None
    assert found.excess[-1].part == "holdout"
    held = portfolio(
        [buy_and_hold(each, 1, CostRates.of(level.costs, each.dataset.instrument.market)) for each in opened]
    )
    alpha = alpha_of(account.returns, held.returns)
    assert (look.skill.t, look.skill.p, look.skill.beta) == pytest.approx((alpha.t, alpha.p, alpha.beta))
    assert look.skill.alpha_a_year == pytest.approx(365 * alpha.alpha)
    assert (look.skill.days, look.skill.first_day) == (len(account.days), account.days[0])
    assert look.skill.sharpe_low < look.skill.sharpe < look.skill.sharpe_high


def look_at(sharpe: float, first: int = 18_000, days: int = 365) -> Skill:
    """An account out of sample with normal returns."""
    return Skill(
        part="test",
        first_day=first,
        last_day=first + days - 1,
        days=days,
        alpha_a_year=0.1,
        standard_error_a_year=0.1,
        beta=0.0,
        t=1.0,
        lags=5,
        p=0.16,
        sharpe=sharpe,
        sharpe_low=None,
        sharpe_high=None,
        skewness=0.0,
        kurtosis=3.0,
    )


def test_the_account_out_of_sample_is_deflated_by_the_attempts_that_read_its_days() -> None:
    own, overlapping, elsewhere = look_at(1.5), look_at(0.5, first=18_364), look_at(9.0, first=18_365)

    found = deflate_out_of_sample(own, [overlapping, elsewhere, own])

    variance = np.var([0.5 / YEAR, 1.5 / YEAR], ddof=1)
    moments = ReturnMoments(sharpe=1.5 / YEAR, periods=365)
    assert (found.trials, found.days) == (2, 365)
    assert found.probability == pytest.approx(deflated_sharpe(moments, variance, 2))


def test_the_first_look_is_not_deflated() -> None:
    own = look_at(1.5)

    assert deflate_out_of_sample(own, [own]).probability == pytest.approx(
        probabilistic_sharpe(ReturnMoments(sharpe=1.5 / YEAR, periods=365))
    )
    assert deflate_out_of_sample(None, []) is None


def test_missing_evidence_is_reported() -> None:
    found = make_evidence(make_level())

    assert (found.holdout, found.holdout_missing) == (None, "it is not there")


def test_a_winner_without_lookahead_is_reported() -> None:
    assert make_evidence(make_level()).looks_ahead is None


def test_a_winner_with_lookahead_is_reported_with_bar_and_column() -> None:
    level = make_level(strategy="tests.optimizer.validation.test_evidence_collection:PEEKING", ranges={"wait": (1, 2)})
    found = gather_evidence(
        subject(level, parameters={"wait": 1}, trials=[trial(0, 1.0)]),
        {part: prepare_level(level, part, read_made) for part in Part},
        read_made,
        lambda sets: [columns(make_level())[:, 0]],
        None,
        "not there",
    )

    assert "coinbase/BTC-USD/H1: the signal of bar" in found.looks_ahead


def stress_case(level, read=read_made) -> StressCase:
    prepared = {part: prepare_level(level, part, read) for part in (Part.TRAIN, Part.VALIDATION)}
    runs = {part: [backtest(level, each, PARAMETERS) for each in bars] for part, bars in prepared.items()}
    choices = [Choice(parameters=PARAMETERS)]
    return StressCase(level=level, choices=choices, read=read, prepared=prepared, runs=runs, seed=7)


def of_bitcoin(**fields: object):
    level = make_level(**fields)
    return level.model_copy(update={"datasets": level.datasets[:1]})


def factor(level, bps: float) -> float:
    """Profit factor on the trending market."""
    costs = level.costs.model_copy(update={"crypto_slippage_bps": bps, "fx_slippage_bps": bps})
    dear = level.model_copy(update={"costs": costs})
    runs = [backtest(dear, each, PARAMETERS) for each in prepare_level(dear, Part.VALIDATION, read_trending)]
    return metrics.summarise(runs)["profit_factor"]


def test_the_edge_ends_at_the_break_even_slippage() -> None:
    level = of_bitcoin(costs=FREE)
    found = break_even_bps(stress_case(level, read_trending))

    assert 0 < found < 200
    assert factor(level, found) <= 1.0 < factor(level, found - 0.06)


def test_without_an_edge_the_break_even_slippage_is_zero() -> None:
    dear = make_level(costs=Costs(crypto_fee_bps=500, fx_fee_bps=500))

    assert break_even_bps(stress_case(dear)) == 0.0
    assert break_even_bps(stress_case(of_bitcoin(), read_flat)) is None


def test_each_stress_case_is_compared_with_the_winner() -> None:
    found = {each.name: each for each in robustness_cases(stress_case(of_bitcoin(), read_trending))}

    assert [*found] == [
        "base case",
        "costs x2",
        "costs x3",
        "costs x5",
        "orders delayed by one bar",
        "1% of bars missing",
        "5% of bars missing",
        "price noise within one spread",
    ]
    assert found["base case"].sharpe_kept == 1.0
    assert found["costs x5"].sharpe < found["costs x3"].sharpe < found["costs x2"].sharpe < found["base case"].sharpe
    assert found["price noise within one spread"].trades != 0
    assert found["price noise within one spread"].sharpe != found["base case"].sharpe

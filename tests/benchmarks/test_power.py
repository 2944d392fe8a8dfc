"""The power bench: planted Sharpe ratios are what they say, a killed bench continues, and the tables count right."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from benchmarks.power import runs as power_runs
from benchmarks.power.calibrate import rule_metrics
from benchmarks.power.cells import DRIFT_SHARPE, LONGER, Cell, Rule, calibration, cells, levels_of, rule_of
from benchmarks.power.market import PAIRS, PHASE_SHARPE, YEARLY_VOLATILITY, Kind, MadeMarket, make
from benchmarks.power.reach import counted
from benchmarks.power.runs import Finished, Job, action_of, jobs_of, make_runs, read_finished
from benchmarks.power.tables import (
    bound_table,
    by_cell,
    check_table,
    clopper_pearson,
    missed_table,
    outcome_table,
    p_value_table,
    reach_table,
    target_rows,
    uniformity_rows,
    with_floor,
)
from optimizer.curriculum.level_files import load_levels
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Level
from optimizer.objective import metrics
from optimizer.validation.checks.check import Axis, Check
from optimizer.validation.checks.diagnostics import NULL_TEST
from optimizer.validation.recommendation import Recommendation, RecommendedAction
from tests.factories.in_process_runs import ANY, level
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import Window

WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC))
YEARS = 2
MARKETS = 30
DAYS_A_YEAR = 365
SIGMAS = 3.5
"""Distance in standard errors that chance exceeds once in two thousand tests; seeds are fixed."""
CELL = Cell(kind=Kind.TREND, sharpe=2.0, strength=0.5, whole_seeds=3)


def daily_returns(market: MadeMarket, pair: str) -> np.ndarray:
    """Return the daily returns of holding a pair, closed days included."""
    candles = market.read(find_dataset(f"{pair}/H1"), WINDOW)
    days = (candles.time - WINDOW.start_seconds) // 86_400
    ends = np.searchsorted(days, np.arange(YEARS * DAYS_A_YEAR + 1), side="right") - 1
    closes = candles.close[np.maximum(ends, 0)]
    return np.diff(closes) / closes[:-1]


@cache
def held(kind: Kind, strength: float) -> np.ndarray:
    """Return the daily returns of all pairs over many markets without phases, shape (n_days, n_pairs)."""
    markets = [make(kind, strength, WINDOW, seed, phases=False) for seed in range(MARKETS)]
    return np.concatenate([np.column_stack([daily_returns(each, pair) for pair in PAIRS]) for each in markets])


@pytest.mark.parametrize(("kind", "strength"), [(Kind.NONE, 0.0), (Kind.TREND, 0.4), (Kind.REVERSION, 0.4)])
def test_holding_a_pair_earns_nothing_without_drift(kind: Kind, strength: float) -> None:
    found = held(kind, strength)

    errors = found.std(axis=0) / len(found) ** 0.5
    # A trend keeps its sign for days, so its daily returns are not independent of each other.
    assert (np.abs(found.mean(axis=0)) < SIGMAS * errors * (2 if kind is Kind.TREND else 1)).all()


def test_noise_has_the_stated_volatility_and_correlation() -> None:
    found = held(Kind.NONE, 0.0)

    yearly = found.std(axis=0) * DAYS_A_YEAR**0.5
    wanted = [YEARLY_VOLATILITY[find_dataset(f"{pair}/H1").instrument.market] for pair in PAIRS]
    np.testing.assert_allclose(yearly, wanted, rtol=0.05)
    correlation = np.corrcoef(found.T)
    np.testing.assert_allclose([correlation[0, 1], correlation[2, 3]], 0.6, atol=0.05)
    np.testing.assert_allclose(correlation[:2, 2:], 0.0, atol=0.05)


def test_noise_is_not_correlated_with_the_day_before() -> None:
    found = held(Kind.NONE, 0.0)

    later, earlier = found[1:], found[:-1]
    for pair in range(len(PAIRS)):
        assert abs(np.corrcoef(later[:, pair], earlier[:, pair])[0, 1]) < SIGMAS / len(later) ** 0.5


def test_drift_gives_holding_its_sharpe_ratio() -> None:
    cell = next(cell for cell in cells() if cell.kind is Kind.DRIFT)

    portfolio = held(cell.kind, cell.strength).mean(axis=1)

    sharpe = portfolio.mean() / portfolio.std() * DAYS_A_YEAR**0.5
    assert abs(sharpe - DRIFT_SHARPE) < SIGMAS / (MARKETS * YEARS) ** 0.5


def test_phases_rise_in_the_days_of_level_1_and_fall_in_those_of_level_2_alone() -> None:
    cycle = Window(WINDOW.start, datetime(2024, 1, 1, tzinfo=UTC))
    found = []
    for seed in range(2):
        made, plain = (make(kind, 0.0, cycle, seed).candles for kind in (Kind.PHASES, Kind.NONE))
        dataset = find_dataset("coinbase/BTC-USD/H1")
        found.append(np.log(made[dataset].close / plain[dataset].close))
        assert found[-1] == pytest.approx(found[0], abs=1e-3)  # the phases do not depend on the noise
    days = found[0][23::24]
    yearly = PHASE_SHARPE * YEARLY_VOLATILITY[dataset.instrument.market]
    assert days[730] == pytest.approx(2 * yearly, rel=0.01)
    assert days[1095] == pytest.approx(yearly, rel=0.01)
    assert days[-1] == pytest.approx(days[1095], abs=1e-3)


@pytest.mark.parametrize("cell", [cell for cell in cells() if cell.sharpe in {1.0, 3.0}], ids=lambda cell: cell.name)
def test_a_rule_that_knows_the_edge_earns_the_stated_sharpe_ratio(cell: Cell) -> None:
    rule, fresh = rule_of(cell.kind), range(2_000_000, 2_000_006)

    returns = np.concatenate([rule_metrics(cell.kind, cell.strength, rule.parameters, seed)[1] for seed in fresh])

    error = (len(returns) / DAYS_A_YEAR) ** -0.5
    calibrated = max(each["standard_error"] for each in calibration()[cell.kind]["curve"])
    assert abs(metrics.sharpe(returns) - cell.sharpe) < SIGMAS * (error**2 + calibrated**2) ** 0.5


def test_a_rule_earns_nothing_from_noise() -> None:
    for kind in (Kind.TREND, Kind.REVERSION):
        returns = np.concatenate([rule_metrics(kind, 0.0, rule_of(kind).parameters, seed)[1] for seed in (1, 2)])

        assert metrics.sharpe(returns) < SIGMAS * (len(returns) / DAYS_A_YEAR) ** -0.5


def test_a_market_depends_on_its_seed_and_timeframes_agree() -> None:
    one, again, other = (make(Kind.TREND, 0.5, WINDOW, seed) for seed in (1, 1, 2))
    finest, hourly = find_dataset("coinbase/BTC-USD/M15"), find_dataset("coinbase/BTC-USD/H1")

    np.testing.assert_array_equal(one.candles[finest].close, again.candles[finest].close)
    assert not np.array_equal(one.candles[finest].close, other.candles[finest].close)
    quarters, hours = one.candles[finest], one.candles[hourly]
    np.testing.assert_array_equal(quarters.high.reshape(-1, 4).max(axis=1), hours.high)
    np.testing.assert_array_equal(quarters.close[3::4], hours.close)


@pytest.mark.parametrize("kind", Kind)
def test_the_levels_are_those_of_the_project(kind: Kind) -> None:
    for own, made in zip(load_levels(), levels_of(kind), strict=True):
        assert own.model_copy(update={"datasets": (), "ranges": {}, "strategy": "", "holdout": made.holdout}) == (
            made.model_copy(update={"datasets": (), "ranges": {}, "strategy": ""})
        )
        for before, after in zip(own.datasets, made.datasets, strict=True):
            pair, _, timeframe = before.dataset.rpartition("/")
            assert after == before.model_copy(update={"dataset": f"{pair}/{LONGER[timeframe]}"})


def test_each_seed_is_made_in_all_cells_before_the_next_one() -> None:
    many, few = replace(CELL, whole_seeds=3), replace(CELL, kind=Kind.NONE, sharpe=0.0, whole_seeds=1)

    assert [(job.cell.name, job.seed) for job in jobs_of([many, few], None)] == [
        ("trend-2", 0),
        ("none", 0),
        ("trend-2", 1),
        ("trend-2", 2),
    ]
    assert len(jobs_of([many, few], 2)) == 4


@pytest.fixture
def small_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """One level with few trials on one dataset, over sixty days."""
    days = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC))

    def levels(kind: Kind) -> tuple[Level, ...]:
        del kind
        dataset = LevelDataset(dataset="coinbase/BTC-USD/H1", start=days[0].date(), end=days[1].date())
        return (
            level("1", ANY, trials=3).model_copy(
                update={"datasets": (dataset,), "holdout": levels_of(CELL.kind)[0].holdout}
            ),
        )

    parameters = {"fast": 10, "slow": 30, "atr_period": 14, "stop_atr": 2.0, "target_atr": 4.0}
    rule = Rule(kind=CELL.kind, strategy="sma_cross", parameters=parameters)
    monkeypatch.setattr(power_runs, "levels_of", levels)
    monkeypatch.setattr(power_runs, "rule_of", {CELL.kind: rule}.__getitem__)


@pytest.mark.usefixtures("small_levels")
def test_a_bench_that_was_killed_makes_the_missing_runs_alone(tmp_path: Path) -> None:
    jobs = jobs_of([CELL], None)
    whole = [_without_time(run) for run in make_runs(tmp_path / "whole.jsonl", "code", jobs, 1)]
    path = tmp_path / "killed.jsonl"
    first = next(iter(make_runs(path, "code", jobs, 1)))
    path.write_bytes(path.read_bytes() + json.dumps(asdict(first)).encode()[:40])  # a kill cuts a line

    again = list(make_runs(path, "code", jobs, 1))

    assert [run.seed for run in again] == [1, 2]
    kept = read_finished(path, "code")
    assert [_without_time(kept["trend-2", seed]) for seed in range(3)] == whole
    assert list(make_runs(path, "code", jobs, 1)) == []


@pytest.mark.usefixtures("small_levels")
def test_runs_of_other_code_do_not_count(tmp_path: Path) -> None:
    path, jobs = tmp_path / "runs.jsonl", [Job(cell=CELL, seed=0)]
    made = list(make_runs(path, "before", jobs, 1))

    assert read_finished(path, "after") == {}
    assert [run.code for run in make_runs(path, "after", jobs, 1)] == ["after"]
    assert [run.code for run in made] == ["before"]


@pytest.mark.parametrize(
    ("missed", "surrogates", "action"),
    [
        ([NULL_TEST], 0, RecommendedAction.DEPLOY),
        ([NULL_TEST], 20, RecommendedAction.PAPER_TRADE),
        ([NULL_TEST, "holdout"], 0, RecommendedAction.PAPER_TRADE),
        (["holdout"], 0, RecommendedAction.PAPER_TRADE),
    ],
)
def test_a_bench_without_null_tests_deploys_without_them(
    missed: list[str], surrogates: int, action: RecommendedAction
) -> None:
    checks = [Check(name=name, axis=Axis.BLOCKING, met=None, found="") for name in missed]
    found = Recommendation.model_construct(action=RecommendedAction.PAPER_TRADE, checks=tuple(checks))

    assert action_of(found, surrogates) is action


def test_intervals_are_those_of_the_exact_test() -> None:
    for count, total in ((0, 20), (1, 20), (13, 20), (20, 20), (2, 200)):
        exact = binomtest(count, total).proportion_ci(confidence_level=0.95, method="exact")
        np.testing.assert_allclose(clopper_pearson(count, total), (exact.low, exact.high), atol=1e-12)


def test_tables_count_outcomes_and_what_blocked() -> None:
    noise = Cell(kind=Kind.NONE, sharpe=0.0, strength=0.0, whole_seeds=4)
    found = [
        _finished("trend-2", 0, "deploy"),
        _finished("trend-2", 1, "deploy"),
        _finished("trend-2", 2, "paper_trade", checks={"stable": None}),
        _finished("trend-2", 3, "do_not_deploy", missed=["sharpe"], checks={"gate_1": False, "stable": False}),
        _finished("none", 0, "do_not_deploy", missed=["sharpe"], checks={"gate_1": False}),
    ]

    runs = by_cell(found)

    outcome = outcome_table([noise, CELL], runs).splitlines()
    assert outcome[2].startswith("| none | 0 | 1 | 0% (0% to 98%) | 0% (0% to 98%) | 100% (2% to 100%) |")
    assert outcome[3].startswith("| trend | 2 | 4 | 50% (7% to 93%) | 25% (1% to 81%) | 25% (1% to 81%) |")
    assert check_table([noise, CELL], runs).splitlines()[2:] == ["| gate_1 | 100% | 25% |", "| stable | 0% | 50% |"]
    assert missed_table([noise, CELL], runs).splitlines()[2:] == ["| sharpe | 100% | 25% |"]
    assert reach_table([noise, CELL], runs).splitlines()[2:] == [
        "| all levels | 75% |",
        "| level 1 | 100% |",
        "| level 2 | 75% |",
    ]
    reached = {(row.target, row.what): row.met for row in target_rows([noise, CELL], runs)}
    assert reached == {
        (1, "deploy: none"): True,
        (2, "paper trade: none"): True,
        (4, "deploy: trend-2"): False,
        (5, "do not deploy: trend-2"): False,
    }


def test_the_bound_of_the_mandate_counts_markets_and_misses() -> None:
    found = counted([{"1": [], "2": ["sharpe", "win_rate"]}, {"1": [], "2": []}, {"1": ["sharpe"], "2": []}])

    assert found["met"] == {"all levels": 1, "level 1": 2, "level 2": 2}
    assert found["missed"] == {"level 1: sharpe": 1, "level 2: sharpe": 1, "level 2: win_rate": 1}
    assert bound_table([CELL], {CELL.name: found}).splitlines()[2:] == [
        "| trend-2 | 3 | all levels | 33% (1% to 91%) |  |",
        "| trend-2 | 3 | level 1 | 67% (9% to 99%) | sharpe 1 |",
        "| trend-2 | 3 | level 2 | 67% (9% to 99%) | sharpe 1, win_rate 1 |",
    ]


def test_a_null_test_of_few_markets_makes_strong_evidence_rarer() -> None:
    run = replace(_finished("trend-2", 0, "deploy"), p_values={"out of sample": 1e-6, "holdout": 0.05, "both": 1e-6})

    assert [with_floor(run, floor) for floor in (1e-6, 1 / 21, 0.5)] == ["deploy", "paper_trade", "do_not_deploy"]
    assert with_floor(replace(run, action="paper_trade"), 1e-6) == "paper_trade"
    assert with_floor(replace(run, p_values={}), 0.5) == "deploy"


def test_p_values_without_a_winner_count_as_large() -> None:
    noise = Cell(kind=Kind.NONE, sharpe=0.0, strength=0.0, whole_seeds=4)
    found = [_finished("none", seed, "do_not_deploy", p=p) for seed, p in enumerate((0.04, 0.3, None, 0.9))]

    row = p_value_table([noise], by_cell(found)).splitlines()[2].split(" | ")

    assert row[:3] == ["| none", "both", "3 of 4"]
    assert [cell.split()[0] for cell in row[3:6]] == ["0%", "25%", "50%"]
    assert float(row[6].rstrip(" |")) == pytest.approx(kstest([0.04, 0.3, 0.9], "uniform").pvalue, rel=0.1)


def test_too_few_uniform_p_values_leave_the_target_open_and_skewed_ones_miss_it() -> None:
    noise = Cell(kind=Kind.NONE, sharpe=0.0, strength=0.0, whole_seeds=400)
    spread = [_finished("none", seed, "do_not_deploy", p=(seed + 0.5) / 400) for seed in range(400)]
    small = [replace(run, p_values={"out of sample": 0.001}) for run in spread[:20]]
    spread = [replace(run, p_values={"out of sample": run.p_values["both"]}) for run in spread]

    assert [row.met for row in uniformity_rows([noise], by_cell(spread))] == [True]
    assert [row.met for row in uniformity_rows([noise], by_cell(spread[::20]))] == [None]
    assert [row.met for row in uniformity_rows([noise], by_cell(small))] == [False]
    assert uniformity_rows([CELL], {CELL.name: small}) == []


def _finished(
    cell: str,
    seed: int,
    action: str,
    missed: list[str] | None = None,
    checks: dict[str, bool | None] | None = None,
    p: float | None = 0.5,
) -> Finished:
    return Finished(
        cell=cell,
        seed=seed,
        code="code",
        action=action,
        last="1",
        attempts={"1": 1},
        missed=missed or [],
        checks={"gate_1": True, "stable": True, **(checks or {})},
        mandate=action == "deploy",
        p_values={"both": p},
        surrogates=0,
        sharpes={},
        rule_missed={"1": [], "2": missed or []},
        seconds=1.0,
    )


def _without_time(run: Finished) -> Finished:
    return replace(run, seconds=0.0)

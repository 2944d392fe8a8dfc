"""Null test: the whole curriculum in one surrogate market, and the summary of several."""

from datetime import date

import numpy as np
import pytest

from optimizer.level.constraints import StressLimits
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Gate, Level, MinTrades
from optimizer.validation.analyses.null_test import null_test_of
from optimizer.validation.attempt_findings import AttemptCase
from optimizer.validation.evidence import NullRun
from optimizer.validation.in_process import curriculum_in_process
from optimizer.validation.in_process.curriculum_in_process import run_in_process, run_surrogate
from tests.factories.levels import level_of, read_trending

NAME = "coinbase/BTC-USD/H1"
OPEN = Gate(win_rate=0.0, sharpe=-99.0, max_drawdown_intrabar=1.0, profit_factor=0.01)
ALMOST = OPEN.model_copy(update={"sharpe": 99.0})
NONE = OPEN.model_copy(update={"win_rate": 1.0})
START, END = date(2020, 1, 1), date(2021, 7, 1)


def make_level(name: str = "1", gate: Gate = OPEN, **fields: object) -> Level:
    days = LevelDataset(dataset=NAME, start=START, end=END)
    given = {"trials": 12, "lag": 3, "drawdown_limit": 1.0, "min_trades": MinTrades(train=1, validation=1), **fields}
    return level_of((NAME,), name=name, gate=gate, **given).model_copy(update={"datasets": (days,)})


def test_the_null_test_separates_a_real_edge_from_no_skill() -> None:
    real = run_in_process([make_level()], 7, read_trending, None, surrogates=0).attempts[-1].findings.skill
    null = [run_surrogate([make_level()], 7, read_trending, number).t for number in range(10)]

    assert real.t > 4
    assert max(null) < real.t


def test_without_random_signs_surrogate_markets_keep_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled days alone keep the trend within each day."""
    monkeypatch.setattr(
        "optimizer.validation.analyses.surrogate_markets.draw_signs",
        lambda moves, window, seed: np.ones(len(moves.time), dtype=bool),
    )
    null = [run_surrogate([make_level()], 7, read_trending, number).t for number in range(6)]

    assert sorted(null)[2] > 2


def test_a_surrogate_market_is_reproducible() -> None:
    one, again, other = (run_surrogate([make_level()], 7, read_trending, number) for number in (4, 4, 5))

    assert one == again
    assert one.t != other.t


def test_the_whole_curriculum_runs_with_retries_and_inheritance(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []

    def search(level, space, train, reused):
        searched.append((level.name, level.trials, len(reused), len(space.first_points)))
        return real_search(level, space, train, reused)

    real_search = curriculum_in_process.search_in_process
    monkeypatch.setattr(curriculum_in_process, "search_in_process", search)

    first = make_level("1")
    early = first.datasets[0].model_copy(update={"end": date(2020, 10, 1)})  # validation ends before that of level 2
    levels = [first.model_copy(update={"datasets": (early,)}), make_level("2", ALMOST, retries=1)]
    found = run_surrogate(levels, 7, read_trending, 0)

    assert searched == [("1", 12, 0, 0), ("2", 12, 0, 9), ("2", 18, 12, 0)]
    assert (found.attempts, found.passed, found.mandate) == (3, ("1",), False)


@pytest.mark.parametrize("gate", [OPEN, ALMOST])
def test_what_a_surrogate_market_leaves_out_changes_no_result(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = [make_level("1"), make_level("2", gate, retries=1, stress=StressLimits(windows=()))]
    brief = run_surrogate(levels, 7, read_trending, 1)
    cases: list[AttemptCase] = []

    def whole(**given: object) -> AttemptCase:
        cases.append(AttemptCase(**{**given, "is_brief": False}))
        return cases[-1]

    monkeypatch.setattr(curriculum_in_process, "AttemptCase", whole)

    assert run_surrogate(levels, 7, read_trending, 1) == brief
    assert len(cases) == brief.attempts > 1


def test_all_levels_read_the_same_surrogate_market(monkeypatch: pytest.MonkeyPatch) -> None:
    markets = []

    def prepare(level, part, read):
        markets.append((level.name, read(level.datasets[0].source, level.datasets[0].window).close))
        return real_prepare(level, part, read)

    real_prepare = curriculum_in_process.prepare_level
    monkeypatch.setattr(curriculum_in_process, "prepare_level", prepare)

    run_surrogate([make_level("1"), make_level("2")], 7, read_trending, 0)

    (first, one), (second, other) = markets
    assert (first, second) == ("1", "2")
    assert (one == other).all()


def test_relaxed_targets_do_not_meet_the_mandate() -> None:
    eased = make_level(gate=OPEN.model_copy(update={"profit_factor": 50.0}), retries=1, relax=1.0)

    found = run_surrogate([eased], 7, read_trending, 0)

    assert (found.passed, found.mandate) == (("1",), False)


def test_without_a_feasible_trial_the_account_holds_cash() -> None:
    found = run_surrogate([make_level(gate=NONE)], 7, read_trending, 0)

    assert (found.t, found.sharpe, found.passed) == (0.0, None, ())


def test_surrogate_markets_are_summarised_in_order() -> None:
    null_runs = [
        NullRun(surrogate=number, t=t, sharpe=sharpe, attempts=1, passed=passed, mandate=len(passed) == 2)
        for number, t, sharpe, passed in (
            (3, 0.0, None, ()),
            (0, 1.5, 1.0, ("1", "2")),
            (1, -0.5, -1.0, ("1",)),
            (2, 0.2, 0.0, ()),
        )
    ]
    null = null_test_of([make_level("1"), make_level("2")], null_runs)

    assert null.t == (1.5, -0.5, 0.2, 0.0)
    assert (null.surrogates, null.mandates, null.pass_rate) == (4, 1, 0.25)
    assert (null.low, null.high) == (pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4))
    assert (null.passed, null.sharpe[1]) == ({"1": 0.5, "2": 0.25}, 0.0)
    assert "4 surrogate markets without skill; largest t out of sample 1.50; every gate passed in 1" in null.sentence
    assert null_test_of([make_level()], []) is None

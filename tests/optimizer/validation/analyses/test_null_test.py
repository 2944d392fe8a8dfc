"""Null test: the false-positive rate does not depend on a real edge."""

from datetime import date

import numpy as np
import pytest

from optimizer.level.constraints import StressLimits
from optimizer.level.spec import Gate, Level, LevelDataset, MinTrades, Part
from optimizer.objective.objective import prepare_level
from optimizer.search.in_process import search_in_process
from optimizer.search.space import search_space
from optimizer.validation.analyses.null_test import NullTestSpec, null_test_of, run_null_test
from optimizer.validation.evidence import NullRun
from optimizer.validation.gate import gate_readings, is_passed
from optimizer.validation.selection import choose
from tests.factories.levels import level_of, read_trending

NAME = "coinbase/BTC-USD/H1"
OPEN = Gate(win_rate=0.0, sharpe=-99.0, max_drawdown_intrabar=1.0, profit_factor=0.01)
SHUT = OPEN.model_copy(update={"sharpe": 99.0})
HARD = OPEN.model_copy(update={"sharpe": 4.0})


def make_level(gate: Gate, **fields: object) -> Level:
    days = LevelDataset(dataset=NAME, start=date(2020, 1, 1), end=date(2021, 7, 1))
    given = {"trials": 12, "lag": 3, "drawdown_limit": 1.0, "min_trades": MinTrades(train=1, validation=1), **fields}
    return level_of((NAME,), gate=gate, **given).model_copy(update={"datasets": (days,)})


def make_null_test_spec(gate: Gate, attempts: int = 1, inherited=None, **fields: object) -> NullTestSpec:
    return NullTestSpec(level=make_level(gate, **fields), attempts=attempts, inherited=inherited, seed=7)


def is_found(level: Level) -> bool:
    """Whether the level's search passes its gate on the real market."""
    space = search_space(level, 7)
    train, validation = (prepare_level(level, part, read_trending) for part in (Part.TRAIN, Part.VALIDATION))
    winner = choose(level, search_in_process(level, space, train), train, validation)
    return winner is not None and is_passed(gate_readings(level, winner.validation.metrics, Part.VALIDATION))


def test_the_null_test_separates_a_real_edge_from_no_skill() -> None:
    null_spec = make_null_test_spec(HARD)

    assert is_found(null_spec.level)
    assert sum(run_null_test(null_spec, read_trending, number).passed for number in range(10)) <= 3


def test_without_random_signs_no_skill_markets_keep_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled days alone keep the trend within each day."""
    monkeypatch.setattr(
        "optimizer.validation.analyses.surrogate_markets.draw_signs",
        lambda moves, window, seed: np.ones(len(moves.time), dtype=bool),
    )
    null_spec = make_null_test_spec(HARD)

    assert sum(run_null_test(null_spec, read_trending, number).passed for number in range(10)) >= 7


def test_a_draw_is_reproducible() -> None:
    null_spec = make_null_test_spec(OPEN)

    assert run_null_test(null_spec, read_trending, 4) == run_null_test(null_spec, read_trending, 4)
    assert run_null_test(null_spec, read_trending, 4).values != run_null_test(null_spec, read_trending, 5).values


def test_an_open_gate_has_rate_one_and_a_closed_gate_zero() -> None:
    passed, missed = (
        run_null_test(make_null_test_spec(OPEN), read_trending, 0),
        run_null_test(make_null_test_spec(SHUT), read_trending, 0),
    )

    assert passed.passed
    assert set(passed.met) == {"win_rate", "sharpe", "max_drawdown_intrabar", "profit_factor", "trades"}
    assert not missed.passed
    assert set(passed.met) - set(missed.met) == {"sharpe"}


def test_a_draw_makes_as_many_attempts_as_the_real_search(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "optimizer.validation.analyses.null_test.search_in_process",
        lambda level, space, train, reused: (
            asked.append((level.trials, len(reused))) or search_in_process(level, space, train, reused)
        ),
    )

    assert run_null_test(make_null_test_spec(SHUT, attempts=3, retries=3), read_trending, 0).attempts == 3
    assert asked == [(12, 0), (18, 12), (27, 30)]


def test_a_retry_of_a_draw_uses_the_relaxed_targets() -> None:
    eased = make_null_test_spec(OPEN.model_copy(update={"profit_factor": 50.0}), attempts=2, retries=1, relax=1.0)

    found = run_null_test(eased, read_trending, 0)

    assert (found.passed, found.attempts) == (True, 2)


def test_a_draw_starts_from_the_points_of_the_real_search(monkeypatch: pytest.MonkeyPatch) -> None:
    first = []
    monkeypatch.setattr(
        "optimizer.validation.analyses.null_test.search_in_process",
        lambda level, space, train, reused: (
            first.append(space.first_points) or search_in_process(level, space, train, reused)
        ),
    )
    inherited = {"fast": 9, "slow": 44, "atr_period": 14, "stop_atr": 2.0, "target_atr": 3.0}
    run_null_test(make_null_test_spec(SHUT, attempts=2, retries=1, inherited=inherited), read_trending, 0)

    assert first[0][0] == inherited
    assert len(first[0]) == 9
    assert first[1] == ()


def test_a_draw_must_pass_the_stress_test() -> None:
    hopeless = StressLimits(windows=(), late_sharpe_kept=1.0, costs_factor=1000, costs_profit_factor=50)
    found = run_null_test(make_null_test_spec(OPEN, stress=hopeless), read_trending, 0)

    assert not found.passed
    assert "costs_x1000_profit_factor" in found.values
    assert "costs_x1000_profit_factor" not in found.met


def test_without_a_feasible_trial_a_draw_has_no_winner() -> None:
    found = run_null_test(make_null_test_spec(OPEN.model_copy(update={"win_rate": 1.0})), read_trending, 0)

    assert (found.passed, found.values, found.met) == (False, {}, ())


def test_draws_are_summarized() -> None:
    found = [
        (True, {"sharpe": 2.0, "win_rate": 0.5}, ("sharpe", "win_rate")),
        (False, {"sharpe": 1.0, "win_rate": None}, ("sharpe",)),
        (False, {}, ()),
        (False, {"sharpe": 0.0, "win_rate": 0.1}, ()),
    ]
    null_runs = [
        NullRun(surrogate=number, attempts_allowed=1, attempts=1, passed=passed, values=values, met=met)
        for number, (passed, values, met) in enumerate(found)
    ]
    null = null_test_of(make_null_test_spec(OPEN), null_runs)

    assert (null.surrogates, null.passed, null.pass_rate) == (4, 1, 0.25)
    assert (null.low, null.high) == (pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4))
    assert null.met == {"sharpe": 0.5, "win_rate": 0.25}
    assert null.quantiles["sharpe"][1] == 1.0
    assert "25%: 1 of 4 surrogate markets without skill pass this gate (95 % interval 5% to 70%)" in null.sentence

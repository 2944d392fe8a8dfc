"""Stress tests of a winner."""

import math
from datetime import date

import numpy as np
import pytest

from optimizer.bars.preparation import DAY_SECONDS
from optimizer.level.constraints import NAMED_WINDOWS, StressLimits, StressWindow
from optimizer.level.costs import Costs
from optimizer.level.spec import Part
from optimizer.objective import metrics
from optimizer.objective.choices import Choice
from optimizer.objective.metrics import summarise
from optimizer.objective.objective import backtest, evaluate_part, prepare_level
from optimizer.objective.portfolio import portfolio
from optimizer.validation.analyses.stress import (
    MISSING_DRAWS,
    StressCase,
    delayed_by_one_bar,
    missing_bars,
    shuffled_drawdown,
    stress_readings,
    stress_table,
    window_drawdowns,
    with_costs,
)
from tests.factories.levels import PARAMETERS, level_of, read_flat, read_made

LEVEL = level_of(drawdown_limit=1.0)
SPRING = StressWindow(name="spring", start=date(2021, 3, 10), end=date(2021, 3, 20))
EURO = StressWindow(name="euro", start=date(2021, 3, 10), end=date(2021, 3, 20), pairs=("EUR/USD",))
LATER = StressWindow(name="later", start=date(2025, 3, 10), end=date(2025, 3, 20))
LIMITS = StressLimits(windows=(SPRING, EURO, LATER))


def stress_case_of(read=read_made, level=LEVEL, size: float = 1.0) -> StressCase:
    prepared = {part: prepare_level(level, part, read) for part in (Part.TRAIN, Part.VALIDATION)}
    return StressCase(
        level=level,
        choices=[Choice(parameters=PARAMETERS, size=size)],
        read=read,
        prepared=prepared,
        runs={part: [backtest(level, each, PARAMETERS, size) for each in bars] for part, bars in prepared.items()},
        seed=7,
    )


@pytest.fixture(scope="module")
def stress_case() -> StressCase:
    return stress_case_of()


def test_a_cost_factor_of_one_changes_nothing(stress_case: StressCase) -> None:
    assert summarise(with_costs(stress_case, 1.0)) == summarise(stress_case.runs[Part.VALIDATION])


def test_stressed_costs_equal_those_of_a_level_with_these_costs(stress_case: StressCase) -> None:
    """For crypto, all costs come from the level: doubled costs equal a level with doubled rates."""
    level = level_of(("coinbase/BTC-USD/H1",), drawdown_limit=1.0)
    dear = level_of(
        ("coinbase/BTC-USD/H1",), drawdown_limit=1.0, costs=Costs(crypto_fee_bps=10.0, crypto_slippage_bps=4.0)
    )
    bars = prepare_level(dear, Part.VALIDATION, read_made)

    assert summarise(with_costs(stress_case_of(level=level), 2.0)) == summarise(
        [backtest(dear, each, PARAMETERS) for each in bars]
    )


def test_doubled_costs_include_the_half_spread(stress_case: StressCase) -> None:
    level = level_of(("oanda/EUR-USD/H1",), drawdown_limit=1.0)
    one = stress_case_of(level=level)
    (plain,), (dear,) = one.runs[Part.VALIDATION], with_costs(one, 2.0)

    assert dear.trades["fees"][0] == pytest.approx(2 * plain.trades["fees"][0])


def test_a_delayed_entry_is_one_bar_later(stress_case: StressCase) -> None:
    """Only the first trade of each dataset is compared, because later ones depend on earlier positions."""
    for plain, late in zip(stress_case.runs[Part.VALIDATION], delayed_by_one_bar(stress_case), strict=True):
        assert late.trades["entry_bar"][0] == plain.trades["entry_bar"][0] + 1


def test_missing_bars_differ_by_draw_and_are_reproducible(stress_case: StressCase) -> None:
    def counts() -> list[list[int]]:
        return [[run.evaluated_bars for run in draw] for draw in missing_bars(stress_case, 0.05)]

    found = counts()
    whole = [run.evaluated_bars for run in stress_case.runs[Part.VALIDATION]]

    assert found == counts()
    assert len(found) == MISSING_DRAWS == len({tuple(each) for each in found})
    for each in found:
        lost = 1 - sum(each) / sum(whole)
        assert 0.02 < lost < 0.08  # the warm-up takes its bars from before the part


def test_the_drawdown_of_a_window_covers_only_its_days(stress_case: StressCase) -> None:
    found = window_drawdowns(stress_case, LIMITS)

    assert {(window.name, part) for window, part in found} == {("spring", Part.TRAIN), ("euro", Part.TRAIN)}
    account = portfolio(stress_case.runs[Part.TRAIN])
    first, last = (SPRING.window.start_seconds // DAY_SECONDS, SPRING.window.end_seconds // DAY_SECONDS)
    days = [place for place, day in enumerate(account.days) if first <= day < last]
    value, peak, deepest = 1.0, 1.0, 0.0
    for day in days:
        deepest = max(deepest, 1 - value * (1 + account.low_returns[day]) / peak)
        value *= 1 + account.returns[day]
        peak = max(peak, value)
    assert found[SPRING, Part.TRAIN] == pytest.approx(deepest)


def test_a_window_of_one_pair_uses_only_that_pair(stress_case: StressCase) -> None:
    euro = stress_case_of(level=level_of(("oanda/EUR-USD/H1",), drawdown_limit=1.0))
    shifted = StressWindow(name="spring", start=EURO.start, end=EURO.end)

    alone = window_drawdowns(euro, StressLimits(windows=(shifted,)))
    among = window_drawdowns(stress_case, LIMITS)

    # The dataset of EUR/USD begins two days later among the three than alone, but trades the same days.
    assert set(alone) == {(shifted, Part.TRAIN)}
    assert among[EURO, Part.TRAIN] != among[SPRING, Part.TRAIN]


def test_shuffled_trades_have_the_drawdown_of_their_worst_orders(stress_case: StressCase) -> None:
    runs = stress_case.runs[Part.VALIDATION]
    found = shuffled_drawdown(runs, 7)

    assert found == shuffled_drawdown(runs, 7)
    assert 0 < found < 1
    gains = np.concatenate([run.trades["net"] / run.initial_equity for run in runs]) / len(runs)
    worst_first = metrics.max_drawdown(np.cumprod(1 + np.sort(gains)))
    assert found <= worst_first * 1.1  # gains are of the equity at each trade, not of the first


def test_each_stress_reading_has_its_own_limit(stress_case: StressCase) -> None:
    readings = {reading.name: reading for reading in stress_readings(stress_case, LIMITS)}
    base = evaluate_part(LEVEL, stress_case.prepared[Part.VALIDATION], PARAMETERS, Part.VALIDATION).metrics

    assert {name: (reading.target, reading.is_ceiling) for name, reading in readings.items()} == {
        "window_drawdown": (0.20, True),
        "costs_x2_profit_factor": (1.0, False),
        "costs_x2_sharpe_kept": (0.5, False),
        "late_sharpe_kept": (0.7, False),
        "missing_0.05_sharpe_kept": (0.7, False),
        "shuffled_drawdown": (0.25, True),
    }
    kept = readings["late_sharpe_kept"]
    if base["sharpe"] > 0:
        assert kept.value == pytest.approx(summarise(delayed_by_one_bar(stress_case))["sharpe"] / base["sharpe"])
    else:
        assert math.isnan(kept.value)
        assert not kept.met


@pytest.mark.parametrize("size", [0.5])
def test_every_stress_test_reads_the_account_at_its_size(stress_case: StressCase, size: float) -> None:
    """Drawdowns are those of the sized account; shares of a Sharpe ratio do not depend on the size."""
    small = stress_case_of(size=size)
    sized = {reading.name: reading.value for reading in stress_readings(small, LIMITS)}
    whole = {reading.name: reading.value for reading in stress_readings(stress_case, LIMITS)}

    for name, value in whole.items():
        if name.endswith("drawdown"):
            assert 0.4 * value < sized[name] < 0.6 * value, name
        else:
            assert sized[name] == pytest.approx(value, nan_ok=True), name
    for runs in (with_costs(small, 2.0), delayed_by_one_bar(small), *missing_bars(small, 0.05)):
        assert {run.size for run in runs} == {size}


def test_changed_candles_are_judged_over_the_same_days(stress_case: StressCase) -> None:
    """Bars before validation are missing too; the last ones that remain warm up its indicators."""
    whole = stress_case.runs[Part.VALIDATION]
    for draw in missing_bars(stress_case, 0.05):
        assert [run.first_day for run in draw] == [run.first_day for run in whole]
        assert [len(run.equity) for run in draw] == [len(run.equity) for run in whole]


def test_without_trades_every_share_is_nan_and_the_gate_fails() -> None:
    flat = stress_case_of(read_flat, level_of(("coinbase/BTC-USD/H1",)))

    readings = {reading.name: reading for reading in stress_readings(flat, LIMITS)}

    assert {name for name, reading in readings.items() if reading.met} == {"window_drawdown"}


def test_the_gate_fails_if_no_stress_window_is_covered() -> None:
    readings = stress_readings(stress_case_of(), StressLimits(windows=(LATER,)))

    assert math.isnan(readings[0].value)
    assert not readings[0].met


def test_the_file_lists_used_and_skipped_windows(stress_case: StressCase) -> None:
    table = stress_table(stress_case, LIMITS, stress_readings(stress_case, LIMITS))

    assert [(each["name"], each["part"]) for each in table["windows"]] == [("spring", "train"), ("euro", "train")]
    assert table["left_out"] == ["later"]


def test_the_named_windows_lie_in_the_curriculum() -> None:
    spans = [f"{each.start:%Y%m%d}-{each.end:%Y%m%d}" for each in NAMED_WINDOWS]

    assert spans == [
        "20200308-20200321",
        "20210510-20210526",
        "20220505-20220521",
        "20220610-20220623",
        "20220921-20221015",
        "20221105-20221121",
        "20230308-20230321",
    ]

"""Choices by window: one account over disjoint days, each window at its own parameters and size, or in cash."""

import numpy as np
import pytest

from optimizer.level.spec import Part, Split
from optimizer.level.walk_forward import out_of_sample, window_numbers
from optimizer.objective.break_even import BPS, trading_costs
from optimizer.objective.choices import Choice, cash, evaluate_choices, trade_choices
from optimizer.objective.metrics import summarise
from optimizer.objective.objective import backtest, evaluate_part, prepare_level
from optimizer.objective.portfolio import portfolio
from tests.factories.levels import PARAMETERS, level_of, read_made, read_trending

LEVEL = level_of(split=Split(scheme="walk_forward", windows=3), drawdown_limit=1.0)
OTHER = {**PARAMETERS, "fast": 9, "slow": 44}
CHOICES = [Choice(parameters=PARAMETERS, size=0.5), Choice(parameters=None), Choice(parameters=OTHER, size=0.25)]
DAY = 86_400


@pytest.fixture(scope="module")
def bars():
    return prepare_level(LEVEL, Part.VALIDATION, read_made)


def test_validation_has_every_window_of_every_dataset_in_order(bars) -> None:
    expected = [
        (each.dataset, out_of_sample(LEVEL, each, number))
        for number in window_numbers(LEVEL)
        for each in LEVEL.datasets
    ]

    assert [(each.dataset.name, each.window) for each in bars] == expected
    for each in bars:
        assert each.time[each.first_evaluated] == each.window.start_seconds, "every bar of a window is judged"
        assert each.day_count == (each.window.end_seconds - each.window.start_seconds) // DAY


def test_each_window_is_traded_by_its_choice_at_its_size(bars) -> None:
    runs = trade_choices(LEVEL, bars, CHOICES)
    account = portfolio(runs)

    first = portfolio([backtest(LEVEL, each, PARAMETERS, 0.5) for each in bars[:3]])
    last = portfolio([backtest(LEVEL, each, OTHER, 0.25) for each in bars[6:]])
    inner = account.days < bars[5].first_day  # datasets start two days apart, so windows overlap by four days
    start = np.flatnonzero(inner & (account.days >= bars[2].first_day) & (account.days < bars[3].first_day))
    assert account.returns[start] == pytest.approx(first.returns[np.isin(first.days, account.days[start])])
    end = account.days >= bars[8].first_day
    assert account.returns[end] == pytest.approx(last.returns[np.isin(last.days, account.days[end])])
    assert (
        len(account.days) == sum((each.window.end_seconds - each.window.start_seconds) // DAY for each in bars[::3]) + 4
    )


def test_a_window_in_cash_neither_trades_nor_moves(bars) -> None:
    run = cash(bars[3])

    assert (len(run.trades), run.max_intrabar_drawdown) == (0, 0.0)
    assert (run.first_day, len(run.equity), run.evaluated_bars) == (
        bars[3].first_day,
        bars[3].day_count,
        bars[3].evaluated_bars,
    )
    assert not portfolio([run]).returns.any()
    figures = summarise([run])
    assert np.isnan(figures["sharpe"])
    assert (figures["cagr"], figures["exposure"]) == (0.0, 0.0)


def test_the_evaluation_is_that_of_all_runs(bars) -> None:
    found = evaluate_choices(LEVEL, bars, CHOICES, Part.VALIDATION)

    figures = summarise(trade_choices(LEVEL, bars, CHOICES))
    assert found.metrics == pytest.approx(figures, nan_ok=True)
    assert found.value == pytest.approx(figures["sharpe"])
    assert "size" not in found.metrics


def test_one_choice_for_all_windows_is_an_ordinary_evaluation(bars) -> None:
    one = evaluate_choices(LEVEL, bars, [Choice(parameters=PARAMETERS)] * 3, Part.VALIDATION)

    assert one.metrics == evaluate_part(LEVEL, bars, PARAMETERS, Part.VALIDATION).metrics


def test_no_trade_straddles_a_border(bars) -> None:
    for each, run in zip(bars, trade_choices(LEVEL, bars, [Choice(parameters=PARAMETERS)] * 3), strict=True):
        assert (run.trades["entry_bar"] >= each.first_evaluated).all()
        assert (run.trades["exit_bar"] < len(each)).all()


def test_the_break_even_cost_of_windows_is_that_of_one_account() -> None:
    """The windows of a dataset follow each other: the account of the second begins with what the first left."""
    level = LEVEL.model_copy(update={"datasets": LEVEL.datasets[:1]})
    runs = trade_choices(
        level, prepare_level(level, Part.VALIDATION, read_trending), [Choice(parameters=PARAMETERS)] * 3
    )
    cost = trading_costs(runs, fixed_size=False).break_even_bps

    growth = 1.0
    for run in runs:
        equity = run.initial_equity
        for trade in run.trades:
            tick = run.dataset.instrument.tick
            turnover = trade["units"] * (float(trade["entry_price"]) + float(trade["exit_price"])) * tick
            growth *= 1 + (trade["net"] + trade["fees"] - cost / BPS * turnover) / equity
            equity += trade["net"]
    assert growth == pytest.approx(1.0, abs=1e-3) or cost == 0

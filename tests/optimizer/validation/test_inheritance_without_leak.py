"""Pure noise, with level 2 over-fitted on days that judge level 3: none of its points may reach level 3's windows."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest

from optimizer.curriculum.earlier_choices import EarlierChoice, Inheritance, inherit
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Gate, Level, MinTrades, Part, Split
from optimizer.level.walk_forward import first_judged, last_search
from optimizer.validation.in_process.curriculum_in_process import InProcessRun, run_in_process
from tests.factories.levels import level_of, read_made

ANY = Gate(win_rate=0.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=0.01)
DATASETS = ("coinbase/BTC-USD/H1", "coinbase/ETH-USD/M15")
OVERLAP = (date(2021, 4, 20), date(2021, 5, 25))
"""Days of level 2: inside the out-of-sample days of level 3."""
WHOLE = (date(2021, 3, 1), date(2021, 6, 9))


def made(name: str, days: tuple[date, date], **fields: object) -> Level:
    found = level_of(DATASETS, name=name, gate=ANY, drawdown_limit=1.0, **fields)
    datasets = tuple(LevelDataset(dataset=each, start=days[0], end=days[1]) for each in DATASETS)
    return found.model_copy(update={"datasets": datasets, "min_trades": MinTrades(train=1, validation=1)})


OVERFITTED = made("2", OVERLAP, trials=30)
JUDGED = made("3", WHOLE, trials=16, split=Split(scheme="walk_forward", windows=3))


@pytest.fixture(scope="module")
def both() -> InProcessRun:
    return run_in_process((OVERFITTED, JUDGED), 7, read_made, None)


def test_no_choice_of_a_window_depends_on_a_day_that_judges_it(both: InProcessRun) -> None:
    (_, judged) = both.attempts

    assert [each.level.name for each in both.attempts] == ["2", "3"]
    assert all(window.until <= first_judged(JUDGED, window.number) for window in judged.windows)
    assert judged.until <= first_judged(JUDGED, last_search(JUDGED))


def test_no_point_of_the_overfitted_level_reaches_a_window(both: InProcessRun) -> None:
    overfitted, judged = both.attempts
    winner = overfitted.findings.winner.parameters

    asked = [trial.params for window in judged.windows for trial in window.trials]

    assert winner not in asked
    assert judged.trials[0].params == judged.windows[-1].parameters, "the last search starts from the last window"
    assert winner in [trial.params for trial in judged.trials], "only the holdout period judges the last search"


def test_the_account_out_of_sample_is_that_of_the_level_alone(both: InProcessRun) -> None:
    """What the rule lets through changes no out-of-sample day, so it changes no pass rate either."""
    alone = run_in_process((JUDGED,), 7, read_made, None)

    accounts = [run.attempts[-1].findings.accounts[Part.VALIDATION] for run in (both, alone)]

    assert np.array_equal(accounts[0].returns, accounts[1].returns)
    assert np.array_equal(accounts[0].days, accounts[1].days)


def test_without_the_rule_the_points_would_arrive(both: InProcessRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: an inheritance that ignores the days hands the winner to the first window."""

    def leaky(level: Level, number: int, choices: Sequence[EarlierChoice]) -> Inheritance:
        return Inheritance(choice=choices[-1], reason="leak") if choices else inherit(level, number, choices)

    monkeypatch.setattr("optimizer.validation.in_process.curriculum_in_process.inherit", leaky)
    run = run_in_process((OVERFITTED, JUDGED), 7, read_made, None)

    winner = run.attempts[0].findings.winner.parameters
    assert winner == run.attempts[1].windows[0].trials[0].params
    assert any(window.until > first_judged(JUDGED, window.number) for window in run.attempts[1].windows)
    one, other = (each.attempts[-1].findings.accounts[Part.VALIDATION].returns for each in (both, run))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("until", [date(2021, 4, 10), date(2021, 4, 11)])
def test_the_border_day_is_exact(until: date) -> None:
    """Window 1 is judged from 10 April on: a choice may depend on days up to 9 April."""
    choice = EarlierChoice(name="level 2, window 1", parameters={"fast": 5}, until=until)

    found = inherit(JUDGED, 1, [choice])

    assert first_judged(JUDGED, 1) == date(2021, 4, 10)
    assert (found.choice == choice) == (until == date(2021, 4, 10))
    assert ("nothing inherited" in found.reason) == (until > date(2021, 4, 10))


def test_the_latest_choice_before_the_window_is_inherited() -> None:
    choices = [
        EarlierChoice(name=f"window {number}", parameters={"fast": number}, until=date(2021, month, 1))
        for number, month in ((1, 3), (2, 4), (3, 6))
    ]

    assert inherit(JUDGED, 1, choices).choice == choices[1]
    assert inherit(JUDGED, 3, choices).choice == choices[1]
    assert inherit(JUDGED, last_search(JUDGED), choices).choice == choices[2]
    assert inherit(JUDGED, 1, choices[2:]).choice is None
    assert inherit(JUDGED, 1, []).choice is None

"""Whole runs with other objectives, samplers and pruners: gate, retry, inheritance, null test, front and report."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from optimizer.level.spec import Level
from optimizer.objective.objective import evaluate, plan_level
from optimizer.report.files import REPORT_NAME
from optimizer.search.study import read_trials
from optimizer.strategies.registry import find_own_by, import_own
from tests.factories.in_process_runs import ALMOST, ANY, RunHarness, after, early, level, run_harness_in
from tests.factories.in_process_runs import Killed as KilledRun
from tradeschool.errors import SettingsError, StrategyFailed, StrategyNotImported
from workers.coordinator.run.curriculum_run import RunControl, run_levels_with
from workers.coordinator.run.finalize import FinalizeOptions
from workers.isolation import strategy_host
from workers.isolation.strategy_allowlist import AllowedStrategies, StrategyNotAllowed, user_strategies
from workers.isolation.strategy_host import isolated_strategies
from workers.isolation.strategy_process import IsolationSettings
from workers.monitoring.run_status_json import as_page, as_result
from workers.web.details import trial_table
from workers.work_horse.evaluator import Evaluator
from workers.work_horse.surrogate_markets import run_surrogate
from workers.worker.in_process_dispatch import InProcessDispatcher

pytestmark = pytest.mark.usefixtures("forked_children")
OWN = """
import os
import optuna

def value(trial):
    {objective}
    return trial.metrics["total_return"] - trial.metrics["max_drawdown"]

def sampler(seed):
    {sampler}
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)
"""


def searched(name: str, gate, **fields: object) -> Level:
    return Level.model_validate({**level(name, gate).model_dump(), **fields})


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes a module of the working folder importable in this process and its children, and removes it afterwards."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    yield
    sys.modules.pop("methods_of_mine", None)


def write(objective: str = "pass", sampler: str = "pass") -> dict[str, object]:
    Path("methods_of_mine.py").write_text(OWN.format(objective=objective, sampler=sampler))
    return {"objective": "methods_of_mine:value", "sampler": "methods_of_mine:sampler"}


@pytest.mark.parametrize("sampler", ["cmaes,popsize=4", "nsgaii,population_size=3", "qmc", "random"])
def test_retries_and_inheritance_work_with_each_sampler(harness: RunHarness, sampler: str) -> None:
    methods = {"objective": "calmar", "sampler": sampler, "pruner": "hyperband"}
    harness.begin(early("1", ANY, **methods), searched("2", ALMOST, retries=1, **methods), surrogates=1)

    harness.run()

    rows = [(each.row.level, each.row.number, each.row.reused) for each in harness.run_status().attempts]
    assert rows == [("1", 1, 0), ("2", 1, 0), ("2", 2, 8)]
    inherited = harness.run_status().attempts[1].row.inherited
    first = read_trials(harness.context.storage_url, "run-L2-a1")[0]
    assert inherited is not None
    assert first.params["fast"] == inherited["fast"]
    again = read_trials(harness.context.storage_url, "run-L2-a2")
    assert [trial.params for trial in again[:8]] == [
        trial.params for trial in read_trials(harness.context.storage_url, "run-L2-a1")
    ]
    assert len(again) == 8 + 12


def test_a_killed_run_of_a_sampler_with_state_ends_with_the_same_table(folder: Path, candles: Path) -> None:
    whole, killed = (run_harness_in(folder / each, candles) for each in ("whole", "killed"))
    for harness in (whole, killed):
        harness.context.results_dir.parent.mkdir(exist_ok=True)
        harness.begin(searched("1", ANY, sampler="cmaes,popsize=3", trials=14))
    whole.run()

    with pytest.raises(KilledRun):
        killed.run(tell=after(3))
    killed.run()

    assert killed.table("1") == whole.table("1")


def test_several_objectives_end_with_a_front_and_a_winner_of_it(harness: RunHarness) -> None:
    methods = {"objective": ["sharpe", "calmar"], "sampler": "nsgaii,population_size=3"}
    harness.begin(searched("1", ANY, trials=14, early_stop=14, **methods), surrogates=1)

    harness.run()

    front = harness.file("1/front.json")
    numbers = [each["trial"] for each in front["trials"]]
    assert front["objectives"] == ["sharpe", "calmar"]
    assert front["winner"] in numbers
    assert (harness.context.folder("run") / "1/plots/front.svg").read_bytes().startswith(b"<?xml")
    header = harness.table("1").decode().splitlines()[0]
    assert header.startswith("number,state,value_calmar,value_sharpe,")
    status = harness.run_status()
    (attempt,) = as_result(status)["levels"]
    assert [each["number"] for each in attempt["front"]] == numbers
    assert attempt["best_trial"] == numbers[0]
    (page,) = as_page(status)["levels"]
    assert (page["objective"], page["sampler"], page["pruner"]) == (
        ["sharpe", "calmar"], "nsgaii, population_size=3", "none",
    )  # fmt: skip
    table = trial_table("run-L1-a1", [*status.attempts[0].counts.front], 0)
    assert table["columns"][-2:] == ["value_sharpe", "value_calmar"]
    report = (harness.context.folder("run") / REPORT_NAME).read_text()
    assert "Pareto front, on train" in report
    assert "Objectives on train: Sharpe ratio, Calmar ratio; sampler nsgaii, population_size=3; pruner none." in report


def test_isolated_methods_leave_the_same_files(folder: Path, candles: Path, importable, unhurried) -> None:
    methods = write()
    runs = [run_harness_in(folder / each, candles) for each in ("here", "apart")]
    for harness in runs:
        harness.context.results_dir.parent.mkdir(exist_ok=True)
        harness.begin(searched("1", ANY, trials=10, **methods), surrogates=1)

    go_on(runs[0])
    with isolated_strategies(IsolationSettings(trial_seconds=600, import_seconds=600)):
        go_on(runs[1])

    here, other = (harness.files() for harness in runs)
    assert here.keys() == other.keys()
    assert [path for path in here if here[path] != other[path] and path != "report.json"] == []


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"sampler": "os._exit(3)"}, StrategyFailed, r"sampler methods_of_mine:sampler failed at .*exit code 3"),
        (
            {"sampler": "raise KeyError('x')"},
            StrategyFailed,
            r"sampler methods_of_mine:sampler failed at .*KeyError: 'x'",
        ),
    ],
)
def test_a_sampler_that_fails_ends_the_command_in_one_line(
    harness: RunHarness, importable, unhurried, changes: dict[str, str], error: type[Exception], said: str
) -> None:
    with (
        isolated_strategies(IsolationSettings(trial_seconds=600, import_seconds=600)),
        pytest.raises(error, match=said),
    ):
        harness.begin(searched("1", ANY, sampler=write(**changes)["sampler"]))

    assert "methods_of_mine" not in sys.modules


def test_an_objective_is_imported_apart(importable, unhurried) -> None:
    write()
    Path("methods_of_mine.py").write_text("raise ZeroDivisionError")

    with (
        isolated_strategies(IsolationSettings(trial_seconds=600, import_seconds=600)) as host,
        pytest.raises(
            StrategyNotImported, match="objective methods_of_mine:value cannot be imported: ZeroDivisionError"
        ),
    ):
        host.import_code(strategy_host.UserCode("methods_of_mine:value", "objective"))

    assert "methods_of_mine" not in sys.modules


def test_a_failing_objective_fails_its_trials(harness: RunHarness, importable) -> None:
    methods = write(objective="assert trial.metrics['trades'] < 0, 'too few'")
    harness.begin(searched("1", ANY, trials=4, objective=methods["objective"]))

    harness.run()

    trials = read_trials(harness.context.storage_url, "run-L1-a1")
    assert {trial.state.name for trial in trials} == {"FAIL"}
    assert trials[0].user_attrs["failure"].startswith("AssertionError: too few")


def test_a_worker_imports_named_objectives_alone() -> None:
    mine = searched("1", ANY, objective=["sharpe", "mine:value"])

    assert user_strategies([mine]) == ("mine:value",)
    AllowedStrategies(("mine:value",)).require(mine)
    with pytest.raises(StrategyNotAllowed, match="objective 'mine:value' is not allowed on this worker"):
        AllowedStrategies().require(mine)


def test_an_unrepeatable_sampler_is_refused_before_a_run_begins(harness: RunHarness, importable) -> None:
    Path("methods_of_mine.py").write_text("import optuna\ndef sampler(): return optuna.samplers.RandomSampler()")

    with pytest.raises(SettingsError, match="cannot be used in mode lagged"):
        harness.begin(searched("1", ANY, sampler="methods_of_mine:sampler"))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the time limits that a slow machine could reach."""
    for name in ("RESPONSE_SECONDS", "SAMPLE_SECONDS"):
        monkeypatch.setattr(strategy_host, name, 600.0)


def go_on(harness: RunHarness) -> None:
    """Evaluate trials in this process, as a worker does; the sampler and later steps use the isolated host."""

    def here(work: Callable) -> Callable:
        def done(*arguments):
            with find_own_by(import_own):
                return work(*arguments)

        return done

    evaluator = Evaluator(
        store=harness.context.store,
        plan=here(plan_level),
        evaluate=here(evaluate),
        worker="here",
        run_surrogate=here(run_surrogate),
    )
    dispatchers = lambda _: InProcessDispatcher(evaluator)  # noqa: E731
    options = FinalizeOptions(processes=1)
    control = RunControl(stop=lambda: False, on_progress=lambda *_: None, finalize=options)
    run_levels_with(dispatchers, harness.context, "run", control)

"""Strategy isolation: strategy code runs in a separate process, whose failure does not end the search."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.level.constraints import Analysis
from optimizer.level.spec import Direction
from optimizer.objective.objective import evaluate, plan_level
from optimizer.strategies.protocol import load, repaired, warm_up_of
from optimizer.strategies.proxy import BarStrategyProxy
from optimizer.strategies.registry import find_own_by, import_own
from tests.factories.in_process_runs import ANY, RunHarness, level, run_harness_in
from tradeschool.errors import SettingsError, StrategyFailed, StrategyNotImported, TradeschoolError
from tradeschool.markets.timeframes import Timeframe
from workers.coordinator.run.curriculum_run import RunControl, run_levels_with
from workers.coordinator.run.finalize import FinalizeOptions
from workers.isolation import strategy_host
from workers.isolation.strategy_allowlist import UserCode
from workers.isolation.strategy_host import StrategyHost, isolated_strategies
from workers.isolation.strategy_process import IsolationSettings
from workers.processes.memory_limit import default_limit
from workers.work_horse.evaluator import Evaluator
from workers.work_horse.surrogate_markets import run_surrogate
from workers.worker.in_process_dispatch import InProcessDispatcher

BUILT_IN = load("sma_cross")
DEFAULTS = {parameter.name: parameter.default for parameter in BUILT_IN.parameters}
OWN = """
import itertools, os, signal, time
from optimizer.strategies.built_in.sma_cross import STRATEGY as BUILT_IN

class Mine:
    name, parameters = "mine", BUILT_IN.parameters

    def warm_up(self, bounds, timeframe):
        return BUILT_IN.warm_up(bounds, timeframe)

    def repair(self, parameters):
        {repair}
        return BUILT_IN.repair(parameters)

    def signals(self, candles, parameters, direction):
        {signals}
        return BUILT_IN.signals(candles, parameters, direction)

STRATEGY = Mine()
"""
pytestmark = pytest.mark.usefixtures("forked_children")
VALIDATION_ONLY = "if candles.window.start.day != 1:"
"""Train begins with the first of a month."""


def write(name: str = "mine", *, repair: str = "pass", signals: str = "pass") -> str:
    Path(f"{name}.py").write_text(OWN.format(repair=repair, signals=signals))
    return f"{name}:STRATEGY"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that valid code does not reach on a slow machine; tests of endless code set lower ones."""
    monkeypatch.setattr(strategy_host, "RESPONSE_SECONDS", 600.0)


@pytest.fixture
def limits() -> IsolationSettings:
    return IsolationSettings(trial_seconds=600, import_seconds=600)


@pytest.fixture
def apart(limits: IsolationSettings) -> Iterator[StrategyHost]:
    with isolated_strategies(limits) as host:
        yield host


def is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def test_the_proxy_has_the_attributes_of_its_strategy(apart: StrategyHost) -> None:
    name = write()

    found = load(name)

    assert "mine" not in sys.modules
    assert (found.name, found.parameters) == ("mine", BUILT_IN.parameters)
    asked = {**DEFAULTS, "fast": 50, "slow": 20}
    assert repaired(found, asked) == repaired(BUILT_IN, asked)
    assert [type(value) for value in repaired(found, asked).values()] == [type(value) for value in asked.values()]
    bounds = {key: (value, value) for key, value in DEFAULTS.items()}
    assert warm_up_of(found, bounds, Timeframe.M5) == warm_up_of(BUILT_IN, bounds, Timeframe.M5)
    with pytest.raises(TradeschoolError, match="in a process that runs no strategy's code"):
        found.signals(None, DEFAULTS, Direction.BOTH)


def test_a_decision_engine_is_recognized(apart: StrategyHost) -> None:
    write()
    Path("engine.py").write_text(
        "from mine import Mine\n"
        "class Engine(Mine):\n"
        "    signals = property()\n"
        "    def decider(self, dataset, parameters, direction): ...\n"
        "STRATEGY = Engine()\n"
    )

    assert isinstance(load("engine:STRATEGY"), BarStrategyProxy)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os._exit(3)", r"its process ended with exit code 3 \(3 attempts\)"),
        ("import ctypes; ctypes.string_at(0)", r"its process was killed by SIGSEGV \(3 attempts\)"),
        ("import os; os.kill(os.getpid(), 19)", r"its process has stopped itself \(3 attempts\)"),
        (r"raise RuntimeError('a\nb\x1b[1m')", r"RuntimeError: a\\nb\\x1b\[1m \(mine.py, line 1\) \(1 attempt\)"),
        ("raise SystemExit('so long')", r"SystemExit: so long \(mine.py, line 1\) \(1 attempt\)"),
        ("raise KeyboardInterrupt", r"KeyboardInterrupt"),
        ("import not_there", r"ModuleNotFoundError: No module named 'not_there'"),
        ("x = (", r"SyntaxError"),
    ],
)
def test_an_unimportable_module_is_reported_in_one_line(apart: StrategyHost, body: str, said: str) -> None:
    Path("mine.py").write_text(body)

    with pytest.raises((StrategyNotImported, StrategyFailed), match=said) as raised:
        load("mine:STRATEGY")

    assert str(raised.value).startswith("strategy mine:STRATEGY ")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("name", ["not_there:X", "mine:NOT_THERE"])
def test_a_missing_attribute_is_a_settings_error(apart: StrategyHost, name: str) -> None:
    write()

    with pytest.raises(SettingsError, match="cannot be imported"):
        load(name)


@pytest.mark.parametrize(
    ("loop", "limit"),
    [
        ("while True: pass", "1 s of processor time"),
        ("import itertools; sum(itertools.repeat(0))", "1 s of processor time"),
        ("import time; time.sleep(1e6)", "2 s"),
    ],
)
def test_an_endless_import_is_stopped_once_and_reported(
    monkeypatch: pytest.MonkeyPatch, limits: IsolationSettings, loop: str, limit: str
) -> None:
    monkeypatch.setattr(strategy_host, "LOG_SECONDS", 0.25)
    monkeypatch.setattr(strategy_host, "IMPORT_FACTOR", 600 if "processor" in limit else 2)
    Path("mine.py").write_text("import os\nopen('pid', 'w').write(str(os.getpid()))\n" + loop)
    told: list[str] = []

    with (
        isolated_strategies(replace(limits, import_seconds=1), told.append),
        pytest.raises(StrategyNotImported, match=rf"within {limit} \(work.import_timeout_seconds\) \(1 attempt\)"),
    ):
        load("mine:STRATEGY")

    assert any(line.startswith("strategy mine:STRATEGY: waiting for its import, ") for line in told)
    assert is_gone(int(Path("pid").read_text()))


@pytest.mark.parametrize(
    ("repair", "said"),
    [
        ("os._exit(5)", r"at repair: its process ended with exit code 5 \(3 attempts\)"),
        ("while True: pass", r"at repair: it did not end within 1 s \(3 attempts\)"),
        ("sum(itertools.repeat(0))", r"at repair: it did not end within 1 s \(3 attempts\)"),
        ("raise ValueError('no')", r"at repair: ValueError: no \(mine.py, line 12\) \(1 attempt\)"),
    ],
)
def test_a_repair_that_crashes_is_retried_and_then_fails(
    monkeypatch: pytest.MonkeyPatch, apart: StrategyHost, repair: str, said: str
) -> None:
    if "within" in said:
        monkeypatch.setattr(strategy_host, "RESPONSE_SECONDS", 1.0)
    found = load(write(repair=repair))

    with pytest.raises(StrategyFailed, match=said):
        found.repair(DEFAULTS)


def test_a_repair_that_crashes_once_succeeds_in_the_next_process(apart: StrategyHost) -> None:
    repair = "if not os.path.exists('once'): open('once', 'w').close(); os.kill(os.getpid(), 9)"

    assert load(write(repair=repair)).repair(DEFAULTS) == BUILT_IN.repair(DEFAULTS)


def test_a_repair_out_of_bounds_is_a_settings_error(apart: StrategyHost) -> None:
    found = load(write(repair="return {**parameters, 'fast': 9999}"))

    with pytest.raises(SettingsError, match=r"strategy 'mine': fast: expected 2\.\.100, was 9999"):
        found.repair(DEFAULTS)


def test_a_fork_of_a_strategy_sends_nothing_and_ends_with_it(apart: StrategyHost, eventually) -> None:
    repair = "pid = os.fork(); pid and open('forks', 'a').write(f'{pid}\\n')"
    sleep = "os.fork() or time.sleep(600)"
    found = load(write(repair=f"{repair}; parameters = {{**parameters}}"))
    slow = load(write("slow", repair=f"open('pid', 'w').write(str(os.getpid())); {sleep}"))

    asked = [{**DEFAULTS, "fast": fast} for fast in (5, 6, 7)]
    assert [found.repair(each) for each in asked] == [BUILT_IN.repair(each) for each in asked]
    assert slow.repair(DEFAULTS) == BUILT_IN.repair(DEFAULTS)

    apart.close()
    eventually(lambda: all(map(is_gone, map(int, [*Path("forks").read_text().split(), Path("pid").read_text()]))))


def test_strategy_output_goes_to_standard_error_within_a_limit(apart: StrategyHost, capfd) -> None:
    found = load(
        write(repair="print('x' * 100 + '\\n', end='' ); print('y' * 50_000_000); os.write(1, b'\\x1b[1m\\n')")
    )

    assert found.repair(DEFAULTS) == BUILT_IN.repair(DEFAULTS)
    apart.close()

    out, err = capfd.readouterr()
    assert out == ""
    assert "x" * 100 in err
    assert "left out" in err
    assert len(err) < 2_000_000
    assert "\x1b" not in err


def go_on(harness: RunHarness, name: str = "run"):
    """Evaluate trials in this process, as a worker does; other strategy calls use the isolated host."""

    def here(work: Callable):
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
    return run_levels_with(dispatchers, harness.context, name, control)


def own_curriculum(name: str):
    first = level("1", ANY, strategy=name, trials=6)
    return first, level("2", ANY, strategy=name, trials=6, analyses=(Analysis.STABILITY, Analysis.SIMILARITY))


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes a module of the working folder importable in this process and its children, and removes it afterwards."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    yield
    sys.modules.pop("mine", None)


def test_an_isolated_strategy_leaves_the_same_files(
    folder: Path, candles: Path, limits: IsolationSettings, importable
) -> None:
    name = write()
    runs = [run_harness_in(folder / each, candles) for each in ("here", "apart")]
    for harness in runs:
        (harness.context.results_dir.parent).mkdir(exist_ok=True)
        harness.begin(*own_curriculum(name), surrogates=2)

    go_on(runs[0])
    with isolated_strategies(limits):
        go_on(runs[1])

    here, other = (harness.files() for harness in runs)
    assert here.keys() == other.keys()
    assert [path for path in here if here[path] != other[path] and path != "report.json"] == []
    assert runs[0].rows() == runs[1].rows()
    assert runs[0].looks() == runs[1].looks()
    assert runs[0].events() == runs[1].events()


@pytest.mark.parametrize("signals", [f"{VALIDATION_ONLY} sum(itertools.repeat(0))", f"{VALIDATION_ONLY} os._exit(4)"])
def test_a_strategy_that_fails_only_on_validation_ends_the_run(
    harness: RunHarness, limits: IsolationSettings, importable, signals: str
) -> None:
    harness.begin(*own_curriculum(write(signals=signals)))
    is_loop = "_exit" not in signals
    reason = "a backtest did not end within 2 s" if is_loop else "its process ended with exit code 4"

    with (
        isolated_strategies(replace(limits, trial_seconds=2 if is_loop else 600)),
        pytest.raises(StrategyFailed, match=rf"judging level 1, attempt 1: {reason}.* \(3 attempts\)"),
    ):
        go_on_once_searched(harness)

    assert harness.events()[-1] == "run_interrupted"


def go_on_once_searched(harness: RunHarness) -> None:
    """Repairs run in this process, so that their duration does not matter."""
    host, strategy_host._host = strategy_host._host, None
    from workers.coordinator.run import isolated_steps

    original = isolated_steps.host_for
    try:
        isolated_steps.host_for = lambda levels: (host, UserCode(levels[0].strategy))
        with find_own_by(import_own):
            go_on(harness)
    finally:
        isolated_steps.host_for, strategy_host._host = original, host


def test_a_strategy_process_ends_with_its_parent(apart: StrategyHost) -> None:
    load(write(repair="open('pid', 'w').write(str(os.getpid()))")).repair(DEFAULTS)
    process = int(Path("pid").read_text())
    assert os.getsid(process) == process

    apart.close()

    assert is_gone(process)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts data in this way")
def test_the_memory_of_a_strategy_has_a_limit(limits: IsolationSettings) -> None:
    name = write(repair="parameters = {**parameters, 'fast': len(bytearray(4_000_000_000))}")

    with (
        isolated_strategies(replace(limits, memory_bytes=64_000_000)),
        pytest.raises(StrategyFailed, match="at repair: MemoryError"),
    ):
        load(name).repair(DEFAULTS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts data in this way")
@pytest.mark.parametrize(("trial", "allowed"), [(None, default_limit()), (1 << 26, 1 << 28), (1 << 50, 1 << 50)])
def test_the_strategy_process_always_has_a_memory_limit(limits: IsolationSettings, trial: int, allowed: int) -> None:
    ask = "import resource; open('limit', 'w').write(str(resource.getrlimit(resource.RLIMIT_DATA)))"

    with isolated_strategies(replace(limits, memory_bytes=trial)):
        load(write(repair=ask)).repair(DEFAULTS)

    soft, hard = map(int, Path("limit").read_text().strip("()").split(", "))
    assert soft == hard
    assert allowed <= soft <= allowed + (1 << 30)

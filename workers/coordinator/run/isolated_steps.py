"""The long steps that run a strategy after a search: in this process, or as a whole in the strategy's process.

Each step is one function; the strategy's process calls the same function with arguments that were sent as JSON.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from optimizer.curriculum.state_machine import Recommend, RunOutcome
from optimizer.level.spec import Level
from optimizer.runs.run_store import AttemptRow
from optimizer.validation.analyses.null_test import NullTestSpec, run_null_test
from optimizer.validation.evidence import NullRun
from optimizer.validation.recommendation import Recommendation
from tradeschool.store import Store
from workers.coordinator.context import RunContext
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run import level_search
from workers.coordinator.run.run_evidence import evaluate_run
from workers.isolation.strategy_host import host_for
from workers.isolation.strategy_process import StopCheck
from workers.processes.process_group import ProcessGroup, process_group

Emit = Callable[[object], None]
"""Called with a part of the result."""


def judge(run: RecordedRun, row: AttemptRow, stop: StopCheck) -> AttemptRow:
    """See `workers.coordinator.run.level_search.judge`."""
    found = host_for([run.record.level(row.level)])
    if found is None:
        return level_search.judge(run, row)
    host, code = found
    facts = {**run.as_json(), "row": row.model_dump_json()}
    content = host.call(code, "judge", facts, step=f"judging level {row.level}, attempt {row.number}", stop=stop)
    return AttemptRow.model_validate_json(content)


def evaluate(run: RecordedRun, action: Recommend, processes: ProcessGroup, stop: StopCheck) -> Recommendation:
    """See `workers.coordinator.run.run_evidence.evaluate_run`."""
    found = host_for([run.record.level(action.level), *run.record.levels])
    if found is None:
        return evaluate_run(run, action, processes)
    host, code = found
    facts = {
        **run.as_json(),
        "outcome": action.outcome.value,
        "level": action.level,
        "processes": processes.count,
    }
    return Recommendation.model_validate_json(host.call(code, "evaluate", facts, step="evaluating the run", stop=stop))


def run_null_tests(
    context: RunContext,
    null_spec: NullTestSpec,
    numbers: Sequence[int],
    processes: ProcessGroup,
    on_run: Callable[[NullRun], None],
    stop: StopCheck,
) -> None:
    """Search each of these surrogate markets; `on_run` is called with each outcome, in order."""
    found = host_for([null_spec.level])
    if found is None:
        for each in _null_runs(context.searched(null_spec.level), null_spec, numbers, processes):
            on_run(each)
        return
    host, code = found
    left = [*numbers]

    def on_part(content: str) -> None:
        on_run(NullRun.model_validate_json(content))
        del left[0]

    facts = {
        "context": context.as_json(),
        "null_spec": {**asdict(null_spec), "level": null_spec.level.model_dump_json()},
        "numbers": left,  # after a retry, those that are still missing
        "processes": processes.count,
    }
    step = f"the null test of level {null_spec.level.name}"
    host.call(code, "null_test", facts, step=step, on_part=on_part, stop=stop)


def _null_runs(
    store: Store, null_spec: NullTestSpec, numbers: Sequence[int], processes: ProcessGroup
) -> Iterable[NullRun]:
    return processes.share(partial(_null_run, null_spec, store), numbers)


def _null_run(null_spec: NullTestSpec, store: Store, number: int) -> NullRun:
    return run_null_test(null_spec, store.arrays, number)


def _judge_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    row = AttemptRow.model_validate_json(facts["row"])
    return level_search.judge(RecordedRun.from_json(facts), row).model_dump_json()


def _evaluate_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    action = Recommend(RunOutcome(facts["outcome"]), facts["level"])
    with process_group(facts["processes"]) as processes:
        return evaluate_run(RecordedRun.from_json(facts), action, processes).model_dump_json()


def _run_null_tests_here(facts: Mapping[str, Any], emit: Emit) -> None:
    content = facts["null_spec"]
    null_spec = NullTestSpec(**{**content, "level": Level.model_validate_json(content["level"])})
    with process_group(facts["processes"]) as processes:
        store = RunContext.from_json(facts["context"]).searched(null_spec.level)
        for each in _null_runs(store, null_spec, facts["numbers"], processes):
            emit(each.model_dump_json())


STEPS: Mapping[str, Callable[[Mapping[str, Any], Emit], object]] = {
    "judge": _judge_here,
    "evaluate": _evaluate_here,
    "null_test": _run_null_tests_here,
}
"""The function of each step in a strategy's process."""

"""The long steps that run a strategy after a search: in this process, or as a whole in the strategy's process.

Each step is one function; the strategy's process calls the same function with arguments that were sent as JSON.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from optimizer.curriculum.state_machine import Recommend, RunOutcome
from optimizer.level.spec import Level
from optimizer.runs.run_store import AttemptRow, RunRecord
from optimizer.validation.analyses.null_test import NullTestSpec, run_null_test
from optimizer.validation.evidence import NullRun
from optimizer.validation.recommendation import Recommendation
from tradeschool.store import Store
from workers.coordinator.context import RunContext
from workers.coordinator.run import level_search
from workers.coordinator.run.run_evidence import evaluate_run
from workers.isolation.strategy_host import host_for
from workers.isolation.strategy_process import StopCheck
from workers.processes.process_group import ProcessGroup, process_group

Emit = Callable[[object], None]
"""Called with a part of the result."""


def judge(context: RunContext, record: RunRecord, row: AttemptRow, stop: StopCheck) -> AttemptRow:
    """See `workers.coordinator.run.level_search.judge`."""
    level = record.level(row.level)
    found = host_for([level])
    if found is None:
        return level_search.judge(context, record, row)
    host, name = found
    facts = {**_facts(context, record), "row": row.model_dump_json()}
    content = host.call(name, "judge", facts, step=f"judging level {row.level}, attempt {row.number}", stop=stop)
    return AttemptRow.model_validate_json(content)


def evaluate(
    context: RunContext, record: RunRecord, action: Recommend, processes: ProcessGroup, stop: StopCheck
) -> Recommendation:
    """See `workers.coordinator.run.run_evidence.evaluate_run`."""
    levels = [record.level(action.level), *record.levels]
    found = host_for(levels)
    if found is None:
        return evaluate_run(context, record, action, processes)
    host, name = found
    facts = {
        **_facts(context, record),
        "outcome": action.outcome.value,
        "level": action.level,
        "processes": processes.count,
    }
    return Recommendation.model_validate_json(host.call(name, "evaluate", facts, step="evaluating the run", stop=stop))


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
        for each in _null_runs(context.store, null_spec, numbers, processes):
            on_run(each)
        return
    host, name = found
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
    host.call(name, "null_test", facts, step=step, on_part=on_part, stop=stop)


def _null_runs(
    store: Store, null_spec: NullTestSpec, numbers: Sequence[int], processes: ProcessGroup
) -> Iterable[NullRun]:
    return processes.share(partial(_null_run, null_spec, store), numbers)


def _null_run(null_spec: NullTestSpec, store: Store, number: int) -> NullRun:
    return run_null_test(null_spec, store.arrays, number)


def _facts(context: RunContext, record: RunRecord) -> dict[str, object]:
    return {"context": context.as_json(), "record": record.model_dump_json()}


def _judge_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    record, row = RunRecord.model_validate_json(facts["record"]), AttemptRow.model_validate_json(facts["row"])
    return level_search.judge(RunContext.from_json(facts["context"]), record, row).model_dump_json()


def _evaluate_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    record = RunRecord.model_validate_json(facts["record"])
    action = Recommend(RunOutcome(facts["outcome"]), facts["level"])
    with process_group(facts["processes"]) as processes:
        return evaluate_run(RunContext.from_json(facts["context"]), record, action, processes).model_dump_json()


def _run_null_tests_here(facts: Mapping[str, Any], emit: Emit) -> None:
    content = facts["null_spec"]
    null_spec = NullTestSpec(**{**content, "level": Level.model_validate_json(content["level"])})
    with process_group(facts["processes"]) as processes:
        for each in _null_runs(RunContext.from_json(facts["context"]).store, null_spec, facts["numbers"], processes):
            emit(each.model_dump_json())


STEPS: Mapping[str, Callable[[Mapping[str, Any], Emit], object]] = {
    "judge": _judge_here,
    "evaluate": _evaluate_here,
    "null_test": _run_null_tests_here,
}
"""The function of each step in a strategy's process."""

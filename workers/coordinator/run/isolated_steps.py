"""The long steps that run a strategy after a search: in this process, or as a whole in the strategy's process.

Each step is one function; the strategy's process calls the same function with arguments that were sent as JSON.
"""

from collections.abc import Callable, Mapping
from typing import Any

from optimizer.curriculum.state_machine import Recommend, RunOutcome
from optimizer.runs.run_record import AttemptRow
from optimizer.validation.recommendation import Recommendation
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run import attempt_verdict
from workers.coordinator.run.run_evidence import evaluate_run
from workers.isolation.strategy_host import host_for
from workers.isolation.strategy_process import StopCheck
from workers.processes.process_group import ProcessGroup, process_group

Emit = Callable[[object], None]
"""Called with a part of the result."""


def judge(run: RecordedRun, row: AttemptRow, stop: StopCheck) -> AttemptRow:
    """See `workers.coordinator.run.attempt_verdict.judge`."""
    found = host_for([run.record.level(row.level)])
    if found is None:
        return attempt_verdict.judge(run, row)
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


def _judge_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    row = AttemptRow.model_validate_json(facts["row"])
    return attempt_verdict.judge(RecordedRun.from_json(facts), row).model_dump_json()


def _evaluate_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    action = Recommend(RunOutcome(facts["outcome"]), facts["level"])
    with process_group(facts["processes"]) as processes:
        return evaluate_run(RecordedRun.from_json(facts), action, processes).model_dump_json()


STEPS: Mapping[str, Callable[[Mapping[str, Any], Emit], object]] = {
    "judge": _judge_here,
    "evaluate": _evaluate_here,
}
"""The function of each step in a strategy's process."""

"""The long steps of a search's end that run strategies: in this process, or whole in a strategy's own process.

Each is one function; a step that is made elsewhere is the same function, called there with what JSON can carry.
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
from workers.coordinator import level_search
from workers.coordinator.context import RunContext
from workers.coordinator.run_evidence import evaluate_run
from workers.isolation.strategy_host import host_of
from workers.isolation.strategy_process import Stop
from workers.processes.process_group import ProcessGroup, process_group

Emit = Callable[[object], None]
"""Told of a part of an answer."""


def judge(context: RunContext, record: RunRecord, row: AttemptRow, stop: Stop) -> AttemptRow:
    """See `workers.coordinator.level_search.judge`."""
    level = record.level(row.level)
    found = host_of([level])
    if found is None:
        return level_search.judge(context, record, row)
    host, name = found
    facts = {**_facts(context, record), "row": row.model_dump_json()}
    said = host.ask(name, "judge", facts, step=f"judging level {row.level}, attempt {row.number}", stop=stop)
    return AttemptRow.model_validate_json(said)


def weigh(
    context: RunContext, record: RunRecord, action: Recommend, processes: ProcessGroup, stop: Stop
) -> Recommendation:
    """See `workers.coordinator.run_evidence.evaluate_run`."""
    levels = [record.level(action.level), *record.levels]
    found = host_of(levels)
    if found is None:
        return evaluate_run(context, record, action, processes)
    host, name = found
    facts = {
        **_facts(context, record),
        "outcome": action.outcome.value,
        "level": action.level,
        "processes": processes.count,
    }
    return Recommendation.model_validate_json(host.ask(name, "weigh", facts, step="weighing the run", stop=stop))


def draw(
    context: RunContext,
    null_spec: NullTestSpec,
    numbers: Sequence[int],
    processes: ProcessGroup,
    take: Callable[[NullRun], None],
    stop: Stop,
) -> None:
    """Try luck in each of these surrogate markets; what comes of it is taken in their order, as it comes."""
    found = host_of([null_spec.level])
    if found is None:
        for each in _draws(context.store, null_spec, numbers, processes):
            take(each)
        return
    host, name = found
    left = [*numbers]

    def taken(said: str) -> None:
        take(NullRun.model_validate_json(said))
        del left[0]

    facts = {
        "place": context.as_json(),
        "luck": {**asdict(null_spec), "level": null_spec.level.model_dump_json()},
        "numbers": left,  # where it is asked again, those that are still missing
        "processes": processes.count,
    }
    step = f"measuring the luck of level {null_spec.level.name}"
    host.ask(name, "draw", facts, step=step, take=taken, stop=stop)


def _draws(store: Store, null_spec: NullTestSpec, numbers: Sequence[int], processes: ProcessGroup) -> Iterable[NullRun]:
    return processes.share(partial(_null_run, null_spec, store), numbers)


def _null_run(null_spec: NullTestSpec, store: Store, number: int) -> NullRun:
    return run_null_test(null_spec, store.arrays, number)


def _facts(context: RunContext, record: RunRecord) -> dict[str, object]:
    return {"place": context.as_json(), "record": record.model_dump_json()}


def _judge_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    record, row = RunRecord.model_validate_json(facts["record"]), AttemptRow.model_validate_json(facts["row"])
    return level_search.judge(RunContext.from_json(facts["place"]), record, row).model_dump_json()


def _weigh_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    record = RunRecord.model_validate_json(facts["record"])
    action = Recommend(RunOutcome(facts["outcome"]), facts["level"])
    with process_group(facts["processes"]) as processes:
        return evaluate_run(RunContext.from_json(facts["place"]), record, action, processes).model_dump_json()


def _draw_here(facts: Mapping[str, Any], emit: Emit) -> None:
    told = facts["luck"]
    null_spec = NullTestSpec(**{**told, "level": Level.model_validate_json(told["level"])})
    with process_group(facts["processes"]) as processes:
        for each in _draws(RunContext.from_json(facts["place"]).store, null_spec, facts["numbers"], processes):
            emit(each.model_dump_json())


STEPS: Mapping[str, Callable[[Mapping[str, Any], Emit], object]] = {
    "judge": _judge_here,
    "weigh": _weigh_here,
    "draw": _draw_here,
}
"""What a strategy's own process does, by the name of the step."""

"""The long steps of a search's end that run strategies: in this process, or whole in a strategy's own process.

Each is one function; a step that is made elsewhere is the same function, called there with what JSON can carry.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from optimizer.curriculum.state_machine import Outcome, Recommend
from optimizer.level.spec import Level
from optimizer.runs.run_store import AttemptRow, RunRecord
from optimizer.validation.analyses.null_test import Luck, try_luck
from optimizer.validation.evidence import Draw
from optimizer.validation.recommendation import Recommendation
from tradeschool.store import Store
from workers.coordinator import level_search
from workers.coordinator.context import Place
from workers.coordinator.run_evidence import weigh_run
from workers.isolation.strategy_host import host_of
from workers.isolation.strategy_process import Stop
from workers.processes.process_group import Crew, crew

Emit = Callable[[object], None]
"""Told of a part of an answer."""


def judge(place: Place, record: RunRecord, row: AttemptRow, stop: Stop) -> AttemptRow:
    """See `workers.coordinator.level_search.judge`."""
    level = record.level(row.level)
    found = host_of([level])
    if found is None:
        return level_search.judge(place, record, row)
    host, name = found
    facts = {**_facts(place, record), "row": row.model_dump_json()}
    said = host.ask(name, "judge", facts, step=f"judging level {row.level}, attempt {row.number}", stop=stop)
    return AttemptRow.model_validate_json(said)


def weigh(place: Place, record: RunRecord, action: Recommend, hands: Crew, stop: Stop) -> Recommendation:
    """See `workers.coordinator.run_evidence.weigh_run`."""
    levels = [record.level(action.level), *record.levels]
    found = host_of(levels)
    if found is None:
        return weigh_run(place, record, action, hands)
    host, name = found
    facts = {
        **_facts(place, record),
        "outcome": action.outcome.value,
        "level": action.level,
        "processes": hands.count,
    }
    return Recommendation.model_validate_json(host.ask(name, "weigh", facts, step="weighing the run", stop=stop))


def draw(
    place: Place, luck: Luck, numbers: Sequence[int], hands: Crew, take: Callable[[Draw], None], stop: Stop
) -> None:
    """Try luck in each of these surrogate markets; what comes of it is taken in their order, as it comes."""
    found = host_of([luck.level])
    if found is None:
        for each in _draws(place.store, luck, numbers, hands):
            take(each)
        return
    host, name = found
    left = [*numbers]

    def taken(said: str) -> None:
        take(Draw.model_validate_json(said))
        del left[0]

    facts = {
        "place": place.as_json(),
        "luck": {**asdict(luck), "level": luck.level.model_dump_json()},
        "numbers": left,  # where it is asked again, those that are still missing
        "processes": hands.count,
    }
    step = f"measuring the luck of level {luck.level.name}"
    host.ask(name, "draw", facts, step=step, take=taken, stop=stop)


def _draws(store: Store, luck: Luck, numbers: Sequence[int], hands: Crew) -> Iterable[Draw]:
    return hands.share(partial(_draw, luck, store), numbers)


def _draw(luck: Luck, store: Store, number: int) -> Draw:
    return try_luck(luck, store.arrays, number)


def _facts(place: Place, record: RunRecord) -> dict[str, object]:
    return {"place": place.as_json(), "record": record.model_dump_json()}


def _judge_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    record, row = RunRecord.model_validate_json(facts["record"]), AttemptRow.model_validate_json(facts["row"])
    return level_search.judge(Place.from_json(facts["place"]), record, row).model_dump_json()


def _weigh_here(facts: Mapping[str, Any], emit: Emit) -> str:
    del emit
    record = RunRecord.model_validate_json(facts["record"])
    action = Recommend(Outcome(facts["outcome"]), facts["level"])
    with crew(facts["processes"]) as hands:
        return weigh_run(Place.from_json(facts["place"]), record, action, hands).model_dump_json()


def _draw_here(facts: Mapping[str, Any], emit: Emit) -> None:
    told = facts["luck"]
    luck = Luck(**{**told, "level": Level.model_validate_json(told["level"])})
    with crew(facts["processes"]) as hands:
        for each in _draws(Place.from_json(facts["place"]).store, luck, facts["numbers"], hands):
            emit(each.model_dump_json())


STEPS: Mapping[str, Callable[[Mapping[str, Any], Emit], object]] = {
    "judge": _judge_here,
    "weigh": _weigh_here,
    "draw": _draw_here,
}
"""What a strategy's own process does, by the name of the step."""

"""Curriculum state machine: every reachable state leads to the same end after any interruption."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.curriculum.state_machine import (
    Attempt,
    End,
    Judge,
    LevelSpec,
    NextAction,
    Recommend,
    RunFacts,
    RunOutcome,
    Search,
    Wait,
    next_action,
)

LEVEL_SPECS = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(
    lambda retries: [LevelSpec(name=str(number), retries=most) for number, most in enumerate(retries, 1)]
)


class World:
    """A model of the effects of actions; verdicts are fixed in advance, as by a seed."""

    def __init__(self, level_specs: list[LevelSpec], verdicts: dict[tuple[str, int], bool], ready: set[str]) -> None:
        self.facts = RunFacts(levels=level_specs, attempts=(), ready=ready)
        self._verdicts = verdicts
        self.log: list[NextAction] = []

    def take(self, action: NextAction, *, killed_after: int | None = None) -> None:
        """Effects of an action in order of writing; a kill keeps only the first ones."""
        for number, facts in enumerate(self._steps(action)):
            if killed_after is not None and number >= killed_after:
                return
            self.facts = facts
        self.log.append(action)

    def run(self) -> End:
        while not isinstance(action := next_action(self.facts), End):
            assert len(self.log) < 200, "it goes round in circles"
            self.take(action)
        return action

    def _steps(self, action: NextAction) -> Iterator[RunFacts]:
        match action:
            case Wait(level):
                yield replace(self.facts, ready={*self.facts.ready, level})
            case Search(level, number):
                yield self._with(Attempt(level=level, number=number, searched=False))
                yield self._with(Attempt(level=level, number=number, searched=True))
            case Judge(level, number):
                passed = self._verdicts.get((level, number), False)
                yield self._with(Attempt(level=level, number=number, searched=True, passed=passed))
            case Recommend():
                yield replace(self.facts, recommended=True)

    def _with(self, attempt: Attempt) -> RunFacts:
        kept = [each for each in self.facts.attempts if (each.level, each.number) != (attempt.level, attempt.number)]
        return replace(self.facts, attempts=(*kept, attempt))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[LevelSpec], dict[tuple[str, int], bool], set[str]]:
    level_specs = draw(LEVEL_SPECS)
    keys = [(level_spec.name, number) for level_spec in level_specs for number in range(1, level_spec.retries + 2)]
    verdicts = {key: draw(st.booleans()) for key in keys}
    return level_specs, verdicts, draw(st.sets(st.sampled_from([level_spec.name for level_spec in level_specs])))


@given(worlds(), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=8))
def test_a_run_killed_at_any_step_reaches_the_same_end(world, kills) -> None:
    undisturbed, killed = World(*world), World(*world)
    end = undisturbed.run()

    for actions, steps in kills:
        for _ in range(actions):
            if not isinstance(action := next_action(killed.facts), End):
                killed.take(action)
        if not isinstance(action := next_action(killed.facts), End):
            killed.take(action, killed_after=steps)

    assert killed.run() == end
    assert killed.facts.attempts == undisturbed.facts.attempts


@given(worlds())
def test_no_attempt_is_judged_twice_and_only_the_last_level_follows_a_failed_one(world) -> None:
    level_specs, verdicts, _ = world
    run = World(*world)
    end = run.run()
    evaluated = [action for action in run.log if isinstance(action, Judge)]

    assert len(set(evaluated)) == len(evaluated)
    for level_spec in level_specs:
        own = [action for action in evaluated if action.level == level_spec.name]
        passed = [verdicts[level_spec.name, action.attempt] for action in own]
        assert passed == [False] * (len(own) - 1) + [passed[-1]] if own else level_spec.name > end.level
        assert len(own) <= level_spec.retries + 1
        if level_spec.name > end.level:
            assert len(own) == (level_spec == level_specs[-1]), "only the last level follows, and once"
    assert run.log[-1] == Recommend(end.outcome, end.level)
    assert sum(isinstance(action, Recommend) for action in run.log) == 1
    assert (end.outcome is RunOutcome.PASSED) == all(
        any(verdicts[level_spec.name, number] for number in range(1, level_spec.retries + 2))
        for level_spec in level_specs
    )


@given(worlds())
def test_levels_need_sealed_candles(world) -> None:
    run = World(*world)
    run.run()
    waited = set(world[2])

    for action in run.log:
        if isinstance(action, Wait):
            waited.add(action.level)
        assert action.level in waited


CURRICULUM = (LevelSpec(name="1", retries=1), LevelSpec(name="2", retries=0))


def attempt(level: str, number: int, passed: bool | None = None, *, searched: bool = True) -> Attempt:
    return Attempt(level=level, number=number, searched=searched, passed=passed)


STATES = {
    "nothing yet": ((), Search("1", 1)),
    "begun": ((attempt("1", 1, searched=False),), Search("1", 1)),
    "searched": ((attempt("1", 1),), Judge("1", 1)),
    "missed": ((attempt("1", 1, passed=False),), Search("1", 2)),
    "missed by every attempt": (
        (attempt("1", 1, passed=False), attempt("1", 2, passed=False)),
        Search("2", 1),
    ),
    "the last level searched after a failed one": (
        (attempt("1", 1, passed=False), attempt("1", 2, passed=False), attempt("2", 1)),
        Judge("2", 1),
    ),
    "the last level passed after a failed one": (
        (attempt("1", 1, passed=False), attempt("1", 2, passed=False), attempt("2", 1, passed=True)),
        Recommend(RunOutcome.ESCALATED, "1"),
    ),
    "the last level missed after a failed one": (
        (attempt("1", 1, passed=False), attempt("1", 2, passed=False), attempt("2", 1, passed=False)),
        Recommend(RunOutcome.ESCALATED, "1"),
    ),
    "passed": ((attempt("1", 1, passed=True),), Search("2", 1)),
    "passed on the second attempt": ((attempt("1", 1, passed=False), attempt("1", 2, passed=True)), Search("2", 1)),
    "all passed": ((attempt("1", 1, passed=True), attempt("2", 1, passed=True)), Recommend(RunOutcome.PASSED, "2")),
    "the last one missed": (
        (attempt("1", 1, passed=True), attempt("2", 1, passed=False)),
        Recommend(RunOutcome.ESCALATED, "2"),
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_next_action_returns_the_next_step(state: str) -> None:
    attempts, action = STATES[state]

    assert next_action(RunFacts(levels=CURRICULUM, attempts=attempts, ready={"1", "2"})) == action


ENDS = [name for name, (_, action) in STATES.items() if isinstance(action, Recommend)]


@pytest.mark.parametrize("state", ENDS)
def test_a_run_with_a_recommendation_is_finished(state: str) -> None:
    attempts, action = STATES[state]
    facts = RunFacts(levels=CURRICULUM, attempts=attempts, ready=set(), recommended=True)

    assert next_action(facts) == End(action.outcome, action.level)
    assert next_action(replace(facts, recommended=False)) == action


@pytest.mark.parametrize("state", [name for name in STATES if name not in ENDS])
def test_without_candles_a_run_waits(state: str) -> None:
    attempts, action = STATES[state]

    assert next_action(RunFacts(levels=CURRICULUM, attempts=attempts, ready=set())) == Wait(action.level)


IMPOSSIBLE = {
    "an attempt left out": (attempt("1", 2),),
    "begun before the one before was judged": (attempt("1", 1), attempt("1", 2)),
    "begun after it was passed": (attempt("1", 1, passed=True), attempt("1", 2)),
    "judged before it was searched": (attempt("1", 1, passed=False, searched=False),),
    "a level left out": (attempt("2", 1),),
    "the last level begun before the retries were used": (attempt("1", 1, passed=False), attempt("2", 1)),
    "the last level tried twice after a failed one": (
        attempt("1", 1, passed=False),
        attempt("1", 2, passed=False),
        attempt("2", 1, passed=False),
        attempt("2", 2),
    ),
    "a level of another run": (attempt("1", 1, passed=True), attempt("2", 1, passed=True), attempt("3", 1)),
}


@pytest.mark.parametrize("state", IMPOSSIBLE)
def test_impossible_states_are_refused(state: str) -> None:
    with pytest.raises(ValueError, match="level"):
        next_action(RunFacts(levels=CURRICULUM, attempts=IMPOSSIBLE[state], ready={"1", "2"}))
